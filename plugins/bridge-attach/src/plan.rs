//! What an attachment is to have: decided from the configuration and the IPAM plugin's result, before anything
//! of it is put into the kernel.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::netlink::route::{Route as KernelRoute, TABLE_MAIN};
use cni_common::result::{Attachment, Dns, IpConfig, Route};

use crate::config::Config;

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
        for (place, route) in plan.routes.clone().iter().enumerate() {
            plan.add_container_route(place, route)?;
        }
        plan.container_routes
            .sort_by_key(|route| route.gw.is_some());
        plan.add_host_routes(config)?;
        Ok(plan)
    }

    /// The addresses of the container end.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Cidr> {
        self.ips.iter().map(|ip| ip.address)
    }

    /// Whether an address of the family is among those of the container end.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.addresses().any(|address| address.family() == family)
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

    /// The first gateway of a family.
    fn gateway(&self, family: Family) -> Option<IpAddr> {
        let gateways = self.ips.iter().filter_map(|ip| ip.gateway);
        gateways.into_iter().find(|gw| Family::of(*gw) == family)
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
            if let Some(gw) = self.gateway(family).filter(|_| !has_default) {
                self.routes
                    .push(Route::new(family.default_route(), Some(gw)));
            }
        }
    }

    fn add_container_route(&mut self, place: usize, route: &Route) -> Result<(), Error> {
        /// `RT_SCOPE_LINK`, linux/rtnetlink.h: on the link itself, so without a gateway.
        const LINK: u8 = 253;
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
            None => self.gateway(dst.family()),
        };
        let new = KernelRoute {
            table: route.table.unwrap_or(TABLE_MAIN),
            priority: route.priority,
            scope: route.scope,
            mtu: route.mtu,
            advmss: route.advmss,
            ..KernelRoute::new(dst, gw)
        };
        if !self.container_routes.contains(&new) {
            self.container_routes.push(new);
        }
        Ok(())
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
/// means that two networks took the same bridge. The other gateways of the same plan are no conflict.
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
                && (other.family() == Family::V4 || other.overlaps(wanted))
        })
        .collect();
    match conflicts.first() {
        None => GatewayStep::Add,
        Some(_) if force => GatewayStep::Replace(conflicts),
        Some(first) => GatewayStep::Refuse(*first),
    }
}

#[cfg(test)]
mod tests {
    use cni_common::config;
    use cni_common::env::Command;
    use cni_common::json::Json;
    use cni_common::version::SpecVersion;

    use super::*;

    fn configured(keys: &str) -> Config {
        let text = format!(r#"{{"name":"net","ipam":{{"type":"static"}}{keys}}}"#);
        let json = Json::parse(text.as_bytes()).unwrap();
        let version = SpecVersion::V1_1_0;
        let args = cni_common::args::CniArgs::default();
        let read = config::read::<Config>(&json, version, Command::Add, &args, None);
        read.unwrap().own
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn address(text: &str, gateway: &str) -> IpConfig {
        IpConfig {
            interface: None,
            address: cidr(text),
            gateway: gateway.parse().ok(),
        }
    }

    fn given(ips: Vec<IpConfig>, routes: Vec<Route>) -> Attachment {
        Attachment {
            ips,
            routes,
            ..Attachment::default()
        }
    }

    fn plan(keys: &str, ips: Vec<IpConfig>, routes: Vec<Route>) -> Plan {
        Plan::new(&configured(keys), given(ips, routes)).unwrap()
    }

    fn hops(plan: &Plan) -> Vec<String> {
        let hop = |route: &KernelRoute| match route.gw {
            Some(gw) => format!("{} via {gw}", route.dst),
            None => route.dst.to_string(),
        };
        plan.container_routes.iter().map(hop).collect()
    }

    #[test]
    fn without_a_gateway_key_the_bridge_gets_no_address() {
        let plan = plan("", vec![address("10.1.0.2/24", "10.1.0.1")], vec![]);
        assert_eq!(plan.gateways, []);
        assert_eq!(plan.routes, []);
        assert_eq!(plan.ips[0].gateway, Some(ip("10.1.0.1")));
        assert_eq!(plan.ips[0].interface, Some(2));
    }

    #[test]
    fn the_gateway_goes_onto_the_bridge_with_the_addresss_prefix() {
        let keys = r#","isGateway":true"#;
        let ips = vec![
            address("10.1.0.2/24", "10.1.0.254"),
            address("10.1.0.3/24", "10.1.0.254"),
            address("fd00::2/64", ""),
        ];
        let plan = plan(keys, ips, vec![]);
        assert_eq!(plan.gateways, [cidr("10.1.0.254/24"), cidr("fd00::1/64")]);
        assert_eq!(plan.ips[2].gateway, Some(ip("fd00::1")));
        assert_eq!(plan.routes, []);
    }

    #[test]
    fn a_default_route_is_added_once_a_family() {
        let keys = r#","isDefaultGateway":true"#;
        let ips = || vec![address("10.1.0.2/24", ""), address("fd00::2/64", "")];
        assert_eq!(
            hops(&plan(keys, ips(), vec![])),
            ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00::1"]
        );
        // Given without a gateway it would be completed to the same route.
        let bare = Route::new(Family::V4.default_route(), None);
        assert_eq!(
            hops(&plan(keys, ips(), vec![bare])),
            ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00::1"]
        );
        let other = Route::new(Family::V4.default_route(), Some(ip("10.1.0.9")));
        assert_eq!(
            hops(&plan(keys, ips(), vec![other])),
            ["0.0.0.0/0 via 10.1.0.9", "::/0 via fd00::1"]
        );
    }

    #[test]
    fn a_route_without_a_gateway_gets_the_first_of_its_family() {
        let link = Route {
            scope: Some(253),
            ..Route::new(cidr("10.9.0.1/32"), None)
        };
        let routes = vec![
            Route::new(cidr("192.168.0.0/16"), None),
            Route::new(cidr("fd09::/64"), None),
            Route::new(cidr("10.8.0.0/16"), Some(ip("0.0.0.0"))),
            link,
        ];
        let ips = vec![
            address("10.1.0.2/24", "10.1.0.1"),
            address("10.2.0.2/24", "10.2.0.1"),
        ];
        // On-link routes come first: a gateway may be reached by one.
        assert_eq!(
            hops(&plan("", ips, routes)),
            [
                "fd09::/64",
                "10.8.0.0/16",
                "10.9.0.1/32",
                "192.168.0.0/16 via 10.1.0.1"
            ]
        );
    }

    #[test]
    fn everything_a_route_carries_is_kept() {
        let route = Route {
            mtu: Some(1300),
            advmss: Some(1200),
            priority: Some(7),
            table: Some(1000),
            ..Route::new(cidr("10.9.0.0/16"), Some(ip("10.1.0.5")))
        };
        let plan = plan(
            "",
            vec![address("10.1.0.2/24", "")],
            vec![route.clone(), route],
        );
        let [only] = &plan.container_routes[..] else {
            panic!("{:?}", plan.container_routes);
        };
        assert_eq!((only.mtu, only.advmss), (Some(1300), Some(1200)));
        assert_eq!((only.priority, only.table), (Some(7), 1000));
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_before() {
        let gateway = configured(r#","isGateway":true"#);
        let refused = |config: &Config, ips, routes| {
            Plan::new(config, given(ips, routes))
                .unwrap_err()
                .to_string()
        };
        let own = refused(&gateway, vec![address("10.1.0.1/24", "10.1.0.1")], vec![]);
        assert!(own.contains("own address"), "{own}");
        for narrow in ["10.1.0.1/32", "10.1.0.1/31", "10.1.0.1/24"] {
            let unknown = refused(&gateway, vec![address(narrow, "")], vec![]);
            assert!(unknown.contains("cannot be derived"), "{unknown}");
        }
        let plain = configured("");
        let bits = Route::new(cidr("10.1.2.3/24"), None);
        let bits = refused(&plain, vec![], vec![bits]);
        assert!(bits.contains("routes[0].dst: 10.1.2.3/24"), "{bits}");
        let mixed = Route::new(cidr("10.1.2.0/24"), Some(ip("fd00::1")));
        let mixed = refused(&plain, vec![], vec![mixed]);
        assert!(mixed.contains("routes[0].gw"), "{mixed}");
    }

    #[test]
    fn host_routes_lead_to_the_container_unless_told_otherwise() {
        let keys = r#","hostRoutes":[{"dst":"10.8.0.0/16"},{"dst":"10.9.0.0/16","gw":"10.1.0.9"},{"dst":"fd08::/64"}]"#;
        let ips = vec![address("10.1.0.2/24", ""), address("fd00::2/64", "")];
        let plan = plan(keys, ips, vec![]);
        assert_eq!(
            plan.host_routes,
            [
                (cidr("10.8.0.0/16"), ip("10.1.0.2")),
                (cidr("10.9.0.0/16"), ip("10.1.0.9")),
                (cidr("fd08::/64"), ip("fd00::2")),
            ]
        );
        assert_eq!(plan.host_gateways().len(), 3);
        let only_v4 = given(vec![address("10.1.0.2/24", "")], vec![]);
        let refused = Plan::new(&configured(keys), only_v4).unwrap_err();
        assert!(
            refused.to_string().contains("hostRoutes[2].gw"),
            "{refused}"
        );
    }

    #[test]
    fn dns_of_the_configuration_replaces_that_of_the_ipam_plugin() {
        let ipam = || Attachment {
            dns: Dns {
                nameservers: vec![String::from("10.0.0.1")],
                ..Dns::default()
            },
            ..Attachment::default()
        };
        let kept = Plan::new(&configured(""), ipam()).unwrap();
        assert_eq!(kept.dns.nameservers, ["10.0.0.1"]);
        let keys = r#","dns":{"domain":"example.org"}"#;
        let replaced = Plan::new(&configured(keys), ipam()).unwrap();
        assert!(replaced.dns.nameservers.is_empty());
        assert_eq!(replaced.dns.domain.as_deref(), Some("example.org"));
    }

    #[test]
    fn another_address_on_the_bridge_is_a_conflict() {
        let wanted = cidr("10.1.0.1/24");
        let other = cidr("10.2.0.1/24");
        let step = |present: &[Cidr], force| gateway_step(wanted, present, &[wanted], force);
        assert_eq!(step(&[], false), GatewayStep::Add);
        assert_eq!(step(&[other, wanted], false), GatewayStep::Keep);
        assert_eq!(step(&[other], false), GatewayStep::Refuse(other));
        assert_eq!(step(&[other], true), GatewayStep::Replace(vec![other]));
        let both = gateway_step(wanted, &[other], &[wanted, other], false);
        assert_eq!(both, GatewayStep::Add);
        assert_eq!(
            step(&[cidr("10.1.0.1/16")], false),
            GatewayStep::Refuse(cidr("10.1.0.1/16"))
        );
    }

    #[test]
    fn ipv6_addresses_conflict_only_where_they_overlap() {
        let wanted = cidr("fd01::1/64");
        let step = |present: &str| gateway_step(wanted, &[cidr(present)], &[wanted], false);
        assert_eq!(step("fd02::1/64"), GatewayStep::Add);
        assert_eq!(step("fe80::1/64"), GatewayStep::Add);
        assert_eq!(step("10.1.0.1/24"), GatewayStep::Add);
        assert_eq!(step("fd01::9/48"), GatewayStep::Refuse(cidr("fd01::9/48")));
    }
}
