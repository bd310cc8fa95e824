//! Expressions on the wire: `NFTA_LIST_ELEM` with a name and attributes.
//!
//! The attribute numbers are those of `linux/netfilter/nf_tables.h`, in the order nft(8) sends them.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_netfilter::nftables::{ExpressionAttribute, Expressions, ListAttribute};

use super::fields::{Base, Bytes};
use super::instruction::{Expr, Meta};
use super::nat::{End, Nat};
use super::statement::Is;
use crate::addr::Family;

pub(super) use decode::decode;

/// `NFT_REG_1`.
const NFT_REG_1: u32 = 1;
/// `NFT_REG_2`.
const NFT_REG_2: u32 = 2;
/// `NFT_JUMP` (-3).
const NFT_JUMP: u32 = 0xffff_fffd;
/// `NFT_REG_VERDICT`.
const NFT_REG_VERDICT: u32 = 0;
/// `NFT_RT_TCPMSS`.
const NFT_RT_TCPMSS: u32 = 3;
/// `TCPOPT_MAXSEG` (RFC 9293, 3.2).
const TCPOPT_MAXSEG: u8 = 2;
/// The numbers of a byteorder expression that turns two bytes of register 1.
const TO_NETWORK: [(u16, u32); 5] = [(1, NFT_REG_1), (2, NFT_REG_1), (3, 1), (4, 2), (5, 2)];
/// The numbers of an exthdr expression that writes two bytes behind kind and length of a TCP option.
const WRITE_MSS: [(u16, u32); 4] = [(7, NFT_REG_1), (3, 2), (4, 2), (6, 1)];
/// `NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT`.
const FIB_BACK: u32 = 1 | 8 | 32;
/// `NFT_FIB_RESULT_OIF`.
const FIB_OIF: u32 = 1;

/// `NFT_CT_STATE`.
const NFT_CT_STATE: u32 = 0;
/// `NFT_CT_STATUS`.
const NFT_CT_STATUS: u32 = 2;
/// `IP_CT_DIR_ORIGINAL` (`linux/netfilter/nf_conntrack_tuple_common.h`).
const IP_CT_DIR_ORIGINAL: u8 = 0;
/// `NFT_CMP_LTE`.
const NFT_CMP_LTE: u32 = 3;
/// `NFT_CMP_GTE`.
const NFT_CMP_GTE: u32 = 5;
/// `NFTA_FIB_FLAGS` (`NFTA_FIB_F_DADDR`), `NFTA_FIB_RESULT` (`NFT_FIB_RESULT_ADDRTYPE`), `NFTA_FIB_DREG`.
const FIB_TYPE: [(u16, u32); 3] = [(3, 2), (2, 3), (1, NFT_REG_1)];

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

fn nested(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// `NFTA_DATA_VALUE` in `kind`.
fn data(kind: u16, value: &[u8]) -> DefaultNla {
    nested(kind, &[DefaultNla::new(1, value.to_vec())])
}

fn name(kind: u16, text: &str) -> DefaultNla {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    DefaultNla::new(kind, value)
}

fn meta_key(meta: Meta) -> u32 {
    match meta {
        Meta::InInterface => 6,
        Meta::OutInterface => 7,
        Meta::Protocol => 15,
        Meta::InKind => 26,
        Meta::EtherType => 1,
        Meta::Transport => 16,
    }
}

fn base_number(base: Base) -> u32 {
    match base {
        Base::Link => 0,
        Base::Network => 1,
        Base::Transport => 2,
    }
}

/// `NFTA_PAYLOAD_DREG`, `_BASE`, `_OFFSET`, `_LEN`.
fn payload(register: u32, bytes: Bytes) -> (&'static str, Vec<DefaultNla>) {
    (
        "payload",
        vec![
            number(1, register),
            number(2, base_number(bytes.base)),
            number(3, bytes.offset),
            number(4, bytes.length),
        ],
    )
}

/// `NFTA_EXTHDR_SREG`, `_TYPE` (`TCPOPT_MAXSEG`), `_OFFSET`, `_LEN`, `_OP` (`NFT_EXTHDR_OP_TCPOPT`).
fn write_mss() -> Vec<DefaultNla> {
    let mut attributes = WRITE_MSS.map(|(kind, value)| number(kind, value)).to_vec();
    attributes.insert(1, DefaultNla::new(2, vec![TCPOPT_MAXSEG]));
    attributes
}

/// A counter that each element of a set is to have: `NFTA_EXPR_NAME` alone.
pub(super) fn counter() -> Vec<u8> {
    let kind = name(1, "counter");
    let mut value = vec![0; kind.buffer_len()];
    kind.emit(&mut value);
    value
}

/// One expression as an element of a rule's list.
pub(super) fn encode(expression: &Expr) -> ListAttribute<ExpressionAttribute> {
    let (kind, attributes) = match expression {
        // NFTA_META_KEY, NFTA_META_DREG
        Expr::Meta(meta) => (
            "meta",
            vec![number(2, meta_key(*meta)), number(1, NFT_REG_1)],
        ),
        Expr::Payload(bytes) => payload(NFT_REG_1, *bytes),
        Expr::MetaInto(register, meta) => (
            "meta",
            vec![number(2, meta_key(*meta)), number(1, *register)],
        ),
        Expr::PayloadInto(register, bytes) => payload(*register, *bytes),
        Expr::CtState => loaded_ct(NFT_CT_STATE, None),
        Expr::CtStatus => loaded_ct(NFT_CT_STATUS, None),
        Expr::CtDestination(family) => loaded_ct(ct_destination(*family), Some(IP_CT_DIR_ORIGINAL)),
        Expr::FibType => (
            "fib",
            FIB_TYPE.map(|(kind, value)| number(kind, value)).to_vec(),
        ),
        // NFTA_FIB_FLAGS (SADDR, IIF, PRESENT), NFTA_FIB_RESULT (OIF), NFTA_FIB_DREG
        Expr::FibBack => (
            "fib",
            vec![
                number(3, FIB_BACK),
                number(2, FIB_OIF),
                number(1, NFT_REG_1),
            ],
        ),
        Expr::Mask(bits) => bitwise(bits),
        Expr::Cmp(is, value) => cmp(not(*is), value),
        Expr::Least(value) => cmp(NFT_CMP_GTE, value),
        Expr::Most(value) => cmp(NFT_CMP_LTE, value),
        // NFTA_LOOKUP_SREG, _SET, _DREG
        Expr::Map(map) => (
            "lookup",
            vec![number(2, NFT_REG_1), name(1, map), number(3, NFT_REG_1)],
        ),
        // NFTA_LOOKUP_SREG, _SET, _FLAGS (NFT_LOOKUP_F_INV)
        Expr::Lookup(is, set) => {
            let mut attributes = vec![number(2, NFT_REG_1), name(1, set)];
            if *is == Is::Not {
                attributes.push(number(5, 1));
            }
            ("lookup", attributes)
        }
        // NFTA_IMMEDIATE_DREG, _DATA
        Expr::Immediate(value) => ("immediate", vec![number(1, NFT_REG_1), data(2, value)]),
        Expr::ImmediateSecond(value) => ("immediate", vec![number(1, NFT_REG_2), data(2, value)]),
        // NFTA_IMMEDIATE_DREG (NFT_REG_VERDICT), _DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE
        Expr::Verdict(code) => (
            "immediate",
            vec![
                number(1, NFT_REG_VERDICT),
                nested(2, &[nested(2, &[number(1, *code)])]),
            ],
        ),
        // As above, then NFTA_VERDICT_CHAIN
        Expr::Jump(chain) => {
            let verdict = nested(2, &[number(1, NFT_JUMP), name(2, chain)]);
            (
                "immediate",
                vec![number(1, NFT_REG_VERDICT), nested(2, &[verdict])],
            )
        }
        // NFTA_RT_KEY, _DREG
        Expr::RouteMss => ("rt", vec![number(2, NFT_RT_TCPMSS), number(1, NFT_REG_1)]),
        // NFTA_BYTEORDER_SREG, _DREG, _OP (NFT_BYTEORDER_HTON), _LEN, _SIZE
        Expr::ToNetwork => (
            "byteorder",
            TO_NETWORK.map(|(kind, value)| number(kind, value)).to_vec(),
        ),
        Expr::WriteMss => ("exthdr", write_mss()),
        Expr::Nat(nat) => ("nat", nat_numbers(*nat)),
        // NFTA_MASQ_FLAGS
        Expr::Masquerade(0) => ("masq", Vec::new()),
        Expr::Masquerade(flags) => ("masq", vec![number(1, *flags)]),
        Expr::Notrack => {
            return ListAttribute::Element(vec![ExpressionAttribute::Name("notrack".to_owned())]);
        }
        Expr::Counter => ("counter", Vec::new()),
        // NFTA_MATCH_NAME, _REV, _INFO
        Expr::XtMatch {
            name: extension,
            revision,
            info,
        } => (
            "match",
            vec![
                name(1, extension),
                number(2, *revision),
                DefaultNla::new(3, info.clone()),
            ],
        ),
        Expr::Reject => ("reject", Vec::new()),
        Expr::Other(kind) => (kind.as_str(), Vec::new()),
    };
    ListAttribute::from(Expressions::Other {
        expression_type: kind.to_owned(),
        attributes,
    })
}

/// `NFTA_CT_KEY`, `_DREG`, `_DIRECTION`.
fn loaded_ct(key: u32, direction: Option<u8>) -> (&'static str, Vec<DefaultNla>) {
    let mut attributes = vec![number(2, key), number(1, NFT_REG_1)];
    attributes.extend(direction.map(|direction| DefaultNla::new(3, vec![direction])));
    ("ct", attributes)
}

/// `NFTA_BITWISE_SREG`, `_DREG`, `_LEN`, `_MASK`, `_XOR`.
fn bitwise(bits: &[u8]) -> (&'static str, Vec<DefaultNla>) {
    (
        "bitwise",
        vec![
            number(1, NFT_REG_1),
            number(2, NFT_REG_1),
            number(3, u32::try_from(bits.len()).unwrap_or(0)),
            data(4, bits),
            data(5, &vec![0; bits.len()]),
        ],
    )
}

/// `NFTA_CMP_SREG`, `_OP`, `_DATA`.
fn cmp(operation: u32, value: &[u8]) -> (&'static str, Vec<DefaultNla>) {
    (
        "cmp",
        vec![number(1, NFT_REG_1), number(2, operation), data(3, value)],
    )
}

/// `NFT_CMP_EQ` or `NFT_CMP_NEQ`.
fn not(is: Is) -> u32 {
    match is {
        Is::Equal => 0,
        Is::Not => 1,
    }
}

/// `NFTA_NAT_TYPE`, `_FAMILY`, `_REG_ADDR_MIN`, `_REG_ADDR_MAX`, `_REG_PROTO_MIN`, `_FLAGS`.
fn nat_numbers(nat: Nat) -> Vec<DefaultNla> {
    let mut numbers = vec![
        number(1, nat_end(nat.end)),
        number(2, nat_family(nat.family)),
        number(3, NFT_REG_1),
    ];
    numbers.extend(nat.range.then(|| number(4, NFT_REG_2)));
    numbers.extend(nat.port.map(|register| number(5, register)));
    if nat.flags != 0 {
        numbers.push(number(7, nat.flags));
    }
    numbers
}

/// `NFT_NAT_SNAT` or `NFT_NAT_DNAT`.
fn nat_end(end: End) -> u32 {
    match end {
        End::Source => 0,
        End::Destination => 1,
    }
}

/// `NFT_CT_DST_IP` or `NFT_CT_DST_IP6`.
fn ct_destination(family: Family) -> u32 {
    match family {
        Family::V4 => 20,
        Family::V6 => 22,
    }
}

fn nat_family(family: Family) -> u32 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

mod decode;

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
