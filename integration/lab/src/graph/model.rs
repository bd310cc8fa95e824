//! A picture made ready: complete, ranked by distance, ordered.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{Attachment, Kind, Network, Node, Picture, address};

/// A picture in which every name is known, in an order that depends on nothing but its content.
///
/// Nodes have even ranks and networks odd ones: the rank is the number of steps from the nearest root, so an
/// attachment always joins neighbouring ranks. What nothing is attached to has no rank.
pub(super) struct Model {
    pub(super) title: String,
    pub(super) nodes: Vec<Ranked<Node>>,
    pub(super) networks: Vec<Ranked<Network>>,
    /// In the order of the networks, then of the nodes.
    pub(super) attachments: Vec<Attachment>,
    pub(super) groups: Vec<super::Group>,
}

/// A node or network with its distance from the nearest root.
pub(super) struct Ranked<T> {
    pub(super) rank: Option<usize>,
    pub(super) is: T,
}

/// Node names and network names, which may coincide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Node(&'a str),
    Network(&'a str),
}

type Ranks<'a> = BTreeMap<Key<'a>, usize>;

impl Model {
    /// Completes, ranks and orders a picture.
    pub(super) fn of(picture: &Picture) -> Self {
        let nodes = complete_nodes(picture);
        let networks = complete_networks(picture);
        let ranks = rank(&nodes, &picture.attachments);
        let mut nodes: Vec<Ranked<Node>> = nodes
            .values()
            .map(|node| Ranked {
                rank: ranks.get(&Key::Node(&node.name)).copied(),
                is: node.clone(),
            })
            .collect();
        nodes.sort_by(|a, b| {
            by_rank(a.rank, b.rank)
                .then(a.is.kind.cmp(&b.is.kind))
                .then_with(|| natural(&a.is.name, &b.is.name))
        });
        let mut networks: Vec<Ranked<Network>> = networks
            .values()
            .map(|network| Ranked {
                rank: ranks.get(&Key::Network(&network.name)).copied(),
                is: network.clone(),
            })
            .collect();
        networks
            .sort_by(|a, b| by_rank(a.rank, b.rank).then_with(|| natural(&a.is.name, &b.is.name)));
        let attachments = ordered_attachments(picture, &nodes, &networks);
        let groups = ordered_groups(picture, &nodes);
        Self {
            title: picture.title.clone(),
            nodes,
            networks,
            attachments,
            groups,
        }
    }

    /// The attachments of a node.
    pub(super) fn of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Attachment> {
        self.attachments.iter().filter(move |a| a.node == node)
    }

    /// The attachments of a network.
    pub(super) fn of_network<'a>(
        &'a self,
        network: &'a str,
    ) -> impl Iterator<Item = &'a Attachment> {
        self.attachments
            .iter()
            .filter(move |a| a.network == network)
    }

    /// The network of that name.
    pub(super) fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().map(|n| &n.is).find(|n| n.name == name)
    }

    /// The prefixes of the network of that name.
    pub(super) fn prefixes(&self, network: &str) -> &[String] {
        self.network(network).map_or(&[], |n| &n.prefixes)
    }

    /// The groups a node is in, by their place in the list.
    pub(super) fn groups_of(&self, node: &str) -> Vec<usize> {
        self.groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.members.iter().any(|m| m == node))
            .map(|(place, _)| place)
            .collect()
    }

    /// The host to name with a network: none as long as all networks live on one.
    pub(super) fn host_to_show<'a>(&self, network: &'a Network) -> Option<&'a str> {
        let hosts: BTreeSet<&str> = self
            .networks
            .iter()
            .filter_map(|n| n.is.host.as_deref())
            .collect();
        (hosts.len() > 1).then_some(network.host.as_deref())?
    }
}

/// Unranked things come last.
fn by_rank(a: Option<usize>, b: Option<usize>) -> Ordering {
    a.unwrap_or(usize::MAX).cmp(&b.unwrap_or(usize::MAX))
}

fn complete_nodes(picture: &Picture) -> BTreeMap<&str, Node> {
    let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
    for node in &picture.nodes {
        nodes.entry(&node.name).or_insert_with(|| node.clone());
    }
    let attached = picture.attachments.iter().map(|a| &a.node);
    let grouped = picture.groups.iter().flat_map(|g| &g.members);
    for name in attached.chain(grouped) {
        nodes.entry(name).or_insert_with(|| Node {
            name: name.clone(),
            kind: Kind::Container,
            notes: Vec::new(),
        });
    }
    nodes
}

fn complete_networks(picture: &Picture) -> BTreeMap<&str, Network> {
    let mut networks: BTreeMap<&str, Network> = BTreeMap::new();
    for network in &picture.networks {
        networks.entry(&network.name).or_insert_with(|| {
            let mut network = network.clone();
            network.prefixes.sort_by_key(|p| address::sort_key(p));
            network
        });
    }
    for attachment in &picture.attachments {
        networks
            .entry(&attachment.network)
            .or_insert_with(|| Network {
                name: attachment.network.clone(),
                ..Network::default()
            });
    }
    networks
}

/// Breadth first from every Internet at once, then from what that did not reach: all hosts at once, then the
/// best connected router, then the best connected container.
fn rank<'a>(nodes: &'a BTreeMap<&str, Node>, attachments: &'a [Attachment]) -> Ranks<'a> {
    let mut ranks = Ranks::new();
    for kind in [Kind::Internet, Kind::Host, Kind::Router, Kind::Container] {
        loop {
            let degree = |name: &str| attachments.iter().filter(|a| a.node == name).count();
            let mut open: Vec<&Node> = nodes
                .values()
                .filter(|n| n.kind == kind && degree(&n.name) > 0)
                .filter(|n| !ranks.contains_key(&Key::Node(&n.name)))
                .collect();
            open.sort_by(|a, b| {
                (degree(&b.name).cmp(&degree(&a.name))).then_with(|| natural(&a.name, &b.name))
            });
            if kind > Kind::Host {
                open.truncate(1);
            }
            if open.is_empty() {
                break;
            }
            // Two unconnected parts of a picture show their hosts side by side.
            let start = nodes
                .values()
                .filter(|n| n.kind == kind)
                .filter_map(|n| ranks.get(&Key::Node(&n.name)))
                .min()
                .copied()
                .unwrap_or(0);
            spread(&mut ranks, &open, start, attachments);
        }
    }
    ranks
}

/// Ranks everything that the roots reach.
fn spread<'a>(
    ranks: &mut Ranks<'a>,
    roots: &[&'a Node],
    start: usize,
    attachments: &'a [Attachment],
) {
    let mut frontier: Vec<Key<'_>> = roots.iter().map(|n| Key::Node(n.name.as_str())).collect();
    let mut rank = start;
    while !frontier.is_empty() {
        for key in &frontier {
            ranks.insert(*key, rank);
        }
        let reached: BTreeSet<Key<'_>> = frontier
            .iter()
            .flat_map(|key| neighbours(*key, attachments))
            .filter(|key| !ranks.contains_key(key))
            .collect();
        frontier = reached.into_iter().collect();
        rank += 1;
    }
}

fn neighbours<'a>(key: Key<'a>, attachments: &'a [Attachment]) -> Vec<Key<'a>> {
    attachments
        .iter()
        .filter_map(|a| match key {
            Key::Node(name) => (a.node == name).then_some(Key::Network(a.network.as_str())),
            Key::Network(name) => (a.network == name).then_some(Key::Node(a.node.as_str())),
        })
        .collect()
}

fn ordered_attachments(
    picture: &Picture,
    nodes: &[Ranked<Node>],
    networks: &[Ranked<Network>],
) -> Vec<Attachment> {
    let mut attachments: Vec<Attachment> = picture.attachments.clone();
    for attachment in &mut attachments {
        attachment.addresses.sort_by_key(|a| address::sort_key(a));
        attachment.addresses.dedup();
    }
    attachments.sort_by(|a, b| {
        let network = |a: &Attachment| networks.iter().position(|n| n.is.name == a.network);
        let node = |a: &Attachment| nodes.iter().position(|n| n.is.name == a.node);
        (network(a).cmp(&network(b)))
            .then_with(|| node(a).cmp(&node(b)))
            .then_with(|| natural(&a.interface, &b.interface))
            .then_with(|| a.cmp(b))
    });
    attachments.dedup();
    attachments
}

fn ordered_groups(picture: &Picture, nodes: &[Ranked<Node>]) -> Vec<super::Group> {
    let mut groups: Vec<super::Group> = picture
        .groups
        .iter()
        .map(|group| super::Group {
            label: group.label.clone(),
            members: nodes
                .iter()
                .map(|n| &n.is.name)
                .filter(|name| group.members.contains(name))
                .cloned()
                .collect(),
        })
        .collect();
    groups.sort_by(|a, b| natural(&a.label, &b.label).then_with(|| a.members.cmp(&b.members)));
    groups
}

/// Compares as people do: digits by their value, so that `R2` comes before `R10`.
fn natural(a: &str, b: &str) -> Ordering {
    let mut left = runs(a).into_iter();
    let mut right = runs(b).into_iter();
    loop {
        let ordering = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) => compare_runs(l, r),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

fn compare_runs(left: &str, right: &str) -> Ordering {
    let is_number = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
    if is_number(left) && is_number(right) {
        let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
        (left.len().cmp(&right.len())).then_with(|| left.cmp(right))
    } else {
        (left.to_lowercase().cmp(&right.to_lowercase())).then_with(|| left.cmp(right))
    }
}

/// Splits where digits begin or end.
fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != digit)
            .unwrap_or(rest.len());
        let (run, left) = rest.split_at(end);
        runs.push(run);
        rest = left;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_order_by_value() {
        let mut names = ["R10", "R2", "r1", "R02", "", "eth", "eth0", "10", "9"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["", "9", "10", "eth", "eth0", "R02", "R2", "R10", "r1"]
        );
    }
}
