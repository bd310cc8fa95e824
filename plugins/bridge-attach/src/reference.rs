//! What the reference plugin left in the firewall for an attachment that it made and we take down.
//!
//! Its rules carry the container in their comments, and its chains in their names.

use core::net::IpAddr;

use cni_common::addr::Family;
use cni_common::error::{Error, Step};
use cni_common::netlink;
use cni_common::nft::{Batch, FoundRule, Is, Nft, Place, Statement, Table, TableFamily, amend};
use cni_common::owner::Owner;

/// Removes the rules of `ipMasq`; with addresses, those of iptables for these alone, for two interfaces of a container share
/// a chain.
pub(crate) fn remove_masquerade(owner: &Owner, addresses: &[IpAddr]) -> Result<(), Error> {
    let legacy = masquerade::remove_reference(owner, addresses).step(|| "ipMasq of the Go plugin");
    let native = amend(|nft, batch| {
        let table = Table::new(TableFamily::Inet, "cni_plugins_masquerade");
        for rule in nft.rules(&table, Some("masq_checks"))? {
            let comment = rule.comment.as_deref().unwrap_or_default();
            if is_masquerade_of(comment, owner) {
                batch.delete_rule(&table, &rule.chain, rule.handle);
            }
        }
        for family in [Family::V4, Family::V6] {
            let table = Table::new(TableFamily::Ip(family), "nat");
            fill_iptables(nft, batch, &table, owner, addresses)?;
        }
        Ok(())
    });
    native.and(legacy)
}

/// Removes the chains of `macspoofchk`.
pub(crate) fn remove_spoof_check(owner: &Owner) -> Result<(), Error> {
    let table = Table::new(TableFamily::Bridge, "nat");
    let id = format!("{}-{}", owner.container, owner.ifname);
    let chain = format!("cni-br-iface-{id}");
    let comment = format!("macspoofchk-{id}");
    amend(|nft, batch| {
        if nft.chain(&table, &chain)?.is_none() {
            return Ok(());
        }
        for rule in nft.rules(&table, Some("PREROUTING"))? {
            if rule.comment.as_deref() == Some(&comment) {
                batch.delete_rule(&table, &rule.chain, rule.handle);
            }
        }
        let chains = [chain.clone(), format!("{chain}-mac")];
        delete_chains(nft, batch, &table, &chains)
    })
}

/// Whether a comment is of the form `HASH-HASH, net: N, if: I, id: C`, cut to 128 bytes, and of this owner.
fn is_masquerade_of(comment: &str, owner: &Owner) -> bool {
    /// Two hashes of 16 digits and a dash.
    const HASHES: usize = 33;
    const CUT: usize = 128;
    /// What must be left of the container's name so that it is no other's.
    const LEAST: usize = 12;
    let head = format!(", net: {}, if: {}, id: ", owner.network, owner.ifname);
    let whole = format!("{head}{}", owner.container);
    let cut = whole.get(..CUT - HASHES).unwrap_or(&whole);
    let identifies = cut.len() == whole.len() || cut.len() >= head.len() + LEAST;
    identifies && comment.get(HASHES..) == Some(cut)
}

/// The rules of iptables: those in POSTROUTING, and the container's chain with the last of them.
fn fill_iptables(
    nft: &mut Nft,
    batch: &mut Batch,
    table: &Table,
    owner: &Owner,
    addresses: &[IpAddr],
) -> Result<(), netlink::Error> {
    let comment = format!("name: \"{}\" id: \"{}\"", owner.network, owner.container);
    let rules = nft.rules(table, Some("POSTROUTING"))?;
    let of_container = |rule: &&FoundRule| rule.comment.as_deref() == Some(&comment);
    let goes = |rule: &FoundRule| {
        addresses.is_empty() || source(rule).is_none_or(|from| addresses.contains(&from))
    };
    let (going, staying): (Vec<_>, Vec<_>) = rules
        .iter()
        .filter(of_container)
        .partition(|rule| goes(rule));
    let mut chains = Vec::new();
    for rule in going {
        batch.delete_rule(table, &rule.chain, rule.handle);
        let Some(chain) = target(rule) else { continue };
        let used = staying.iter().any(|other| target(other) == Some(chain));
        if !used && chain.starts_with("CNI-") && !chains.contains(&chain.to_owned()) {
            chains.push(chain.to_owned());
        }
    }
    delete_chains(nft, batch, table, &chains)
}

/// Deletes chains that nothing leads to any more but these themselves, the first to the second.
fn delete_chains(
    nft: &mut Nft,
    batch: &mut Batch,
    table: &Table,
    chains: &[String],
) -> Result<(), netlink::Error> {
    for chain in chains {
        for rule in nft.rules(table, Some(chain))? {
            batch.delete_rule(table, chain, rule.handle);
        }
    }
    for chain in chains {
        if nft.chain(table, chain)?.is_some() {
            batch.delete_chain(table, chain);
        }
    }
    Ok(())
}

fn source(rule: &FoundRule) -> Option<IpAddr> {
    rule.statements.iter().flatten().find_map(|said| {
        if let Statement::Source(Is::Equal, Place::Net(net)) = said {
            return Some(net.address());
        }
        None
    })
}

fn target(rule: &FoundRule) -> Option<&str> {
    rule.statements.iter().flatten().find_map(|said| {
        if let Statement::Jump(chain) = said {
            return Some(chain.as_str());
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use cni_common::ident::{ContainerId, IfName, NetworkName};

    use super::*;

    #[test]
    fn a_cut_comment_counts_where_it_still_says_whose_it_is() {
        let owner = |network: &str, id: &str| Owner {
            network: NetworkName::parse(network).unwrap(),
            container: ContainerId::parse(id).unwrap(),
            ifname: IfName::parse("eth0").unwrap(),
        };
        // As bridge 1.9.1 writes it.
        let comment = "c5964c6794a1152e-243b2ae045a7f822, net: testnet, if: eth0, id: c-0123456789abcdef0123456789abcdef";
        assert!(is_masquerade_of(
            comment,
            &owner("testnet", "c-0123456789abcdef0123456789abcdef")
        ));
        assert!(!is_masquerade_of(
            comment,
            &owner("testnet", "c-0123456789abcdef")
        ));
        assert!(!is_masquerade_of(
            comment,
            &owner("other", "c-0123456789abcdef0123456789abcdef")
        ));
        let long = owner("testnet", &"d".repeat(90));
        let whole = format!(
            "{}, net: testnet, if: eth0, id: {}",
            "0".repeat(33),
            "d".repeat(90)
        );
        assert!(is_masquerade_of(&whole[..128], &long));
        let hidden = owner(&"n".repeat(90), "c1");
        assert!(!is_masquerade_of(&whole[..128], &hidden));
    }
}
