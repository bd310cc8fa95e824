//! What can be said about the tag: protocol, a second one, priorities, flags.

use std::time::Duration;

use plumb_tests::{Value, json};

use super::{World, on_nic, shared, with};

const SOON: Duration = Duration::from_secs(10);

fn data(link: &Value) -> &Value {
    &link["linkinfo"]["info_data"]
}

#[test]
fn a_service_tag_goes_end_to_end() {
    let world = World::new();
    world.switch.sh("ip link add link port name s100 type vlan protocol 802.1ad id 100 && ip addr add 10.1.0.100/24 dev s100 && ip link set s100 up");
    let conf = on_nic(json!({ "vlanId": 100, "protocol": "802.1ad" }));
    let (c1, result) = world.attached("c1", &conf);
    assert_eq!(data(&c1.link("eth0").unwrap())["protocol"], "802.1ad");
    let capture = world.capture("nic", "ether proto 0x88a8 or vlan");
    assert!(c1.ping("10.1.0.100"));
    capture.until_seen(
        "ethertype 802.1Q-QinQ (0x88a8), length 102: vlan 100, p 0, ethertype IPv4",
        SOON,
    );
    world.check(&c1, &conf, &result).succeeds();
    let other = with(conf, json!({ "protocol": "802.1Q" }));
    world
        .check(&c1, &other, &result)
        .fails_with(102, "protocol of eth0: expected 802.1Q, found 802.1ad");
}

#[test]
fn a_tag_inside_a_tag_goes_end_to_end_with_room_for_both() {
    let world = World::new();
    world.sh(
        "ip link add link nic name outer type vlan protocol 802.1ad id 100 && ip link set outer up",
    );
    world.switch.sh(
        "ip link add link port name s100 type vlan protocol 802.1ad id 100 && ip link set s100 up
         ip link add link s100 name s100.5 type vlan id 5 && ip link set s100.5 up mtu 1496
         ip addr add 10.1.0.100/24 dev s100.5",
    );
    let conf = with(on_nic(json!({ "vlanId": 5 })), json!({ "master": "outer" }));
    let (c1, _) = world.attached("c1", &conf);
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 1496);
    let capture = world.capture("nic", "ether proto 0x88a8 or vlan");
    // 1468 bytes of payload make a packet of the whole MTU.
    let ping = c1.try_exec([
        "ping",
        "-c",
        "1",
        "-W",
        "5",
        "-M",
        "do",
        "-s",
        "1468",
        "10.1.0.100",
    ]);
    assert!(ping.status.success(), "{ping:?}");
    capture.until_seen("ethertype 802.1Q-QinQ (0x88a8), length 1518: vlan 100, p 0, ethertype 802.1Q (0x8100), vlan 5, p 0, ethertype IPv4", SOON);
    let large = with(conf, json!({ "vlanId": 6, "mtu": 1500 }));
    world.refused(
        "c2",
        &large,
        7,
        "mtu: 1500 must be at most 1496: outer has the MTU 1500, and a second tag needs room too",
    );
    // A NIC with room for the second tag leaves the containers the usual MTU.
    world.sh("ip link set nic mtu 1504");
    world.attached("c3", &large);
}

#[test]
fn many_containers_share_a_tag_inside_a_tag() {
    let world = World::new();
    world.sh(
        "ip link add link nic name outer type vlan protocol 802.1ad id 100 && ip link set outer up",
    );
    let conf = with(shared(5), json!({ "master": "outer" }));
    let (c1, result) = world.attached("c1", &conf);
    let (c2, _) = world.attached("c2", &conf);
    assert!(c1.ping("10.1.0.3"));
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 1496);
    world.check(&c1, &conf, &result).succeeds();
    world.del(&c1, &conf);
    world.del(&c2, &conf);
    assert_eq!(world.others(), ["outer"]);
}

#[test]
fn priorities_are_mapped_both_ways() {
    let world = World::new();
    let _end = world.far_end(5);
    let conf = on_nic(
        json!({ "vlanId": 5, "ingressQos": { "3": 6, "7": 1000 }, "egressQos": { "6": 5 } }),
    );
    let (c1, result) = world.attached("c1", &conf);
    let link = c1.link("eth0").unwrap();
    assert_eq!(
        data(&link)["ingress_qos"],
        json!([{ "from": 3, "to": 6 }, { "from": 7, "to": 1000 }])
    );
    assert_eq!(data(&link)["egress_qos"], json!([{ "from": 6, "to": 5 }]));
    let capture = world.capture("nic", "vlan and icmp");
    // The kernel gives this type of service the priority 6 (interactive).
    c1.exec(["ping", "-c", "1", "-W", "5", "-Q", "0x10", "10.1.0.100"]);
    capture.until_seen(
        "vlan 5, p 5, ethertype IPv4 (0x0800), 10.1.0.2 > 10.1.0.100",
        SOON,
    );
    world.check(&c1, &conf, &result).succeeds();
    c1.sh("ip link set eth0 type vlan egress-qos-map 6:1");
    world
        .check(&c1, &conf, &result)
        .fails_with(102, "egress-qos-map of eth0: expected 6:5, found 6:1");
}

#[test]
fn flags_are_set_as_ip_names_them() {
    let world = World::new();
    let keys = json!({ "vlanId": 5, "reorderHeader": false, "gvrp": true, "mvrp": true, "looseBinding": true });
    let conf = on_nic(keys);
    let (c1, result) = world.attached("c1", &conf);
    let flags = data(&c1.link("eth0").unwrap())["flags"].clone();
    assert_eq!(flags, json!(["GVRP", "MVRP", "LOOSE_BINDING"]));
    world.check(&c1, &conf, &result).succeeds();
    c1.sh("ip link set eth0 type vlan gvrp off");
    world
        .check(&c1, &conf, &result)
        .fails_with(102, "gvrp of eth0: expected on, found off");
}

#[test]
fn a_loosely_bound_link_outlives_its_masters_downs() {
    let world = World::new();
    let conf = on_nic(json!({ "vlanId": 5, "looseBinding": true }));
    world.sh("ip link set nic down");
    let (c1, _) = world.attached("c1", &conf);
    let flags = c1.link("eth0").unwrap()["flags"].to_string();
    assert!(flags.contains("\"UP\""), "{flags}");
    world.sh("ip link set nic up");
    let _end = world.far_end(5);
    assert!(plumb_tests::until(SOON, || c1.ping("10.1.0.100")));
}
