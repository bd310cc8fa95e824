//! Reads the nodes of a topology file.

use std::path::{Component, Path, PathBuf};

use super::model::{Join, Kind, Node};
use super::reader::{Table, Value};
use super::words;

pub(super) fn node(name: &str, table: &Table<'_>) -> Option<Node> {
    let named = words::name(name).map_err(|must| table.refuse(must));
    let kinds = [Kind::Host, Kind::Container, Kind::Internet].map(|kind| (kind.as_str(), kind));
    let kind = match table.get("kind") {
        Some(kind) => kind.parsed(|word| words::one_of(word, &kinds)),
        None => Some(Kind::Container),
    };
    let sysctl = table
        .entries_of("sysctl")
        .iter()
        .filter_map(|(key, value)| sysctl(key, value))
        .collect();
    let files = table
        .entries_of("files")
        .iter()
        .filter_map(|(at, value)| file(at, value))
        .collect();
    let join = table.get("join").and_then(|join| join_of(&join));
    table.finish();
    Some(Node {
        name: named.ok()?,
        kind: kind?,
        sysctl,
        files,
        join,
    })
}

fn sysctl(key: &str, value: &Value<'_>) -> Option<(String, String)> {
    if key.is_empty() || key.starts_with(['.', '/']) || key.split(['.', '/']).any(str::is_empty) {
        value.refuse("is not named as sysctl(8) does: net.ipv4.ip_forward");
        return None;
    }
    // Where root brings the lab up, nothing else would keep these from the real host.
    if key.split(['.', '/']).next() != Some("net") {
        value.refuse("is a setting of the whole machine; a node has those under net");
        return None;
    }
    Some((key.to_owned(), value.string()?))
}

fn file(at: &str, value: &Value<'_>) -> Option<(PathBuf, PathBuf)> {
    if !at.starts_with('/')
        || Path::new(at)
            .components()
            .any(|part| part == Component::ParentDir)
    {
        value.refuse("the place must be an absolute path without '..'");
        return None;
    }
    Some((at.into(), value.string()?.into()))
}

fn join_of(value: &Value<'_>) -> Option<Join> {
    let table = value.table()?;
    let pid = table
        .get("pid")
        .and_then(|pid| pid.integer(1..1 << 22))
        .and_then(|pid| u32::try_from(pid).ok());
    let netns = table.get("netns").and_then(|name| name.parsed(words::name));
    let path = table
        .get("path")
        .and_then(|path| path.parsed(words::absolute));
    table.finish();
    let mut found = [
        pid.map(Join::Pid),
        netns.map(Join::Netns),
        path.map(Join::Path),
    ]
    .into_iter()
    .flatten();
    if let (Some(join), None) = (found.next(), found.next()) {
        return Some(join);
    }
    table.refuse("must have one of: pid, netns, path");
    None
}
