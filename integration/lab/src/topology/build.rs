//! Builds a lab, step by step, inside the holder. What fails takes everything down again.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::check;
use super::error::{At, Error};
use super::hold::{Event, interrupted, own_program};
use super::inside::{Inside, inode, joined_path, netns_path, search_path};
use super::lines;
use super::model::{Attachment, Kind, Network, Node, Topology, Uplink};
use super::namespace::die_with_parent;
use super::node::{Plan, run};
use super::process;
use super::store::{Place, Store};
use super::takedown::take_down;
use crate::runtime::{NetworkList, PluginConfig, find};

/// Builds the lab whose folder and state are written.
pub(super) fn build(store: &Store) -> Result<(), Error> {
    let mut lab = Inside::open(store)?;
    let outcome = steps(&mut lab);
    let Err(error) = outcome else { return Ok(()) };
    // What is private goes with the holder; the real host has to be tidied by hand.
    if lab.state.host {
        let left = take_down(&mut lab, &mut |_| {});
        if !left.is_empty() {
            return Err(Error::new(format!(
                "{error}\nand could not be undone: {}",
                left.join("; ")
            )));
        }
    }
    Err(error)
}

fn steps(lab: &mut Inside) -> Result<(), Error> {
    let lists = lists(lab)?;
    nodes(lab)?;
    for uplink in lab.topology.uplinks.clone() {
        timed(lab, |lab| {
            make_uplink(lab, &uplink).at(|| format!("uplink of {}", uplink.node))
        })?;
    }
    let mut children = Vec::new();
    for phase in 0..lab.topology.phases.len() {
        for attachment in lab.topology.attachments.clone() {
            if attachment.phase == phase {
                timed(lab, |lab| attach(lab, &lists, &attachment))?;
            }
        }
        if phase == 0 {
            for lines in lab.topology.lines.clone() {
                timed(lab, |lab| lines::run(lab, &lines))?;
            }
        }
        for process in lab.topology.processes.clone() {
            if process.phase == phase {
                timed(lab, |lab| process::start(lab, &process, &mut children))?;
            }
        }
        process::none_ended(lab, &mut children)?;
        if phase < lab.topology.last_phase() {
            checks(lab, phase)?;
        }
    }
    lab.state.ready = true;
    lab.save()
}

/// Does a step, tells it with its time, and notes what has been made.
fn timed(
    lab: &mut Inside,
    step: impl FnOnce(&mut Inside) -> Result<String, Error>,
) -> Result<(), Error> {
    let began = Instant::now();
    let done = step(lab)?;
    lab.save()?;
    Event::Progress(format!("{done}  ({} ms)", began.elapsed().as_millis())).tell();
    still_wanted()
}

/// Fails when `up` has gone away.
pub(super) fn still_wanted() -> Result<(), Error> {
    if interrupted() {
        Err(Error::new("interrupted"))
    } else {
        Ok(())
    }
}

/// The configuration list of each network, by its name.
fn lists(lab: &Inside) -> Result<Vec<(String, NetworkList)>, Error> {
    let read = |network: &Network| Ok((network.name.clone(), read_list(&lab.topology, network)?));
    lab.topology.networks.iter().map(read).collect()
}

fn read_list(topology: &Topology, network: &Network) -> Result<NetworkList, Error> {
    let path = topology.directory.join(&network.conflist);
    let text = fs::read_to_string(&path).at(|| format!("read {}", path.display()))?;
    NetworkList::parse(&text).at(|| path.display().to_string())
}

/// Makes all nodes: first those that hosts show under `/run/netns`, then the hosts.
fn nodes(lab: &mut Inside) -> Result<(), Error> {
    let began = Instant::now();
    let (hosts, others): (Vec<_>, Vec<_>) = lab
        .topology
        .nodes
        .clone()
        .into_iter()
        .partition(|node| node.kind == Kind::Host);
    for group in [others, hosts] {
        let mut started = Vec::new();
        for node in &group {
            if let Some(place) = existing(lab, node) {
                lab.state.nodes.insert(node.name.clone(), place);
            } else {
                started.push((node.name.clone(), start_node(lab, node)?));
            }
        }
        for (name, child) in started {
            let place = node_ready(child).at(|| format!("node {name}"))?;
            lab.state.nodes.insert(name, place);
            lab.save()?;
        }
    }
    let names: Vec<_> = lab
        .topology
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    Event::Progress(format!(
        "nodes {}  ({} ms)",
        names.join(" "),
        began.elapsed().as_millis()
    ))
    .tell();
    still_wanted()
}

/// The place of a node that need not be made.
fn existing(lab: &Inside, node: &Node) -> Option<Place> {
    match &node.join {
        Some(join) => Some(Place::Joined(joined_path(join))),
        None => (lab.state.host && node.kind == Kind::Host).then_some(Place::Here),
    }
}

fn start_node(lab: &Inside, node: &Node) -> Result<Child, Error> {
    let step = || format!("node {}: start its process", node.name);
    let shown = node.kind == Kind::Host;
    let netns = lab
        .state
        .nodes
        .iter()
        .filter(|_| shown)
        .map(|(name, place)| (name.clone(), netns_path(place)));
    let plan = Plan {
        name: node.name.clone(),
        sysctl: node.sysctl.clone(),
        files: node
            .files
            .iter()
            .map(|(at, from)| (at.clone(), lab.topology.directory.join(from)))
            .collect(),
        netns: netns.collect(),
    };
    let mut command = Command::new(own_program()?);
    command
        .arg("node")
        .arg(&node.name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env("PATH", search_path());
    if lab.state.host {
        die_with_parent(&mut command);
    }
    let mut child = command.spawn().at(step)?;
    let plan = serde_json::to_string(&plan).at(step)?;
    child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(plan.as_bytes()))
        .at(step)?;
    Ok(child)
}

/// Waits for the answer of a node's process, which it ends by closing its output.
fn node_ready(mut child: Child) -> Result<Place, Error> {
    let mut answer = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        std::io::Read::read_to_string(&mut stdout, &mut answer)
            .at(|| "listen to its process".to_owned())?;
    }
    if answer != "ready" {
        return Err(Error::new(if answer.is_empty() {
            "its process died".to_owned()
        } else {
            answer
        }));
    }
    let netns = PathBuf::from(format!("/proc/{}/ns/net", child.id()));
    Ok(Place::Held(child.id(), inode(&netns)?))
}

/// Makes the link to the outside, with ip(8): this is the one network that no plugin makes.
fn make_uplink(lab: &mut Inside, uplink: &Uplink) -> Result<String, Error> {
    let (node, peer) = (uplink.node.as_str(), uplink.peer.as_str());
    let Some(Place::Held(peer_pid, _)) = lab.state.nodes.get(peer).cloned() else {
        return Err(Error::new(format!(
            "{peer} must be a node of this lab's own"
        )));
    };
    let ip = |node: &str, line: String| {
        let words: Vec<_> = std::iter::once("ip")
            .chain(line.split_whitespace())
            .map(str::to_owned)
            .collect();
        run(&mut lab.command(node, &words)?)
    };
    let (interface, outside) = (&uplink.interface, &uplink.peer_interface);
    ip(
        node,
        format!("link add name {interface} type veth peer name {outside} netns {peer_pid}"),
    )?;
    for (node, interface, address) in [
        (node, interface, uplink.address),
        (peer, outside, uplink.peer_address),
    ] {
        // Duplicate address detection has nobody to find on a link of two.
        let nodad = if address.address.is_ipv6() {
            "nodad"
        } else {
            ""
        };
        ip(
            node,
            format!("address add {address} dev {interface} {nodad}"),
        )?;
        ip(node, format!("link set {interface} up"))?;
    }
    if let Some(gateway) = uplink.gateway {
        ip(
            node,
            format!("route add default via {gateway} dev {interface}"),
        )?;
    }
    for to in &uplink.peer_routes {
        ip(
            peer,
            format!(
                "route add {to} via {} dev {outside}",
                uplink.address.address
            ),
        )?;
    }
    if lab.state.host {
        lab.state.links.push(interface.clone());
    }
    Ok(format!(
        "uplink {node} {interface} {} to {peer} {}",
        uplink.address, uplink.peer_address
    ))
}

fn attach(
    lab: &Inside,
    lists: &[(String, NetworkList)],
    wanted: &Attachment,
) -> Result<String, Error> {
    let step = || {
        format!(
            "attach {} {} to {}",
            wanted.node, wanted.interface, wanted.network
        )
    };
    let network = lab
        .topology
        .networks
        .iter()
        .find(|network| network.name == wanted.network);
    let list = lists.iter().find(|(name, _)| *name == wanted.network);
    let (Some(network), Some((_, list))) = (network, list) else {
        return Err(Error::new(format!("{}: no such network", step())));
    };
    let result = lab
        .runtime(&network.host)?
        .add(list, &lab.attachment(wanted)?)
        .at(step)?;
    let ips = result
        .get("ips")
        .and_then(serde_json::Value::as_array)
        .cloned()
        .unwrap_or_default();
    let addresses: Vec<_> = ips
        .iter()
        .filter_map(|ip| ip.get("address")?.as_str())
        .collect();
    Ok(format!(
        "{}: {}",
        step(),
        if addresses.is_empty() {
            "no address".to_owned()
        } else {
            addresses.join(" ")
        }
    ))
}

/// The checks of a phase that ends: its successor may change what they see.
fn checks(lab: &mut Inside, phase: usize) -> Result<(), Error> {
    for wanted in lab.topology.checks.clone() {
        if wanted.phase != phase {
            continue;
        }
        timed(lab, |lab| {
            let outcome = check::run(lab, &wanted, &|| !interrupted());
            if let Some(failure) = outcome.failure {
                return Err(Error::new(format!("check \"{}\": {failure}", wanted.title)));
            }
            lab.state.earlier.push(outcome);
            Ok(format!("checked: {}", wanted.title))
        })?;
    }
    Ok(())
}

/// Finds what a topology needs and this machine lacks, before anything is made.
pub(super) fn missing(lab: &Topology, plugins: &[PathBuf]) -> Vec<String> {
    let mut missing = Vec::new();
    let folders = search_path();
    // An absolute path stays what it is when it is joined.
    let present = |program: &str| {
        std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
    };
    for need in lab.needs.iter().filter(|need| !present(&need.program)) {
        missing.push(format!(
            "{} is not installed: apt-get install {}",
            need.program, need.package
        ));
    }
    if !present("ip") {
        missing.push("ip is not installed: apt-get install iproute2".to_owned());
    }
    for network in &lab.networks {
        match read_list(lab, network) {
            Ok(list) => missing.extend(missing_plugins(&list, plugins)),
            Err(why) => missing.push(format!("networks.{}: {why}", network.name)),
        }
    }
    missing.extend(lines::missing(lab));
    for node in &lab.nodes {
        for (at, from) in &node.files {
            let from = lab.directory.join(from);
            if !from.exists() {
                missing.push(format!(
                    "nodes.{}.files: {} for {} is not there",
                    node.name,
                    from.display(),
                    at.display()
                ));
            }
        }
    }
    missing
}

/// The plugins of a list, and those they delegate to, that are in none of the folders.
fn missing_plugins(list: &NetworkList, folders: &[PathBuf]) -> Vec<String> {
    let ipam =
        |plugin: &PluginConfig| Some(plugin.object.get("ipam")?.get("type")?.as_str()?.to_owned());
    let kinds = list
        .plugins
        .iter()
        .flat_map(|plugin| [Some(plugin.kind.clone()), ipam(plugin)])
        .flatten();
    kinds
        .filter_map(|kind| find(&kind, folders).err())
        .map(|error| error.to_string())
        .collect()
}
