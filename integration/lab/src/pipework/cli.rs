//! The program: 0 when all is well, 1 when something could not be done, and the command's own status for `route`, `rule`
//! and `tc`.

use std::process::ExitCode;

use super::book::{Attached, Book};
use super::guest;
use super::host::Host;
use super::line::{Request, parse};
use super::{attach, inside, table};
use crate::device;
use crate::topology::{At, Error, say};

const SYNTAX: &str = "\
Syntax:
pipework <hostinterface> [-i containerinterface] [-l localinterfacename] [-a addressfamily] <guest> <ipaddr>/<subnet>[@default_gateway] [macaddr][@vlan]
pipework <hostinterface> [-i containerinterface] [-l localinterfacename] <guest> dhcp [macaddr][@vlan]
pipework mac:<hostinterface_macaddress> [-i containerinterface] <guest> <ipaddr>/<subnet>[@default_gateway] [macaddr][@vlan]
pipework --direct-phys <hostinterface> [-i containerinterface] <guest> <ipaddr>/<subnet>[@default_gateway] [macaddr][@vlan]
pipework dummy [-i containerinterface] <guest> <ipaddr>/<subnet>[@default_gateway] [macaddr]
pipework route <guest> <route_command>
pipework rule <guest> <rule_command>
pipework tc <guest> <tc_command>
pipework --wait [-i containerinterface]

What else this pipework can do:
pipework --list [--json]                  what is attached
pipework --del <guest> [interface]        detaches a guest, or one interface of it
pipework --gc                             detaches what belongs to guests that are gone
pipework --dry-run <line>                 prints the network configuration and the calls of plugins a line stands for
pipework --emit conflist <line>           prints the network configuration list alone

A guest is a container of docker, podman, containerd, CRI or LXC, a name of `ip netns`, a process id, or the path of a
network namespace; docker:NAME, podman:NAME, nerdctl:NAME, containerd:NAME, cri:NAME, lxc:NAME, netns:NAME and pid:N say
which. Plugins are looked for beside this program and in /opt/cni/bin, or where CNI_PATH says.";

/// Runs the program.
pub fn main() -> ExitCode {
    let words: Vec<_> = match std::env::args_os()
        .skip(1)
        .map(std::ffi::OsString::into_string)
        .collect::<Result<_, _>>()
    {
        Ok(words) => words,
        Err(word) => {
            complain(&format!("{}: is not UTF-8", word.display()));
            return ExitCode::FAILURE;
        }
    };
    // The lab's runtime executes this program for the plugins that are parts of it.
    if let [flag, kind] = words.as_slice()
        && flag == "--plugin"
        && let Some(code) = device::serve(kind)
    {
        return code;
    }
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Tells people something.
#[expect(
    clippy::print_stderr,
    reason = "the one place where this program reports errors and warnings"
)]
pub(super) fn complain(words: &str) {
    eprintln!("{words}");
}

fn run(words: &[String]) -> Result<ExitCode, Error> {
    // Without a right to ask the kernel, words are still checked.
    let host = Host::read().ok();
    let is_link = |name: &str| host.as_ref().is_some_and(|host| host.link(name).is_some());
    match parse(words, &is_link).map_err(Error::new)? {
        Request::Syntax { asked } => {
            say(SYNTAX);
            return Ok(if asked {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Request::Version => say(&format!("pipework of Plumb {}", env!("CARGO_PKG_VERSION"))),
        Request::Attach(line, mode) => attach::attach(&line, mode)?,
        Request::Inside { command, guest } => return inside::run(&command, &guest),
        Request::Wait { interface } => inside::wait(&interface)?,
        Request::List { json } => list(json)?,
        Request::Delete { guest, interface } => delete(&guest, interface.as_deref())?,
        Request::Collect => {
            for each in Book::open()?.collect()? {
                say(&each);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<(), Error> {
    let all = Book::open()?.all()?;
    if json {
        let text = serde_json::to_string_pretty(&table::json(&all));
        say(&text.at(|| "write JSON".to_owned())?);
    } else if !all.is_empty() {
        say(table::table(&all).trim_end());
    }
    Ok(())
}

/// Detaches the newest first. That nothing is there is said and is no error: a second call is as good as one.
fn delete(word: &str, interface: Option<&str>) -> Result<(), Error> {
    let book = Book::open()?;
    let meant = |attached: &Attached, id: Option<&str>| {
        let named = attached.guest == word
            || attached.container() == word
            || id == Some(attached.container())
            || is_short_id(word, attached.container());
        named && interface.is_none_or(|interface| interface == attached.interface())
    };
    let all = book.all()?;
    let mut found: Vec<_> = all.iter().filter(|each| meant(each, None)).collect();
    if found.is_empty() {
        // By another name than the line had; it may be gone, and then only the line's own name helps.
        let id = guest::find(word).ok().map(|guest| guest.id);
        found = all
            .iter()
            .filter(|each| meant(each, id.as_deref()))
            .collect();
    }
    if found.is_empty() {
        let interface = interface.map(|name| format!(" {name}"));
        complain(&format!(
            "{word}{}: nothing of it is attached; `pipework --list` shows what is",
            interface.unwrap_or_default()
        ));
        return Ok(());
    }
    let mut failures = Vec::new();
    for attached in found.iter().rev() {
        let _lock = book.lock(attached.container())?;
        let Some(attached) = &book.now(attached)? else {
            continue;
        };
        failures.extend(
            book.detach(attached, true)
                .err()
                .map(|error| error.to_string()),
        );
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Error::new(failures.join("\n")))
    }
}

/// The first twelve digits or more of a container's id, as docker shows them.
fn is_short_id(word: &str, id: &str) -> bool {
    word.len() >= 12 && id.len() == 64 && id.starts_with(word)
}
