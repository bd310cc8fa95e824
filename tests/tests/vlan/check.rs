//! CHECK: what was changed since is found.

use plumb_tests::{Value, json};

use super::{World, on_nic, shared, with};

fn direct() -> Value {
    on_nic(json!({ "vlanId": 5 }))
}

#[test]
fn every_change_of_the_interface_is_found() {
    let world = World::new();
    let ips = json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]);
    let given = json!({ "ips": ips, "routes": [{ "dst": "10.5.0.0/16" }] });
    world.ipam.gives("c1", given);
    let c1 = world.container("c1");
    for (change, words) in [
        (
            "ip link set eth0 down",
            "state of eth0: expected up, found down",
        ),
        (
            "ip link set eth0 mtu 1300",
            "mtu of eth0: expected 1500, found 1300",
        ),
        (
            "ip link set eth0 address 02:00:00:00:00:09",
            "address of eth0: expected",
        ),
        (
            "ip addr del 10.1.0.2/24 dev eth0",
            "address on eth0: expected 10.1.0.2/24, found",
        ),
        ("ip route del 10.5.0.0/16", "route to 10.5.0.0/16: expected"),
        (
            "ip link set eth0 down; ip link set eth0 name eth7",
            "interface in the container: expected eth0, found nothing",
        ),
        (
            "ip link set eth0 down; ip link set eth0 name eth7; ip link add eth0 type dummy",
            "kind of eth0: expected vlan, found dummy",
        ),
    ] {
        let result = world.plugin().add(&c1, direct()).succeeds();
        world.check(&c1, &direct(), &result).succeeds();
        c1.sh(change);
        world.check(&c1, &direct(), &result).fails_with(102, words);
        c1.sh("for link in eth0 eth7; do ip link del $link 2> /dev/null || true; done");
    }
}

#[test]
fn another_master_id_or_mtu_is_found() {
    let world = World::new();
    world.sh("ip link add other type dummy && ip link set other up");
    let (c1, result) = world.attached("c1", &direct());
    for (keys, words) in [
        (
            json!({ "vlanId": 6 }),
            "VLAN id of eth0: expected 6, found 5",
        ),
        (
            json!({ "master": "other" }),
            "master: expected other, found nic",
        ),
        (
            json!({ "master": "nowhere" }),
            "master: expected nowhere, found nothing",
        ),
        (
            json!({ "linkInContainer": true, "master": "lo" }),
            "master: expected lo, found nic",
        ),
    ] {
        let conf = with(direct(), keys);
        world.check(&c1, &conf, &result).fails_with(102, words);
    }
    let mut older = result;
    older["interfaces"][0]
        .as_object_mut()
        .unwrap()
        .remove("mtu");
    world.check(&c1, &direct(), &older).succeeds();
    let conf = with(direct(), json!({ "mtu": 1400 }));
    world
        .check(&c1, &conf, &older)
        .fails_with(102, "mtu of eth0: expected 1400, found 1500");
}

#[test]
fn every_change_of_the_shared_link_is_found() {
    let world = World::new();
    world.sh("ip link add other type dummy && ip link set other up");
    let (c1, result) = world.attached("c1", &shared(5));
    let name = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    for (keys, words) in [
        (json!({ "vlanId": 6 }), "VLAN id of vlan"),
        (
            json!({ "master": "other" }),
            "master: expected other, found nic",
        ),
        (json!({ "gvrp": true }), "gvrp of vlan"),
        (json!({ "protocol": "802.1ad" }), "protocol of vlan"),
    ] {
        let conf = with(shared(5), keys);
        world.check(&c1, &conf, &result).fails_with(102, words);
    }
    let owner = world.link(&name).unwrap()["altnames"][0]
        .as_str()
        .unwrap()
        .to_owned();
    world.sh(&format!("ip link property del dev {name} altname {owner}"));
    world
        .check(&c1, &shared(5), &result)
        .fails_with(102, &format!("owner of {name}: expected {owner}"));
    world.sh(&format!("ip link property add dev {name} altname {owner}"));
    world.check(&c1, &shared(5), &result).succeeds();
    world.sh(&format!("ip link set {name} down"));
    world
        .check(&c1, &shared(5), &result)
        .fails_with(102, &format!("state of {name}: expected up"));
    world.sh(&format!("ip link set {name} up"));
    c1.sh("ip link del eth0");
    world.sh("ip link add link nic name eth0 netns c1 type macvlan mode bridge");
    c1.sh("ip link set eth0 up");
    let mut moved = result;
    moved["interfaces"][1]
        .as_object_mut()
        .unwrap()
        .remove("mac");
    world
        .check(&c1, &shared(5), &moved)
        .fails_with(102, "link below eth0: expected a VLAN link");
}

#[test]
fn a_vanished_namespace_is_found() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &direct());
    c1.vanish();
    world
        .check(&c1, &direct(), &result)
        .fails_with(102, "/run/netns/c1");
}
