//! `dhcp-ipam list`, `show`, `renew`, `release`, `metrics` and `watch`: the daemon for people.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::ident::{ContainerId, IfName, NetworkName};
use cni_common::json::{Json, Object, Problems};
use cni_common::owner::Owner;

use super::{Answer, Request};
use crate::config::SOCKET;
use crate::reach;

/// For the whole of an answer, which may be ten thousand leases by a machine that has other things to do.
const PATIENCE: Duration = Duration::from_mins(1);
const USAGE: &str = "usage: dhcp-ipam list [--json] [--socketpath PATH]\n       \
    dhcp-ipam show [--json] [--socketpath PATH] NETWORK/CONTAINER/IFNAME\n       \
    dhcp-ipam renew|release [--socketpath PATH] NETWORK/CONTAINER/IFNAME\n       \
    dhcp-ipam metrics|watch [--socketpath PATH]\n";
/// The words that are for this module.
pub(crate) const COMMANDS: [&str; 6] = ["list", "show", "renew", "release", "metrics", "watch"];

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
            "--json" if ["list", "show"].contains(&command) => json = true,
            "--socketpath" => socket = rest.next().map(PathBuf::from).ok_or_else(usage)?,
            name if ["show", "renew", "release"].contains(&command) && owner.is_none() => {
                owner = Some(parse_owner(name)?);
            }
            _ => return Err(usage()),
        }
    }
    let request = match (command, owner) {
        ("list", None) => Request::List,
        ("metrics", None) => Request::Metrics,
        ("watch", None) => Request::Watch,
        ("show", Some(owner)) => Request::Describe(owner),
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
    if request == Request::Watch {
        return watch(stream);
    }
    match reach::ask(stream, &request, PATIENCE)? {
        Answer::List(list) if json && command == "show" => {
            Ok(list.iter().map(|one| one.to_pretty() + "\n").collect())
        }
        Answer::List(list) if json => Ok(Json::Array(list).to_pretty() + "\n"),
        Answer::List(list) if command == "show" => Ok(list.iter().map(in_full).collect()),
        Answer::Text(text) => Ok(text),
        Answer::List(list) => Ok(table(&list)),
        Answer::Done | Answer::Lease(_) | Answer::Failed { .. } => Ok(String::new()),
    }
}

/// Passes events on as they come, until the daemon ends or nobody reads them any more.
fn watch(mut stream: UnixStream) -> Result<String, Error> {
    let doing = || "watch the daemon of dhcp-ipam";
    stream
        .write_all(Request::Watch.to_line().as_bytes())
        .step(doing)?;
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).step(doing)?;
    // From here on every event comes.
    Answer::parse(&line)?;
    line.clear();
    // Whole lines: who reads them may be somebody's program.
    while lines.read_until(b'\n', &mut line).step(doing)? > 0 {
        let mut out = std::io::stdout().lock();
        out.write_all(&line)
            .and_then(|()| out.flush())
            .step(doing)?;
        line.clear();
    }
    Err(Error::new(Code::TryAgain, "the daemon ended"))
}

/// Everything about one attachment, a line for each thing.
fn in_full(json: &Json) -> String {
    fn lines(name: &str, json: &Json, text: &mut String) {
        let mut line = |value: &str| {
            text.extend([format!("{name:<22} {value}\n")]);
        };
        match json {
            Json::Null => {}
            Json::Bool(value) => line(&value.to_string()),
            Json::Number(number) => line(&number.to_string()),
            Json::String(value) => line(value),
            Json::Array(items) => {
                for item in items {
                    lines(name, item, text);
                }
            }
            Json::Object(entries) => {
                for (key, value) in entries {
                    let inner = match name {
                        "" => key.clone(),
                        outer => format!("{outer}.{key}"),
                    };
                    lines(&inner, value, text);
                }
            }
        }
    }
    let mut text = String::new();
    lines("", json, &mut text);
    text
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
