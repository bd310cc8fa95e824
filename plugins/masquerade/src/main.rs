//! `masquerade`: source NAT and forwarding for a container network.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use cni_common::alloc::Arena;

#[global_allocator]
static ALLOCATOR: Arena = Arena::new();

fn main() -> ExitCode {
    cni_common::plugin::run(&masquerade::Masquerade)
}
