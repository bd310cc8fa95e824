//! `bridge-attach`: joins a container to a Linux bridge.
#![forbid(unsafe_code)]

mod attach;
mod bridge;
mod check;
mod collect;
mod config;
mod detach;
mod firewall;
mod host_routes;
mod masq;
mod names;
mod plan;
mod plugin;
mod spoof;

use std::process::ExitCode;

fn main() -> ExitCode {
    cni_common::plugin::run(&plugin::BridgeAttach)
}
