//! Builds a whole topology of namespaces from one file, with real processes in it.

mod model;
mod read;
mod read_checks;
mod reader;
mod words;

pub use model::{
    Attachment, Check, Cidr, Group, Join, Kind, Need, Network, Node, Probe, ProbeKind, Process,
    Topology, Uplink,
};
pub use read::parse;
pub use reader::Problem;
