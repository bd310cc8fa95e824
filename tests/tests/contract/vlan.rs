//! `vlan`, by the same name in both suites.

use plumb_tests::{Container, Host, Value, conf, json};

use super::{plugin, static_ipam, theirs, without};

/// A host with a NIC, `nic`.
fn host() -> Host {
    let host = Host::new();
    host.sh("ip link add nic type dummy && ip link set nic up");
    host
}

fn vlan(keys: Value) -> Value {
    let addresses = json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]);
    let ipam = static_ipam(&addresses, &json!([{ "dst": "0.0.0.0/0" }]));
    let mut conf = conf(
        "vlan",
        json!({ "master": "nic", "vlanId": 33, "ipam": ipam }),
    );
    let Value::Object(keys) = keys else {
        panic!("keys are an object")
    };
    conf.as_object_mut().unwrap().extend(keys);
    conf
}

fn attached(host: &Host, conf: &Value) -> (Container, Value) {
    let c1 = host.container("c1");
    let result = plugin(host, "vlan").add(&c1, conf).succeeds();
    (c1, result)
}

#[test]
fn an_attachment_is_a_vlan_link_of_the_master() {
    let host = host();
    let (c1, result) = attached(&host, &vlan(json!({})));
    let link = c1.link("eth0").unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "vlan");
    assert_eq!(link["linkinfo"]["info_data"]["id"], 33);
    assert_eq!(link["mtu"], 1500);
    assert_eq!(link["address"], host.link("nic").unwrap()["address"]);
    let interfaces = result["interfaces"].as_array().unwrap();
    assert_eq!(interfaces.len(), 1);
    assert_eq!(interfaces[0]["name"], "eth0");
    assert_eq!(interfaces[0]["mac"], link["address"]);
    assert_eq!(interfaces[0]["sandbox"], "/run/netns/c1");
    let ips = json!([{ "interface": 0, "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]);
    assert_eq!(result["ips"], ips);
    assert!(c1.addrs("eth0").contains(&"10.1.0.2/24".to_owned()));
    let default = |route: &String| route.starts_with("default via 10.1.0.1 dev eth0");
    assert!(c1.routes().iter().any(default));
    assert_eq!(host.links().len(), 2, "lo and nic");
}

#[test]
fn the_mtu_is_at_most_the_masters() {
    let host = host();
    let c1 = host.container("c1");
    let large = vlan(json!({ "mtu": 1501 }));
    let refused = plugin(&host, "vlan").add(&c1, &large);
    refused.fails_with_words("1501");
    assert_eq!(c1.link("eth0"), None);
    let small = vlan(json!({ "mtu": 1400 }));
    plugin(&host, "vlan").add(&c1, &small).succeeds();
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 1400);
}

#[test]
fn a_master_that_is_not_there_and_an_id_that_cannot_be_are_refused() {
    let host = host();
    let c1 = host.container("c1");
    for keys in [
        json!({ "master": "nowhere" }),
        json!({ "vlanId": 4095 }),
        json!({ "vlanId": -1 }),
    ] {
        plugin(&host, "vlan")
            .add(&c1, vlan(keys))
            .fails_with_words("");
        assert_eq!(c1.link("eth0"), None);
    }
}

#[test]
fn a_second_container_on_the_same_vlan_is_refused() {
    let host = host();
    attached(&host, &vlan(json!({})));
    let c2 = host.container("c2");
    plugin(&host, "vlan")
        .add(&c2, vlan(json!({})))
        .fails_with_words("");
    assert_eq!(c2.links().len(), 1, "only lo");
}

#[test]
fn a_link_of_the_host_with_that_name_is_no_obstacle() {
    let host = host();
    host.sh("ip link add eth0 type dummy");
    let (c1, _) = attached(&host, &vlan(json!({})));
    assert_eq!(c1.link("eth0").unwrap()["linkinfo"]["info_kind"], "vlan");
}

#[test]
fn the_master_may_be_in_the_container() {
    let host = host();
    let c1 = host.container("c1");
    host.sh("ip link set nic netns c1");
    c1.sh("ip link set nic up");
    let conf = vlan(json!({ "linkInContainer": true }));
    let result = plugin(&host, "vlan").add(&c1, &conf).succeeds();
    assert_eq!(c1.link("eth0").unwrap()["link"], "nic");
    let again = plugin(&host, "vlan").previous(&result);
    again.check(&c1, &conf).succeeds();
    again.del(&c1, &conf).succeeds();
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn check_finds_what_changed() {
    let host = host();
    let (c1, result) = attached(&host, &vlan(json!({})));
    let check = plugin(&host, "vlan").previous(&result);
    check.check(&c1, vlan(json!({}))).succeeds();
    let other = vlan(json!({ "vlanId": 34 }));
    check.check(&c1, other).fails_with_words("34");
    let small = vlan(json!({ "mtu": 1400 }));
    if theirs("an MTU that the result does not record") {
        check.check(&c1, small).fails_with_words("1400");
    }
    c1.sh("ip addr del 10.1.0.2/24 dev eth0");
    check
        .check(&c1, vlan(json!({})))
        .fails_with_words("10.1.0.2");
}

#[test]
fn del_may_be_repeated_and_needs_no_namespace() {
    let host = host();
    let (c1, result) = attached(&host, &vlan(json!({})));
    let plugin = plugin(&host, "vlan").previous(&result);
    for _ in 0..2 {
        plugin.del(&c1, vlan(json!({}))).succeeds();
        assert_eq!(c1.link("eth0"), None);
    }
    plugin
        .clone()
        .netns("")
        .del(&c1, vlan(json!({})))
        .succeeds();
    c1.vanish();
    plugin.del(&c1, vlan(json!({}))).succeeds();
}

#[test]
fn an_interface_without_a_mark_is_checked_and_removed() {
    let host = host();
    let (c1, result) = attached(&host, &vlan(json!({})));
    // Theirs leaves no mark.
    c1.sh("ip link set eth0 alias ''");
    let plugin = plugin(&host, "vlan").previous(&result);
    plugin.check(&c1, vlan(json!({}))).succeeds();
    plugin.del(&c1, vlan(json!({}))).succeeds();
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn status_needs_an_ipam_plugin_only_there() {
    let host = host();
    plugin(&host, "vlan").status(vlan(json!({}))).succeeds();
    let alone = without(vlan(json!({})), "ipam");
    let status = plugin(&host, "vlan").status(alone);
    if theirs("STATUS without ipam fails") {
        status.fails_with_words("no plugin name provided");
    } else {
        status.succeeds();
    }
}
