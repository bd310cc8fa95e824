//! From the expressions of the kernel's virtual machine back to statements.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TableFamily;
use super::compile::{
    CONNTRACK_INFO, ESTABLISHED_RELATED, NF_ACCEPT, NF_DROP, Side, XT_CONNTRACK_STATE_DNAT, behind,
    conntrack_states, ct_invalid_bits, ct_redirected_bits, ct_state_bits, local_address, mapped,
    mask, nfproto, padded,
};
use super::fields::{ARP_SENDER, Base, Bytes, DPORT};
use super::instruction::{Expr, Meta};
use super::nat::{self, End, NatFlags};
use super::statement::{By, Is, Place, Statement, exact};
use crate::addr::{Cidr, Family};

mod meta;

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
        if let Some((statement, after)) = dnat_map(rest, protocol) {
            statements.push(statement);
            rest = after;
            continue;
        }
        rest = after;
        let statement = match first {
            Expr::Meta(meta) => {
                let (statement, after) = meta::with_meta(*meta, rest, &mut protocol)?;
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
            Expr::CtState | Expr::CtStatus => {
                let (statement, after) = connection(first, rest)?;
                rest = after;
                statement
            }
            Expr::CtDestination(family) => {
                let (is, cidr, after) = subnet(*family, rest)?;
                rest = after;
                (is == Is::Equal).then_some(Statement::OriginalDestination(cidr))?
            }
            Expr::FibType => {
                let (is, value, after) = compared(rest)?;
                rest = after;
                (is == Is::Equal && value == local_address()).then_some(Statement::ToThisHost)?
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
                let (statement, after) = with_value(value, rest)?;
                rest = after;
                statement
            }
            Expr::RouteMss => {
                let [Expr::ToNetwork, Expr::WriteMss, after @ ..] = rest else {
                    return None;
                };
                rest = after;
                Statement::ClampMss(None)
            }
            Expr::Masquerade(flags) => Statement::Masquerade(NatFlags::of_bits(*flags)?),
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
            Expr::MetaInto(..)
            | Expr::PayloadInto(..)
            | Expr::Mask(_)
            | Expr::Cmp(..)
            | Expr::Least(_)
            | Expr::Most(_)
            | Expr::Map(_)
            | Expr::Lookup(..)
            | Expr::ImmediateSecond(_)
            | Expr::Verdict(_)
            | Expr::Nat(_)
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

/// The text before the NULs. A name compared without its NUL is the beginning of one (`br*`).
fn text(field: &[u8]) -> Option<String> {
    let Some(end) = field.iter().position(|byte| *byte == 0) else {
        let start = core::str::from_utf8(field).ok()?;
        return (field.len() < 16).then(|| format!("{start}*"));
    };
    let (name, rest) = field.split_at(end);
    if rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    core::str::from_utf8(name).ok().map(exact)
}

/// What follows the loading of the connection's state or status.
fn connection<'a>(loaded: &Expr, rest: &'a [Expr]) -> Option<(Statement, &'a [Expr])> {
    let [Expr::Mask(bits), after @ ..] = rest else {
        return None;
    };
    let (compared, value, after) = compared(after)?;
    if value != [0; 4] {
        return None;
    }
    let is = match compared {
        Is::Equal => Is::Not,
        Is::Not => Is::Equal,
    };
    let statement = if *loaded == Expr::CtStatus {
        (*bits == ct_redirected_bits()).then_some(Statement::Redirected(is))
    } else if *bits == ct_state_bits() {
        Some(Statement::Established(is))
    } else {
        (*bits == ct_invalid_bits() && is == Is::Equal).then_some(Statement::Invalid)
    };
    Some((statement?, after))
}

/// What follows the loading of a value: NAT, or the maximal segment size.
fn with_value<'a>(value: &[u8], rest: &'a [Expr]) -> Option<(Statement, &'a [Expr])> {
    let (last, rest) = match rest {
        [Expr::ImmediateSecond(last), after @ ..] => (Some(last), after),
        _ => (None, rest),
    };
    let (used, after) = rest.split_first()?;
    if let Expr::Nat(found) = used {
        let first = to_address(found.family, value)?;
        let last = match last {
            Some(last) => Some(to_address(found.family, last)?),
            None => None,
        };
        let statement = match nat::parse(*found, first, last)? {
            (End::Source, to, flags) => Statement::Snat(to, flags),
            (End::Destination, to, flags) if flags == NatFlags::default() => Statement::Dnat(to),
            (End::Destination, ..) => return None,
        };
        return Some((statement, after));
    }
    let bytes = <[u8; 2]>::try_from(value).ok()?;
    let clamps = last.is_none() && *used == Expr::WriteMss;
    let statement = Statement::ClampMss(Some(u16::from_be_bytes(bytes)));
    clamps.then_some((statement, after))
}

/// A destination that is looked up in a map.
fn dnat_map(rest: &[Expr], protocol: Option<Family>) -> Option<(Statement, &[Expr])> {
    match rest {
        [
            Expr::Meta(Meta::Transport),
            Expr::PayloadInto(9, DPORT),
            Expr::Map(map),
            Expr::Nat(found),
            after @ ..,
        ] => {
            let statement = Statement::DnatMap(found.family, By::Port, map.clone());
            (*found == mapped(found.family)).then_some((statement, after))
        }
        [
            Expr::Payload(bytes),
            Expr::MetaInto(next, Meta::Transport),
            Expr::PayloadInto(second, DPORT),
            Expr::Map(map),
            Expr::Nat(found),
            after @ ..,
        ] => {
            let family = protocol?;
            let destination = Bytes {
                base: Base::Network,
                offset: Side::Destination.offset(family),
                length: u32::from(family.bits() / 8),
            };
            let fits = *bytes == destination
                && (*next, *second) == behind(family)
                && *found == mapped(family);
            let statement = Statement::DnatMap(family, By::Address, map.clone());
            fits.then_some((statement, after))
        }
        _ => None,
    }
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
    let (is, place, after) = match rest {
        [Expr::Lookup(is, set), after @ ..] => (*is, Place::Set(family, set.clone()), after),
        [Expr::Cmp(..), ..] if length != u32::from(family.bits() / 8) => {
            let (is, cidr, after) = subnet(family, rest)?;
            let bits = u8::try_from(length.checked_mul(8)?).ok()?;
            (bits == cidr.prefix()).then_some((is, Place::Net(cidr), after))?
        }
        _ => {
            let (is, cidr, after) = subnet(family, rest)?;
            (is, Place::Net(cidr), after)
        }
    };
    let statement = match side {
        Side::Source => Statement::Source(is, place),
        Side::Destination => Statement::Destination(is, place),
    };
    Some((statement, after))
}

/// What an address that was loaded, or its beginning, is compared with.
fn subnet(family: Family, rest: &[Expr]) -> Option<(Is, Cidr, &[Expr])> {
    let whole = usize::from(family.bits() / 8);
    match rest {
        [Expr::Cmp(is, value), after @ ..] => {
            let bits = u8::try_from(value.len().checked_mul(8)?).ok()?;
            let address = to_address(family, &padded(value, whole))?;
            Some((*is, Cidr::new(address, bits)?, after))
        }
        [Expr::Mask(bits), Expr::Cmp(is, value), after @ ..] => {
            let prefix = (0..=family.bits()).find(|prefix| mask(family, *prefix) == *bits)?;
            let address = to_address(family, value)?;
            Some((*is, Cidr::new(address, prefix)?, after))
        }
        _ => None,
    }
}

fn extension(name: &str, revision: u32, info: &[u8]) -> Option<Statement> {
    match (name, revision) {
        ("conntrack", 3) => {
            let (ours, padding) = info.split_at_checked(162)?;
            let whole: Vec<u8> = ours.iter().chain(padding).copied().collect();
            let whole = padded(&whole, CONNTRACK_INFO);
            if whole == conntrack_states(ESTABLISHED_RELATED) {
                return Some(Statement::XtEstablished);
            }
            (whole == conntrack_states(XT_CONNTRACK_STATE_DNAT)).then_some(Statement::XtRedirected)
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
