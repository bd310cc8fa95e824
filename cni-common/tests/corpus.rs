//! Replays what the fuzz targets start from, and every input that once broke something.
#![cfg(test)]

use std::fs;
use std::path::Path;

#[path = "../../fuzz/surfaces.rs"]
mod surfaces;

fn replay(name: &str, surface: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(name);
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        surface(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", directory.display());
}

#[test]
fn configurations() {
    replay("configuration", surfaces::configuration);
}

#[test]
fn results() {
    replay("result", surfaces::result);
}

#[test]
fn arguments() {
    replay("arguments", surfaces::arguments);
}
