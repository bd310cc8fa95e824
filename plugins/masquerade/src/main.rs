//! `masquerade`: source NAT and forwarding for a container network.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cni_common::plugin::run(&masquerade::Masquerade)
}
