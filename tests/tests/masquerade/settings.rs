//! Kernel parameters: what is switched, and what is put back.

use std::time::Duration;

use plumb_tests::{Host, Process, conf, json, until};

use super::world::{INTERNET, UPLINK, World, seen};

const V4: &str = "net/ipv4/ip_forward";
const V6: &str = "net/ipv6/conf/all/forwarding";
const CALLS: [&str; 3] = [
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-arptables",
];

fn values(host: &Host) -> Vec<String> {
    let names = [V4, V6].into_iter().chain(CALLS);
    names.map(|name| host.sysctl(name).unwrap()).collect()
}

#[test]
fn forwarding_is_switched_on_for_the_families_in_use() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let mut only_v6 = result.clone();
    only_v6["ips"].as_array_mut().unwrap().remove(0);
    world.add(&c1, &only_v6, json!({})).succeeds();
    assert_eq!(values(&world.host), ["0", "1", "1", "1", "1"]);
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(values(&world.host), ["1", "1", "1", "1", "1"]);
    world.del(&c1).succeeds();
    // Nobody asked for it to be put back.
    assert_eq!(values(&world.host), ["1", "1", "1", "1", "1"]);
}

#[test]
fn forwarding_is_left_alone_on_request() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "ipForward": false });
    world.add(&c1, &result, keys.clone()).succeeds();
    assert_eq!(values(&world.host), ["0", "0", "1", "1", "1"]);
    let check = world.plugin().previous(&result);
    check.check(&c1, conf("masquerade", keys)).succeeds();
}

#[test]
fn bridged_frames_are_kept_from_the_rules_on_request() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "bridgeNfCall": false });
    world.add(&c1, &result, keys.clone()).succeeds();
    assert_eq!(values(&world.host), ["1", "1", "0", "0", "0"]);
    world.host.set_sysctl(CALLS[1], "1");
    let check = world.plugin().previous(&result);
    let drifted = check.check(&c1, conf("masquerade", keys));
    drifted.fails_with(102, "bridge-nf-call-ip6tables: expected 0, found 1");
}

#[test]
fn what_was_switched_is_put_back_with_the_last_attachment() {
    let world = World::new();
    world.host.set_sysctl(V6, "1");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let before = values(&world.host);
    let keys = json!({ "restoreSysctls": true, "bridgeNfCall": false });
    world.add(&c1, &first, keys.clone()).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    world.add(&c2, &second, keys.clone()).succeeds();
    assert_eq!(values(&world.host), ["1", "1", "0", "0", "0"]);
    world.del(&c1).succeeds();
    assert_eq!(values(&world.host), ["1", "1", "0", "0", "0"]);
    assert!(seen(&c2, &world.internet, INTERNET[0]).is_some());
    // The administrator's later word counts.
    world.host.set_sysctl(CALLS[2], "1");
    world.del(&c2).succeeds();
    assert_eq!(values(&world.host), before);
    assert_eq!(
        world
            .host
            .exec(["sh", "-c", "ls /run/plumb/*.json 2>/dev/null || true"]),
        ""
    );

    world.add(&c1, &first, keys).succeeds();
    let gc = world.plugin().valid([]);
    gc.gc(conf("masquerade", json!({}))).succeeds();
    assert_eq!(values(&world.host), before);
}

#[test]
fn what_a_del_that_was_killed_left_switched_is_put_back_by_the_next() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = values(&world.host);
    let keys = json!({ "restoreSysctls": true });
    world.add(&c1, &result, keys.clone()).succeeds();
    // The table goes before the settings.
    world.host.sh("nft delete table inet plumb");
    world.host.set_sysctl(V6, "2");
    world.add(&c1, &result, keys.clone()).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(world.host.sysctl(V4).as_deref(), Some("0"));
    assert_eq!(
        world.host.sysctl(V6).as_deref(),
        Some("2"),
        "somebody's since"
    );
    world.host.set_sysctl(V6, "0");
    world.add(&c1, &result, keys).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(values(&world.host), before);
}

#[test]
fn a_setting_that_cannot_be_written_fails_before_anything_changes() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    world.host.make_read_only("/proc/sys");
    let refused = world.add(&c1, &result, json!({}));
    let error = refused.fails_with(5, "net/ipv4/ip_forward");
    let details = error["details"].as_str().unwrap();
    assert!(details.contains("ipForward"), "{details}");
    world.host.assert_unchanged_since(&before);
    world
        .add(&c1, &result, json!({ "ipForward": false }))
        .succeeds();
}

#[test]
fn a_setting_that_cannot_be_written_but_is_right_is_good_enough() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.host.set_sysctl(V4, "1");
    world.host.set_sysctl(V6, "1");
    world.host.make_read_only("/proc/sys");
    world.add(&c1, &result, json!({})).succeeds();
    let seen = seen(&c1, &world.internet, INTERNET[0]);
    assert_eq!(seen.as_deref(), Some(UPLINK[0]));
}

/// How long a router's word may take: the kernel asks for it again after 4 s, and then after 8 s.
const ADVERTISED: Duration = Duration::from_secs(30);

/// Whether the host has the default route that the Internet host advertises.
fn advertised(world: &World) -> bool {
    let routes = world.host.routes();
    routes
        .iter()
        .any(|route| route.starts_with("default via fe80::") && route.contains("proto ra"))
}

/// Lets the Internet host advertise itself as a router.
fn advertising(world: &World) -> Process {
    world
        .internet
        .set_sysctl("net/ipv6/conf/all/forwarding", "1");
    let daemon = world.internet.spawn([
        "dnsmasq",
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--enable-ra",
        "--interface=eth0",
        "--bind-dynamic",
        "--dhcp-range=2001:db8:113::,ra-only",
        "--leasefile-ro",
        "--pid-file",
    ]);
    world.host.sh("ip link set eth0 down; ip link set eth0 up");
    assert!(
        until(ADVERTISED, || advertised(world)),
        "{:?}",
        world.host.routes()
    );
    daemon
}

#[test]
fn an_uplink_keeps_what_its_router_advertises() {
    const ACCEPT: &str = "net/ipv6/conf/eth0/accept_ra";
    let world = World::new();
    world.host.set_sysctl(ACCEPT, "1");
    let _router = advertising(&world);
    let (c1, result) = world.with_container("c1");
    let before = values(&world.host);
    world
        .add(&c1, &result, json!({ "restoreSysctls": true }))
        .succeeds();
    assert_eq!(world.host.sysctl(V6).as_deref(), Some("1"));
    assert!(advertised(&world), "{:?}", world.host.routes());
    assert_eq!(world.host.sysctl(ACCEPT).as_deref(), Some("2"));
    // No other link takes a router's word, the containers' least of all.
    assert_ne!(
        world.host.sysctl("net/ipv6/conf/br1/accept_ra").as_deref(),
        Some("2")
    );
    // It is taken again as well.
    world.host.sh("ip link set eth0 down; ip link set eth0 up");
    assert!(
        until(ADVERTISED, || advertised(&world)),
        "{:?}",
        world.host.routes()
    );
    world.del(&c1).succeeds();
    assert_eq!(values(&world.host), before);
    assert_eq!(world.host.sysctl(ACCEPT).as_deref(), Some("1"));
}

#[test]
fn forwarding_can_be_for_some_interfaces_only() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "ipForward": { "ipv4": ["eth0"], "ipv6": false }, "restoreSysctls": true });
    let refused = world.add(&c1, &result, json!({ "ipForward": { "ipv4": ["eth7"] } }));
    refused.fails_with(2, "eth7");
    let before = world.host.state();
    world.add(&c1, &result, keys.clone()).succeeds();
    assert_eq!(values(&world.host)[..2], ["0", "0"]);
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    let check = world.plugin().previous(&result);
    check.check(&c1, conf("masquerade", keys)).succeeds();
    world.host.set_sysctl("net/ipv4/conf/eth0/forwarding", "0");
    let keys = json!({ "ipForward": { "ipv4": ["eth0"], "ipv6": false } });
    check
        .check(&c1, conf("masquerade", keys))
        .fails_with(102, "net/ipv4/conf/eth0/forwarding: expected 1");
    world.del(&c1).succeeds();
    world.host.assert_unchanged_since(&before);

    let keys = json!({ "ipForward": { "ipv4": false, "ipv6": ["eth0"] } });
    let added = world.add(&c1, &result, keys);
    if world
        .host
        .sysctl("net/ipv6/conf/eth0/force_forwarding")
        .is_some()
    {
        added.succeeds();
        assert_eq!(values(&world.host)[..2], ["0", "0"]);
        assert_eq!(
            seen(&c1, &world.internet, INTERNET[1]).as_deref(),
            Some(UPLINK[1])
        );
    } else {
        added.fails_with(2, "force_forwarding");
    }
}
