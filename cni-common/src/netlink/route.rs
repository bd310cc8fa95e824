//! Routes.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the attributes the kernel sends, and there are more with every kernel, a few are wanted"
)]

use core::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::addr::family_of;
use super::error::Error;
use super::link::Link;
use super::pauses::Pauses;
use super::request::Request;
use super::{Rtnetlink, Rtnl};
use crate::addr::{Cidr, Family};

/// The main routing table (`RT_TABLE_MAIN`, linux/rtnetlink.h).
pub const TABLE_MAIN: u32 = 254;

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

    fn described(&self, link: &Link) -> String {
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

    fn message(&self, link: &Link) -> RouteMessage {
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
        &RouteNetlinkMessage::NewRoute(route.message(link)),
    )
    .with(NLM_F_CREATE)
}

/// Adds a route; fails with `EEXIST` when there is one of this destination, table and metric, whatever its gateway.
pub fn add_only(link: &Link, route: &Route) -> Request<Rtnetlink> {
    add(link, route).with(NLM_F_EXCL)
}

/// Deletes a route; fails with `ESRCH` when there is none of this destination, gateway, link, table, metric and
/// protocol.
pub fn delete(link: &Link, route: &Route) -> Request<Rtnetlink> {
    Request::new(
        format!("delete route {}", route.described(link)),
        &RouteNetlinkMessage::DelRoute(route.message(link)),
    )
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
                &RouteNetlinkMessage::GetRoute(filter),
            );
            for reply in self.dump(request)? {
                if let RouteNetlinkMessage::NewRoute(message) = reply {
                    found.extend(decode(&message, link.index));
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
        Ok(self.look_up(address)?.as_ref().and_then(directly))
    }

    /// Waits until packets to an address of our own are taken in, and says whether they are.
    ///
    /// The kernel answers `RTM_NEWADDR` before an IPv6 address works, duplicate address detection or not: joining
    /// its solicited-node group and adding its local route are left to a worker, which a busy machine may keep
    /// waiting. Not for link-local addresses, which have no route without a link.
    pub fn taken_in(&mut self, address: IpAddr, patience: Duration) -> Result<bool, Error> {
        let mut pauses = Pauses::new(patience);
        loop {
            let route = self.look_up(address)?;
            if route.is_some_and(|route| route.header.kind == RouteType::Local) {
                return Ok(true);
            }
            if !pauses.pause() {
                return Ok(false);
            }
        }
    }

    /// The route that a packet to an address takes; `None` when there is none.
    fn look_up(&mut self, address: IpAddr) -> Result<Option<RouteMessage>, Error> {
        let cidr = Cidr::host(address);
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family_of(cidr);
        wanted.header.destination_prefix_length = cidr.prefix();
        wanted
            .attributes
            .push(RouteAttribute::Destination(address.into()));
        let request = Request::new(
            format!("look up the route to {address}"),
            &RouteNetlinkMessage::GetRoute(wanted),
        );
        let replies = match self.get(request) {
            Ok(replies) => replies,
            Err(error) if error.is_absent() || unreachable(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(replies.into_iter().find_map(|reply| match reply {
            RouteNetlinkMessage::NewRoute(message) => Some(message),
            _ => None,
        }))
    }
}

fn unreachable(error: &Error) -> bool {
    matches!(
        error.errno,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL
    )
}

fn directly(message: &RouteMessage) -> Option<u32> {
    let through_gateway = message.attributes.iter().any(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_)
        )
    });
    if through_gateway || message.header.kind != RouteType::Unicast {
        return None;
    }
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// The routes through the link that a message describes: one, or one for each of its next hops there.
fn decode(message: &RouteMessage, index: u32) -> Vec<Route> {
    let family = match message.header.address_family {
        AddressFamily::Inet => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        _ => return Vec::new(),
    };
    if message.header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let mut route = Route::new(family.default_route(), None);
    route.table = u32::from(message.header.table);
    route.scope = Some(u8::from(message.header.scope));
    route.protocol = u8::from(message.header.protocol);
    route.onlink = message.header.flags.contains(RouteFlags::Onlink);
    let mut hops = Vec::new();
    let mut through = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(dst) => {
                let prefix = message.header.destination_prefix_length;
                let Some(dst) = ip(dst).and_then(|dst| Cidr::new(dst, prefix)) else {
                    return Vec::new();
                };
                route.dst = dst;
            }
            RouteAttribute::Gateway(gateway) => route.gw = ip(gateway),
            RouteAttribute::Oif(oif) => through = Some(*oif),
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(priority) => route.priority = Some(*priority),
            RouteAttribute::Metrics(metrics) => route.decode_metrics(metrics),
            RouteAttribute::MultiPath(next) => hops.clone_from(next),
            _ => {}
        }
    }
    if hops.is_empty() {
        return if through == Some(index) {
            vec![route]
        } else {
            Vec::new()
        };
    }
    let here = hops.iter().filter(|hop| hop.interface_index == index);
    here.map(|hop| {
        let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(gateway) => ip(gateway),
            _ => None,
        });
        Route {
            gw: gateway,
            ..route
        }
    })
    .collect()
}

impl Route {
    fn decode_metrics(&mut self, metrics: &[RouteMetric]) {
        for metric in metrics {
            match metric {
                RouteMetric::Mtu(mtu) => self.mtu = Some(*mtu),
                RouteMetric::Advmss(advmss) => self.advmss = Some(*advmss),
                _ => {}
            }
        }
    }
}
