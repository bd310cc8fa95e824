//! What is to be in the kernel for one attachment: a function of the configuration and the addresses.
//!
//! Attachments of a network that share subnet and settings share a *group*: one set of addresses and a few
//! rules. A group never changes; other settings make another group, whose name has their hash. So the kernel
//! does the same work for the thousandth container as for the second, and a group that exists is right.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_common::addr::{Cidr, Family};
use cni_common::ident::{IfName, NetworkName};
use cni_common::nft::{
    BaseChain, ChainKind, Hook, Is, KeyKind, Place, Set, Statement, Table, TableFamily,
};
use cni_common::owner::{hash, short};

use crate::config::{Config, Forward, Ingress, Mss};

/// Source NAT.
pub const POSTROUTING: BaseChain = BaseChain {
    name: "postrouting",
    kind: ChainKind::Nat,
    hook: Hook::Postrouting,
    priority: 100,
};

/// The stateful guard.
pub const FORWARD: BaseChain = BaseChain {
    name: "forward",
    kind: ChainKind::Filter,
    hook: Hook::Forward,
    priority: 0,
};

/// What connection tracking is not to see.
pub const PREROUTING: BaseChain = BaseChain {
    name: "prerouting",
    kind: ChainKind::Filter,
    hook: Hook::Prerouting,
    priority: -300,
};

/// Which networks no other isolated network reaches.
pub const ISOLATED: &str = "isolated";

/// The table of this plugin.
pub fn table() -> Table {
    Table::new(TableFamily::Inet, "plumb")
}

/// The table of iptables-nft or ip6tables-nft that has the chain FORWARD.
pub fn filter(family: Family) -> Table {
    Table::new(TableFamily::Ip(family), "filter")
}

/// How packets of the network are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// By the host's interface to the network.
    Interface(IfName),
    /// By their addresses: the host has no such interface.
    Addresses,
}

/// A chain of the plugin's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Hooked in by itself.
    Base(BaseChain),
    /// Reached by a jump.
    Regular(&'static str),
}

impl Chain {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Base(chain) => chain.name,
            Self::Regular(name) => name,
        }
    }
}

/// A rule with the chain it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The chain.
    pub chain: Chain,
    /// What it says.
    pub statements: Vec<Statement>,
}

/// What the attachments share that have the same network, subnet and settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The set of their addresses; its name is the comment of the rules.
    pub set: Set,
    /// The rules.
    pub rules: Vec<Rule>,
    /// The addresses of this attachment that belong in it.
    pub addresses: Vec<IpAddr>,
}

/// The two rules that let a network's packets pass where iptables drops what it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// Whose FORWARD chain.
    pub family: Family,
    /// The rules without their comment.
    pub rules: Vec<Vec<Statement>>,
    /// Their comment.
    pub comment: String,
}

/// Everything one attachment needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One group for each subnet the attachment has an address in.
    pub groups: Vec<Group>,
    /// For each family in use.
    pub accepts: Vec<Accepts>,
}

impl Plan {
    /// The families the attachment has addresses of.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        self.accepts.iter().map(|accepts| accepts.family)
    }
}

/// The plan for an attachment with these addresses, which carry the prefix length of their subnet.
pub fn plan(network: &NetworkName, config: &Config, inside: &Inside, addresses: &[Cidr]) -> Plan {
    let mut subnets: Vec<Subnet> = addresses.iter().copied().map(Subnet::of).collect();
    subnets.sort();
    subnets.dedup();
    let groups = subnets
        .iter()
        .map(|subnet| {
            let mut members: Vec<IpAddr> = addresses
                .iter()
                .filter(|address| Subnet::of(**address) == *subnet)
                .map(|address| address.address())
                .collect();
            members.sort();
            members.dedup();
            group(network, config, inside, *subnet, members)
        })
        .collect();
    let accepts = [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| {
            let mut own: Vec<Cidr> = addresses.iter().map(|address| address.network()).collect();
            own.retain(|subnet| subnet.family() == family);
            (!own.is_empty()).then(|| accepts(network, config, inside, family, own))
        })
        .collect();
    Plan { groups, accepts }
}

/// The subnet an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subnet {
    Of(Cidr),
    /// A /32 or /128: it is alone, and all such addresses of a network share a group.
    None(Family),
}

impl Subnet {
    fn of(address: Cidr) -> Self {
        if address.prefix() == address.family().bits() {
            Self::None(address.family())
        } else {
            Self::Of(address.network())
        }
    }

    fn family(self) -> Family {
        match self {
            Self::Of(subnet) => subnet.family(),
            Self::None(family) => family,
        }
    }

    /// What stands for it in a rule.
    fn place(self, set: &str) -> Place {
        match self {
            Self::Of(subnet) => Place::Net(subnet),
            Self::None(family) => Place::Set(family, set.to_owned()),
        }
    }
}

impl core::fmt::Display for Subnet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Of(subnet) => write!(f, "subnet {subnet}"),
            Self::None(family) => write!(f, "single {family} addresses"),
        }
    }
}

/// The multicast addresses of a family (RFC 5771, RFC 4291 section 2.7): never translated.
fn multicast(family: Family) -> Option<Cidr> {
    match family {
        Family::V4 => Cidr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
        Family::V6 => Cidr::new(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
    }
}

/// The part of a group's name that all groups of the network have, and those of no other.
fn network_mark(network: &NetworkName) -> String {
    short(hash([network.as_str()]))
}

/// Whether a set of our table belongs to the network.
pub fn is_of_network(set: &str, network: &NetworkName) -> bool {
    let mut parts = set.rsplitn(3, '-');
    parts.next().is_some() && parts.next() == Some(&network_mark(network))
}

/// What the rules in iptables' chains carry: the network, whole or cut, and its mark.
pub fn accepts_comment(network: &NetworkName) -> String {
    let name: String = network.as_str().chars().take(200).collect();
    format!("plumb {} {name}", network_mark(network))
}

/// `net-NAME-NETWORK-SETTINGS`: the name for people, possibly cut, and two hashes.
fn group_name(network: &NetworkName, subnet: Subnet, rules: &[Rule]) -> String {
    // The rules say all that the settings come to.
    let mut words = match subnet {
        Subnet::Of(subnet) => vec![subnet.to_string()],
        Subnet::None(family) => vec![family.to_string()],
    };
    words.extend(rules.iter().map(|rule| {
        let line = cni_common::nft::line(&rule.statements);
        format!("{} {line}", rule.chain.name())
    }));
    let settings = short(hash(words.iter().map(String::as_str)));
    let name: String = network.as_str().chars().take(32).collect();
    format!("net-{name}-{}-{settings}", network_mark(network))
}

fn group(
    network: &NetworkName,
    config: &Config,
    inside: &Inside,
    subnet: Subnet,
    addresses: Vec<IpAddr>,
) -> Group {
    let family = subnet.family();
    // The name of the set is made from the rules, which name the set: here they name it by nothing.
    let unnamed = rules(config, inside, subnet, "");
    let name = group_name(network, subnet, &unnamed);
    let shown: String = network.as_str().chars().take(150).collect();
    Group {
        rules: rules(config, inside, subnet, &name),
        set: Set {
            table: table(),
            name,
            keys: KeyKind::Address(family),
            comment: format!("network {shown}, {subnet}"),
        },
        addresses,
    }
}

fn rules(config: &Config, inside: &Inside, subnet: Subnet, set: &str) -> Vec<Rule> {
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
        Some(address) => Statement::Snat(address),
        None => Statement::Masquerade,
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

fn accepts(
    network: &NetworkName,
    config: &Config,
    inside: &Inside,
    family: Family,
    subnets: Vec<Cidr>,
) -> Accepts {
    let mut rules = Vec::new();
    let mut pair = |to: Statement, from: Statement| {
        rules.push(vec![
            to,
            Statement::XtEstablished,
            Statement::Counter,
            Statement::Accept,
        ]);
        rules.push(vec![from, Statement::Counter, Statement::Accept]);
    };
    match inside {
        Inside::Interface(inside) => {
            let name = inside.as_str();
            pair(
                Statement::OutInterface(Is::Equal, name.to_owned()),
                Statement::InInterface(Is::Equal, name.to_owned()),
            );
        }
        Inside::Addresses => {
            let mut networks = subnets;
            networks.extend(config.sources(family));
            networks.sort();
            networks.dedup();
            for network in networks {
                pair(
                    Statement::Destination(Is::Equal, Place::Net(network)),
                    Statement::Source(Is::Equal, Place::Net(network)),
                );
            }
        }
    }
    Accepts {
        family,
        rules,
        comment: accepts_comment(network),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
