//! What is to be in the kernel for one attachment: a function of the configuration and the addresses.
//!
//! Attachments of a network that share subnet and settings share a *group*: one set of addresses and a few
//! rules. A group never changes; other settings make another group, whose name has their hash. So the kernel
//! does the same work for the thousandth container as for the second, and a group that exists is right.

mod accepts;
mod forward;
mod group;
mod translation;

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::ident::{IfName, NetworkName};
use cni_common::nft::{
    BaseChain, ChainKind, Hook, KeyKind, Place, Set, Statement, Table, TableFamily, Where,
};
use cni_common::owner::{hash, short};

pub use self::accepts::Accepts;
use self::group::rules;
use crate::config::Config;
use crate::publish::{self, Published};

/// Source NAT.
pub const POSTROUTING: BaseChain = BaseChain {
    name: "postrouting",
    kind: ChainKind::Nat,
    hook: Hook::Postrouting,
    priority: 100,
};

/// What packets are made to say, and what is counted.
pub const MANGLE: BaseChain = BaseChain {
    name: "mangle",
    kind: ChainKind::Filter,
    hook: Hook::Forward,
    priority: -150,
};

/// Destination NAT of what comes from outside.
pub const DSTNAT: BaseChain = BaseChain {
    name: "dstnat",
    kind: ChainKind::Nat,
    hook: Hook::Prerouting,
    priority: -100,
};

/// Destination NAT of what the host's own processes send.
pub const OUTPUT: BaseChain = BaseChain {
    name: "output",
    kind: ChainKind::Nat,
    hook: Hook::Output,
    priority: -100,
};

/// What may pass.
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

/// Which networks no other network with an `ingressPolicy` reaches.
pub const ISOLATED: &str = "isolated";

/// All networks: those that a network with `"forward": "isolated"` does not reach.
pub const NETWORKS: &str = "networks";

/// The comment of rules that belong to no group.
pub const SHARED: &str = "published ports";

/// The comment of the table.
pub const TABLE_COMMENT: &str = "made by the CNI plugin masquerade";

/// Whether a set of our table belongs to no network.
pub fn is_shared(set: &str) -> bool {
    set.starts_with("published-")
}

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
    /// Whether it comes before the rules of older groups or after them.
    pub place: Where,
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

impl Group {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        if self.set.keys == KeyKind::Address(Family::V6) {
            Family::V6
        } else {
            Family::V4
        }
    }
}

/// Everything one attachment needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One group for each subnet the attachment has an address in.
    pub groups: Vec<Group>,
    /// For each family in use.
    pub accepts: Vec<Accepts>,
    /// How packets of the network are told.
    pub inside: Inside,
    /// What is published.
    pub published: Vec<Published>,
    /// The networks behind it, of the families it has addresses of.
    pub behind: Vec<Cidr>,
}

impl Plan {
    /// The addresses of the attachment.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let groups = self.groups.iter();
        groups.flat_map(|group| group.addresses.clone()).collect()
    }

    /// The host's interface to the network, if the host's own 127.0.0.0/8 is to lead to ports published behind it.
    pub fn localhost(&self) -> Option<&IfName> {
        let mut published = self.published.iter();
        match &self.inside {
            Inside::Interface(name) if published.any(Published::is_v4) => Some(name),
            Inside::Interface(_) | Inside::Addresses => None,
        }
    }

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
    let accepts: Vec<Accepts> = [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| {
            let mut own: Vec<Cidr> = addresses.iter().map(|address| address.network()).collect();
            own.retain(|subnet| subnet.family() == family);
            (!own.is_empty()).then(|| accepts::of(network, config, inside, family, own))
        })
        .collect();
    let families = accepts.iter().map(|accepts: &Accepts| accepts.family);
    Plan {
        groups,
        behind: families.flat_map(|family| config.sources(family)).collect(),
        accepts,
        inside: inside.clone(),
        published: publish::wanted(config, addresses),
    }
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

/// The part of a group's name that all groups of the network have, and those of no other.
pub(crate) fn network_mark(network: &NetworkName) -> String {
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
            data: None,
            counter: config.counters,
            comment: format!("network {shown}, {subnet}"),
        },
        addresses,
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
