//! `ingressPolicy`, and what the name `firewall` stands for.

use plumb_tests::{Container, Outcome, Value, conf_for, json};

use super::world::{INTERNET, SILENCE, SOON, World, gone, kept_out, nf_call, seen, seen_within};

/// A host that forwards, as it does once `bridge` has made a gateway.
fn world() -> World {
    let world = World::new();
    for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        world.host.set_sysctl(name, "1");
    }
    world
}

/// The configuration of a network of that name, as for the reference plugin `firewall`.
fn firewall(network: &str, keys: Value) -> Value {
    conf_for(network, "firewall", keys)
}

fn add(world: &World, container: &Container, result: &Value, conf: Value) -> Outcome {
    world.plugin().previous(result).add(container, conf)
}

/// A container on a bridge of its own, both families, and the result of attaching it.
fn on_bridge(world: &World, name: &str, number: u8) -> (Container, Value) {
    let bridge = format!("br{number}");
    let gateways = [format!("10.{number}.0.1/16"), format!("fd{number}::1/64")];
    let own = [format!("10.{number}.0.2/16"), format!("fd{number}::2/64")];
    world.bridge(&bridge, &gateways.each_ref().map(String::as_str));
    let container = world.host.container(name);
    let result = world.join(
        &container,
        "eth0",
        &bridge,
        &own.each_ref().map(String::as_str),
    );
    container.sh(&format!(
        "ip route add default via 10.{number}.0.1; ip -6 route add default via fd{number}::1"
    ));
    (container, result)
}

/// Panics if one of two containers reaches the other, over either family.
fn apart(one: &Container, first: u8, other: &Container, second: u8) {
    for (client, server, number) in [(one, other, second), (other, one, first)] {
        kept_out(client, server, &format!("10.{number}.0.2"));
        kept_out(client, server, &format!("fd{number}::2"));
    }
}

fn do_not_reach_each_other(policy: &str) {
    let world = world();
    let (c1, first) = on_bridge(&world, "c1", 71);
    let (c2, second) = on_bridge(&world, "c2", 72);
    let (c3, third) = on_bridge(&world, "c3", 73);
    assert!(seen(&c1, &c2, "10.72.0.2").is_some(), "without rules");
    let keys = json!({ "ingressPolicy": policy });
    add(&world, &c1, &first, firewall("one", keys.clone())).succeeds();
    assert!(seen(&c2, &c1, "10.71.0.2").is_some(), "the only one");
    add(&world, &c2, &second, firewall("two", keys.clone())).succeeds();
    add(&world, &c3, &third, firewall("three", json!({}))).succeeds();
    apart(&c1, 71, &c2, 72);
    // A network without a policy, the host and the outside are reached, and reach.
    assert!(seen(&c1, &c3, "10.73.0.2").is_some());
    assert!(seen(&c3, &c1, "fd71::2").is_some());
    assert!(seen(&world.host, &c1, "10.71.0.2").is_some());
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    assert!(seen(&world.internet, &c2, "10.72.0.2").is_some());
    let check = world.plugin().previous(&first);
    check.check(&c1, firewall("one", keys.clone())).succeeds();

    let del = world.plugin().netns("");
    del.del(&c2, firewall("two", keys)).succeeds();
    gone(&world.host, "br72");
    assert!(seen(&c1, &c2, "10.72.0.2").is_some(), "after the last DEL");
}

#[test]
fn networks_with_the_policy_same_bridge_do_not_reach_each_other() {
    do_not_reach_each_other("same-bridge");
}

#[test]
fn networks_with_the_policy_isolated_do_not_reach_each_other() {
    do_not_reach_each_other("isolated");
}

/// Attaches two containers of one network, and says whether one reaches the other.
fn reach_each_other(policy: &str) -> bool {
    let world = world();
    // What one port sends to another is forwarded by the bridge, and shown to the rules for IP with this.
    nf_call(&world.host, true);
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    for (container, result) in [(&c1, &first), (&c2, &second)] {
        let conf = firewall("lan", json!({ "ingressPolicy": policy }));
        add(&world, container, result, conf).succeeds();
    }
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    let patience = if policy == "isolated" { SILENCE } else { SOON };
    seen_within(patience, &c1, &c2, "10.77.0.3").is_some()
}

#[test]
fn a_network_with_the_policy_same_bridge_reaches_itself() {
    assert!(reach_each_other("same-bridge"));
}

#[test]
fn a_container_of_an_isolated_network_reaches_no_other() {
    assert!(!reach_each_other("isolated"));
}

#[test]
fn a_rule_that_somebody_deleted_is_missed() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    let conf = || firewall("lan", json!({ "ingressPolicy": "same-bridge" }));
    add(&world, &c1, &result, conf()).succeeds();
    world.host.sh("nft flush chain inet plumb isolated");
    let check = world.plugin().previous(&result);
    check.check(&c1, conf()).fails_with(
        102,
        "isolated: rule \"oifname \\\"br1\\\" counter drop\" is missing",
    );
}

#[test]
fn as_firewall_nothing_is_translated_and_no_parameter_changed() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    world.host.set_sysctl("net/ipv4/ip_forward", "0");
    add(&world, &c1, &result, firewall("lan", json!({}))).succeeds();
    assert_eq!(
        world.host.sysctl("net/ipv4/ip_forward").as_deref(),
        Some("0")
    );
    world.host.set_sysctl("net/ipv4/ip_forward", "1");
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some("10.77.0.2")
    );
    let keys = json!({ "masquerade": true });
    add(&world, &c1, &result, firewall("lan", keys)).succeeds();
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some("203.0.113.2")
    );
}

#[test]
fn as_firewall_it_lets_packets_through_where_iptables_drops() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    world.host.sh("iptables -P FORWARD DROP");
    kept_out(&c1, &world.internet, INTERNET[0]);
    let keys = json!({ "backend": "iptables", "ingressPolicy": "same-bridge" });
    add(&world, &c1, &result, firewall("lan", keys)).succeeds();
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some("10.77.0.2")
    );
}

#[test]
fn a_policy_needs_an_interface_of_the_host() {
    let world = world();
    let (c1, mut result) = world.with_container("c1");
    result["interfaces"] = json!([{ "name": "eth0", "sandbox": c1.netns().to_str().unwrap() }]);
    result["ips"] = json!([{ "interface": 0, "address": "10.99.0.2/24" }]);
    let before = world.host.state();
    let conf = firewall("lan", json!({ "ingressPolicy": "isolated" }));
    add(&world, &c1, &result, conf).fails_with(7, "ingressPolicy: the host has no interface");
    world.host.assert_unchanged_since(&before);
}
