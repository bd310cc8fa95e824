//! Replays what the fuzz target starts from, and every input that once broke something.

use std::fs;
use std::path::Path;

use crate::config::Config;
use crate::plan::Plan;

#[path = "../../../fuzz/surfaces.rs"]
#[expect(dead_code, reason = "a plugin uses one surface")]
mod surfaces;

#[test]
fn configurations() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/bridge_attach");
    let plan = surfaces::Idle::<Config>(|call, given| Plan::new(&call.config, given).map(drop));
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        surfaces::serve_all(&plan, &fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", corpus.display());
}
