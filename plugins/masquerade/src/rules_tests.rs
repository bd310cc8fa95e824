//! Plans, read as nft(8) would print them.

use cni_common::nft::{NatTo, line};

use super::*;
use crate::config::{Forward, Ingress, Interface};

#[path = "rules_settings_tests.rs"]
mod settings;

fn network(name: &str) -> NetworkName {
    NetworkName::parse(name).unwrap()
}

fn cidrs(list: &[&str]) -> Vec<Cidr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn bridge() -> Inside {
    Inside::Interface(IfName::parse("br1").unwrap())
}

/// Without what is there by default beside the translation.
fn plain() -> Config {
    Config {
        drop_invalid: false,
        counters: false,
        ..Config::default()
    }
}

/// The rules of the only group, with its name written as NET, without the one by which other networks know it.
fn shown(config: &Config, inside: &Inside, addresses: &[&str]) -> Vec<String> {
    let plan = plan(&network("lan"), config, inside, &cidrs(addresses));
    let [group] = &plan.groups[..] else {
        panic!("{} groups", plan.groups.len())
    };
    let named = |rule: &Rule| {
        let text = line(&rule.statements).replace(&group.set.name, "NET");
        format!("{}: {text}", rule.chain.name())
    };
    let rules = group.rules.iter().map(named);
    rules
        .filter(|rule| rule != "networks: oifname \"br1\" counter drop")
        .collect()
}

#[test]
fn without_keys_what_leaves_the_subnet_is_masqueraded() {
    assert_eq!(
        shown(&plain(), &bridge(), &["10.77.0.8/16"]),
        [
            "postrouting: oifname != \"br1\" ip saddr @NET ip daddr != 10.77.0.0/16 ip daddr != 224.0.0.0/4 masquerade"
        ]
    );
    assert_eq!(
        shown(&plain(), &Inside::Addresses, &["fd00::8/64"]),
        ["postrouting: ip6 saddr @NET ip6 daddr != fd00::/64 ip6 daddr != ff00::/8 masquerade"]
    );
}

#[test]
fn the_tutorials_network() {
    let config = Config {
        sources: cidrs(&["192.168.101.0/24", "192.168.103.0/24"]),
        out_interface: Some(Interface::parse("eth0").unwrap()),
        to_source: vec![NatTo::Address("203.0.113.2".parse().unwrap())],
        forward: Forward::Stateful,
        ..plain()
    };
    let outside =
        "ip daddr != 192.168.101.0/24 ip daddr != 192.168.103.0/24 ip daddr != 224.0.0.0/4";
    let elsewhere = "prerouting: iifname != \"br1\" meta iifkind \"bridge\"";
    assert_eq!(
        shown(&config, &bridge(), &["192.168.101.2/24"]),
        [
            format!("postrouting: oifname \"eth0\" ip saddr @NET {outside} snat ip to 203.0.113.2"),
            format!(
                "postrouting: oifname \"eth0\" ip saddr 192.168.101.0/24 {outside} snat ip to 203.0.113.2"
            ),
            format!(
                "postrouting: oifname \"eth0\" ip saddr 192.168.103.0/24 {outside} snat ip to 203.0.113.2"
            ),
            "forward: iifname != \"br1\" oifname \"br1\" ip daddr 192.168.101.0/24 ct state ! established,related ct status ! dnat counter drop"
                .into(),
            "forward: iifname != \"br1\" oifname \"br1\" ip daddr 192.168.103.0/24 ct state ! established,related ct status ! dnat counter drop"
                .into(),
            format!("{elsewhere} ip saddr 192.168.101.0/24 fib saddr . iif oif missing notrack"),
            format!("{elsewhere} ip daddr 192.168.101.0/24 fib saddr . iif oif missing notrack"),
            format!("{elsewhere} ip saddr 192.168.103.0/24 fib saddr . iif oif missing notrack"),
            format!("{elsewhere} ip daddr 192.168.103.0/24 fib saddr . iif oif missing notrack"),
        ]
    );
}

#[test]
fn every_drop_and_translation_tells_inside_from_outside() {
    let sources = cidrs(&["10.8.0.0/16", "fd08::/48"]);
    for inside in [bridge(), Inside::Addresses] {
        for out in [None, Some(Interface::parse("eth0").unwrap())] {
            let config = Config {
                sources: sources.clone(),
                out_interface: out,
                forward: Forward::Stateful,
                ..plain()
            };
            let plan = plan(
                &network("lan"),
                &config,
                &inside,
                &cidrs(&["10.7.0.2/16", "fd07::2/64"]),
            );
            for rule in plan.groups.iter().flat_map(|group| &group.rules) {
                let text = line(&rule.statements);
                let by_interfaces = text.contains("iifname != \"br1\" oifname \"br1\"")
                    || text.contains("oifname != \"br1\"")
                    || text.contains("oifname \"eth0\"");
                let by_addresses = text.contains("addr != 10.7.0.0/16 ip daddr")
                    || text.contains("addr != 10.7.0.0/16 ip saddr")
                    || text.contains("addr != fd07::/64 ip6 daddr")
                    || text.contains("addr != fd07::/64 ip6 saddr");
                let only_untracks = rule.statements.last() == Some(&Statement::Notrack);
                // Jumped to by rules that tell the interface a packet came in by.
                let jumped_to = matches!(rule.chain, Chain::Regular(_));
                assert!(
                    by_interfaces || by_addresses || only_untracks || jumped_to,
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn without_an_interface_the_guard_goes_by_addresses() {
    let config = Config {
        forward: Forward::Stateful,
        sources: cidrs(&["10.8.0.0/16"]),
        ..plain()
    };
    let rules = shown(&config, &Inside::Addresses, &["10.7.0.2/16"]);
    assert_eq!(
        rules[2..],
        [
            "forward: ip saddr != 10.7.0.0/16 ip saddr != 10.8.0.0/16 ip daddr 10.7.0.0/16 ct state ! established,related ct status ! dnat counter drop",
            "forward: ip saddr != 10.7.0.0/16 ip saddr != 10.8.0.0/16 ip daddr 10.8.0.0/16 ct state ! established,related ct status ! dnat counter drop",
        ]
    );
}

#[test]
fn the_same_settings_share_a_group_and_others_do_not() {
    let name = |config: &Config, address: &str| {
        let plan = plan(&network("lan"), config, &bridge(), &cidrs(&[address]));
        plan.groups[0].set.name.clone()
    };
    let first = name(&Config::default(), "10.7.0.2/16");
    assert_eq!(first, name(&Config::default(), "10.7.9.9/16"));
    assert_ne!(first, name(&Config::default(), "10.7.0.2/24"));
    let fixed = Config {
        to_source: vec![NatTo::Address("203.0.113.2".parse().unwrap())],
        ..plain()
    };
    assert_ne!(first, name(&fixed, "10.7.0.2/16"));
}

#[test]
fn the_names_of_groups_never_change() {
    // Rules of running hosts are found by them.
    let plan = plan(
        &network("lan"),
        &Config::default(),
        &bridge(),
        &cidrs(&["10.7.0.2/16"]),
    );
    assert_eq!(plan.groups[0].set.name, "net-lan-2emhbu6y52o-o37iygrsapq");
    assert_eq!(plan.accepts[0].comment, "plumb 2emhbu6y52o lan");
}

#[test]
fn a_set_tells_its_network() {
    for name in ["lan", "a-b-c", "0.x_y", &"n".repeat(300)] {
        let own = network(name);
        let plan = plan(
            &own,
            &Config::default(),
            &bridge(),
            &cidrs(&["10.7.0.2/16"]),
        );
        let set = &plan.groups[0].set;
        assert!(is_of_network(&set.name, &own), "{}", set.name);
        assert!(!is_of_network(&set.name, &network("other")));
        assert!(set.name.len() < 100 && set.comment.len() < 250);
    }
    for other in ["", "net-lan", "something-else-entirely"] {
        assert!(!is_of_network(other, &network("lan")));
    }
}

#[test]
fn addresses_in_several_subnets_and_families_make_several_groups() {
    let plan = plan(
        &network("lan"),
        &Config::default(),
        &bridge(),
        &cidrs(&[
            "10.7.0.2/16",
            "10.7.0.3/16",
            "10.7.0.2/16",
            "10.9.0.2/24",
            "fd00::2/64",
        ]),
    );
    let sizes: Vec<_> = plan.groups.iter().map(|g| g.addresses.len()).collect();
    assert_eq!(sizes, [2, 1, 1]);
    assert_eq!(
        plan.families().collect::<Vec<_>>(),
        [Family::V4, Family::V6]
    );
}

#[test]
fn addresses_without_a_subnet_share_a_group() {
    let config = Config {
        forward: Forward::Stateful,
        ..plain()
    };
    let name = |address: &str| {
        let plan = plan(&network("lan"), &config, &bridge(), &cidrs(&[address]));
        plan.groups[0].set.name.clone()
    };
    assert_eq!(name("10.7.0.2/32"), name("10.7.0.3/32"));
    assert_ne!(name("10.7.0.2/32"), name("fd00::2/128"));
    assert_eq!(
        shown(&config, &bridge(), &["10.7.0.2/32"]),
        [
            "postrouting: oifname != \"br1\" ip saddr @NET ip daddr != @NET ip daddr != 224.0.0.0/4 masquerade",
            "forward: iifname != \"br1\" oifname \"br1\" ip daddr @NET ct state ! established,related ct status ! dnat counter drop",
        ]
    );
    assert_eq!(
        shown(&config, &Inside::Addresses, &["fd00::2/128"])[1],
        "forward: ip6 saddr != @NET ip6 daddr @NET ct state ! established,related ct status ! dnat counter drop"
    );
}

#[test]
fn the_rules_for_iptables_go_by_interface_or_by_network() {
    let config = Config {
        sources: cidrs(&["10.8.0.0/16"]),
        ..plain()
    };
    let lines = |inside: &Inside| {
        let plan = plan(&network("lan"), &config, inside, &cidrs(&["10.7.0.2/16"]));
        let rules = plan.accepts[0].rules.iter();
        rules.map(|rule| line(rule)).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&bridge()),
        [
            "oifname \"br1\" xt match \"conntrack\" counter accept",
            "iifname \"br1\" counter accept",
        ]
    );
    assert_eq!(
        lines(&Inside::Addresses),
        [
            "ip daddr 10.7.0.0/16 xt match \"conntrack\" counter accept",
            "ip saddr 10.7.0.0/16 counter accept",
            "ip daddr 10.8.0.0/16 xt match \"conntrack\" counter accept",
            "ip saddr 10.8.0.0/16 counter accept",
        ]
    );
}

#[test]
fn isolated_networks_meet_in_a_chain_of_their_own() {
    let config = Config {
        masquerade: Vec::new(),
        ingress: Ingress::SameBridge,
        ..plain()
    };
    let apart = [
        "forward: iifname \"br1\" oifname != \"br1\" jump isolated",
        "isolated: oifname \"br1\" counter drop",
    ];
    assert_eq!(shown(&config, &bridge(), &["10.77.0.8/16"]), apart);
    let config = Config {
        ingress: Ingress::Isolated,
        ..config
    };
    let among = "forward: iifname \"br1\" oifname \"br1\" counter drop";
    assert_eq!(
        shown(&config, &bridge(), &["10.77.0.8/16"]),
        [apart[0], apart[1], among]
    );
}
