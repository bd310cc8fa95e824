//! Routes.

use core::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

use super::addr::family_of;
use super::error::Error;
use super::frame::{attributes, ip, number, u16_at};
use super::link::Link;
use super::pauses::Pauses;
use super::request::Request;
use super::{Rtnetlink, Rtnl};
use crate::addr::{Cidr, Family};

/// The main routing table (`RT_TABLE_MAIN`, linux/rtnetlink.h).
pub const TABLE_MAIN: u32 = 254;

/// The largest `RTAX_MTU` that the kernel keeps: it takes a larger one and makes it this (`ip_metrics_convert`, `net/ipv4/metrics.c`).
pub const MOST_MTU: u32 = 65535 - 15;

/// The largest `RTAX_ADVMSS` that the kernel keeps, likewise.
pub const MOST_ADVMSS: u32 = 65535 - 40;

/// Who installed a route, unless said otherwise: what `ip route add` writes (`RTPROT_BOOT`).
pub const PROTOCOL_BOOT: u8 = 3;

/// The protocol number of routes that a plugin installs on the host, so that it finds them again: not assigned
/// in linux/rtnetlink.h nor in iproute2's `rt_protos`.
pub const PROTOCOL_PLUMB: u8 = 80;

/// A unicast route through one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits must be clear.
    pub dst: Cidr,
    /// The gateway; `None` for a destination on the link itself.
    pub gw: Option<IpAddr>,
    /// The table (`RTA_TABLE`).
    pub table: u32,
    /// The metric (`RTA_PRIORITY`); `None` for the kernel's: 0, or 1024 for IPv6.
    pub priority: Option<u32>,
    /// The scope (`RT_SCOPE_*`); `None` for link without a gateway and universe with one.
    pub scope: Option<u8>,
    /// The path's MTU in bytes (`RTAX_MTU`).
    pub mtu: Option<u32>,
    /// The maximal segment size to announce, in bytes (`RTAX_ADVMSS`).
    pub advmss: Option<u32>,
    /// Whether the gateway counts as reachable though no subnet of the link has it (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// Who installed it (`RTPROT_*`).
    pub protocol: u8,
}

impl Route {
    /// A route in the main table.
    pub fn new(dst: Cidr, gw: Option<IpAddr>) -> Self {
        Self {
            dst,
            gw,
            table: TABLE_MAIN,
            priority: None,
            scope: None,
            mtu: None,
            advmss: None,
            onlink: false,
            protocol: PROTOCOL_BOOT,
        }
    }

    pub(super) fn described(&self, link: &Link) -> String {
        let mut text = if self.dst.is_default_route() {
            String::from("default")
        } else {
            self.dst.to_string()
        };
        if let Some(gw) = self.gw {
            text.push_str(" via ");
            text.push_str(&gw.to_string());
        }
        text.push_str(" dev ");
        text.push_str(&link.name);
        if self.table != TABLE_MAIN {
            text.push_str(" table ");
            text.push_str(&self.table.to_string());
        }
        text
    }

    pub(super) fn message(&self, link: &Link) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(self.dst);
        message.header.destination_prefix_length = self.dst.prefix();
        message.header.protocol = RouteProtocol::from(self.protocol);
        message.header.kind = RouteType::Unicast;
        message.header.scope = match self.scope {
            Some(scope) => RouteScope::from(scope),
            None if self.gw.is_none() && self.dst.family() == Family::V4 => RouteScope::Link,
            None => RouteScope::Universe,
        };
        if self.onlink {
            message.header.flags = RouteFlags::Onlink;
        }
        // The header has eight bits for the table; `RTA_TABLE` wins.
        message.header.table = u8::try_from(self.table).unwrap_or(libc::RT_TABLE_UNSPEC);
        message.attributes = vec![
            RouteAttribute::Table(self.table),
            RouteAttribute::Oif(link.index),
        ];
        if !self.dst.is_default_route() {
            let dst = RouteAddress::from(self.dst.address());
            message.attributes.push(RouteAttribute::Destination(dst));
        }
        let gateway = self.gw.map(|gw| RouteAttribute::Gateway(gw.into()));
        message.attributes.extend(gateway);
        message
            .attributes
            .extend(self.priority.map(RouteAttribute::Priority));
        let mtu = self.mtu.map(RouteMetric::Mtu);
        let metrics: Vec<_> = mtu
            .into_iter()
            .chain(self.advmss.map(RouteMetric::Advmss))
            .collect();
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }
}

/// Adds a route. Fails with `EEXIST` for an exact duplicate; one that differs in its gateway stands beside the
/// other, as `ip route prepend` makes it, and wins for IPv4.
pub fn add(link: &Link, route: &Route) -> Request<Rtnetlink> {
    Request::new(
        format!("add route {}", route.described(link)),
        libc::RTM_NEWROUTE,
        &route.message(link),
    )
    .with(NLM_F_CREATE)
}

/// Adds a route; fails with `EEXIST` when there is one of this destination, table and metric, whatever its gateway.
pub fn add_only(link: &Link, route: &Route) -> Request<Rtnetlink> {
    add(link, route).with(NLM_F_EXCL)
}

/// Adds a route in the place of the first one of this destination, table and metric, if there is one (`NLM_F_REPLACE`).
pub fn replace(link: &Link, route: &Route) -> Request<Rtnetlink> {
    Request::new(
        format!("replace route {}", route.described(link)),
        libc::RTM_NEWROUTE,
        &route.message(link),
    )
    .with(NLM_F_CREATE)
    .with(NLM_F_REPLACE)
}

/// Deletes a route; fails with `ESRCH` when there is none of this destination, gateway, link, table, metric and
/// protocol.
pub fn delete(link: &Link, route: &Route) -> Request<Rtnetlink> {
    Request::new(
        format!("delete route {}", route.described(link)),
        libc::RTM_DELROUTE,
        &route.message(link),
    )
}

/// Like [`add`], and succeeds when there is an exact duplicate.
pub fn ensure(link: &Link, route: &Route) -> Request<Rtnetlink> {
    add(link, route).tolerate(libc::EEXIST)
}

/// Like [`delete`], and succeeds when there is none.
pub fn remove(link: &Link, route: &Route) -> Request<Rtnetlink> {
    delete(link, route).tolerate(libc::ESRCH)
}

impl Rtnl {
    /// Lists the unicast routes through a link, of both families and all tables; of a route with several next
    /// hops those on the link.
    pub fn routes(&mut self, link: &Link) -> Result<Vec<Route>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.attributes.push(RouteAttribute::Oif(link.index));
            let request = Request::new(
                format!("list the routes through {}", link.name),
                libc::RTM_GETROUTE,
                &filter,
            );
            for reply in self.dump(request)? {
                if let Some(described) = Described::decode(&reply.body) {
                    found.extend(described.through(link.index));
                }
            }
        }
        Ok(found)
    }
}

impl Rtnl {
    /// The index of the link by which the host reaches an address without a gateway; `None` when it is beyond
    /// one, or nowhere, or the host's own.
    pub fn neighbour_link(&mut self, address: IpAddr) -> Result<Option<u32>, Error> {
        Ok(self
            .look_up(address, None)?
            .and_then(|route| route.directly()))
    }

    /// Waits until packets to an address of a link of ours are taken in, and says whether they are.
    ///
    /// The kernel answers `RTM_NEWADDR` before an IPv6 address works, duplicate address detection or not: joining
    /// its solicited-node group and adding its local route are left to a worker, which a busy machine may keep
    /// waiting.
    pub fn taken_in(
        &mut self,
        link: &Link,
        address: IpAddr,
        patience: Duration,
    ) -> Result<bool, Error> {
        let mut pauses = Pauses::new(patience);
        loop {
            let route = self.look_up(address, Some(link))?;
            if route.is_some_and(|route| route.kind == libc::RTN_LOCAL) {
                return Ok(true);
            }
            if !pauses.pause() {
                return Ok(false);
            }
        }
    }

    /// The route that a packet to an address takes, if it has to leave by that link where one is given; `None` when there
    /// is none.
    fn look_up(
        &mut self,
        address: IpAddr,
        link: Option<&Link>,
    ) -> Result<Option<Described>, Error> {
        let cidr = Cidr::host(address);
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family_of(cidr);
        wanted.header.destination_prefix_length = cidr.prefix();
        wanted
            .attributes
            .push(RouteAttribute::Destination(address.into()));
        wanted
            .attributes
            .extend(link.map(|link| RouteAttribute::Oif(link.index)));
        let request = Request::new(
            format!("look up the route to {address}"),
            libc::RTM_GETROUTE,
            &wanted,
        );
        match self.get(request) {
            Ok(reply) => Ok(Described::decode(&reply.body)),
            Err(error) if error.is_absent() || unreachable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn unreachable(error: &Error) -> bool {
    matches!(
        error.errno,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL
    )
}

/// A route as the kernel describes it.
pub(super) struct Described {
    /// Its type (`RTN_*`).
    pub(super) kind: u8,
    /// What all its next hops share.
    pub(super) shared: Route,
    /// Its next hops; one, unless several share the traffic.
    hops: Vec<Hop>,
}

#[derive(Clone, Copy, Default)]
struct Hop {
    /// The index of the link (`RTA_OIF`).
    oif: Option<u32>,
    gw: Option<IpAddr>,
    /// Whether the gateway is of the other family (`RTA_VIA`).
    via: bool,
}

impl Described {
    /// Reads the body of an `RTM_NEWROUTE`: `struct rtmsg` (linux/rtnetlink.h), then attributes. `None` for families
    /// other than IPv4 and IPv6.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let [family, prefix, _, _, table, protocol, scope, kind] = *body.first_chunk()?;
        let family = match libc::c_int::from(family) {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return None,
        };
        let mut shared = Route::new(family.default_route(), None);
        shared.table = u32::from(table);
        shared.scope = Some(scope);
        shared.protocol = protocol;
        let flags = RouteFlags::from_bits_retain(number(body.get(8..)?)?);
        shared.onlink = flags.contains(RouteFlags::Onlink);
        let mut only = Hop::default();
        let mut hops = Vec::new();
        for (attribute, value) in attributes(body.get(12..)?) {
            match attribute {
                libc::RTA_DST => shared.dst = Cidr::new(ip(value)?, prefix)?,
                libc::RTA_TABLE => shared.table = number(value)?,
                libc::RTA_PRIORITY => shared.priority = number(value),
                libc::RTA_METRICS => shared.decode_metrics(value),
                libc::RTA_MULTIPATH => hops = next_hops(value),
                _ => only.decode(attribute, value),
            }
        }
        if hops.is_empty() {
            hops.push(only);
        }
        Some(Self { kind, shared, hops })
    }

    /// The link of the first next hop.
    pub(super) fn first_link(&self) -> Option<u32> {
        self.hops.first().and_then(|hop| hop.oif)
    }

    /// The link of a unicast route that goes through no gateway.
    fn directly(&self) -> Option<u32> {
        match self.hops.as_slice() {
            [hop] if self.kind == libc::RTN_UNICAST && hop.gw.is_none() && !hop.via => hop.oif,
            _ => None,
        }
    }

    /// The unicast routes through a link: one, or one for each of the next hops there.
    fn through(self, index: u32) -> impl Iterator<Item = Route> {
        let hops = if self.kind == libc::RTN_UNICAST {
            self.hops
        } else {
            Vec::new()
        };
        let here = hops.into_iter().filter(move |hop| hop.oif == Some(index));
        here.map(move |hop| Route {
            gw: hop.gw,
            ..self.shared
        })
    }
}

impl Hop {
    fn decode(&mut self, attribute: u16, value: &[u8]) {
        // linux/rtnetlink.h; libc lacks it.
        const RTA_VIA: u16 = 18;
        match attribute {
            libc::RTA_OIF => self.oif = number(value),
            libc::RTA_GATEWAY => self.gw = ip(value),
            RTA_VIA => self.via = true,
            _ => {}
        }
    }
}

/// Reads an `RTA_MULTIPATH`: each `struct rtnexthop` (linux/rtnetlink.h) is followed by its attributes.
fn next_hops(value: &[u8]) -> Vec<Hop> {
    const RTNEXTHOP: usize = 8;
    let mut rest = value;
    let mut hops = Vec::new();
    while let Some(length) = u16_at(rest, 0).map(usize::from) {
        let (Some(header), Some(inner)) = (rest.get(..RTNEXTHOP), rest.get(RTNEXTHOP..length))
        else {
            break;
        };
        let mut hop = Hop {
            oif: header.get(4..).and_then(number),
            ..Hop::default()
        };
        for (attribute, value) in attributes(inner) {
            hop.decode(attribute, value);
        }
        hops.push(hop);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

impl Route {
    fn decode_metrics(&mut self, metrics: &[u8]) {
        // linux/rtnetlink.h, `RTAX_*`.
        const MTU: u16 = 2;
        const ADVMSS: u16 = 8;
        for (metric, value) in attributes(metrics) {
            match metric {
                MTU => self.mtu = number(value),
                ADVMSS => self.advmss = number(value),
                _ => {}
            }
        }
    }
}
