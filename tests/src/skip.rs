//! Tests that cannot run here.

use std::env;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::thread;

/// Says why the calling test cannot run here: `return skip("needs dnsmasq")`.
///
/// The reason is printed and added to the file `SKIPS` names (default `target/skips.txt`), which `make test` lists at
/// its end. With `REQUIRE_ALL=1`, as in CI, a skip is a failure.
#[track_caller]
pub fn skip(reason: impl Display) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        env::var_os("REQUIRE_ALL").is_none_or(|value| value != "1"),
        "skipped, and REQUIRE_ALL=1: {reason}"
    );
    let line = format!("skipped {test}: {reason}\n");
    // Not eprint!: the harness would swallow what a passing test prints with it.
    io::stderr().write_all(line.as_bytes()).unwrap();
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/skips.txt");
    let file = env::var_os("SKIPS").map_or(default, Into::into);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
