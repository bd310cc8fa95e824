//! What single keys add to a plan.

use cni_common::nft::{NatFlags, NatTo};

use super::*;
use crate::config::allow::{Allow, Protocol};
use crate::config::publish::{At, Mapping};
use crate::config::{Interface, Mss};

#[test]
fn excluded_destinations_are_left_out_of_the_translation() {
    let config = Config {
        exclude: cidrs(&["10.96.0.0/12", "fd00:2::/64"]),
        ..plain()
    };
    assert_eq!(
        shown(&config, &bridge(), &["10.77.0.8/16"]),
        [
            "postrouting: oifname != \"br1\" ip saddr @NET ip daddr != 10.77.0.0/16 ip daddr != 224.0.0.0/4 \
          ip daddr != 10.96.0.0/12 masquerade"
        ]
    );
}

#[test]
fn the_segment_size_is_lowered_both_ways() {
    let config = Config {
        masquerade: Vec::new(),
        clamp_mss: Some(Mss::OfRoute),
        ..plain()
    };
    let lowered = "tcp option maxseg size set rt mtu";
    assert_eq!(
        shown(&config, &bridge(), &["fd00::8/64"]),
        [
            format!("mangle: tcp flags syn ip6 saddr @NET {lowered}"),
            format!("mangle: tcp flags syn ip6 daddr @NET {lowered}"),
        ]
    );
}

#[test]
fn by_default_what_passes_is_counted_and_nothing_leaves_untranslated() {
    assert_eq!(
        shown(&Config::default(), &bridge(), &["10.77.0.8/16"]),
        [
            "postrouting: oifname != \"br1\" ip saddr @NET ip daddr != 10.77.0.0/16 ip daddr != 224.0.0.0/4 masquerade",
            "mangle: oifname \"br1\" ip daddr @NET counter",
            "mangle: iifname \"br1\" ip saddr @NET counter",
            "forward: iifname \"br1\" ct state invalid oifname != \"br1\" ip saddr @NET ip daddr != 10.77.0.0/16 \
             ip daddr != 224.0.0.0/4 counter drop",
        ]
    );
}

#[test]
fn interfaces_may_be_many_and_the_own_subnet_too() {
    let interface = |text: &str| Some(Interface::parse(text).unwrap());
    let config = Config {
        out_interface: interface("b*"),
        in_interface: interface("br1"),
        nat_flags: NatFlags {
            fully_random: true,
            persistent: true,
            ..NatFlags::default()
        },
        ..plain()
    };
    assert_eq!(
        shown(&config, &bridge(), &["10.77.0.8/16"]),
        [
            "postrouting: iifname \"br1\" oifname \"b*\" oifname != \"br1\" ip saddr @NET ip daddr != 10.77.0.0/16 \
             ip daddr != 224.0.0.0/4 masquerade fully-random,persistent"
        ]
    );
    let config = Config {
        within_subnet: true,
        to_source: vec![NatTo::Range(
            "192.0.2.1".parse().unwrap(),
            "192.0.2.9".parse().unwrap(),
        )],
        ..plain()
    };
    assert_eq!(
        shown(&config, &bridge(), &["10.77.0.8/16"]),
        ["postrouting: ip saddr @NET ip daddr != 224.0.0.0/4 snat ip to 192.0.2.1-192.0.2.9"]
    );
}

#[test]
fn one_family_alone_may_be_translated() {
    let config = Config {
        masquerade: vec![Family::V6],
        ..plain()
    };
    assert!(shown(&config, &bridge(), &["10.77.0.8/16"]).is_empty());
    assert_eq!(shown(&config, &bridge(), &["fd00::8/64"]).len(), 1);
}

#[test]
fn a_prefix_stands_for_the_subnet_both_ways() {
    let config = Config {
        to_prefix: cidrs(&["2001:db8:5::/48"]),
        sources: cidrs(&["fd00:0:0:7::/64"]),
        forward: Forward::Stateful,
        out_interface: Some(Interface::parse("eth0").unwrap()),
        ..plain()
    };
    let rules = shown(&config, &bridge(), &["fd00:0:0:1::8/64"]);
    for rule in [
        "postrouting: oifname \"eth0\" ip6 saddr @NET ip6 daddr != fd00:0:0:1::/64 ip6 daddr != fd00:0:0:7::/64 \
         ip6 daddr != ff00::/8 snat ip6 prefix to 2001:db8:5::/48",
        "dstnat: iifname \"eth0\" ip6 daddr 2001:db8:5:1::/64 dnat ip6 prefix to fd00:0:0:1::/64",
        "dstnat: iifname \"eth0\" ip6 daddr 2001:db8:5:7::/64 dnat ip6 prefix to fd00:0:0:7::/64",
        "postrouting: oifname \"br1\" ct status dnat ip6 saddr fd00:0:0:1::/64 ip6 daddr @NET snat ip6 prefix to 2001:db8:5::/48",
        "forward: iifname != \"br1\" oifname \"br1\" ct state ! established,related ct original ip6 daddr 2001:db8:5::/48 \
         counter drop",
    ] {
        assert!(
            rules.iter().any(|found| found == rule),
            "{rule} in {rules:#?}"
        );
    }
}

#[test]
fn exceptions_come_before_what_drops() {
    let allow = Allow {
        protocol: Some(Protocol::Ports(6)),
        ports: vec![(80, 80), (8000, 8010)],
        from: cidrs(&["192.0.2.0/24", "2001:db8::/64"]),
        to: Vec::new(),
        in_interface: Some(Interface::parse("eth*").unwrap()),
    };
    let ping = Allow {
        protocol: Some(Protocol::Icmp),
        ports: Vec::new(),
        from: Vec::new(),
        to: cidrs(&["10.77.0.8/32"]),
        in_interface: None,
    };
    let config = Config {
        forward: Forward::Isolated,
        isolate_containers: true,
        allow: vec![allow, ping],
        masquerade: Vec::new(),
        ..plain()
    };
    let unasked = "ct state ! established,related ct status ! dnat";
    assert_eq!(
        shown(&config, &bridge(), &["10.77.0.8/16"]),
        [
            "forward: iifname \"eth*\" oifname \"br1\" ip saddr 192.0.2.0/24 ip daddr 10.77.0.0/16 tcp dport 80 counter accept".to_owned(),
            "forward: iifname \"eth*\" oifname \"br1\" ip saddr 192.0.2.0/24 ip daddr 10.77.0.0/16 tcp dport 8000-8010 counter accept".to_owned(),
            "forward: oifname \"br1\" ip daddr 10.77.0.8 meta l4proto icmp counter accept".to_owned(),
            format!("forward: iifname != \"br1\" oifname \"br1\" ip daddr 10.77.0.0/16 {unasked} counter drop"),
            format!("forward: iifname \"br1\" oifname != \"br1\" {unasked} jump networks"),
            format!("forward: iifname \"br1\" oifname \"br1\" {unasked} counter drop"),
        ]
    );
    let plan = plan(
        &network("lan"),
        &config,
        &bridge(),
        &cidrs(&["10.77.0.8/16"]),
    );
    for rule in plan.groups.iter().flat_map(|group| &group.rules) {
        let accepts = rule.statements.last() == Some(&Statement::Accept);
        let place = if accepts { Where::First } else { Where::Last };
        assert_eq!(rule.place, place, "{}", line(&rule.statements));
    }
    let opened = line(plan.accepts[0].rules.last().unwrap());
    assert_eq!(
        opened,
        "oifname \"br1\" ip daddr 10.77.0.0/16 counter accept"
    );
}

#[test]
fn a_network_with_a_published_port_is_reached_by_way_of_the_host() {
    let config = Config {
        publish: vec![Mapping {
            at: At::Any,
            protocol: 6,
            host_port: 8080,
            container_port: 80,
        }],
        masquerade: Vec::new(),
        ..plain()
    };
    assert_eq!(
        shown(&config, &bridge(), &["10.77.0.8/16"]),
        [
            "postrouting: oifname \"br1\" ct status dnat ip saddr 10.77.0.0/16 ip daddr @NET masquerade",
            "postrouting: oifname \"br1\" ip saddr 127.0.0.0/8 ip daddr @NET masquerade",
            "prerouting: iifname \"br1\" ip saddr 127.0.0.0/8 counter drop",
            "prerouting: iifname \"br1\" ip daddr 127.0.0.0/8 counter drop",
        ]
    );
    assert_eq!(
        shown(&config, &bridge(), &["fd00::8/64"]),
        [
            "postrouting: oifname \"br1\" ct status dnat ip6 saddr fd00::/64 ip6 daddr @NET masquerade"
        ]
    );
    let plan = plan(
        &network("lan"),
        &config,
        &bridge(),
        &cidrs(&["10.77.0.8/16"]),
    );
    let opened = line(plan.accepts[0].rules.last().unwrap());
    assert_eq!(
        opened,
        "oifname \"br1\" ip daddr 10.77.0.0/16 xt match \"conntrack\" counter accept"
    );
}
