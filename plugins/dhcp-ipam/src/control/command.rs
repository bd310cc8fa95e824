//! `dhcp-ipam list`, `renew` and `release`: the daemon for people.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::ident::{ContainerId, IfName, NetworkName};
use cni_common::json::{Json, Object, Problems};
use cni_common::owner::Owner;

use super::{Answer, Request};
use crate::config::SOCKET;
use crate::reach;

const PATIENCE: Duration = Duration::from_secs(10);
const USAGE: &str = "usage: dhcp-ipam list [--json] [--socketpath PATH]\n       \
    dhcp-ipam renew|release [--socketpath PATH] NETWORK/CONTAINER/IFNAME\n";

/// Runs a command; what it says is for people.
pub(crate) fn run(command: &str, arguments: &[String]) -> ExitCode {
    match ask(command, arguments) {
        Ok(text) => {
            let written = std::io::stdout().write_all(text.as_bytes());
            written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(error) => {
            // There is nobody to tell when stderr cannot be written.
            let _ = writeln!(std::io::stderr(), "dhcp-ipam {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(command: &str, arguments: &[String]) -> Result<String, Error> {
    let mut json = false;
    let mut socket = PathBuf::from(SOCKET);
    let mut owner = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" if command == "list" => json = true,
            "--socketpath" => socket = rest.next().map(PathBuf::from).ok_or_else(usage)?,
            name if command != "list" => owner = Some(parse_owner(name)?),
            _ => return Err(usage()),
        }
    }
    let request = match (command, owner) {
        ("list", None) => Request::List,
        ("renew", Some(owner)) => Request::Renew(owner),
        ("release", Some(owner)) => Request::Del(owner),
        _ => return Err(usage()),
    };
    let stream = reach::dial(&socket)?.ok_or_else(|| {
        Error::new(
            Code::Io,
            format!("no daemon listens at {}", socket.display()),
        )
    })?;
    match reach::ask(stream, &request, PATIENCE)? {
        Answer::List(list) if json => Ok(Json::Array(list).to_pretty() + "\n"),
        Answer::List(list) => Ok(table(&list)),
        Answer::Done | Answer::Lease { .. } | Answer::Failed { .. } => Ok(String::new()),
    }
}

fn usage() -> Error {
    Error::new(Code::InvalidConfig, USAGE)
}

fn parse_owner(name: &str) -> Result<Owner, Error> {
    let mut parts = name.splitn(3, '/');
    let mut next = || parts.next().unwrap_or_default();
    let owner = (|| {
        Ok::<_, cni_common::ident::Invalid>(Owner {
            network: NetworkName::parse(next())?,
            container: ContainerId::parse(next())?,
            ifname: IfName::parse(next())?,
        })
    })();
    owner.map_err(|invalid| Error::new(Code::InvalidConfig, format!("{name}: {invalid}")))
}

/// One line for each attachment.
fn table(list: &[Json]) -> String {
    const KEYS: [(&str, &str); 6] = [
        ("ATTACHMENT", "attachment"),
        ("STATE", "state"),
        ("ADDRESS", "address"),
        ("SERVER", "server"),
        ("EXPIRES", "expiresIn"),
        ("LAST ERROR", "lastError"),
    ];
    let problems = Problems::default();
    let mut rows = vec![KEYS.map(|(title, _)| title.to_owned())];
    for item in list {
        let Ok(object) = Object::root(item, &problems) else {
            continue;
        };
        rows.push(KEYS.map(|(_, key)| object.text(key).unwrap_or("-").to_owned()));
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..KEYS.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths);
        let text: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
