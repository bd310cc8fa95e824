//! `static-ipam`: the addresses that the configuration, the runtime or the container's name says.
#![forbid(unsafe_code)]

mod assign;
mod check;
mod config;
#[cfg(test)]
mod corpus_tests;
mod ipam;

use std::process::ExitCode;

use cni_common::alloc::Arena;

#[global_allocator]
static ALLOCATOR: Arena = Arena::new();

fn main() -> ExitCode {
    cni_common::plugin::run(&ipam::StaticIpam)
}
