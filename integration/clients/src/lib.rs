//! Real container runtimes on a throwaway machine, with the plugins under test where they look for plugins.
//!
//! A [`Machine`] is a [`Host`](plumb_tests::Host) on which more than network happens: process ids, control groups and the
//! places where runtimes look for CNI (`/opt/cni/bin`, `/etc/cni/net.d`) are its own too, and all that runs on it ends
//! with it. Containers are looked at from inside, by the runtime's own `exec`.
//!
//! What a newcomer gets wrong: only what [`Machine::exec`] and [`Machine::spawn`] start is on the machine. The host it
//! stands on shares the network, and nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a testbed speaks by panicking, at the line of the test that called it"
)]

mod containerd;
mod cri;
mod docker;
mod image;
mod machine;
mod plugins;
mod podman;

pub use containerd::Containerd;
pub use cri::Cri;
pub use docker::Docker;
pub use machine::Machine;
pub use plugins::{DIRECTORY, install, install_ours, reference};
pub use podman::Podman;
