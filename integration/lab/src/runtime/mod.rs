//! A CNI runtime: executes the plugins of a `.conflist` as sections 3 and 4 of the CNI specification 1.1.0 ask.
//!
//! It shares no code with the plugins: what it sends and what it accepts is read from the specification alone, so that a
//! plugin that errs cannot err here in the same way. It is stricter than libcni where that finds faults: a result must be
//! one JSON document in the version that was asked for.
//!
//! ```text
//! NetworkList (conflist) ── derive ──> configuration of one plugin ── exec ──> its answer
//!        └──────────────────────── Runtime (chain), with its Cache ─────────────────┘
//! ```

mod cache;
mod chain;
mod conflist;
mod derive;
mod error;
mod exec;

pub use cache::{Cache, Entry};
pub use chain::{Attachment, Runtime};
pub use conflist::{NetworkList, PluginConfig, SUPPORTED};
pub use derive::{Injected, derive};
pub use error::{Error, Failure};
pub use exec::{Command, Planned, Program, Variables, find};
