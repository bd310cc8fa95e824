//! `vlan`, `vlanTrunk`, `preserveDefaultVlan`.

use cni_common::json::{Object, Value};
use cni_common::netlink::membership::Vlans;

/// The VLANs that a port is to belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    /// `vlan`: that of untagged frames; 0 is none.
    pub(crate) vlan: Option<u16>,
    /// `vlanTrunk`, in order and without overlap.
    trunk: Vec<(u16, u16)>,
    /// Whether a bridge that is made filters: one of the keys is there, be the trunk empty.
    pub(crate) filter: bool,
    /// `preserveDefaultVlan`.
    preserve_default: bool,
}

/// The VLAN of untagged frames on a trunk without `vlan`, as in the reference plugin.
const NATIVE: u16 = 1;

const LAST: u16 = 4094;

impl Membership {
    pub(super) fn read(object: &Object<'_>) -> Self {
        let vlan = object
            .unsigned("vlan", u32::from(LAST))
            .and_then(|vlan| u16::try_from(vlan).ok())
            .filter(|vlan| *vlan != 0);
        let mut ranges: Vec<(u16, u16)> =
            object.items("vlanTrunk").iter().flat_map(ranges).collect();
        ranges.sort_unstable();
        Self {
            vlan,
            trunk: merged(&ranges),
            filter: vlan.is_some() || object.get("vlanTrunk").is_some(),
            preserve_default: object.flag("preserveDefaultVlan"),
        }
    }

    /// What the port is to be a member of; nothing where no VLAN is configured.
    pub(crate) fn wanted(&self) -> Vec<Vlans> {
        let untagged = match self.vlan {
            Some(vlan) => vlan,
            None if self.trunk.is_empty() => return Vec::new(),
            None => NATIVE,
        };
        let mut wanted = vec![Vlans::untagged(untagged)];
        for (first, last) in self.trunk.iter().copied() {
            if !(first..=last).contains(&untagged) {
                wanted.push(Vlans::tagged(first, last));
                continue;
            }
            if first < untagged {
                wanted.push(Vlans::tagged(first, untagged - 1));
            }
            if untagged < last {
                wanted.push(Vlans::tagged(untagged + 1, last));
            }
        }
        wanted.sort_unstable();
        wanted
    }

    /// The VLAN that the port was born into and is to leave.
    pub(crate) fn unwanted(&self, default: Option<u16>) -> Option<Vlans> {
        let default = default.filter(|default| *default != 0 && !self.preserve_default)?;
        let wanted = self.wanted();
        let stays = |each: &Vlans| (each.first..=each.last).contains(&default);
        (!wanted.is_empty() && !wanted.iter().any(stays)).then(|| Vlans::tagged(default, default))
    }
}

/// The ranges that one item of `vlanTrunk` names: by `minID` and `maxID`, by `id`, or both.
fn ranges(item: &Value<'_>) -> Vec<(u16, u16)> {
    let Some(object) = item.object() else {
        return Vec::new();
    };
    let id = |key: &str| {
        let value = object.get(key)?;
        let id = u16::try_from(value.unsigned(u32::from(LAST))?).ok()?;
        if id == 0 {
            value.refuse(format_args!("must be between 1 and {LAST}"));
        }
        Some(id)
    };
    let mut ranges = Vec::new();
    match (id("minID"), id("maxID")) {
        (Some(min), Some(max)) if min <= max => ranges.push((min, max)),
        (Some(min), Some(max)) => {
            object.refuse("minID", format_args!("{min} is greater than maxID {max}"));
        }
        (Some(_), None) if object.get("maxID").is_none() => object.refuse("maxID", "is missing"),
        (None, Some(_)) if object.get("minID").is_none() => object.refuse("minID", "is missing"),
        (Some(_) | None, None) | (None, Some(_)) => {}
    }
    ranges.extend(id("id").map(|id| (id, id)));
    ranges
}

/// Joins ranges, which are in order, where they overlap or touch.
fn merged(ranges: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges.iter().copied() {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(vlan: Option<u16>, trunk: &[(u16, u16)]) -> Membership {
        Membership {
            vlan,
            trunk: merged(trunk),
            ..Membership::default()
        }
    }

    #[test]
    fn a_trunk_is_made_of_ranges_however_it_was_written() {
        let trunk = [(5, 5), (7, 9), (9, 20), (21, 30), (40, 4094)];
        let merged = membership(Some(3), &trunk).wanted();
        let expected = [
            Vlans::untagged(3),
            Vlans::tagged(5, 5),
            Vlans::tagged(7, 30),
            Vlans::tagged(40, 4094),
        ];
        assert_eq!(merged, expected);
    }

    #[test]
    fn the_vlan_of_untagged_frames_is_not_tagged_too() {
        let around = membership(Some(7), &[(1, 4094)]).wanted();
        let expected = [
            Vlans::tagged(1, 6),
            Vlans::untagged(7),
            Vlans::tagged(8, 4094),
        ];
        assert_eq!(around, expected);
        let native = membership(None, &[(1, 3)]).wanted();
        assert_eq!(native, [Vlans::untagged(1), Vlans::tagged(2, 3)]);
        assert!(membership(None, &[]).wanted().is_empty());
    }

    #[test]
    fn a_port_leaves_the_default_vlan_unless_it_is_its_own_or_is_kept() {
        let access = membership(Some(7), &[]);
        assert_eq!(access.unwanted(Some(1)), Some(Vlans::tagged(1, 1)));
        assert_eq!(access.unwanted(Some(7)), None);
        assert_eq!(access.unwanted(Some(0)), None);
        assert_eq!(membership(None, &[]).unwanted(Some(1)), None);
        assert_eq!(membership(None, &[(2, 3)]).unwanted(Some(1)), None);
        let kept = Membership {
            preserve_default: true,
            ..access
        };
        assert_eq!(kept.unwanted(Some(1)), None);
    }
}
