//! From statements to the expressions of the kernel's virtual machine.
//!
//! The instructions are those of nft(8) for the same text (`nft --debug=netlink` prints them), so that nft and
//! iptables-nft show our rules as if they had made them. All use register 1 (`NFT_REG_1`), and the parts of
//! a concatenation the registers behind it.

use super::TableFamily;
use super::fields::{
    ARP_SENDER, Base, Bytes, DPORT, ICMPV6, ICMPV6_TYPE, PORTS, SYN, TCP, TCP_FLAGS, UDP,
    ether_type, place,
};
use super::instruction::{Expr, Meta};
use super::key::{IFNAMSIZ, octets};
use super::nat::{self, End, Nat};
use super::statement::{By, Is, Place, Statement};
use crate::addr::{Cidr, Family};

/// `NF_DROP` (linux/netfilter.h).
pub(super) const NF_DROP: u32 = 0;
/// `NF_ACCEPT` (linux/netfilter.h).
pub(super) const NF_ACCEPT: u32 = 1;
/// Size of `struct xt_conntrack_mtinfo3` (`linux/netfilter/xt_conntrack.h`), aligned to 8.
pub(super) const CONNTRACK_INFO: usize = 168;
/// Where `match_flags` stands in it.
const CONNTRACK_MATCH_FLAGS: usize = 146;
/// Where `state_mask` stands in it.
const CONNTRACK_STATE_MASK: usize = 150;
/// `XT_CONNTRACK_STATE`.
const XT_CONNTRACK_STATE: u16 = 1;
/// `IP_CT_ESTABLISHED` and `IP_CT_RELATED` as bits: the same in `ct state` and in `XT_CONNTRACK_STATE_BIT`.
pub(super) const ESTABLISHED_RELATED: u16 = 6;
/// `XT_CONNTRACK_STATE_DNAT` (`linux/netfilter/xt_conntrack.h`).
pub(super) const XT_CONNTRACK_STATE_DNAT: u16 = 128;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6` (linux/netfilter.h).
pub(super) fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// `NF_CT_STATE_INVALID_BIT` (`linux/netfilter/nf_conntrack_common.h`).
const INVALID: u32 = 1;
/// `IPS_DST_NAT` (`linux/netfilter/nf_conntrack_common.h`).
const DST_NAT: u32 = 32;
/// `RTN_LOCAL` (linux/rtnetlink.h).
const RTN_LOCAL: u32 = 2;

pub(super) fn ct_state_bits() -> Vec<u8> {
    u32::from(ESTABLISHED_RELATED).to_ne_bytes().to_vec()
}

pub(super) fn ct_invalid_bits() -> Vec<u8> {
    INVALID.to_ne_bytes().to_vec()
}

pub(super) fn ct_redirected_bits() -> Vec<u8> {
    DST_NAT.to_ne_bytes().to_vec()
}

pub(super) fn local_address() -> Vec<u8> {
    RTN_LOCAL.to_ne_bytes().to_vec()
}

/// The registers (`NFT_REG_1`, `NFT_REG_2`, `NFT_REG32_*`) that come after an address of the family in register 1: the
/// next one of four bytes, and the one after that.
pub(super) fn behind(family: Family) -> (u32, u32) {
    match family {
        Family::V4 => (9, 10),
        Family::V6 => (2, 13),
    }
}

/// Compiles the statements of one rule of a table of that family.
pub(super) fn compile(table: TableFamily, statements: &[Statement]) -> Vec<Expr> {
    let mut code = Code {
        table,
        protocol: None,
        expressions: Vec::new(),
    };
    for statement in statements {
        code.statement(statement);
    }
    code.expressions
}

struct Code {
    table: TableFamily,
    /// The family that the expressions so far have made sure of.
    protocol: Option<Family>,
    expressions: Vec<Expr>,
}

impl Code {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::InInterface(is, name) => self.name(Meta::InInterface, *is, name),
            Statement::OutInterface(is, name) => self.name(Meta::OutInterface, *is, name),
            Statement::InKind(is, kind) => self.name(Meta::InKind, *is, kind),
            Statement::InInterfaceSet(is, field, set) => {
                self.push(Expr::Meta(Meta::InInterface));
                if let Some(field) = field {
                    self.push(Expr::PayloadInto(2, place(*field)));
                }
                self.push(Expr::Lookup(*is, set.clone()));
            }
            Statement::EtherType(is, kind) => {
                self.push(Expr::Meta(Meta::EtherType));
                self.push(Expr::Cmp(*is, ether_type(*kind)));
            }
            Statement::ArpSender(is, ip) => {
                self.push(Expr::Payload(ARP_SENDER));
                self.push(Expr::Cmp(*is, ip.octets().to_vec()));
            }
            Statement::UdpPorts(from, to) => {
                self.transport(UDP);
                self.push(Expr::Payload(PORTS));
                let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
                self.push(Expr::Cmp(Is::Equal, ports));
            }
            Statement::Icmpv6Type(kind) => {
                self.transport(ICMPV6);
                self.push(Expr::Payload(ICMPV6_TYPE));
                self.push(Expr::Cmp(Is::Equal, vec![*kind]));
            }
            Statement::Source(is, place) => self.address(Side::Source, *is, place),
            Statement::Destination(is, place) => self.address(Side::Destination, *is, place),
            Statement::Established(is) => self.any_bit(Expr::CtState, *is, ct_state_bits()),
            Statement::Invalid => self.any_bit(Expr::CtState, Is::Equal, ct_invalid_bits()),
            Statement::Redirected(is) => self.any_bit(Expr::CtStatus, *is, ct_redirected_bits()),
            Statement::OriginalDestination(cidr) => self.original(*cidr),
            Statement::Transport(protocol) => self.transport(*protocol),
            Statement::Port(protocol, first, last) => self.port(*protocol, *first, *last),
            Statement::ToThisHost => {
                self.push(Expr::FibType);
                self.push(Expr::Cmp(Is::Equal, local_address()));
            }
            Statement::NoRouteBack => {
                self.push(Expr::FibBack);
                self.push(Expr::Cmp(Is::Equal, vec![0; 4]));
            }
            Statement::Counter => self.push(Expr::Counter),
            Statement::TcpSyn => {
                self.transport(TCP);
                self.push(Expr::Payload(TCP_FLAGS));
                self.push(Expr::Mask(vec![SYN]));
                self.push(Expr::Cmp(Is::Not, vec![0]));
            }
            Statement::ClampMss(size) => self.clamp(*size),
            Statement::Masquerade(flags) => self.push(nat::masquerade(*flags)),
            Statement::Snat(to, flags) => {
                self.require(to.family());
                let translated = nat::compile(End::Source, *to, *flags);
                self.expressions.extend(translated);
            }
            Statement::Dnat(to) => {
                self.require(to.family());
                let translated = nat::compile(End::Destination, *to, nat::NatFlags::default());
                self.expressions.extend(translated);
            }
            Statement::DnatMap(family, by, map) => self.dnat_map(*family, *by, map),
            Statement::Notrack => self.push(Expr::Notrack),
            Statement::Accept => self.push(Expr::Verdict(NF_ACCEPT)),
            Statement::Drop => self.push(Expr::Verdict(NF_DROP)),
            Statement::Jump(chain) => self.push(Expr::Jump(chain.clone())),
            Statement::XtEstablished => self.push(conntrack(ESTABLISHED_RELATED)),
            Statement::XtRedirected => self.push(conntrack(XT_CONNTRACK_STATE_DNAT)),
            Statement::XtComment(text) => self.push(Expr::XtMatch {
                name: "comment".to_owned(),
                revision: 0,
                info: padded(text.as_bytes(), 256),
            }),
        }
    }

    fn push(&mut self, expression: Expr) {
        self.expressions.push(expression);
    }

    fn name(&mut self, meta: Meta, is: Is, name: &str) {
        self.push(Expr::Meta(meta));
        let (before, ends) = match (name.strip_suffix("\\*"), name.strip_suffix('*')) {
            (Some(before), _) => (before, "*"),
            (None, Some(start)) => {
                self.push(Expr::Cmp(is, start.as_bytes().to_vec()));
                return;
            }
            (None, None) => (name, ""),
        };
        let bytes = [before.as_bytes(), ends.as_bytes()].concat();
        // iptables compares the name and its NUL, nft the whole field: both mean the same.
        let length = match self.table {
            TableFamily::Inet | TableFamily::Bridge => IFNAMSIZ,
            TableFamily::Ip(_) => bytes.len().saturating_add(1).min(IFNAMSIZ),
        };
        self.push(Expr::Cmp(is, padded(&bytes, length)));
    }

    fn any_bit(&mut self, load: Expr, is: Is, bits: Vec<u8>) {
        // "any of the bits" is "masked, not zero".
        let compared = match is {
            Is::Equal => Is::Not,
            Is::Not => Is::Equal,
        };
        self.push(load);
        self.push(Expr::Mask(bits));
        self.push(Expr::Cmp(compared, vec![0; 4]));
    }

    fn original(&mut self, cidr: Cidr) {
        self.push(Expr::CtDestination(cidr.family()));
        let mut network = octets(cidr.network().address());
        if cidr.prefix().is_multiple_of(8) && cidr.prefix() > 0 {
            network.truncate(usize::from(cidr.prefix() / 8));
        } else {
            self.push(Expr::Mask(mask(cidr.family(), cidr.prefix())));
        }
        self.push(Expr::Cmp(Is::Equal, network));
    }

    fn port(&mut self, protocol: u8, first: u16, last: u16) {
        self.transport(protocol);
        self.push(Expr::Payload(DPORT));
        if first == last {
            self.push(Expr::Cmp(Is::Equal, first.to_be_bytes().to_vec()));
        } else {
            self.push(Expr::Least(first.to_be_bytes().to_vec()));
            self.push(Expr::Most(last.to_be_bytes().to_vec()));
        }
    }

    fn dnat_map(&mut self, family: Family, by: By, map: &str) {
        let (next, after) = behind(family);
        match by {
            By::Port => {
                self.push(Expr::Meta(Meta::Transport));
                self.push(Expr::PayloadInto(9, DPORT));
            }
            By::Address => {
                self.require(family);
                self.network(
                    Side::Destination.offset(family),
                    u32::from(family.bits() / 8),
                );
                self.push(Expr::MetaInto(next, Meta::Transport));
                self.push(Expr::PayloadInto(after, DPORT));
            }
        }
        self.push(Expr::Map(map.to_owned()));
        self.push(Expr::Nat(mapped(family)));
    }

    /// In a table of both families the header's layout must be known before it is read.
    fn require(&mut self, family: Family) {
        if self.table == TableFamily::Inet && self.protocol.is_none() {
            self.push(Expr::Meta(Meta::Protocol));
            self.push(Expr::Cmp(Is::Equal, vec![nfproto(family)]));
            self.protocol = Some(family);
        }
    }

    fn transport(&mut self, protocol: u8) {
        self.push(Expr::Meta(Meta::Transport));
        self.push(Expr::Cmp(Is::Equal, vec![protocol]));
    }

    fn clamp(&mut self, size: Option<u16>) {
        if let Some(bytes) = size {
            self.push(Expr::Immediate(bytes.to_be_bytes().to_vec()));
        } else {
            self.push(Expr::RouteMss);
            self.push(Expr::ToNetwork);
        }
        self.push(Expr::WriteMss);
    }

    fn network(&mut self, offset: u32, length: u32) {
        self.push(Expr::Payload(Bytes {
            base: Base::Network,
            offset,
            length,
        }));
    }

    fn address(&mut self, side: Side, is: Is, place: &Place) {
        let family = place.family();
        self.require(family);
        let whole = u32::from(family.bits() / 8);
        let offset = side.offset(family);
        match place {
            Place::Set(_, name) => {
                self.network(offset, whole);
                self.push(Expr::Lookup(is, name.clone()));
            }
            Place::Net(cidr) => {
                let network = octets(cidr.network().address());
                let bytes = usize::from(cidr.prefix() / 8);
                let of_iptables = matches!(self.table, TableFamily::Ip(_));
                if cidr.prefix() % 8 == 0 && bytes > 0 && !of_iptables {
                    self.network(offset, u32::from(cidr.prefix() / 8));
                    self.push(Expr::Cmp(is, network.into_iter().take(bytes).collect()));
                    return;
                }
                self.network(offset, whole);
                if cidr.prefix() < family.bits() {
                    self.push(Expr::Mask(mask(family, cidr.prefix())));
                }
                self.push(Expr::Cmp(is, network));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    /// Where the address stands in the header (RFC 791 section 3.1, RFC 8200 section 3).
    pub(super) fn offset(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Source, Family::V4) => 12,
            (Self::Destination, Family::V4) => 16,
            (Self::Source, Family::V6) => 8,
            (Self::Destination, Family::V6) => 24,
        }
    }
}

pub(super) fn padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut field: Vec<u8> = bytes.iter().copied().take(length).collect();
    field.resize(length, 0);
    field
}

pub(super) fn mask(family: Family, prefix: u8) -> Vec<u8> {
    let bits = u32::from(prefix);
    match family {
        Family::V4 => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            (!host).to_be_bytes().to_vec()
        }
        Family::V6 => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            (!host).to_be_bytes().to_vec()
        }
    }
}

/// NAT to the address and the port that a map had.
pub(super) fn mapped(family: Family) -> Nat {
    Nat {
        end: End::Destination,
        family,
        range: false,
        port: Some(behind(family).0),
        flags: 0,
    }
}

fn conntrack(states: u16) -> Expr {
    Expr::XtMatch {
        name: "conntrack".to_owned(),
        revision: 3,
        info: conntrack_states(states),
    }
}

/// `struct xt_conntrack_mtinfo3` that asks for any of the states.
pub(super) fn conntrack_states(states: u16) -> Vec<u8> {
    let mut info = vec![0; CONNTRACK_INFO];
    let fields = [
        (CONNTRACK_MATCH_FLAGS, XT_CONNTRACK_STATE),
        (CONNTRACK_STATE_MASK, states),
    ];
    for (offset, value) in fields {
        for (place, byte) in info.iter_mut().skip(offset).zip(value.to_ne_bytes()) {
            *place = byte;
        }
    }
    info
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "translation_tests.rs"]
mod translation_tests;
