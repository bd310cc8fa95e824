//! The chains that the rules of all groups stand in, and what leads to them.

use cni_common::error::Error;

use super::desired::regular;
use super::saved::{Place, Saved, comment, commented, target};
use super::words::Words;
use crate::accepts::{CHAIN, DOCKER_USER, JUMP};
use crate::config::Make;
use crate::rules::{Accepts, ISOLATED, NETWORKS};

pub(super) const GUARD: &str = "PLUMB-GUARD";

/// Where rules of a kind are, and what leads there.
pub(super) struct Hub {
    pub(super) table: &'static str,
    pub(super) chain: &'static str,
    /// The chain with the jump.
    from: &'static str,
}

pub(super) const HUBS: [Hub; 5] = [
    Hub {
        table: "nat",
        chain: "PLUMB-POSTROUTING",
        from: "POSTROUTING",
    },
    Hub {
        table: "nat",
        chain: "PLUMB-PREROUTING",
        from: "PREROUTING",
    },
    Hub {
        table: "mangle",
        chain: "PLUMB-MSS",
        from: "FORWARD",
    },
    Hub {
        table: "raw",
        chain: "PLUMB-NOTRACK",
        from: "PREROUTING",
    },
    // What is dropped comes before what is let through.
    Hub {
        table: "filter",
        chain: GUARD,
        from: CHAIN,
    },
];

/// Makes a hub, and what leads to it.
pub(super) fn ensure_hub(saved: &mut Saved, table: &str, chain: &str) {
    saved.ensure_chain(table, chain);
    for hub in HUBS.iter().filter(|hub| hub.chain == chain) {
        let jump = format!("{} -j {chain}", commented(JUMP));
        if hub.from == CHAIN {
            lead_to_ours(saved);
        }
        saved.ensure_rule(hub.table, hub.from, &jump, Place::First);
    }
}

/// Makes our chain, and the jump to it from where the host looks first.
fn lead_to_ours(saved: &mut Saved) {
    saved.ensure_chain("filter", CHAIN);
    let docker = saved
        .rules("filter", "FORWARD")
        .iter()
        .any(|rule| target(rule) == Some(DOCKER_USER));
    let from = if docker { DOCKER_USER } else { "FORWARD" };
    let jump = format!("{} -j {CHAIN}", commented(JUMP));
    saved.ensure_rule("filter", from, &jump, Place::First);
}

/// Whether the host drops or refuses what it does not know.
fn stops(saved: &Saved) -> bool {
    saved.chain("filter", "FORWARD").is_some_and(|forward| {
        let last = forward.rules.last().map(String::as_str).unwrap_or_default();
        forward.policy == "DROP" || last.starts_with("-j DROP") || last.starts_with("-j REJECT")
    })
}

pub(super) fn let_through(saved: &mut Saved, accepts: &Accepts) -> Result<(), Error> {
    if accepts.admin.make != Make::Always && !stops(saved) {
        return Ok(());
    }
    let name = accepts.admin.name.as_str();
    lead_to_ours(saved);
    if saved.chain("filter", name).is_some() || accepts.admin.make != Make::Never {
        saved.ensure_chain("filter", name);
        let jump = format!("{} -j {name}", commented(JUMP));
        if !saved.rules("filter", CHAIN).contains(&jump) {
            // Behind the guard, before what is let through.
            let guarded = format!("{} -j {GUARD}", commented(JUMP));
            let guard = saved.rules("filter", CHAIN).contains(&guarded);
            saved.delete_rules("filter", CHAIN, |rule| guard && rule == guarded);
            saved.ensure_rule("filter", CHAIN, &jump, Place::First);
            if guard {
                saved.ensure_rule("filter", CHAIN, &guarded, Place::First);
            }
        }
    }
    let sign = commented(&accepts.comment);
    for rule in &accepts.rules {
        let words = Words::of(rule, regular)?;
        let text = format!("{}{sign} {}", words.matches(), words.action);
        saved.ensure_rule("filter", CHAIN, &text, Place::Last);
    }
    Ok(())
}

/// Removes hubs that nothing is in any more.
pub(super) fn sweep(saved: &mut Saved) {
    let leads_to = |chain: &str, rule: &str| target(rule) == Some(chain);
    for name in [ISOLATED, NETWORKS].map(regular) {
        if saved.rules("filter", &name).is_empty() {
            saved.delete_chain("filter", &name);
        }
    }
    for hub in &HUBS {
        if saved.chain(hub.table, hub.chain).is_some()
            && saved.rules(hub.table, hub.chain).is_empty()
        {
            saved.delete_rules(hub.table, hub.from, |rule| leads_to(hub.chain, rule));
            saved.delete_chain(hub.table, hub.chain);
        }
    }
    let ours = saved.rules("filter", CHAIN);
    let jumps: Vec<String> = ours
        .iter()
        .filter(|rule| comment(rule).as_deref() == Some(JUMP))
        .filter_map(|rule| target(rule).map(str::to_owned))
        .collect();
    let only_admin = jumps.len() == ours.len() && !jumps.iter().any(|name| name == GUARD);
    if saved.chain("filter", CHAIN).is_none() || !only_admin {
        return;
    }
    for from in ["FORWARD", DOCKER_USER] {
        saved.delete_rules("filter", from, |rule| leads_to(CHAIN, rule));
    }
    saved.delete_chain("filter", CHAIN);
    for admin in jumps {
        let used = saved
            .chains("filter")
            .iter()
            .any(|chain| chain.rules.iter().any(|rule| leads_to(&admin, rule)));
        if !used && saved.rules("filter", &admin).is_empty() {
            saved.delete_chain("filter", &admin);
        }
    }
}
