//! Reads a topology file: TOML text in, a checked [`Topology`] out. Pure: no file but the text is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use super::known::Known;
use super::model::{
    Attachment, Group, Kind, Lines, Need, Network, Process, Text, Topology, Uplink,
};
use super::read_nodes::node;
use super::reader::{Problem, Source, Table, Value};
use super::{read_checks, words};

/// Reads the text of a topology file that lies in `directory`. A file that names no lab is named by `name`.
pub fn parse(text: &str, directory: &Path, name: &str) -> Result<Topology, Vec<Problem>> {
    let source = Source::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        source.note(
            &error.span().unwrap_or_default(),
            format!("not TOML: {}", error.message().trim()),
        );
    }
    if !errors.is_empty() {
        return Err(source.into_problems());
    }
    let topology = topology(&Table::root(&source, &document), directory, name);
    let problems = source.into_problems();
    if problems.is_empty() {
        Ok(topology)
    } else {
        Err(problems)
    }
}

fn topology(root: &Table<'_>, directory: &Path, name: &str) -> Topology {
    let name = root
        .get("name")
        .and_then(|name| name.parsed(words::name))
        .unwrap_or_else(|| name.to_owned());
    let description = root
        .get("description")
        .and_then(|text| text.string())
        .unwrap_or_default();
    let phases = root
        .get("phases")
        .map_or_else(|| vec!["up".to_owned()], |phases| phases.strings());
    let nodes: Vec<_> = root
        .named("nodes")
        .iter()
        .filter_map(|(name, table)| node(name, table))
        .collect();
    let kinds = nodes
        .iter()
        .map(|node| (node.name.clone(), node.kind))
        .collect();
    let mut known = Known {
        nodes: kinds,
        networks: BTreeMap::new(),
        phases,
    };
    let networks: Vec<_> = root
        .named("networks")
        .iter()
        .filter_map(|(name, table)| network(name, table, &known))
        .collect();
    known.networks = networks
        .iter()
        .map(|network| (network.name.clone(), network.host.clone()))
        .collect();
    let mut taken = BTreeSet::new();
    let uplinks = root
        .list("uplinks")
        .iter()
        .filter_map(|table| uplink(table, &known, &mut taken))
        .collect();
    let mut used = BTreeSet::new();
    let attachments = root.list("attachments");
    let attachments = attachments
        .iter()
        .filter_map(|table| attachment(table, &known, &mut taken, &mut used))
        .collect();
    let lines = root.list("pipework");
    let lines = lines.iter().filter_map(|table| typed(table, &known));
    let lines = lines.collect();
    let mut names = BTreeSet::new();
    let processes = root.list("processes");
    let processes = processes
        .iter()
        .filter_map(|table| process(table, &known, &mut names))
        .collect();
    let checks = root
        .list("checks")
        .iter()
        .filter_map(|table| read_checks::check(table, &known))
        .collect();
    let groups = root
        .list("groups")
        .iter()
        .filter_map(|table| group(table, &known))
        .collect();
    let needs = root.list("needs").iter().filter_map(need).collect();
    if root.get("nodes").is_none() {
        root.refuse("needs at least one node: [nodes.NAME]");
    }
    let phases = known.phases;
    if phases.is_empty() {
        root.refuse("phases must have at least one phase");
    }
    root.finish();
    let directory = directory.to_owned();
    Topology {
        name,
        description,
        directory,
        phases,
        needs,
        nodes,
        uplinks,
        networks,
        attachments,
        lines,
        processes,
        checks,
        groups,
    }
}

fn need(table: &Table<'_>) -> Option<Need> {
    let program = table.need("program").and_then(|program| program.string());
    let package = table.need("package").and_then(|package| package.string());
    table.finish();
    Some(Need {
        program: program?,
        package: package?,
    })
}

fn group(table: &Table<'_>, known: &Known) -> Option<Group> {
    let label = table.need("label").and_then(|label| label.string());
    let members = table
        .need("nodes")
        .map(|members| members.items())
        .unwrap_or_default();
    let members = members
        .iter()
        .filter_map(|member| known.node(member))
        .collect();
    table.finish();
    Some(Group {
        label: label?,
        members,
    })
}

fn network(name: &str, table: &Table<'_>, known: &Known) -> Option<Network> {
    let named = words::name(name).map_err(|must| table.refuse(must));
    let conflist = table.need("conflist").and_then(|path| path.string());
    let host = match table.get("host") {
        Some(host) => known.node_of_kind(&host, &[Kind::Host]),
        None => known.only_host(table),
    };
    table.finish();
    Some(Network {
        name: named.ok()?,
        conflist: conflist?.into(),
        host: host?,
    })
}

/// Lines for a host's shell.
fn typed(table: &Table<'_>, known: &Known) -> Option<Lines> {
    let host = match table.get("host") {
        Some(host) => known.node_of_kind(&host, &[Kind::Host]),
        None => known.only_host(table),
    };
    let here = table.get("lines").and_then(|lines| lines.string());
    let file = table.get("file").and_then(|file| file.string());
    table.finish();
    let text = match (here, file) {
        (Some(lines), None) => Text::Here(lines),
        (None, Some(file)) => Text::File(file.into()),
        _ => {
            table.refuse("must have one of: lines, file");
            return None;
        }
    };
    Some(Lines { host: host?, text })
}

/// The node at the other end of an uplink: outside, or another host.
fn far_end(value: &Value<'_>, node: Option<&str>, known: &Known) -> Option<String> {
    let peer = known.node_of_kind(value, &[Kind::Internet, Kind::Host])?;
    if node == Some(peer.as_str()) {
        value.refuse("is the node itself");
        return None;
    }
    Some(peer)
}

fn uplink(
    table: &Table<'_>,
    known: &Known,
    taken: &mut BTreeSet<(String, String)>,
) -> Option<Uplink> {
    let node = table
        .need("node")
        .and_then(|node| known.node_of_kind(&node, &[Kind::Host]));
    let interface = table
        .need("interface")
        .and_then(|name| free_interface(&name, node.as_deref(), taken));
    let address = table
        .need("address")
        .and_then(|address| address.parsed(words::cidr));
    let gateway = table
        .get("gateway")
        .and_then(|gateway| gateway.parsed(words::address));
    let peer = table
        .need("peer")
        .and_then(|peer| far_end(&peer, node.as_deref(), known));
    let peer_interface = match table.get("peer-interface") {
        Some(name) => free_interface(&name, peer.as_deref(), taken),
        None => Some("eth0".to_owned()),
    };
    let peer_address = table
        .need("peer-address")
        .and_then(|address| address.parsed(words::cidr));
    let routes = table
        .get("peer-routes")
        .map(|routes| routes.items())
        .unwrap_or_default();
    let peer_routes = routes
        .iter()
        .filter_map(|route| route.parsed(words::cidr))
        .collect();
    table.finish();
    Some(Uplink {
        node: node?,
        interface: interface?,
        address: address?,
        gateway,
        peer: peer?,
        peer_interface: peer_interface?,
        peer_address: peer_address?,
        peer_routes,
    })
}

fn attachment(
    table: &Table<'_>,
    known: &Known,
    taken: &mut BTreeSet<(String, String)>,
    used: &mut BTreeSet<(String, IpAddr)>,
) -> Option<Attachment> {
    let node = table.need("node").and_then(|node| known.node(&node));
    let network = table
        .need("network")
        .and_then(|network| known.network(&network, node.as_deref()));
    let interface = table
        .need("interface")
        .and_then(|name| free_interface(&name, node.as_deref(), taken));
    let several = |key| {
        table
            .get(key)
            .map(|value| value.one_or_more())
            .unwrap_or_default()
    };
    let mut addresses = Vec::new();
    for value in several("address") {
        let Some(address) = value.parsed(words::cidr) else {
            continue;
        };
        if network
            .as_ref()
            .is_some_and(|network| !used.insert((network.clone(), address.address)))
        {
            value.refuse("another attachment to this network has this address");
        }
        addresses.push(address);
    }
    let gateways = several("gateway")
        .iter()
        .filter_map(|gateway| gateway.parsed(words::address))
        .collect();
    let mac = table.get("mac").and_then(|mac| mac.parsed(words::mac));
    let args = table
        .entries_of("args")
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.parsed(words::arg)?)))
        .collect();
    let capabilities = table
        .entries_of("capabilities")
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.json()?)))
        .collect();
    let phase = table
        .get("phase")
        .map_or(Some(0), |phase| known.phase(&phase));
    table.finish();
    Some(Attachment {
        node: node?,
        network: network?,
        interface: interface?,
        addresses,
        gateways,
        mac,
        args,
        capabilities,
        phase: phase?,
    })
}

/// An interface name that the node does not have yet.
fn free_interface(
    value: &Value<'_>,
    node: Option<&str>,
    taken: &mut BTreeSet<(String, String)>,
) -> Option<String> {
    let name = value.parsed(words::interface)?;
    if let Some(node) = node
        && !taken.insert((node.to_owned(), name.clone()))
    {
        value.refuse(format_args!("{node} has an interface of this name already"));
    }
    Some(name)
}

fn process(
    table: &Table<'_>,
    known: &Known,
    names: &mut BTreeSet<(String, String)>,
) -> Option<Process> {
    let node = table.need("node").and_then(|node| known.node(&node));
    let command = table
        .need("command")
        .and_then(|command| words::command(&command));
    let name = match table.get("name") {
        Some(value) => value.parsed(words::name),
        None => command.as_ref().and_then(|command| {
            Path::new(command.first()?)
                .file_name()?
                .to_str()
                .map(str::to_owned)
        }),
    };
    if let (Some(node), Some(name)) = (&node, &name)
        && !names.insert((node.clone(), name.clone()))
    {
        table.refuse(format_args!(
            "{node} has a process {name} already: give it another `name`"
        ));
    }
    let phase = table
        .get("phase")
        .map_or(Some(0), |phase| known.phase(&phase));
    let ready = table.get("ready").map(|ready| words::command(&ready));
    let ready_within = table
        .get("ready-within")
        .and_then(|within| within.integer(1..601))
        .unwrap_or(20);
    table.finish();
    Some(Process {
        name: name?,
        node: node?,
        command: command?,
        phase: phase?,
        ready: match ready {
            Some(command) => Some(command?),
            None => None,
        },
        ready_within: Duration::from_secs(ready_within),
    })
}

#[cfg(test)]
mod tests;
