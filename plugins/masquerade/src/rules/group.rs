//! What the rules of a group say.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_common::addr::{Cidr, Family};
use cni_common::ident::IfName;
use cni_common::nft::{BaseChain, Is, Place, Statement, Where, exact};

use super::{Chain, Inside, PREROUTING, Rule, Subnet, forward, translation};
use crate::config::Config;

/// The multicast addresses of a family (RFC 5771, RFC 4291 section 2.7): never translated.
pub(super) fn multicast(family: Family) -> Option<Cidr> {
    match family {
        Family::V4 => Cidr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
        Family::V6 => Cidr::new(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    }
}

/// What a group is about, and its rules so far.
pub(super) struct Group<'a> {
    pub(super) config: &'a Config,
    pub(super) inside: &'a Inside,
    pub(super) subnet: Subnet,
    pub(super) family: Family,
    /// The attachments' own addresses.
    pub(super) containers: Place,
    /// The networks behind them.
    pub(super) sources: Vec<Place>,
    /// Everything that is the network: what goes from one to another of these stays within.
    pub(super) within: Vec<Place>,
    rules: Vec<Rule>,
}

impl Group<'_> {
    /// A rule that comes before those of older groups: the newest settings win.
    pub(super) fn first(&mut self, chain: BaseChain, statements: Vec<Statement>) {
        self.push(Chain::Base(chain), statements, Where::First);
    }

    /// A rule that comes after those of all groups.
    pub(super) fn last(&mut self, chain: BaseChain, statements: Vec<Statement>) {
        self.push(Chain::Base(chain), statements, Where::Last);
    }

    /// A rule in a chain that is jumped to.
    pub(super) fn in_chain(&mut self, chain: &'static str, statements: Vec<Statement>) {
        self.push(Chain::Regular(chain), statements, Where::Last);
    }

    fn push(&mut self, chain: Chain, statements: Vec<Statement>, place: Where) {
        self.rules.push(Rule {
            chain,
            statements,
            place,
        });
    }

    /// The attachments' own addresses, then the networks behind them.
    pub(super) fn translated(&self) -> Vec<Place> {
        let own = core::iter::once(&self.containers);
        own.chain(&self.sources).cloned().collect()
    }

    /// The host's interface to the network.
    pub(super) fn interface(&self) -> Option<IfName> {
        match self.inside {
            Inside::Interface(name) => Some(name.clone()),
            Inside::Addresses => None,
        }
    }
}

/// A match of the interface a packet came in by.
pub(super) fn iif(is: Is, name: &IfName) -> Statement {
    Statement::InInterface(is, exact(name.as_str()))
}

/// A match of the interface a packet leaves by.
pub(super) fn oif(is: Is, name: &IfName) -> Statement {
    Statement::OutInterface(is, exact(name.as_str()))
}

/// The rules of a group for a subnet, whose addresses are in the set.
pub(super) fn rules(config: &Config, inside: &Inside, subnet: Subnet, set: &str) -> Vec<Rule> {
    let family = subnet.family();
    let sources: Vec<Place> = config.sources(family).map(Place::Net).collect();
    let mut within = sources.clone();
    within.retain(|source| *source != subnet.place(set));
    within.insert(0, subnet.place(set));
    let mut group = Group {
        config,
        inside,
        subnet,
        family,
        containers: Place::Set(family, set.to_owned()),
        sources,
        within,
        rules: Vec::new(),
    };
    translation::add(&mut group);
    forward::add(&mut group);
    if let Some(inside) = group.interface() {
        for source in group.sources.clone() {
            for end in [
                Statement::Source(Is::Equal, source.clone()),
                Statement::Destination(Is::Equal, source.clone()),
            ] {
                group.first(PREROUTING, untracked(&inside, end));
            }
        }
    }
    group.rules
}

/// With bridge-nf-call-iptables, frames between routers behind the containers pass connection tracking on
/// bridges of this host too. Tracked there, a connection would count as known, and untranslated, when it
/// reaches the host on its way out. Such a frame comes in by a bridge by which its source is not reached.
fn untracked(inside: &IfName, end: Statement) -> Vec<Statement> {
    vec![
        iif(Is::Not, inside),
        Statement::InKind(Is::Equal, "bridge".to_owned()),
        end,
        Statement::NoRouteBack,
        Statement::Notrack,
    ]
}
