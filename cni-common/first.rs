//! The plugins' build script: gives the linker the plugin's `first.ld`, with which the functions that every call executes stand
//! next to each other. The kernel maps a file's pages in groups of sixteen, and each group that a process touches takes time
//! when it starts, and when it ends.
#![expect(
    clippy::print_stdout,
    reason = "a build script speaks to cargo by its output"
)]

use std::env;
use std::path::Path;

fn main() {
    const SCRIPT: &str = "first.ld";
    println!("cargo::rerun-if-changed={SCRIPT}");
    let is = |variable: &str, value: &str| env::var(variable).as_deref() == Ok(value);
    // Without optimisation there are other functions, and many more.
    if is("CARGO_CFG_TARGET_ENV", "musl")
        && is("PROFILE", "release")
        && let Ok(plugin) = env::var("CARGO_MANIFEST_DIR")
    {
        let script = Path::new(&plugin).join(SCRIPT);
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
