//! The state of a namespace, to compare before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::{Node, until};

/// Everything the suite may change in a namespace, without what changes by itself (timers, counters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    sections: BTreeMap<&'static str, Vec<String>>,
}

impl State {
    #[track_caller]
    pub(crate) fn of(node: &Node) -> Self {
        // A link-local address gets its route when the kernel has made sure that nobody else has it, a second or two
        // after the link came up. An address on a link without carrier stays tentative for good.
        until(Duration::from_secs(10), || !is_settling(node));
        let json = |argv: &[&str]| -> Vec<String> {
            let text = node.exec(argv);
            let values: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
            values
                .into_iter()
                .map(|value| steady(value).to_string())
                .collect()
        };
        let text = |argv: &[&str]| node.exec(argv).lines().filter_map(steady_line).collect();
        let sections = BTreeMap::from([
            ("links", json(&["ip", "-j", "-d", "link"])),
            ("addresses", json(&["ip", "-j", "addr"])),
            (
                "IPv4 routes",
                json(&["ip", "-j", "-d", "-4", "route", "show", "table", "all"]),
            ),
            (
                "IPv6 routes",
                json(&["ip", "-j", "-d", "-6", "route", "show", "table", "all"]),
            ),
            ("IPv4 routing rules", json(&["ip", "-j", "-4", "rule"])),
            ("IPv6 routing rules", json(&["ip", "-j", "-6", "rule"])),
            (
                "forwarding database",
                json(&["bridge", "-j", "fdb"])
                    .into_iter()
                    .filter(|entry| !is_learned(entry))
                    .collect(),
            ),
            ("bridge VLANs", json(&["bridge", "-j", "vlan"])),
            ("nftables", text(&["nft", "list", "ruleset"])),
            ("iptables", text(&["iptables-save"])),
            ("ip6tables", text(&["ip6tables-save"])),
            ("legacy iptables", legacy(node)),
            ("settings", settings(node)),
            ("files", files(node)),
        ]);
        Self { sections }
    }

    /// One line for each thing that is in one state only: `-` here, `+` in `after`.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let all = self.sections.keys();
        all.flat_map(|section| self.differences_of(section, after))
            .collect()
    }

    /// Of the differences those that the kernel's own time does not take away: which links there are, and what is a
    /// plugin's alone.
    pub(crate) fn lasting_differences(&self, after: &Self) -> Vec<String> {
        let (names, now) = (self.link_names(), after.link_names());
        let links = names.symmetric_difference(&now);
        let links = links.map(|name| format!("link {name}: on one side only"));
        let own = [
            "files",
            "settings",
            "IPv4 routing rules",
            "IPv6 routing rules",
        ];
        let own = own
            .iter()
            .flat_map(|section| self.differences_of(section, after));
        links.chain(own).collect()
    }

    fn differences_of(&self, section: &str, after: &Self) -> Vec<String> {
        let (before, after) = (&self.sections[section], &after.sections[section]);
        let only = |sign, these: &[String], those: &[String]| -> Vec<String> {
            let lines = these.iter().filter(|line| !those.contains(line));
            lines
                .map(|line| format!("{sign} {section}: {line}"))
                .collect()
        };
        [only("-", before, after), only("+", after, before)].concat()
    }

    fn link_names(&self) -> BTreeSet<String> {
        let links = self.sections["links"].iter();
        let links = links.filter_map(|link| serde_json::from_str::<Value>(link).ok());
        links.map(|link| link["ifname"].to_string()).collect()
    }
}

/// Whether an entry of a forwarding database is what a bridge learned from a frame, whenever that came and last counted.
fn is_learned(entry: &str) -> bool {
    [r#""state":"""#, r#""state":"stale""#]
        .iter()
        .any(|state| entry.contains(state))
}

/// Whether the kernel is still at work on what it does by itself to a link that went up.
fn is_settling(node: &Node) -> bool {
    let text = node.exec(["ip", "-j", "-d", "addr", "show", "up"]);
    let links: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    let has_carrier = |link: &Value| {
        let flags = link["flags"].as_array();
        flags.is_some_and(|flags| flags.iter().any(|flag| flag == "LOWER_UP"))
    };
    links.iter().any(|link| {
        let has_carrier = has_carrier(link);
        // Theirs is known up to a second later; a dummy's never is.
        let state_comes = ["vlan", "veth"].map(Value::from);
        let state_comes = state_comes.contains(&link["linkinfo"]["info_kind"]);
        let state_lags = match link["operstate"].as_str() {
            Some("UNKNOWN") => state_comes,
            Some("UP") => !has_carrier,
            Some("DOWN" | "LOWERLAYERDOWN") => has_carrier,
            _ => false,
        };
        let mut infos = link["addr_info"].as_array().into_iter().flatten();
        let is_asked_for = |info: &Value| info["tentative"] == true && info["dadfailed"] != true;
        state_lags || has_carrier && infos.any(is_asked_for)
    })
}

/// Without timers, lifetimes, and what the kernel's own address autoconfiguration is doing.
fn steady(mut value: Value) -> Value {
    const PASSING: [&str; 4] = [
        "valid_life_time",
        "preferred_life_time",
        "used",
        "tentative",
    ];
    if let Some(keys) = value.as_object_mut() {
        keys.retain(|name, _| !name.ends_with("_timer") && !PASSING.contains(&name.as_str()));
        for value in keys.values_mut() {
            *value = steady(value.take());
        }
    } else if let Some(items) = value.as_array_mut() {
        for item in items {
            *item = steady(item.take());
        }
    }
    value
}

/// A line of a rule listing without counter values; comments of iptables-save have the time in them.
fn steady_line(line: &str) -> Option<String> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 1..words.len() {
        if ["packets", "bytes", "expires"].contains(&words[at - 1]) {
            words[at] = "…";
        }
    }
    if line.starts_with(':') {
        words.retain(|word| !word.starts_with('['));
    }
    Some(words.join(" "))
}

/// The rules of legacy iptables, and its chains but for those that come with a table's first use and stay.
fn legacy(node: &Node) -> Vec<String> {
    let used = ["ip", "ip6"].iter().any(|family| {
        let names = format!("/proc/thread-self/net/{family}_tables_names");
        node.run(|| fs::read_to_string(names))
            .is_ok_and(|names| !names.is_empty())
    });
    if !used {
        return Vec::new();
    }
    let text = node.exec(["sh", "-ec", "iptables-legacy-save; ip6tables-legacy-save"]);
    let built_in =
        |line: &String| line.starts_with('*') || line == "COMMIT" || line.ends_with(" ACCEPT");
    let lines = text.lines().filter_map(steady_line);
    lines.filter(|line| !built_in(line)).collect()
}

/// What plugins keep for attachments, which is the host's.
fn files(node: &Node) -> Vec<String> {
    let listed = fs::read_dir("/var/lib/cni/masquerade");
    let names = listed.into_iter().flatten().flatten();
    let of_host = names.filter(|_| node.is_host());
    of_host
        .map(|entry| entry.path().display().to_string())
        .collect()
}

fn settings(node: &Node) -> Vec<String> {
    let read = || {
        let mut settings = Vec::new();
        for tree in [
            "net/ipv4/ip_forward",
            "net/ipv4/conf",
            "net/ipv6/conf",
            "net/bridge",
        ] {
            collect(Path::new("/proc/sys"), tree, &mut settings);
        }
        settings
    };
    node.run(read)
}

fn collect(root: &Path, name: &str, settings: &mut Vec<String>) {
    let path = root.join(name);
    if let Ok(entries) = fs::read_dir(&path) {
        let mut names: Vec<_> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for entry in names {
            collect(root, &format!("{name}/{entry}"), settings);
        }
    } else if let Ok(value) = fs::read_to_string(&path) {
        settings.push(format!("{name} = {}", value.trim_end()));
    }
}
