//! Reads the checks of a topology file.

use std::time::Duration;

use super::known::Known;
use super::model::{Check, Probe, ProbeKind};
use super::reader::{Table, Value};
use super::words;

/// IPv4 protocol numbers by the names of `/etc/protocols`.
const PROTOCOLS: [(&str, u8); 6] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("ospf", 89),
    ("vrrp", 112),
];

pub(super) fn check(table: &Table<'_>, known: &Known) -> Option<Check> {
    let title = table.need("title").and_then(|title| title.string());
    let phase = table
        .get("phase")
        .map_or(Some(known.last_phase()), |phase| known.phase(&phase));
    let within = table
        .get("within")
        .and_then(|within| within.integer(0..601))
        .unwrap_or(0);
    let probes: Vec<_> = table
        .list("probes")
        .iter()
        .map(|table| probe(table, known))
        .collect();
    if probes.is_empty() {
        table.refuse("needs the key `probes`, with at least one");
    }
    table.finish();
    let probes = probes.into_iter().collect::<Option<_>>()?;
    Some(Check {
        title: title?,
        phase: phase?,
        within: Duration::from_secs(within),
        probes,
    })
}

/// A probe is known by the one key that says what is tried.
fn probe(table: &Table<'_>, known: &Known) -> Option<Probe> {
    let node = table.need("node").and_then(|node| known.node(&node));
    let kinds = ["ping", "connect", "routes", "command", "capture"];
    let mut present = kinds
        .into_iter()
        .filter_map(|kind| Some((kind, table.get(kind)?)));
    let (first, second) = (present.next(), present.next());
    let (Some((kind, value)), None) = (first, second) else {
        table.refuse(format_args!("must have one of: {}", kinds.join(", ")));
        return None;
    };
    let kind = kind_of(kind, &value, table, known);
    table.finish();
    Some(Probe {
        node: node?,
        kind: kind?,
    })
}

fn kind_of(kind: &str, value: &Value<'_>, table: &Table<'_>, known: &Known) -> Option<ProbeKind> {
    match kind {
        "ping" => {
            let answers = flag(table, "answers", true);
            Some(ProbeKind::Ping {
                to: value.parsed(words::address)?,
                answers,
            })
        }
        "connect" => connect(value, table, known),
        "routes" => {
            let show = flag(table, "show", false);
            let expected = value.items().iter().filter_map(route).collect();
            Some(ProbeKind::Routes { expected, show })
        }
        "command" => command(value, table),
        _ => capture(value, table),
    }
}

fn flag(table: &Table<'_>, key: &'static str, default: bool) -> bool {
    table
        .get(key)
        .and_then(|value| value.boolean())
        .unwrap_or(default)
}

fn connect(value: &Value<'_>, table: &Table<'_>, known: &Known) -> Option<ProbeKind> {
    let listener = table.need("listener").and_then(|node| known.node(&node));
    let opens = flag(table, "opens", true);
    let seen_as = table
        .get("seen-as")
        .and_then(|address| address.parsed(words::address));
    Some(ProbeKind::Connect {
        to: value.parsed(words::socket)?,
        listener: listener?,
        opens,
        seen_as,
    })
}

/// A line as `ip route` prints it: a destination, then pairs of a word and its value.
fn route(value: &Value<'_>) -> Option<Vec<String>> {
    const PAIRS: [&str; 7] = ["via", "dev", "proto", "metric", "src", "scope", "table"];
    let line = value.string()?;
    let mut words = line.split_whitespace();
    let valid = words
        .next()
        .is_some_and(|to| to == "default" || super::words::cidr(to).is_ok());
    let rest: Vec<_> = words.collect();
    let pairs = rest
        .chunks(2)
        .all(|pair| matches!(pair, [key, _] if PAIRS.contains(key)));
    if !valid || !pairs {
        value.refuse(format_args!(
            "must be `default` or a network, then pairs of: {}",
            PAIRS.join(", ")
        ));
        return None;
    }
    Some(line.split_whitespace().map(str::to_owned).collect())
}

fn command(value: &Value<'_>, table: &Table<'_>) -> Option<ProbeKind> {
    let strings = |key| {
        table
            .get(key)
            .map(|value| value.one_or_more())
            .unwrap_or_default()
    };
    let strings = |key| strings(key).iter().filter_map(Value::string).collect();
    let json = table.entries_of("json");
    let pointer = |(pointer, value): &(String, Value<'_>)| {
        if !pointer.starts_with('/') {
            value.refuse("the key must be a JSON pointer: /a/0/b, with '/' in a name written ~1");
        }
        Some((pointer.clone(), value.json()?))
    };
    let json = json.iter().filter_map(pointer).collect();
    let status = table
        .get("status")
        .and_then(|status| status.integer(0..256))
        .unwrap_or(0);
    let (contains, lacks, show) = (
        strings("contains"),
        strings("lacks"),
        flag(table, "show", false),
    );
    let command = words::command(value)?;
    let status = i32::try_from(status).unwrap_or_default();
    Some(ProbeKind::Command {
        command,
        status,
        contains,
        lacks,
        json,
        show,
    })
}

fn capture(value: &Value<'_>, table: &Table<'_>) -> Option<ProbeKind> {
    let interfaces = |key| -> Vec<String> {
        let values = table
            .get(key)
            .map(|value| value.items())
            .unwrap_or_default();
        values
            .iter()
            .filter_map(|value| value.parsed(words::interface))
            .collect()
    };
    let (seen_on, silent_on) = (interfaces("seen-on"), interfaces("silent-on"));
    // Without an interface that carries some, silence proves nothing.
    if seen_on.is_empty() {
        table.refuse(
            "needs the key `seen-on`, with at least one interface that must carry such packets",
        );
    }
    let to = table.get("to").and_then(|to| to.parsed(words::cidr));
    let seconds = table
        .get("seconds")
        .and_then(|seconds| seconds.integer(1..61))
        .unwrap_or(2);
    let protocol = value.parsed(|word| words::one_of(word, &PROTOCOLS))?;
    Some(ProbeKind::Capture {
        protocol,
        to,
        seen_on,
        silent_on,
        listen: Duration::from_secs(seconds),
    })
}
