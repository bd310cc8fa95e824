//! What the reference plugin `firewall` left in iptables for a container that it attached and we take down.
//!
//! Its rules name nothing but an address, so they go only if no attachment of ours has it. Its chains stay, as with
//! itself: they are the host's.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::error::Error;
use cni_common::nft::{FoundRule, Is, Place, Statement, amend};

use crate::release::zone::is_free;
use crate::rules::filter;

/// Its chain in iptables' table `filter`.
const CHAIN: &str = "CNI-FORWARD";

/// Removes the rules for these addresses.
pub(crate) fn remove(addresses: &[IpAddr]) -> Result<(), Error> {
    amend(|nft, batch| {
        for family in [Family::V4, Family::V6] {
            let of_family = |address: &&IpAddr| Family::of(**address) == family;
            let addresses: Vec<IpAddr> = addresses.iter().filter(of_family).copied().collect();
            let table = filter(family);
            if addresses.is_empty() || nft.chain(&table, CHAIN)?.is_none() {
                continue;
            }
            for rule in nft.rules(&table, Some(CHAIN))? {
                let about = about(&rule).filter(|address| addresses.contains(address));
                if let Some(address) = about
                    && is_free(nft, address)?
                {
                    batch.delete_rule(&table, CHAIN, rule.handle);
                }
            }
        }
        Ok(())
    })
}

/// The address of a rule that lets all of it out, or replies to it in.
fn about(rule: &FoundRule) -> Option<IpAddr> {
    let beside = |statement: &&Statement| **statement != Statement::Counter;
    let says: Vec<&Statement> = rule.statements.iter().flatten().filter(beside).collect();
    let single = |net: &Cidr| (net.prefix() == net.family().bits()).then(|| net.address());
    match says[..] {
        [
            Statement::Source(Is::Equal, Place::Net(net)),
            Statement::Accept,
        ]
        | [
            Statement::Destination(Is::Equal, Place::Net(net)),
            Statement::XtEstablished,
            Statement::Accept,
        ] => single(net),
        _ => None,
    }
}
