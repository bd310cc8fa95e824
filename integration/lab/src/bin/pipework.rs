//! Gives guests network interfaces, one line each; see [`plumb_lab::pipework`].

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb_lab::pipework::main()
}
