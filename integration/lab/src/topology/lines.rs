//! Lines for a host's shell: those of `pipework`, and what people type beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{At, Error};
use super::hold::own_program;
use super::inside::{Inside, search_path};
use super::model::{Lines, Text, Topology};
use crate::pipework;

/// Runs them, until one fails.
pub(super) fn run(lab: &Inside, lines: &Lines) -> Result<String, Error> {
    let host = lines.host.as_str();
    let words = ["sh", "-exc", &text(&lab.topology, lines)?].map(str::to_owned);
    let mut command = lab.command(host, &words)?;
    prepare(lab, host, &mut command)?;
    let output = command.output().at(|| format!("run sh in {host}"))?;
    if output.status.success() {
        return Ok(format!("lines of {host}"));
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let all: Vec<_> = said.trim().lines().collect();
    let last = all.get(all.len().saturating_sub(10)..).unwrap_or_default();
    Err(Error::new(format!(
        "lines of {host}: the last of these failed ({}):\n  {}",
        output.status,
        last.join("\n  ")
    )))
}

/// Gives the shell `pipework`, this lab's plugins, and the nodes as guests. What it attaches is remembered with the rest.
fn prepare(lab: &Inside, host: &str, command: &mut Command) -> Result<(), Error> {
    let step = || format!("lines of {host}");
    let folders = search_path();
    let folders = std::iter::once(beside()?).chain(std::env::split_paths(&folders));
    let guests = lab.topology.nodes.iter().filter(|node| node.name != host);
    let guests = guests.map(|node| {
        let (name, id) = (&node.name, lab.container(&node.name));
        Ok(format!("{name}={id}={}", lab.netns(name)?.display()))
    });
    let guests = guests.collect::<Result<Vec<_>, Error>>()?;
    command
        .env("PATH", std::env::join_paths(folders).at(step)?)
        .env(
            "CNI_PATH",
            std::env::join_paths(&lab.state.plugins).at(step)?,
        )
        .env(pipework::STATE, state(lab, host))
        .env(pipework::GUESTS, guests.join(" "));
    Ok(())
}

/// The folder of the host's runtime, as a process in there finds it: a node has a `/run` of its own, process 1 of a private
/// lab has not.
fn state(lab: &Inside, host: &str) -> PathBuf {
    let folder = lab.store.cache().join(host);
    if lab.state.host {
        return folder;
    }
    let inside = folder.strip_prefix("/").unwrap_or(&folder);
    Path::new("/proc/1/root").join(inside)
}

/// The folder of this program, which has `pipework` beside it.
fn beside() -> Result<PathBuf, Error> {
    let program = own_program()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    if folder.join("pipework").is_file() {
        return Ok(folder.to_owned());
    }
    Err(Error::new(format!(
        "there is no pipework beside {}",
        program.display()
    )))
}

fn text(lab: &Topology, lines: &Lines) -> Result<String, Error> {
    match &lines.text {
        Text::Here(text) => Ok(text.clone()),
        Text::File(file) => {
            let path = lab.directory.join(file);
            fs::read_to_string(&path).at(|| format!("read {}", path.display()))
        }
    }
}

/// What is missing for them on this machine.
pub(super) fn missing(lab: &Topology) -> Vec<String> {
    if lab.lines.is_empty() {
        return Vec::new();
    }
    let mut missing: Vec<_> = beside()
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect();
    let texts = lab.lines.iter().filter_map(|lines| text(lab, lines).err());
    missing.extend(texts.map(|error| format!("pipework: {error}")));
    missing
}
