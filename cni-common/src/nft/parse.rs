//! From the expressions of the kernel's virtual machine back to statements.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TableFamily;
use super::compile::{
    CONNTRACK_INFO, Expr, Meta, NF_ACCEPT, NF_DROP, Side, conntrack_established, ct_state_bits,
    mask, nfproto, padded,
};
use super::statement::{Is, Place, Statement};
use crate::addr::{Cidr, Family};

/// Reads expressions back into statements; `None` when the rule holds anything that [`compile`](super::compile::compile) and iptables-nft
/// do not make of our statements.
pub(super) fn parse(table: TableFamily, expressions: &[Expr]) -> Option<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut protocol = match table {
        TableFamily::Ip(family) => Some(family),
        TableFamily::Inet => None,
    };
    let mut rest = expressions;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let statement = match first {
            Expr::Meta(Meta::Protocol) => {
                let [Expr::Cmp(Is::Equal, value), after @ ..] = rest else {
                    return None;
                };
                let found = [Family::V4, Family::V6]
                    .into_iter()
                    .find(|family| value.first() == Some(&nfproto(*family)))?;
                protocol = Some(found);
                rest = after;
                continue;
            }
            Expr::Meta(meta) => {
                let (is, value, after) = compared(rest)?;
                rest = after;
                named(*meta, is, text(value)?)?
            }
            Expr::Payload { offset, length } => {
                let (statement, after) = address(protocol?, *offset, *length, rest)?;
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
                let [Expr::Snat(family), after @ ..] = rest else {
                    return None;
                };
                rest = after;
                Statement::Snat(to_address(*family, value)?)
            }
            Expr::Masquerade => Statement::Masquerade,
            Expr::Notrack => Statement::Notrack,
            Expr::Counter => Statement::Counter,
            Expr::Verdict(NF_ACCEPT) => Statement::Accept,
            Expr::Verdict(NF_DROP) => Statement::Drop,
            Expr::XtMatch {
                name,
                revision,
                info,
            } => extension(name, *revision, info)?,
            Expr::Mask(_)
            | Expr::Cmp(..)
            | Expr::Lookup(..)
            | Expr::Verdict(_)
            | Expr::Snat(_)
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
        Meta::Protocol => None,
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

fn address(
    family: Family,
    offset: u32,
    length: u32,
    rest: &[Expr],
) -> Option<(Statement, &[Expr])> {
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
