//! Plans for configurations and results.

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
    let local = cidr("fe80::1/64");
    let kernels = [cidr("fe80::aa:bb/64")];
    let step = |force| gateway_step(local, &kernels, &[local], force);
    assert_eq!(step(false), GatewayStep::Add);
    assert_eq!(step(true), GatewayStep::Add);
}
