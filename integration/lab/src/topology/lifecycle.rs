//! `up` and `down`, as they are called from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::error::{At, Error};
use super::hold::Holder;
use super::inside::Inside;
use super::model::{Kind, Topology};
use super::namespace::{Pidfd, outlive};
use super::say;
use super::store::{State, Store};
use super::{build, enter, parse, takedown};

/// How long the kernel may take to end a lab.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `up` is asked for.
pub(super) struct Request {
    pub(super) file: PathBuf,
    pub(super) name: Option<String>,
    pub(super) plugins: Vec<PathBuf>,
    pub(super) host: bool,
    pub(super) check: bool,
}

/// Brings a lab up, whole or not at all. With `check`, the exit status says whether all its checks hold.
pub(super) fn up(request: &Request) -> Result<ExitCode, Error> {
    outlive(Signal::SIGHUP).at(|| "catch SIGHUP".to_owned())?;
    let began = Instant::now();
    let file = request
        .file
        .canonicalize()
        .at(|| format!("open {}", request.file.display()))?;
    let text = fs::read_to_string(&file).at(|| format!("read {}", request.file.display()))?;
    let topology = checked(&text, &file, request)?;
    let name = request
        .name
        .clone()
        .unwrap_or_else(|| topology.name.clone());
    let store = Store::of(&name)?;
    store.create()?;
    let Some(_work) = store.lock_work()? else {
        return Err(Error::new(format!(
            "lab {name} is being brought up or taken down by another topology"
        )));
    };
    if store.lock()?.is_none() {
        return Err(Error::new(format!(
            "lab {name} is up already; topology down --name {name} takes it down"
        )));
    }
    clear_away(&store)?;
    store.keep_topology(&text)?;
    let (plugins, host) = (request.plugins.clone(), request.host);
    store.set_state(&State {
        name: name.clone(),
        file,
        host,
        plugins,
        ..State::default()
    })?;
    if !topology.description.is_empty() {
        say(&format!("{name}: {}", topology.description));
    }
    let followed = Holder::start(&store)
        .and_then(|holder| holder.follow(&store, |step| say(&format!("  {step}"))));
    if let Err(error) = followed {
        return Err(undone(&store, &error));
    }
    say(&format!(
        "lab {name} is up ({:.1} s)",
        began.elapsed().as_secs_f64()
    ));
    let outcome = if request.check {
        enter::run_inside(&store, &["check"])?
    } else {
        ExitCode::SUCCESS
    };
    hints(&topology, &name)?;
    Ok(outcome)
}

/// Removes what is left of a lab that is not up, and says what of it could not be removed.
fn undone(store: &Store, error: &Error) -> Error {
    let holder = fs::read_to_string(store.path().join("holder"))
        .ok()
        .and_then(|pid| pid.trim().parse().ok());
    let ended = holder.map_or(Ok(()), end).and_then(|()| store.remove());
    match ended {
        Ok(()) => Error::new(format!("{error}\nthe lab is not up; everything is undone")),
        Err(left) => Error::new(format!(
            "{error}\nthe lab is not up, and this is left: {left}"
        )),
    }
}

/// Waits for a holder that is about to end, and kills it when it does not.
fn end(holder: u32) -> Result<(), Error> {
    let Ok(handle) = Pidfd::open(holder) else {
        return Ok(());
    };
    if handle
        .wait(Duration::from_secs(5))
        .at(|| "wait for the holder".to_owned())?
    {
        return Ok(());
    }
    kill(&handle)
}

fn kill(holder: &Pidfd) -> Result<(), Error> {
    // It may have ended just now.
    let _ended = holder.kill();
    if holder
        .wait(PATIENCE)
        .at(|| "wait for the holder".to_owned())?
    {
        return Ok(());
    }
    Err(Error::new(format!(
        "the holder does not end within {PATIENCE:?}"
    )))
}

/// The topology of a file that can be brought up here; otherwise every reason why not.
fn checked(text: &str, file: &Path, request: &Request) -> Result<Topology, Error> {
    let stem = file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let shown = request.file.display();
    let all = |problems: Vec<String>| {
        Error::new(format!(
            "{shown} cannot be brought up:\n  {}",
            problems.join("\n  ")
        ))
    };
    let topology = parse(text, file.parent().unwrap_or(Path::new("/")), &stem)
        .map_err(|problems| all(problems.iter().map(ToString::to_string).collect()))?;
    let mut problems = build::missing(&topology, &request.plugins);
    problems.extend(misplaced(&topology, request.host));
    if problems.is_empty() {
        Ok(topology)
    } else {
        Err(all(problems))
    }
}

/// What the real host allows and a private lab does not, or the other way round.
fn misplaced(topology: &Topology, host: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for node in &topology.nodes {
        if node.join.is_some() && !host {
            problems.push(format!(
                "nodes.{}.join: existing namespaces can be joined only with --host",
                node.name
            ));
        }
        let real = host && node.kind == Kind::Host;
        if (real || node.join.is_some()) && !(node.sysctl.is_empty() && node.files.is_empty()) {
            problems.push(format!(
                "nodes.{}: sysctl and files are for nodes that the lab makes itself",
                node.name
            ));
        }
    }
    if !host {
        return problems;
    }
    if !geteuid().is_root() {
        problems.push("--host needs root: run the same command with sudo".to_owned());
    }
    let hosts = topology
        .nodes
        .iter()
        .filter(|node| node.kind == Kind::Host && node.join.is_none());
    if hosts.count() > 1 {
        problems.push("with --host only one node of kind \"host\" can be the real host; the others need `join`".to_owned());
    }
    for uplink in &topology.uplinks {
        if Path::new("/sys/class/net").join(&uplink.interface).exists() {
            problems.push(format!(
                "the real host has an interface {} already: name the uplink differently",
                uplink.interface
            ));
        }
    }
    problems
}

/// Takes away what a lab has left whose holder died.
fn clear_away(store: &Store) -> Result<(), Error> {
    if store.is_used() && store.state()?.host {
        let mut lab = Inside::open(store)?;
        let left = takedown::take_down(&mut lab, &mut |step| say(&format!("  left over: {step}")));
        if !left.is_empty() {
            return Err(Error::new(format!(
                "left over from before, and cannot be removed: {}",
                left.join("; ")
            )));
        }
    }
    store.clear()
}

/// What can be done with the lab, to be typed as it stands.
fn hints(topology: &Topology, name: &str) -> Result<(), Error> {
    let program = quoted(
        &std::env::args()
            .next()
            .unwrap_or_else(|| "topology".to_owned()),
    );
    let inner = topology
        .nodes
        .iter()
        .find(|node| node.kind == Kind::Container)
        .or(topology.nodes.first());
    let node = inner.map_or("NODE", |node| node.name.as_str());
    // The only lab needs no name.
    let which = match Store::all()?.len() {
        0 | 1 => String::new(),
        _ => format!(" --name {name}"),
    };
    say(&format!(
        "\nenter a node     {program} exec{which} {node}\nlook at it       {program} inspect{which}\n\
         draw the graph   {program} graph{which} --format svg > {name}.svg\ntake it down     {program} down{which}"
    ));
    Ok(())
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |each: char| each.is_ascii_alphanumeric() || "_./-+:@,".contains(each);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Takes a lab down and leaves nothing of it, also when its holder has died before.
pub(super) fn down(name: Option<&str>) -> Result<ExitCode, Error> {
    let store = Store::find(name)?;
    let name = store.name();
    let Some(_work) = store.lock_work()? else {
        return Err(Error::new(format!(
            "lab {name} is being brought up or taken down by another topology"
        )));
    };
    let left = match store.holder()? {
        Some(holder) => down_alive(&store, holder)?,
        None => down_dead(&store)?,
    };
    if !left.is_empty() {
        return Err(Error::new(format!(
            "lab {name} is not wholly down:\n  {}",
            left.join("\n  ")
        )));
    }
    store.remove()?;
    say(&format!("lab {name} is down"));
    Ok(ExitCode::SUCCESS)
}

/// Has everything taken down in order, by a process inside; then ends the holder, and with it all that was private.
fn down_alive(store: &Store, holder: u32) -> Result<Vec<String>, Error> {
    let handle = Pidfd::open(holder).at(|| format!("find the holder, process {holder}"))?;
    let host = store.state()?.host;
    let left = takedown_process(store)?;
    if host && !left.is_empty() {
        return Ok(left);
    }
    // A holder that dies just now says nothing.
    for step in left.iter().filter(|step| !step.is_empty()) {
        say(&format!("  goes with its namespace: {step}"));
    }
    kill(&handle)?;
    Ok(Vec::new())
}

/// Takes down from within a process of its own, as this one stays outside to end the holder.
fn takedown_process(store: &Store) -> Result<Vec<String>, Error> {
    let program = super::hold::own_program()?;
    let output = std::process::Command::new(program)
        .arg("takedown")
        .arg(store.path())
        .output();
    let output = output.at(|| "take down inside".to_owned())?;
    let (mut left, printed) = (Vec::new(), String::from_utf8_lossy(&output.stdout));
    for line in printed.lines() {
        match line.strip_prefix("left: ") {
            Some(what) => left.push(what.to_owned()),
            None => say(&format!("  {line}")),
        }
    }
    if !output.status.success() {
        left.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(left)
}

fn down_dead(store: &Store) -> Result<Vec<String>, Error> {
    if !store.is_used() || !store.state()?.host {
        return Ok(Vec::new());
    }
    let mut lab = Inside::open(store)?;
    Ok(takedown::take_down(&mut lab, &mut |step| {
        say(&format!("  {step}"));
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_or_expand_it() {
        assert_eq!(quoted("target/x86_64/topology"), "target/x86_64/topology");
        assert_eq!(quoted("/my labs/topology"), "'/my labs/topology'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
