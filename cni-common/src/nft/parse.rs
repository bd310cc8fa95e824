//! From the expressions of the kernel's virtual machine back to statements.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TableFamily;
use super::compile::{
    CONNTRACK_INFO, Expr, Meta, NF_ACCEPT, NF_DROP, Side, conntrack_established, ct_state_bits,
    mask, nfproto, padded,
};
use super::fields::{
    ARP_SENDER, Base, Bytes, ICMPV6, ICMPV6_TYPE, PORTS, SYN, TCP, TCP_FLAGS, UDP, ether_type,
    place,
};
use super::statement::{EtherType, Field, Is, Place, Statement};
use crate::addr::{Cidr, Family};

/// Reads expressions back into statements; `None` when the rule holds anything that [`compile`](super::compile::compile) and iptables-nft
/// do not make of our statements.
pub(super) fn parse(table: TableFamily, expressions: &[Expr]) -> Option<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut protocol = match table {
        TableFamily::Ip(family) => Some(family),
        TableFamily::Inet | TableFamily::Bridge => None,
    };
    let mut rest = expressions;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let statement = match first {
            Expr::Meta(meta) => {
                let (statement, after) = with_meta(*meta, rest, &mut protocol)?;
                rest = after;
                let Some(statement) = statement else { continue };
                statement
            }
            Expr::Payload(bytes) if *bytes == ARP_SENDER && protocol.is_none() => {
                let (is, value, after) = compared(rest)?;
                rest = after;
                Statement::ArpSender(is, Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
            }
            Expr::Payload(bytes) => {
                let (statement, after) = address(protocol?, *bytes, rest)?;
                rest = after;
                statement
            }
            Expr::CtState => {
                let [Expr::Mask(bits), after @ ..] = rest else {
                    return None;
                };
                let (is, value, after) = compared(after)?;
                if *bits != ct_state_bits() || value != [0; 4] {
                    return None;
                }
                rest = after;
                match is {
                    Is::Equal => Statement::Established(Is::Not),
                    Is::Not => Statement::Established(Is::Equal),
                }
            }
            Expr::FibBack => {
                let (is, value, after) = compared(rest)?;
                if is == Is::Not || value.iter().any(|byte| *byte != 0) {
                    return None;
                }
                rest = after;
                Statement::NoRouteBack
            }
            Expr::Immediate(value) => {
                let (used, after) = rest.split_first()?;
                rest = after;
                if let Expr::Snat(family) = used {
                    Statement::Snat(to_address(*family, value)?)
                } else {
                    let bytes = <[u8; 2]>::try_from(value.as_slice()).ok()?;
                    let size = (*used == Expr::WriteMss).then_some(u16::from_be_bytes(bytes))?;
                    Statement::ClampMss(Some(size))
                }
            }
            Expr::RouteMss => {
                let [Expr::ToNetwork, Expr::WriteMss, after @ ..] = rest else {
                    return None;
                };
                rest = after;
                Statement::ClampMss(None)
            }
            Expr::Masquerade => Statement::Masquerade,
            Expr::Notrack => Statement::Notrack,
            Expr::Counter => Statement::Counter,
            Expr::Verdict(NF_ACCEPT) => Statement::Accept,
            Expr::Verdict(NF_DROP) => Statement::Drop,
            Expr::Jump(chain) => Statement::Jump(chain.clone()),
            Expr::XtMatch {
                name,
                revision,
                info,
            } => extension(name, *revision, info)?,
            Expr::Second(_)
            | Expr::Mask(_)
            | Expr::Cmp(..)
            | Expr::Lookup(..)
            | Expr::Verdict(_)
            | Expr::Snat(_)
            | Expr::ToNetwork
            | Expr::WriteMss
            | Expr::Reject
            | Expr::Other(_) => return None,
        };
        statements.push(statement);
    }
    Some(statements)
}

/// Whether a rule drops or refuses every packet that gets to it.
pub(super) fn stops_all(expressions: &[Expr]) -> bool {
    let mut rest = expressions.iter().filter(|expr| **expr != Expr::Counter);
    let last = rest.next();
    matches!(last, Some(Expr::Reject | Expr::Verdict(NF_DROP))) && rest.next().is_none()
}

fn compared(rest: &[Expr]) -> Option<(Is, &[u8], &[Expr])> {
    match rest {
        [Expr::Cmp(is, value), after @ ..] => Some((*is, value, after)),
        _ => None,
    }
}

fn named(meta: Meta, is: Is, name: String) -> Option<Statement> {
    match meta {
        Meta::InInterface => Some(Statement::InInterface(is, name)),
        Meta::OutInterface => Some(Statement::OutInterface(is, name)),
        Meta::InKind => Some(Statement::InKind(is, name)),
        Meta::Protocol | Meta::EtherType | Meta::Transport => None,
    }
}

/// The text before the NULs. A name compared without its NUL is a prefix (`br*`), which we never make.
fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0)?;
    let (name, rest) = field.split_at(end);
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    String::from_utf8(name.to_vec()).ok()
}

fn to_address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        Family::V4 => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|ip| IpAddr::V4(Ipv4Addr::from(ip))),
        Family::V6 => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|ip| IpAddr::V6(Ipv6Addr::from(ip))),
    }
}

/// What follows the loading of a property of the packet; nothing where it only tells the layout of the header.
fn with_meta<'a>(
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
    let [
        Expr::Cmp(Is::Equal, protocol),
        Expr::Payload(bytes),
        Expr::Cmp(Is::Equal, value),
        after @ ..,
    ] = rest
    else {
        return None;
    };
    let statement = match (protocol.as_slice(), *bytes, value.as_slice()) {
        ([ICMPV6], ICMPV6_TYPE, [kind]) => Statement::Icmpv6Type(*kind),
        ([UDP], PORTS, [a, b, c, d]) => {
            Statement::UdpPorts(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        _ => return None,
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
        [Expr::Second(bytes), Expr::Lookup(is, set), after @ ..] => {
            let field = FIELDS.into_iter().find(|field| place(*field) == *bytes)?;
            Some((
                Statement::InInterfaceSet(*is, Some(field), set.clone()),
                after,
            ))
        }
        _ => None,
    }
}

fn address(family: Family, bytes: Bytes, rest: &[Expr]) -> Option<(Statement, &[Expr])> {
    let Bytes {
        base: Base::Network,
        offset,
        length,
    } = bytes
    else {
        return None;
    };
    let side = [Side::Source, Side::Destination]
        .into_iter()
        .find(|side| side.offset(family) == offset)?;
    let whole = usize::from(family.bits() / 8);
    let (is, place, after) = match rest {
        [Expr::Lookup(is, set), after @ ..] => (*is, Place::Set(family, set.clone()), after),
        [Expr::Cmp(is, value), after @ ..] => {
            let bits = u8::try_from(length.checked_mul(8)?).ok()?;
            let address = to_address(family, &padded(value, whole))?;
            (*is, Place::Net(Cidr::new(address, bits)?), after)
        }
        [Expr::Mask(bits), Expr::Cmp(is, value), after @ ..] => {
            let prefix = (0..=family.bits()).find(|prefix| mask(family, *prefix) == *bits)?;
            let address = to_address(family, value)?;
            (*is, Place::Net(Cidr::new(address, prefix)?), after)
        }
        _ => return None,
    };
    let statement = match side {
        Side::Source => Statement::Source(is, place),
        Side::Destination => Statement::Destination(is, place),
    };
    Some((statement, after))
}

fn extension(name: &str, revision: u32, info: &[u8]) -> Option<Statement> {
    match (name, revision) {
        ("conntrack", 3) => {
            let (ours, padding) = info.split_at_checked(162)?;
            let whole: Vec<u8> = ours.iter().chain(padding).copied().collect();
            (padded(&whole, CONNTRACK_INFO) == conntrack_established())
                .then_some(Statement::XtEstablished)
        }
        ("comment", 0) => {
            let end = info
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(info.len());
            let text = info.get(..end)?;
            Some(Statement::XtComment(String::from_utf8(text.to_vec()).ok()?))
        }
        _ => None,
    }
}
