//! Hosts whose firewall is legacy iptables: the same rules, by one `iptables-restore --noflush` an operation.
//!
//! The kernel has no transactions here, so whoever changes a table reads it whole and writes it whole, under a lock that
//! the programs share. What we ask for is a list of changes; where somebody was faster one of them fails, the table
//! stays as it was, and we look again. Every operation costs as much as the tables are long.

mod desired;
mod hubs;
mod program;
mod published;
mod reference;
mod saved;
mod words;

use core::cell::{Cell, RefCell};
use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;

use cni_common::addr::Family;
use cni_common::error::Error;
use cni_common::ident::NetworkName;
use cni_common::nft::{Element, Key};
use cni_common::owner::Owner;

use self::program::{Programs, has_tables};
use self::saved::Saved;
use crate::apply::Before;
use crate::publish::{self, Published, localhost, stale};
use crate::release::Going;
use crate::rules::Plan;

/// How often a change is tried. A try takes some milliseconds and fails if somebody else's rules came or went meanwhile.
const ATTEMPTS: usize = 10;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Whether the host uses legacy iptables: it has rules that are not ours, or a policy that drops.
pub(crate) fn is_in_use() -> bool {
    let used = |family: &Family| {
        has_tables(*family)
            && Programs::find(*family)
                .and_then(|programs| programs.saved())
                .is_ok_and(|saved| desired::is_in_use(&saved))
    };
    FAMILIES.iter().any(used)
}

/// Whether its programs are there.
///
/// # Errors
/// Code 2 where they are not.
pub(crate) fn is_possible() -> Result<(), Error> {
    Programs::find(Family::V4).map(|_| ())
}

/// Whether attachments of this plugin are in its tables.
pub(crate) fn has_attachments() -> Result<bool, Error> {
    for family in FAMILIES.into_iter().filter(|family| has_tables(*family)) {
        if desired::is_there(&Programs::find(family)?.saved()?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn change(family: Family, edit: impl Fn(&mut Saved) -> Result<(), Error>) -> Result<Saved, Error> {
    let programs = Programs::find(family)?;
    let _lock = program::lock()?;
    let mut tries = 0_usize;
    loop {
        let mut saved = programs.saved()?;
        edit(&mut saved)?;
        let Some(script) = saved.script() else {
            return Ok(saved);
        };
        match programs.restore(&script) {
            Ok(()) => return Ok(saved),
            Err(error) if tries >= ATTEMPTS => return Err(error),
            Err(_) => tries = tries.saturating_add(1),
        }
    }
}

/// Brings a plan in.
///
/// # Errors
/// Code 2 for what legacy iptables cannot say, code 100 with the words of iptables-restore.
pub(crate) fn attach(plan: &Plan, owner: &Owner) -> Result<Before, Error> {
    let tag = owner.tag();
    // What cannot be said is found before anything is changed.
    for family in plan.families() {
        desired::attach(&mut Saved::default(), plan, family, &tag)?;
    }
    let before = Cell::new(Before::Group);
    for family in plan.families() {
        let ports = published(plan, family);
        let unpublished = RefCell::new(Vec::new());
        change(family, |saved| {
            if let Some((published, element)) = published::held(saved, ports.iter().copied(), &tag)
            {
                return Err(publish::held(published, &element));
            }
            if !desired::has_groups(saved, plan, family) {
                let some = desired::is_there(saved);
                before.set(if some {
                    Before::Others
                } else {
                    Before::Nothing
                });
            }
            unpublished.replace(published::attach(saved, &ports, &tag));
            desired::attach(saved, plan, family, &tag)
        })?;
        stale::forget_ours(unpublished.borrow().iter());
    }
    Ok(before.get())
}

/// What of a plan is published in a family.
fn published(plan: &Plan, family: Family) -> Vec<&Published> {
    let all = plan.published.iter();
    all.filter(|published| published.family() == family)
        .collect()
}

/// Whether nobody else has published the ports of a plan here.
///
/// # Errors
/// Code 101 naming who holds one.
pub(crate) fn check_free(plan: &Plan, owner: &Owner) -> Result<(), Error> {
    let tag = owner.tag();
    for family in FAMILIES {
        let wanted = published(plan, family);
        if wanted.is_empty() || !has_tables(family) {
            continue;
        }
        // Where the programs are missing nobody published anything.
        if let Ok(programs) = Programs::find(family)
            && let Some((published, element)) = published::held(&programs.saved()?, wanted, &tag)
        {
            return Err(publish::held(published, &element));
        }
    }
    Ok(())
}

/// Makes connections follow that led elsewhere, and opens the host's 127.0.0.0/8 to published ports: to be called when the
/// rules are there.
pub(crate) fn follow(plan: &Plan) -> Result<(), Error> {
    if plan.published.is_empty() {
        return Ok(());
    }
    plan.localhost().map_or(Ok(()), localhost::open)?;
    stale::forget_others(&plan.published);
    Ok(())
}

/// What taking attachments out came to.
pub(crate) struct Detached {
    /// Nothing of this plugin is left.
    pub(crate) all_gone: bool,
    /// The interfaces to which the host's 127.0.0.0/8 was closed.
    pub(crate) closed: BTreeSet<String>,
}

/// Takes attachments out.
pub(crate) fn detach(network: &NetworkName, going: &Going<'_>) -> Result<Detached, Error> {
    let mut all_gone = true;
    let closed = RefCell::new(BTreeSet::new());
    for family in FAMILIES.into_iter().filter(|family| has_tables(*family)) {
        let Ok(programs) = Programs::find(family) else {
            // Where the programs are missing we were never asked to make rules.
            continue;
        };
        if !desired::is_there(&programs.saved()?) {
            continue;
        }
        let goes = |comment: &str| going.includes(&as_element(comment));
        let unpublished = RefCell::new(Vec::new());
        let saved = change(family, |saved| {
            let before = published::opened(saved);
            let gone = published::detach(saved, |tag, text| goes(text) && tag.is_of(network));
            unpublished.replace(gone);
            desired::detach(saved, network, goes);
            // First this and then the rules, so that nothing is left open, whenever this process ends.
            for interface in before.difference(&published::opened(saved)) {
                localhost::set_to(interface, "0")?;
                closed.borrow_mut().insert(interface.clone());
            }
            Ok(())
        })?;
        stale::forget_ours(unpublished.borrow().iter());
        all_gone &= !desired::is_there(&saved);
        // What is published in nftables may have closed it.
        for interface in published::opened(&saved) {
            localhost::set_to(&interface, "1")?;
        }
    }
    Ok(Detached {
        all_gone,
        closed: closed.into_inner(),
    })
}

/// Takes out what `ipMasq` of the Go plugin left for a container; with addresses, the rules for these alone.
///
/// # Errors
/// Code 100 with the words of iptables-restore.
pub fn remove_reference(owner: &Owner, addresses: &[IpAddr]) -> Result<(), Error> {
    change_where(
        |saved| reference::is_there(saved, owner),
        |saved| reference::remove(saved, owner, addresses),
    )
}

/// Takes out what the Go plugin `firewall` left for addresses that none of our attachments has.
pub(crate) fn remove_accepts(addresses: &[IpAddr]) -> Result<(), Error> {
    change_where(
        |saved| saved.chain("filter", desired::REFERENCE).is_some(),
        |saved| desired::remove_reference(saved, addresses),
    )
}

/// Changes the tables of each family that it is so for.
fn change_where(is_so: impl Fn(&Saved) -> bool, edit: impl Fn(&mut Saved)) -> Result<(), Error> {
    for family in FAMILIES.into_iter().filter(|family| has_tables(*family)) {
        let Ok(programs) = Programs::find(family) else {
            // Nobody could have made rules.
            continue;
        };
        if is_so(&programs.saved()?) {
            change(family, |saved| {
                edit(saved);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// A member as an element of a set, which is asked for its comment alone.
fn as_element(comment: &str) -> Element {
    Element {
        key: Key::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        data: None,
        comment: Some(comment.to_owned()),
        leaving: false,
    }
}

/// What is missing of a plan.
pub(crate) fn missing(plan: &Plan, owner: &Owner) -> Result<Vec<String>, Error> {
    let tag = owner.tag();
    let mut missing = Vec::new();
    for family in plan.families() {
        let mut saved = Programs::find(family)?.saved()?;
        let ports = published(plan, family);
        if let Some((published, element)) = published::held(&saved, ports.iter().copied(), &tag) {
            missing.push(publish::held(published, &element).to_string());
        }
        published::attach(&mut saved, &ports, &tag);
        desired::attach(&mut saved, plan, family, &tag)?;
        missing.extend(
            saved
                .changes()
                .iter()
                .map(|change| format!("{family} iptables: {change} is to be done")),
        );
    }
    if let Some(inside) = plan.localhost() {
        missing.extend(localhost::drift(inside)?);
    }
    Ok(missing)
}
