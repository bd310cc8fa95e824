//! `vlan`: gives a container an interface on a VLAN.
#![forbid(unsafe_code)]

mod attach;
mod check;
mod collect;
mod config;
mod detach;
mod lower;
mod names;
mod plugin;
mod shared;
mod target;

use std::process::ExitCode;

fn main() -> ExitCode {
    cni_common::plugin::run(&plugin::Vlan)
}
