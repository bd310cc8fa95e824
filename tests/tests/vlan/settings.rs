//! Which master, and what is refused before anything is changed.

use plumb_tests::{Value, json};

use super::{World, on_nic, with, without};

fn untagged() -> Value {
    on_nic(json!({ "mode": "shared" }))
}

#[test]
fn the_master_may_be_named_by_its_ethernet_address() {
    let world = World::new();
    let mac = world.link("nic").unwrap()["address"].clone();
    let by_mac = format!("mac:{}", mac.as_str().unwrap().to_uppercase());
    let conf = with(untagged(), json!({ "master": by_mac }));
    let (c1, result) = world.attached("c1", &conf);
    world.check(&c1, &conf, &result).succeeds();
    assert_eq!(
        c1.link("eth0").unwrap()["link_index"],
        world.link("nic").unwrap()["ifindex"]
    );
}

#[test]
fn the_master_may_be_named_by_a_further_name_longer_than_names_are() {
    let world = World::new();
    let long = "enp0s31f6np0d1v2f3";
    let conf = with(untagged(), json!({ "master": long }));
    let refused = format!("master: no link has the further name \"{long}\"");
    world.fails_without_a_trace("c0", &conf, 7, &refused);
    world.sh(&format!("ip link property add dev nic altname {long}"));
    let (c1, result) = world.attached("c1", &conf);
    world.check(&c1, &conf, &result).succeeds();
    assert_eq!(
        c1.link("eth0").unwrap()["link_index"],
        world.link("nic").unwrap()["ifindex"]
    );
}

#[test]
fn an_empty_master_is_the_default_routes() {
    let world = World::new();
    world.fails_without_a_trace(
        "c0",
        &without(untagged(), "master"),
        7,
        "master: is empty, and there is no default route",
    );
    world.sh("ip addr add 192.0.2.2/24 dev nic && ip route add default via 192.0.2.1");
    for (name, conf) in [
        ("c1", without(untagged(), "master")),
        ("c2", with(untagged(), json!({ "master": "" }))),
    ] {
        let (container, result) = world.attached(name, &conf);
        assert_eq!(
            container.link("eth0").unwrap()["link_index"],
            world.link("nic").unwrap()["ifindex"]
        );
        world.check(&container, &conf, &result).succeeds();
    }
}

#[test]
fn impossible_settings_are_refused_first() {
    let world = World::new();
    for (number, (keys, words)) in [
        (
            json!({ "master": "nowhere" }),
            "master: there is no link \"nowhere\"",
        ),
        (
            json!({ "master": "mac:02:00:00:00:00:99" }),
            "master: no link has",
        ),
        (json!({ "mtu": 1501 }), "mtu: 1501 must be at most 1500"),
        (json!({ "vlanId": 4095 }), "vlanId: 4095"),
        (json!({ "vlanId": -1 }), "vlanId: -1"),
        (json!({ "mode": "both" }), "mode: \"both\""),
        (json!({ "gvrp": true }), "gvrp: needs vlanId"),
        (
            json!({ "vlanId": 5, "egressQos": { "1": 9 } }),
            "egressQos.1: 9",
        ),
        (
            json!({ "vlanId": 5, "protocol": "802.1x" }),
            "protocol: \"802.1x\"",
        ),
        (
            json!({ "runtimeConfig": { "mac": "ff:ff:ff:ff:ff:ff" } }),
            "runtimeConfig.mac",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let conf = with(untagged(), keys);
        world.fails_without_a_trace(&format!("x{number}"), &conf, 7, words);
    }
    world.sh("ip link set nic down");
    world.fails_without_a_trace("down", &untagged(), 7, "master: nic is down");
    assert!(world.ipam.calls().is_empty());
}

/// Holds where the kernel has 802.1Q and where it does not: ip(8) is the judge.
#[test]
fn what_the_kernel_lacks_is_named_with_its_module() {
    let world = World::new();
    let conf = on_nic(json!({ "vlanId": 5 }));
    let made = world.try_exec([
        "ip", "link", "add", "link", "nic", "name", "try", "type", "vlan", "id", "9",
    ]);
    if made.status.success() {
        world.sh("ip link del try");
        world.plugin().status(&conf).succeeds();
        world.attached("c1", &conf);
    } else {
        world.plugin().status(&conf).fails_with(50, "8021q");
        world.fails_without_a_trace("c1", &conf, 2, "8021q");
        // And loads none.
        let calls = "/run/calls";
        let trace = "trace=execve,init_module,finit_module";
        let strace = ["strace", "-f", "-qq", "-e", trace, "-o", calls];
        let c2 = world.container("c2");
        let plugin = world.plugin().under(strace);
        plugin.add(&c2, &conf).fails_with(2, "8021q");
        let calls = std::fs::read_to_string(calls).unwrap();
        assert!(calls.contains("vlan"), "{calls}");
        for word in ["modprobe", "init_module"] {
            assert!(!calls.contains(word), "{calls}");
        }
    }
}

#[test]
fn status_looks_at_the_master_and_asks_the_ipam_plugin() {
    let world = World::new();
    let plugin = world.plugin();
    plugin.status(untagged()).succeeds();
    plugin.status(without(untagged(), "ipam")).succeeds();
    let elsewhere = with(untagged(), json!({ "master": "nowhere" }));
    plugin.status(elsewhere.clone()).fails_with(50, "nowhere");
    let inside = with(elsewhere, json!({ "linkInContainer": true }));
    plugin.status(inside).succeeds();
    let large = with(untagged(), json!({ "mtu": 1501 }));
    plugin.status(large).fails_with(50, "mtu: 1501");
    world.sh("ip link set nic down");
    plugin.status(untagged()).fails_with(50, "nic is down");
    world.sh("ip link set nic up");
    let missing = with(untagged(), json!({ "ipam": { "type": "nothing" } }));
    plugin.status(missing).fails_with(50, "nothing");
    world
        .ipam
        .does("STATUS", r#"echo '{"code":51,"msg":"full"}'; exit 1"#);
    plugin.status(untagged()).fails_with(51, "full");
}
