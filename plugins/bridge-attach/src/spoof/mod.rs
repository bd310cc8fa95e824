//! `macspoofchk` and `ipspoofchk`: a container sends under its own addresses only.
//!
//! One chain for all bridges of the host, with sets of the guarded ports and of what each may send as. What a frame
//! costs, and an ADD, does not grow with the number of containers. Elements carry their owner.

mod guard;
mod rules;

pub(crate) use guard::{add, check, release, take_over};
pub(crate) use rules::{Guard, Leaving, link_local};
