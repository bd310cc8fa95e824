//! Routes that the host gets through an attachment.
//!
//! They lead through the bridge, so they do not vanish with the attachment. Each host end's alias names the
//! gateways it holds; a route of ours whose gateway nobody holds is stale. So DEL and GC need no state, and a
//! route that two attachments want goes with the second.

use core::net::IpAddr;
use std::collections::BTreeSet;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::netlink::link::Link;
use cni_common::netlink::route::{PROTOCOL_PLUMB, Route};
use cni_common::netlink::{Rtnl, route};

use crate::names::Mark;

/// The route as the kernel is to have it.
pub(crate) fn kernel_route(dst: Cidr, gw: IpAddr) -> Route {
    Route {
        protocol: PROTOCOL_PLUMB,
        ..Route::new(dst, Some(gw))
    }
}

/// Adds the routes. The alias that holds their gateways must be set already; [`remove_stale`] takes them back
/// once it is gone.
///
/// # Errors
/// Code 101 when the host has another route to a destination.
pub(crate) fn add(rtnl: &mut Rtnl, bridge: &Link, routes: &[(Cidr, IpAddr)]) -> Result<(), Error> {
    for (dst, gw) in routes {
        let wanted = kernel_route(*dst, *gw);
        match rtnl.execute(route::add_only(bridge, &wanted)) {
            Ok(()) => {}
            Err(error) if error.is_taken() => {
                let present = rtnl.routes(bridge).map_err(Cause::cause)?;
                if !present.iter().any(|other| is_same(other, &wanted)) {
                    return Err(Error::new(
                        Code::Taken,
                        format!("hostRoutes: the host has another route to {dst} already"),
                    ));
                }
            }
            Err(error) => return Err(error.cause()),
        }
    }
    Ok(())
}

/// Whether the routes lead to the same place and are both ours.
pub(crate) fn is_same(one: &Route, other: &Route) -> bool {
    (one.dst, one.gw, one.protocol) == (other.dst, other.gw, other.protocol)
}

/// Deletes the routes of ours through the bridge, or the gateway interface of one of its VLANs, whose gateway no attachment
/// holds.
pub(crate) fn remove_stale(rtnl: &mut Rtnl, carrier: &Link, bridge: &Link) -> Result<(), Error> {
    let routes = match rtnl.routes(carrier) {
        Ok(routes) => routes,
        // Somebody removed the bridge meanwhile, and the routes went with it.
        Err(error) if error.is_absent() => return Ok(()),
        Err(error) => return Err(error.cause()),
    };
    let ours = |route: &&Route| route.protocol == PROTOCOL_PLUMB;
    if !routes.iter().any(|route| ours(&route)) {
        return Ok(());
    }
    let held: BTreeSet<IpAddr> = rtnl
        .ports_of(bridge)
        .map_err(Cause::cause)?
        .iter()
        .filter_map(|port| Mark::parse(port.alias.as_deref()?))
        .flat_map(|mark| mark.via)
        .collect();
    for stale in routes.iter().filter(ours) {
        if stale.gw.is_some_and(|gw| held.contains(&gw)) {
            continue;
        }
        match rtnl.execute(route::delete(carrier, stale)) {
            Err(error) if !error.is_absent() => return Err(error.cause()),
            _ => {}
        }
    }
    Ok(())
}
