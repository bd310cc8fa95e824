//! `static-ipam`: the addresses that the configuration, the runtime or the container's name says.
#![forbid(unsafe_code)]

mod assign;
mod check;
mod config;
mod ipam;

use std::process::ExitCode;

fn main() -> ExitCode {
    cni_common::plugin::run(&ipam::StaticIpam)
}
