//! Whether the kernel still has what ADD put there.

use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::netlink;
use cni_common::nft::{Nft, line};
use cni_common::owner::Owner;
use cni_common::sysctl;

use crate::accepts::{Gap, is_same};
use crate::publish;
use crate::rules::{Chain, Group, Plan, table};
use crate::sysctls::Wanted;

/// What of a plan is not in nftables.
pub(crate) fn rules(nft: &mut Nft, plan: &Plan, owner: &Owner) -> Result<Vec<String>, Error> {
    let mut drift = Vec::new();
    for group in &plan.groups {
        compare(nft, group, owner, &mut drift).step(|| "read the firewall")?;
    }
    for accepts in &plan.accepts {
        if let Some(gap) = Gap::find(nft, accepts).step(|| "read the firewall")? {
            gap.describe(&mut drift);
        }
    }
    publish::compare(nft, plan, owner, &mut drift).step(|| "read the firewall")?;
    if let Some(inside) = plan.localhost() {
        drift.extend(publish::localhost::drift(inside)?);
    }
    Ok(drift)
}

/// Adds the parameters that are not as they are to be, and gives the verdict.
pub(crate) fn verdict(mut drift: Vec<String>, sysctls: &[Wanted]) -> Result<(), Error> {
    for wanted in sysctls {
        let value = sysctl::read(&wanted.name).step(|| format!("read {}", wanted.name))?;
        match value {
            None if wanted.optional => {}
            Some(value) if value == wanted.value => {}
            found => drift.push(format!(
                "{}: expected {}, found {}",
                wanted.name,
                wanted.value,
                found.as_deref().unwrap_or("nothing")
            )),
        }
    }
    if drift.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::Drift, drift.join("; ")))
}

fn compare(
    nft: &mut Nft,
    group: &Group,
    owner: &Owner,
    drift: &mut Vec<String>,
) -> Result<(), netlink::Error> {
    let table = table();
    let name = &group.set.name;
    if nft.set(&table, name)?.is_none() {
        drift.push(format!("{table}: set {name} is missing"));
        return Ok(());
    }
    for address in &group.addresses {
        let found = nft.element(&table, name, *address)?;
        let found = found.filter(|element| !element.leaving);
        match found.map(|element| element.comment.unwrap_or_default()) {
            None => drift.push(format!("{table}: {address} is missing in set {name}")),
            Some(comment) if owner.owns(&comment) => {}
            Some(comment) => drift.push(format!(
                "{table}: {address} in set {name}: expected {:?}, found {comment:?}",
                owner.tag()
            )),
        }
    }
    let rules = nft.rules(&table, None)?;
    for rule in &group.rules {
        let chain = rule.chain.name();
        if let Chain::Base(wanted) = &rule.chain
            && !nft
                .chain(&table, chain)?
                .is_some_and(|found| found.is(wanted))
        {
            let hook = wanted.hook;
            drift.push(format!("{table}: chain {chain} is not on hook {hook:?}"));
        }
        let exists = rules
            .iter()
            .any(|found| found.chain == chain && is_same(found, &rule.statements, name));
        if !exists {
            let wanted = line(&rule.statements);
            drift.push(format!("{table} {chain}: rule {wanted:?} is missing"));
        }
    }
    drift.dedup();
    Ok(())
}
