//! Taking attachments out of the kernel, and with the last one what they shared.

pub(crate) mod zone;

use core::net::IpAddr;

use cni_common::addr::Family;
use cni_common::error::{Error, Step};
use cni_common::ident::NetworkName;
use cni_common::netlink;
use cni_common::nft::{Batch, Element, FoundSet, KeyKind, Nft, is_stale};

use crate::accepts;
use crate::apply::ATTEMPTS;
use crate::rules::{SHARED, accepts_comment, filter, is_of_network, is_shared, table};

/// Which elements of a network's sets go.
pub enum Going<'a> {
    /// Those with this tag of an owner, which are probably these addresses.
    Of(&'a str, &'a [IpAddr]),
    /// Those for which this is so.
    Where(&'a dyn Fn(&Element) -> bool),
}

impl Going<'_> {
    pub(crate) fn includes(&self, element: &Element) -> bool {
        match self {
            Self::Of(tag, _) => element.comment.as_deref() == Some(*tag),
            Self::Where(is_going) => is_going(element),
        }
    }
}

/// What a release came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Nothing of this plugin is left on the host.
    pub all_gone: bool,
    /// Something was deleted, which the kernel has yet to free: see [`Nft::close_after_deletion`].
    pub deleted: bool,
}

/// What is to go from one set.
struct Share {
    set: FoundSet,
    going: Vec<IpAddr>,
    /// Nobody else is in it.
    empties: bool,
}

/// Takes elements out of the sets of a network. What is not there is no error.
///
/// A set that has others left lets the elements expire, because a deletion makes all netfilter users of the host
/// wait. With the last attachment the set and its rules are deleted.
///
/// # Errors
/// What the kernel refused; code 11 when other transactions were always faster.
pub fn release(nft: &mut Nft, network: &NetworkName, going: &Going<'_>) -> Result<Released, Error> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let seen = look(nft, network, going).step(|| "read the firewall")?;
        let mut batch = Batch::only_after(generation);
        let deletes = fill(nft, &mut batch, network, &seen).step(|| "read the firewall")?;
        let done = nft
            .commit(batch)
            .and_then(|()| insist(nft, &seen, going))
            .map(|insisted| deletes || insisted);
        match done {
            Ok(something) => {
                return Ok(Released {
                    all_gone: seen.emptied().count() == seen.sets,
                    deleted: something,
                });
            }
            Err(error) if is_stale(&error) => last = Some(error),
            Err(error) => return Err(error).step(|| "change the firewall"),
        }
    }
    let stale = last.map_or(Ok(()), Err);
    stale.step(|| "change the firewall").map(|()| Released {
        all_gone: false,
        deleted: false,
    })
}

struct Seen {
    shares: Vec<Share>,
    /// How many sets the table has in all.
    sets: usize,
}

impl Seen {
    fn emptied(&self) -> impl Iterator<Item = &Share> {
        self.shares.iter().filter(|share| share.empties)
    }

    /// Whether no group of the network remains for a family.
    fn leaves(&self, family: Family) -> bool {
        let mut of_family = self
            .shares
            .iter()
            .filter(|s| s.set.keys == KeyKind::Address(family));
        of_family.all(|share| share.empties)
    }
}

fn look(nft: &mut Nft, network: &NetworkName, going: &Going<'_>) -> Result<Seen, netlink::Error> {
    let mut sets = nft.sets(&table())?;
    sets.retain(|set| !is_shared(&set.name));
    let count = sets.len();
    let of_network: Vec<FoundSet> = sets
        .into_iter()
        .filter(|set| is_of_network(&set.name, network))
        .collect();
    let known = match going {
        Going::Of(_, addresses) if !addresses.is_empty() => {
            by_address(nft, &of_network, addresses, going)?
        }
        Going::Of(..) | Going::Where(_) => None,
    };
    let mut shares = Vec::new();
    for (place, set) in of_network.into_iter().enumerate() {
        let quick = known.as_ref().and_then(|known| known.get(place)).cloned();
        shares.push(share(nft, set, quick, going)?);
    }
    Ok(Seen {
        shares,
        sets: count,
    })
}

/// The addresses that go, by set, if all of those expected are found: then no set need be listed.
fn by_address(
    nft: &mut Nft,
    sets: &[FoundSet],
    addresses: &[IpAddr],
    going: &Going<'_>,
) -> Result<Option<Vec<Vec<IpAddr>>>, netlink::Error> {
    let mut found = vec![Vec::new(); sets.len()];
    for address in addresses {
        let mut somewhere = false;
        for (set, found) in sets.iter().zip(&mut found) {
            if set.keys != KeyKind::Address(Family::of(*address)) {
                continue;
            }
            let element = nft.element(&table(), &set.name, *address)?;
            if element.is_some_and(|e| !e.leaving && going.includes(&e)) {
                found.push(*address);
                somewhere = true;
            }
        }
        if !somewhere {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

fn share(
    nft: &mut Nft,
    set: FoundSet,
    quick: Option<Vec<IpAddr>>,
    going: &Going<'_>,
) -> Result<Share, netlink::Error> {
    let stays = |element: &Element| !element.leaving && !going.includes(element);
    if let Some(going) = quick {
        let some = Nft::some_elements(&table(), &set.name, set.keys)?;
        if some.iter().any(stays) {
            return Ok(Share {
                set,
                going,
                empties: false,
            });
        }
    }
    let elements = nft.elements(&table(), &set.name, set.keys)?;
    let leaving = |element: &&Element| !element.leaving && going.includes(element);
    Ok(Share {
        empties: !elements.iter().any(stays),
        going: elements
            .iter()
            .filter(leaving)
            .filter_map(|e| e.key.address())
            .collect(),
        set,
    })
}

/// Puts the changes into the batch; whether there are deletions among them.
fn fill(
    nft: &mut Nft,
    batch: &mut Batch,
    network: &NetworkName,
    seen: &Seen,
) -> Result<bool, netlink::Error> {
    let table = table();
    for share in seen.shares.iter().filter(|share| !share.empties) {
        for address in &share.going {
            batch.expire_element(&table, &share.set.name, *address);
        }
    }
    let gone: Vec<&str> = seen
        .emptied()
        .map(|share| share.set.name.as_str())
        .collect();
    if gone.is_empty() && !seen.shares.is_empty() {
        return Ok(false);
    }
    let mut deletes = !gone.is_empty();
    if deletes {
        delete_groups(nft, batch, &gone, seen.sets)?;
    }
    let comment = accepts_comment(network);
    for family in [Family::V4, Family::V6] {
        if !seen.leaves(family) {
            continue;
        }
        deletes |= accepts::remove(nft, batch, &filter(family), &comment)?;
    }
    Ok(deletes)
}

/// Deletes sets with their rules, and the table with its chains if these are all it has.
fn delete_groups(
    nft: &mut Nft,
    batch: &mut Batch,
    gone: &[&str],
    sets: usize,
) -> Result<(), netlink::Error> {
    let table = table();
    let rules = nft.rules(&table, None)?;
    let (ours, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| {
        let comment = rule.comment.as_deref();
        comment.is_some_and(|comment| comment == SHARED || gone.contains(&comment))
    });
    if others.is_empty() && gone.len() == sets {
        batch.delete_table(&table);
        return Ok(());
    }
    for rule in ours
        .iter()
        .filter(|rule| rule.comment.as_deref() != Some(SHARED))
    {
        batch.delete_rule(&table, &rule.chain, rule.handle);
    }
    for name in gone {
        batch.delete_set(&table, name);
    }
    Ok(())
}

/// Kernels before 6.12 accept a new timeout for an element and ignore it: what reads back as staying is deleted.
fn insist(nft: &mut Nft, seen: &Seen, going: &Going<'_>) -> Result<bool, netlink::Error> {
    let generation = nft.generation()?;
    let mut batch = Batch::only_after(generation);
    for share in seen.shares.iter().filter(|share| !share.empties) {
        for address in &share.going {
            let element = nft.element(&table(), &share.set.name, *address)?;
            if element.is_some_and(|element| !element.leaving && going.includes(&element)) {
                batch.delete_element(&table(), &share.set.name, *address);
            }
        }
    }
    let deletes = !batch.is_empty();
    nft.commit(batch)?;
    Ok(deletes)
}
