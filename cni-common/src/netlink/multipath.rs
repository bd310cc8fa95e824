//! Several routes at once, and routes with several next hops.

use core::net::IpAddr;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::route::{RouteAttribute, RouteNextHop};

use super::Rtnetlink;
use super::link::Link;
use super::request::Request;
use super::route::{Route, add};
use crate::addr::Family;

/// Adds routes. Those of IPv4 that differ in their gateways alone become one with several next hops, as the kernel makes it
/// of IPv6's by itself; else the last one would win.
pub fn add_all(link: &Link, routes: &[Route]) -> Vec<Request<Rtnetlink>> {
    let mut requests = Vec::new();
    for (place, first) in routes.iter().enumerate() {
        let alike = |other: &Route| {
            let one = Route {
                gw: other.gw,
                ..*first
            };
            first.dst.family() == Family::V4
                && first.gw.is_some()
                && other.gw.is_some()
                && one == *other
        };
        if routes.iter().take(place).any(alike) {
            continue;
        }
        let more: Vec<IpAddr> = routes
            .iter()
            .skip(place + 1)
            .filter(|other| alike(other))
            .filter_map(|other| other.gw)
            .collect();
        requests.push(if more.is_empty() {
            add(link, first)
        } else {
            add_multipath(link, first, &more)
        });
    }
    requests
}

/// Adds a route with further next hops.
fn add_multipath(link: &Link, route: &Route, more: &[IpAddr]) -> Request<Rtnetlink> {
    let mut message = route.message(link);
    message.attributes.retain(|attribute| {
        !matches!(
            attribute,
            RouteAttribute::Oif(_) | RouteAttribute::Gateway(_)
        )
    });
    let hops = route.gw.iter().chain(more).map(|gw| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = link.index;
        hop.attributes = vec![RouteAttribute::Gateway((*gw).into())];
        hop
    });
    message
        .attributes
        .push(RouteAttribute::MultiPath(hops.collect()));
    let doing = format!(
        "add route {}, and {} gateways more",
        route.described(link),
        more.len()
    );
    Request::new(doing, libc::RTM_NEWROUTE, &message).with(NLM_F_CREATE)
}
