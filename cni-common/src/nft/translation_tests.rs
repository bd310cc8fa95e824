//! Golden vectors of NAT and of what tells connections apart: the right-hand sides are what nft 1.0.6 printed.

use super::super::nat::{NatFlags, NatTo};
use super::tests::{compiles, net};
use super::*;

const NONE: NatFlags = NatFlags {
    random: false,
    fully_random: false,
    persistent: false,
};

fn ip(text: &str) -> core::net::IpAddr {
    text.parse().unwrap()
}

#[track_caller]
fn inet(statements: &[Statement], golden: &[&str]) {
    compiles(TableFamily::Inet, statements, golden);
}

#[test]
fn a_published_port_is_looked_up_in_a_map() {
    // dnat ip to ip daddr . meta l4proto . th dport map @at
    inet(
        &[Statement::DnatMap(Family::V4, By::Address, "at".into())],
        &[
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ payload load 4b @ network header + 16 => reg 1 ]",
            "[ meta load l4proto => reg 9 ]",
            "[ payload load 2b @ transport header + 2 => reg 10 ]",
            "[ lookup reg 1 set at dreg 1 ]",
            "[ nat dnat ip addr_min reg 1 proto_min reg 9 ]",
        ],
    );
    // dnat ip6 to ip6 daddr . meta l4proto . th dport map @at
    inet(
        &[Statement::DnatMap(Family::V6, By::Address, "at".into())],
        &[
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x0000000a ]",
            "[ payload load 16b @ network header + 24 => reg 1 ]",
            "[ meta load l4proto => reg 2 ]",
            "[ payload load 2b @ transport header + 2 => reg 13 ]",
            "[ lookup reg 1 set at dreg 1 ]",
            "[ nat dnat ip6 addr_min reg 1 proto_min reg 2 ]",
        ],
    );
    // dnat ip to meta l4proto . th dport map @any; dnat ip6 to meta l4proto . th dport map @any
    for (family, end) in [
        (Family::V4, "[ nat dnat ip addr_min reg 1 proto_min reg 9 ]"),
        (
            Family::V6,
            "[ nat dnat ip6 addr_min reg 1 proto_min reg 2 ]",
        ),
    ] {
        inet(
            &[Statement::DnatMap(family, By::Port, "any".into())],
            &[
                "[ meta load l4proto => reg 1 ]",
                "[ payload load 2b @ transport header + 2 => reg 9 ]",
                "[ lookup reg 1 set any dreg 1 ]",
                end,
            ],
        );
    }
    // fib daddr type local jump publish
    inet(
        &[Statement::ToThisHost, Statement::Jump("publish".into())],
        &[
            "[ fib daddr type => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ immediate reg 0 jump -> publish ]",
        ],
    );
}

#[test]
fn a_range_of_sources_and_how_one_is_chosen() {
    // oifname "eth*" snat ip to 203.0.113.1-203.0.113.9 persistent
    let persistent = NatFlags {
        persistent: true,
        ..NONE
    };
    inet(
        &[
            Statement::OutInterface(Is::Equal, "eth*".into()),
            Statement::Source(Is::Equal, net("10.0.0.0/24")),
            Statement::Snat(
                NatTo::Range(ip("203.0.113.1"), ip("203.0.113.9")),
                persistent,
            ),
        ],
        &[
            "[ meta load oifname => reg 1 ]",
            "[ cmp eq reg 1 0x00687465 ]",
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ payload load 3b @ network header + 12 => reg 1 ]",
            "[ cmp eq reg 1 0x0000000a ]",
            "[ immediate reg 1 0x017100cb ]",
            "[ immediate reg 2 0x097100cb ]",
            "[ nat snat ip addr_min reg 1 addr_max reg 2 flags 0x8 ]",
        ],
    );
    // masquerade fully-random,persistent
    let both = NatFlags {
        fully_random: true,
        ..persistent
    };
    inet(&[Statement::Masquerade(both)], &["[ masq flags 0x18 ]"]);
}

#[test]
fn prefixes_for_one_another() {
    // ip6 saddr fd00::/64 snat ip6 prefix to 2001:db8:5::/64
    inet(
        &[
            Statement::Source(Is::Equal, net("fd00::/64")),
            Statement::Snat(NatTo::Prefix("2001:db8:5::/64".parse().unwrap()), NONE),
        ],
        &[
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x0000000a ]",
            "[ payload load 8b @ network header + 8 => reg 1 ]",
            "[ cmp eq reg 1 0x000000fd 0x00000000 ]",
            "[ immediate reg 1 0xb80d0120 0x00000500 0x00000000 0x00000000 ]",
            "[ immediate reg 2 0xb80d0120 0x00000500 0xffffffff 0xffffffff ]",
            "[ nat snat ip6 addr_min reg 1 addr_max reg 2 flags 0x40 ]",
        ],
    );
    // ip daddr 192.0.2.0/24 dnat ip prefix to 10.0.0.0/24
    inet(
        &[
            Statement::Destination(Is::Equal, net("192.0.2.0/24")),
            Statement::Dnat(NatTo::Prefix("10.0.0.0/24".parse().unwrap())),
        ],
        &[
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ payload load 3b @ network header + 16 => reg 1 ]",
            "[ cmp eq reg 1 0x000200c0 ]",
            "[ immediate reg 1 0x0000000a ]",
            "[ immediate reg 2 0xff00000a ]",
            "[ nat dnat ip addr_min reg 1 addr_max reg 2 flags 0x40 ]",
        ],
    );
}

#[test]
fn connections_that_are_unknown_redirected_or_to_a_prefix() {
    // ct state invalid counter drop
    inet(
        &[Statement::Invalid, Statement::Counter, Statement::Drop],
        &[
            "[ ct load state => reg 1 ]",
            "[ bitwise reg 1 = ( reg 1 & 0x00000001 ) ^ 0x00000000 ]",
            "[ cmp neq reg 1 0x00000000 ]",
            "[ counter pkts 0 bytes 0 ]",
            "[ immediate reg 0 drop ]",
        ],
    );
    // ct status dnat; ct status ! dnat
    for (is, op) in [(Is::Equal, "neq"), (Is::Not, "eq")] {
        inet(
            &[Statement::Redirected(is)],
            &[
                "[ ct load status => reg 1 ]",
                "[ bitwise reg 1 = ( reg 1 & 0x00000020 ) ^ 0x00000000 ]",
                &format!("[ cmp {op} reg 1 0x00000000 ]"),
            ],
        );
    }
    // ct original ip6 daddr 2001:db8:5::/64; ct original ip daddr 192.0.2.0/25
    inet(
        &[Statement::OriginalDestination(
            "2001:db8:5::/64".parse().unwrap(),
        )],
        &[
            "[ ct load dst_ip6 => reg 1 , dir original ]",
            "[ cmp eq reg 1 0xb80d0120 0x00000500 ]",
        ],
    );
    inet(
        &[Statement::OriginalDestination(
            "192.0.2.0/25".parse().unwrap(),
        )],
        &[
            "[ ct load dst_ip => reg 1 , dir original ]",
            "[ bitwise reg 1 = ( reg 1 & 0x80ffffff ) ^ 0x00000000 ]",
            "[ cmp eq reg 1 0x000200c0 ]",
        ],
    );
}

#[test]
fn protocols_and_ports() {
    // tcp dport 80; sctp dport 8000-8010; meta l4proto icmp
    inet(
        &[Statement::Port(6, 80, 80)],
        &[
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x00000006 ]",
            "[ payload load 2b @ transport header + 2 => reg 1 ]",
            "[ cmp eq reg 1 0x00005000 ]",
        ],
    );
    inet(
        &[Statement::Port(132, 8000, 8010)],
        &[
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x00000084 ]",
            "[ payload load 2b @ transport header + 2 => reg 1 ]",
            "[ cmp gte reg 1 0x0000401f ]",
            "[ cmp lte reg 1 0x00004a1f ]",
        ],
    );
    inet(
        &[Statement::Transport(1), Statement::Accept],
        &[
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x00000001 ]",
            "[ immediate reg 0 accept ]",
        ],
    );
}
