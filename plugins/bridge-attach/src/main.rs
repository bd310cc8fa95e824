//! bridge-attach.
#![forbid(unsafe_code)]

fn main() {}
