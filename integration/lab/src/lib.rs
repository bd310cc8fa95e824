//! The lab: what tests and examples run the plugins with.
//!
//! * [`runtime`] plays the CNI runtime: it executes a `.conflist` exactly as the specification asks. It shares no code with
//!   the plugins, so that it can judge them.
//! * [`pipework`] gives single containers interfaces, by the command line of the script of that name.
//! * [`topology`] builds a whole topology of namespaces from one file, with real processes in it.

pub mod pipework;
pub mod runtime;
pub mod topology;

mod device;
pub mod graph;
