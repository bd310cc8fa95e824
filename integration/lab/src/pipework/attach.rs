//! Executing a line: attached once, however often it is said; shown instead, if that is wanted.

use std::fmt::Write;

use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netns::Netns;
use serde_json::Value;

use super::book::{Attached, Book, attachment};
use super::conflist::{Target, conflist};
use super::guest::{self, Guest};
use super::host::Host;
use super::line::{Line, Mode};
use crate::runtime::NetworkList;
use crate::topology::{At, Error, say};

/// The key under which the list says what a NIC was before it was given away.
pub(super) const RESTORE: &str = "restore";

/// Executes a line, or shows what it stands for.
pub(super) fn attach(line: &Line, mode: Mode) -> Result<(), Error> {
    let mut host = Host::read()?;
    if mode == Mode::Emit {
        let target = host.target(&line.host)?;
        let list = conflist(line, &target).map_err(Error::new)?;
        say(&pretty(&list)?);
        return Ok(());
    }
    let book = Book::open()?;
    let (guest, lock) = loop {
        let guest = guest::find(&line.guest)?;
        if mode == Mode::DryRun {
            break (guest, None);
        }
        let lock = book.lock(&guest.id)?;
        // It may have been started anew while another line was waited for.
        if guest::find(&line.guest)? == guest {
            break (guest, Some(lock));
        }
    };
    // Another line may have made a bridge meanwhile, or given a NIC away.
    let existing: Vec<_> = book
        .all()?
        .into_iter()
        .filter(|each| each.container() == guest.id && each.interface() == line.interface)
        .collect();
    let mut host = Host::read()?;
    let target = target(&mut host, line, &existing, &guest)?;
    let list = conflist(line, &target).map_err(Error::new)?;
    let (attached, stale) = judged(line, &list, existing, &guest)?;
    if mode == Mode::DryRun {
        return show(&book, line, &list, &guest, attached);
    }
    if attached {
        return Ok(());
    }
    for each in stale {
        book.detach(&each, false)?;
    }
    warn_of_ignored(line, &target);
    host.prepare(line, &target)?;
    let list = with_snapshot(&mut host, &target, list)?;
    let said = line.words.join(" ");
    let attached = book.attach(&list, &said, (&line.guest, &guest), &line.interface);
    drop(lock);
    attached
}

/// What the line's first word is on the host. A NIC that this very line gave away is not there to be looked at.
fn target(
    host: &mut Host,
    line: &Line,
    existing: &[Attached],
    guest: &Guest,
) -> Result<Target, Error> {
    let given = existing
        .iter()
        .find(|each| line.direct && each.is_of(guest) && each.line == line.words.join(" "));
    match (host.target(&line.host), given) {
        (Err(_), Some(given)) => Ok(Target::Nic {
            name: given.network().to_owned(),
            by_mac: None,
        }),
        (target, _) => target,
    }
}

/// Whether the guest has what the line asks for, and what of the guest's is only remembered: a guest that was started
/// anew, an interface that is gone, an ADD that did not finish.
fn judged(
    line: &Line,
    list: &Value,
    existing: Vec<Attached>,
    guest: &Guest,
) -> Result<(bool, Vec<Attached>), Error> {
    let mut stale = Vec::new();
    let mut attached = false;
    for each in existing {
        let there = each.is_of(guest) && each.result().is_some() && has_interface(guest, line)?;
        if !there {
            stale.push(each);
        } else if each.is_as(list) {
            attached = true;
        } else {
            return Err(Error::new(format!(
                "{interface} of {} is attached already, by: pipework {}\nTake it away first: pipework --del {} {interface}",
                line.guest,
                each.line,
                line.guest,
                interface = line.interface
            )));
        }
    }
    Ok((attached, stale))
}

fn has_interface(guest: &Guest, line: &Line) -> Result<bool, Error> {
    let step = || format!("look into {}", line.guest);
    let name = IfName::parse(&line.interface).at(step)?;
    let netns = Netns::open(&guest.netns).at(step)?;
    let found = netns.run(|| Rtnl::open()?.link_by_name(&name)).at(step)?;
    Ok(found.at(step)?.is_some())
}

/// Says what of a line has no effect.
fn warn_of_ignored(line: &Line, target: &Target) {
    if line.local.is_some() && !matches!(target, Target::Bridge(_)) {
        super::cli::complain("-l has no effect: only guests on a bridge have an end on the host");
    }
}

/// The list with what a NIC that is given away was before.
fn with_snapshot(host: &mut Host, target: &Target, mut list: Value) -> Result<Value, Error> {
    let Target::Nic { name, .. } = target else {
        return Ok(list);
    };
    if let Some(plugin) = list
        .pointer_mut("/plugins/0")
        .and_then(Value::as_object_mut)
        && plugin.get("type").and_then(Value::as_str) == Some("host-device")
    {
        plugin.insert(RESTORE.to_owned(), host.snapshot(name)?);
    }
    Ok(list)
}

fn pretty(list: &Value) -> Result<String, Error> {
    serde_json::to_string_pretty(list).at(|| "write JSON".to_owned())
}

/// Prints the list, and the calls of plugins as commands for a shell.
fn show(
    book: &Book,
    line: &Line,
    list: &Value,
    guest: &Guest,
    attached: bool,
) -> Result<(), Error> {
    let parsed = NetworkList::from_value(list.clone()).at(|| "network configuration".to_owned())?;
    let calls = book
        .runtime()
        .planned(&parsed, &attachment(guest, &line.interface));
    let mut text = format!("# pipework {}\n", line.words.join(" "));
    if attached {
        text += "# is attached already: nothing would be done\n";
    }
    for each in pretty(list)?.lines() {
        let _infallible = writeln!(text, "#   {each}");
    }
    for call in calls.at(|| "plan".to_owned())? {
        let _infallible = writeln!(text, "{}", call.for_shell());
    }
    say(text.trim_end());
    Ok(())
}
