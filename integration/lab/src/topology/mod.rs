//! Builds a whole topology of namespaces from one file, with real processes in it.
//!
//! * The file: [`parse`] gives a checked [`Topology`] or every [`Problem`] there is. Pure.
//! * The lab: one background process holds a private user, network, mount and PID namespace in which everything lives,
//!   so that nothing survives it. Each node is a process in there that holds further namespaces.
//! * The program: [`main`], with its verbs `up`, `down`, `inspect`, `exec`, `check` and `graph`.
//!
//! A newcomer's mistake: process ids have two meanings. Those in the state of a lab are as seen from inside; only
//! the holder's is as seen from outside.

mod build;
mod check;
mod cli;
mod enter;
mod error;
mod hold;
mod inside;
mod inspect;
mod known;
mod labs;
mod lifecycle;
mod lines;
mod model;
mod namespace;
mod node;
mod picture;
mod process;
mod read;
mod read_checks;
mod read_nodes;
mod reader;
mod report;
mod setgroups;
mod store;
mod takedown;
mod words;

pub use cli::main;
pub use error::Error;
pub use model::{
    Attachment, Check, Cidr, Group, Join, Kind, Lines, Need, Network, Node, Probe, ProbeKind,
    Process, Text, Topology, Uplink,
};
pub use read::parse;
pub use reader::Problem;

// What the other program of this crate has in common with this one.
pub(crate) use cli::default_plugins;
pub(crate) use enter::exit_code;
pub(crate) use error::At;
pub(crate) use hold::own_program;
pub(crate) use inside::search_path;
pub(crate) use inspect::render;
pub(crate) use words::{cidr, interface, mac};

/// Prints a line. A terminal that has gone away is no reason to stop.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let _gone = writeln!(std::io::stdout(), "{line}");
}
