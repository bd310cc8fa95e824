//! Which sources a zone of firewalld loses with attachments.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::ident::NetworkName;
use cni_common::netlink;
use cni_common::nft::{Is, KeyKind, Nft, Place, Statement};

use super::{Going, look};
use crate::rules::{is_of_network, table};

/// The sources that nobody needs when attachments are gone.
#[derive(Debug)]
pub(crate) struct Leaving {
    addresses: Vec<IpAddr>,
    subnets: Vec<Cidr>,
}

impl Leaving {
    /// Those of attachments that are still there; `behind` are the network's subnets, which go with its last attachment.
    pub(crate) fn of(
        nft: &mut Nft,
        network: &NetworkName,
        going: &Going<'_>,
        behind: &[Cidr],
    ) -> Result<Self, netlink::Error> {
        let seen = look(nft, network, going)?;
        let mut addresses: Vec<IpAddr> = seen.shares.iter().flat_map(|s| s.going.clone()).collect();
        addresses.sort();
        addresses.dedup();
        let mut kept = Vec::new();
        for address in &addresses {
            if is_held(nft, *address, Some((network, going)))? {
                kept.push(*address);
            }
        }
        addresses.retain(|address| !kept.contains(address));
        let emptied: Vec<&str> = seen.emptied().map(|s| s.set.name.as_str()).collect();
        let mut subnets = Vec::new();
        if !emptied.is_empty() && emptied.len() == seen.shares.len() {
            for subnet in behind {
                if !is_named(nft, *subnet, &emptied)? {
                    subnets.push(*subnet);
                }
            }
        }
        Ok(Self { addresses, subnets })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.subnets.is_empty()
    }

    /// As firewalld takes them.
    pub(crate) fn texts(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        let subnets = self.subnets.iter().map(Cidr::to_string);
        addresses.chain(subnets).collect()
    }

    /// Those that somebody came to need while the attachments went.
    pub(crate) fn needed_again(
        &self,
        nft: &mut Nft,
        network: &NetworkName,
    ) -> Result<Vec<String>, netlink::Error> {
        let mut needed = Vec::new();
        for address in &self.addresses {
            if is_held(nft, *address, None)? {
                needed.push(address.to_string());
            }
        }
        let of_network = nft.sets(&table())?;
        let of_network = of_network.iter().any(|s| is_of_network(&s.name, network));
        for subnet in &self.subnets {
            if of_network || is_named(nft, *subnet, &[])? {
                needed.push(subnet.to_string());
            }
        }
        Ok(needed)
    }
}

/// Whether an attachment has the address that does not go. Which do, is said of the network's alone.
fn is_held(
    nft: &mut Nft,
    address: IpAddr,
    going: Option<(&NetworkName, &Going<'_>)>,
) -> Result<bool, netlink::Error> {
    for set in nft.sets(&table())? {
        if set.keys != KeyKind::Address(Family::of(address)) {
            continue;
        }
        let going = going.filter(|(network, _)| is_of_network(&set.name, network));
        let found = nft.element(&table(), &set.name, address)?;
        if found.is_some_and(|e| !e.leaving && !going.is_some_and(|(_, going)| going.includes(&e)))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an address is in none of the sets.
pub(crate) fn is_free(nft: &mut Nft, address: IpAddr) -> Result<bool, netlink::Error> {
    is_held(nft, address, None).map(|held| !held)
}

/// Whether a subnet is behind some network, as rules say that are not of these groups.
fn is_named(nft: &mut Nft, subnet: Cidr, groups: &[&str]) -> Result<bool, netlink::Error> {
    let (from, to) = (
        Statement::Source(Is::Equal, Place::Net(subnet)),
        Statement::Destination(Is::Equal, Place::Net(subnet)),
    );
    let rules = nft.rules(&table(), None)?;
    let mut others = rules.iter().filter(|rule| {
        let group = rule.comment.as_deref().unwrap_or_default();
        !groups.contains(&group)
    });
    Ok(others.any(|rule| {
        let statements = rule.statements.as_deref().unwrap_or_default();
        statements
            .iter()
            .any(|statement| *statement == from || *statement == to)
    }))
}
