//! Replays what the fuzz target starts from, and every input that once broke something.

use std::fs;
use std::path::Path;

use crate::ipam::StaticIpam;

#[path = "../../../fuzz/surfaces.rs"]
#[expect(dead_code, reason = "a plugin uses one surface")]
mod surfaces;

#[test]
fn configurations() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/static_ipam");
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        surfaces::serve_all(&StaticIpam, &fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", corpus.display());
}
