//! The VLANs of the containers on an uplink.

use cni_common::error::{Cause, Error};
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netlink::membership::Vlans;

use crate::config::Config;

/// What an uplink does not carry yet of the containers' VLANs, to be carried with tags. What it has without a tag stays so:
/// that is the VLAN of the network that it leads to.
pub(super) fn lacking(rtnl: &mut Rtnl, port: &Link, config: &Config) -> Result<Vec<Vlans>, Error> {
    let wanted = config.vlans.wanted().into_iter();
    let wanted: Vec<Vlans> = wanted
        .filter(|vlans| !(vlans.pvid && config.vlans.vlan.is_none()))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let found = rtnl.vlans_of(port).map_err(Cause::cause)?;
    Ok(without(&wanted, &found))
}

/// Ranges without what is in others, which are in order.
fn without(wanted: &[Vlans], found: &[Vlans]) -> Vec<Vlans> {
    let mut left = Vec::new();
    for range in wanted {
        let mut first = range.first;
        for other in found {
            if other.first > first && other.first <= range.last {
                left.push(Vlans::tagged(first, other.first.saturating_sub(1)));
            }
            if other.first <= range.last {
                first = first.max(other.last.saturating_add(1));
            }
        }
        if first <= range.last {
            left.push(Vlans::tagged(first, range.last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_uplink_is_in_already_is_left_as_it_is() {
        let tagged = |ranges: &[(u16, u16)]| -> Vec<Vlans> {
            let ranges = ranges.iter();
            ranges
                .map(|(first, last)| Vlans::tagged(*first, *last))
                .collect()
        };
        let born = [Vlans::untagged(1)];
        for (wanted, found, left) in [
            (tagged(&[(1, 4094)]), born.to_vec(), tagged(&[(2, 4094)])),
            (tagged(&[(7, 7)]), born.to_vec(), tagged(&[(7, 7)])),
            (tagged(&[(1, 1)]), born.to_vec(), tagged(&[])),
            (tagged(&[(7, 9)]), tagged(&[(1, 1), (7, 9)]), tagged(&[])),
            (
                tagged(&[(5, 9), (20, 4094)]),
                tagged(&[(6, 7), (9, 25), (4094, 4094)]),
                tagged(&[(5, 5), (8, 8), (26, 4093)]),
            ),
            (tagged(&[(5, 9)]), tagged(&[]), tagged(&[(5, 9)])),
        ] {
            assert_eq!(without(&wanted, &found), left, "{wanted:?} {found:?}");
        }
    }
}
