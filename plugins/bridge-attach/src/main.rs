//! `bridge-attach`: joins a container to a Linux bridge.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use cni_common::alloc::Arena;

#[global_allocator]
static ALLOCATOR: Arena = Arena::new();

fn main() -> ExitCode {
    bridge_attach::run()
}
