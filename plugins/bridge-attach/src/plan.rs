//! What an attachment is to have: decided from the configuration and the IPAM plugin's result, before anything
//! of it is put into the kernel.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::attach::routes;
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::netlink::route::{Route as KernelRoute, TABLE_MAIN};
use cni_common::result::{Attachment, Dns, IpConfig, Route};

use crate::config::Config;
use crate::policy;

/// The place of the container end in a result's `interfaces`: after the bridge and the host end.
pub(crate) const CONTAINER: usize = 2;

/// What an attachment is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The addresses of the container end, with their gateways, as the result gives them.
    pub(crate) ips: Vec<IpConfig>,
    /// The routes as the result gives them.
    pub(crate) routes: Vec<Route>,
    /// What name resolution the result gives.
    pub(crate) dns: Dns,
    /// The addresses that the bridge is to have.
    pub(crate) gateways: Vec<Cidr>,
    /// The routes to install in the container, those without a gateway first.
    pub(crate) container_routes: Vec<KernelRoute>,
    /// The routes to install on the host: destination and gateway.
    pub(crate) host_routes: Vec<(Cidr, IpAddr)>,
}

impl Plan {
    /// Works the plan out.
    ///
    /// # Errors
    /// Code 7 for addresses and routes that cannot be.
    pub(crate) fn new(config: &Config, ipam: Attachment) -> Result<Self, Error> {
        let mut plan = Self {
            dns: config.dns.clone().unwrap_or(ipam.dns),
            ..Self::default()
        };
        for ip in ipam.ips {
            plan.add_ip(config, &ip)?;
        }
        plan.routes = ipam.routes;
        if config.default_gateway {
            plan.add_default_routes();
        }
        if !config.rules.is_empty() {
            let more = policy::table_routes(&config.rules, &plan.ips, &plan.routes);
            plan.routes.extend(more);
        }
        plan.container_routes = routes::to_install(&plan.routes, &plan.ips)?;
        plan.add_host_routes(config)?;
        Ok(plan)
    }

    /// The addresses of the container end.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Cidr> {
        self.ips.iter().map(|ip| ip.address)
    }

    /// The gateways of the host routes, without repetition.
    pub(crate) fn host_gateways(&self) -> Vec<IpAddr> {
        let mut gateways: Vec<IpAddr> = self.host_routes.iter().map(|(_, gw)| *gw).collect();
        gateways.sort_unstable();
        gateways.dedup();
        gateways
    }

    fn add_ip(&mut self, config: &Config, ip: &IpConfig) -> Result<(), Error> {
        let address = ip.address;
        let given = ip.gateway.filter(|gateway| !gateway.is_unspecified());
        let gateway = if config.gateway {
            let first = || {
                address
                    .first_host()
                    .filter(|first| *first != address.address())
            };
            let Some(gateway) = given.or_else(first) else {
                return Err(impossible(format!(
                    "isGateway: the gateway of {address} cannot be derived; give it in the IPAM configuration"
                )));
            };
            if gateway == address.address() {
                return Err(impossible(format!(
                    "the gateway of {address} is the container's own address, which the bridge cannot have too"
                )));
            }
            Some(gateway)
        } else {
            given
        };
        if let Some(gateway) = gateway.filter(|_| config.gateway) {
            let on_bridge = Cidr::new(gateway, address.prefix())
                .filter(|on_bridge| on_bridge.family() == address.family())
                .ok_or_else(|| {
                    impossible(format!(
                        "the gateway {gateway} of {address} is of the other family"
                    ))
                })?;
            if !self.gateways.contains(&on_bridge) {
                self.gateways.push(on_bridge);
            }
        }
        self.ips.push(IpConfig {
            interface: Some(CONTAINER),
            address,
            gateway,
        });
        Ok(())
    }

    /// Adds a default route for each family that has a gateway and no default route yet.
    ///
    /// One that the IPAM plugin gave without a gateway will get this gateway: a second would be its duplicate.
    fn add_default_routes(&mut self) {
        for family in [Family::V4, Family::V6] {
            let has_default = self.routes.iter().any(|route| {
                route.dst.is_default_route()
                    && route.dst.family() == family
                    && route.table.is_none_or(|table| table == TABLE_MAIN)
            });
            if let Some(gw) = routes::gateway(&self.ips, family).filter(|_| !has_default) {
                self.routes
                    .push(Route::new(family.default_route(), Some(gw)));
            }
        }
    }

    fn add_host_routes(&mut self, config: &Config) -> Result<(), Error> {
        for (place, route) in config.host_routes.iter().enumerate() {
            let family = route.dst.family();
            let own = self
                .addresses()
                .find(|address| address.family() == family)
                .map(Cidr::address);
            let Some(gw) = route.gw.or(own) else {
                return Err(impossible(format!(
                    "hostRoutes[{place}].gw: is required: the container has no {family} address"
                )));
            };
            if !self.host_routes.contains(&(route.dst, gw)) {
                self.host_routes.push((route.dst, gw));
            }
        }
        Ok(())
    }
}

fn impossible(text: String) -> Error {
    Error::new(Code::InvalidConfig, text)
}

/// What to do about one gateway address, given those the bridge has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GatewayStep {
    /// It is there.
    Keep,
    /// It is to be added.
    Add,
    /// It is to be added after these are deleted.
    Replace(Vec<Cidr>),
    /// Another address is in the way.
    Refuse(Cidr),
}

/// Decides about one gateway address.
///
/// A bridge keeps one IPv4 address, and of IPv6 addresses those whose subnets do not overlap: another one
/// means that two networks took the same bridge. The other gateways of the same plan are no conflict, nor are
/// link-local addresses, of which every link has the kernel's and may have more.
pub(crate) fn gateway_step(
    wanted: Cidr,
    present: &[Cidr],
    planned: &[Cidr],
    force: bool,
) -> GatewayStep {
    if present.contains(&wanted) {
        return GatewayStep::Keep;
    }
    let conflicts: Vec<Cidr> = present
        .iter()
        .copied()
        .filter(|other| {
            other.family() == wanted.family()
                && !planned.contains(other)
                && (other.family() == Family::V4
                    || (other.overlaps(wanted) && !is_link_local(*other)))
        })
        .collect();
    match conflicts.first() {
        None => GatewayStep::Add,
        Some(_) if force => GatewayStep::Replace(conflicts),
        Some(first) => GatewayStep::Refuse(*first),
    }
}

fn is_link_local(cidr: Cidr) -> bool {
    matches!(cidr.address(), IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
