//! Processes of nodes: started, waited for until they are ready, watched for an early end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::build::still_wanted;
use super::error::{At, Error};
use super::inside::Inside;
use super::model::Process;
use super::store::Running;

/// A process that `up` watches until the lab is up.
pub(super) struct Watched {
    process: Process,
    child: Child,
}

/// Starts a process and waits until it is ready.
pub(super) fn start(
    lab: &mut Inside,
    process: &Process,
    watched: &mut Vec<Watched>,
) -> Result<String, Error> {
    let step = || format!("process {} in {}", process.name, process.node);
    let path = lab.store.log(&process.node, &process.name);
    let log = File::create(&path).at(|| format!("create {}", path.display()))?;
    let errors = log.try_clone().at(step)?;
    let mut command = lab.command(&process.node, &process.command)?;
    command.stdout(log).stderr(errors).process_group(0);
    let child = command
        .spawn()
        .at(|| format!("{}: start {}", step(), process.command.join(" ")))?;
    lab.state.processes.push(Running {
        node: process.node.clone(),
        name: process.name.clone(),
        pid: child.id(),
    });
    lab.save()?;
    let mut this = Watched {
        process: process.clone(),
        child,
    };
    if let Some(ready) = &process.ready {
        wait_until_ready(lab, &mut this, ready).at(step)?;
    }
    watched.push(this);
    Ok(step())
}

fn wait_until_ready(lab: &Inside, watched: &mut Watched, ready: &[String]) -> Result<(), Error> {
    let deadline = Instant::now() + watched.process.ready_within;
    loop {
        let output = lab
            .command(&watched.process.node, ready)?
            .stderr(Stdio::piped())
            .output();
        let output = output.at(|| format!("run {}", ready.join(" ")))?;
        if output.status.success() {
            return Ok(());
        }
        ended(lab, watched)?;
        still_wanted()?;
        if Instant::now() >= deadline {
            let said = [output.stdout, output.stderr].concat();
            return Err(Error::new(format!(
                "not ready after {:?}: {}: {} {}{}",
                watched.process.ready_within,
                ready.join(" "),
                output.status,
                String::from_utf8_lossy(&said).trim(),
                log_end(lab, &watched.process)
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Fails when one of the processes has ended.
pub(super) fn none_ended(lab: &Inside, watched: &mut [Watched]) -> Result<(), Error> {
    watched.iter_mut().try_for_each(|each| ended(lab, each))
}

fn ended(lab: &Inside, watched: &mut Watched) -> Result<(), Error> {
    let process = &watched.process;
    match watched
        .child
        .try_wait()
        .at(|| format!("watch {}", process.name))?
    {
        None => Ok(()),
        Some(status) => Err(Error::new(format!(
            "process {} in {} ended by itself ({status}){}",
            process.name,
            process.node,
            log_end(lab, process)
        ))),
    }
}

/// The last lines of a process's output.
fn log_end(lab: &Inside, process: &Process) -> String {
    let text = fs::read_to_string(lab.store.log(&process.node, &process.name)).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines
        .get(lines.len().saturating_sub(10)..)
        .unwrap_or_default();
    if last.is_empty() {
        String::new()
    } else {
        format!("; it said:\n  {}", last.join("\n  "))
    }
}
