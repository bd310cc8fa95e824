//! `bridge-attach`, and `bridge`.

use std::time::Duration;

use plumb_tests::{Host, conf, json, until};

use super::{attached, bridge_conf, kind, plugin, static_ipam, theirs, without};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_attachment_is_a_veth_between_the_bridge_and_the_container() {
    let host = Host::new();
    let (c1, result) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    let interfaces = result["interfaces"].as_array().unwrap();
    assert_eq!(interfaces.len(), 3);
    // The order is an API: the firewall plugin takes the first for the bridge.
    let host_end = interfaces[1]["name"].as_str().unwrap();
    assert_eq!(interfaces[0]["name"], "br0");
    assert_eq!(interfaces[0]["mac"], host.link("br0").unwrap()["address"]);
    assert_eq!(host.link("br0").unwrap()["linkinfo"]["info_kind"], "bridge");
    let link = host.link(host_end).unwrap();
    assert_eq!(link["master"], "br0");
    assert_eq!(link["linkinfo"]["info_kind"], "veth");
    assert_eq!(interfaces[1]["mac"], link["address"]);
    assert!(interfaces[1].get("sandbox").is_none());
    assert_eq!(interfaces[2]["name"], "eth0");
    assert_eq!(interfaces[2]["mac"], c1.link("eth0").unwrap()["address"]);
    assert_eq!(interfaces[2]["sandbox"], "/run/netns/c1");
    assert_eq!(
        result["ips"],
        json!([{ "interface": 2, "address": "10.1.0.2/24", "gateway": "10.1.0.1" }])
    );
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    assert!(c1.addrs("eth0").contains(&"10.1.0.2/24".to_owned()));
}

#[test]
fn containers_of_one_bridge_and_their_gateway_reach_each_other() {
    let host = Host::new();
    let (c1, _) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    let (c2, _) = attached(&host, "c2", "10.1.0.3/24", json!({}));
    assert!(host.addrs("br0").contains(&"10.1.0.1/24".to_owned()));
    assert!(
        c1.ping("10.1.0.1") && c1.ping("10.1.0.3") && c2.ping("10.1.0.2") && host.ping("10.1.0.2")
    );
    assert_eq!(host.sysctl("net/ipv4/ip_forward").as_deref(), Some("1"));
}

#[test]
fn both_families_work_when_add_returns() {
    let host = Host::new();
    let c1 = host.container("c1");
    let addresses = json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }, { "address": "fd01::2/64", "gateway": "fd01::1" }]);
    let ipam = static_ipam(&addresses, &json!([]));
    let conf = bridge_conf("", json!({ "isDefaultGateway": true, "ipam": ipam }));
    plugin(&host, "bridge-attach").add(&c1, conf).succeeds();
    assert!(c1.ping("10.1.0.1"));
    if theirs("the gateway's address on the bridge may still be checked for duplicates") {
        assert!(until(SOON, || c1.ping("fd01::1")));
    } else {
        assert!(c1.ping("fd01::1"));
    }
    assert!(
        c1.routes()
            .iter()
            .any(|route| route.starts_with("default via 10.1.0.1 dev eth0"))
    );
    assert!(
        c1.routes()
            .iter()
            .any(|route| route.starts_with("default via fd01::1 dev eth0"))
    );
}

#[test]
fn the_gateway_is_a_default_route_only_when_asked() {
    let host = Host::new();
    let (c1, result) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    assert!(!c1.routes().iter().any(|route| route.starts_with("default")));
    assert!(
        result
            .get("routes")
            .is_none_or(|routes| routes == &json!([]))
    );
    let (c2, result) = attached(
        &host,
        "c2",
        "10.1.0.3/24",
        json!({ "isDefaultGateway": true }),
    );
    assert!(
        c2.routes()
            .iter()
            .any(|route| route.starts_with("default via 10.1.0.1 dev eth0"))
    );
    assert_eq!(
        result["routes"],
        json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }])
    );
}

#[test]
fn routes_of_the_ipam_plugin_are_installed() {
    let host = Host::new();
    let c1 = host.container("c1");
    let routes = json!([{ "dst": "192.168.0.0/16", "gw": "10.1.0.9" }, { "dst": "172.16.0.0/12", "priority": 70 }]);
    let ipam = static_ipam(
        &json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]),
        &routes,
    );
    plugin(&host, "bridge-attach")
        .add(&c1, bridge_conf("", json!({ "ipam": ipam })))
        .succeeds();
    let routes = c1.routes();
    assert!(
        routes.contains(&"192.168.0.0/16 via 10.1.0.9 dev eth0".to_owned()),
        "{routes:?}"
    );
    assert!(
        routes.contains(&"172.16.0.0/12 via 10.1.0.1 dev eth0 metric 70".to_owned()),
        "{routes:?}"
    );
}

#[test]
fn without_ipam_the_attachment_has_no_address() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = conf(kind("bridge-attach"), json!({ "bridge": "br0" }));
    let result = plugin(&host, "bridge-attach").add(&c1, &conf).succeeds();
    assert!(result.get("ips").is_none_or(|ips| ips == &json!([])));
    assert!(
        !c1.addr_info("eth0")
            .iter()
            .any(|info| info["family"] == "inet")
    );
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    if !theirs("CHECK and STATUS of a network without ipam fail") {
        plugin(&host, "bridge-attach")
            .previous(&result)
            .check(&c1, &conf)
            .succeeds();
    }
    plugin(&host, "bridge-attach")
        .previous(&result)
        .del(&c1, &conf)
        .succeeds();
    assert!(c1.link("eth0").is_none());
}

#[test]
fn an_existing_bridge_is_used_as_it_is() {
    let host = Host::new();
    host.sh("ip link add br0 type bridge stp_state 1 && ip addr add 10.1.0.1/24 dev br0 && ip link set br0 up");
    let before = host.link("br0").unwrap();
    let (c1, _) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    let after = host.link("br0").unwrap();
    assert_eq!(
        after["linkinfo"]["info_data"]["stp_state"],
        before["linkinfo"]["info_data"]["stp_state"]
    );
    assert_eq!(after["ifindex"], before["ifindex"]);
    assert!(c1.link("eth0").is_some());
}

#[test]
fn a_link_of_that_name_that_is_no_bridge_is_refused() {
    let host = Host::new();
    let c1 = host.container("c1");
    host.sh("ip link add br0 type veth peer name other");
    let before = host.state();
    plugin(&host, "bridge-attach")
        .add(&c1, bridge_conf("10.1.0.2/24", json!({})))
        .fails();
    assert!(c1.link("eth0").is_none());
    if !theirs("they switch IPv6 settings of what they took for a bridge") {
        host.assert_unchanged_since(&before);
    }
}

#[test]
fn an_interface_that_exists_in_the_container_is_left_alone() {
    let host = Host::new();
    let c1 = host.container("c1");
    c1.sh("ip link add eth0 type veth peer name other");
    let before = c1.state();
    plugin(&host, "bridge-attach")
        .add(&c1, bridge_conf("10.1.0.2/24", json!({})))
        .fails();
    c1.assert_unchanged_since(&before);
}

#[test]
fn another_address_on_the_bridge_is_replaced_only_by_force() {
    let host = Host::new();
    host.sh(
        "ip link add br0 type bridge && ip addr add 10.1.0.99/24 dev br0 && ip link set br0 up",
    );
    let c1 = host.container("c1");
    plugin(&host, "bridge-attach")
        .add(&c1, bridge_conf("10.1.0.2/24", json!({})))
        .fails();
    assert!(host.addrs("br0").contains(&"10.1.0.99/24".to_owned()));
    let c2 = host.container("c2");
    let conf = bridge_conf("10.1.0.3/24", json!({ "forceAddress": true }));
    plugin(&host, "bridge-attach").add(&c2, conf).succeeds();
    let addresses = host.addrs("br0");
    assert!(
        addresses.contains(&"10.1.0.1/24".to_owned())
            && !addresses.contains(&"10.1.0.99/24".to_owned())
    );
}

#[test]
fn the_mtu_is_given_to_bridge_and_container() {
    let host = Host::new();
    let (c1, result) = attached(&host, "c1", "10.1.0.2/24", json!({ "mtu": 1400 }));
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 1400);
    assert_eq!(host.link("br0").unwrap()["mtu"], 1400);
    assert_eq!(
        host.link(result["interfaces"][1]["name"].as_str().unwrap())
            .unwrap()["mtu"],
        1400
    );
}

#[test]
fn the_mac_comes_from_the_most_specific_source() {
    let host = Host::new();
    let args = json!({ "cni": { "mac": "02:00:00:00:00:02" } });
    let runtime = json!({ "mac": "02:00:00:00:00:03" });
    let cases = [
        ("c1", json!({}), "02:00:00:00:00:01"),
        ("c2", json!({ "args": args }), "02:00:00:00:00:02"),
        (
            "c3",
            json!({ "args": args, "runtimeConfig": runtime, "capabilities": { "mac": true } }),
            "02:00:00:00:00:03",
        ),
    ];
    for (name, keys, mac) in cases {
        let container = host.container(name);
        let conf = without(bridge_conf("10.1.0.2/24", keys), "ipam");
        let call = plugin(&host, "bridge-attach").args("MAC=02:00:00:00:00:01");
        let result = call.add(&container, conf).succeeds();
        assert_eq!(container.link("eth0").unwrap()["address"], mac);
        assert_eq!(result["interfaces"][2]["mac"], mac);
    }
}

#[test]
fn an_impossible_mac_is_refused() {
    let host = Host::new();
    let c1 = host.container("c1");
    for mac in ["zz", "01:00:5e:00:00:01"] {
        let conf = without(bridge_conf("", json!({})), "ipam");
        plugin(&host, "bridge-attach")
            .args(&format!("MAC={mac}"))
            .add(&c1, conf)
            .fails();
        assert!(c1.link("eth0").is_none());
    }
}

#[test]
fn two_interfaces_of_one_container_are_two_attachments() {
    let host = Host::new();
    let c1 = host.container("c1");
    let first = bridge_conf("10.1.0.2/24", json!({}));
    let second = bridge_conf("10.1.0.3/24", json!({}));
    plugin(&host, "bridge-attach").add(&c1, &first).succeeds();
    let result = plugin(&host, "bridge-attach")
        .ifname("eth1")
        .add(&c1, &second)
        .succeeds();
    plugin(&host, "bridge-attach")
        .ifname("eth1")
        .previous(&result)
        .del(&c1, &second)
        .succeeds();
    assert!(c1.link("eth0").is_some() && c1.link("eth1").is_none());
}

#[test]
fn an_ipam_plugin_that_is_not_there_fails_the_add() {
    let host = Host::new();
    let c1 = host.container("c1");
    let missing = bridge_conf("", json!({ "ipam": { "type": "no-such-plugin" } }));
    let before = c1.state();
    plugin(&host, "bridge-attach")
        .add(&c1, missing)
        .fails_with_words("no-such-plugin");
    if !theirs("they leave the veth behind when the address cannot be had") {
        c1.assert_unchanged_since(&before);
        assert!(host.link("br0").is_none());
    }
}
