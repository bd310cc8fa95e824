//! Mode `shared` without `vlanId`: the containers stand on the master itself.

use std::time::Duration;

use plumb_tests::{Value, at_once, json};

use super::{World, on_nic, with, without};

const SOON: Duration = Duration::from_secs(15);

fn untagged() -> Value {
    on_nic(json!({ "mode": "shared" }))
}

#[test]
fn containers_and_the_switch_reach_each_other_without_a_tag() {
    let world = World::new();
    world.switch.sh("ip addr add 10.1.0.100/24 dev port");
    let (c1, result) = world.attached("c1", &untagged());
    let (c2, _) = world.attached("c2", &untagged());
    let capture = world.switch.capture("port", "icmp");
    assert!(c1.ping("10.1.0.3") && c1.ping("fd01::3"));
    assert!(c2.ping("10.1.0.100"));
    capture.until_seen("10.1.0.3 > 10.1.0.100", SOON);
    let seen = capture.packets().join("\n");
    assert!(!seen.contains("vlan"), "{seen}");
    let link = c1.link("eth0").unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
    let interface =
        json!({ "name": "eth0", "mac": link["address"], "mtu": 1500, "sandbox": "/run/netns/c1" });
    assert_eq!(result["interfaces"], json!([interface]));
    assert_eq!(result["ips"][0]["interface"], 0);
    assert!(world.others().is_empty(), "the host sees nothing of it");
    world.check(&c1, &untagged(), &result).succeeds();
}

#[test]
fn it_is_usable_and_announced_when_add_returns() {
    let world = World::new();
    let capture = world.switch.capture("port", "arp or icmp6");
    let (c1, _) = world.attached("c1", &untagged());
    for info in c1.addr_info("eth0") {
        assert!(info.get("tentative").is_none(), "{info}");
    }
    capture.until_seen("10.1.0.2 tell 10.1.0.2", SOON);
    capture.until_seen("neighbor advertisement, tgt is fd01::2", SOON);
}

#[test]
fn what_the_attachment_is_to_have_can_be_said() {
    let world = World::new();
    let conf = with(
        untagged(),
        json!({ "mtu": 1400, "dns": { "nameservers": ["10.1.0.53"] } }),
    );
    let ips = json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]);
    let given =
        json!({ "ips": ips, "routes": [{ "dst": "0.0.0.0/0" }], "dns": { "domain": "lost" } });
    world.ipam.gives("c1", given);
    let c1 = world.container("c1");
    let plugin = world.plugin().args("MAC=02:00:00:00:00:01");
    let conf = with(
        conf,
        json!({ "runtimeConfig": { "mac": "02:00:00:00:00:03" } }),
    );
    let result = plugin.add(&c1, &conf).succeeds();
    let link = c1.link("eth0").unwrap();
    assert_eq!(link["address"], "02:00:00:00:00:03");
    assert_eq!(link["mtu"], 1400);
    assert_eq!(result["dns"], json!({ "nameservers": ["10.1.0.53"] }));
    let routes = c1.routes();
    let default = |route: &String| route.starts_with("default via 10.1.0.1 dev eth0");
    assert!(routes.iter().any(default), "{routes:?}");
}

#[test]
fn without_ipam_it_is_a_cable() {
    let world = World::new();
    let conf = without(untagged(), "ipam");
    let (c1, result) = world.attached("c1", &conf);
    assert_eq!(result.get("ips"), None);
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    world.check(&c1, &conf, &result).succeeds();
    let c2 = world.container("c2");
    let wrong = world.plugin().args("COLOUR=red").add(&c2, &conf);
    wrong.fails_with(4, "COLOUR");
    world.del(&c1, &conf);
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn an_ipam_plugin_that_looks_for_the_link_finds_it_up_and_del_leaves_it_for_its_turn() {
    let world = World::new();
    let up = "nsenter --net=$CNI_NETNS ip -o link show dev $CNI_IFNAME up | grep -q UP \
        || { echo '{\"code\":200,\"msg\":\"no link\"}'; exit 1; }";
    world.ipam.does("ADD", up);
    world.ipam.does("DEL", up);
    let conf = with(
        untagged(),
        json!({ "ipam": { "type": super::ipam::CAREFUL } }),
    );
    let (c1, _) = world.attached("c1", &conf);
    world.del(&c1, &conf);
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn del_needs_neither_namespace_nor_master_and_may_be_repeated() {
    let world = World::new();
    let (c1, _) = world.attached("c1", &untagged());
    let (c2, _) = world.attached("c2", &untagged());
    world.del(&c1, &untagged());
    world.del(&c1, &untagged());
    assert_eq!(c1.link("eth0"), None);
    c2.vanish();
    world.del(&c2, &untagged());
    let (c3, _) = world.attached("c3", &untagged());
    world.sh("ip link del nic");
    world.del(&c3, &untagged());
    let deleted = world.ipam.calls();
    let deleted = deleted.iter().filter(|call| call.starts_with("DEL"));
    assert_eq!(deleted.count(), 4);
}

#[test]
fn del_leaves_what_it_did_not_make() {
    let world = World::new();
    let c1 = world.container("c1");
    c1.sh("ip link add eth0 type bridge");
    world.del(&c1, &untagged());
    assert!(c1.link("eth0").is_some());
    let c2 = world.container("c2");
    world.sh("ip link add link nic name eth0 netns c2 type macvlan mode bridge");
    c2.sh("ip link set eth0 up alias somebodys");
    world.del(&c2, &untagged());
    assert!(c2.link("eth0").is_some());
}

#[test]
fn without_a_namespace_the_recorded_one_is_looked_into() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &untagged());
    let plugin = world.plugin().previous(&result);
    plugin.netns("").del(&c1, untagged()).succeeds();
    assert_eq!(c1.link("eth0"), None);
    // By now the path may be another container's.
    c1.sh("ip link add eth0 type bridge");
    let plugin = world.plugin().previous(&result);
    plugin.netns("").del(&c1, untagged()).succeeds();
    assert!(c1.link("eth0").is_some());
}

#[test]
fn a_failed_add_leaves_nothing() {
    let world = World::new();
    world.ipam.does(
        "ADD",
        r#"echo '{"code":123,"msg":"no address left"}'; exit 1"#,
    );
    world.fails_without_a_trace("c1", &untagged(), 123, "no address left");
    assert_eq!(world.ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
    world.ipam.does("ADD", "true");
    let twice = json!([{ "address": "10.1.0.2/24" }, { "address": "10.1.0.2/24" }]);
    world.ipam.gives("c2", json!({ "ips": twice }));
    world.fails_without_a_trace("c2", &untagged(), 100, "add address 10.1.0.2/24");
    let beyond = json!({ "ips": [{ "address": "10.1.0.2/24" }], "routes": [{ "dst": "10.9.0.0/16", "gw": "10.7.0.1" }] });
    world.ipam.gives("c3", beyond);
    world.fails_without_a_trace("c3", &untagged(), 100, "10.9.0.0/16");
}

#[test]
fn a_namespace_that_vanishes_meanwhile_is_code_3() {
    let world = World::new();
    let c1 = world.container("c1");
    world
        .ipam
        .does("ADD", "umount -l /run/netns/c1; rm /run/netns/c1");
    let before = world.state();
    world
        .plugin()
        .add(&c1, untagged())
        .fails_with(3, "vanished");
    world.assert_unchanged_since(&before);
    assert_eq!(world.ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
}

#[test]
fn a_taken_name_leaves_the_first_attachment_alone() {
    let world = World::new();
    let (c1, _) = world.attached("c1", &untagged());
    let inside = c1.state();
    let calls = world.ipam.calls();
    let again = world.plugin().add(&c1, untagged());
    again.fails_with(101, "an interface eth0 already, of kind macvlan");
    c1.assert_unchanged_since(&inside);
    assert_eq!(world.ipam.calls(), calls);
}

#[test]
fn a_host_interface_of_that_name_is_no_obstacle() {
    let world = World::new();
    world.sh("ip link add eth0 type bridge");
    let (c1, _) = world.attached("c1", &untagged());
    assert_eq!(c1.link("eth0").unwrap()["linkinfo"]["info_kind"], "macvlan");
}

#[test]
fn a_master_that_is_a_port_is_refused() {
    let world = World::new();
    world.sh("ip link add br0 type bridge && ip link set nic master br0");
    world.fails_without_a_trace("c1", &untagged(), 101, "nic is a port");
}

#[test]
fn thirty_two_at_once_come_and_go() {
    let world = World::new();
    let containers: Vec<_> = (1..33)
        .map(|number| world.container(&format!("c{number}")))
        .collect();
    let plugin = world.plugin();
    at_once(32, |number| {
        plugin.add(&containers[number], untagged()).succeeds()
    });
    assert!(containers[0].ping("10.1.0.33") && containers[31].ping("fd01::2"));
    at_once(32, |number| {
        plugin.del(&containers[number], untagged()).succeeds()
    });
    for container in &containers {
        assert_eq!(container.link("eth0"), None);
    }
}

#[test]
fn check_finds_what_changed() {
    let world = World::new();
    let ips = json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]);
    let given = json!({ "ips": ips, "routes": [{ "dst": "10.5.0.0/16" }] });
    world.ipam.gives("c1", given);
    world.sh(
        "ip link add other type veth peer name end && ip link set other up && ip link set end up",
    );
    let conf = untagged();
    for (number, (change, words)) in [
        ("ip link set eth0 down", "state of eth0: expected up"),
        (
            "ip link set eth0 mtu 1300",
            "mtu of eth0: expected 1500, found 1300",
        ),
        (
            "ip link set eth0 address 02:00:00:00:00:09",
            "address of eth0",
        ),
        (
            "ip addr del 10.1.0.2/24 dev eth0",
            "address on eth0: expected 10.1.0.2/24",
        ),
        ("ip route del 10.5.0.0/16", "route to 10.5.0.0/16"),
        (
            "ip link del eth0",
            "interface in the container: expected eth0",
        ),
        (
            "ip link del eth0; ip link add eth0 type bridge",
            "kind of eth0: expected macvlan, found bridge",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let c1 = world.container(&format!("x{number}"));
        let plugin = world.plugin().container_id("c1");
        let result = plugin.add(&c1, &conf).succeeds();
        let check = plugin.clone().previous(&result);
        check.check(&c1, &conf).succeeds();
        c1.sh(change);
        check.check(&c1, &conf).fails_with(102, words);
    }
    let (c2, result) = world.attached("c2", &conf);
    let moved = with(conf, json!({ "master": "other" }));
    world
        .check(&c2, &moved, &result)
        .fails_with(102, "master: expected other, found nic");
}

#[test]
fn a_default_route_stands_back_and_returns() {
    let world = World::new();
    let c1 = world.container("c1");
    world.sh("ip link add first type veth peer name eth9 netns c1");
    c1.sh("ip addr add 10.66.0.2/24 dev eth9; ip link set eth9 up; ip route add default via 10.66.0.1");
    let ips = json!([{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }]);
    let given = json!({ "ips": ips, "routes": [{ "dst": "0.0.0.0/0" }] });
    world.ipam.gives("c1", given);
    let before = c1.state();
    let conf = with(untagged(), json!({ "replaceDefaultRoute": true }));
    let result = world.plugin().add(&c1, &conf).succeeds();
    let chosen = c1.exec(["ip", "route", "get", "192.0.2.9"]);
    assert!(chosen.contains("via 10.1.0.1 dev eth0"), "{chosen}");
    world.check(&c1, &conf, &result).succeeds();
    for _ in 0..2 {
        world.del(&c1, &conf);
        c1.assert_unchanged_since(&before);
    }
}
