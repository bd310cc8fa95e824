//! Statements that begin with a property of the packet: interfaces, families, protocols and ports.

use super::{compared, named, nfproto, text};
use crate::addr::Family;
use crate::nft::fields::{
    Base, DPORT, ICMPV6, ICMPV6_TYPE, PORTS, SYN, TCP, TCP_FLAGS, UDP, ether_type, place,
};
use crate::nft::instruction::{Expr, Meta};
use crate::nft::statement::{EtherType, Field, Is, Statement};

/// What follows the loading of a property of the packet; nothing where it only tells the layout of the header.
pub(super) fn with_meta<'a>(
    meta: Meta,
    rest: &'a [Expr],
    protocol: &mut Option<Family>,
) -> Option<(Option<Statement>, &'a [Expr])> {
    if meta == Meta::InInterface && compared(rest).is_none() {
        return interface_set(rest).map(|(statement, after)| (Some(statement), after));
    }
    if meta == Meta::Transport {
        return transport(rest).map(|(statement, after)| (Some(statement), after));
    }
    let (is, value, after) = compared(rest)?;
    let statement = match meta {
        Meta::Protocol => {
            let families = [Family::V4, Family::V6].into_iter();
            let found = families
                .filter(|_| is == Is::Equal)
                .find(|family| value.first() == Some(&nfproto(*family)))?;
            *protocol = Some(found);
            None
        }
        Meta::EtherType => {
            let kinds = [
                EtherType::Arp,
                EtherType::Ip(Family::V4),
                EtherType::Ip(Family::V6),
            ];
            let kind = kinds.into_iter().find(|kind| ether_type(*kind) == value)?;
            *protocol = match (is, kind) {
                (Is::Equal, EtherType::Ip(family)) => Some(family),
                _ => None,
            };
            Some(Statement::EtherType(is, kind))
        }
        Meta::InInterface | Meta::OutInterface | Meta::InKind | Meta::Transport => {
            Some(named(meta, is, text(value)?)?)
        }
    };
    Some((statement, after))
}

/// What follows the loading of the transport protocol.
fn transport(rest: &[Expr]) -> Option<(Statement, &[Expr])> {
    if let [
        Expr::Cmp(Is::Equal, protocol),
        Expr::Payload(TCP_FLAGS),
        Expr::Mask(flags),
        Expr::Cmp(Is::Not, none),
        after @ ..,
    ] = rest
    {
        let syn = *protocol == [TCP] && *flags == [SYN] && *none == [0];
        return syn.then_some((Statement::TcpSyn, after));
    }
    let [Expr::Cmp(Is::Equal, protocol), after @ ..] = rest else {
        return None;
    };
    let [protocol] = **protocol else { return None };
    let port = |bytes: &[u8]| <[u8; 2]>::try_from(bytes).ok().map(u16::from_be_bytes);
    let (statement, after) = match after {
        [
            Expr::Payload(DPORT),
            Expr::Cmp(Is::Equal, value),
            after @ ..,
        ] => {
            let value = port(value)?;
            (Statement::Port(protocol, value, value), after)
        }
        [
            Expr::Payload(DPORT),
            Expr::Least(first),
            Expr::Most(last),
            after @ ..,
        ] => (Statement::Port(protocol, port(first)?, port(last)?), after),
        [
            Expr::Payload(bytes),
            Expr::Cmp(Is::Equal, value),
            after @ ..,
        ] if bytes.base == Base::Transport => {
            let statement = match (protocol, *bytes, value.as_slice()) {
                (ICMPV6, ICMPV6_TYPE, [kind]) => Statement::Icmpv6Type(*kind),
                (UDP, PORTS, [a, b, c, d]) => {
                    Statement::UdpPorts(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
                }
                _ => return None,
            };
            (statement, after)
        }
        _ => (Statement::Transport(protocol), after),
    };
    Some((statement, after))
}

/// What follows the loading of the input interface, when it is looked up and not compared.
fn interface_set(rest: &[Expr]) -> Option<(Statement, &[Expr])> {
    const FIELDS: [Field; 6] = [
        Field::SourceMac,
        Field::ArpSenderMac,
        Field::ArpSender,
        Field::Source(Family::V4),
        Field::Source(Family::V6),
        Field::NeighbourTarget,
    ];
    match rest {
        [Expr::Lookup(is, set), after @ ..] => {
            Some((Statement::InInterfaceSet(*is, None, set.clone()), after))
        }
        [
            Expr::PayloadInto(2, bytes),
            Expr::Lookup(is, set),
            after @ ..,
        ] => {
            let field = FIELDS.into_iter().find(|field| place(*field) == *bytes)?;
            Some((
                Statement::InInterfaceSet(*is, Some(field), set.clone()),
                after,
            ))
        }
        _ => None,
    }
}
