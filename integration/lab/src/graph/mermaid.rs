//! A Mermaid flowchart: networks are nodes of a shape of their own, attachments are labelled lines.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use super::model::Model;
use super::{Attachment, Kind, Network, Node, address};

/// The picture as a Mermaid flowchart.
///
/// Names appear only in quoted labels, never as identifiers, so that no name can be taken for syntax.
pub(super) fn source(model: &Model) -> String {
    let mut out = String::new();
    let title = one_line(&model.title);
    if !title.is_empty() {
        // YAML's single quotes know one escape: the quote, doubled.
        let title = title.replace('\'', "''");
        let _ = write!(out, "---\ntitle: '{title}'\n---\n");
    }
    out += "flowchart TB\n";
    let mut grouped = Homes::of(model);
    for (place, group) in model.groups.iter().enumerate() {
        grouped.write(&mut out, model, place, &group.label);
    }
    for (place, node) in model.nodes.iter().enumerate() {
        if !grouped.nodes.contains_key(&place) {
            write_node(&mut out, 1, model, place, &node.is);
        }
    }
    for (place, network) in model.networks.iter().enumerate() {
        if !grouped.networks.contains_key(&place) {
            write_network(&mut out, 1, model, place, &network.is);
        }
    }
    for attachment in &model.attachments {
        write_attachment(&mut out, model, attachment);
    }
    out += STYLES;
    out
}

const STYLES: &str = "  classDef internet fill:#eef2f7,stroke:#475569,color:#0f172a
  classDef host fill:#e2e8f0,stroke:#1e293b,stroke-width:2px,color:#0f172a
  classDef router fill:#fef6e0,stroke:#8a5a00,color:#0f172a
  classDef container fill:#ffffff,stroke:#475569,color:#0f172a
  classDef network fill:#1f5fa8,stroke:#1f5fa8,color:#ffffff
";

/// Which group's block lists each node and network: a node the first it is in, a network the one that
/// lists all of its nodes.
struct Homes {
    nodes: BTreeMap<usize, usize>,
    networks: BTreeMap<usize, usize>,
}

impl Homes {
    fn of(model: &Model) -> Self {
        let home = |name: &str| model.groups_of(name).first().copied();
        let nodes = (model.nodes.iter().enumerate())
            .filter_map(|(place, node)| Some((place, home(&node.is.name)?)))
            .collect();
        let networks = (model.networks.iter().enumerate())
            .filter_map(|(place, network)| {
                let mut homes = model.of_network(&network.is.name).map(|a| home(&a.node));
                let first = homes.next()??;
                homes.all(|h| h == Some(first)).then_some((place, first))
            })
            .collect();
        Self { nodes, networks }
    }

    fn write(&mut self, out: &mut String, model: &Model, group: usize, label: &str) {
        if !self.nodes.values().any(|home| *home == group) {
            return;
        }
        let _ = writeln!(out, "  subgraph g{group}[\"{}\"]", escaped(label));
        for (place, node) in model.nodes.iter().enumerate() {
            if self.nodes.get(&place) == Some(&group) {
                write_node(out, 2, model, place, &node.is);
            }
        }
        for (place, network) in model.networks.iter().enumerate() {
            if self.networks.get(&place) == Some(&group) {
                write_network(out, 2, model, place, &network.is);
            }
        }
        *out += "  end\n";
    }
}

fn write_node(out: &mut String, depth: usize, model: &Model, place: usize, node: &Node) {
    let (open, close, class) = match node.kind {
        Kind::Internet => ("((", "))", "internet"),
        Kind::Host => ("[", "]", "host"),
        Kind::Router => ("{{", "}}", "router"),
        Kind::Container => ("(", ")", "container"),
    };
    let others = model.groups_of(&node.name).into_iter().skip(1);
    let others = others.filter_map(|group| model.groups.get(group).map(|g| g.label.as_str()));
    let label = [node.name.as_str()]
        .into_iter()
        .chain(node.notes.iter().map(String::as_str))
        .chain(others);
    let label = lined(label);
    let indent = "  ".repeat(depth);
    let _ = writeln!(out, "{indent}n{place}{open}\"{label}\"{close}:::{class}");
}

fn write_network(out: &mut String, depth: usize, model: &Model, place: usize, network: &Network) {
    let host = model.host_to_show(network).map(|host| format!("on {host}"));
    let label = [network.name.as_str()]
        .into_iter()
        .chain(network.prefixes.iter().map(String::as_str))
        .chain(network.notes.iter().map(String::as_str))
        .chain(host.as_deref());
    let label = lined(label);
    let indent = "  ".repeat(depth);
    let _ = writeln!(out, "{indent}w{place}([\"{label}\"]):::network");
}

/// The end that is nearer to the root comes first: Mermaid lays out from the first to the second.
fn write_attachment(out: &mut String, model: &Model, attachment: &Attachment) {
    let node = model
        .nodes
        .iter()
        .position(|n| n.is.name == attachment.node);
    let network = model
        .networks
        .iter()
        .position(|n| n.is.name == attachment.network);
    let (Some(node), Some(network)) = (node, network) else {
        return;
    };
    let rank_of_node = model.nodes.get(node).and_then(|n| n.rank);
    let rank_of_network = model.networks.get(network).and_then(|n| n.rank);
    let (upper, lower) = if rank_of_node < rank_of_network {
        (format!("n{node}"), format!("w{network}"))
    } else {
        (format!("w{network}"), format!("n{node}"))
    };
    let prefixes = model.prefixes(&attachment.network);
    let addresses: Vec<String> = attachment
        .addresses
        .iter()
        .map(|a| address::within(prefixes, a))
        .collect();
    let label = [attachment.interface.as_str()]
        .into_iter()
        .chain(addresses.iter().map(String::as_str));
    let label = lined(label);
    let label = match label.as_str() {
        "" => String::new(),
        label => format!("|\"{label}\"|"),
    };
    let _ = writeln!(out, "  {upper} ---{label} {lower}");
}

fn lined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<String> = lines.filter(|l| !l.is_empty()).map(escaped).collect();
    lines.join("<br/>")
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// Text inside a quoted label. Everything that Mermaid, Markdown or HTML could take for syntax is written as
/// Mermaid's numeric entity.
fn escaped(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        // Before a space these may be taken for the mark of a list item.
        let mark = ".-+)".contains(c) && rest.as_str().starts_with(' ');
        if c.is_alphanumeric() || (" _.:/-()+,=@%".contains(c) && !mark) {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}
