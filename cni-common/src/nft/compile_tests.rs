//! Golden vectors: the right-hand sides are what nft 1.0.6 and iptables-nft 1.8.9 printed.

use super::super::nat::{NatFlags, NatTo};
use super::super::parse::parse;
use super::super::statement::{EtherType, Field};
use super::*;

#[path = "shown_tests.rs"]
mod shown;

use shown::shown;

pub(super) fn net(text: &str) -> Place {
    Place::Net(text.parse().unwrap())
}

fn set(family: Family, name: &str) -> Place {
    Place::Set(family, name.into())
}

#[track_caller]
pub(super) fn compiles(table: TableFamily, statements: &[Statement], golden: &[&str]) {
    let expressions = compile(table, statements);
    let shown: Vec<_> = expressions.iter().map(shown).collect();
    assert_eq!(shown, golden);
    assert_eq!(parse(table, &expressions).as_deref(), Some(statements));
}

#[test]
fn masquerade_outside_the_subnet_by_one_interface() {
    // nft --debug=netlink add rule inet plumb postrouting \
    //   oifname eth0 ip saddr @a4 ip daddr != 10.77.0.0/16 ip daddr != 224.0.0.0/4 masquerade
    compiles(
        TableFamily::Inet,
        &[
            Statement::OutInterface(Is::Equal, "eth0".into()),
            Statement::Source(Is::Equal, set(Family::V4, "a4")),
            Statement::Destination(Is::Not, net("10.77.0.0/16")),
            Statement::Destination(Is::Not, net("224.0.0.0/4")),
            Statement::Masquerade(NatFlags::default()),
        ],
        &[
            "[ meta load oifname => reg 1 ]",
            "[ cmp eq reg 1 0x30687465 0x00000000 0x00000000 0x00000000 ]",
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ payload load 4b @ network header + 12 => reg 1 ]",
            "[ lookup reg 1 set a4 ]",
            "[ payload load 2b @ network header + 16 => reg 1 ]",
            "[ cmp neq reg 1 0x00004d0a ]",
            "[ payload load 4b @ network header + 16 => reg 1 ]",
            "[ bitwise reg 1 = ( reg 1 & 0x000000f0 ) ^ 0x00000000 ]",
            "[ cmp neq reg 1 0x000000e0 ]",
            "[ masq ]",
        ],
    );
}

#[test]
fn source_nat_to_a_fixed_ipv6_address() {
    // nft --debug=netlink add rule inet plumb postrouting \
    //   ip6 saddr @a6 ip6 daddr != fd00::/64 ip6 daddr != ff00::/8 snat to 2001:db8::1
    compiles(
        TableFamily::Inet,
        &[
            Statement::Source(Is::Equal, set(Family::V6, "a6")),
            Statement::Destination(Is::Not, net("fd00::/64")),
            Statement::Destination(Is::Not, net("ff00::/8")),
            Statement::Snat(
                NatTo::Address("2001:db8::1".parse().unwrap()),
                NatFlags::default(),
            ),
        ],
        &[
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x0000000a ]",
            "[ payload load 16b @ network header + 8 => reg 1 ]",
            "[ lookup reg 1 set a6 ]",
            "[ payload load 8b @ network header + 24 => reg 1 ]",
            "[ cmp neq reg 1 0x000000fd 0x00000000 ]",
            "[ payload load 1b @ network header + 24 => reg 1 ]",
            "[ cmp neq reg 1 0x000000ff ]",
            "[ immediate reg 1 0xb80d0120 0x00000000 0x00000000 0x01000000 ]",
            "[ nat snat ip6 addr_min reg 1 ]",
        ],
    );
}

#[test]
fn a_stateful_drop_towards_a_bridge() {
    // nft --debug=netlink add rule inet plumb forward \
    //   iifname != br1 oifname br1 ip daddr 10.77.0.0/16 ct state ! established,related drop
    compiles(
        TableFamily::Inet,
        &[
            Statement::InInterface(Is::Not, "br1".into()),
            Statement::OutInterface(Is::Equal, "br1".into()),
            Statement::Destination(Is::Equal, net("10.77.0.0/16")),
            Statement::Established(Is::Not),
            Statement::Drop,
        ],
        &[
            "[ meta load iifname => reg 1 ]",
            "[ cmp neq reg 1 0x00317262 0x00000000 0x00000000 0x00000000 ]",
            "[ meta load oifname => reg 1 ]",
            "[ cmp eq reg 1 0x00317262 0x00000000 0x00000000 0x00000000 ]",
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ payload load 2b @ network header + 16 => reg 1 ]",
            "[ cmp eq reg 1 0x00004d0a ]",
            "[ ct load state => reg 1 ]",
            "[ bitwise reg 1 = ( reg 1 & 0x00000006 ) ^ 0x00000000 ]",
            "[ cmp eq reg 1 0x00000000 ]",
            "[ immediate reg 0 drop ]",
        ],
    );
}

#[test]
fn bridged_frames_elsewhere_stay_untracked() {
    // nft --debug=netlink add rule inet plumb prerouting iifname != br1 meta iifkind bridge \
    //   ip saddr 192.168.103.0/24 fib saddr . iif oif missing notrack
    compiles(
        TableFamily::Inet,
        &[
            Statement::InInterface(Is::Not, "br1".into()),
            Statement::InKind(Is::Equal, "bridge".into()),
            Statement::Source(Is::Equal, net("192.168.103.0/24")),
            Statement::NoRouteBack,
            Statement::Notrack,
        ],
        &[
            "[ meta load iifname => reg 1 ]",
            "[ cmp neq reg 1 0x00317262 0x00000000 0x00000000 0x00000000 ]",
            "[ meta load iifkind => reg 1 ]",
            "[ cmp eq reg 1 0x64697262 0x00006567 0x00000000 0x00000000 ]",
            "[ meta load nfproto => reg 1 ]",
            "[ cmp eq reg 1 0x00000002 ]",
            "[ payload load 3b @ network header + 12 => reg 1 ]",
            "[ cmp eq reg 1 0x0067a8c0 ]",
            "[ fib saddr . iif oif present => reg 1 ]",
            "[ cmp eq reg 1 0x00000000 ]",
            "[ notrack ]",
        ],
    );
}

#[test]
fn a_port_and_what_it_may_send_as() {
    // nft --debug=netlink: iifname . ether saddr != @mac drop
    compiles(
        TableFamily::Bridge,
        &[
            Statement::InInterfaceSet(Is::Not, Some(Field::SourceMac), "mac".into()),
            Statement::Drop,
        ],
        &[
            "[ meta load iifname => reg 1 ]",
            "[ payload load 6b @ link header + 6 => reg 2 ]",
            "[ lookup reg 1 set mac 0x1 ]",
            "[ immediate reg 0 drop ]",
        ],
    );
    // meta protocol arp arp saddr ip != 0.0.0.0 iifname . arp saddr ip != @ipv4 drop
    compiles(
        TableFamily::Bridge,
        &[
            Statement::EtherType(Is::Equal, EtherType::Arp),
            Statement::ArpSender(Is::Not, "0.0.0.0".parse().unwrap()),
            Statement::InInterfaceSet(Is::Not, Some(Field::ArpSender), "ipv4".into()),
            Statement::Drop,
        ],
        &[
            "[ meta load protocol => reg 1 ]",
            "[ cmp eq reg 1 0x00000608 ]",
            "[ payload load 4b @ network header + 14 => reg 1 ]",
            "[ cmp neq reg 1 0x00000000 ]",
            "[ meta load iifname => reg 1 ]",
            "[ payload load 4b @ network header + 14 => reg 2 ]",
            "[ lookup reg 1 set ipv4 0x1 ]",
            "[ immediate reg 0 drop ]",
        ],
    );
    // meta protocol ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
    compiles(
        TableFamily::Bridge,
        &[
            Statement::EtherType(Is::Equal, EtherType::Ip(Family::V4)),
            Statement::Source(Is::Equal, net("0.0.0.0/32")),
            Statement::Destination(Is::Equal, net("255.255.255.255/32")),
            Statement::UdpPorts(68, 67),
            Statement::Accept,
        ],
        &[
            "[ meta load protocol => reg 1 ]",
            "[ cmp eq reg 1 0x00000008 ]",
            "[ payload load 4b @ network header + 12 => reg 1 ]",
            "[ cmp eq reg 1 0x00000000 ]",
            "[ payload load 4b @ network header + 16 => reg 1 ]",
            "[ cmp eq reg 1 0xffffffff ]",
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x00000011 ]",
            "[ payload load 4b @ transport header + 0 => reg 1 ]",
            "[ cmp eq reg 1 0x43004400 ]",
            "[ immediate reg 0 accept ]",
        ],
    );
    // meta protocol ip6 ip6 saddr :: icmpv6 type 133 accept
    compiles(
        TableFamily::Bridge,
        &[
            Statement::EtherType(Is::Equal, EtherType::Ip(Family::V6)),
            Statement::Source(Is::Equal, net("::/128")),
            Statement::Icmpv6Type(133),
            Statement::Accept,
        ],
        &[
            "[ meta load protocol => reg 1 ]",
            "[ cmp eq reg 1 0x0000dd86 ]",
            "[ payload load 16b @ network header + 8 => reg 1 ]",
            "[ cmp eq reg 1 0x00000000 0x00000000 0x00000000 0x00000000 ]",
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x0000003a ]",
            "[ payload load 1b @ transport header + 0 => reg 1 ]",
            "[ cmp eq reg 1 0x00000085 ]",
            "[ immediate reg 0 accept ]",
        ],
    );
}

#[test]
fn what_iptables_makes_is_made_and_read() {
    // iptables -A FORWARD -o spbr0 -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "spk spbr0"
    //   -j ACCEPT; nft --debug=netlink list table ip filter
    let table = TableFamily::Ip(Family::V4);
    compiles(
        table,
        &[
            Statement::OutInterface(Is::Equal, "spbr0".into()),
            Statement::XtEstablished,
            Statement::XtComment("spk spbr0".into()),
            Statement::Counter,
            Statement::Accept,
        ],
        &[
            "[ meta load oifname => reg 1 ]",
            "[ cmp eq reg 1 0x72627073 0x00000030 ]",
            "[ match name conntrack rev 3 ]",
            "[ match name comment rev 0 ]",
            "[ counter pkts 0 bytes 0 ]",
            "[ immediate reg 0 accept ]",
        ],
    );
    // iptables -A FORWARD -s 10.0.0.0/20 -j ACCEPT
    compiles(
        table,
        &[
            Statement::Source(Is::Equal, net("10.0.0.0/20")),
            Statement::Counter,
            Statement::Accept,
        ],
        &[
            "[ payload load 4b @ network header + 12 => reg 1 ]",
            "[ bitwise reg 1 = ( reg 1 & 0x00f0ffff ) ^ 0x00000000 ]",
            "[ cmp eq reg 1 0x0000000a ]",
            "[ counter pkts 0 bytes 0 ]",
            "[ immediate reg 0 accept ]",
        ],
    );
}

#[test]
fn a_rule_with_more_in_it_is_not_read_as_ours() {
    let mut expressions = compile(
        TableFamily::Inet,
        &[Statement::Source(Is::Equal, set(Family::V4, "a4"))],
    );
    expressions.push(Expr::Other("limit".into()));
    assert_eq!(parse(TableFamily::Inet, &expressions), None);

    let prefix_match = [
        Expr::Meta(Meta::InInterface),
        Expr::Cmp(Is::Equal, b"br".to_vec()),
    ];
    let any_br = Statement::InInterface(Is::Equal, "br*".into());
    assert_eq!(
        parse(TableFamily::Inet, &prefix_match),
        Some(vec![any_br.clone()])
    );
    let exactly = Statement::InInterface(Is::Equal, super::super::exact("br*"));
    let compiled = compile(TableFamily::Inet, std::slice::from_ref(&exactly));
    assert_eq!(parse(TableFamily::Inet, &compiled), Some(vec![exactly]));
    assert_ne!(compiled, compile(TableFamily::Inet, &[any_br]));

    let mut new_too = conntrack_states(ESTABLISHED_RELATED);
    new_too[CONNTRACK_STATE_MASK] |= 8;
    let looser = [Expr::XtMatch {
        name: "conntrack".into(),
        revision: 3,
        info: new_too,
    }];
    assert_eq!(parse(TableFamily::Ip(Family::V4), &looser), None);
}

#[test]
fn every_prefix_length_comes_back() {
    for table in [TableFamily::Inet, TableFamily::Ip(Family::V4)] {
        for prefix in 0..=32 {
            let statement = Statement::Source(Is::Not, net(&format!("10.11.12.13/{prefix}")));
            let read = parse(table, &compile(table, std::slice::from_ref(&statement))).unwrap();
            assert_eq!(super::super::statement::line(&read), statement.to_string());
        }
    }
}

#[test]
fn a_segment_size_that_the_route_allows() {
    // nft --debug=netlink add rule inet plumb forward oifname br1 tcp flags syn tcp option maxseg size set rt mtu
    compiles(
        TableFamily::Inet,
        &[
            Statement::OutInterface(Is::Equal, "br1".into()),
            Statement::TcpSyn,
            Statement::ClampMss(None),
        ],
        &[
            "[ meta load oifname => reg 1 ]",
            "[ cmp eq reg 1 0x00317262 0x00000000 0x00000000 0x00000000 ]",
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x00000006 ]",
            "[ payload load 1b @ transport header + 13 => reg 1 ]",
            "[ bitwise reg 1 = ( reg 1 & 0x00000002 ) ^ 0x00000000 ]",
            "[ cmp neq reg 1 0x00000000 ]",
            "[ rt load tcpmss => reg 1 ]",
            "[ byteorder reg 1 = hton(reg 1, 2, 2) ]",
            "[ exthdr write tcpopt reg 1 => 2b @ 2 + 2 ]",
        ],
    );
}

#[test]
fn a_segment_size_in_bytes() {
    // nft --debug=netlink add rule inet plumb forward tcp flags syn tcp option maxseg size set 1360
    compiles(
        TableFamily::Inet,
        &[Statement::TcpSyn, Statement::ClampMss(Some(1360))],
        &[
            "[ meta load l4proto => reg 1 ]",
            "[ cmp eq reg 1 0x00000006 ]",
            "[ payload load 1b @ transport header + 13 => reg 1 ]",
            "[ bitwise reg 1 = ( reg 1 & 0x00000002 ) ^ 0x00000000 ]",
            "[ cmp neq reg 1 0x00000000 ]",
            "[ immediate reg 1 0x00005005 ]",
            "[ exthdr write tcpopt reg 1 => 2b @ 2 + 2 ]",
        ],
    );
}
