//! Mode `shared`: many containers on one VLAN of one master.

use std::time::Duration;

use plumb_tests::{Container, Value, at_once, json};

use super::{World, shared, with};

const SOON: Duration = Duration::from_secs(10);

/// The VLAN link that containers share.
#[track_caller]
fn link(world: &World) -> Value {
    let others = world.others();
    let [name] = others.as_slice() else {
        panic!("one shared link, and not {others:?}")
    };
    world.link(name).unwrap()
}

#[test]
fn containers_of_one_vlan_reach_each_other_and_not_the_neighbour_vlan() {
    let world = World::new();
    let _end = world.far_end(5);
    let (c1, result) = world.attached("c1", &shared(5));
    let capture = world.capture("nic", "vlan");
    let (c2, _) = world.attached("c2", &shared(5));
    capture.until_seen("10.1.0.3 tell 10.1.0.3", SOON);
    capture.until_seen("neighbor advertisement, tgt is fd01::3", SOON);
    let (c3, _) = world.attached("c3", &shared(6));
    assert!(c1.ping("10.1.0.3") && c1.ping("fd01::3"));
    assert!(c1.ping("10.1.0.100") && c2.ping("10.1.0.100"));
    capture.until_seen(
        "vlan 5, p 0, ethertype IPv4 (0x0800), 10.1.0.3 > 10.1.0.100",
        SOON,
    );
    assert!(!c1.ping("10.1.0.4") && !c3.ping("10.1.0.100"));
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 2);
    assert_eq!(result["interfaces"][1]["name"], "eth0");
    assert_eq!(result["ips"][0]["interface"], 1);
    world.check(&c1, &shared(5), &result).succeeds();
}

#[test]
fn the_shared_link_names_its_owners_and_goes_with_the_last() {
    let world = World::new();
    let before = world.state();
    let (c1, result) = world.attached("c1", &shared(5));
    let (c2, _) = world.attached("c2", &shared(5));
    let shared_link = link(&world);
    assert_eq!(result["interfaces"][0]["name"], shared_link["ifname"]);
    assert_eq!(result["interfaces"][0].get("sandbox"), None);
    assert_eq!(shared_link["ifalias"], "plumb1-vlan");
    assert_eq!(shared_link["linkinfo"]["info_data"]["id"], 5);
    let owners = shared_link["altnames"].to_string();
    for owner in [":q5:testnet:c1:eth0", ":q5:testnet:c2:eth0"] {
        assert!(owners.contains(owner), "{owners}");
    }
    let name = shared_link["ifname"].as_str().unwrap();
    assert!(
        world.addrs(name).is_empty(),
        "the host has no part in the VLAN"
    );
    world.del(&c1, &shared(5));
    assert!(!link(&world)["altnames"].to_string().contains(":c1:"));
    world.del(&c1, &shared(5));
    assert_eq!(c2.link("eth0").unwrap()["operstate"], "UP");
    world.del(&c2, &shared(5));
    world.assert_unchanged_since(&before);
}

#[test]
fn a_vlan_link_of_somebody_else_is_used_and_stays() {
    let world = World::new();
    world.sh("ip link add link nic name nic.5 type vlan id 5 && ip addr add 10.1.0.99/24 dev nic.5 && ip link set nic.5 up");
    let before = world.state();
    let (c1, result) = world.attached("c1", &shared(5));
    let (c2, _) = world.attached("c2", &shared(5));
    assert!(c1.ping("10.1.0.3"));
    assert_eq!(result["interfaces"][0]["name"], "nic.5");
    world.check(&c1, &shared(5), &result).succeeds();
    world.del(&c1, &shared(5));
    world.del(&c2, &shared(5));
    world.assert_unchanged_since(&before);
    world.plugin().valid([]).gc(shared(5)).succeeds();
    world.assert_unchanged_since(&before);
}

#[test]
fn attachments_of_one_container_go_one_by_one() {
    let world = World::new();
    let (c1, first) = world.attached("c1", &shared(5));
    // As a chain would call the one that it adds to eth0.
    let other = world.plugin().ifname("eth0.5");
    let second = other.add(&c1, shared(5)).succeeds();
    let eth0 = world.plugin().previous(&first);
    eth0.del(&c1, shared(5)).succeeds();
    assert_eq!(c1.link("eth0"), None);
    let other = other.previous(&second);
    other.check(&c1, shared(5)).succeeds();
    other.del(&c1, shared(5)).succeeds();
    assert!(world.others().is_empty());
}

/// Names of ours are as long, begin so and have such letters.
#[test]
fn a_name_like_that_of_a_shared_link_does_not_make_it_ours() {
    let world = World::new();
    world.sh("ip link add link nic name vlandevelopment type vlan id 5 && ip addr add 10.1.0.99/24 dev vlandevelopment");
    world.sh("ip link set vlandevelopment up");
    let before = world.state();
    let (c1, _) = world.attached("c1", &shared(5));
    world.del(&c1, &shared(5));
    world.del(&c1, &shared(5));
    world.plugin().valid([]).gc(shared(5)).succeeds();
    world.assert_unchanged_since(&before);
}

#[test]
fn one_that_is_down_or_not_as_wanted_is_refused() {
    let world = World::new();
    world.sh("ip link add link nic name nic.5 type vlan id 5");
    world.refused("c1", &shared(5), 7, "vlanId: nic.5 is down");
    world.sh("ip link set nic.5 up");
    let gvrp = with(shared(5), json!({ "gvrp": true }));
    world.refused(
        "c2",
        &gvrp,
        101,
        "nic.5 exists already with gvrp off; the configuration wants on",
    );
    world.sh("ip link set nic.5 mtu 1300");
    let large = with(shared(5), json!({ "mtu": 1400 }));
    world.refused(
        "c3",
        &large,
        7,
        "mtu: 1400 must be at most 1300, the MTU of nic.5",
    );
}

#[test]
fn one_in_another_namespace_is_refused() {
    let world = World::new();
    let direct = super::on_nic(json!({ "vlanId": 5 }));
    world.attached("c1", &direct);
    world.refused(
        "c2",
        &shared(5),
        101,
        "nic has a link for 802.1Q id 5 already",
    );
}

#[test]
fn each_container_may_have_its_own_mtu_and_address() {
    let world = World::new();
    let small = with(
        shared(5),
        json!({ "mtu": 1300, "runtimeConfig": { "mac": "02:00:00:00:00:07" } }),
    );
    let (c1, _) = world.attached("c1", &small);
    let (c2, _) = world.attached("c2", &shared(5));
    let one = c1.link("eth0").unwrap();
    assert_eq!(
        (&one["mtu"], &one["address"]),
        (&json!(1300), &json!("02:00:00:00:00:07"))
    );
    assert_eq!(c2.link("eth0").unwrap()["mtu"], 1500);
    assert_eq!(link(&world)["mtu"], 1500);
}

/// The kernel makes a VLAN link smaller with its master, and not larger.
#[test]
fn a_shared_link_grows_with_its_master() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &shared(5));
    world.sh("ip link set nic mtu 9000");
    let (c2, _) = world.attached("c2", &shared(5));
    let large = with(shared(5), json!({ "mtu": 8000 }));
    let (c3, _) = world.attached("c3", &large);
    let mtu = |container: &Container| container.link("eth0").unwrap()["mtu"].clone();
    assert_eq!([mtu(&c1), mtu(&c2), mtu(&c3)], [1500, 9000, 8000]);
    world.check(&c1, &shared(5), &result).succeeds();
    let more = with(shared(5), json!({ "mtu": 9001 }));
    world.refused("c4", &more, 7, "mtu: 9001 must be at most 9000");
}

#[test]
fn thirty_two_at_once_share_one_vlan_and_leave_nothing() {
    let world = World::new();
    let before = world.state();
    let containers: Vec<_> = (1..33)
        .map(|number| world.container(&format!("c{number}")))
        .collect();
    let plugin = world.plugin();
    at_once(32, |number| {
        plugin.add(&containers[number], shared(5)).succeeds()
    });
    assert_eq!(link(&world)["altnames"].as_array().unwrap().len(), 32);
    for container in containers.iter().step_by(7) {
        assert!(container.ping("10.1.0.33"));
    }
    at_once(32, |number| {
        plugin.del(&containers[number], shared(5)).succeeds()
    });
    world.assert_unchanged_since(&before);
}

#[test]
fn attachments_that_come_and_go_survive_a_link_that_comes_and_goes() {
    let world = World::new();
    let before = world.state();
    let containers: Vec<_> = (1..5)
        .map(|number| world.container(&format!("c{number}")))
        .collect();
    let plugin = world.plugin();
    at_once(4, |number| {
        for _ in 0..6 {
            let container = &containers[number];
            let result = plugin.add(container, shared(5)).succeeds();
            let check = plugin.clone().previous(&result);
            check.check(container, shared(5)).succeeds();
            plugin.del(container, shared(5)).succeeds();
        }
    });
    world.assert_unchanged_since(&before);
}

#[test]
fn the_shared_link_may_be_in_the_container() {
    let world = World::new();
    let c1 = world.container("c1");
    world.move_nic(&c1);
    let inside = c1.state();
    let conf = with(shared(5), json!({ "linkInContainer": true }));
    let plugin = world.plugin();
    let (one, two) = (plugin.clone().ifname("net1"), plugin.clone().ifname("net2"));
    let result = one.add(&c1, &conf).succeeds();
    world
        .ipam
        .gives("c1", json!({ "ips": [{ "address": "10.1.0.9/24" }] }));
    two.add(&c1, &conf).succeeds();
    assert_eq!(result["interfaces"][0]["sandbox"], "/run/netns/c1");
    one.clone().previous(&result).check(&c1, &conf).succeeds();
    one.del(&c1, &conf).succeeds();
    assert!(c1.link("net2").is_some());
    two.del(&c1, &conf).succeeds();
    c1.assert_unchanged_since(&inside);
}
