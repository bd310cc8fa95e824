//! The labs that come with the project, by name: each a folder with a `topology.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::{parse, say};

/// What a lab's folder has.
const FILE: &str = "topology.toml";

/// The file that `up` is asked for: a path, or else the name of a lab.
pub(super) fn file(asked: PathBuf) -> Result<PathBuf, Error> {
    let is_name = asked.components().count() == 1 && asked.extension().is_none();
    if !is_name || asked.is_file() {
        return Ok(asked);
    }
    let folders = folders();
    let name = asked.to_string_lossy();
    if let Some(file) = found(&folders).remove(name.as_ref()) {
        return Ok(file);
    }
    Err(Error::new(format!(
        "no file and no lab {name}: topology list shows the labs{}",
        looked_in(&folders)
    )))
}

/// Prints each lab with its description.
pub(super) fn list() -> Result<(), Error> {
    let folders = folders();
    let labs = found(&folders);
    if labs.is_empty() {
        return Err(Error::new(format!("no labs{}", looked_in(&folders))));
    }
    let width = labs.keys().map(String::len).max().unwrap_or_default();
    for (name, file) in &labs {
        say(format!("{name:width$}  {}", description(name, file)).trim_end());
    }
    Ok(())
}

fn description(name: &str, file: &Path) -> String {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let text = fs::read_to_string(file).unwrap_or_default();
    match parse(&text, folder, name) {
        Ok(topology) => topology.description,
        Err(problems) => format!("({} has {} problems)", file.display(), problems.len()),
    }
}

/// Labs and their files; of two with one name the one from the earlier folder.
fn found(folders: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut labs = BTreeMap::new();
    for entry in folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
    {
        for entry in entry.flatten() {
            let file = entry.path().join(FILE);
            if file.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                labs.entry(name).or_insert(file);
            }
        }
    }
    labs
}

/// Where labs are: in `PLUMB_EXAMPLES`, else in the checkout that the program was built in, or where it was installed.
fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("PLUMB_EXAMPLES") {
        return vec![folder.into()];
    }
    let program = std::env::current_exe().unwrap_or_default();
    let above = program.ancestors().skip(1);
    above
        .flat_map(|folder| ["conf-examples", "share/plumb/conf-examples"].map(|at| folder.join(at)))
        .filter(|folder| folder.is_dir())
        .collect()
}

fn looked_in(folders: &[PathBuf]) -> String {
    if folders.is_empty() {
        return String::from(" (no folder conf-examples was found; PLUMB_EXAMPLES names one)");
    }
    let shown: Vec<_> = folders
        .iter()
        .map(|each| each.display().to_string())
        .collect();
    format!(" (looked in {})", shown.join(", "))
}
