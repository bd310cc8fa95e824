//! The nfnetlink messages that are sent, built with netlink-packet-netfilter.
//!
//! Answers are read in `answer.rs` instead: that crate's decoder panics on an attribute that is too short, and
//! the chains of iptables hold other people's rules.

use netlink_packet_core::{DefaultNla, NLA_F_NESTED, NetlinkSerializable};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, GenMessage, Hook as HookAttribute, InetHookNumber,
    ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute,
    SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};

use super::instruction::Expr;
use super::{
    BaseChain, ChainKind, Generation, Hook, Key, Netfilter, Set, Table, TableFamily, expression,
    userdata,
};
use crate::addr::Family;
use crate::netlink::Request;

/// `NFNL_SUBSYS_NFTABLES` (linux/netfilter/nfnetlink.h): what a batch is for.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN` (linux/netfilter/nfnetlink.h).
const NFNL_MSG_BATCH_BEGIN: u8 = 16;
/// `NFNL_BATCH_GENID` (linux/netfilter/nfnetlink.h).
const NFNL_BATCH_GENID: u16 = 1;
/// `NFTA_SET_EXPR` (`linux/netfilter/nf_tables.h`).
const NFTA_SET_EXPR: u16 = 17;

fn message(family: TableFamily, inner: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(protocol(family), 0, 0), inner)
}

fn protocol(family: TableFamily) -> NetfilterProtoFamily {
    match family {
        TableFamily::Inet => NetfilterProtoFamily::Inet,
        TableFamily::Ip(Family::V4) => NetfilterProtoFamily::IPv4,
        TableFamily::Ip(Family::V6) => NetfilterProtoFamily::IPv6,
        TableFamily::Bridge => NetfilterProtoFamily::Bridge,
    }
}

/// The end or the start of a transaction; with a generation, one that fails if another came in between.
/// The request that sends a message.
pub(super) fn request(doing: impl Into<String>, message: &NetfilterMessage) -> Request<Netfilter> {
    let kind = NetlinkSerializable::message_type(message);
    Request::new(doing, kind, message)
}

fn control(inner: ControlMessage) -> NetfilterMessage {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    NetfilterMessage::new(header, inner)
}

pub(super) fn begin(after: Option<Generation>) -> NetfilterMessage {
    match after {
        None => control(ControlMessage::BatchBegin),
        Some(Generation(id)) => control(ControlMessage::Other {
            message_type: NFNL_MSG_BATCH_BEGIN,
            attributes: vec![DefaultNla::new(NFNL_BATCH_GENID, id.to_be_bytes().to_vec())],
        }),
    }
}

pub(super) fn end() -> NetfilterMessage {
    control(ControlMessage::BatchEnd)
}

pub(super) fn get_generation() -> NetfilterMessage {
    message(
        TableFamily::Inet,
        NfTablesMessage::GetGen(GenMessage {
            attributes: Vec::new(),
        }),
    )
}

fn table_message(table: &Table, comment: Option<&str>) -> TableMessage {
    let mut attributes = vec![TableAttribute::Name(table.name.clone())];
    if let Some(comment) = comment {
        attributes.push(TableAttribute::UserData(userdata::with_comment(
            userdata::COMMENT,
            comment,
        )));
    }
    TableMessage { attributes }
}

pub(super) fn new_table(table: &Table, comment: &str) -> NetfilterMessage {
    let inner = table_message(table, Some(comment));
    message(table.family, NfTablesMessage::NewTable(inner))
}

pub(super) fn delete_table(table: &Table) -> NetfilterMessage {
    let inner = table_message(table, None);
    message(table.family, NfTablesMessage::DeleteTable(inner))
}

fn chain_message(table: &Table, name: &str) -> ChainMessage {
    ChainMessage {
        attributes: vec![
            ChainAttribute::Table(table.name.clone()),
            ChainAttribute::Name(name.to_owned()),
        ],
    }
}

pub(super) fn new_chain(table: &Table, chain: &BaseChain) -> NetfilterMessage {
    let hook = match chain.hook {
        Hook::Prerouting => InetHookNumber::PreRouting,
        Hook::Forward => InetHookNumber::Forward,
        Hook::Output => InetHookNumber::LocalOut,
        Hook::Postrouting => InetHookNumber::PostRouting,
    };
    let kind = match chain.kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    };
    let mut inner = chain_message(table, chain.name);
    inner.attributes.extend([
        ChainAttribute::Hook(vec![
            HookAttribute::Number(hook.into()),
            HookAttribute::Priority(u32::from_ne_bytes(chain.priority.to_ne_bytes())),
        ]),
        ChainAttribute::Type(kind.to_owned()),
        // NF_ACCEPT.
        ChainAttribute::Policy(1),
    ]);
    message(table.family, NfTablesMessage::NewChain(inner))
}

pub(super) fn new_regular_chain(table: &Table, name: &str) -> NetfilterMessage {
    let inner = chain_message(table, name);
    message(table.family, NfTablesMessage::NewChain(inner))
}

pub(super) fn delete_chain(table: &Table, name: &str) -> NetfilterMessage {
    let inner = chain_message(table, name);
    message(table.family, NfTablesMessage::DeleteChain(inner))
}

pub(super) fn get_chain(table: &Table, name: &str) -> NetfilterMessage {
    let inner = chain_message(table, name);
    message(table.family, NfTablesMessage::GetChain(inner))
}

/// `id` tells the set from others of the transaction; beyond it the name does.
pub(super) fn new_set(set: &Set, id: u32) -> NetfilterMessage {
    let flags = match set.data {
        Some(_) => SetFlags::Timeout | SetFlags::Map,
        None => SetFlags::Timeout,
    };
    let mut attributes = vec![
        SetAttribute::Table(set.table.name.clone()),
        SetAttribute::Name(set.name.clone()),
        SetAttribute::Flags(flags),
        SetAttribute::KeyType(set.keys.number()),
        SetAttribute::KeyLen(set.keys.length()),
    ];
    if let Some(data) = set.data {
        attributes.push(SetAttribute::DataType(data.number()));
        attributes.push(SetAttribute::DataLen(data.length()));
    }
    attributes.extend([
        SetAttribute::Id(id),
        SetAttribute::UserData(userdata::of_set(set.keys.byte_order(), &set.comment)),
    ]);
    if set.counter {
        attributes.push(SetAttribute::Other(DefaultNla::new(
            NFTA_SET_EXPR | NLA_F_NESTED,
            expression::counter(),
        )));
    }
    let inner = SetMessage { attributes };
    message(set.table.family, NfTablesMessage::NewSet(inner))
}

fn set_message(table: &Table, name: &str) -> SetMessage {
    SetMessage {
        attributes: vec![
            SetAttribute::Table(table.name.clone()),
            SetAttribute::Name(name.to_owned()),
        ],
    }
}

pub(super) fn get_set(table: &Table, name: &str) -> NetfilterMessage {
    let inner = set_message(table, name);
    message(table.family, NfTablesMessage::GetSet(inner))
}

pub(super) fn get_sets(table: &Table) -> NetfilterMessage {
    let inner = SetMessage {
        attributes: vec![SetAttribute::Table(table.name.clone())],
    };
    message(table.family, NfTablesMessage::GetSet(inner))
}

pub(super) fn delete_set(table: &Table, name: &str) -> NetfilterMessage {
    let inner = set_message(table, name);
    message(table.family, NfTablesMessage::DeleteSet(inner))
}

/// How long an element stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// Until it is deleted.
    Forever,
    /// Until the next tick of the kernel's clock.
    Moment,
}

fn element_message(
    table: &Table,
    set: &str,
    elements: Vec<Vec<SetElementAttribute>>,
) -> SetElementMessage {
    let mut attributes = vec![
        SetElementList::Table(table.name.clone()),
        SetElementList::Set(set.to_owned()),
    ];
    if !elements.is_empty() {
        attributes.push(SetElementList::Elements(
            elements.into_iter().map(ListAttribute::Element).collect(),
        ));
    }
    SetElementMessage { attributes }
}

fn attribute(key: &Key) -> SetElementAttribute {
    SetElementAttribute::Key(DataAttribute::Value(key.bytes()))
}

pub(super) fn new_element(
    table: &Table,
    set: &str,
    key: &Key,
    data: Option<&Key>,
    comment: Option<&str>,
    stay: Stay,
) -> NetfilterMessage {
    let mut element = vec![attribute(key)];
    element.extend(data.map(|data| SetElementAttribute::Data(DataAttribute::Value(data.bytes()))));
    if stay == Stay::Moment {
        element.push(SetElementAttribute::Timeout(1));
        element.push(SetElementAttribute::Expiration(1));
    }
    if let Some(comment) = comment {
        element.push(SetElementAttribute::UserData(userdata::with_comment(
            userdata::COMMENT,
            comment,
        )));
    }
    let inner = element_message(table, set, vec![element]);
    message(table.family, NfTablesMessage::NewSetElement(inner))
}

pub(super) fn get_element(table: &Table, set: &str, key: &Key) -> NetfilterMessage {
    let inner = element_message(table, set, vec![vec![attribute(key)]]);
    message(table.family, NfTablesMessage::GetSetElement(inner))
}

pub(super) fn get_elements(table: &Table, set: &str) -> NetfilterMessage {
    let inner = element_message(table, set, Vec::new());
    message(table.family, NfTablesMessage::GetSetElement(inner))
}

pub(super) fn delete_element(table: &Table, set: &str, key: &Key) -> NetfilterMessage {
    let inner = element_message(table, set, vec![vec![attribute(key)]]);
    message(table.family, NfTablesMessage::DeleteSetElement(inner))
}

fn rule_message(table: &Table, chain: Option<&str>) -> RuleMessage {
    let mut attributes = vec![RuleAttribute::Table(table.name.clone())];
    attributes.extend(chain.map(|chain| RuleAttribute::Chain(chain.to_owned())));
    RuleMessage { attributes }
}

pub(super) fn new_rule(
    table: &Table,
    chain: &str,
    expressions: &[Expr],
    comment: Option<&str>,
) -> NetfilterMessage {
    let mut inner = rule_message(table, Some(chain));
    inner.attributes.push(RuleAttribute::Expressions(
        expressions.iter().map(expression::encode).collect(),
    ));
    if let Some(comment) = comment {
        inner
            .attributes
            .push(RuleAttribute::UserData(userdata::with_comment(
                userdata::COMMENT,
                comment,
            )));
    }
    message(table.family, NfTablesMessage::NewRule(inner))
}

pub(super) fn get_rules(table: &Table, chain: Option<&str>) -> NetfilterMessage {
    let inner = rule_message(table, chain);
    message(table.family, NfTablesMessage::GetRule(inner))
}

pub(super) fn delete_rule(table: &Table, chain: &str, handle: u64) -> NetfilterMessage {
    let mut inner = rule_message(table, Some(chain));
    inner.attributes.push(RuleAttribute::Handle(handle));
    message(table.family, NfTablesMessage::DeleteRule(inner))
}
