//! `dhcp-ipam`: addresses from a DHCP server, kept alive by a daemon that is this same program.

mod client;
mod client6;
mod config;
mod control;
#[cfg(any(test, fuzzing))]
pub mod corpus;
mod daemon;
mod dual;
mod duid;
mod inside;
mod inside6;
mod kept;
mod lease;
mod lease6;
mod plugin;
mod random;
mod reach;
mod record;
mod record6;
mod store;
mod sys;
mod time;
mod wire;

use std::process::ExitCode;

/// Runs the program with these arguments: the daemon, a command for people, or, without any, the plugin.
pub fn run(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    match arguments.next().as_deref() {
        Some("daemon") => daemon::run(&arguments.collect::<Vec<_>>()),
        Some(command) if control::command::COMMANDS.contains(&command) => {
            control::command::run(command, &arguments.collect::<Vec<_>>())
        }
        _ => cni_common::plugin::run(&plugin::DhcpIpam),
    }
}
