//! Builds and examines topologies.
fn main() {}
