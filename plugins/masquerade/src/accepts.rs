//! Letting a network pass where iptables stops what it does not know.
//!
//! That is not to be had from a table of our own: a packet has to be accepted by every chain of the hook. So rules of
//! iptables' own shape stand in a chain of ours in its table `filter`, and one jump leads there from where such a host
//! looks first: Docker's chain for others, or the head of FORWARD. The administrator's chain comes before all of them.

use cni_common::netlink;
use cni_common::nft::{
    BaseChain, Batch, ChainKind, FoundChain, FoundRule, Hook, Nft, Statement, Table, Where, line,
};

use crate::config::Make;
use crate::rules::{Accepts, filter};

/// Our chain in iptables' table `filter`.
pub(crate) const CHAIN: &str = "PLUMB-FORWARD";
/// Where Docker asks others to put their rules.
pub(crate) const DOCKER_USER: &str = "DOCKER-USER";
/// The comment of the jump to our chain.
pub(crate) const JUMP: &str = "plumb: networks of containers";
/// The comment of the jump to the administrator's chain.
const ADMIN_JUMP: &str = "plumb: the administrator's exceptions";

/// iptables' chain for what the host forwards.
const FORWARD: BaseChain = BaseChain {
    name: "FORWARD",
    kind: ChainKind::Filter,
    hook: Hook::Forward,
    priority: 0,
};

/// What is not there of what a family needs.
#[derive(Debug)]
pub(crate) struct Gap<'a> {
    accepts: &'a Accepts,
    /// iptables has not been used yet.
    forward: bool,
    /// The chain that has no jump to ours.
    jump_from: Option<&'static str>,
    /// Our chain.
    chain: bool,
    /// The administrator's chain.
    admin: Option<&'a str>,
    /// The jump to it.
    admin_jump: Option<&'a str>,
    rules: Vec<&'a [Statement]>,
}

impl<'a> Gap<'a> {
    /// Looks for it; `None` when nothing is missing, or nothing is needed.
    pub(crate) fn find(
        nft: &mut Nft,
        accepts: &'a Accepts,
    ) -> Result<Option<Self>, netlink::Error> {
        let table = filter(accepts.family);
        let forward = nft.chain(&table, FORWARD.name)?;
        let needed = match &forward {
            None => accepts.admin.make == Make::Always,
            Some(chain) => {
                accepts.admin.make != Make::Never || stops(nft, &table, chain, FORWARD.name)?
            }
        };
        if !needed {
            return Ok(None);
        }
        let from = place(nft, &table)?;
        let leads_on = |rule: &FoundRule| is_jump(rule, CHAIN);
        let jump = forward.is_some() && nft.rules(&table, Some(from))?.iter().any(leads_on);
        let chain = jump || nft.chain(&table, CHAIN)?.is_some();
        let found = if chain {
            nft.rules(&table, Some(CHAIN))?
        } else {
            Vec::new()
        };
        let name = accepts.admin.name.as_str();
        let admin = nft.chain(&table, name)?.is_some();
        let consulted = admin || accepts.admin.make != Make::Never;
        let first = found.first().is_some_and(|rule| is_jump(rule, name));
        let is_there = |wanted: &[Statement]| {
            let mut found = found.iter();
            found.any(|found| is_same(found, wanted, &accepts.comment))
        };
        let gap = Self {
            forward: forward.is_none(),
            jump_from: (!jump).then_some(from),
            chain: !chain,
            admin: (consulted && !admin).then_some(name),
            admin_jump: (consulted && !first).then_some(name),
            rules: accepts
                .rules
                .iter()
                .map(Vec::as_slice)
                .filter(|wanted| !is_there(wanted))
                .collect(),
            accepts,
        };
        Ok((!gap.is_nothing()).then_some(gap))
    }

    fn is_nothing(&self) -> bool {
        self.jump_from.is_none() && self.admin_jump.is_none() && self.rules.is_empty()
    }

    pub(crate) fn fill(&self, batch: &mut Batch) {
        let table = filter(self.accepts.family);
        if self.forward {
            batch.ensure_table(&table, "");
            batch.ensure_chain(&table, &FORWARD);
        }
        if self.chain {
            batch.ensure_regular_chain(&table, CHAIN);
        }
        if let Some(admin) = self.admin {
            batch.ensure_regular_chain(&table, admin);
        }
        if let Some(admin) = self.admin_jump {
            let jump = jump(admin);
            batch.add_rule(&table, CHAIN, Where::First, &jump, Some(ADMIN_JUMP));
        }
        for rule in &self.rules {
            let comment = Some(self.accepts.comment.as_str());
            batch.add_rule(&table, CHAIN, Where::Last, rule, comment);
        }
        if let Some(from) = self.jump_from {
            let jump = jump(CHAIN);
            batch.add_rule(&table, from, Where::First, &jump, Some(JUMP));
        }
    }

    /// What is missing, for people.
    pub(crate) fn describe(&self, drift: &mut Vec<String>) {
        let table = filter(self.accepts.family);
        if let Some(from) = self.jump_from {
            drift.push(format!("{table} {from}: the jump to {CHAIN} is missing"));
        }
        if let Some(admin) = self.admin_jump {
            drift.push(format!(
                "{table} {CHAIN}: the jump to {admin} is not the first rule"
            ));
        }
        for rule in &self.rules {
            let wanted = line(rule);
            drift.push(format!("{table} {CHAIN}: rule {wanted:?} is missing"));
        }
    }
}

/// Takes a network's rules away, and with the last network the chain and what leads to it; whether there was any.
pub(crate) fn remove(
    nft: &mut Nft,
    batch: &mut Batch,
    table: &Table,
    comment: &str,
) -> Result<bool, netlink::Error> {
    let mut some = false;
    let is_ours = |rule: &FoundRule| rule.comment.as_deref() == Some(comment);
    // Earlier releases put the rules into these chains themselves.
    let mut jumps = Vec::new();
    for from in [FORWARD.name, DOCKER_USER] {
        for rule in nft.rules(table, Some(from))? {
            if is_ours(&rule) {
                batch.delete_rule(table, from, rule.handle);
                some = true;
            } else if is_jump(&rule, CHAIN) {
                jumps.push((from, rule.handle));
            }
        }
    }
    let found = nft.rules(table, Some(CHAIN))?;
    let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_ours);
    if ours.is_empty() {
        return Ok(some);
    }
    for rule in &ours {
        batch.delete_rule(table, CHAIN, rule.handle);
    }
    let is_admin_jump = |rule: &FoundRule| rule.comment.as_deref() == Some(ADMIN_JUMP);
    if !others.iter().all(is_admin_jump) {
        return Ok(true);
    }
    for (from, handle) in jumps {
        batch.delete_rule(table, from, handle);
    }
    for rule in &others {
        batch.delete_rule(table, CHAIN, rule.handle);
    }
    batch.delete_chain(table, CHAIN);
    for admin in others.iter().filter_map(jumps_to) {
        // One that holds exceptions, or that others lead to as well, stays.
        if nft
            .chain(table, admin)?
            .is_some_and(|chain| chain.uses == 1)
        {
            batch.delete_chain(table, admin);
        }
    }
    Ok(true)
}

/// Whether a rule found is the one meant: iptables-restore turns a comment into a match.
pub(crate) fn is_same(found: &FoundRule, wanted: &[Statement], comment: &str) -> bool {
    let said = found.statements.as_ref().is_some_and(|statements| {
        statements
            .iter()
            .filter(|statement| !matches!(statement, Statement::XtComment(_)))
            .eq(wanted)
    });
    said && found.comment.as_deref() == Some(comment)
}

/// Whether the chain drops or refuses what no rule of it knows: by its policy or by its last rule.
fn stops(
    nft: &mut Nft,
    table: &Table,
    chain: &FoundChain,
    name: &str,
) -> Result<bool, netlink::Error> {
    if chain.drops || chain.uses == 0 {
        return Ok(chain.drops);
    }
    let rules = nft.rules(table, Some(name))?;
    Ok(rules.last().is_some_and(|rule| rule.stops_all))
}

/// The chain in which the host looks first: Docker's for others, if it is in use.
fn place(nft: &mut Nft, table: &Table) -> Result<&'static str, netlink::Error> {
    if let Some(user) = nft.chain(table, DOCKER_USER)? {
        let rules = nft.rules(table, Some(DOCKER_USER))?.len();
        // What uses the chain beyond its own rules are jumps to it.
        if usize::try_from(user.uses).is_ok_and(|uses| uses > rules) {
            return Ok(DOCKER_USER);
        }
    }
    Ok(FORWARD.name)
}

fn jump(chain: &str) -> [Statement; 2] {
    [Statement::Counter, Statement::Jump(chain.to_owned())]
}

/// Where a rule leads that does nothing but lead there.
fn jumps_to(rule: &FoundRule) -> Option<&str> {
    let beside =
        |statement: &&Statement| !matches!(statement, Statement::Counter | Statement::XtComment(_));
    let mut says = rule.statements.iter().flatten().filter(beside);
    match (says.next(), says.next()) {
        (Some(Statement::Jump(chain)), None) => Some(chain),
        _ => None,
    }
}

fn is_jump(rule: &FoundRule, chain: &str) -> bool {
    jumps_to(rule) == Some(chain)
}
