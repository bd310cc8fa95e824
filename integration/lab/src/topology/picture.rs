//! The picture of a lab as it runs: what `graph` draws.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::error::{At, Error};
use super::inside::Inside;
use super::inspect::inspect;
use super::model;
use crate::graph::{Attachment, Group, Kind, Network, Node, Picture};
use crate::pipework;

/// Reads the running kernel and gives the picture.
pub(super) fn picture(lab: &Inside) -> Result<Picture, Error> {
    let inspected = inspect(lab)?;
    let live = Live {
        nodes: list(&inspected, "nodes"),
    };
    let mut picture = Picture {
        title: title(lab),
        ..Picture::default()
    };
    for node in &lab.topology.nodes {
        picture.nodes.push(Node {
            name: node.name.clone(),
            kind: kind(lab, node)?,
            notes: live.processes(&node.name),
        });
    }
    for network in &lab.topology.networks {
        let attachments = attachments(lab, network, &live)?;
        picture.networks.push(Network {
            name: network.name.clone(),
            prefixes: prefixes(&attachments),
            host: Some(network.host.clone()),
            notes: Vec::new(),
        });
        picture.attachments.extend(attachments);
    }
    for host in lab.hosts() {
        let (networks, attachments) = of_lines(lab, host, &live)?;
        picture.networks.extend(networks);
        picture.attachments.extend(attachments);
    }
    for (index, uplink) in lab.topology.uplinks.iter().enumerate() {
        let peer = lab.topology.node(&uplink.peer);
        let name = if peer.is_some_and(|peer| peer.kind == model::Kind::Host) {
            uplink.interface.clone()
        } else if index == 0 {
            "WAN".to_owned()
        } else {
            format!("WAN {}", index.saturating_add(1))
        };
        let ends = [
            (&uplink.node, &uplink.interface),
            (&uplink.peer, &uplink.peer_interface),
        ];
        let far_is_port = live.is_port(&uplink.peer, &uplink.peer_interface);
        let ends = ends.map(|(node, interface)| live.attachment(node, &name, interface));
        let mut attachments: Vec<_> = ends.into_iter().flatten().collect();
        let prefixes = prefixes(&attachments);
        // The host's end is a port of a bridge: the far end is on the bridge's network. A cable between two bridges is a
        // network of its own.
        let bridged = |network: &&Network| {
            let same = network.prefixes.iter().any(|each| prefixes.contains(each));
            same && network.host.as_ref() == Some(&uplink.node)
        };
        if live.is_port(&uplink.node, &uplink.interface)
            && !far_is_port
            && let Some(network) = picture.networks.iter().find(bridged)
        {
            attachments.retain(|end| end.node == uplink.peer);
            for far in &mut attachments {
                far.network.clone_from(&network.name);
            }
            picture.attachments.append(&mut attachments);
            continue;
        }
        picture.networks.push(Network {
            name,
            prefixes,
            ..Network::default()
        });
        picture.attachments.extend(attachments);
    }
    let group = |group: &model::Group| Group {
        label: group.label.clone(),
        members: group.members.clone(),
    };
    picture.groups = lab.topology.groups.iter().map(group).collect();
    Ok(picture)
}

fn title(lab: &Inside) -> String {
    let description = &lab.topology.description;
    if description.is_empty() {
        lab.state.name.clone()
    } else {
        format!("{}: {description}", lab.state.name)
    }
}

/// A container that forwards is a router.
fn kind(lab: &Inside, node: &model::Node) -> Result<Kind, Error> {
    Ok(match node.kind {
        model::Kind::Internet => Kind::Internet,
        model::Kind::Host => Kind::Host,
        model::Kind::Container if forwards(lab, &node.name)? => Kind::Router,
        model::Kind::Container => Kind::Container,
    })
}

fn forwards(lab: &Inside, node: &str) -> Result<bool, Error> {
    let words = [
        "cat",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ];
    let output = lab
        .command(node, &words.map(str::to_owned))?
        .output()
        .at(|| format!("look at {node}"))?;
    Ok(output
        .stdout
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"1"))
}

/// The interfaces on a network: those that were attached, and the host's bridge where it has an address.
fn attachments(
    lab: &Inside,
    network: &model::Network,
    live: &Live,
) -> Result<Vec<Attachment>, Error> {
    let wanted = lab
        .topology
        .attachments
        .iter()
        .filter(|attachment| attachment.network == network.name);
    let attached =
        wanted.filter_map(|each| live.attachment(&each.node, &network.name, &each.interface));
    let mut attachments: Vec<_> = attached.collect();
    for bridge in bridges(lab, network)? {
        let end = live.attachment(&network.host, &network.name, &bridge);
        attachments.extend(end.filter(|end| !end.addresses.is_empty()));
    }
    Ok(attachments)
}

/// The networks that lines of pipework made on a host, with the interfaces on them.
fn of_lines(
    lab: &Inside,
    host: &str,
    live: &Live,
) -> Result<(Vec<Network>, Vec<Attachment>), Error> {
    let entries = lab.runtime(host)?.cache().entries();
    let entries = entries.at(|| "read the runtime's cache".to_owned())?;
    let (mut networks, mut all) = (Vec::new(), Vec::new());
    let made: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| pipework::network(&entry.list))
        .collect();
    for network in made {
        let own = entries
            .iter()
            .filter(|entry| pipework::network(&entry.list) == Some(network));
        let ends = own.filter_map(|entry| {
            let nodes = lab.topology.nodes.iter();
            let container = &entry.attachment.container;
            let node = nodes
                .into_iter()
                .find(|node| lab.container(&node.name) == *container)?;
            live.attachment(&node.name, network, &entry.attachment.ifname)
        });
        let mut attachments: Vec<_> = ends.collect();
        let end = live.attachment(host, network, network);
        attachments.extend(end.filter(|end| !end.addresses.is_empty()));
        networks.push(Network {
            name: network.to_owned(),
            prefixes: prefixes(&attachments),
            host: Some(host.to_owned()),
            notes: Vec::new(),
        });
        all.extend(attachments);
    }
    Ok((networks, all))
}

/// The host's interfaces that the plugins named in their results: the bridge is among them.
fn bridges(lab: &Inside, network: &model::Network) -> Result<BTreeSet<String>, Error> {
    let runtime = lab.runtime(&network.host)?;
    let mut bridges = BTreeSet::new();
    for wanted in lab
        .topology
        .attachments
        .iter()
        .filter(|each| each.network == network.name)
    {
        let container = lab.container(&wanted.node);
        let entries = runtime
            .cache()
            .entries()
            .at(|| "read the runtime's cache".to_owned())?;
        let own = entries.iter().filter(|entry| {
            entry.attachment.container == container && entry.attachment.ifname == wanted.interface
        });
        for result in own.filter_map(|entry| entry.result.as_ref()) {
            let interfaces = list(result, "interfaces");
            let of_host = interfaces.iter().filter(|each| {
                each.get("sandbox")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .is_empty()
            });
            bridges.extend(of_host.filter_map(|each| Some(each.get("name")?.as_str()?.to_owned())));
        }
    }
    Ok(bridges)
}

/// The networks that addresses are of.
fn prefixes(attachments: &[Attachment]) -> Vec<String> {
    let addresses = attachments
        .iter()
        .flat_map(|attachment| &attachment.addresses);
    let prefixes: BTreeSet<_> = addresses.filter_map(|address| prefix(address)).collect();
    prefixes.into_iter().collect()
}

/// The network of an address with its prefix length; an address that stands alone is of none.
fn prefix(address: &str) -> Option<String> {
    let (address, length) = address.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    Some(match address.parse().ok()? {
        IpAddr::V4(address) if length < 32 => {
            let mask = u32::MAX
                .checked_shl(32u32.checked_sub(length)?)
                .unwrap_or(0);
            format!(
                "{}/{length}",
                std::net::Ipv4Addr::from(u32::from(address) & mask)
            )
        }
        IpAddr::V6(address) if length < 128 => {
            let mask = u128::MAX
                .checked_shl(128u32.checked_sub(length)?)
                .unwrap_or(0);
            format!(
                "{}/{length}",
                std::net::Ipv6Addr::from(u128::from(address) & mask)
            )
        }
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    })
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

/// What `inspect` found.
struct Live {
    nodes: Vec<Value>,
}

impl Live {
    fn node(&self, name: &str) -> Option<&Value> {
        self.nodes
            .iter()
            .find(|node| node.get("name").and_then(Value::as_str) == Some(name))
    }

    /// The processes that run in a node, as one note.
    fn processes(&self, node: &str) -> Vec<String> {
        let processes = self
            .node(node)
            .map(|node| list(node, "processes"))
            .unwrap_or_default();
        let running = processes
            .iter()
            .filter(|process| process.get("running") == Some(&Value::Bool(true)));
        let names: Vec<_> = running
            .filter_map(|process| process.get("name")?.as_str())
            .collect();
        if names.is_empty() {
            Vec::new()
        } else {
            vec![names.join(", ")]
        }
    }

    fn interface(&self, node: &str, name: &str) -> Option<Value> {
        let interfaces = list(self.node(node)?, "interfaces");
        interfaces
            .into_iter()
            .find(|each| each.get("name").and_then(Value::as_str) == Some(name))
    }

    /// Whether an interface is a port of a bridge.
    fn is_port(&self, node: &str, interface: &str) -> bool {
        let found = self.interface(node, interface);
        found.is_some_and(|found| found.get("master").is_some())
    }

    fn attachment(&self, node: &str, network: &str, interface: &str) -> Option<Attachment> {
        let addresses = list(&self.interface(node, interface)?, "addresses");
        Some(Attachment {
            node: node.to_owned(),
            network: network.to_owned(),
            interface: interface.to_owned(),
            addresses: addresses
                .iter()
                .filter_map(|address| address.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_an_address_has_no_host_bits() {
        for (address, network) in [
            ("192.168.101.2/24", Some("192.168.101.0/24")),
            ("10.1.2.3/0", Some("0.0.0.0/0")),
            ("2001:db8::42/64", Some("2001:db8::/64")),
            ("10.9.0.1/32", None),
        ] {
            assert_eq!(prefix(address).as_deref(), network, "{address}");
        }
    }
}
