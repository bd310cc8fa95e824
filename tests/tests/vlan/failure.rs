//! A failed ADD leaves host and container as they were, and tells the IPAM plugin.

use plumb_tests::{Value, at_once, json};

use super::ipam::CAREFUL;
use super::{World, on_nic, shared, with};

fn confs() -> [Value; 2] {
    [on_nic(json!({ "vlanId": 5 })), shared(5)]
}

/// Each mode on a host of its own.
fn in_both_modes(case: impl Fn(&World, &Value) + Sync) {
    at_once(2, |number| case(&World::new(), &confs()[number]));
}

/// ADD of c1 fails so in both modes, without a trace, and beside another attachment too.
#[track_caller]
fn fails(prepare: impl Fn(&World) + Sync, keys: &Value, code: u32, words: &str) {
    in_both_modes(|world, conf| {
        if conf["mode"] == "shared" {
            world.attached("c2", conf);
        }
        prepare(world);
        let calls = world.ipam.calls().len();
        let conf = with(conf.clone(), keys.clone());
        world.fails_without_a_trace("c1", &conf, code, words);
        assert_eq!(world.ipam.calls()[calls..], ["ADD c1 eth0", "DEL c1 eth0"]);
    });
}

#[test]
fn an_ipam_plugin_that_refuses() {
    let refuse = |world: &World| {
        world.ipam.does(
            "ADD",
            r#"echo '{"code":123,"msg":"no address left"}'; exit 1"#,
        );
    };
    fails(refuse, &json!({}), 123, "host-local: no address left");
    fails(
        refuse,
        &json!({ "ipam": { "type": CAREFUL } }),
        123,
        "lease: no address left",
    );
}

#[test]
fn an_ipam_plugin_that_gives_nothing_or_nonsense() {
    let nothing = |world: &World| world.ipam.gives("c1", json!({}));
    fails(nothing, &json!({}), 7, "returned no address");
    let nonsense = |world: &World| world.ipam.does("ADD", "echo not JSON; exit 0");
    fails(nonsense, &json!({}), 6, "host-local");
}

#[test]
fn an_address_that_comes_twice() {
    let twice = json!([{ "address": "10.1.0.2/24" }, { "address": "10.1.0.2/24" }]);
    let prepare = |world: &World| world.ipam.gives("c1", json!({ "ips": twice.clone() }));
    fails(prepare, &json!({}), 100, "add address 10.1.0.2/24 to eth0");
}

#[test]
fn a_gateway_that_cannot_be_reached() {
    let ips = json!([{ "address": "10.1.0.2/24" }]);
    let routes = json!([{ "dst": "10.9.0.0/16", "gw": "10.7.0.1" }]);
    let given = json!({ "ips": ips, "routes": routes });
    let prepare = |world: &World| world.ipam.gives("c1", given.clone());
    fails(
        prepare,
        &json!({}),
        100,
        "add route 10.9.0.0/16 via 10.7.0.1",
    );
}

#[test]
fn ipv6_that_is_off_and_cannot_be_switched_on() {
    in_both_modes(|world, conf| {
        let c1 = world.container("c1");
        c1.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        world.make_read_only("/proc/sys");
        let (before, inside) = (world.state(), c1.state());
        let failed = world.plugin().add(&c1, conf);
        failed.fails_with(100, "disable_ipv6 is 1 and cannot be written");
        world.assert_unchanged_since(&before);
        c1.assert_unchanged_since(&inside);
    });
}

#[test]
fn two_addresses_of_a_family_where_the_version_has_room_for_one() {
    let ips = json!([{ "address": "10.1.0.2/24" }, { "address": "10.2.0.2/24" }]);
    let prepare = |world: &World| world.ipam.gives("c1", json!({ "ips": ips.clone() }));
    fails(prepare, &json!({ "cniVersion": "0.2.0" }), 7, "cniVersion");
}

#[test]
fn a_namespace_that_vanishes_meanwhile_is_code_3() {
    in_both_modes(|world, conf| {
        let c1 = world.container("c1");
        world
            .ipam
            .does("ADD", "umount -l /run/netns/c1; rm /run/netns/c1");
        let before = world.state();
        world.plugin().add(&c1, conf).fails_with(3, "vanished");
        world.assert_unchanged_since(&before);
        assert_eq!(world.ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
    });
}

#[test]
fn a_name_that_is_taken_on_the_host() {
    let world = World::new();
    let (c2, result) = world.attached("c2", &shared(5));
    let name = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    world.del(&c2, &shared(5));
    world.sh(&format!("ip link add {name} type dummy"));
    world.fails_without_a_trace("c1", &shared(5), 101, &name);
    world.del(&c2, &shared(5));
    world.plugin().valid([]).gc(shared(5)).succeeds();
    assert_eq!(world.others(), [name]);
}

#[test]
fn an_ipam_plugin_that_is_not_there_is_found_out_first() {
    in_both_modes(|world, conf| {
        let conf = with(conf.clone(), json!({ "ipam": { "type": "nowhere" } }));
        world.fails_without_a_trace("c1", &conf, 7, "nowhere");
        assert!(world.ipam.calls().is_empty());
    });
}
