//! What the fuzz target calls, and a test with its corpus: everything that is decided before anything is changed.

use crate::config::Config;
use crate::plan::Plan;

#[path = "../../../fuzz/surfaces.rs"]
#[expect(dead_code, reason = "a plugin uses one surface")]
mod surfaces;

/// A configuration on stdin, under every command, of a plugin that changes nothing.
pub fn configuration(data: &[u8]) {
    let plan = surfaces::Idle::<Config>(|call, given| Plan::new(&call.config, given).map(drop));
    surfaces::serve_all(&plan, data);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// What the fuzz target starts from, and every input that once broke something.
    #[test]
    fn configurations() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/bridge_attach");
        let mut count = 0;
        for entry in fs::read_dir(&corpus).unwrap() {
            super::configuration(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", corpus.display());
    }
}
