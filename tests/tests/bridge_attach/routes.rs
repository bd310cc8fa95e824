//! Routes: in the container, and on the host.

use std::time::Duration;

use plumb_tests::{Host, json, until};

use super::{attached, host, layer3, plugin};

fn routes_of_ours(host: &Host) -> Vec<String> {
    let mut routes: Vec<String> = host
        .routes()
        .into_iter()
        .filter(|route| route.contains("proto 80"))
        .map(|route| route.replace(" proto 80", ""))
        .collect();
    routes.sort();
    routes
}

#[test]
fn everything_a_route_carries_is_installed() {
    let (host, ipam) = host();
    ipam.gives(
        "c1",
        json!({
            "ips": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }],
            "routes": [
                { "dst": "10.5.0.0/16", "gw": "10.1.0.9", "mtu": 1300, "advmss": 1200, "priority": 50 },
                { "dst": "10.6.0.0/16" },
                { "dst": "10.7.0.0/16", "scope": 253 },
                { "dst": "10.8.0.0/16", "gw": "0.0.0.0" },
                { "dst": "10.9.0.0/16", "table": 1000 }
            ]
        }),
    );
    let (c1, result) = attached(&host, "c1", &layer3(json!({})));
    let routes = c1.routes();
    for wanted in [
        "10.5.0.0/16 via 10.1.0.9 dev eth0 metric 50 mtu 1300 advmss 1200",
        "10.6.0.0/16 via 10.1.0.1 dev eth0",
        "10.7.0.0/16 dev eth0 scope link",
        "10.8.0.0/16 dev eth0 scope link",
    ] {
        assert!(routes.contains(&wanted.to_owned()), "{wanted}: {routes:?}");
    }
    let table = c1.sh("ip route show table 1000");
    assert!(
        table.contains("10.9.0.0/16 via 10.1.0.1 dev eth0"),
        "{table}"
    );
    assert_eq!(result["routes"][0]["mtu"], 1300);
    plugin(&host)
        .previous(&result)
        .check(&c1, layer3(json!({})))
        .succeeds();
}

#[test]
fn a_default_route_without_gateway_and_a_default_gateway_are_one_route() {
    let (host, ipam) = host();
    ipam.gives(
        "c1",
        json!({ "ips": [{ "address": "10.1.0.2/24" }], "routes": [{ "dst": "0.0.0.0/0" }] }),
    );
    let (c1, _) = attached(&host, "c1", &layer3(json!({ "isDefaultGateway": true })));
    let defaults: Vec<_> = c1
        .routes()
        .into_iter()
        .filter(|r| r.starts_with("default"))
        .collect();
    assert_eq!(defaults, ["default via 10.1.0.1 dev eth0"]);
}

#[test]
fn a_gateway_may_be_reached_by_an_on_link_route() {
    let (host, ipam) = host();
    ipam.gives(
        "c1",
        json!({
            "ips": [{ "address": "10.1.0.2/32" }],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "169.254.1.1" }, { "dst": "169.254.1.1/32", "scope": 253 }]
        }),
    );
    let (c1, _) = attached(&host, "c1", &layer3(json!({ "isGateway": false })));
    assert!(
        c1.routes()
            .contains(&"default via 169.254.1.1 dev eth0".to_owned())
    );
}

#[test]
fn the_host_reaches_networks_through_the_container_until_it_leaves() {
    let (host, _ipam) = host();
    let keys = json!({ "hostRoutes": [
        { "dst": "192.168.102.0/24" },
        { "dst": "192.168.103.0/24", "gw": "10.1.0.2" },
        { "dst": "fd77::/64" }
    ] });
    let conf = layer3(keys);
    let (c1, result) = attached(&host, "c1", &conf);
    let routes = routes_of_ours(&host);
    assert_eq!(
        routes,
        [
            "192.168.102.0/24 via 10.1.0.2 dev br0",
            "192.168.103.0/24 via 10.1.0.2 dev br0",
            "fd77::/64 via fd01::2 dev br0 metric 1024 pref medium"
        ]
    );
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    host.sh("ip route del 192.168.103.0/24");
    plugin(&host)
        .previous(&result)
        .check(&c1, &conf)
        .fails_with(102, "192.168.103.0/24");
    // Without previous result and namespace: nothing but the kernel tells.
    plugin(&host).netns("").del(&c1, &conf).succeeds();
    assert_eq!(routes_of_ours(&host), Vec::<String>::new());
}

#[test]
fn host_routes_of_a_container_that_vanished_go_with_its_del() {
    let (host, _ipam) = host();
    let conf = layer3(json!({ "hostRoutes": [{ "dst": "192.168.102.0/24" }] }));
    let (c1, result) = attached(&host, "c1", &conf);
    host.sh(&format!("ip link del {}", super::host_end(&result)));
    assert_eq!(routes_of_ours(&host).len(), 1);
    plugin(&host).netns("").del(&c1, &conf).succeeds();
    assert_eq!(routes_of_ours(&host), Vec::<String>::new());
}

#[test]
fn a_host_route_that_two_attachments_hold_goes_with_the_second() {
    let (host, _ipam) = host();
    let conf = layer3(json!({ "hostRoutes": [{ "dst": "192.168.102.0/24", "gw": "10.1.0.9" }] }));
    let (c1, _) = attached(&host, "c1", &conf);
    let (c2, _) = attached(&host, "c2", &conf);
    plugin(&host).del(&c1, &conf).succeeds();
    assert_eq!(
        routes_of_ours(&host),
        ["192.168.102.0/24 via 10.1.0.9 dev br0"]
    );
    plugin(&host).del(&c2, &conf).succeeds();
    assert_eq!(routes_of_ours(&host), Vec::<String>::new());
}

#[test]
fn a_route_that_the_host_has_is_not_taken_over() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge; ip link set br0 up; ip addr add 10.1.0.1/24 dev br0");
    host.sh("ip route add 192.168.102.0/24 via 10.1.0.77");
    let conf = layer3(
        json!({ "hostRoutes": [{ "dst": "192.168.77.0/24" }, { "dst": "192.168.102.0/24" }] }),
    );
    let c1 = host.container("c1");
    plugin(&host)
        .add(&c1, &conf)
        .fails_with(101, "192.168.102.0/24");
    assert_eq!(routes_of_ours(&host), Vec::<String>::new());
    assert!(c1.link("eth0").is_none());
    plugin(&host).del(&c1, &conf).succeeds();
    // Whether the link is down the kernel notices in its own time.
    let stays =
        |route: &String| route.starts_with("192.168.102.0/24 via 10.1.0.77 dev br0 linkdown");
    assert!(until(Duration::from_secs(10), || host
        .routes()
        .iter()
        .any(stays)));
}
