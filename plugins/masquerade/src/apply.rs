//! Bringing a plan into the kernel: look, change what is missing in one transaction, start over when somebody
//! else changed the ruleset in between.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cni_common::error::{Error, Step};
use cni_common::netlink;
use cni_common::nft::{Batch, Element, FoundRule, Nft, is_stale};
use cni_common::owner::Owner;

use crate::accepts::{Gap, is_same};
use crate::rules::{Chain, Group, Plan, Rule, TABLE_COMMENT, table};

/// How often a change is tried before the call gives up with code 11: a try takes microseconds and fails only if
/// another transaction was faster.
pub(crate) const ATTEMPTS: usize = 300;

/// Longer than an element takes to leave: the kernel's clock ticks every 1 to 10 ms.
const TICKS: Duration = Duration::from_millis(25);

/// What stood in the kernel before an attachment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Attachments of its group, or it itself.
    Group,
    /// Others only.
    Others,
    /// Nothing of this plugin.
    Nothing,
}

/// What a plan lacks.
#[derive(Debug, Default)]
struct Missing<'a> {
    groups: Vec<&'a Group>,
    /// Groups that exist and lack a rule, with the rules they have.
    damaged: Vec<(&'a Group, Vec<FoundRule>)>,
    /// Elements of groups that exist, with what stands in their place.
    elements: Vec<(&'a Group, core::net::IpAddr, Option<Element>)>,
    accepts: Vec<Gap<'a>>,
}

impl<'a> Missing<'a> {
    fn of(nft: &mut Nft, plan: &'a Plan, tag: &str) -> Result<Self, netlink::Error> {
        let mut missing = Self::default();
        let table = table();
        for group in &plan.groups {
            if nft.set(&table, &group.set.name)?.is_none() {
                missing.groups.push(group);
                continue;
            }
            for address in &group.addresses {
                let found = nft.element(&table, &group.set.name, *address)?;
                let ours = found
                    .as_ref()
                    .is_some_and(|e| !e.leaving && e.comment.as_deref() == Some(tag));
                if !ours {
                    missing.elements.push((group, *address, found));
                }
            }
        }
        if missing.groups.len() < plan.groups.len() {
            let mut rules = nft.rules(&table, None)?;
            let lacking = |group: &&Group| !missing.groups.iter().any(|new| new.set == group.set);
            for group in plan.groups.iter().filter(lacking) {
                let of_group =
                    |rule: &mut FoundRule| rule.comment.as_deref() == Some(group.set.name.as_str());
                let found: Vec<_> = rules.extract_if(.., of_group).collect();
                if !is_whole(group, &found) {
                    missing.damaged.push((group, found));
                }
            }
        }
        for accepts in &plan.accepts {
            missing.accepts.extend(Gap::find(nft, accepts)?);
        }
        Ok(missing)
    }

    /// Whether an element that is made to expire is in the way. In a moment it is gone; deleting it would make all
    /// netfilter users of the host wait.
    fn waits(&self) -> bool {
        let mut found = self
            .elements
            .iter()
            .filter_map(|(_, _, found)| found.as_ref());
        found.any(|element| element.leaving)
    }

    fn is_empty(&self) -> bool {
        self.elements.is_empty() && self.only_elements()
    }

    /// Only elements: nobody else makes those of this attachment, so the transaction need not be bound to a
    /// generation.
    fn only_elements(&self) -> bool {
        self.groups.is_empty() && self.damaged.is_empty() && self.accepts.is_empty()
    }

    fn fill(&self, batch: &mut Batch, tag: &str) {
        let table = table();
        if !self.groups.is_empty() {
            batch.ensure_table(&table, TABLE_COMMENT);
        }
        for group in &self.groups {
            batch.add_set(&group.set);
            for address in &group.addresses {
                batch.add_element(&table, &group.set.name, *address, tag);
            }
            add_rules(batch, group);
        }
        for (group, found) in &self.damaged {
            // Which rule comes before which may matter: all of them anew.
            for rule in found {
                batch.delete_rule(&table, &rule.chain, rule.handle);
            }
            add_rules(batch, group);
        }
        for (group, address, found) in &self.elements {
            if found.is_some() {
                batch.delete_element(&table, &group.set.name, *address);
            }
            batch.add_element(&table, &group.set.name, *address, tag);
        }
        for gap in &self.accepts {
            gap.fill(batch);
        }
    }
}

/// Whether the rules of a group that were found are all it has.
pub(crate) fn is_whole(group: &Group, found: &[FoundRule]) -> bool {
    let is_there = |rule: &Rule| {
        let mut found = found.iter();
        let name = rule.chain.name();
        found.any(|f| f.chain == name && is_same(f, &rule.statements, &group.set.name))
    };
    group.rules.iter().all(is_there)
}

fn add_rules(batch: &mut Batch, group: &Group) {
    let table = table();
    let mut chains = BTreeSet::new();
    for rule in &group.rules {
        if chains.insert(rule.chain.name()) {
            match &rule.chain {
                Chain::Base(chain) => batch.ensure_chain(&table, chain),
                Chain::Regular(name) => batch.ensure_regular_chain(&table, name),
            }
        }
    }
    for rule in &group.rules {
        let (chain, name) = (rule.chain.name(), Some(group.set.name.as_str()));
        batch.add_rule(&table, chain, rule.place, &rule.statements, name);
    }
}

/// Brings the plan of an attachment into the kernel; tells what was there before.
///
/// # Errors
/// What the kernel refused. Code 11 when other transactions were always faster.
pub fn apply(nft: &mut Nft, plan: &Plan, owner: &Owner) -> Result<Before, Error> {
    let tag = owner.tag();
    let mut last = None;
    let mut waiting: Option<Instant> = None;
    for _ in 0..ATTEMPTS {
        let generation = nft.generation().step(|| "read the firewall")?;
        let missing = Missing::of(nft, plan, &tag).step(|| "read the firewall")?;
        if missing.is_empty() {
            return Ok(Before::Group);
        }
        let before = match missing.groups.is_empty() {
            true => Before::Group,
            false if nft.sets(&table()).step(|| "read the firewall")?.is_empty() => Before::Nothing,
            false => Before::Others,
        };
        if missing.waits() && waiting.get_or_insert_with(Instant::now).elapsed() < TICKS {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let mut batch = if missing.only_elements() {
            Batch::new()
        } else {
            Batch::only_after(generation)
        };
        missing.fill(&mut batch, &tag);
        match nft.commit(batch) {
            Ok(()) => return Ok(before),
            // Stale, or an element came or went, or the group went with its last attachment.
            Err(error) if is_stale(&error) => last = Some(error),
            Err(error) if missing.only_elements() && (error.is_taken() || error.is_absent()) => {
                last = Some(error);
            }
            Err(error) => return Err(error).step(|| "change the firewall"),
        }
    }
    match last {
        Some(error) => Err(error).step(|| "change the firewall"),
        None => Ok(Before::Group),
    }
}
