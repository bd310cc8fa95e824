//! What a plan comes to in the tables of legacy iptables, and taking it out again.
//!
//! iptables has no sets. The addresses of a group are rules in chains of the group: one chain registers them with
//! their owners, and for each rule of the group that asks for the set there is one more, which the rule leads to.

use core::net::IpAddr;
use std::collections::BTreeSet;

use cni_common::addr::Family;
use cni_common::error::Error;
use cni_common::ident::NetworkName;
use cni_common::nft::{Is, Statement, Where};
use cni_common::owner::{hash, short};

use super::hubs::{GUARD, HUBS, ensure_hub, let_through, sweep};
use super::published;
use super::saved::{Place, Saved, comment, commented};
use super::words::{End, Words, host};
use crate::accepts::{CHAIN, JUMP};
use crate::rules::{
    Chain, DSTNAT, FORWARD, Group, MANGLE, POSTROUTING, PREROUTING, Plan, Rule, accepts_comment,
    is_of_network,
};

/// What a group's rules and chains are marked with.
fn mark(group: &Group) -> String {
    format!("plumb {}", group.set.name)
}

/// The chain that registers a group's members; others of the group have a number behind it.
fn registry(set: &str) -> String {
    format!("PLUMB-{}", short(hash([set])))
}

/// A regular chain of our nftables table.
pub(super) fn regular(name: &str) -> String {
    format!("PLUMB-{}", name.to_ascii_uppercase())
}

/// The table and chain for a rule.
fn place(rule: &Rule) -> Result<(&'static str, String), Error> {
    let clamps = rule
        .statements
        .iter()
        .any(|statement| matches!(statement, Statement::ClampMss(_)));
    let hub = |chain: &str| HUBS.iter().find(|hub| hub.chain == chain);
    let found = match &rule.chain {
        Chain::Base(chain) if *chain == POSTROUTING => hub("PLUMB-POSTROUTING"),
        Chain::Base(chain) if *chain == DSTNAT => hub("PLUMB-PREROUTING"),
        Chain::Base(chain) if *chain == MANGLE && clamps => hub("PLUMB-MSS"),
        Chain::Base(chain) if *chain == FORWARD => hub(GUARD),
        Chain::Base(chain) if *chain == PREROUTING => hub("PLUMB-NOTRACK"),
        Chain::Base(_) => None,
        Chain::Regular(name) => return Ok(("filter", regular(name))),
    };
    found
        .map(|hub| (hub.table, hub.chain.to_owned()))
        .ok_or_else(|| {
            Error::new(
                cni_common::code::Code::Unsupported,
                format!(
                    "backend: legacy iptables cannot do what the configuration asks for (a rule in {})",
                    rule.chain.name()
                ),
            )
        })
}

/// Brings the part of a plan that is of a family in.
pub(super) fn attach(
    saved: &mut Saved,
    plan: &Plan,
    family: Family,
    tag: &str,
) -> Result<(), Error> {
    for group in plan.groups.iter().filter(|group| group.family() == family) {
        let registry = registry(&group.set.name);
        let sign = commented(&mark(group));
        saved.ensure_rule("filter", &registry, &sign, Place::First);
        for address in &group.addresses {
            evict(saved, &registry, *address, tag);
            let member = format!("-s {} {}", host(*address), commented(tag));
            saved.ensure_rule("filter", &registry, &member, Place::Last);
        }
        for (number, rule) in group.rules.iter().enumerate() {
            let words = Words::of(&rule.statements, regular)?;
            if words.action.is_empty() {
                // It only counts, which every rule of iptables does.
                continue;
            }
            let (table, chain) = place(rule)?;
            ensure_hub(saved, table, &chain);
            for statement in &rule.statements {
                if let Statement::Jump(name) = statement {
                    saved.ensure_chain(table, &regular(name));
                }
            }
            let name = format!("{registry}-{number}");
            let leads = if words.is_one() {
                words.action.clone()
            } else {
                fill(saved, table, &name, &words, group, tag);
                format!("-j {name}")
            };
            let text = format!("{}{sign} {leads}", words.matches());
            let place = match rule.place {
                Where::First => Place::First,
                Where::Last => Place::Last,
            };
            saved.ensure_rule(table, &chain, &text, place);
        }
    }
    for accepts in plan.accepts.iter().filter(|each| each.family == family) {
        let_through(saved, accepts)?;
    }
    Ok(())
}

/// Whether the groups of a plan that are of a family are there.
pub(super) fn has_groups(saved: &Saved, plan: &Plan, family: Family) -> bool {
    let mut groups = plan.groups.iter().filter(|group| group.family() == family);
    groups.all(|group| saved.chain("filter", &registry(&group.set.name)).is_some())
}

/// An address that another attachment still has is not its any more.
fn evict(saved: &mut Saved, registry: &str, address: IpAddr, tag: &str) {
    let (from, to) = (
        format!("-s {} ", host(address)),
        format!("-d {} ", host(address)),
    );
    for_each_chain(saved, registry, |saved, table, chain| {
        saved.delete_rules(table, chain, |rule| {
            (rule.starts_with(&from) || rule.starts_with(&to))
                && comment(rule).is_some_and(|found| found.starts_with("plumb1 ") && found != tag)
        });
    });
}

/// Calls it for the chains of a group.
fn for_each_chain(saved: &mut Saved, registry: &str, mut act: impl FnMut(&mut Saved, &str, &str)) {
    let numbered = format!("{registry}-");
    for table in saved.tables() {
        let names: Vec<String> = saved
            .chains(&table)
            .iter()
            .map(|chain| chain.name.clone())
            .filter(|name| name == registry || name.starts_with(&numbered))
            .collect();
        for name in names {
            act(saved, &table, &name);
        }
    }
}

/// The chain of a rule that asks for the set: first whom it does not mean, then whom it means.
fn fill(saved: &mut Saved, table: &str, chain: &str, words: &Words, group: &Group, tag: &str) {
    let sign = commented(&mark(group));
    let meant = words.members.iter().find(|(is, _)| *is == Is::Equal);
    if meant.is_none() {
        let last = format!("{}{sign} {}", words.required, words.action);
        saved.ensure_rule(table, chain, &last, Place::Last);
    }
    for (end, cidr) in &words.exceptions {
        let rule = format!("{} {cidr} {sign} -j RETURN", end.option());
        saved.ensure_rule(table, chain, &rule, Place::First);
    }
    for address in &group.addresses {
        let member = |end: End, action: &str| {
            let (end, address, tag) = (end.option(), host(*address), commented(tag));
            format!("{end} {address} {}{tag} {action}", words.required)
        };
        for (is, end) in &words.members {
            let (action, place) = match is {
                Is::Equal => (words.action.as_str(), Place::Last),
                Is::Not => ("-j RETURN", Place::First),
            };
            saved.ensure_rule(table, chain, &member(*end, action), place);
        }
    }
}

/// Takes the members of a network out whose comment `goes`, and what nobody needs after that.
pub(super) fn detach(saved: &mut Saved, network: &NetworkName, goes: impl Fn(&str) -> bool) {
    let mut groups = 0_usize;
    let mut emptied = BTreeSet::new();
    for (registry, set) in registries(saved) {
        if !is_of_network(&set, network) {
            continue;
        }
        for_each_chain(saved, &registry, |saved, table, chain| {
            saved.delete_rules(table, chain, |rule| {
                comment(rule).is_some_and(|text| goes(&text))
            });
        });
        groups = groups.saturating_add(1);
        if saved.rules("filter", &registry).len() <= 1 {
            emptied.insert((registry, set));
        }
    }
    for (registry, set) in &emptied {
        remove_group(saved, registry, &format!("plumb {set}"));
    }
    if emptied.len() == groups {
        let ours = accepts_comment(network);
        saved.delete_rules("filter", CHAIN, |rule| {
            comment(rule).as_deref() == Some(&ours)
        });
    }
    sweep(saved);
}

/// The chains that register members, with the names of their groups.
fn registries(saved: &Saved) -> Vec<(String, String)> {
    let chains = saved.chains("filter").iter();
    chains
        .filter_map(|chain| {
            let sign = comment(chain.rules.first()?)?;
            let set = sign.strip_prefix("plumb net-")?;
            let set = format!("net-{set}");
            (registry(&set) == chain.name).then(|| (chain.name.clone(), set))
        })
        .collect()
}

fn remove_group(saved: &mut Saved, registry: &str, mark: &str) {
    for table in saved.tables() {
        let names: Vec<String> = saved
            .chains(&table)
            .iter()
            .map(|chain| chain.name.clone())
            .filter(|name| name.starts_with("PLUMB-") && !name.starts_with(registry))
            .collect();
        for name in names {
            saved.delete_rules(&table, &name, |rule| comment(rule).as_deref() == Some(mark));
        }
    }
    for_each_chain(saved, registry, Saved::delete_chain);
}

/// The chain of the Go plugin `firewall`.
pub(super) const REFERENCE: &str = "CNI-FORWARD";

/// Removes the rules of the Go plugin `firewall` for addresses that none of our attachments has.
pub(super) fn remove_reference(saved: &mut Saved, addresses: &[IpAddr]) {
    for address in addresses {
        let host = host(*address);
        let member = format!("-s {host} ");
        let ours = registries(saved).iter().any(|(registry, _)| {
            let mut rules = saved.rules("filter", registry).iter();
            rules.any(|rule| rule.starts_with(&member))
        });
        let theirs = [
            format!("-d {host} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
            format!("-s {host} -j ACCEPT"),
        ];
        saved.delete_rules("filter", REFERENCE, |rule| {
            !ours && theirs.iter().any(|each| each == rule)
        });
    }
}

/// Whether anything of this plugin is there.
pub(super) fn is_there(saved: &Saved) -> bool {
    !registries(saved).is_empty() || published::is_there(saved)
}

/// Whether somebody else uses iptables: rules that are not ours, or a policy that drops.
pub(super) fn is_in_use(saved: &Saved) -> bool {
    saved.tables().iter().any(|table| {
        saved.chains(table).iter().any(|chain| {
            let ours = chain.name.starts_with("PLUMB-");
            let stops = !["ACCEPT", "-"].contains(&chain.policy.as_str());
            let foreign = |rule: &String| comment(rule).as_deref() != Some(JUMP);
            !ours && (stops || chain.rules.iter().any(foreign))
        })
    })
}
