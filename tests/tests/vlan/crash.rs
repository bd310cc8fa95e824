//! What an ADD or DEL that was killed leaves behind, and what GC makes of it.

use std::time::{Duration, Instant};

use plumb_tests::{Value, conf_for, json};

use super::{World, shared, with};

/// The name that the plugin gives a shared link.
fn name_of_shared(world: &World) -> String {
    let (c39, result) = world.attached("c39", &shared(5));
    world.del(&c39, &shared(5));
    assert!(world.others().is_empty());
    result["interfaces"][0]["name"].as_str().unwrap().to_owned()
}

/// Makes the link as an ADD leaves it that is killed right after.
fn half_made(world: &World) -> String {
    let name = name_of_shared(world);
    world.sh(&format!("ip link add link nic name {name} type vlan id 5"));
    name
}

#[test]
fn a_link_that_nobody_came_to_own_is_taken_over() {
    let world = World::new();
    let name = half_made(&world);
    let (c1, _) = world.attached("c1", &shared(5));
    let (c2, _) = world.attached("c2", &shared(5));
    assert!(c1.ping("10.1.0.3"));
    assert_eq!(world.link(&name).unwrap()["ifalias"], "plumb1-vlan");
    world.del(&c1, &shared(5));
    world.del(&c2, &shared(5));
    assert!(world.others().is_empty());
}

#[test]
fn a_link_that_nobody_came_to_own_goes_with_the_crashed_attachments_del() {
    let world = World::new();
    half_made(&world);
    let c1 = world.container("c1");
    world.del(&c1, &shared(5));
    assert!(world.others().is_empty());
}

#[test]
fn a_link_that_nobody_came_to_own_is_collected() {
    let world = World::new();
    half_made(&world);
    world.plugin().valid([]).gc(shared(5)).succeeds();
    assert!(world.others().is_empty());
}

#[test]
fn an_owner_without_an_interface_does_not_stop_its_add_or_its_del() {
    let world = World::new();
    let (c1, _) = world.attached("c1", &shared(5));
    c1.sh("ip link del eth0");
    world.plugin().add(&c1, shared(5)).succeeds();
    c1.sh("ip link del eth0");
    world.del(&c1, &shared(5));
    assert!(world.others().is_empty());
}

#[test]
fn an_unmarked_interface_of_a_crashed_add_goes_with_its_del() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &shared(5));
    c1.sh("ip link del eth0");
    let shared_name = result["interfaces"][0]["name"].as_str().unwrap();
    world.sh(&format!(
        "ip link add link {shared_name} name eth0 netns c1 type macvlan mode bridge"
    ));
    world.del(&c1, &shared(5));
    assert_eq!(c1.link("eth0"), None);
    assert!(world.others().is_empty());
}

#[test]
fn a_removal_that_was_killed_is_called_off() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &shared(5));
    let name = result["interfaces"][0]["name"].as_str().unwrap();
    world.sh(&format!("ip link set {name} alias plumb1-vlan-removal"));
    let begun = Instant::now();
    let (c2, _) = world.attached("c2", &shared(5));
    assert!(
        begun.elapsed() > Duration::from_millis(900),
        "it might still be at work"
    );
    assert_eq!(world.link(name).unwrap()["ifalias"], "plumb1-vlan");
    assert!(c1.ping("10.1.0.3"));
    world.del(&c1, &shared(5));
    world.del(&c2, &shared(5));
    assert!(world.others().is_empty());
}

#[test]
fn what_is_not_valid_is_collected_and_the_rest_stays() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &shared(5));
    let (c2, _) = world.attached("c2", &shared(5));
    let (c3, _) = world.attached("c3", &shared(6));
    let base = conf_for("other", "vlan", json!({ "master": "nic" }));
    let other = with(base, json!({ "mode": "shared", "vlanId": 5 }));
    let (_c4, _) = world.attached("c4", &other);
    let owners = |name: &Value| world.link(name.as_str().unwrap()).unwrap()["altnames"].to_string();
    let name = &result["interfaces"][0]["name"];
    c2.vanish();
    c3.vanish();
    // Any configuration of the network will do; the list is what counts.
    let gc = world.plugin().valid([("c1", "eth0")]);
    gc.gc(shared(9)).succeeds();
    assert_eq!(world.others().len(), 1, "that of VLAN 6 had no valid owner");
    let left = owners(name);
    assert!(
        !left.contains(":c2:") && left.contains(":c1:") && left.contains(":other:c4:"),
        "{left}"
    );
    world.check(&c1, &shared(5), &result).succeeds();
    world.plugin().valid([]).gc(shared(5)).succeeds();
    assert!(owners(name).contains(":other:c4:"));
    world.plugin().valid([]).gc(&other).succeeds();
    assert!(world.others().is_empty());
}

#[test]
fn a_network_whose_long_name_begins_alike_keeps_its_attachments() {
    let world = World::new();
    let long = |end: &str| {
        let name = format!("{}{end}", "n".repeat(120));
        let base = conf_for(&name, "vlan", json!({ "master": "nic" }));
        with(base, json!({ "mode": "shared", "vlanId": 5 }))
    };
    let (c1, result) = world.attached("c1", &long("1"));
    let (_c2, _) = world.attached("c2", &long("2"));
    world.plugin().valid([]).gc(long("2")).succeeds();
    world.check(&c1, &long("1"), &result).succeeds();
    world.plugin().valid([]).gc(long("1")).succeeds();
    assert!(world.others().is_empty());
}
