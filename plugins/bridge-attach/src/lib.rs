//! `bridge-attach`: joins a container to a Linux bridge.
#![forbid(unsafe_code)]

mod adopt;
mod attach;
mod bridge;
mod check;
mod collect;
mod config;
#[cfg(any(test, fuzzing))]
pub mod corpus;
mod detach;
mod firewall;
mod gateways;
mod host_routes;
mod masq;
mod names;
mod plan;
mod plugin;
mod policy;
mod reference;
mod spoof;
mod status;
mod uplink;
mod vlan_gateway;

use std::process::ExitCode;

/// Serves one call of the runtime.
pub fn run() -> ExitCode {
    cni_common::plugin::run(&plugin::BridgeAttach)
}
