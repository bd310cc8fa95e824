//! What the kernel answers.

use super::attributes::Attributes;
use super::{Element, FoundChain, FoundRule, FoundSet, Generation, KeyKind, TableFamily};
use super::{expression, parse, userdata};
use crate::addr::Family;
use crate::nft::statement::Statement;

/// `NFTA_GEN_ID`.
pub(super) fn generation(body: &[u8]) -> Option<Generation> {
    Attributes::of(body).number(1).map(Generation)
}

pub(super) fn chain(body: &[u8]) -> FoundChain {
    let attributes = Attributes::of(body);
    // NFTA_CHAIN_HOOK: NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY
    let hook = attributes.nested(4);
    FoundChain {
        // NFTA_CHAIN_POLICY: NF_DROP is 0.
        drops: attributes.number(5) == Some(0),
        hook: hook.and_then(|hook| hook.number(1)),
        priority: hook
            .and_then(|hook| hook.number(2))
            .map(|priority| i32::from_ne_bytes(priority.to_ne_bytes())),
        // NFTA_CHAIN_TYPE
        kind: attributes.text(7),
        // NFTA_CHAIN_USE
        uses: attributes.number(6).unwrap_or(0),
    }
}

pub(super) fn set(body: &[u8]) -> Option<FoundSet> {
    let attributes = Attributes::of(body);
    Some(FoundSet {
        // NFTA_SET_NAME
        name: attributes.text(2)?,
        // NFTA_SET_KEY_TYPE
        keys: KeyKind::of_number(attributes.number(4)?)?,
        // NFTA_SET_USERDATA
        comment: attributes
            .get(13)
            .and_then(|data| userdata::comment(userdata::SET_COMMENT, data)),
    })
}

/// The elements of one message: a dump packs many into one.
pub(super) fn elements(body: &[u8], keys: KeyKind) -> Vec<Element> {
    // NFTA_SET_ELEM_LIST_ELEMENTS
    let list = Attributes::of(body).nested(3).unwrap_or(Attributes(&[]));
    list.all()
        .filter_map(|(_, one)| element(Attributes(one), keys))
        .collect()
}

fn element(attributes: Attributes<'_>, keys: KeyKind) -> Option<Element> {
    Some(Element {
        // NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
        key: keys.read(attributes.nested(1)?.get(1)?)?,
        // NFTA_SET_ELEM_DATA, NFTA_DATA_VALUE
        data: attributes.nested(2).and_then(|data| {
            let bytes = data.get(1)?;
            let kinds = [Family::V4, Family::V6].map(KeyKind::Target);
            kinds.into_iter().find_map(|kind| kind.read(bytes))
        }),
        // NFTA_SET_ELEM_USERDATA
        comment: attributes
            .get(6)
            .and_then(|data| userdata::comment(userdata::COMMENT, data)),
        // NFTA_SET_ELEM_TIMEOUT
        leaving: attributes.long(4).is_some_and(|timeout| timeout != 0),
    })
}

pub(super) fn rule(table: TableFamily, body: &[u8]) -> Option<FoundRule> {
    let attributes = Attributes::of(body);
    // NFTA_RULE_EXPRESSIONS
    let list = attributes.nested(4).unwrap_or(Attributes(&[]));
    let expressions: Vec<_> = list
        .all()
        .map(|(_, one)| expression::decode(Attributes(one)))
        .collect();
    let statements = parse::parse(table, &expressions);
    // NFTA_RULE_USERDATA, or what iptables-restore makes of it.
    let comment = attributes
        .get(7)
        .and_then(|data| userdata::comment(userdata::COMMENT, data))
        .or_else(|| statements.iter().flatten().find_map(written));
    Some(FoundRule {
        // NFTA_RULE_CHAIN, NFTA_RULE_HANDLE
        chain: attributes.text(2)?,
        handle: attributes.long(3)?,
        stops_all: parse::stops_all(&expressions),
        statements,
        comment,
    })
}

fn written(statement: &Statement) -> Option<String> {
    if let Statement::XtComment(text) = statement {
        Some(text.clone())
    } else {
        None
    }
}
