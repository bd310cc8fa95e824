//! Several attachments in one routing table, and several that replace the default route: what belongs to one goes with it
//! alone.

use plumb_tests::{Container, Host, Value, json};

use super::ipam::Ipam;
use super::{attached, host, layer3, plugin, with};

/// A network of its own on the bridge of that number, with rules that lead to table 100.
fn network(number: u8, keys: Value) -> Value {
    let rules = json!([
        { "from": "self", "table": 100 },
        { "to": "198.51.100.0/24", "table": 100, "priority": 50 },
        { "fwmark": 7, "table": 100 },
    ]);
    let base = json!({ "bridge": format!("br{number}"), "ipForward": false, "removeEmptyBridge": true, "rules": rules });
    let mut conf = with(layer3(base), keys);
    conf["name"] = json!(format!("net{number}"));
    conf
}

/// What the IPAM plugin gives that container from now on.
fn gives(ipam: &Ipam, container: &str, number: u8) {
    let gateway = |net: &str, last: &str| format!("{net}{last}");
    let (v4, v6) = (format!("10.{number}.0."), format!("fd0{number}::"));
    ipam.gives(
        container,
        json!({ "ips": [
            { "address": gateway(&v4, "2/24"), "gateway": gateway(&v4, "1") },
            { "address": gateway(&v6, "2/64"), "gateway": gateway(&v6, "1") },
        ] }),
    );
}

/// A container whose `eth0` has the default route.
fn with_default_route() -> (Host, Ipam, Container) {
    let (host, ipam) = host();
    gives(&ipam, "c1", 1);
    let conf = layer3(json!({ "isDefaultGateway": true, "ipForward": false }));
    let (c1, _) = attached(&host, "c1", &conf);
    (host, ipam, c1)
}

/// The rules of the plugin, without their priorities.
fn rules(container: &Container) -> Vec<String> {
    let shown = container.sh("ip rule; ip -6 rule");
    let ours = shown.lines().filter(|line| line.contains("proto 80"));
    let mut ours: Vec<String> = ours
        .map(|line| line.split_once(":\t").unwrap().1.to_owned())
        .collect();
    ours.sort();
    ours
}

#[test]
fn two_interfaces_of_a_container_share_a_table_and_each_takes_its_own_rules_along() {
    let (host, ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({ "ipForward": false })));
    let (before, there) = (host.state(), c1.state());
    let (one, two) = (network(2, json!({})), network(3, json!({})));
    let (first, second) = (plugin(&host).ifname("eth1"), plugin(&host).ifname("eth2"));
    gives(&ipam, "c1", 2);
    first.add(&c1, &one).succeeds();
    let alone = rules(&c1);
    assert_eq!(alone.len(), 5, "{alone:?}");
    gives(&ipam, "c1", 3);
    let result = second.add(&c1, &two).succeeds();
    // The rule with a priority is there once, for both.
    assert_eq!(rules(&c1).len(), 9);
    for _ in 0..2 {
        first.del(&c1, &one).succeeds();
        let left = rules(&c1);
        let own = ["from 10.3.0.2", "from fd03::2", "fwmark 0x7"];
        for rule in own {
            assert!(left.iter().any(|line| line.contains(rule)), "{left:?}");
        }
        assert_eq!(left.len(), alone.len(), "{left:?}");
        second.clone().previous(&result).check(&c1, &two).succeeds();
    }
    second.del(&c1, &two).succeeds();
    host.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&there);
}

#[test]
fn a_rule_before_all_others_is_known_again() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    let there = c1.state();
    let first_of_all = json!([{ "to": "198.51.100.0/24", "table": 100, "priority": 0 }]);
    let conf = |number| network(number, json!({ "rules": first_of_all }));
    let (first, second) = (plugin(&host).ifname("eth1"), plugin(&host).ifname("eth2"));
    gives(&ipam, "c1", 2);
    let result = first.add(&c1, conf(2)).succeeds();
    first
        .clone()
        .previous(&result)
        .check(&c1, conf(2))
        .succeeds();
    gives(&ipam, "c1", 3);
    second.add(&c1, conf(3)).succeeds();
    second.del(&c1, conf(3)).succeeds();
    let left = rules(&c1);
    assert_eq!(left.len(), 1, "{left:?}");
    first
        .clone()
        .previous(&result)
        .check(&c1, conf(2))
        .succeeds();
    first.del(&c1, conf(2)).succeeds();
    c1.assert_unchanged_since(&there);
}

#[test]
fn the_second_of_two_interfaces_goes_first_and_without_a_result() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    let conf = network(2, json!({}));
    let there = c1.state();
    gives(&ipam, "c1", 2);
    plugin(&host).add(&c1, &conf).succeeds();
    let alone = rules(&c1);
    ipam.gives("c1", json!({ "ips": [{ "address": "10.2.0.3/24" }] }));
    let second = plugin(&host).ifname("eth1");
    second.add(&c1, &conf).succeeds();
    // Its interface went by itself: DEL knows its addresses from nowhere.
    c1.sh("ip link del eth1");
    second.del(&c1, &conf).succeeds();
    assert_eq!(rules(&c1), alone);
    plugin(&host).del(&c1, &conf).succeeds();
    c1.assert_unchanged_since(&there);
}

#[test]
fn two_containers_in_one_namespace_and_in_two_keep_their_rules() {
    let (host, ipam) = host();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let conf = network(2, json!({}));
    gives(&ipam, "c1", 2);
    plugin(&host).add(&c1, &conf).succeeds();
    for (id, address) in [("c2", "10.2.0.3/24"), ("c3", "10.2.0.4/24")] {
        ipam.gives(id, json!({ "ips": [{ "address": address }] }));
    }
    plugin(&host).add(&c2, &conf).succeeds();
    let sidecar = plugin(&host).container_id("c3").ifname("net1");
    sidecar.add(&c1, &conf).succeeds();
    let (both, other) = (rules(&c1), rules(&c2));
    assert!(both.iter().any(|rule| rule.contains("from 10.2.0.4")));
    plugin(&host).del(&c1, &conf).succeeds();
    let left = rules(&c1);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().any(|rule| rule.contains("from 10.2.0.4")));
    assert_eq!(rules(&c2), other);
    sidecar.del(&c1, &conf).succeeds();
    assert_eq!(rules(&c1), [""; 0]);
    assert_eq!(rules(&c2), other);
}

#[test]
fn what_failed_leaves_the_rules_of_another_interface() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    gives(&ipam, "c1", 2);
    plugin(&host).add(&c1, network(2, json!({}))).succeeds();
    let there = c1.state();
    gives(&ipam, "c1", 3);
    let fails = json!({ "hostRoutes": [{ "dst": "10.9.0.0/16", "gw": "10.66.0.1" }] });
    plugin(&host)
        .ifname("eth1")
        .add(&c1, network(3, fails))
        .fails_with(100, "10.9.0.0/16");
    c1.assert_unchanged_since(&there);
}

#[test]
fn more_rules_than_an_attachment_can_hold_are_refused() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    let there = c1.state();
    gives(&ipam, "c1", 2);
    let rules: Vec<_> = (1..39)
        .map(|mark| json!({ "fwmark": mark, "to": "192.0.2.0/24", "table": 100 }))
        .collect();
    plugin(&host)
        .add(&c1, network(2, json!({ "rules": rules })))
        .fails_with(7, "rules: 38 rules are more than one attachment can hold");
    c1.assert_unchanged_since(&there);
}

/// The default routes by family, as interface and metric, best first.
fn defaults(container: &Container) -> [Vec<String>; 2] {
    ["-4", "-6"].map(|family| {
        let shown = container.sh(&format!("ip {family} route show default"));
        let mut found: Vec<(u32, String)> = shown
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let after = |key| {
                    let at = words.iter().position(|word| *word == key)?;
                    words.get(at + 1).copied()
                };
                let metric = after("metric").map_or(0, |metric| metric.parse().unwrap());
                (metric, after("dev").unwrap_or(line).to_owned())
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, dev)| dev).collect()
    })
}

#[test]
fn default_routes_that_were_replaced_twice_return_one_after_the_other() {
    let (host, ipam, c1) = with_default_route();
    let keys = json!({ "rules": [], "isDefaultGateway": true, "replaceDefaultRoute": true });
    let confs = [network(2, keys.clone()), network(3, keys)];
    let calls = ["eth1", "eth2"].map(|name| plugin(&host).ifname(name));
    let attach = |number: u8| {
        gives(&ipam, "c1", number);
        let at = usize::from(number - 2);
        calls[at].add(&c1, &confs[at]).succeeds();
    };
    let one = c1.state();
    attach(2);
    let two = c1.state();
    attach(3);
    let all = ["eth2", "eth1", "eth0"];
    assert_eq!(defaults(&c1), [all, all]);
    for _ in 0..2 {
        calls[1].del(&c1, &confs[1]).succeeds();
        c1.assert_unchanged_since(&two);
    }
    // What fails puts back exactly what it found.
    gives(&ipam, "c1", 3);
    let failing = with(
        confs[1].clone(),
        json!({ "hostRoutes": [{ "dst": "10.9.0.0/16", "gw": "10.66.0.1" }] }),
    );
    calls[1].add(&c1, &failing).fails_with(100, "10.9.0.0/16");
    c1.assert_unchanged_since(&two);
    attach(3);
    // The one in the middle goes first: the others keep their order.
    for _ in 0..2 {
        calls[0].del(&c1, &confs[0]).succeeds();
        let left = ["eth2", "eth0"];
        assert_eq!(defaults(&c1), [left, left]);
    }
    calls[1].del(&c1, &confs[1]).succeeds();
    c1.assert_unchanged_since(&one);
}

/// As an ADD, or a DEL, leaves it that is killed while the route changes.
#[test]
fn a_default_route_that_is_there_twice_is_there_once_after_del() {
    let (host, _ipam, c1) = with_default_route();
    let before = c1.state();
    c1.sh("ip route add default via 10.1.0.1 metric 1048576");
    c1.sh("ip -6 route add default via fd01::1 dev eth0 metric 1049600");
    let conf = network(2, json!({ "rules": [], "replaceDefaultRoute": true }));
    plugin(&host).ifname("eth1").del(&c1, &conf).succeeds();
    c1.assert_unchanged_since(&before);
}
