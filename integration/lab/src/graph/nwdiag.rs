//! Source for nwdiag, in the dialect its users write by hand.
//!
//! What nwdiag 3.0 cannot do decides three things here. It refuses a node without a network, so such nodes
//! hang from a white bus that says what it is. It refuses a node in two groups, so the first group has it
//! and its label names the others. It fails on a labelled group whose first member has two networks, so
//! such a group carries its label in the members.

use std::collections::BTreeMap;

use super::model::Model;
use super::shape::{GROUP_TINTS, in_turn};
use super::{Attachment, Group, Kind, Network, Node, address};

const UNATTACHED: &str = "not attached";

/// The picture as nwdiag source. Of a picture without nodes nwdiag cannot make an image.
pub(super) fn source(model: &Model) -> String {
    let mut out = String::from("nwdiag {\n");
    line(&mut out, 1, &comment(&model.title));
    if let Some(width) = node_width(model) {
        line(&mut out, 1, &format!("node_width = {width};"));
    }
    if let Some(width) = span_width(model) {
        line(&mut out, 1, &format!("span_width = {width};"));
    }
    let uplinks: Vec<Uplink<'_>> = uplinks(model).collect();
    // nwdiag fills its columns in the order of first mention: the wire's two ends come before the rest.
    for uplink in &uplinks {
        let internet = model.nodes.iter().map(|n| &n.is);
        for node in internet.filter(|n| n.name == uplink.internet.node) {
            declare(&mut out, model, node, Some(uplink));
        }
        line(&mut out, 1, &uplink.statement(model));
    }
    for node in &model.nodes {
        if !uplinks.iter().any(|u| u.internet.node == node.is.name) {
            declare(&mut out, model, &node.is, None);
        }
    }
    for (place, group) in model.groups.iter().enumerate() {
        write_group(&mut out, model, place, group);
    }
    for network in &model.networks {
        if !uplinks
            .iter()
            .any(|u| u.internet.network == network.is.name)
        {
            write_network(&mut out, model, &network.is);
        }
    }
    write_unattached(&mut out, model);
    out.push_str("}\n");
    out
}

/// The wire between the Internet and the one node it is attached to: `Internet -- dockerhost`.
struct Uplink<'a> {
    internet: &'a Attachment,
    other: &'a Attachment,
}

impl Uplink<'_> {
    fn statement(&self, model: &Model) -> String {
        let what = describe(model.network(&self.internet.network), model);
        let (internet, other) = (quoted(&self.internet.node), quoted(&self.other.node));
        // The wire shows no prefix, so the lengths stay.
        let address = with_interface(self.other, str::to_owned);
        let attributes = match address.as_str() {
            "" => String::new(),
            address => format!(" [address = {}]", string(address)),
        };
        format!("{internet} -- {other}{attributes}; {}", comment(&what))
    }
}

/// The networks that join nothing but an Internet, which has no other, and one more node.
fn uplinks(model: &Model) -> impl Iterator<Item = Uplink<'_>> {
    let is_internet = |a: &Attachment| {
        let kind = model.nodes.iter().find(|n| n.is.name == a.node);
        kind.is_some_and(|n| n.is.kind == Kind::Internet) && model.of_node(&a.node).count() == 1
    };
    model.networks.iter().filter_map(move |network| {
        let ends: Vec<&Attachment> = model.of_network(&network.is.name).collect();
        match ends.as_slice() {
            [a, b] if is_internet(a) && !is_internet(b) => Some(Uplink {
                internet: a,
                other: b,
            }),
            [a, b] if is_internet(b) && !is_internet(a) => Some(Uplink {
                internet: b,
                other: a,
            }),
            _ => None,
        }
    })
}

/// Writes what a node needs beyond its name; nothing for an ordinary one.
fn declare(out: &mut String, model: &Model, node: &Node, uplink: Option<&Uplink<'_>>) {
    let mut label = vec![node.name.clone()];
    if let Some(uplink) = uplink {
        let prefixes = model.prefixes(&uplink.internet.network);
        let addresses = with_interface(uplink.internet, |a| address::within(prefixes, a));
        label.extend(addresses.split(", ").map(str::to_owned));
    }
    label.extend(node.notes.iter().cloned());
    label.extend(labels_of_groups(model, &node.name));
    label.retain(|text| !text.is_empty());
    let (lines, longest) = (
        label.len(),
        label.iter().map(|l| l.chars().count()).max().unwrap_or(0),
    );
    let label = (label != [node.name.as_str()]).then(|| format!("label = {}", lined(&label)));
    let cloud = node.kind == Kind::Internet;
    // The text area of nwdiag's cloud is about half of it, that of a box nearly all.
    let (default, needed) = if cloud {
        (9, longest * 8 + 20)
    } else {
        (18, longest * 7 + 12)
    };
    let attributes: Vec<String> = [
        cloud.then(|| "shape = cloud".to_owned()),
        (longest > default).then(|| format!("width = {needed}")),
        (lines > if cloud { 1 } else { 2 }).then(|| {
            let height = lines * 16 + if cloud { 38 } else { 10 };
            format!("height = {height}")
        }),
        label,
    ]
    .into_iter()
    .flatten()
    .collect();
    if !attributes.is_empty() {
        let statement = format!("{} [{}];", quoted(&node.name), attributes.join(", "));
        line(out, 1, &statement);
    }
}

/// The group whose block lists each node: the first it is in.
fn homes(model: &Model) -> BTreeMap<&str, usize> {
    model
        .nodes
        .iter()
        .filter_map(|n| Some((n.is.name.as_str(), *model.groups_of(&n.is.name).first()?)))
        .collect()
}

/// The members a group's block lists; a member with a single network first, if there is one.
fn listed<'a>(model: &'a Model, place: usize, group: &'a Group) -> Vec<&'a str> {
    let homes = homes(model);
    let mut members: Vec<&str> = group
        .members
        .iter()
        .map(String::as_str)
        .filter(|m| homes.get(m) == Some(&place))
        .collect();
    members.sort_by_key(|m| networks_of(model, m) > 1);
    members
}

fn networks_of(model: &Model, node: &str) -> usize {
    let mut names: Vec<&str> = model.of_node(node).map(|a| a.network.as_str()).collect();
    names.dedup();
    names.len()
}

/// Whether nwdiag can draw the group's own label.
fn can_label(model: &Model, members: &[&str]) -> bool {
    members.first().is_some_and(|m| networks_of(model, m) < 2)
}

/// The groups whose labels a node has to carry.
fn labels_of_groups(model: &Model, node: &str) -> Vec<String> {
    let home = homes(model).get(node).copied();
    model
        .groups_of(node)
        .into_iter()
        .filter_map(|place| Some((place, model.groups.get(place)?)))
        .filter(|(place, group)| {
            Some(*place) != home || !can_label(model, &listed(model, *place, group))
        })
        .map(|(_, group)| group.label.clone())
        .collect()
}

fn write_group(out: &mut String, model: &Model, place: usize, group: &Group) {
    let members = listed(model, place, group);
    if members.is_empty() {
        return;
    }
    line(out, 1, &format!("group {} {{", quoted(&group.label)));
    if can_label(model, &members) {
        line(out, 2, &format!("label = {};", string(&group.label)));
    }
    let tint = in_turn(&GROUP_TINTS, place);
    line(out, 2, &format!("color = {};", string(tint)));
    for member in members {
        line(out, 2, &format!("{};", quoted(member)));
    }
    line(out, 1, "}");
}

fn write_network(out: &mut String, model: &Model, network: &Network) {
    let mut attachments: BTreeMap<usize, (&str, Vec<String>)> = BTreeMap::new();
    for attachment in model.of_network(&network.name) {
        let place = model
            .nodes
            .iter()
            .position(|n| n.is.name == attachment.node);
        let text = with_interface(attachment, |a| address::host_part(&network.prefixes, a));
        attachments
            .entry(place.unwrap_or(usize::MAX))
            .or_insert_with(|| (&attachment.node, Vec::new()))
            .1
            .push(text);
    }
    if attachments.is_empty() {
        let what = format!("{}, nothing attached", describe(Some(network), model));
        line(out, 1, &comment(&what));
        return;
    }
    line(out, 1, &format!("network {} {{", quoted(&network.name)));
    let label = bus_label(model, network);
    if quoted(&label) != network.name {
        line(out, 2, &format!("label = {};", string(&label)));
    }
    if !network.prefixes.is_empty() {
        let prefixes = network.prefixes.join(" ");
        line(out, 2, &format!("address = {};", string(&prefixes)));
    }
    for (node, texts) in attachments.values() {
        let address = string(&texts.join(", "));
        line(out, 2, &format!("{} [address = {address}];", quoted(node)));
    }
    line(out, 1, "}");
}

fn write_unattached(out: &mut String, model: &Model) {
    let alone: Vec<&str> = model
        .nodes
        .iter()
        .filter(|n| n.rank.is_none())
        .map(|n| n.is.name.as_str())
        .collect();
    if alone.is_empty() {
        return;
    }
    line(out, 1, &format!("network {} {{", string(UNATTACHED)));
    line(out, 2, &format!("label = {};", string(UNATTACHED)));
    line(out, 2, "color = \"#ffffff\";");
    for name in alone {
        line(out, 2, &format!("{};", quoted(name)));
    }
    line(out, 1, "}");
}

/// The name on a bus, with its host and notes.
fn bus_label(model: &Model, network: &Network) -> String {
    let host = model
        .host_to_show(network)
        .map(|host| format!(" on {host}"))
        .unwrap_or_default();
    let notes = network.notes.iter().map(|note| format!(", {note}"));
    format!("{}{host}{}", network.name, notes.collect::<String>())
}

fn describe(network: Option<&Network>, model: &Model) -> String {
    network.map_or_else(String::new, |n| {
        format!("{} {}", bus_label(model, n), n.prefixes.join(" "))
            .trim_end()
            .to_owned()
    })
}

/// `.2 (eth1)`; a comma begins a new line in the picture.
fn with_interface(attachment: &Attachment, short: impl Fn(&str) -> String) -> String {
    let named = |text: String| match attachment.interface.as_str() {
        "" => text,
        interface => format!("{text} ({interface})").trim_start().to_owned(),
    };
    if attachment.addresses.is_empty() {
        return named(String::new());
    }
    let texts: Vec<String> = attachment
        .addresses
        .iter()
        .map(|address| named(short(address)))
        .collect();
    texts.join(", ")
}

/// The width of a box when the texts beside the buses need more than nwdiag's own: it gives them half as
/// much again.
fn node_width(model: &Model) -> Option<usize> {
    let texts = model
        .networks
        .iter()
        .flat_map(|n| [n.is.prefixes.join(" "), bus_label(model, &n.is)]);
    let longest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    (longest > 20).then_some(longest * 5)
}

/// The gap between columns when the texts beside the lines need more than nwdiag's own.
fn span_width(model: &Model) -> Option<usize> {
    let texts = model.attachments.iter().flat_map(|a| {
        let prefixes = model.prefixes(&a.network);
        with_interface(a, |text| address::host_part(prefixes, text))
            .split(", ")
            .map(|text| text.chars().count())
            .collect::<Vec<usize>>()
    });
    let longest = texts.max().unwrap_or(0);
    (longest > 18).then_some((longest * 7).saturating_sub(28))
}

fn line(out: &mut String, depth: usize, text: &str) {
    if !text.is_empty() {
        out.push_str(&"  ".repeat(depth));
        out.push_str(text);
        out.push('\n');
    }
}

fn comment(text: &str) -> String {
    match one_line(text) {
        text if text.is_empty() => text,
        text => format!("// {text}"),
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// A name as it is where nwdiag takes it for one, else a string.
fn quoted(name: &str) -> String {
    const KEYWORDS: [&str; 7] = [
        "class", "diagram", "group", "network", "nwdiag", "plugin", "route",
    ];
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if starts && name.chars().all(goes_on) && !KEYWORDS.contains(&name) {
        name.to_owned()
    } else {
        string(name)
    }
}

/// A string on one line.
fn string(text: &str) -> String {
    lined(&[text.to_owned()])
}

/// A string of several lines.
fn lined(lines: &[String]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| one_line(line).replace('"', "\\\""))
        .collect();
    let mut inner = lines.join("\\n");
    // A quote after a backslash never closes a string, and nwdiag has no way to write the backslash else.
    if inner.ends_with('\\') {
        inner.push(' ');
    }
    format!("\"{inner}\"")
}
