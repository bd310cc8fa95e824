//! `masquerade`: source NAT and forwarding for a container network.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use cni_common::alloc::Arena;

#[global_allocator]
static ALLOCATOR: Arena = Arena::new();

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("reload") => masquerade::reload::run(&arguments.collect::<Vec<_>>()),
        _ => cni_common::plugin::run(&masquerade::Masquerade),
    }
}
