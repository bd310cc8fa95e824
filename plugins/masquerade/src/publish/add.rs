//! Bringing ports into the maps: look, change what is missing in one transaction, start over when somebody else changed the
//! ruleset in between.

use std::time::Instant;

use cni_common::error::{Error, Step};
use cni_common::netlink;
use cni_common::nft::{
    Batch, By, Element, FoundRule, Key, KeyKind, Nft, Set, Statement, Where, is_stale, line,
};
use cni_common::owner::Owner;

use super::release::{Leaving, find};
use super::{CHAIN, MAPS, PAUSE, Published, TICKS, held, keys_of, localhost, name_of, stale};
use crate::apply::ATTEMPTS;
use crate::release::Going;
use crate::rules::{Chain, DSTNAT, OUTPUT, Plan, SHARED, TABLE_COMMENT, table};

/// What the maps lack of what is wanted.
struct Missing<'a> {
    /// The rules that look into the maps, where not all are there: those that are.
    rules: Option<Vec<FoundRule>>,
    published: Vec<(&'a Published, Option<Element>)>,
    /// Something that is about to leave stands in the way.
    waits: bool,
}

/// Compares the maps with what is wanted; fails when somebody else holds a port.
fn look<'a>(nft: &mut Nft, wanted: &'a [Published], tag: &str) -> Result<Missing<'a>, Error> {
    let table = table();
    let mut found = nft.rules(&table, None).step(|| "read the firewall")?;
    found.retain(|rule| rule.comment.as_deref() == Some(SHARED));
    let whole = rules().all(|rule| rule.is_among(&found));
    let mut missing = Missing {
        rules: (!whole).then_some(found),
        published: Vec::new(),
        waits: false,
    };
    for published in wanted {
        let found = nft
            .element(&table, published.map(), published.key.clone())
            .step(|| "read the firewall")?;
        if let Some(element) = &found {
            let ours = element.comment.as_deref() == Some(tag);
            if element.leaving {
                missing.waits = true;
            } else if !ours {
                return Err(held(published, element));
            } else if element.data.as_ref() == Some(&published.target) {
                continue;
            }
        }
        if let Some(other) = overlapping(nft, published, tag).step(|| "read the firewall")? {
            return Err(held(published, &other));
        }
        missing.published.push((published, found));
    }
    Ok(missing)
}

/// Somebody else's element for the same port: at all addresses where ours is at one, or the other way round.
fn overlapping(
    nft: &mut Nft,
    published: &Published,
    tag: &str,
) -> Result<Option<Element>, netlink::Error> {
    let Some((protocol, port)) = published.port() else {
        return Ok(None);
    };
    let other = |element: &Element| !element.leaving && element.comment.as_deref() != Some(tag);
    if published.by == By::Address {
        let map = name_of(published.family, By::Port);
        let found = nft.element(&table(), map, Key::Port(protocol, port))?;
        return Ok(found.filter(other));
    }
    let map = name_of(published.family, By::Address);
    let keys = keys_of(published.family, By::Address);
    // Few are published at one address, and most often none.
    let mut all = nft.elements(&table(), map, keys)?.into_iter();
    Ok(all.find(|element| {
        let same =
            matches!(&element.key, Key::AddressPort(_, p, n) if (*p, *n) == (protocol, port));
        same && other(element)
    }))
}

/// A rule that all networks share.
struct Shared {
    chain: Chain,
    statements: Vec<Statement>,
}

impl Shared {
    fn is_among(&self, found: &[FoundRule]) -> bool {
        let mut found = found.iter().filter(|rule| rule.chain == self.chain.name());
        found.any(|rule| rule.statements.as_ref() == Some(&self.statements))
    }
}

/// The rules that look into the maps.
fn rules() -> impl Iterator<Item = Shared> {
    let maps = MAPS.into_iter().map(|(family, by, name)| Shared {
        chain: Chain::Regular(CHAIN),
        statements: vec![Statement::DnatMap(family, by, name.to_owned())],
    });
    let jumps = [DSTNAT, OUTPUT].into_iter().map(|chain| Shared {
        chain: Chain::Base(chain),
        statements: vec![Statement::ToThisHost, Statement::Jump(CHAIN.to_owned())],
    });
    maps.chain(jumps)
}

/// Makes the maps and the rules that look into them; `found` are those that are there.
fn make(nft: &mut Nft, batch: &mut Batch, found: &[FoundRule]) -> Result<(), netlink::Error> {
    let table = table();
    batch.ensure_table(&table, TABLE_COMMENT);
    for (family, by, name) in MAPS {
        if nft.set(&table, name)?.is_none() {
            batch.add_set(&Set {
                table: table.clone(),
                name: name.to_owned(),
                keys: keys_of(family, by),
                data: Some(KeyKind::Target(family)),
                counter: true,
                comment: SHARED.to_owned(),
            });
        }
    }
    batch.ensure_regular_chain(&table, CHAIN);
    for chain in [DSTNAT, OUTPUT] {
        batch.ensure_chain(&table, &chain);
    }
    // A port at one address is asked for first: all rules anew.
    for rule in found {
        batch.delete_rule(&table, &rule.chain, rule.handle);
    }
    for Shared { chain, statements } in rules() {
        batch.add_rule(&table, chain.name(), Where::Last, &statements, Some(SHARED));
    }
    Ok(())
}

/// Whether the ports of a plan can be had, before anything is changed; and whether the attachment has been added before: it
/// may hold ports that it is not to have any more.
///
/// # Errors
/// Code 101 naming who holds one.
pub fn check_free(nft: &mut Nft, plan: &Plan, owner: &Owner) -> Result<bool, Error> {
    if plan.published.is_empty() {
        return Ok(false);
    }
    let tag = owner.tag();
    look(nft, &plan.published, &tag)?;
    for group in &plan.groups {
        for address in &group.addresses {
            let found = nft
                .element(&table(), &group.set.name, *address)
                .step(|| "read the firewall")?;
            if found.is_some_and(|element| element.comment.as_deref() == Some(&*tag)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Publishes the ports of a plan, and makes connections follow that led elsewhere. With `repeated` the attachment's other
/// ports are taken back.
///
/// # Errors
/// Code 101 naming who holds a port; code 11 when other transactions were always faster; what the kernel refused.
pub fn add(nft: &mut Nft, plan: &Plan, owner: &Owner, repeated: bool) -> Result<(), Error> {
    let wanted = &plan.published;
    if wanted.is_empty() {
        return Ok(());
    }
    let tag = owner.tag();
    let begun = Instant::now();
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let missing = look(nft, wanted, &tag)?;
        if missing.waits && begun.elapsed() < TICKS {
            std::thread::sleep(PAUSE);
            continue;
        }
        let mut others = Vec::new();
        if repeated {
            others = find(nft, &owner.network, &Going::Of(&tag, &[]), &[])
                .step(|| "read the firewall")?;
            others.retain(|other| {
                let mut wanted = wanted.iter();
                !wanted.any(|w| (w.map(), &w.key) == (other.map, &other.element.key))
            });
        }
        let mut batch = Batch::only_after(generation);
        if let Some(found) = &missing.rules {
            make(nft, &mut batch, found).step(|| "read the firewall")?;
        }
        for (published, found) in &missing.published {
            let (table, map) = (table(), published.map());
            if found.is_some() {
                batch.delete_element(&table, map, published.key.clone());
            }
            batch.add_mapping(&table, map, &published.key, &published.target, &tag);
        }
        for Leaving { map, element } in &others {
            batch.delete_element(&table(), map, element.key.clone());
        }
        match nft.commit(batch) {
            Ok(()) => {
                // Not before the maps: by their being there a DEL knows that there is something to close.
                plan.localhost().map_or(Ok(()), localhost::open)?;
                stale::forget_others(wanted);
                stale::forget_ours(others.iter().map(|leaving| &leaving.element));
                return Ok(());
            }
            Err(error) if is_stale(&error) || error.is_absent() || error.is_taken() => {
                last = Some(error);
            }
            Err(error) => return Err(error).step(|| "publish ports"),
        }
    }
    last.map_or(Ok(()), Err).step(|| "publish ports")
}

/// Compares the maps with what ADD put there.
pub fn compare(
    nft: &mut Nft,
    plan: &Plan,
    owner: &Owner,
    drift: &mut Vec<String>,
) -> Result<(), netlink::Error> {
    let table = table();
    if plan.published.is_empty() {
        return Ok(());
    }
    for published in &plan.published {
        let (map, key) = (published.map(), &published.key);
        let found = nft.element(&table, map, key.clone())?;
        let found = found.filter(|element| !element.leaving);
        let Some(element) = found else {
            drift.push(format!("{table}: {key} is missing in map {map}"));
            continue;
        };
        let (comment, target) = (element.comment.unwrap_or_default(), &published.target);
        if !owner.owns(&comment) {
            let tag = owner.tag();
            drift.push(format!(
                "{table}: {key} in map {map}: expected {tag:?}, found {comment:?}"
            ));
        } else if element.data.as_ref() != Some(target) {
            let found = element
                .data
                .map(|data| data.to_string())
                .unwrap_or_default();
            drift.push(format!(
                "{table}: {key} in map {map}: expected {target}, found {found}"
            ));
        }
    }
    let found = nft.rules(&table, None)?;
    for rule in rules().filter(|rule| !rule.is_among(&found)) {
        let (chain, line) = (rule.chain.name(), line(&rule.statements));
        drift.push(format!("{table} {chain}: rule {line:?} is missing"));
    }
    Ok(())
}
