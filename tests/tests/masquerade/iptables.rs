//! Hosts whose iptables drops what it does not know, as Docker sets them up.

use plumb_tests::{conf, conf_for, json};

use super::world::{INTERNET, UPLINK, World, gone, kept_out, nf_call, seen};

/// The rules about a bridge in a chain of `iptables -S`.
fn rules(world: &World, chain: &str, bridge: &str) -> Vec<String> {
    let listed = world.host.exec(["iptables", "-S", chain]);
    let about = |line: &&str| line.contains(&format!(" {bridge} "));
    listed.lines().filter(about).map(str::to_owned).collect()
}

#[test]
fn a_network_passes_where_forward_drops() {
    let world = World::new();
    nf_call(&world.host, true);
    world
        .host
        .sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        let seen = seen(&c1, &world.internet, outside);
        assert_eq!(seen.as_deref(), Some(uplink));
    }
    // Bridged frames pass FORWARD as well.
    assert_eq!(seen(&c1, &c2, "10.77.0.3").as_deref(), Some("10.77.0.2"));
    assert_eq!(seen(&c1, &c2, "fd77::3").as_deref(), Some("fd77::2"));
    // What the host's own policy says of connections from outside still holds.
    kept_out(&world.internet, &c1, "10.77.0.2");
    let two = rules(&world, "FORWARD", "br1");
    assert_eq!(two.len(), 2, "{two:?}");
    let mut words: Vec<&str> = two
        .iter()
        .filter_map(|rule| rule.split(" -m comment").next())
        .collect();
    words.sort_unstable();
    assert_eq!(
        words,
        [
            "-A FORWARD -i br1",
            "-A FORWARD -o br1 -m conntrack --ctstate RELATED,ESTABLISHED"
        ]
    );
}

#[test]
fn stateful_holds_there_too() {
    let world = World::new();
    world.host.sh("iptables -P FORWARD DROP");
    let (c1, result) = world.with_container("c1");
    world
        .add(&c1, &result, json!({ "forward": "stateful" }))
        .succeeds();
    // Somebody opens the host's policy again: the guard is ours.
    world.host.sh("iptables -I FORWARD -j ACCEPT");
    kept_out(&world.internet, &c1, "10.77.0.2");
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
}

#[test]
fn the_rules_are_known_after_save_and_restore() {
    let world = World::new();
    world.host.sh("iptables -P FORWARD DROP");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    let before = rules(&world, "FORWARD", "br1");
    world
        .host
        .sh("iptables-save > /run/rules; iptables-restore < /run/rules");
    assert_eq!(rules(&world, "FORWARD", "br1"), before);
    world.add(&c2, &second, json!({})).succeeds();
    world.add(&c1, &first, json!({})).succeeds();
    assert_eq!(rules(&world, "FORWARD", "br1"), before);
    let check = world.plugin().previous(&first);
    check.check(&c1, conf("masquerade", json!({}))).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(rules(&world, "FORWARD", "br1"), before);
    world.del(&c2).succeeds();
    assert_eq!(rules(&world, "FORWARD", "br1"), Vec::<String>::new());
}

#[test]
fn rules_that_somebody_flushed_come_back_with_the_next_container() {
    let world = World::new();
    world.host.sh("iptables -P FORWARD DROP");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    world.host.sh("iptables -F FORWARD");
    let check = world.plugin().previous(&first);
    check
        .check(&c1, conf("masquerade", json!({})))
        .fails_with(102, "ip filter FORWARD");
    world.add(&c2, &second, json!({})).succeeds();
    assert_eq!(rules(&world, "FORWARD", "br1").len(), 2);
}

#[test]
fn docker_has_a_chain_for_others() {
    let world = World::new();
    world
        .host
        .sh("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -I FORWARD -j DOCKER-USER");
    let before = world.host.state();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(rules(&world, "DOCKER-USER", "br1").len(), 2);
    assert_eq!(rules(&world, "FORWARD", "br1"), Vec::<String>::new());
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    world.del(&c1).succeeds();
    let about_rules = |line: &String| line.starts_with("- ipt") || line.starts_with("+ ipt");
    let differences = before.differences(&world.host.state());
    let differences: Vec<_> = differences.into_iter().filter(about_rules).collect();
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn a_chain_of_docker_that_nothing_leads_to_is_not_used() {
    let world = World::new();
    world
        .host
        .sh("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN");
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(rules(&world, "FORWARD", "br1").len(), 2);
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
}

#[test]
fn a_last_rule_that_refuses_everything_is_as_good_as_a_policy() {
    for stop in ["REJECT --reject-with icmp-host-prohibited", "DROP"] {
        std::thread::spawn(move || {
            let world = World::new();
            let accept = "iptables -A FORWARD -i some0 -j ACCEPT";
            world
                .host
                .sh(&format!("{accept}; iptables -A FORWARD -j {stop}"));
            let (c1, result) = world.with_container("c1");
            world.add(&c1, &result, json!({})).succeeds();
            assert_eq!(rules(&world, "FORWARD", "br1").len(), 2);
            assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
            world.del(&c1).succeeds();
            assert_eq!(rules(&world, "FORWARD", "br1"), Vec::<String>::new());
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_host_that_accepts_is_left_alone() {
    let world = World::new();
    world
        .host
        .sh("iptables -P FORWARD ACCEPT; iptables -A FORWARD -s 192.0.2.0/24 -j DROP");
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(rules(&world, "FORWARD", "br1"), Vec::<String>::new());
}

#[test]
fn networks_that_share_a_bridge_do_not_take_each_others_rules() {
    let world = World::new();
    world.host.sh("iptables -P FORWARD DROP");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let call = |result, network| {
        let plugin = world.plugin().previous(result);
        (plugin, conf_for(network, "masquerade", json!({})))
    };
    let (plugin, conf) = call(&first, "one");
    plugin.add(&c1, &conf).succeeds();
    let (other, other_conf) = call(&second, "other");
    other.add(&c2, other_conf).succeeds();
    plugin.del(&c1, &conf).succeeds();
    gone(&world.host, "one/c1");
    assert!(seen(&c2, &world.internet, INTERNET[0]).is_some());
}
