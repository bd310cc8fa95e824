//! Routing in the container beyond one default route, and addresses that somebody else has.

use std::time::Duration;

use plumb_tests::{Container, Host, Value, json, until};

use super::ipam::Ipam;
use super::{attached, host, layer2, layer3, plugin, with};

/// A container with a default route by eth0, and the configuration of a second interface, on br1.
fn with_a_first_interface() -> (Host, Ipam, Container, Value) {
    let (host, ipam) = host();
    let (c1, _) = attached(
        &host,
        "c1",
        &layer3(json!({ "isDefaultGateway": true, "ipForward": false })),
    );
    ipam.gives(
        "c1",
        json!({ "ips": [
            { "address": "10.2.0.2/24", "gateway": "10.2.0.1" },
            { "address": "fd02::2/64", "gateway": "fd02::1" },
        ] }),
    );
    let second = layer3(json!({ "bridge": "br1", "ipForward": false, "removeEmptyBridge": true }));
    let settled = || !c1.sh("ip -6 addr").contains("tentative");
    assert!(until(Duration::from_secs(15), settled));
    (host, ipam, c1, second)
}

/// By which interface a packet leaves the container.
fn leaves_by(container: &Container, route: &str) -> String {
    let text = container.sh(&format!("ip route get {route}"));
    let mut words = text.split_whitespace();
    words.find(|word| *word == "dev").unwrap();
    words.next().unwrap().to_owned()
}

#[test]
fn a_second_interface_answers_through_itself() {
    let (host, _ipam, c1, second) = with_a_first_interface();
    let before = c1.state();
    let conf = with(
        second,
        json!({
            "rules": [
                { "from": "self", "table": 100 },
                { "to": "198.51.100.0/24", "fwmark": "0x1/0xf", "table": 100, "priority": 50 },
            ],
        }),
    );
    let call = plugin(&host).ifname("eth1");
    let result = call.add(&c1, &conf).succeeds();
    assert_eq!(leaves_by(&c1, "192.0.2.9 from 10.2.0.2"), "eth1");
    assert_eq!(leaves_by(&c1, "2001:db8::9 from fd02::2"), "eth1");
    assert_eq!(leaves_by(&c1, "192.0.2.9"), "eth0");
    assert_eq!(leaves_by(&c1, "10.2.0.9 from 10.2.0.2"), "eth1");
    let shown = c1.sh("ip rule");
    assert!(
        shown.contains("50:\tfrom all to 198.51.100.0/24 fwmark 0x1/0xf lookup 100 proto 80"),
        "{shown}"
    );
    let check = || call.clone().previous(&result).check(&c1, &conf);
    check().succeeds();
    c1.sh("ip rule del priority 50");
    check().fails_with(
        102,
        "routing rule: expected 50: from all to 198.51.100.0/24",
    );
    c1.sh("ip rule add to 198.51.100.0/24 fwmark 0x1/0xf table 100 priority 50 protocol 80");
    c1.sh("ip route del default table 100");
    check().fails_with(102, "route to 0.0.0.0/0");
    // The container's own rules stay.
    c1.sh("ip rule add from 203.0.113.1 table 100 priority 60");
    for _ in 0..2 {
        call.del(&c1, &conf).succeeds();
    }
    assert!(c1.sh("ip rule").contains("203.0.113.1"));
    c1.sh("ip rule del priority 60");
    c1.assert_unchanged_since(&before);
}

#[test]
fn a_default_route_stands_back_and_returns() {
    let (host, _ipam, c1, second) = with_a_first_interface();
    c1.sh("ip route replace default via 10.1.0.1 metric 5; ip route del default via 10.1.0.1 metric 0");
    let before = c1.state();
    let conf = with(
        second,
        json!({ "isDefaultGateway": true, "replaceDefaultRoute": true }),
    );
    let call = plugin(&host).ifname("eth1");
    let result = call.add(&c1, &conf).succeeds();
    assert_eq!(leaves_by(&c1, "192.0.2.9"), "eth1");
    assert_eq!(leaves_by(&c1, "2001:db8::9"), "eth1");
    call.clone().previous(&result).check(&c1, &conf).succeeds();
    // Also when the interface goes by itself.
    c1.sh("ip link set eth1 down");
    assert_eq!(leaves_by(&c1, "192.0.2.9"), "eth0");
    for _ in 0..2 {
        call.del(&c1, &conf).succeeds();
        c1.assert_unchanged_since(&before);
    }
}

#[test]
fn what_failed_leaves_the_containers_routing_as_it_was() {
    let (host, _ipam, c1, second) = with_a_first_interface();
    let (before, there) = (host.state(), c1.state());
    let conf = with(
        second,
        json!({
            "isDefaultGateway": true, "replaceDefaultRoute": true,
            "rules": [{ "from": "self", "table": 100 }],
            "hostRoutes": [{ "dst": "10.9.0.0/16", "gw": "10.66.0.1" }],
        }),
    );
    plugin(&host)
        .ifname("eth1")
        .add(&c1, &conf)
        .fails_with(100, "10.9.0.0/16");
    c1.assert_unchanged_since(&there);
    host.assert_unchanged_since(&before);
}

#[test]
fn several_default_routes_share_the_traffic() {
    let (host, ipam) = host();
    let route = |dst: &str, gw: &str| json!({ "dst": dst, "gw": gw });
    ipam.gives(
        "c1",
        json!({
            "ips": [{ "address": "10.1.0.2/24" }, { "address": "fd01::2/64" }],
            "routes": [
                route("0.0.0.0/0", "10.1.0.1"), route("0.0.0.0/0", "10.1.0.254"),
                route("::/0", "fd01::1"), route("::/0", "fd01::fe"),
            ],
        }),
    );
    let conf = layer3(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    for (family, gateways) in [
        ("-4", ["10.1.0.1", "10.1.0.254"]),
        ("-6", ["fd01::1", "fd01::fe"]),
    ] {
        let shown = c1.sh(&format!("ip {family} route show default"));
        assert!(shown.starts_with("default"), "{shown}");
        for gateway in gateways {
            assert!(
                shown.contains(&format!("nexthop via {gateway} dev eth0")),
                "{shown}"
            );
        }
    }
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn an_address_that_somebody_has_is_found_out() {
    let (host, ipam) = host();
    let (other, _) = attached(&host, "other", &layer2(json!({})));
    other.sh("ip link set eth0 address 02:00:00:00:00:66; ip addr add 10.1.0.2/24 dev eth0; ip link set eth0 up");
    let before = host.state();
    let conf = layer3(json!({ "isGateway": false, "arpProbe": true }));
    let c1 = host.container("c1");
    plugin(&host)
        .add(&c1, &conf)
        .fails_with(101, "arpProbe: 10.1.0.2 is in use by 02:00:00:00:00:66");
    host.assert_unchanged_since(&before);
    assert!(c1.link("eth0").is_none());
    assert_eq!(ipam.calls().last().unwrap(), "DEL c1 eth0");
    other.sh("ip addr flush dev eth0");
    let capture = other.capture("eth0", "arp");
    let guarded = with(conf, json!({ "ipspoofchk": true }));
    let added = plugin(&host).add(&c1, &guarded);
    assert!(
        added.elapsed > Duration::from_millis(550),
        "{:?}",
        added.elapsed
    );
    added.succeeds();
    let probes = || {
        let packets = capture.packets();
        let is_one = |line: &&String| line.contains("who-has 10.1.0.2 tell 0.0.0.0");
        packets.iter().filter(is_one).count()
    };
    until(Duration::from_secs(10), || probes() >= 3);
    assert_eq!(probes(), 3);
}

#[test]
fn an_address_may_be_derived_from_a_string() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "macFrom": "U:myhost.foo.com" }));
    let (c1, _) = attached(&host, "c1", &conf);
    assert_eq!(c1.link("eth0").unwrap()["address"], "02:72:6c:cd:9b:8d");
    let c2 = host.container("c2");
    let given = plugin(&host)
        .args("MAC=02:00:00:00:00:02")
        .add(&c2, &conf)
        .succeeds();
    assert_eq!(given["interfaces"][2]["mac"], "02:00:00:00:00:02");
    plugin(&host)
        .add(
            &host.container("c3"),
            layer2(json!({ "macFrom": "myhost" })),
        )
        .fails_with(7, "macFrom");
}
