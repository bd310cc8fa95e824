//! ADD, CHECK, DEL and GC over time.

use plumb_tests::{Plugin, Value, binaries, conf, conf_for, json, until};

use super::world::{INTERNET, SOON, UPLINK, World, gone, seen};

#[test]
fn the_last_del_leaves_nothing_and_needs_only_the_names() {
    let world = World::new();
    world.host.set_sysctl("net/ipv4/ip_forward", "1");
    world.host.set_sysctl("net/ipv6/conf/all/forwarding", "1");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let before = world.host.state();
    let keys = json!({ "forward": "stateful", "sources": ["10.90.0.0/16", "fd90::/48"] });
    world.add(&c1, &first, keys.clone()).succeeds();
    world.add(&c2, &second, keys).succeeds();
    world.del(&c1).succeeds();
    gone(&world.host, "/c1/");
    assert!(world.host.ruleset().contains("/c2/"));
    // What is the network's goes with its last attachment.
    for network in ["10.90.0.0/16", "fd90::/48"] {
        assert!(world.host.ruleset().contains(network), "{network}");
    }
    assert_eq!(
        seen(&c2, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    world.del(&c2).succeeds();
    assert_eq!(world.host.ruleset(), "");
    world.host.assert_unchanged_since(&before);
    world.del(&c2).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn a_table_with_somebody_elses_rules_in_it_stays() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    world
        .host
        .sh("nft add rule inet plumb postrouting ip saddr 10.66.0.0/16 counter accept");
    world.del(&c1).succeeds();
    let left = world.host.ruleset();
    assert!(
        left.contains("10.66.0.0/16") && !left.contains("net-"),
        "{left}"
    );
}

#[test]
fn add_may_be_repeated() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    let once = world.host.ruleset();
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(world.host.ruleset(), once);
}

#[test]
fn a_late_del_does_not_touch_the_address_of_its_new_owner() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let (c9, other) = world.with_container("c9");
    world.add(&c9, &other, json!({})).succeeds();
    world.add(&c1, &result, json!({})).succeeds();
    // The runtime lost track of c1 and gave its address to the next one.
    let heir = world.host.container("heir");
    world.add(&heir, &result, json!({})).succeeds();
    let ruleset = world.host.ruleset();
    assert!(ruleset.contains("10.77.0.2 counter") && ruleset.contains("testnet/heir/eth0"));
    assert!(!ruleset.contains("testnet/c1/eth0"), "{ruleset}");
    let conf = conf("masquerade", json!({}));
    world.plugin().previous(&result).del(&c1, &conf).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(world.host.ruleset(), ruleset);
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
}

#[test]
fn an_address_can_be_taken_again_at_once() {
    let world = World::new();
    let (c9, other) = world.with_container("c9");
    world.add(&c9, &other, json!({})).succeeds();
    let (c1, result) = world.with_container("c1");
    for round in 0..20 {
        world.add(&c1, &result, json!({})).succeeds();
        let check = world.plugin().previous(&result);
        check.check(&c1, conf("masquerade", json!({}))).succeeds();
        if round % 2 == 0 {
            world.del(&c1).succeeds();
        } else {
            let plugin = world.plugin().previous(&result);
            plugin.del(&c1, conf("masquerade", json!({}))).succeeds();
        }
    }
    world.add(&c1, &result, json!({})).succeeds();
    // An element that was still on its way out when it was taken again would leave now.
    assert!(!until(std::time::Duration::from_millis(300), || {
        !world.host.ruleset().contains("10.77.0.2 counter")
    }));
}

#[test]
fn two_interfaces_of_one_container_are_two_attachments() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let second = world.join(&c1, "net1", "br1", &["10.77.0.200/16"]);
    let conf = conf("masquerade", json!({}));
    let on = |ifname: &str| -> Plugin { world.plugin().ifname(ifname) };
    on("eth0").previous(&first).add(&c1, &conf).succeeds();
    on("net1").previous(&second).add(&c1, &conf).succeeds();
    on("eth0").del(&c1, &conf).succeeds();
    gone(&world.host, "c1/eth0");
    assert!(world.host.ruleset().contains("10.77.0.200 counter"));
    on("net1").previous(&second).check(&c1, &conf).succeeds();
}

#[test]
fn the_networks_of_a_host_are_independent() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let confs = ["one", "other"].map(|network| conf_for(network, "masquerade", json!({})));
    for conf in &confs {
        let plugin = world.plugin().previous(&result);
        plugin.add(&c1, conf).succeeds();
    }
    world.plugin().del(&c1, &confs[0]).succeeds();
    gone(&world.host, "one/c1");
    let check = world.plugin().previous(&result);
    check.check(&c1, &confs[1]).succeeds();
    world.plugin().del(&c1, &confs[1]).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn a_changed_configuration_holds_for_those_who_come_later() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    let keys = json!({ "toSource": super::world::SECOND[0] });
    world.add(&c2, &second, keys).succeeds();
    let seen = |client| seen(client, &world.internet, INTERNET[0]);
    assert_eq!(seen(&c1).as_deref(), Some(UPLINK[0]));
    assert_eq!(seen(&c2).as_deref(), Some(super::world::SECOND[0]));
    world.del(&c1).succeeds();
    world.del(&c2).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn check_finds_what_is_missing() {
    let world = World::new();
    let (c1, mut result) = world.with_container("c1");
    result["ips"].as_array_mut().unwrap().truncate(1);
    let keys = json!({ "forward": "stateful" });
    let check = || {
        let plugin = world.plugin().previous(&result);
        plugin.check(&c1, conf("masquerade", keys.clone()))
    };
    let repair = || {
        world.host.sh("nft delete table inet plumb || true");
        world.add(&c1, &result, keys.clone()).succeeds();
        check().succeeds();
    };
    repair();
    let listed = world.host.ruleset();
    let set = listed
        .split_whitespace()
        .find(|word| word.starts_with("net-"))
        .unwrap();
    for (damage, words) in [
        (
            "nft flush chain inet plumb forward".to_owned(),
            "inet plumb forward: rule",
        ),
        (
            "nft flush chain inet plumb postrouting".to_owned(),
            "inet plumb postrouting: rule",
        ),
        (
            format!("nft flush set inet plumb {set}"),
            "is missing in set",
        ),
        ("nft delete table inet plumb".to_owned(), "set net-testnet"),
        (
            "echo 0 > /proc/sys/net/ipv4/ip_forward".to_owned(),
            "net/ipv4/ip_forward: expected 1, found 0",
        ),
        (
            format!(
                "nft flush set inet plumb {set}; nft add element inet plumb {set} '{{ 10.77.0.2 comment \"somebody\" }}'"
            ),
            "found \"somebody\"",
        ),
    ] {
        world.host.sh(&damage);
        check().fails_with(102, words);
        repair();
    }
}

#[test]
fn gc_removes_what_belongs_to_nobody() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let (c3, third) = world.with_container("c3");
    for (container, result) in [(&c1, &first), (&c2, &second), (&c3, &third)] {
        world.add(container, result, json!({})).succeeds();
    }
    let conf = conf("masquerade", json!({}));
    let other = conf_for("other", "masquerade", json!({}));
    let plugin = world.plugin().previous(&third);
    plugin.add(&c3, &other).succeeds();
    let keep = world.plugin().valid([("c2", "eth0"), ("c1", "net7")]);
    keep.gc(&conf).succeeds();
    gone(&world.host, "testnet/c1/eth0");
    gone(&world.host, "testnet/c3/eth0");
    let ruleset = world.host.ruleset();
    assert!(ruleset.contains("testnet/c2/eth0") && ruleset.contains("other/c3/eth0"));
    world.plugin().gc(&conf).succeeds();
    assert_eq!(world.host.ruleset(), ruleset);
    world.plugin().valid([]).gc(&conf).succeeds();
    gone(&world.host, "testnet");
    world.plugin().valid([]).gc(&other).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn status_says_whether_nftables_can_be_used() {
    let world = World::new();
    world
        .plugin()
        .status(conf("masquerade", json!({})))
        .succeeds();
}

#[test]
fn without_the_privilege_the_runtime_is_told() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    let mut conf = conf("masquerade", json!({ "ipForward": false }));
    conf["prevResult"] = result;
    std::fs::write("/run/conf", conf.to_string()).unwrap();
    let plugin = binaries().find("masquerade");
    for (command, code) in [("STATUS", 50), ("ADD", 100)] {
        let line = format!(
            "CNI_COMMAND={command} CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_NETNS={} CNI_PATH=/nowhere \
             setpriv --inh-caps=-net_admin --bounding-set=-net_admin {} < /run/conf",
            c1.netns().display(),
            plugin.display()
        );
        let ran = world.host.try_exec(["sh", "-c", &line]);
        let error: Value = ran.stdout.parse().unwrap();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["msg"].as_str().unwrap().contains("EPERM"), "{error}");
    }
    world.host.assert_unchanged_since(&before);
}

#[test]
fn a_configuration_that_became_wrong_does_not_keep_anything_alive() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    let wrong = json!({ "forward": "closed", "sources": "everything", "toSource": 7 });
    let plugin = world.plugin().previous(&json!("nonsense"));
    plugin.del(&c1, conf("masquerade", wrong)).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn without_addresses_there_is_nothing_to_do() {
    let world = World::new();
    let c1 = world.host.container("c1");
    let before = world.host.state();
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "eth0", "sandbox": c1.netns().to_str().unwrap() }],
        "dns": { "nameservers": ["10.0.0.1"] },
    });
    let passed_on = world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(passed_on, result);
    world.host.assert_unchanged_since(&before);
    let plugin = world.plugin();
    let refused = plugin.add(&c1, conf("masquerade", json!({})));
    refused.fails_with(7, "prevResult");
    assert!(until(SOON, || world.host.ruleset().is_empty()));
}

#[test]
fn what_could_have_no_effect_is_refused_before_anything_changes() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let mut only_v4 = result.clone();
    only_v4["ips"].as_array_mut().unwrap().truncate(1);
    let before = world.host.state();
    for (result, keys, words) in [
        (
            &only_v4,
            json!({ "toSource": "2001:db8::1" }),
            "toSource: 2001:db8::1 is an IPv6 address",
        ),
        (
            &result,
            json!({ "outInterface": "br1" }),
            "outInterface: br1",
        ),
        (&result, json!({ "sources": ["::/0"] }), "sources[0]"),
    ] {
        world.add(&c1, result, keys).fails_with(7, words);
        world.host.assert_unchanged_since(&before);
    }
}
