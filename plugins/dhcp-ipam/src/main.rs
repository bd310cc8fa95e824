//! `dhcp-ipam`: addresses from a DHCP server, kept alive by a daemon that is this same program.

mod client;
mod config;
mod control;
mod daemon;
mod duid;
mod inside;
mod lease;
mod plugin;
mod random;
mod reach;
mod record;
mod socket;
mod store;
mod time;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("daemon") => daemon::run(&arguments.collect::<Vec<_>>()),
        Some(command) if control::command::COMMANDS.contains(&command) => {
            control::command::run(command, &arguments.collect::<Vec<_>>())
        }
        _ => cni_common::plugin::run(&plugin::DhcpIpam),
    }
}
