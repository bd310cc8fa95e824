//! Keys that the plugins have in common.

use crate::json::Object;
use crate::result::Dns;

/// The smallest and the largest MTU of an Ethernet link (`ETH_MIN_MTU`, `ETH_MAX_MTU`, `linux/if_ether.h`).
const MTU: core::ops::RangeInclusive<u32> = 68..=65_535;

/// `mtu`; 0 is absent.
pub fn mtu(object: &Object<'_>) -> Option<u32> {
    let value = object.get("mtu")?;
    let mtu = value.unsigned(u32::MAX).filter(|mtu| *mtu != 0)?;
    if !MTU.contains(&mtu) {
        value.refuse(format_args!(
            "must be 0 or between {} and {}",
            MTU.start(),
            MTU.end()
        ));
        return None;
    }
    Some(mtu)
}

/// `dns`, where it says something.
pub fn dns(object: &Object<'_>) -> Option<Dns> {
    object
        .object("dns")
        .map(|dns| Dns::read(&dns))
        .filter(|dns| !dns.is_empty())
}

/// Whether `ipam.type` names a plugin.
pub fn has_ipam(object: &Object<'_>) -> bool {
    object
        .object("ipam")
        .is_some_and(|ipam| ipam.text("type").is_some())
}
