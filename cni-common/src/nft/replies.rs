//! Reading what a netfilter socket gave, whatever it is: for the fuzz target and the replay of its corpus.

use super::{KeyKind, TableFamily, answer, line};
use crate::addr::Family;

/// Reads the body of a message as each thing it might be taken for.
pub fn read(body: &[u8]) {
    let _ = answer::generation(body);
    let _ = answer::chain(body);
    let _ = answer::set(body);
    for family in [Family::V4, Family::V6] {
        let kinds = [
            KeyKind::Address(family),
            KeyKind::Interface,
            KeyKind::InterfaceMac,
            KeyKind::InterfaceAddress(family),
        ];
        for kind in kinds {
            let _ = answer::elements(body, kind);
        }
    }
    let families = [
        TableFamily::Inet,
        TableFamily::Ip(Family::V4),
        TableFamily::Ip(Family::V6),
        TableFamily::Bridge,
    ];
    for family in families {
        let rule = answer::rule(family, body);
        let _ = rule.and_then(|rule| rule.statements).map(|all| line(&all));
    }
}
