//! Programs of the configuration (`onChange`): a few at a time, one after another for each attachment, never waited for.
//!
//! Which program is run is said by the configuration alone; what a server said is on its standard input, as JSON.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cni_common::log;

use super::counters::Counter;
use super::event::Event;
use super::{Daemon, Due};
use crate::sys::poll::now;
use crate::sys::{file, process};
use crate::time::Time;

/// How many run at once.
const AT_ONCE: usize = 16;
/// How many wait: an event for each lease that the daemon is made for.
const WAITING: usize = 10_000;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where programs find others: what a login has.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that runs.
#[derive(Debug)]
struct Running {
    program: String,
    event: Event,
    child: Child,
    until: Time,
}

/// The programs that run, and those that wait.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    running: Vec<Running>,
    waiting: VecDeque<(String, Event)>,
}

impl Hooks {
    /// Puts an event into the queue; `false` when it is full.
    pub(super) fn enqueue(&mut self, program: &str, event: Event) -> bool {
        let room = self.waiting.len() < WAITING;
        if room {
            self.waiting.push_back((program.to_owned(), event));
        }
        room
    }

    /// Whether there is nothing to run and nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// The next one that may begin: events of one attachment come in their order.
    fn next(&mut self) -> Option<(String, Event)> {
        if self.running.len() >= AT_ONCE {
            return None;
        }
        let busy = |event: &Event| {
            self.running
                .iter()
                .any(|one| one.event.owner == event.owner)
        };
        let place = self.waiting.iter().position(|(_, event)| !busy(event))?;
        self.waiting.remove(place)
    }

    /// Takes those that ended, or were given up, out of those that run.
    fn reap(&mut self, time: Time) -> Vec<(Running, io::Result<ExitStatus>)> {
        let mut ended = Vec::new();
        let mut rest = Vec::new();
        for mut one in self.running.drain(..) {
            match one.child.try_wait() {
                Ok(Some(status)) => ended.push((one, Ok(status))),
                Ok(None) if one.until > time => rest.push(one),
                Ok(None) => {
                    // The whole group: a script's children hold what they hold.
                    process::kill_group(one.child.id());
                    let _ = one.child.wait();
                    let late = io::Error::other(format!("took more than {PATIENCE:?}: killed"));
                    ended.push((one, Err(late)));
                }
                Err(error) => ended.push((one, Err(error))),
            }
        }
        self.running = rest;
        ended
    }
}

impl Daemon {
    /// Begins what may begin.
    pub(super) fn run_hooks(&mut self) {
        while let Some((program, event)) = self.hooks.next() {
            match spawn(&program, &event) {
                Ok(child) => {
                    let until = now().after(PATIENCE);
                    self.deadlines.insert((until, Due::Hooks));
                    self.hooks.running.push(Running {
                        program,
                        event,
                        child,
                        until,
                    });
                }
                Err(error) => self.hook_failed(&program, &event, &error),
            }
        }
    }

    /// A program ended, or took too long.
    pub(super) fn reap_hooks(&mut self) {
        for (one, outcome) in self.hooks.reap(now()) {
            self.deadlines.remove(&(one.until, Due::Hooks));
            match outcome {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    let error = io::Error::other(status.to_string());
                    self.hook_failed(&one.program, &one.event, &error);
                }
                Err(error) => self.hook_failed(&one.program, &one.event, &error),
            }
        }
        self.run_hooks();
    }

    fn hook_failed(&mut self, program: &str, event: &Event, error: &io::Error) {
        self.counters.count(Counter::Failures, "program");
        log::warning(format_args!(
            "{}: onChange: {program} for {}: {error}",
            event.owner, event.word
        ));
    }
}

fn spawn(program: &str, event: &Event) -> io::Result<Child> {
    // Not a pipe: nobody waits here until a program reads.
    let input = file::of_bytes(event.line.as_bytes())?;
    Command::new(program)
        .env_clear()
        .env("PATH", PATH)
        .env("DHCP_EVENT", event.word)
        .env("DHCP_NETWORK", event.owner.network.as_str())
        .env("CNI_CONTAINERID", event.owner.container.as_str())
        .env("CNI_IFNAME", event.owner.ifname.as_str())
        .env("CNI_NETNS", &event.netns)
        .current_dir("/")
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
}
