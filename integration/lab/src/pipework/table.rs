//! `--list`: what is attached, for people and as JSON.

use serde_json::{Value, json};

use super::book::Attached;

/// The state of an attachment.
fn state(attached: &Attached) -> &'static str {
    match attached.result() {
        None => "incomplete",
        Some(_) if attached.is_alive() => "attached",
        Some(_) => "gone",
    }
}

fn addresses(attached: &Attached) -> Vec<&str> {
    let ips = attached
        .result()
        .and_then(|result| result.get("ips")?.as_array());
    let ips = ips.into_iter().flatten();
    ips.filter_map(|ip| ip.get("address")?.as_str()).collect()
}

/// The Ethernet address of the interface in the guest.
fn mac<'a>(attached: &'a Attached) -> Option<&'a str> {
    let interfaces = attached.result()?.get("interfaces")?.as_array()?;
    let inside = |each: &&&'a Value| {
        let sandbox = each.get("sandbox").and_then(Value::as_str);
        each.get("name").and_then(Value::as_str) == Some(attached.interface())
            && sandbox.is_some_and(|path| !path.is_empty())
    };
    interfaces
        .iter()
        .collect::<Vec<_>>()
        .iter()
        .find(inside)?
        .get("mac")?
        .as_str()
}

/// As a table.
pub(super) fn table(all: &[Attached]) -> String {
    let head = ["GUEST", "INTERFACE", "ON", "ADDRESS", "STATE", "LINE"].map(str::to_owned);
    let row = |attached: &Attached| {
        let addresses = addresses(attached).join(" ");
        [
            attached.guest.clone(),
            attached.interface().to_owned(),
            attached.network().to_owned(),
            if addresses.is_empty() {
                "-".to_owned()
            } else {
                addresses
            },
            state(attached).to_owned(),
            attached.line.clone(),
        ]
    };
    let rows: Vec<_> = [head].into_iter().chain(all.iter().map(row)).collect();
    crate::topology::render(&rows)
}

/// As JSON.
pub(super) fn json(all: &[Attached]) -> Value {
    let one = |attached: &Attached| {
        json!({
            "guest": attached.guest, "container": attached.container(), "interface": attached.interface(),
            "on": attached.network(), "addresses": addresses(attached), "mac": mac(attached),
            "netns": attached.netns(), "state": state(attached), "line": attached.line,
        })
    };
    all.iter().map(one).collect()
}
