//! CHECK: comparing an interface with what ADD left.
//!
//! Plugins after the one that attached may have changed it, and recorded that in the result, which therefore is
//! what counts.

use core::fmt;
use core::net::IpAddr;

use crate::addr::{Family, Mac};
use crate::code::Code;
use crate::error::{Cause, Error, Step};
use crate::ident::IfName;
use crate::netlink::Rtnl;
use crate::netlink::addr::Address;
use crate::netlink::link::Link;
use crate::netlink::route::{MOST_ADVMSS, MOST_MTU, Route, TABLE_MAIN};
use crate::plugin::Call;
use crate::result::{self, Attachment, Interface};

/// The error of a difference: what differs, what was expected and what was found.
pub fn drift(what: &str, expected: impl fmt::Display, found: impl fmt::Display) -> Error {
    Error::new(
        Code::Drift,
        format!("{what}: expected {expected}, found {found}"),
    )
}

/// A value, or `none`.
pub fn shown<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| String::from("none"), |value| value.to_string())
}

/// The container's interface with its addresses and routes.
#[derive(Clone, Debug)]
pub struct Found {
    /// The interface.
    pub link: Link,
    addresses: Vec<Address>,
    routes: Vec<Route>,
}

impl Found {
    /// Reads an interface in the container.
    ///
    /// # Errors
    /// Code 102 when there is none.
    pub fn read<C>(call: &Call<C>, name: &IfName) -> Result<Self, Error> {
        let read = call.netns()?.run(|| {
            let mut rtnl = Rtnl::open()?;
            let Some(link) = rtnl.link_by_name(name)? else {
                return Ok(None);
            };
            let addresses = rtnl.addresses(&link)?;
            let routes = rtnl.routes(&link)?;
            Ok(Some(Self {
                link,
                addresses,
                routes,
            }))
        });
        read.step(|| "enter the container's namespace")?
            .map_err(|error: crate::netlink::Error| error.cause())?
            .ok_or_else(|| drift("interface in the container", name, "nothing"))
    }

    /// Compares its addresses.
    ///
    /// # Errors
    /// Code 102 when one is missing, or another host has it.
    pub fn check_addresses(&self, here: &Attachment) -> Result<(), Error> {
        for ip in &here.ips {
            let what = format!("address on {}", self.link.name);
            let mut present = self.addresses.iter();
            match present.find(|found| found.cidr == ip.address) {
                None => return Err(drift(&what, ip.address, listed(&self.addresses))),
                Some(found) if found.duplicate => {
                    return Err(drift(&what, ip.address, "it in use by another host"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Compares its routes. Every recorded one must be there: the same destination, table and metric, and the
    /// recorded gateway, scope, MTU and segment size, where they are. More routes are nobody's concern.
    ///
    /// # Errors
    /// Code 102 when one is missing.
    pub fn check_routes(&self, here: &Attachment) -> Result<(), Error> {
        for route in &here.routes {
            let table = route.table.unwrap_or(TABLE_MAIN);
            let gw = route.gw.filter(|gw: &IpAddr| !gw.is_unspecified());
            let candidates: Vec<&Route> = self
                .routes
                .iter()
                .filter(|found| found.dst == route.dst && found.table == table)
                .filter(|found| {
                    route
                        .priority
                        .is_none_or(|wanted| found.priority.unwrap_or(0) == wanted)
                })
                .collect();
            let what = format!("route to {}", route.dst);
            let mut by_it = candidates
                .iter()
                .filter(|found| gw.is_none() || found.gw == gw);
            if let Some(found) = by_it.next() {
                // IPv6 has no scopes of routes.
                let scope = route.scope.filter(|_| route.dst.family() == Family::V4);
                let mtu = route.mtu.map(|mtu| mtu.min(MOST_MTU));
                let advmss = route.advmss.map(|mss| mss.min(MOST_ADVMSS));
                for (name, wanted, found) in [
                    ("scope", scope.map(u32::from), found.scope.map(u32::from)),
                    ("mtu", mtu, found.mtu),
                    ("advmss", advmss, found.advmss),
                ] {
                    if wanted.is_some() && wanted != found {
                        let what = format!("{name} of the {what}");
                        return Err(drift(&what, shown(wanted), shown(found)));
                    }
                }
                continue;
            }
            let found = candidates.first().map_or_else(
                || String::from("none"),
                |found| format!("gateway {}", shown(found.gw)),
            );
            return Err(drift(&what, asked_for(route, gw), found));
        }
        Ok(())
    }
}

/// By what a route is told from others to the same destination.
fn asked_for(route: &result::Route, gw: Option<IpAddr>) -> String {
    let words = [
        gw.map(|gw| format!("gateway {gw}")),
        route.table.map(|table| format!("table {table}")),
        route.priority.map(|metric| format!("metric {metric}")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() {
        return String::from("one");
    }
    words.join(" ")
}

/// Addresses as a list for people.
pub fn listed(addresses: &[Address]) -> String {
    let list: Vec<String> = addresses.iter().map(|a| a.cidr.to_string()).collect();
    if list.is_empty() {
        return String::from("none");
    }
    list.join(", ")
}

/// The recorded link on the host of this name.
pub fn recorded<'a>(previous: &'a Attachment, name: &str) -> Option<&'a Interface> {
    previous
        .interfaces
        .iter()
        .find(|interface| interface.sandbox.is_none() && interface.name == name)
}

/// The recorded interface of this name in the container.
pub fn recorded_inside<'a>(previous: &'a Attachment, name: &IfName) -> Option<&'a Interface> {
    previous
        .interfaces
        .iter()
        .find(|interface| interface.sandbox.is_some() && interface.name == name.as_str())
}

/// Compares a link's Ethernet address with the recorded one, if one is.
///
/// # Errors
/// Code 102.
pub fn check_mac(link: &Link, recorded: Option<Mac>) -> Result<(), Error> {
    match recorded {
        Some(mac) if link.mac != Some(mac) => {
            let what = format!("address of {}", link.name);
            Err(drift(&what, mac, shown(link.mac)))
        }
        _ => Ok(()),
    }
}

/// The addresses and routes of the result that are those of the interface of this name in the container.
pub fn of_interface(previous: &Attachment, name: &str) -> Attachment {
    let is_ours = |place: Option<usize>| {
        place
            .and_then(|place| previous.interfaces.get(place))
            .is_none_or(|interface| interface.sandbox.is_some() && interface.name == name)
    };
    let ips = previous.ips.iter().filter(|ip| is_ours(ip.interface));
    Attachment {
        ips: ips.cloned().collect(),
        routes: previous.routes.clone(),
        ..Attachment::default()
    }
}
