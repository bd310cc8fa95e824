//! Reading expressions: the same numbers, the other way.

use super::{
    FIB_BACK, FIB_OIF, FIB_TYPE, IP_CT_DIR_ORIGINAL, NFT_CMP_GTE, NFT_CMP_LTE, NFT_CT_STATE,
    NFT_CT_STATUS, NFT_JUMP, NFT_REG_1, NFT_REG_2, NFT_REG_VERDICT, NFT_RT_TCPMSS, TCPOPT_MAXSEG,
    TO_NETWORK, WRITE_MSS, base_number, ct_destination, meta_key, nat_end, nat_family,
};
use crate::addr::Family;
use crate::nft::attributes::Attributes;
use crate::nft::fields::{Base, Bytes};
use crate::nft::instruction::{Expr, Meta};
use crate::nft::nat::{End, Nat};
use crate::nft::statement::Is;

/// Reads one expression; one that [`encode`](super::encode) does not make comes back as [`Expr::Other`].
pub(in crate::nft) fn decode(element: Attributes<'_>) -> Expr {
    // NFTA_EXPR_NAME, NFTA_EXPR_DATA
    let kind = element.text(1).unwrap_or_default();
    let attributes = element.nested(2).unwrap_or(Attributes(&[]));
    known(&kind, attributes).unwrap_or(Expr::Other(kind))
}

/// Reads `NFTA_VERDICT_CODE` and `NFTA_VERDICT_CHAIN`.
fn verdict(attributes: Attributes<'_>) -> Option<Expr> {
    match attributes.number(1)? {
        NFT_JUMP => Some(Expr::Jump(attributes.text(2)?)),
        code => Some(Expr::Verdict(code)),
    }
}

fn nat(attributes: Attributes<'_>) -> Option<Expr> {
    let family = [Family::V4, Family::V6]
        .into_iter()
        .find(|family| attributes.number(2) == Some(nat_family(*family)))?;
    let end = [End::Source, End::Destination]
        .into_iter()
        .find(|end| attributes.number(1) == Some(nat_end(*end)))?;
    // Where there is no range the kernel names the first register again.
    let range = match attributes.number(4) {
        None | Some(NFT_REG_1) => false,
        Some(NFT_REG_2) => true,
        Some(_) => return None,
    };
    let port = attributes.number(5);
    let one_port = attributes.number(6).is_none_or(|last| Some(last) == port);
    (attributes.number(3)? == NFT_REG_1 && one_port).then_some(Expr::Nat(Nat {
        end,
        family,
        range,
        port,
        // The kernel adds NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED by itself.
        flags: attributes.number(7).unwrap_or(0) & !3,
    }))
}

fn ct(attributes: Attributes<'_>) -> Option<Expr> {
    if attributes.number(1)? != NFT_REG_1 {
        return None;
    }
    let direction = attributes.get(3);
    match (attributes.number(2)?, direction) {
        (NFT_CT_STATE, None) => Some(Expr::CtState),
        (NFT_CT_STATUS, None) => Some(Expr::CtStatus),
        (key, Some([IP_CT_DIR_ORIGINAL])) => [Family::V4, Family::V6]
            .into_iter()
            .find(|family| ct_destination(*family) == key)
            .map(Expr::CtDestination),
        _ => None,
    }
}

fn compared(operation: u32, value: Vec<u8>) -> Option<Expr> {
    match operation {
        0 => Some(Expr::Cmp(Is::Equal, value)),
        1 => Some(Expr::Cmp(Is::Not, value)),
        NFT_CMP_GTE => Some(Expr::Least(value)),
        NFT_CMP_LTE => Some(Expr::Most(value)),
        _ => None,
    }
}

fn lookup(attributes: Attributes<'_>) -> Option<Expr> {
    if attributes.number(2)? != NFT_REG_1 {
        return None;
    }
    let set = attributes.text(1)?;
    // NFTA_LOOKUP_FLAGS, NFTA_LOOKUP_DREG
    match (attributes.number(5).unwrap_or(0), attributes.number(3)) {
        (0, None) => Some(Expr::Lookup(Is::Equal, set)),
        (1, None) => Some(Expr::Lookup(Is::Not, set)),
        (0, Some(NFT_REG_1)) => Some(Expr::Map(set)),
        _ => None,
    }
}

fn known(kind: &str, attributes: Attributes<'_>) -> Option<Expr> {
    match kind {
        "meta" => {
            let key = attributes.number(2)?;
            let metas = [
                Meta::InInterface,
                Meta::OutInterface,
                Meta::Protocol,
                Meta::InKind,
                Meta::EtherType,
                Meta::Transport,
            ];
            let meta = metas.into_iter().find(|meta| meta_key(*meta) == key)?;
            match attributes.number(1)? {
                NFT_REG_1 => Some(Expr::Meta(meta)),
                register => Some(Expr::MetaInto(register, meta)),
            }
        }
        "payload" => {
            let base = attributes.number(2)?;
            let bases = [Base::Link, Base::Network, Base::Transport];
            let bytes = Bytes {
                base: bases.into_iter().find(|each| base_number(*each) == base)?,
                offset: attributes.number(3)?,
                length: attributes.number(4)?,
            };
            match attributes.number(1)? {
                NFT_REG_1 => Some(Expr::Payload(bytes)),
                register => Some(Expr::PayloadInto(register, bytes)),
            }
        }
        "ct" => ct(attributes),
        "fib" if attributes.are(&FIB_TYPE) => Some(Expr::FibType),
        "fib" => {
            let loads = attributes.number(1)? == NFT_REG_1;
            let asks = attributes.number(2)? == FIB_OIF && attributes.number(3)? == FIB_BACK;
            (loads && asks).then_some(Expr::FibBack)
        }
        "bitwise" => {
            let same = attributes.number(1)? == NFT_REG_1 && attributes.number(2)? == NFT_REG_1;
            let flips = attributes.nested(5)?.get(1)?.iter().any(|byte| *byte != 0);
            let other_operation = attributes.number(6).unwrap_or(0) != 0;
            let mask = attributes.nested(4)?.get(1)?;
            (same && !flips && !other_operation).then(|| Expr::Mask(mask.to_vec()))
        }
        "cmp" => {
            let value = attributes.nested(3)?.get(1)?.to_vec();
            let operation = attributes.number(2)?;
            (attributes.number(1)? == NFT_REG_1).then(|| compared(operation, value))?
        }
        "lookup" => lookup(attributes),
        "immediate" => {
            let value = attributes.nested(2)?;
            match attributes.number(1)? {
                // NFTA_DATA_VERDICT
                NFT_REG_VERDICT => verdict(value.nested(2)?),
                NFT_REG_1 => Some(Expr::Immediate(value.get(1)?.to_vec())),
                NFT_REG_2 => Some(Expr::ImmediateSecond(value.get(1)?.to_vec())),
                _ => None,
            }
        }
        "nat" => nat(attributes),
        // NFTA_MASQ_FLAGS, NFTA_MASQ_REG_PROTO_MIN
        "rt" => (attributes.number(1)? == NFT_REG_1 && attributes.number(2)? == NFT_RT_TCPMSS)
            .then_some(Expr::RouteMss),
        "byteorder" => attributes.are(&TO_NETWORK).then_some(Expr::ToNetwork),
        "exthdr" => {
            let is_mss = attributes.get(2)? == [TCPOPT_MAXSEG];
            // A destination register makes it a match.
            let writes = attributes.get(1).is_none() && attributes.are(&WRITE_MSS);
            (is_mss && writes).then_some(Expr::WriteMss)
        }
        "masq" => {
            let flags = attributes.number(1).unwrap_or(0);
            attributes
                .get(2)
                .is_none()
                .then_some(Expr::Masquerade(flags))
        }
        "notrack" => Some(Expr::Notrack),
        "counter" => Some(Expr::Counter),
        "match" => Some(Expr::XtMatch {
            name: attributes.text(1)?,
            revision: attributes.number(2)?,
            info: attributes.get(3)?.to_vec(),
        }),
        "reject" => Some(Expr::Reject),
        // NFTA_TARGET_NAME
        "target" => (attributes.text(1)? == "REJECT").then_some(Expr::Reject),
        _ => None,
    }
}
