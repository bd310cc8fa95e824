//! What is in a lab, read from the running kernel.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::error::{At, Error};
use super::inside::Inside;
use super::store::{Place, Running};

/// What is in the lab: nodes with their interfaces and addresses, and processes.
pub(super) fn inspect(lab: &Inside) -> Result<Value, Error> {
    let mut nodes = Vec::new();
    for node in &lab.topology.nodes {
        let processes = lab
            .state
            .processes
            .iter()
            .filter(|process| process.node == node.name);
        let processes = processes.map(|process| {
            json!({
                "name": process.name, "pid": process.pid, "running": is_running(process),
            })
        });
        nodes.push(json!({
            "name": node.name,
            "kind": node.kind.as_str(),
            "pid": match lab.state.nodes.get(&node.name) {
                Some(Place::Held(pid, _)) => json!(pid),
                _ => Value::Null,
            },
            "interfaces": interfaces(lab, &node.name)?,
            "processes": processes.collect::<Vec<_>>(),
        }));
    }
    Ok(
        json!({"name": lab.state.name, "file": lab.state.file, "host": lab.state.host, "nodes": nodes}),
    )
}

fn is_running(process: &Running) -> bool {
    Path::new("/proc").join(process.pid.to_string()).exists()
}

/// The interfaces of a node, without the loopback and the host's ends of attachments. A port of a bridge is here when it
/// is the end of an uplink.
fn interfaces(lab: &Inside, node: &str) -> Result<Vec<Value>, Error> {
    let words = ["ip", "-json", "-details", "address"].map(str::to_owned);
    let output = lab
        .command(node, &words)?
        .output()
        .at(|| format!("list addresses of {node}"))?;
    let listed: Value =
        serde_json::from_slice(&output.stdout).at(|| format!("list addresses of {node}"))?;
    let listed = listed.as_array().cloned().unwrap_or_default();
    let uplinks = &lab.topology.uplinks;
    let is_uplink = |name: &str| {
        uplinks.iter().any(|uplink| {
            (uplink.node == node && uplink.interface == name)
                || (uplink.peer == node && uplink.peer_interface == name)
        })
    };
    let interface = |link: &Value| {
        let name = link.get("ifname")?.as_str()?;
        let master = link.get("master");
        if name == "lo" || (master.is_some() && !is_uplink(name)) {
            return None;
        }
        let addresses = link
            .get("addr_info")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let addresses: Vec<_> = addresses
            .iter()
            .filter(|address| address.get("scope").and_then(Value::as_str) != Some("link"))
            .filter_map(|address| {
                Some(format!(
                    "{}/{}",
                    address.get("local")?.as_str()?,
                    address.get("prefixlen")?
                ))
            })
            .collect();
        let kind = link
            .pointer("/linkinfo/info_kind")
            .cloned()
            .unwrap_or_default();
        let mut interface = json!({
            "name": name, "kind": kind, "mac": link.get("address"), "mtu": link.get("mtu"), "addresses": addresses,
        });
        if let Some(master) = master {
            interface
                .as_object_mut()?
                .insert("master".to_owned(), master.clone());
        }
        Some(interface)
    };
    Ok(listed.iter().filter_map(interface).collect())
}

/// The same as a table.
pub(super) fn table(inspected: &Value) -> String {
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let list = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut rows = vec![["NODE", "KIND", "INTERFACE", "ADDRESSES", "PROCESSES"].map(str::to_owned)];
    for node in list(inspected, "nodes") {
        let processes = list(&node, "processes");
        let processes = processes.iter().map(|process| {
            let ended = process.get("running") == Some(&Value::Bool(false));
            format!(
                "{}{}",
                text(process, "name"),
                if ended { " (ended)" } else { "" }
            )
        });
        let mut about = [
            text(&node, "name"),
            text(&node, "kind"),
            processes.collect::<Vec<_>>().join(", "),
        ];
        let mut interfaces = list(&node, "interfaces");
        if interfaces.is_empty() {
            interfaces.push(Value::Null);
        }
        for interface in interfaces {
            let addresses = list(&interface, "addresses");
            let mut addresses: Vec<_> = addresses.iter().filter_map(Value::as_str).collect();
            let master = text(&interface, "master");
            if !master.is_empty() {
                addresses.extend(["port of", &master]);
            }
            let [name, kind, processes] = std::mem::take(&mut about);
            rows.push([
                name,
                kind,
                text(&interface, "name"),
                addresses.join(" "),
                processes,
            ]);
        }
    }
    render(&rows)
}

pub(crate) fn render<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _infallible = write!(line, "{cell:width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}
