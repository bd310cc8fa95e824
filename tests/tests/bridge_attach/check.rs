//! CHECK sees what changed; STATUS says whether an ADD could be served.

use plumb_tests::{Container, Host, Value, json};

use super::ipam::Ipam;
use super::{attached, host, host_end, layer2, layer3, plugin, with};

fn checked() -> (Host, Ipam, Container, Value, Value) {
    let (host, ipam) = host();
    let conf = layer3(json!({ "isDefaultGateway": true }));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    (host, ipam, c1, conf, result)
}

#[track_caller]
fn drifts(host: &Host, c1: &Container, conf: &Value, result: &Value, words: &str) {
    plugin(host)
        .previous(result)
        .check(c1, conf)
        .fails_with(102, words);
}

#[test]
fn a_lost_address_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    c1.sh("ip addr del 10.1.0.2/24 dev eth0");
    drifts(&host, &c1, &conf, &result, "expected 10.1.0.2/24");
}

#[test]
fn a_lost_or_another_route_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    c1.sh("ip route replace default via 10.1.0.77");
    drifts(
        &host,
        &c1,
        &conf,
        &result,
        "expected gateway 10.1.0.1, found gateway 10.1.0.77",
    );
    c1.sh("ip route del default");
    drifts(&host, &c1, &conf, &result, "route to 0.0.0.0/0");
    // A runtime that took the route out of the result does not miss it.
    let mut fewer = result.clone();
    fewer["routes"].as_array_mut().unwrap().remove(0);
    plugin(&host).previous(&fewer).check(&c1, &conf).succeeds();
}

#[test]
fn another_mac_is_drift_unless_it_is_recorded() {
    let (host, _ipam, c1, conf, mut result) = checked();
    c1.sh("ip link set eth0 address 02:00:00:00:00:99");
    drifts(&host, &c1, &conf, &result, "expected ");
    result["interfaces"][2]["mac"] = "02:00:00:00:00:99".into();
    c1.sh(
        "ip route replace default via 10.1.0.1; ip -6 route replace default via fd01::1 dev eth0",
    );
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn another_mtu_is_drift_unless_a_later_plugin_may_have_set_it() {
    let (host, _ipam, c1, conf, result) = checked();
    // As tuning does, which does not report it.
    c1.sh("ip link set eth0 mtu 1400");
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    let mut said = conf.clone();
    said["mtu"] = 1500.into();
    let words = "mtu of eth0: expected 1500, found 1400";
    drifts(&host, &c1, &said, &result, words);
    let mut reported = result.clone();
    reported["interfaces"][2]["mtu"] = 1400.into();
    plugin(&host)
        .previous(&reported)
        .check(&c1, &said)
        .succeeds();
    let near = host_end(&result);
    host.sh(&format!("ip link set {near} mtu 1300"));
    drifts(&host, &c1, &conf, &result, &format!("mtu of {near}"));
}

#[test]
fn a_port_that_left_the_bridge_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    host.sh(&format!("ip link set {} nomaster", host_end(&result)));
    drifts(&host, &c1, &conf, &result, "bridge of veth");
}

#[test]
fn a_port_option_that_changed_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    host.sh(&format!(
        "bridge link set dev {} hairpin on",
        host_end(&result)
    ));
    drifts(&host, &c1, &conf, &result, "hairpin mode");
}

#[test]
fn a_host_end_of_another_owner_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    host.sh(&format!("ip link set {} alias somebody", host_end(&result)));
    drifts(
        &host,
        &c1,
        &conf,
        &result,
        "expected testnet/c1/eth0, found somebody",
    );
}

#[test]
fn what_else_a_route_carries_is_compared() {
    let (host, ipam) = host();
    let route = json!({ "dst": "192.0.2.0/24", "mtu": 1300, "advmss": 1200, "priority": 7 });
    let given =
        json!({ "ips": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }], "routes": [route] });
    ipam.gives("c1", given);
    let conf = layer3(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    c1.sh("ip route replace 192.0.2.0/24 via 10.1.0.1 metric 7 mtu 1300 advmss 1100");
    drifts(
        &host,
        &c1,
        &conf,
        &result,
        "advmss of the route to 192.0.2.0/24: expected 1200, found 1100",
    );
}

#[test]
fn what_the_kernel_makes_of_a_routes_numbers_is_no_drift() {
    let (host, ipam) = host();
    let ips = json!([{ "address": "10.1.0.2/24" }, { "address": "fd01::2/64" }]);
    let more = json!([
        { "priority": 0, "table": 0 },
        { "mtu": 65535, "advmss": 65535 },
        { "mtu": 4_294_967_295_u32, "advmss": 70000 },
        { "scope": 0 },
        { "table": 4_294_967_295_u32, "priority": 4_294_967_295_u32 },
    ]);
    let mut routes = Vec::new();
    for (number, keys) in more.as_array().unwrap().iter().enumerate() {
        for dst in [format!("10.{number}.9.0/24"), format!("fd0{number}:9::/64")] {
            routes.push(with(json!({ "dst": dst }), keys.clone()));
        }
    }
    ipam.gives("c1", json!({ "ips": ips, "routes": routes }));
    let conf = layer3(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    c1.sh("ip route del 10.0.9.0/24");
    let words = "route to 10.0.9.0/24: expected one, found none";
    drifts(&host, &c1, &conf, &result, words);
}

#[test]
fn a_lost_gateway_address_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    host.sh("ip addr del 10.1.0.1/24 dev br0");
    drifts(
        &host,
        &c1,
        &conf,
        &result,
        "address on br0: expected 10.1.0.1/24",
    );
}

#[test]
fn an_interface_that_is_down_or_gone_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    c1.sh("ip link set eth0 down");
    drifts(
        &host,
        &c1,
        &conf,
        &result,
        "state of eth0: expected up, found down",
    );
    c1.sh("ip link del eth0");
    drifts(&host, &c1, &conf, &result, "interface in the container");
    host.sh("ip link del br0");
    drifts(&host, &c1, &conf, &result, "");
}

#[test]
fn a_capture_on_the_bridge_is_no_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    let _capture = host.capture("br0", "icmp");
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn check_asks_the_ipam_plugin_and_needs_the_result() {
    let (host, ipam, c1, conf, result) = checked();
    assert!(ipam.calls().contains(&"CHECK c1 eth0".to_owned()));
    plugin(&host).check(&c1, &conf).fails_with(7, "prevResult");
    ipam.does(
        "CHECK",
        r#"echo '{"code":42,"msg":"not reserved"}'; exit 1"#,
    );
    plugin(&host)
        .previous(&result)
        .check(&c1, &conf)
        .fails_with(42, "not reserved");
}

#[test]
fn a_gateway_that_the_ipam_plugin_did_not_give_is_no_drift() {
    let (host, _ipam) = host();
    let ipam = json!({ "type": "static-ipam", "addresses": [{ "address": "10.1.0.2/24" }] });
    let conf = layer3(json!({ "ipam": ipam }));
    let plugin = host.plugin("bridge-attach");
    let c1 = host.container("c1");
    let result = plugin.add(&c1, &conf).succeeds();
    assert_eq!(result["ips"][0]["gateway"], "10.1.0.1");
    plugin.previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn check_works_without_ipam() {
    let (host, _ipam) = host();
    let conf = layer2(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn status_asks_the_ipam_plugin() {
    let (host, ipam) = host();
    plugin(&host).status(layer2(json!({}))).succeeds();
    plugin(&host).status(layer3(json!({}))).succeeds();
    ipam.does(
        "STATUS",
        r#"echo '{"code":50,"msg":"pool is empty"}'; exit 1"#,
    );
    plugin(&host)
        .status(layer3(json!({})))
        .fails_with(50, "pool is empty");
    let nowhere = layer3(json!({ "ipam": { "type": "nowhere" } }));
    plugin(&host).status(nowhere).fails_with(50, "nowhere");
    plugin(&host)
        .status(layer2(json!({ "bridge": "lo" })))
        .fails_with(50, "bridge: \"lo\" exists already and is not a bridge");
}

#[test]
fn forwarding_that_was_switched_off_is_drift() {
    let (host, _ipam, c1, conf, result) = checked();
    for (name, key) in [
        ("net/ipv4/ip_forward", "ipForward"),
        ("net/ipv6/conf/all/forwarding", "ipForward"),
    ] {
        host.set_sysctl(name, "0");
        drifts(
            &host,
            &c1,
            &conf,
            &result,
            &format!("{name}: expected 1, found 0"),
        );
        let mut left_to_others = conf.clone();
        left_to_others[key] = false.into();
        let check = plugin(&host).previous(&result);
        check.check(&c1, &left_to_others).succeeds();
        host.set_sysctl(name, "1");
    }
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn a_named_host_end_of_another_owner_is_drift() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "hostInterfaceName": "r1" }));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    host.sh("ip link set r1 alias somebody");
    let words = "owner of r1: expected testnet/c1/eth0, found somebody";
    drifts(&host, &c1, &conf, &result, words);
}

#[test]
fn a_host_that_a_vxlan_segment_no_longer_reaches_is_drift() {
    let (host, _ipam) = host();
    let uplink = json!({ "vxlan": { "vni": 7, "remote": ["10.7.0.2", "10.7.0.3"] } });
    let conf = layer2(json!({ "uplink": uplink }));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    let links = host.links();
    let vxlan = links
        .iter()
        .find(|link| link["linkinfo"]["info_kind"] == "vxlan");
    let name = vxlan.unwrap()["ifname"].as_str().unwrap();
    host.sh(&format!(
        "bridge fdb del 00:00:00:00:00:00 dst 10.7.0.3 dev {name}"
    ));
    drifts(&host, &c1, &conf, &result, "remote 10.7.0.3");
}

#[test]
fn status_sees_what_would_fail_every_add() {
    let (host, _ipam) = host();
    let status = |keys: Value| plugin(&host).status(layer2(keys));
    status(json!({ "manageBridge": false })).fails_with(50, "bridge br0 does not exist");
    status(json!({ "uplink": "nic" })).fails_with(50, "uplink[0]: the host has no interface nic");
    let vxlan = json!({ "vxlan": { "vni": 7, "remote": "10.7.0.2" } });
    status(json!({ "uplink": vxlan })).succeeds();
    host.sh("ip link add br0 type bridge forward_delay 400");
    status(json!({ "manageBridge": false })).fails_with(50, "is down");
    status(json!({ "forwardDelay": 15 })).fails_with(50, "forwardDelay: wanted 15");
    let before = host.state();
    status(json!({ "forwardDelay": 4 })).succeeds();
    host.assert_unchanged_since(&before);
    host.sh("ip link set br0 up; ip link add nic type veth peer name end");
    status(json!({ "manageBridge": false })).succeeds();
    status(json!({ "uplink": "nic" })).succeeds();
}
