//! `rules`: policy routing in the container.

use cni_common::addr::{Cidr, Family, parse_ip};
use cni_common::ident::{IfName, Invalid};
use cni_common::json::{Json, Object, Value};

/// One rule as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleKeys {
    pub(crate) from: From,
    pub(crate) to: Option<Cidr>,
    pub(crate) iif: Option<IfName>,
    pub(crate) oif: Option<IfName>,
    /// `fwmark`: the mark and which bits of it count.
    pub(crate) mark: Option<(u32, u32)>,
    pub(crate) table: u32,
    pub(crate) priority: Option<u32>,
}

/// `from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum From {
    /// Anywhere.
    #[default]
    All,
    /// `self`: each address of the attachment.
    Own,
    /// A subnet or an address.
    Net(Cidr),
}

impl RuleKeys {
    /// The family that the rule is for, where it says.
    pub(crate) fn family(&self) -> Option<Family> {
        match self.from {
            From::Net(from) => Some(from.family()),
            From::All | From::Own => self.to.map(Cidr::family),
        }
    }
}

/// Tables that every namespace has (`RT_TABLE_*`, linux/rtnetlink.h): default, main and local.
const RESERVED: core::ops::RangeInclusive<u32> = 253..=255;

pub(super) fn read(object: &Object<'_>) -> Vec<RuleKeys> {
    object.items("rules").iter().filter_map(one).collect()
}

fn one(item: &Value<'_>) -> Option<RuleKeys> {
    let object = item.object()?;
    let from = match object.get("from") {
        Some(value) if value.string() == Some("self") => From::Own,
        Some(value) => value.parse_with(subnet).map(From::Net).unwrap_or_default(),
        None => From::All,
    };
    let to = object.parse_with("to", subnet);
    let Some(table) = object.unsigned("table", u32::MAX) else {
        if object.get("table").is_none() {
            object.refuse("table", "is missing");
        }
        return None;
    };
    if (table == 0 || RESERVED.contains(&table)) && from == From::Own {
        object.refuse("table", "must be one of its own, not 0 or 253 to 255");
    } else if table == 0 {
        object.refuse("table", "cannot be 0");
    }
    let rule = RuleKeys {
        from,
        to,
        iif: object.parse_with("iif", IfName::parse),
        oif: object.parse_with("oif", IfName::parse),
        mark: object.get("fwmark").and_then(|value| mark(&value)),
        table,
        priority: object.unsigned("priority", u32::MAX),
    };
    if let (From::Net(from), Some(to)) = (from, to)
        && from.family() != to.family()
    {
        let family = from.family();
        object.refuse(
            "to",
            format_args!("must be of the family of from, {family}"),
        );
    }
    let says = from != From::All || to.is_some() || rule.iif.is_some() || rule.oif.is_some();
    if !says && rule.mark.is_none() {
        item.refuse("must have one of from, to, iif, oif and fwmark");
    }
    Some(rule)
}

/// A subnet, or an address alone.
fn subnet(text: &str) -> Result<Cidr, Invalid> {
    if text.contains('/') {
        text.parse::<Cidr>().map(Cidr::network)
    } else {
        parse_ip(text).map(Cidr::host)
    }
}

/// A number, or a text with a mask: `"0x10/0xff"`.
fn mark(value: &Value<'_>) -> Option<(u32, u32)> {
    if matches!(value.json(), Json::Number(_)) {
        return Some((value.unsigned(u32::MAX)?, u32::MAX));
    }
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let text = value.string()?;
    let pair = match text.split_once('/') {
        Some((mark, counts)) => number(mark).zip(number(counts)),
        None => number(text).map(|mark| (mark, u32::MAX)),
    };
    if pair.is_none() {
        value.refuse("must be a number, or a number and a mask such as \"0x10/0xff\"");
    }
    pair
}
