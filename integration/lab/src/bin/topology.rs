//! Builds and examines network topologies; see [`plumb_lab::topology`].

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb_lab::topology::main()
}
