//! Takes a lab down in order: processes, attachments, links. It goes on after a failure and can be called again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::inside::{Inside, inode, netns_path};
use super::namespace::Pidfd;
use super::store::Place;
use crate::pipework;
use crate::runtime;

/// How long processes may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(3);

/// Takes down what is known to have been made. Returns what could not be removed, one sentence each.
pub(super) fn take_down(lab: &mut Inside, progress: &mut dyn FnMut(String)) -> Vec<String> {
    let mut left = Vec::new();
    stop_processes(lab, progress);
    for host in lab.hosts().map(str::to_owned).collect::<Vec<_>>() {
        detach_all(lab, &host, &mut left, progress);
    }
    if lab.state.host {
        for link in lab.state.links.split_off(0) {
            let path = Path::new("/sys/class/net").join(&link);
            if path.exists() {
                left.extend(
                    super::node::ip(&["link", "delete", &link])
                        .err()
                        .map(|error| error.to_string()),
                );
            }
        }
        end_nodes(lab, &mut left);
    }
    lab.state.ready = false;
    left.extend(lab.save().err().map(|error| error.to_string()));
    left
}

/// Asks processes to end, in reverse, then kills those that do not.
fn stop_processes(lab: &mut Inside, progress: &mut dyn FnMut(String)) {
    let running = lab.state.processes.split_off(0);
    let alive: Vec<_> = running
        .iter()
        .rev()
        .filter(|process| in_node(lab, process.pid, &process.node))
        .filter_map(|process| {
            Pidfd::open(process.pid)
                .ok()
                .map(|handle| (process, handle))
        })
        .collect();
    for (process, _) in &alive {
        signal(process.pid, Signal::SIGTERM);
    }
    let deadline = Instant::now() + PATIENCE;
    for (process, handle) in &alive {
        if !handle
            .wait(deadline.saturating_duration_since(Instant::now()))
            .unwrap_or(true)
        {
            // It may have ended just now.
            let _ended = handle.kill();
        }
        progress(format!("stopped {} in {}", process.name, process.node));
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // It may have ended just now.
        let _ended: Result<(), Errno> = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether a process is (still) one of this node: ids are used again.
fn in_node(lab: &Inside, pid: u32, node: &str) -> bool {
    let own = Path::new("/proc").join(pid.to_string()).join("ns/net");
    let place = lab.state.nodes.get(node);
    match place {
        Some(Place::Held(_, network)) => inode(&own).is_ok_and(|inode| inode == *network),
        Some(place) => inode(&own)
            .ok()
            .is_some_and(|found| inode(&netns_path(place)).is_ok_and(|known| known == found)),
        None => false,
    }
}

/// Undoes every attachment of a host that is remembered, the newest first.
fn detach_all(lab: &Inside, host: &str, left: &mut Vec<String>, progress: &mut dyn FnMut(String)) {
    let runtime = match lab.runtime(host) {
        Ok(runtime) => runtime,
        Err(error) => return left.push(error.to_string()),
    };
    let entries = match runtime.cache().entries() {
        Ok(entries) => entries,
        Err(error) => return left.push(error.to_string()),
    };
    for entry in entries.iter().rev() {
        let attachment = runtime::Attachment {
            netns: live(lab, &entry.attachment),
            ..entry.attachment.clone()
        };
        let what = format!(
            "{} {} from {}",
            attachment.container, attachment.ifname, entry.list.name
        );
        // A bridge that a line of pipework made is the lab's, whoever gave it an address.
        let list = match pipework::network(&entry.list) {
            Some(_) => &pipework::without_bridge(&entry.list),
            None => &entry.list,
        };
        match runtime.del(list, &attachment) {
            Ok(()) => progress(format!("detached {what}")),
            Err(error) => left.push(format!("detach {what}: {error}")),
        }
    }
}

/// The namespace of an attachment, when it still is the one that was attached.
fn live(lab: &Inside, attachment: &runtime::Attachment) -> Option<std::path::PathBuf> {
    let node = lab
        .state
        .nodes
        .iter()
        .find(|(name, _)| lab.container(name) == attachment.container);
    match node {
        Some((_, place @ Place::Held(_, known))) => {
            let found = inode(&netns_path(place)).ok();
            attachment.netns.clone().filter(|_| found == Some(*known))
        }
        Some((_, place)) => attachment
            .netns
            .clone()
            .filter(|_| netns_path(place).exists()),
        None => None,
    }
}

/// Ends the processes that hold nodes on the real host, and whatever else lives in those nodes. Of a node whose process has
/// died, as after a crash, nothing is known: the number of its namespace may be another's by now, a container's even.
fn end_nodes(lab: &mut Inside, left: &mut Vec<String>) {
    let held: Vec<u64> = lab
        .state
        .nodes
        .values()
        .filter_map(|place| match place {
            Place::Held(_, network) => {
                let holder = inode(&netns_path(place)).ok();
                holder.filter(|found| found == network)
            }
            Place::Joined(_) | Place::Here => None,
        })
        .collect();
    let Ok(processes) = fs::read_dir("/proc") else {
        return left.push("cannot read /proc".to_owned());
    };
    for process in processes.flatten() {
        let pid = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        let network = inode(&process.path().join("ns/net")).ok();
        if network.is_some_and(|network| held.contains(&network))
            && let Ok(handle) = Pidfd::open(pid)
        {
            let killed = handle.kill().and_then(|()| handle.wait(PATIENCE));
            if !killed.unwrap_or(true) {
                left.push(format!("process {pid} does not end"));
            }
        }
    }
    lab.state.nodes.clear();
}
