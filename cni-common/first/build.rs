//! The plugins' build script: gives the linker the list beside it, with which the functions that every call executes stand
//! next to each other. The kernel maps a file's pages in groups of sixteen, and each group that a process touches takes time
//! when it starts, and when it ends.

use std::env;
use std::path::Path;

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let lists = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../../cni-common/first");
    let script = lists.join(format!("{}.ld", variable("CARGO_PKG_NAME")));
    println!("cargo::rerun-if-changed={}", script.display());
    // Without optimisation there are other functions, and many more.
    if variable("CARGO_CFG_TARGET_ENV") == "musl" && variable("PROFILE") == "release" {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
