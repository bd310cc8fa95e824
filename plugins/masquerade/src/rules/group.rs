//! What the rules of a group say.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_common::addr::{Cidr, Family};
use cni_common::ident::IfName;
use cni_common::nft::{BaseChain, Is, NatFlags, NatTo, Place, Statement};

use super::{Chain, FORWARD, ISOLATED, Inside, POSTROUTING, PREROUTING, Rule, Subnet};
use crate::config::{Config, Forward, Ingress, Mss};

/// The multicast addresses of a family (RFC 5771, RFC 4291 section 2.7): never translated.
fn multicast(family: Family) -> Option<Cidr> {
    match family {
        Family::V4 => Cidr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
        Family::V6 => Cidr::new(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    }
}

/// The rules of a group for a subnet, whose addresses are in the set.
pub(super) fn rules(config: &Config, inside: &Inside, subnet: Subnet, set: &str) -> Vec<Rule> {
    let family = subnet.family();
    let sources: Vec<Place> = config.sources(family).map(Place::Net).collect();
    // Everything that is the network: what goes from one to another of these stays within.
    let mut within = sources.clone();
    within.retain(|source| *source != subnet.place(set));
    within.insert(0, subnet.place(set));
    let mut rules = Vec::new();
    let mut rule = |chain: BaseChain, statements: Vec<Statement>| {
        rules.push(Rule {
            chain: Chain::Base(chain),
            statements,
        });
    };
    let containers = Place::Set(family, set.to_owned());
    let translated = core::iter::once(&containers).chain(&sources);
    for source in translated.filter(|_| config.masquerade) {
        rule(
            POSTROUTING,
            translation(config, inside, family, &within, source),
        );
    }
    if let Some(size) = config.clamp_mss {
        for place in core::iter::once(&containers).chain(&sources) {
            rule(
                FORWARD,
                clamp(size, Statement::Source(Is::Equal, place.clone())),
            );
            rule(
                FORWARD,
                clamp(size, Statement::Destination(Is::Equal, place.clone())),
            );
        }
    }
    if config.forward == Forward::Stateful {
        for destination in &within {
            rule(FORWARD, guard(inside, &within, destination));
        }
    }
    if let Inside::Interface(inside) = inside {
        for source in &sources {
            for end in [
                Statement::Source(Is::Equal, source.clone()),
                Statement::Destination(Is::Equal, source.clone()),
            ] {
                rule(PREROUTING, untracked(inside, end));
            }
        }
        rules.extend(isolation(config.ingress, inside));
    }
    rules
}

/// What leaves one isolated network for another is dropped in the chain that all of them jump to and each has a rule
/// in; and, where asked for, what stays on the interface of the network.
fn isolation(ingress: Ingress, inside: &IfName) -> Vec<Rule> {
    let name = || inside.as_str().to_owned();
    let away = Rule {
        chain: Chain::Base(FORWARD),
        statements: vec![
            Statement::InInterface(Is::Equal, name()),
            Statement::OutInterface(Is::Not, name()),
            Statement::Jump(ISOLATED.to_owned()),
        ],
    };
    let towards = Rule {
        chain: Chain::Regular(ISOLATED),
        statements: vec![Statement::OutInterface(Is::Equal, name()), Statement::Drop],
    };
    let among = Rule {
        chain: Chain::Base(FORWARD),
        statements: vec![
            Statement::InInterface(Is::Equal, name()),
            Statement::OutInterface(Is::Equal, name()),
            Statement::Drop,
        ],
    };
    match ingress {
        Ingress::Open => Vec::new(),
        Ingress::SameBridge => vec![away, towards],
        Ingress::Isolated => vec![away, towards, among],
    }
}

/// What leaves the network gets another source. A frame that is only bridged leaves by the interface of the
/// network and keeps its own.
fn translation(
    config: &Config,
    inside: &Inside,
    family: Family,
    within: &[Place],
    source: &Place,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    match (&config.out_interface, inside) {
        (Some(out), _) => {
            statements.push(Statement::OutInterface(Is::Equal, out.as_str().to_owned()));
        }
        (None, Inside::Interface(inside)) => {
            statements.push(Statement::OutInterface(Is::Not, inside.as_str().to_owned()));
        }
        (None, Inside::Addresses) => {}
    }
    statements.push(Statement::Source(Is::Equal, source.clone()));
    let others = multicast(family).into_iter().chain(config.excluded(family));
    for destination in within.iter().cloned().chain(others.map(Place::Net)) {
        statements.push(Statement::Destination(Is::Not, destination));
    }
    statements.push(match config.to_source(family) {
        Some(address) => Statement::Snat(NatTo::Address(address), NatFlags::default()),
        None => Statement::Masquerade(NatFlags::default()),
    });
    statements
}

/// Both ends of a connection announce how large a segment they take.
fn clamp(size: Mss, end: Statement) -> Vec<Statement> {
    let bytes = match size {
        Mss::OfRoute => None,
        Mss::Bytes(bytes) => Some(bytes),
    };
    vec![end, Statement::TcpSyn, Statement::ClampMss(bytes)]
}

/// What comes from outside is dropped unless the network began it. Bridged frames have the same interface on
/// both sides, and packets within the network come from it.
fn guard(inside: &Inside, within: &[Place], destination: &Place) -> Vec<Statement> {
    let mut statements = Vec::new();
    match inside {
        Inside::Interface(inside) => {
            let name = inside.as_str();
            statements.push(Statement::InInterface(Is::Not, name.to_owned()));
            statements.push(Statement::OutInterface(Is::Equal, name.to_owned()));
        }
        Inside::Addresses => {
            let places = within.iter().cloned();
            statements.extend(places.map(|place| Statement::Source(Is::Not, place)));
        }
    }
    statements.push(Statement::Destination(Is::Equal, destination.clone()));
    statements.push(Statement::Established(Is::Not));
    statements.push(Statement::Drop);
    statements
}

/// With bridge-nf-call-iptables, frames between routers behind the containers pass connection tracking on
/// bridges of this host too. Tracked there, a connection would count as known, and untranslated, when it
/// reaches the host on its way out. Such a frame comes in by a bridge by which its source is not reached.
fn untracked(inside: &IfName, end: Statement) -> Vec<Statement> {
    vec![
        Statement::InInterface(Is::Not, inside.as_str().to_owned()),
        Statement::InKind(Is::Equal, "bridge".to_owned()),
        end,
        Statement::NoRouteBack,
        Statement::Notrack,
    ]
}
