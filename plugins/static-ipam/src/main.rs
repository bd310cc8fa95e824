//! static-ipam.
#![forbid(unsafe_code)]

fn main() {}
