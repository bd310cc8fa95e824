//! `pipework`: the command line of the shell script of that name, through our plugins.
//!
//! A line says which guest gets which interface. It is turned into a network configuration list (pure), and the lab's
//! runtime executes that; what it remembers of each attachment is all that is on disk.
//!
//! ```text
//! words ── line ──> Line ── conflist (with what host finds) ──> list ── attach ──> Runtime ── book ──> list, del, gc
//!                     └───── guest (netns, pid, docker, podman, containerd, CRI, LXC) ──────┘
//! ```

mod address;
mod attach;
mod book;
mod cli;
mod conflist;
mod containers;
mod dhcp;
mod docker;
mod guest;
mod host;
mod inside;
mod line;
mod table;

pub(crate) use book::{STATE, network, without_bridge};
pub use cli::main;
pub(crate) use guest::GUESTS;
