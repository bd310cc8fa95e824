//! Numbers that nobody can guess.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random number: `SipHash` under keys from the kernel, of which each `RandomState` has another.
pub(crate) fn number() -> u32 {
    let number = RandomState::new().build_hasher().finish();
    u32::try_from(number >> 32).unwrap_or_default()
}
