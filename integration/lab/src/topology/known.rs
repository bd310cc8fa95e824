//! The names that a topology file has defined so far, looked up by those that refer to them.

use std::collections::BTreeMap;

use super::model::Kind;
use super::reader::{Table, Value};

/// What has been read so far and later parts refer to.
pub(super) struct Known {
    pub(super) nodes: BTreeMap<String, Kind>,
    pub(super) networks: BTreeMap<String, String>,
    pub(super) phases: Vec<String>,
}

impl Known {
    /// The name of a node.
    pub(super) fn node(&self, value: &Value<'_>) -> Option<String> {
        value.parsed(|name| {
            let found = self.nodes.contains_key(name).then(|| name.to_owned());
            found.ok_or_else(|| format!("no such node; there are: {}", listed(self.nodes.keys())))
        })
    }

    pub(super) fn node_of_kind(&self, value: &Value<'_>, kinds: &[Kind]) -> Option<String> {
        let name = self.node(value)?;
        if self.nodes.get(&name).is_some_and(|has| kinds.contains(has)) {
            return Some(name);
        }
        let such = self
            .nodes
            .iter()
            .filter(|(_, has)| kinds.contains(has))
            .map(|(name, _)| name);
        let kinds: Vec<_> = kinds
            .iter()
            .map(|kind| format!("\"{}\"", kind.as_str()))
            .collect();
        value.refuse(format_args!(
            "must be a node of kind {}; there are: {}",
            kinds.join(" or "),
            listed(such)
        ));
        None
    }

    pub(super) fn only_host(&self, table: &Table<'_>) -> Option<String> {
        let mut hosts = self.nodes.iter().filter(|(_, kind)| **kind == Kind::Host);
        if let (Some((host, _)), None) = (hosts.next(), hosts.next()) {
            return Some(host.clone());
        }
        table.refuse("needs the key `host`: the node of kind \"host\" that its plugins run on");
        None
    }

    pub(super) fn network(&self, value: &Value<'_>, node: Option<&str>) -> Option<String> {
        let name = value.string()?;
        match self.networks.get(&name) {
            None => value.refuse(format_args!(
                "no such network; there are: {}",
                listed(self.networks.keys())
            )),
            Some(host) if Some(host.as_str()) == node => {
                value.refuse(format_args!(
                    "lives on {host} itself: a host is not attached to its own network"
                ));
            }
            Some(_) => return Some(name),
        }
        None
    }

    /// The index of a phase.
    pub(super) fn phase(&self, value: &Value<'_>) -> Option<usize> {
        value.parsed(|name| {
            let found = self.phases.iter().position(|phase| phase == name);
            found.ok_or_else(|| format!("no such phase; there are: {}", listed(self.phases.iter())))
        })
    }

    /// The last phase.
    pub(super) fn last_phase(&self) -> usize {
        self.phases.len().saturating_sub(1)
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}
