//! Private network namespaces for the tests of the kernel layer.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Moves the calling test's thread into a network namespace of its own.
///
/// The namespace goes with the thread: nothing is left on the host.
pub(crate) fn private_netns() {
    plumb_tests::require_namespaces();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip", &["link", "set", "lo", "up"]);
}

/// Runs a program in the calling thread's namespaces and gives what it printed.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
