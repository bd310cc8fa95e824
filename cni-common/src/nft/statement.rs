//! What a rule says, as a person would write it in nft(8).

use core::fmt;
use core::net::Ipv4Addr;

use super::nat::{NatFlags, NatTo};
use crate::addr::{Cidr, Family};

/// Whether a match asks for a value or for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// The value.
    Equal,
    /// Anything but the value.
    Not,
}

/// What an address is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A subnet; a prefix of full length is a single address.
    Net(Cidr),
    /// A named set of the same table that holds addresses of this family.
    Set(Family, String),
}

impl Place {
    /// The family of the addresses.
    pub fn family(&self) -> Family {
        match self {
            Self::Net(cidr) => cidr.family(),
            Self::Set(family, _) => *family,
        }
    }
}

/// What a frame carries (`ETH_P_*`, `linux/if_ether.h`), beneath a VLAN tag if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// IPv4 or IPv6.
    Ip(Family),
    /// ARP.
    Arp,
}

/// A field of a frame that is looked up in a set together with the interface it came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `ether saddr`.
    SourceMac,
    /// `arp saddr ether`.
    ArpSenderMac,
    /// `arp saddr ip`.
    ArpSender,
    /// `ip saddr`, `ip6 saddr`.
    Source(Family),
    /// `icmpv6 taddr`, which nft(8) knows from 1.0.9 on and prints as `@th,64,128` before: the target of a neighbour
    /// solicitation or advertisement (RFC 4861, 4.3 and 4.4).
    NeighbourTarget,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceMac => "ether saddr",
            Self::ArpSenderMac => "arp saddr ether",
            Self::ArpSender => "arp saddr ip",
            Self::Source(Family::V4) => "ip saddr",
            Self::Source(Family::V6) => "ip6 saddr",
            Self::NeighbourTarget => "@th,64,128",
        })
    }
}

/// By what a destination is looked up beside protocol and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By nothing else.
    Port,
    /// By the address too.
    Address,
}

/// The name as an interface of exactly that name: a star at the end stands for any ending, unless it is escaped.
pub fn exact(name: &str) -> String {
    match name.strip_suffix('*') {
        Some(before) => format!("{before}\\*"),
        None => name.to_owned(),
    }
}

/// `IPPROTO_*` (linux/in.h) by the name that nft(8) gives it.
pub const TRANSPORTS: [(u8, &str); 5] = [
    (6, "tcp"),
    (17, "udp"),
    (132, "sctp"),
    (1, "icmp"),
    (58, "ipv6-icmp"),
];

/// The name of a transport protocol, or its number.
pub(super) fn transport(number: u8) -> String {
    let known = TRANSPORTS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// One match or action of a rule. [`fmt::Display`] gives the syntax of nft(8), as `nft list ruleset` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `iifname "br1"`, `iifname "eth*"`; see [`exact`].
    InInterface(Is, String),
    /// `oifname "eth0"`, `oifname "eth*"`; see [`exact`].
    OutInterface(Is, String),
    /// `meta iifkind "bridge"`: the type of link the packet came in by (kernel 5.6).
    InKind(Is, String),
    /// `iifname @name`, `iifname . ether saddr @name`: the interface the packet came in by, and a field, in a named set of
    /// the same table.
    InInterfaceSet(Is, Option<Field>, String),
    /// `meta protocol arp`. In a table of the family bridge it stands before what reads the header.
    EtherType(Is, EtherType),
    /// `arp saddr ip 0.0.0.0`.
    ArpSender(Is, Ipv4Addr),
    /// `udp sport 68 udp dport 67`.
    UdpPorts(u16, u16),
    /// `icmpv6 type 135`.
    Icmpv6Type(u8),
    /// `ip saddr 10.0.0.0/8`, `ip6 saddr @name`.
    Source(Is, Place),
    /// `ip daddr 10.0.0.0/8`, `ip6 daddr @name`.
    Destination(Is, Place),
    /// `ct state established,related`, or with [`Is::Not`] neither of the two.
    Established(Is),
    /// `ct state invalid`: connection tracking can make nothing of the packet.
    Invalid,
    /// `ct status dnat`, `ct status ! dnat`: whether the connection's destination was translated.
    Redirected(Is),
    /// `ct original ip6 daddr fd00::/64`: where the connection was to go before anything was translated.
    OriginalDestination(Cidr),
    /// `meta l4proto icmp`.
    Transport(u8),
    /// `tcp dport 80`, `tcp dport 8000-8010`: the protocol's number, the first port and the last.
    Port(u8, u16, u16),
    /// `fib daddr type local`: the packet is for this host.
    ToThisHost,
    /// `fib saddr . iif oif missing`: a packet to the source would leave by another interface.
    NoRouteBack,
    /// `counter`.
    Counter,
    /// `tcp flags syn`: the packet begins a TCP connection, or accepts one.
    TcpSyn,
    /// `tcp option maxseg size set rt mtu`, or to a number of bytes: lowers the maximal segment size (RFC 9293, 3.7.1) that a
    /// TCP packet announces, to what the MTU of its route leaves, or to that. The kernel never raises it.
    ClampMss(Option<u16>),
    /// `masquerade`.
    Masquerade(NatFlags),
    /// `snat ip to 192.0.2.1`, `snat ip6 prefix to 2001:db8::/64`.
    Snat(NatTo, NatFlags),
    /// `dnat ip6 prefix to fd00::/64`.
    Dnat(NatTo),
    /// `dnat ip to meta l4proto . th dport map @name`, and with [`By::Address`] `ip daddr` before: the destination that a
    /// named map of the same table has for it, if any.
    DnatMap(Family, By, String),
    /// `notrack`.
    Notrack,
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `jump name`: what the other chain says comes first.
    Jump(String),
    /// `-m conntrack --ctstate RELATED,ESTABLISHED` of iptables-nft, which takes a chain with nftables' own
    /// `ct state` for damaged.
    XtEstablished,
    /// `-m conntrack --ctstate DNAT` of iptables-nft.
    XtRedirected,
    /// `-m comment --comment TEXT` of iptables-nft.
    XtComment(String),
}

/// The name that nft(8) gives the header.
fn protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

impl fmt::Display for Is {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "",
            Self::Not => "!= ",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(cidr) if cidr.prefix() == cidr.family().bits() => {
                write!(f, "{}", cidr.address())
            }
            Self::Net(cidr) => write!(f, "{}", cidr.network()),
            Self::Set(_, name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InInterface(is, name) => write!(f, "iifname {is}\"{name}\""),
            Self::OutInterface(is, name) => write!(f, "oifname {is}\"{name}\""),
            Self::InKind(is, kind) => write!(f, "meta iifkind {is}\"{kind}\""),
            Self::InInterfaceSet(is, None, set) => write!(f, "iifname {is}@{set}"),
            Self::InInterfaceSet(is, Some(field), set) => {
                write!(f, "iifname . {field} {is}@{set}")
            }
            Self::EtherType(is, EtherType::Arp) => write!(f, "meta protocol {is}arp"),
            Self::EtherType(is, EtherType::Ip(family)) => {
                write!(f, "meta protocol {is}{}", protocol(*family))
            }
            Self::ArpSender(is, ip) => write!(f, "arp saddr ip {is}{ip}"),
            Self::UdpPorts(from, to) => write!(f, "udp sport {from} udp dport {to}"),
            Self::Icmpv6Type(kind) => write!(f, "icmpv6 type {kind}"),
            Self::Source(is, place) => {
                write!(f, "{} saddr {is}{place}", protocol(place.family()))
            }
            Self::Destination(is, place) => {
                write!(f, "{} daddr {is}{place}", protocol(place.family()))
            }
            Self::Established(Is::Equal) => f.write_str("ct state established,related"),
            Self::Established(Is::Not) => f.write_str("ct state ! established,related"),
            Self::Invalid => f.write_str("ct state invalid"),
            Self::Redirected(Is::Equal) => f.write_str("ct status dnat"),
            Self::Redirected(Is::Not) => f.write_str("ct status ! dnat"),
            Self::OriginalDestination(cidr) => {
                let place = Place::Net(*cidr);
                write!(f, "ct original {} daddr {place}", protocol(cidr.family()))
            }
            Self::Transport(number) => write!(f, "meta l4proto {}", transport(*number)),
            Self::Port(number, first, last) => {
                write!(f, "{} dport {first}", transport(*number))?;
                if first == last {
                    return Ok(());
                }
                write!(f, "-{last}")
            }
            Self::ToThisHost => f.write_str("fib daddr type local"),
            Self::NoRouteBack => f.write_str("fib saddr . iif oif missing"),
            Self::Counter => f.write_str("counter"),
            Self::TcpSyn => f.write_str("tcp flags syn"),
            Self::ClampMss(None) => f.write_str("tcp option maxseg size set rt mtu"),
            Self::ClampMss(Some(bytes)) => write!(f, "tcp option maxseg size set {bytes}"),
            Self::Masquerade(flags) => write!(f, "masquerade{flags}"),
            Self::Snat(to, flags) => write!(f, "snat {} {to}{flags}", protocol(to.family())),
            Self::Dnat(to) => write!(f, "dnat {} {to}", protocol(to.family())),
            Self::DnatMap(family, by, map) => {
                let name = protocol(*family);
                write!(f, "dnat {name} to ")?;
                if *by == By::Address {
                    write!(f, "{name} daddr . ")?;
                }
                write!(f, "meta l4proto . th dport map @{map}")
            }
            Self::Notrack => f.write_str("notrack"),
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::XtEstablished | Self::XtRedirected => f.write_str("xt match \"conntrack\""),
            Self::XtComment(_) => f.write_str("xt match \"comment\""),
        }
    }
}

/// The statements of one rule, in one line.
pub fn line(statements: &[Statement]) -> String {
    let words: Vec<String> = statements.iter().map(ToString::to_string).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_read_as_nft_prints_them() {
        let net = |text: &str| Place::Net(text.parse().unwrap());
        let rule = [
            Statement::InInterface(Is::Not, "br1".into()),
            Statement::OutInterface(Is::Equal, "br1".into()),
            Statement::Source(Is::Equal, Place::Set(Family::V4, "net-a".into())),
            Statement::Destination(Is::Not, net("10.77.9.9/16")),
            Statement::Destination(Is::Not, net("10.1.1.1/32")),
            Statement::Established(Is::Not),
            Statement::Drop,
        ];
        assert_eq!(
            line(&rule),
            "iifname != \"br1\" oifname \"br1\" ip saddr @net-a ip daddr != 10.77.0.0/16 \
             ip daddr != 10.1.1.1 ct state ! established,related drop"
        );
        let rule = [
            Statement::InKind(Is::Equal, "bridge".into()),
            Statement::Source(Is::Equal, net("fd00::/64")),
            Statement::NoRouteBack,
            Statement::Snat(
                NatTo::Address("2001:db8::1".parse().unwrap()),
                NatFlags::default(),
            ),
        ];
        assert_eq!(
            line(&rule),
            "meta iifkind \"bridge\" ip6 saddr fd00::/64 fib saddr . iif oif missing snat ip6 to 2001:db8::1"
        );
    }
}
