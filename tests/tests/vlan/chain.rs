//! Behind another plugin: what that one made is tagged.

use std::time::Duration;

use plumb_tests::{Value, conf, json, until};

use super::{World, ipam, with, without};

const SOON: Duration = Duration::from_secs(10);

fn bridge() -> Value {
    conf("bridge-attach", json!({ "bridge": "br0" }))
}

fn tag(keys: Value) -> Value {
    with(
        conf("vlan", json!({ "ipam": { "type": ipam::QUICK } })),
        keys,
    )
}

#[test]
fn the_containers_interface_of_the_plugin_before_is_tagged() {
    let world = World::new();
    let c1 = world.container("c1");
    let first = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridge())
        .succeeds();
    let (others, before) = (world.others(), c1.state());
    let plugin = world.plugin().previous(&first);
    let second = plugin.add(&c1, tag(json!({ "vlanId": 5 }))).succeeds();
    let link = c1.link("eth0.5").unwrap();
    assert_eq!(link["link"], "eth0");
    assert_eq!(link["linkinfo"]["info_data"]["id"], 5);
    let names: Vec<_> = (0..4)
        .map(|n| second["interfaces"][n]["name"].clone())
        .collect();
    assert_eq!(names[0], "br0");
    assert_eq!(names[2..], ["eth0", "eth0.5"]);
    assert_eq!(second["ips"][0]["interface"], 3);
    // A second tag beside it, on the result of both.
    world.ipam.gives("c1", json!({ "ips": [{ "address": "10.2.0.2/24", "gateway": "10.2.0.1" }], "routes": [{ "dst": "10.9.0.0/16" }] }));
    let plugin = world.plugin().previous(&second);
    let third = plugin.add(&c1, tag(json!({ "vlanId": 6 }))).succeeds();
    assert_eq!(third["ips"][2]["interface"], 4);
    let capture = world.capture("br0", "vlan");
    assert!(!c1.ping("10.1.0.77"), "there is nobody");
    capture.until_seen("vlan 5, p 0, ethertype ARP", SOON);
    let last = world.plugin().previous(&third);
    for id in [5, 6] {
        last.check(&c1, tag(json!({ "vlanId": id }))).succeeds();
    }
    c1.sh("ip link set eth0.6 down");
    last.check(&c1, tag(json!({ "vlanId": 5 }))).succeeds();
    last.check(&c1, tag(json!({ "vlanId": 6 })))
        .fails_with(102, "state of eth0.6");
    last.del(&c1, tag(json!({ "vlanId": 6 }))).succeeds();
    assert!(c1.link("eth0.5").is_some());
    last.del(&c1, tag(json!({ "vlanId": 5 }))).succeeds();
    assert_eq!(world.others(), others);
    c1.assert_unchanged_since(&before);
    last.del(&c1, tag(json!({ "vlanId": 5 }))).succeeds();
    c1.assert_unchanged_since(&before);
}

#[test]
fn without_link_in_container_what_it_made_on_the_host_is_tagged() {
    let world = World::new();
    let c1 = world.container("c1");
    let first = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridge())
        .succeeds();
    let conf = tag(json!({ "vlanId": 5, "linkInContainer": false }));
    let second = world.plugin().previous(&first).add(&c1, &conf).succeeds();
    let link = c1.link("eth0.5").unwrap();
    assert_eq!(link["link_index"], world.link("br0").unwrap()["ifindex"]);
    let last = world.plugin().previous(&second);
    last.check(&c1, &conf).succeeds();
    last.del(&c1, &conf).succeeds();
    assert_eq!(c1.link("eth0.5"), None);
    assert!(c1.link("eth0").is_some());
}

#[test]
fn a_tag_in_a_tag_is_a_chain_of_two() {
    let world = World::new();
    let c1 = world.container("c1");
    let outer = json!({ "master": "nic", "vlanId": 100, "protocol": "802.1ad" });
    let outer = without(tag(outer), "ipam");
    let inner = tag(json!({ "vlanId": 5 }));
    let first = world.plugin().add(&c1, &outer).succeeds();
    let second = world.plugin().previous(&first).add(&c1, &inner).succeeds();
    assert_eq!(c1.link("eth0.5").unwrap()["mtu"], 1496);
    world.switch.sh(
        "ip link add link port name s100 type vlan protocol 802.1ad id 100 && ip link set s100 up
         ip link add link s100 name s100.5 type vlan id 5 && ip link set s100.5 up
         ip addr add 10.1.0.100/24 dev s100.5",
    );
    assert!(c1.ping("10.1.0.100"));
    let last = world.plugin().previous(&second);
    last.check(&c1, &outer).succeeds();
    last.check(&c1, &inner).succeeds();
    last.del(&c1, &inner).succeeds();
    assert_eq!(c1.link("eth0.5"), None);
    assert!(c1.link("eth0").is_some());
    last.del(&c1, &outer).succeeds();
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn a_shared_link_behind_another_plugin_is_held_once() {
    let world = World::new();
    let c1 = world.container("c1");
    let first = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridge())
        .succeeds();
    let before = (world.state(), c1.state());
    let conf = tag(json!({ "master": "nic", "mode": "shared", "vlanId": 5 }));
    let second = world.plugin().previous(&first).add(&c1, &conf).succeeds();
    assert_eq!(
        c1.link("eth0.5").unwrap()["linkinfo"]["info_kind"],
        "macvlan"
    );
    let last = world.plugin().previous(&second);
    last.check(&c1, &conf).succeeds();
    // The runtime knows of eth0 alone.
    world.plugin().valid([("c1", "eth0")]).gc(&conf).succeeds();
    last.check(&c1, &conf).succeeds();
    last.del(&c1, &conf).succeeds();
    world.assert_unchanged_since(&before.0);
    c1.assert_unchanged_since(&before.1);
}

/// The container is on one VLAN of two fabrics.
#[test]
fn one_vlan_of_two_masters_is_a_chain_of_two() {
    let world = World::new();
    world.sh("ip link add nic2 type veth peer name port2 netns switch && ip link set nic2 up");
    world.switch.sh("ip link set port2 up");
    let runs = || world.link("nic2").unwrap()["operstate"] == "UP";
    assert!(until(SOON, runs), "nic2 has no carrier");
    let c1 = world.container("c1");
    let before = (world.state(), c1.state());
    for mode in ["shared", "direct"] {
        let on = |master| tag(json!({ "master": master, "mode": mode, "vlanId": 5 }));
        let first = world.plugin().add(&c1, on("nic")).succeeds();
        let second = world.plugin().previous(&first).add(&c1, on("nic2"));
        let last = world.plugin().previous(&second.succeeds());
        last.check(&c1, on("nic2")).succeeds();
        last.check(&c1, on("nic")).succeeds();
        world
            .plugin()
            .valid([("c1", "eth0")])
            .gc(on("nic"))
            .succeeds();
        last.del(&c1, on("nic2")).succeeds();
        assert_eq!(c1.link("eth0.5"), None);
        world
            .plugin()
            .previous(&first)
            .check(&c1, on("nic"))
            .succeeds();
        last.del(&c1, on("nic")).succeeds();
        world.assert_unchanged_since(&before.0);
        c1.assert_unchanged_since(&before.1);
    }
}

#[test]
fn a_result_without_a_link_is_refused() {
    let world = World::new();
    let c1 = world.container("c1");
    let nothing = json!({ "cniVersion": "1.1.0", "ips": [] });
    let plugin = world.plugin().previous(&nothing);
    plugin
        .add(&c1, tag(json!({ "vlanId": 5 })))
        .fails_with(7, "prevResult has no interface");
}
