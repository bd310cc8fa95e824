//! masquerade.
#![forbid(unsafe_code)]

fn main() {}
