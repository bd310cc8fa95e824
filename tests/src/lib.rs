//! The testbed: a throwaway host, containers on it, and plugins called as a runtime calls them.
//!
//! Every test thread has its own mount and network namespace (and the process its own user namespace where it is
//! not root), so plain `cargo test` runs in parallel, each test may use the same names, and nothing is left behind.
//! The kernel is read back with `ip`, `nft` and `ping`, never with the decoders under test.
//!
//! ```no_run
//! use plumb_tests::{Host, conf, json};
//!
//! let host = Host::new();
//! let c1 = host.container("c1");
//! let conf = conf("bridge-attach", json!({ "bridge": "cni0" }));
//! let result = host.plugin("bridge-attach").add(&c1, &conf).succeeds();
//! assert_eq!(result["interfaces"][0]["name"], "cni0");
//! host.plugin("bridge-attach").previous(&result).del(&c1, &conf).succeeds();
//! ```
//!
//! A test file begins with `#![cfg(test)]`, so that its helpers may unwrap as its tests do.
//!
//! What a newcomer gets wrong: a [`Host`] belongs to the thread that made it. Threads started from that thread
//! (see [`at_once`]) share its namespaces; no other thread does.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a testbed speaks by panicking, at the line of the test that called it"
)]

mod binaries;
mod concurrent;
mod container;
mod dnsmasq;
pub mod faults;
mod firewalld;
mod host;
mod input;
mod node;
mod outcome;
mod plugin;
mod process;
// Shared, and not through a dependency: the lab is made without the tests, and they without it.
#[path = "../../integration/lab/src/topology/setgroups.rs"]
mod setgroups;
mod skip;
mod state;
mod userns;

pub use binaries::{Binaries, binaries, our_binaries};
pub use concurrent::{at_once, patience, until};
pub use container::Container;
pub use firewalld::Firewalld;
pub use host::Host;
pub use input::{Conf, conf, conf_for};
pub use node::{Node, Ran};
pub use outcome::Outcome;
pub use plugin::Plugin;
pub use process::{Capture, Process};
pub use serde_json::{Value, json};
pub use skip::skip;
pub use state::State;
pub use userns::require_namespaces;
