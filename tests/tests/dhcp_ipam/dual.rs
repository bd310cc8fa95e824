//! Both families in one ADD, and one of them silent.

use plumb_tests::{json, until};

use crate::world::{SOON, World, bridged, leases, until_leases, v4};
use crate::world6::{addresses, until_leases6, v6};

#[test]
fn one_add_brings_both_families_and_one_del_gives_both_back() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _dnsmasq6 = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "ipv6": "auto" }));
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result);
    assert_eq!(given.len(), 2, "{given:?}");
    assert!(given[0].starts_with("10.240.0.1") && given[1].starts_with("fd00:240::1"));
    assert!(c1.reaches("10.240.0.1") && c1.reaches("fd00:240::1"));
    assert_eq!(
        result["dns"]["nameservers"],
        json!(["10.240.0.53", "fd00:240::53"])
    );
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    until_leases6(1);
    bridge.clone().previous(&result).del(&c1, &conf).succeeds();
    until_leases(0);
    until_leases6(0);
    // So does a GC that does not know of it.
    let c2 = world.host.container("c2");
    bridge.add(&c2, &conf).succeeds();
    until_leases6(1);
    bridge.valid([("c1", "eth0")]).gc(&conf).succeeds();
    until_leases(0);
    until_leases6(0);
}

#[test]
fn a_family_that_is_required_and_silent_fails_the_add_and_the_other_is_given_back() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let before = c1.state();
    let conf = bridged(json!({ "ipv6": "dhcp", "timeoutSecs": 6 }));
    let outcome = world.host.plugin("bridge-attach").add(&c1, conf);
    // Time enough for the other to answer on a machine that stands still for some of it.
    outcome.fails_with(103, "no DHCPv6 server answered on eth0 within 6 s");
    c1.assert_unchanged_since(&before);
    until_leases(0);
    assert!(world.listed("testnet/c1/eth0").is_null());
}

#[test]
fn a_family_that_is_not_required_is_waited_for_a_little_and_comes_when_it_comes() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "ipv6": "dhcp", "require": "any", "graceSecs": 1 }));
    let bridge = world.host.plugin("bridge-attach");
    let outcome = bridge.add(&c1, &conf);
    let elapsed = outcome.elapsed;
    let result = outcome.succeeds();
    assert!(elapsed < SOON, "{elapsed:?}");
    assert_eq!(addresses(&result), v4(&c1));
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    // Its server is back.
    let _dnsmasq6 = world.dnsmasq6_range("100", "1ff");
    let come = || matches!(&v6(&c1)[..], [one] if one.starts_with("fd00:240::1"));
    assert!(until(SOON, come), "{:?}", v6(&c1));
    assert!(c1.reaches("fd00:240::1"));
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_leases(0);
    until_leases6(0);
}

#[test]
fn ipv6_may_be_required_alone() {
    let world = World::with_ipv6();
    let _dnsmasq6 = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "ipv6": "dhcp", "require": "ipv6", "graceSecs": 0 }));
    let result = world.host.plugin("bridge-attach").add(&c1, conf).succeeds();
    assert_eq!(addresses(&result), v6(&c1));
    until_leases6(1);
    assert_eq!(leases().len(), 0);
}

#[test]
fn what_cannot_be_is_refused_with_its_key() {
    let world = World::new();
    let c1 = world.plugged("c1");
    for (keys, words) in [
        (
            json!({ "ipv6": "on" }),
            "ipam.ipv6: \"on\" must be off, auto, dhcp or slaac",
        ),
        (
            json!({ "ipv6": { "mode": "x" } }),
            "ipam.ipv6.mode: \"x\" must be",
        ),
        (
            json!({ "ipv4": "off" }),
            "ipam.ipv4: cannot be off with ipv6 off",
        ),
        (
            json!({ "require": "both" }),
            "ipam.require: \"both\" must be all, any, ipv4 or ipv6",
        ),
        (
            json!({ "require": "ipv6" }),
            "ipam.require: is ipv6, and ipv6 is off",
        ),
        (
            json!({ "slaac": true, "ipv6": "dhcp" }),
            "ipam.slaac: cannot be true",
        ),
        (
            json!({ "ipv6": { "mode": "slaac", "routerAdvertisements": false } }),
            "ipam.ipv6.routerAdvertisements: cannot be false in mode slaac",
        ),
        (
            json!({ "ipv6": { "prefixDelegation": 128 } }),
            "ipam.ipv6.prefixDelegation",
        ),
        (json!({ "ipv6": { "duid": "x" } }), "ipam.ipv6.duid"),
        (
            json!({ "ipv6": { "request": [1] } }),
            "ipam.ipv6.request[0]",
        ),
    ] {
        let outcome = world.plugin().add(&c1, crate::world::alone(keys));
        outcome.fails_with(7, words);
    }
    assert!(
        !std::fs::exists("/run/cni/dhcp.sock").unwrap(),
        "no daemon was started"
    );
}
