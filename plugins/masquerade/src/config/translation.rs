//! The keys that say what sources are translated to.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family, parse_ip};
use cni_common::json::{Json, Value};
use cni_common::nft::{NatFlags, NatTo};

use super::one_or_many;

/// `masquerade`: a boolean, or a family, or a list of families.
pub(super) fn families(value: &Value<'_>) -> Vec<Family> {
    if let Json::Bool(on) = value.json() {
        return if *on {
            vec![Family::V4, Family::V6]
        } else {
            Vec::new()
        };
    }
    let read = |item: &Value<'_>| match item.string()? {
        "ipv4" => Some(Family::V4),
        "ipv6" => Some(Family::V6),
        _ => {
            item.refuse("must be true, false, \"ipv4\" or \"ipv6\"");
            None
        }
    };
    one_or_many(value).iter().filter_map(read).collect()
}

/// What stands in a key once or in a list, but only once for a family.
pub(super) fn one_a_family(
    value: Option<&Value<'_>>,
    read: impl Fn(&Value<'_>) -> Option<NatTo>,
) -> Vec<NatTo> {
    let mut found: Vec<NatTo> = Vec::new();
    for item in value.map(one_or_many).unwrap_or_default() {
        let Some(to) = read(&item) else { continue };
        let family = to.family();
        if found.iter().any(|other| other.family() == family) {
            item.refuse(format_args!(
                "is a second {family} address: one is allowed, or a range"
            ));
        }
        found.push(to);
    }
    found
}

fn can_be_source(item: &Value<'_>, address: IpAddr) -> bool {
    let cannot = address.is_multicast() || address.is_loopback() || address.is_unspecified();
    if cannot {
        item.refuse("cannot be the source of a packet that is forwarded");
    }
    !cannot
}

/// `192.0.2.1`, or `192.0.2.1-192.0.2.9`.
pub(super) fn source(item: &Value<'_>) -> Option<NatTo> {
    let text = item.string()?;
    let Some((first, last)) = text.split_once('-') else {
        let address = item.parse_with(parse_ip)?;
        return can_be_source(item, address).then_some(NatTo::Address(address));
    };
    let (Ok(first), Ok(last)) = (parse_ip(first.trim()), parse_ip(last.trim())) else {
        item.refuse("must be an address, or a first and a last one with '-' between them");
        return None;
    };
    if Family::of(first) != Family::of(last) || first > last {
        item.refuse("must go from an address to a higher one of the same family");
        return None;
    }
    let usable = can_be_source(item, first) && can_be_source(item, last);
    usable.then_some(NatTo::Range(first, last))
}

/// `2001:db8:5::/64`.
pub(super) fn prefix(item: &Value<'_>) -> Option<NatTo> {
    let prefix = item.parse::<Cidr>()?.network();
    if prefix.is_default_route() || prefix.prefix() == prefix.family().bits() {
        item.refuse("must be a prefix with room for the containers' addresses");
        return None;
    }
    can_be_source(item, prefix.address()).then_some(NatTo::Prefix(prefix))
}

pub(super) fn as_prefix(to: &NatTo) -> Option<Cidr> {
    match to {
        NatTo::Prefix(prefix) => Some(*prefix),
        NatTo::Address(_) | NatTo::Range(..) => None,
    }
}

/// `natFlags`: a word or a list of words.
pub(super) fn flags(value: &Value<'_>) -> NatFlags {
    let mut flags = NatFlags::default();
    for item in one_or_many(value) {
        match item.string() {
            Some("random") => flags.random = true,
            Some("fully-random") => flags.fully_random = true,
            Some("persistent") => flags.persistent = true,
            Some(_) => {
                item.refuse("must be \"random\", \"fully-random\" or \"persistent\"");
            }
            None => {}
        }
    }
    flags
}
