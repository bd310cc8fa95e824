//! What the kernel does for us, as verbs: the one place in this crate that names nix and libc.
//!
//! Links, addresses and routes are cni-common's; here is what only a daemon has.

pub(crate) mod file;
pub(crate) mod packet;
pub(crate) mod poll;
pub(crate) mod privileges;
pub(crate) mod process;
pub(crate) mod socket6;
pub(crate) mod stream;
