//! Bringing a port's guard into the kernel and taking it out.

use std::time::{Duration, Instant};

use cni_common::attach::check::drift;
use cni_common::error::{Error, Step};
use cni_common::ident::IfName;
use cni_common::netlink;
use cni_common::nft::{Batch, Key, Nft, Where, is_stale, line};
use cni_common::owner::Owner;

use super::rules::{CHAIN, GUARDED, Guard, Leaving, rules, sets, table};

/// How often a change is tried before the call gives up with code 11: a try takes microseconds and fails only if
/// another transaction was faster.
const ATTEMPTS: usize = 300;

/// Longer than an element takes to leave: the kernel's clock ticks every 1 to 10 ms.
const TICKS: Duration = Duration::from_millis(25);

fn open() -> Result<Nft, Error> {
    Nft::open().step(|| "open nftables")
}

/// Guards a port; what is there already stays.
///
/// # Errors
/// What the kernel refused. Code 11 when other transactions were always faster.
pub(crate) fn add(owner: &Owner, guard: &Guard) -> Result<(), Error> {
    try_add(&mut open()?, owner, guard).step(|| format!("guard port {}", guard.port))
}

fn try_add(nft: &mut Nft, owner: &Owner, guard: &Guard) -> Result<(), Error> {
    let (table, tag, begun) = (table(), owner.tag(), Instant::now());
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let exists = nft
            .set(&table, GUARDED)
            .step(|| "read the firewall")?
            .is_some();
        let mut batch = if exists {
            Batch::new()
        } else {
            let mut batch = Batch::only_after(generation);
            make(&mut batch);
            batch
        };
        let mut waits = false;
        for (set, key) in guard.elements() {
            let found = if exists {
                let found = nft.element(&table, set, key.clone());
                found.step(|| "read the firewall")?
            } else {
                None
            };
            match found {
                Some(found) if found.leaving => waits = true,
                Some(found) if found.comment.as_deref() == Some(&tag) => continue,
                Some(_) => batch.delete_element(&table, set, key.clone()),
                None => {}
            }
            batch.add_element(&table, set, key, &tag);
        }
        // Deleting what is about to leave would make all netfilter users of the host wait.
        if waits && begun.elapsed() < TICKS {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        match nft.commit(batch) {
            Ok(()) => return Ok(()),
            // Another transaction came in between, or the table went with its last port.
            Err(error) if is_stale(&error) || error.is_taken() || error.is_absent() => {
                last = Some(error);
            }
            Err(error) => return Err(error).step(|| "change the firewall"),
        }
    }
    last.map_or(Ok(()), Err).step(|| "change the firewall")
}

/// Makes the table with all that ports share.
fn make(batch: &mut Batch) {
    let table = table();
    batch.ensure_table(&table, "made by the CNI plugin bridge-attach");
    for (_, set) in sets() {
        batch.add_set(&set);
    }
    batch.ensure_chain(&table, &CHAIN);
    for rule in rules() {
        batch.add_rule(&table, CHAIN.name, Where::Last, &rule, None);
    }
}

/// Takes out what guards a port for others than this owner, to whom [`add`] has not given it yet. Where there is nothing, one
/// look tells.
///
/// # Errors
/// As [`release`].
pub(crate) fn take_over(owner: &Owner, port: &IfName) -> Result<(), Error> {
    let of_port = Key::Interface(port.clone());
    let guarded = open()?.element(&table(), GUARDED, of_port);
    let guarded = guarded.step(|| "read the firewall")?;
    let earlier = Leaving::Earlier(owner, port);
    if guarded.is_some_and(|found| earlier.includes(&found)) {
        release(&earlier)
    } else {
        Ok(())
    }
}

/// Takes elements out, and the table with the last port. What is not there is no error.
///
/// # Errors
/// What the kernel refused. Code 11 when other transactions were always faster.
pub(crate) fn release(leaving: &Leaving<'_>) -> Result<(), Error> {
    let mut nft = open()?;
    if try_release(&mut nft, leaving).step(|| "remove the guard of a port")? {
        nft.close_after_deletion();
    }
    Ok(())
}

/// Whether something was deleted, which the kernel has yet to free.
fn try_release(nft: &mut Nft, leaving: &Leaving<'_>) -> Result<bool, Error> {
    let table = table();
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let Some(guarded) = nft.set(&table, GUARDED).step(|| "read the firewall")? else {
            return Ok(false);
        };
        let going = find(nft, leaving).step(|| "read the firewall")?;
        let stays =
            |element: &cni_common::nft::Element| !element.leaving && !leaving.includes(element);
        let some = Nft::some_elements(&table, GUARDED, guarded.keys);
        // A look at some answers for all, unless all of these go.
        let shared = some.step(|| "read the firewall")?.iter().any(stays) || {
            let all = nft.elements(&table, GUARDED, guarded.keys);
            all.step(|| "read the firewall")?.iter().any(stays)
        };
        let mut batch = Batch::only_after(generation);
        if shared {
            for (set, key) in &going {
                batch.expire_element(&table, set, key.clone());
            }
        } else {
            batch.delete_table(&table);
        }
        let done = nft.commit(batch).and_then(|()| {
            let insisted = shared && insist(nft, &going, leaving)?;
            Ok(insisted || !shared)
        });
        match done {
            Ok(deleted) => return Ok(deleted),
            Err(error) if is_stale(&error) || error.is_absent() => last = Some(error),
            Err(error) => return Err(error).step(|| "change the firewall"),
        }
    }
    last.map_or(Ok(false), Err).step(|| "change the firewall")
}

/// The elements that go: those expected, if all are there, else by a look at all.
fn find(nft: &mut Nft, leaving: &Leaving<'_>) -> Result<Vec<(&'static str, Key)>, netlink::Error> {
    let table = table();
    if let Some(expected) = leaving.probably() {
        let mut complete = true;
        for (set, key) in &expected {
            let found = nft.element(&table, set, key.clone())?;
            complete &= found.is_some_and(|found| leaving.includes(&found));
        }
        if complete {
            return Ok(expected);
        }
    }
    let mut going = Vec::new();
    for (name, set) in sets() {
        let elements = nft.elements(&table, name, set.keys)?.into_iter();
        let ours = elements.filter(|element| !element.leaving && leaving.includes(element));
        going.extend(ours.map(|element| (name, element.key)));
    }
    Ok(going)
}

/// Kernels before 6.12 accept a new timeout for an element and ignore it: what reads back as staying is deleted.
fn insist(
    nft: &mut Nft,
    going: &[(&'static str, Key)],
    leaving: &Leaving<'_>,
) -> Result<bool, netlink::Error> {
    let table = table();
    let mut batch = Batch::only_after(nft.generation()?);
    for (set, key) in going {
        let found = nft.element(&table, set, key.clone())?;
        if found.is_some_and(|found| !found.leaving && leaving.includes(&found)) {
            batch.delete_element(&table, set, key.clone());
        }
    }
    let deletes = !batch.is_empty();
    nft.commit(batch)?;
    Ok(deletes)
}

/// Compares the kernel with what [`add`] left.
///
/// # Errors
/// Code 102.
pub(crate) fn check(owner: &Owner, guard: &Guard) -> Result<(), Error> {
    let mut nft = open()?;
    let table = table();
    let chain = nft.chain(&table, CHAIN.name).step(|| "read the firewall")?;
    if !chain.is_some_and(|chain| chain.is(&CHAIN)) {
        let what = format!("chain {table} {}", CHAIN.name);
        return Err(drift(&what, "at hook prerouting", "none"));
    }
    let found = nft
        .rules(&table, Some(CHAIN.name))
        .step(|| "read the firewall")?;
    let wanted = rules();
    let statements: Vec<_> = found.into_iter().map(|rule| rule.statements).collect();
    if !wanted
        .iter()
        .cloned()
        .map(Some)
        .eq(statements.iter().cloned())
    {
        let missing = wanted
            .iter()
            .find(|rule| !statements.contains(&Some((*rule).clone())))
            .map_or_else(
                || String::from("another order of its rules"),
                |rule| format!("{:?} missing", line(rule)),
            );
        let what = format!("chain {table} {}", CHAIN.name);
        return Err(drift(&what, "its rules", missing));
    }
    for (set, key) in guard.elements() {
        let element = nft
            .element(&table, set, key.clone())
            .step(|| "read the firewall")?;
        let found = match element {
            Some(element) if element.leaving => None,
            Some(element) => Some(element.comment.unwrap_or_default()),
            None => None,
        };
        if found.as_deref() != Some(&owner.tag()) {
            let what = format!("{key} in set {table} {set}");
            let found = found.unwrap_or_else(|| String::from("none"));
            return Err(drift(&what, owner.tag(), found));
        }
    }
    Ok(())
}
