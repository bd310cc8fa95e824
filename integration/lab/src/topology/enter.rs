//! Going into a lab that is up, from outside: `exec`, and the verbs that look at it or take it down.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use nix::sys::signal::Signal;

use super::error::{At, Error};
use super::hold::{ENTERED, own_program};
use super::inside::Inside;
use super::namespace::{Entrance, lacks_groups, outlive};
use super::setgroups;
use super::store::Store;

/// Enters the namespaces of the holder with this process; its children are wholly inside. On the real host there is
/// nothing to enter.
pub(super) fn enter(store: &Store) -> Result<(), Error> {
    let Some(holder) = store.holder()? else {
        let name = store.name();
        return Err(Error::new(format!(
            "lab {name} is not up: its holder died; topology down --name {name} clears it away"
        )));
    };
    if store.state()?.host {
        return Ok(());
    }
    let entered = || {
        // Before, as in there /proc is that of another PID namespace, of which this process is no part.
        let lacks_groups = lacks_groups(&holder.to_string())?;
        Entrance::of_process(holder, ENTERED)?.enter()?;
        if lacks_groups {
            setgroups::pretend()?;
        }
        Ok::<_, std::io::Error>(())
    };
    entered().at(|| format!("enter lab {}", store.name()))
}

/// Runs one of this program's hidden verbs inside the lab and gives its exit status.
pub(super) fn run_inside(store: &Store, verb: &[&str]) -> Result<ExitCode, Error> {
    let program = own_program()?;
    enter(store)?;
    let mut command = Command::new(program);
    command.arg("inside").arg(store.path()).args(verb);
    let status = command
        .status()
        .at(|| format!("run {} inside", verb.join(" ")))?;
    Ok(exit_code(status))
}

/// Runs a command in a node with this terminal, and gives its exit status. Without a command: a shell.
pub(super) fn exec(store: &Store, node: &str, words: &[String]) -> Result<ExitCode, Error> {
    enter(store)?;
    let lab = Inside::open(store)?;
    let shell = [std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())];
    let words = if words.is_empty() { &shell } else { words };
    let mut command = lab.command(node, words)?;
    command.stdin(std::process::Stdio::inherit());
    // The terminal's signals are for the command; we stay to give its exit status.
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        outlive(signal).at(|| format!("catch {signal}"))?;
    }
    let mut child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(format!(
                "{}: not found in {node}",
                words.join(" ")
            )));
        }
        spawned => spawned.at(|| format!("run {} in {node}", words.join(" ")))?,
    };
    Ok(exit_code(child.wait().at(|| "wait".to_owned())?))
}

/// As a shell gives it: 128 and the signal's number for a process that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| status.signal().unwrap_or(0).saturating_add(128));
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}
