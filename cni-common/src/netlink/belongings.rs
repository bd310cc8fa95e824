//! Moving what a link has to another: its addresses and routes.
//!
//! They are sent back as the kernel described them, but for the link, so that lifetimes, flags, metrics and preferred
//! sources stay. What the kernel adds by itself for an address is left to it.

use std::time::Duration;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};

use super::error::Error;
use super::frame::{attributes, ip, number, text, u16_at};
use super::link::Link;
use super::request::Request;
use super::route::{self, Route};
use super::{Rtnetlink, Rtnl};
use crate::addr::{Cidr, Family};

/// `IFA_PROTO` (`linux/if_addr.h`, kernel 5.18): who added an address.
const IFA_PROTO: u16 = 11;

/// `RTA_NH_ID` (`linux/rtnetlink.h`, kernel 5.3): the next hop as an object of its own.
const RTA_NH_ID: u16 = 30;

/// Length of `struct rtnexthop` (`linux/rtnetlink.h`); flags stand at 2, the index of the link at 4.
const RTNEXTHOP: usize = 8;

/// `RTNH_F_ONLINK`, `linux/rtnetlink.h`.
const ONLINK: u8 = 4;

/// Who adds the routes to the subnets of addresses (`RTPROT_KERNEL`).
const PROTOCOL_KERNEL: u8 = 2;

/// `IFA_F_PERMANENT`, `linux/if_addr.h`.
const PERMANENT: u32 = 0x80;

/// Which addresses of a link are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All but those of link scope.
    All,
    /// Those that carry this number of who added them.
    AddedBy(u8),
}

/// The addresses and routes of a link: bodies of `RTM_NEWADDR` and `RTM_NEWROUTE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongings {
    addresses: Vec<Vec<u8>>,
    routes: Vec<Vec<u8>>,
}

impl Belongings {
    /// Whether there is no address among them.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }
}

/// Length of `struct ifaddrmsg`; the index of the link stands at 4.
const IFADDRMSG: usize = 8;
/// Length of `struct rtmsg`.
const RTMSG: usize = 12;

impl Rtnl {
    /// The addresses of a link and the routes through it that are not the kernel's own. Routes with next hops on other
    /// links as well are not among them.
    pub fn belongings(&mut self, link: &Link, which: Which) -> Result<Belongings, Error> {
        let mut filter = AddressMessage::default();
        filter.header.index = link.index;
        let doing = format!("list the addresses of {}", link.name);
        let addresses = self.dump(Request::new(doing, libc::RTM_GETADDR, &filter))?;
        let addresses = addresses.into_iter().map(|reply| reply.body);
        let mut found = Belongings {
            addresses: addresses
                .filter(|body| is_meant(body, link, which))
                .collect(),
            routes: Vec::new(),
        };
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.attributes.push(RouteAttribute::Oif(link.index));
            let doing = format!("list the routes through {}", link.name);
            let routes = self.dump(Request::new(doing, libc::RTM_GETROUTE, &filter))?;
            let routes = routes.into_iter().map(|reply| reply.body);
            found
                .routes
                .extend(routes.filter(|body| is_static(body, link)));
        }
        // A gateway must be reachable when its route comes.
        found
            .routes
            .sort_by_key(|body| has(body, RTMSG, libc::RTA_GATEWAY));
        Ok(found)
    }

    /// Moves them from one link to another, all in one datagram. What is not there any more is passed over; so are routes
    /// whose gateway the other link does not reach. With a number, the addresses carry that as who added them.
    pub fn transfer(
        &mut self,
        belongings: &Belongings,
        from: &Link,
        to: &Link,
        added_by: Option<u8>,
    ) -> Result<(), Error> {
        let mut requests = Vec::new();
        for body in &belongings.addresses {
            let gone = |body| {
                Request::raw(
                    format!("take an address from {}", from.name),
                    libc::RTM_DELADDR,
                    body,
                )
            };
            requests.push(gone(address_of(body, (from, from), None)).tolerate(libc::EADDRNOTAVAIL));
            requests.extend(prefix_that_stays(body).map(|stays| route::remove(from, &stays)));
        }
        for body in &belongings.addresses {
            let doing = format!("give an address of {} to {}", from.name, to.name);
            let new: Request<Rtnetlink> = Request::raw(
                doing,
                libc::RTM_NEWADDR,
                address_of(body, (from, to), added_by),
            );
            requests.push(new.with(NLM_F_CREATE).tolerate(libc::EEXIST));
        }
        for body in &belongings.routes {
            let doing = format!("give a route of {} to {}", from.name, to.name);
            let new: Request<Rtnetlink> =
                Request::raw(doing, libc::RTM_NEWROUTE, route_of(body, to));
            let unreachable = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EEXIST];
            requests.push(
                unreachable
                    .into_iter()
                    .fold(new.with(NLM_F_CREATE), Request::tolerate),
            );
        }
        for body in &belongings.routes {
            let doing = format!("take a route from {}", from.name);
            let gone: Request<Rtnetlink> =
                Request::raw(doing, libc::RTM_DELROUTE, route_of(body, from));
            requests.push(gone.tolerate(libc::ESRCH));
        }
        if requests.is_empty() {
            return Ok(());
        }
        self.batch(requests)?;
        self.take_in(to)
    }

    /// Waits until the IPv6 addresses of a link work: the kernel leaves that to a worker. Late ones are no reason to move all
    /// back.
    fn take_in(&mut self, link: &Link) -> Result<(), Error> {
        const PATIENCE: Duration = Duration::from_secs(10);
        for address in self.addresses(link)? {
            let ip = address.cidr.address();
            if ip.is_ipv6() && !address.local_scope {
                self.taken_in(link, ip, PATIENCE)?;
            }
        }
        Ok(())
    }
}

fn has(body: &[u8], header: usize, kind: u16) -> bool {
    let mut all = attributes(body.get(header..).unwrap_or_default());
    all.any(|(found, _)| found == kind)
}

fn is_meant(body: &[u8], link: &Link, which: Which) -> bool {
    let scope = body.get(3).copied().unwrap_or(u8::MAX);
    let here = body.get(4..).and_then(number) == Some(link.index);
    let mut by = attributes(body.get(IFADDRMSG..).unwrap_or_default())
        .filter(|(kind, _)| *kind == IFA_PROTO)
        .filter_map(|(_, value)| value.first().copied());
    here && scope < libc::RT_SCOPE_LINK
        && match which {
            Which::All => true,
            Which::AddedBy(number) => by.next() == Some(number),
        }
}

/// A unicast route of somebody else than the kernel, through this link alone.
fn is_static(body: &[u8], link: &Link) -> bool {
    let (protocol, kind) = (body.get(5), body.get(7));
    let mut through = Vec::new();
    for (kind, value) in attributes(body.get(RTMSG..).unwrap_or_default()) {
        match kind {
            libc::RTA_OIF => through.extend(number(value)),
            libc::RTA_MULTIPATH => {
                through.extend(hops(value).filter_map(|hop| number(hop.get(4..)?)));
            }
            _ => {}
        }
    }
    protocol
        .is_some_and(|protocol| *protocol != PROTOCOL_KERNEL && *protocol != route::PROTOCOL_PLUMB)
        && kind == Some(&libc::RTN_UNICAST)
        && !through.is_empty()
        && through.iter().all(|index| *index == link.index)
}

/// The next hops of an `RTA_MULTIPATH`, each with its attributes.
fn hops(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    core::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let hop = rest.get(..length.max(RTNEXTHOP))?;
        rest = rest
            .get(hop.len().next_multiple_of(4)..)
            .unwrap_or_default();
        Some(hop)
    })
}

/// The flags of an address.
fn flags_of(body: &[u8]) -> u32 {
    let mut all = attributes(body.get(IFADDRMSG..).unwrap_or_default());
    let flags = all.find(|(kind, _)| *kind == libc::IFA_FLAGS);
    flags
        .and_then(|(_, value)| number(value))
        .unwrap_or_default()
}

/// The route to its subnet that an IPv6 address with a lifetime leaves on its link: the kernel takes along those of permanent
/// addresses only (`ipv6_del_addr`, `net/ipv6/addrconf.c`). It would compete with that on the other link.
fn prefix_that_stays(body: &[u8]) -> Option<Route> {
    let flags = flags_of(body);
    if flags & (PERMANENT | libc::IFA_F_NOPREFIXROUTE) != 0 {
        return None;
    }
    let prefix = *body.get(1)?;
    let (_, address) =
        attributes(body.get(IFADDRMSG..)?).find(|(kind, _)| *kind == libc::IFA_ADDRESS)?;
    let subnet = Cidr::new(ip(address)?, prefix)?.network();
    (subnet.family() == Family::V6).then(|| Route {
        protocol: PROTOCOL_KERNEL,
        ..Route::new(subnet, None)
    })
}

/// The label of an address, as one of the other link: it begins with the name of its link, and a colon unless it is that name.
/// `None` for what the kernel gives without being told.
fn label_of(value: &[u8], (from, to): (&Link, &Link)) -> Option<String> {
    let label = text(value);
    let Some(rest) = label.strip_prefix(from.name.as_str()) else {
        return Some(label);
    };
    match rest.strip_prefix(':') {
        _ if rest.is_empty() => None,
        Some(_) if to.name.len().saturating_add(rest.len()) < libc::IFNAMSIZ => {
            Some(format!("{}{rest}", to.name))
        }
        _ => Some(label),
    }
}

/// Appends an attribute with its padding.
pub(super) fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(4)).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The address of one link as that of another.
fn address_of(body: &[u8], (from, to): (&Link, &Link), added_by: Option<u8>) -> Vec<u8> {
    /// What the kernel found out, and not what was asked for: tentative, permanent, duplicate, secondary.
    const STATE: u32 = 0x01 | 0x08 | 0x20 | 0x40 | PERMANENT;
    const NODAD: u32 = 0x02;
    let mut new = body.get(..4).unwrap_or_default().to_vec();
    new.extend(to.index.to_ne_bytes());
    let permanent = flags_of(body) & PERMANENT != 0;
    for (kind, value) in attributes(body.get(IFADDRMSG..).unwrap_or_default()) {
        match kind {
            libc::IFA_CACHEINFO if permanent => {}
            IFA_PROTO => {}
            libc::IFA_LABEL => {
                if let Some(label) = label_of(value, (from, to)) {
                    put(&mut new, kind, format!("{label}\0").as_bytes());
                }
            }
            libc::IFA_FLAGS => {
                let flags = number(value).unwrap_or_default() & !STATE | NODAD;
                put(&mut new, kind, &flags.to_ne_bytes());
            }
            _ => put(&mut new, kind, value),
        }
    }
    if let Some(number) = added_by {
        put(&mut new, IFA_PROTO, &[number]);
    }
    new
}

/// The route as one through this link.
fn route_of(body: &[u8], link: &Link) -> Vec<u8> {
    let mut new = body.get(..RTMSG).unwrap_or_default().to_vec();
    // Flags tell the state of the next hop, but for this one.
    if let Some(flags) = new.get_mut(8..12) {
        let onlink = number(flags).unwrap_or_default() & u32::from(ONLINK);
        flags.copy_from_slice(&onlink.to_ne_bytes());
    }
    for (kind, value) in attributes(body.get(RTMSG..).unwrap_or_default()) {
        match kind {
            libc::RTA_OIF => put(&mut new, kind, &link.index.to_ne_bytes()),
            libc::RTA_MULTIPATH => {
                let mut all = Vec::new();
                for hop in hops(value) {
                    all.extend(hop_of(hop, link));
                    all.resize(all.len().next_multiple_of(4), 0);
                }
                put(&mut new, kind, &all);
            }
            // The object stands beside what it says, and cannot be sent with it.
            libc::RTA_CACHEINFO | RTA_NH_ID => {}
            _ => put(&mut new, kind, value),
        }
    }
    new
}

/// The next hop as one through this link.
fn hop_of(hop: &[u8], link: &Link) -> Vec<u8> {
    let mut new = hop.to_vec();
    if let Some(flags) = new.get_mut(2) {
        *flags &= ONLINK;
    }
    if let Some(index) = new.get_mut(4..RTNEXTHOP) {
        index.copy_from_slice(&link.index.to_ne_bytes());
    }
    new
}
