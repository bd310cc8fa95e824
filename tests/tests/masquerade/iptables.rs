//! Hosts whose iptables drops what it does not know, as Docker sets them up.

use plumb_tests::{conf, conf_for, json};

use super::world::{INTERNET, SILENCE, UPLINK, World, gone, kept_out, nf_call, seen, seen_within};

const DOCKER: &str = include_str!("../../vectors/docker-20.10.iptables");
const UFW: [&str; 2] = [
    include_str!("../../vectors/ufw-0.36.iptables"),
    include_str!("../../vectors/ufw-0.36.ip6tables"),
];

/// The rules about a bridge in `iptables -S`.
fn rules(world: &World, bridge: &str) -> Vec<String> {
    let listed = world.host.exec(["iptables", "-S"]);
    let about = |line: &&str| line.contains(&format!(" {bridge} "));
    listed.lines().filter(about).map(str::to_owned).collect()
}

/// The rules of a chain in `iptables -S`.
fn chain(world: &World, name: &str) -> Vec<String> {
    let listed = world.host.exec(["iptables", "-S", name]);
    let rules = listed.lines().filter(|line| line.starts_with("-A"));
    rules.map(str::to_owned).collect()
}

const JUMP: &str = "-m comment --comment \"plumb: networks of containers\" -j PLUMB-FORWARD";

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
    let two = rules(&world, "br1");
    assert_eq!(two.len(), 2, "{two:?}");
    let mut words: Vec<&str> = two
        .iter()
        .filter_map(|rule| rule.split(" -m comment").next())
        .collect();
    words.sort_unstable();
    assert_eq!(
        words,
        [
            "-A PLUMB-FORWARD -i br1",
            "-A PLUMB-FORWARD -o br1 -m conntrack --ctstate RELATED,ESTABLISHED"
        ]
    );
    assert_eq!(chain(&world, "FORWARD"), [format!("-A FORWARD {JUMP}")]);
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
    let before = rules(&world, "br1");
    world
        .host
        .sh("iptables-save > /run/rules; iptables-restore < /run/rules");
    assert_eq!(rules(&world, "br1"), before);
    world.add(&c2, &second, json!({})).succeeds();
    world.add(&c1, &first, json!({})).succeeds();
    assert_eq!(rules(&world, "br1"), before);
    let check = world.plugin().previous(&first);
    check.check(&c1, conf("masquerade", json!({}))).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(rules(&world, "br1"), before);
    world.del(&c2).succeeds();
    assert_eq!(rules(&world, "br1"), Vec::<String>::new());
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
    check.check(&c1, conf("masquerade", json!({}))).fails_with(
        102,
        "ip filter FORWARD: the jump to PLUMB-FORWARD is missing",
    );
    world.add(&c2, &second, json!({})).succeeds();
    check.check(&c1, conf("masquerade", json!({}))).succeeds();
    world.host.sh("iptables -F PLUMB-FORWARD");
    let flushed = check.check(&c1, conf("masquerade", json!({})));
    flushed.fails_with(102, "ip filter PLUMB-FORWARD: rule");
    world.add(&c2, &second, json!({})).succeeds();
    check.check(&c1, conf("masquerade", json!({}))).succeeds();
    assert_eq!(rules(&world, "br1").len(), 2);
    assert_eq!(chain(&world, "FORWARD").len(), 1);
}

#[test]
fn docker_has_a_chain_for_others() {
    let world = World::new();
    world.host.feed(["iptables-restore"], DOCKER);
    let before = world.host.state();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(
        chain(&world, "DOCKER-USER")[0],
        format!("-A DOCKER-USER {JUMP}")
    );
    assert_eq!(rules(&world, "br1").len(), 2);
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    kept_out(&world.internet, &c1, "10.77.0.2");
    world.del(&c1).succeeds();
    let about_rules = |line: &String| line.starts_with("- ipt") || line.starts_with("+ ipt");
    let differences = before.differences(&world.host.state());
    let differences: Vec<_> = differences.into_iter().filter(about_rules).collect();
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn docker_that_comes_later_or_begins_anew_is_noticed() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let check = || {
        let plugin = world.plugin().previous(&result);
        plugin.check(&c1, conf("masquerade", json!({})))
    };
    world.add(&c1, &result, json!({})).succeeds();
    for _ in 0..2 {
        world.host.feed(["iptables-restore"], DOCKER);
        check().fails_with(
            102,
            "ip filter DOCKER-USER: the jump to PLUMB-FORWARD is missing",
        );
        assert_eq!(
            seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
            None
        );
        world.add(&c1, &result, json!({})).succeeds();
        check().succeeds();
        assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    }
}

#[test]
fn a_host_with_ufw_lets_the_network_through() {
    let world = World::new();
    nf_call(&world.host, true);
    world.host.feed(["iptables-restore"], UFW[0]);
    world.host.feed(["ip6tables-restore"], UFW[1]);
    let before = world.host.state();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        let seen = seen(&c1, &world.internet, outside);
        assert_eq!(seen.as_deref(), Some(uplink));
    }
    kept_out(&world.internet, &c1, "10.77.0.2");
    kept_out(&world.internet, &c1, "fd77::2");
    world.del(&c1).succeeds();
    let about_rules = |line: &String| line.starts_with("- ip") && line.contains("tables:");
    let differences = before.differences(&world.host.state());
    let differences: Vec<_> = differences.into_iter().filter(about_rules).collect();
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn the_administrators_chain_comes_first() {
    let world = World::new();
    world.host.sh("iptables -P FORWARD DROP");
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "iptablesAdminChainName": "EXCEPTIONS" });
    world.add(&c1, &result, keys.clone()).succeeds();
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
    kept_out(&world.internet, &c1, "10.77.0.2");
    world
        .host
        .sh("iptables -A EXCEPTIONS -d 203.0.113.9 -p tcp -j DROP");
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    world
        .host
        .sh("iptables -F EXCEPTIONS; iptables -A EXCEPTIONS -d 10.77.0.2 -j ACCEPT");
    assert!(seen(&world.internet, &c1, "10.77.0.2").is_some());
    let check = || {
        let plugin = world.plugin().previous(&result);
        plugin.check(&c1, conf("masquerade", keys.clone()))
    };
    check().succeeds();
    world.host.sh("iptables -D PLUMB-FORWARD 1");
    check().fails_with(102, "the jump to EXCEPTIONS is not the first rule");
    world.add(&c1, &result, keys.clone()).succeeds();
    check().succeeds();
    // What the administrator wrote is his.
    world.del(&c1).succeeds();
    assert_eq!(
        chain(&world, "EXCEPTIONS"),
        ["-A EXCEPTIONS -d 10.77.0.2/32 -j ACCEPT"]
    );
    assert_eq!(chain(&world, "FORWARD"), Vec::<String>::new());
}

#[test]
fn the_administrators_chain_is_made_where_it_is_asked_for() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    // Nothing is stopped, but the administrator may want to.
    let keys = json!({ "iptablesAdminChainName": "CNI-ADMIN" });
    world.add(&c1, &result, keys).succeeds();
    world
        .host
        .sh("iptables -A CNI-ADMIN -i br1 -d 203.0.113.9 -j DROP");
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    world.host.sh("iptables -F CNI-ADMIN");
    world.del(&c1).succeeds();
    let left = world.host.exec(["iptables", "-S"]);
    assert!(!left.contains("PLUMB") && !left.contains("CNI"), "{left}");
    for wrong in [
        "FORWARD",
        "two words",
        "-j",
        "a-name-that-is-longer-than-iptables-takes",
    ] {
        let keys = json!({ "iptablesAdminChainName": wrong });
        world
            .add(&c1, &result, keys)
            .fails_with(7, "iptablesAdminChainName");
    }
}

#[test]
fn a_chain_of_docker_that_nothing_leads_to_is_not_used() {
    let world = World::new();
    world
        .host
        .sh("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN");
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(rules(&world, "br1").len(), 2);
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
            assert_eq!(rules(&world, "br1").len(), 2);
            assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());
            world.del(&c1).succeeds();
            assert_eq!(rules(&world, "br1"), Vec::<String>::new());
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
    assert_eq!(rules(&world, "br1"), Vec::<String>::new());
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

/// What kube-proxy writes into the filter table, and again whenever something changes.
const KUBE_PROXY: &str = "\
*filter
:KUBE-FORWARD - [0:0]
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

#[test]
fn a_node_with_kube_proxy_lets_the_network_through() {
    let world = World::new();
    nf_call(&world.host, true);
    let jump = "-I FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD";
    for family in ["iptables", "ip6tables"] {
        let restore = format!("{family}-restore");
        world.host.feed([&restore, "--noflush"], KUBE_PROXY);
        world
            .host
            .sh(&format!("{family} -P FORWARD DROP; {family} {jump}"));
    }
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    for round in 0..2 {
        for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
            let seen = seen(&c1, &world.internet, outside);
            assert_eq!(seen.as_deref(), Some(uplink), "{round}");
        }
        kept_out(&world.internet, &c1, "10.77.0.2");
        kept_out(&world.internet, &c1, "fd77::2");
        // It begins anew, and puts its jump first.
        for family in ["iptables", "ip6tables"] {
            let restore = format!("{family}-restore");
            world.host.feed([&restore, "--noflush"], KUBE_PROXY);
            world
                .host
                .sh(&format!("{family} -D{}; {family} {jump}", &jump[2..]));
        }
        let check = world.plugin().previous(&result);
        check.check(&c1, conf("masquerade", json!({}))).succeeds();
    }
    world.del(&c1).succeeds();
    let listed = world.host.exec(["iptables", "-S"]);
    assert!(
        !listed.contains("PLUMB") && listed.contains("KUBE-FORWARD"),
        "{listed}"
    );
}
