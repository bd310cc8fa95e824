//! A program that does nothing: what starting a process costs at least, for the benchmark.

fn main() {}
