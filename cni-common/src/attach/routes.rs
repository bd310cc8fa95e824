//! The routes of a container's interface, from those of a result.

use core::net::IpAddr;

use crate::addr::Family;
use crate::code::Code;
use crate::error::Error;
use crate::netlink::route::{Route as KernelRoute, TABLE_MAIN};
use crate::result::{IpConfig, Route};

/// `RT_SCOPE_LINK`, `linux/rtnetlink.h`: on the link itself, so without a gateway.
pub const LINK: u8 = 253;

/// The first gateway of a family.
pub fn gateway(ips: &[IpConfig], family: Family) -> Option<IpAddr> {
    let gateways = ips.iter().filter_map(|ip| ip.gateway);
    gateways.into_iter().find(|gw| Family::of(*gw) == family)
}

/// The routes to install, those without a gateway first; a route without a gateway gets the first gateway of its
/// family among `ips`.
///
/// # Errors
/// Code 7 for a route that cannot be.
pub fn to_install(routes: &[Route], ips: &[IpConfig]) -> Result<Vec<KernelRoute>, Error> {
    let mut list = Vec::new();
    for (place, route) in routes.iter().enumerate() {
        let new = one(place, route, ips)?;
        if !list.contains(&new) {
            list.push(new);
        }
    }
    list.sort_by_key(|route| route.gw.is_some());
    Ok(list)
}

fn one(place: usize, route: &Route, ips: &[IpConfig]) -> Result<KernelRoute, Error> {
    let dst = route.dst;
    if dst.network() != dst {
        return Err(impossible(format!(
            "routes[{place}].dst: {dst} has host bits set: {} is meant",
            dst.network()
        )));
    }
    let gw = match route.gw {
        // The reference plugin's way to ask for an on-link route where there is a gateway.
        Some(gw) if gw.is_unspecified() => None,
        Some(gw) if Family::of(gw) != dst.family() => {
            return Err(impossible(format!(
                "routes[{place}].gw: {gw} must be an {} address, as {dst} is",
                dst.family()
            )));
        }
        Some(gw) => Some(gw),
        None if route.scope.is_some_and(|scope| scope >= LINK) => None,
        None => gateway(ips, dst.family()),
    };
    Ok(KernelRoute {
        table: route.table.unwrap_or(TABLE_MAIN),
        priority: route.priority,
        scope: route.scope,
        mtu: route.mtu,
        advmss: route.advmss,
        ..KernelRoute::new(dst, gw)
    })
}

fn impossible(text: String) -> Error {
    Error::new(Code::InvalidConfig, text)
}
