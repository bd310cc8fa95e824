//! A host on which a chain is tried, and what must hold after a fault.

use std::time::Duration;

use serde_json::Value;

use super::inject::{Fault, Point, Program, Strace, was_hit};
use super::{Case, Leaves, Operation};
use crate::{Container, Host, Outcome, Plugin, State, until};

/// A host, a container, and both as they were.
pub(super) struct World<'a> {
    case: &'a Case,
    host: Host,
    container: Container,
    before: State,
    inside: State,
}

impl<'a> World<'a> {
    #[track_caller]
    pub(super) fn new(case: &'a Case) -> Self {
        let host = Host::new();
        let container = host.container("c1");
        (case.prepare)(&host, &container);
        Self {
            before: host.state(),
            inside: container.state(),
            case,
            host,
            container,
        }
    }

    /// What one of the programs does in this operation, as strace records it.
    pub(super) fn record(&self, program: &Program, operation: Operation) -> String {
        let strace = Strace::record(program);
        match operation {
            Operation::Add => {
                self.add(Some(&strace)).unwrap_or_else(fatal);
            }
            Operation::Del => {
                let result = self.add(None).unwrap_or_else(fatal);
                let deleted = self.del(Some(&strace), Some(&result));
                deleted.unwrap_or_else(fatal);
            }
        }
        Strace::take_record()
    }

    /// The plugins of the chain, each followed by the one it executes.
    pub(super) fn programs(case: &Case) -> Vec<Program> {
        let mut programs = Vec::new();
        for (plugin, (name, conf)) in case.chain.iter().enumerate() {
            let delegate = conf["ipam"]["type"].as_str().filter(|ipam| ipam != name);
            programs.push(Program {
                plugin,
                delegate: None,
            });
            programs.extend(delegate.map(|name| Program {
                plugin,
                delegate: Some(name.to_owned()),
            }));
        }
        programs
    }

    /// Tries one point; `number` decides whether DEL or GC cleans up. Says whether the fault came.
    #[track_caller]
    pub(super) fn try_point(
        &self,
        operation: Operation,
        number: usize,
        point: &Point,
        fault: Fault,
    ) -> bool {
        let strace = Strace::inject(point, fault).expect("a point at which it can fail");
        let result = match operation {
            Operation::Add => {
                let added = self.add(Some(&strace));
                if let Err(outcome) = &added {
                    assert_proper(outcome, point, fault);
                    if fault == Fault::Fails && point.program.plugin == 0 {
                        self.assert_undone(outcome);
                    }
                }
                added.ok()
            }
            Operation::Del => {
                let result = self.add(None).unwrap_or_else(fatal);
                if let Err(outcome) = self.del(Some(&strace), Some(&result)) {
                    assert_proper(&outcome, point, fault);
                }
                Some(result)
            }
        };
        let hit = was_hit(&Strace::take_record());
        if self.case.repeatable && number % 4 == 1 {
            let result = self.add(None).unwrap_or_else(fatal);
            self.check(&result);
        }
        if number % 3 == 2 && self.case.leaves != Leaves::NothingButToGc {
            self.collect();
        } else {
            let known = result.as_ref().filter(|_| number.is_multiple_of(2));
            self.del(None, known).unwrap_or_else(fatal);
        }
        self.assert_clean("after it was taken back");
        let result = self.add(None).unwrap_or_else(fatal);
        self.check(&result);
        (self.case.works)(&self.host, &self.container);
        self.del(None, Some(&result)).unwrap_or_else(fatal);
        self.assert_clean("after another ADD and DEL");
        self.reset();
        hit
    }

    fn plugin(&self, place: usize, strace: Option<&Strace>) -> Plugin {
        let (name, _) = self.case.chain[place];
        let plugin = self.host.plugin(name);
        match strace {
            Some(strace) => strace.around(place, plugin),
            None => plugin,
        }
    }

    fn conf(&self, place: usize, previous: Option<&Value>) -> Value {
        let (_, mut conf) = self.case.chain[place].clone();
        if let Some(previous) = previous {
            conf["prevResult"] = previous.clone();
        }
        conf
    }

    /// ADD of the whole chain; gives its result, or the outcome of the plugin that failed.
    fn add(&self, strace: Option<&Strace>) -> Result<Value, Box<Outcome>> {
        let mut previous = None;
        for place in 0..self.case.chain.len() {
            let conf = self.conf(place, previous.as_ref());
            let outcome = self.plugin(place, strace).add(&self.container, conf);
            if !outcome.status.success() {
                return Err(Box::new(outcome));
            }
            previous = Some(outcome.succeeds());
        }
        Ok(previous.expect("a chain has a plugin"))
    }

    /// DEL of the whole chain, the last plugin first, up to one that fails.
    fn del(&self, strace: Option<&Strace>, result: Option<&Value>) -> Result<(), Box<Outcome>> {
        for place in (0..self.case.chain.len()).rev() {
            let conf = self.conf(place, result);
            let outcome = self.plugin(place, strace).del(&self.container, conf);
            if !outcome.status.success() {
                return Err(Box::new(outcome));
            }
        }
        Ok(())
    }

    #[track_caller]
    fn collect(&self) {
        for place in 0..self.case.chain.len() {
            let plugin = self.plugin(place, None).valid([]);
            plugin.gc(self.conf(place, None)).succeeds();
        }
    }

    #[track_caller]
    fn check(&self, result: &Value) {
        for place in 0..self.case.chain.len() {
            let conf = self.conf(place, Some(result));
            let checked = self.plugin(place, None).check(&self.container, conf);
            checked.succeeds();
        }
    }

    /// A failed ADD that said so has undone what it did.
    #[track_caller]
    fn assert_undone(&self, outcome: &Outcome) {
        // Whether the runtime read the answer is not the plugin's to know.
        if !outcome.stdout.is_empty() {
            self.assert_clean(&format!("after the failure {}", outcome.stdout));
        }
    }

    #[track_caller]
    fn assert_clean(&self, when: &str) {
        let mut changed = self.changed();
        if !changed.is_empty() && is_carrier_alone(&changed) {
            until(Duration::from_secs(5), || {
                changed = self.changed();
                changed.is_empty()
            });
        }
        let inside = self.inside.differences(&self.container.state());
        assert!(
            changed.is_empty() && inside.is_empty(),
            "{when}, on the host:\n{}\nin the container:\n{}",
            changed.join("\n"),
            inside.join("\n")
        );
    }

    /// What is on the host, or is not, that was not, or was.
    fn changed(&self) -> Vec<String> {
        let mut changed = self.before.differences(&self.host.state());
        changed.retain(|line| !self.case.leaves.allows(line));
        changed
    }

    /// Takes away what may stay, for the next point to begin as this one did.
    #[track_caller]
    fn reset(&self) {
        let Leaves::Bridge(bridge) = self.case.leaves else {
            return;
        };
        if self.host.link(bridge).is_some() {
            self.host.exec(["ip", "link", "del", bridge]);
        }
        for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            self.host.set_sysctl(name, "0");
        }
        self.host.assert_unchanged_since(&self.before);
    }
}

impl Leaves {
    /// Whether this difference may stay.
    fn allows(self, difference: &str) -> bool {
        let Self::Bridge(bridge) = self else {
            return false;
        };
        let has = |key: &str| difference.contains(&format!("\"{key}\":\"{bridge}\""));
        let switched = ["forwarding", "ip_forward", "accept_redirects"];
        let (section, line) = difference.split_once(": ").unwrap_or_default();
        match section {
            "+ links" | "+ addresses" | "+ forwarding database" | "+ bridge VLANs" => has("ifname"),
            "+ IPv4 routes" | "+ IPv6 routes" => has("dev"),
            "+ settings" | "- settings" => {
                let name = line.split(' ').next().unwrap_or_default();
                line.contains(&format!("/conf/{bridge}/"))
                    || switched.iter().any(|end| name.ends_with(end))
            }
            _ => false,
        }
    }
}

/// Whether nothing differs but a link's carrier: the kernel tells a moment later that a bridge has no port any more.
fn is_carrier_alone(changed: &[String]) -> bool {
    let without = |sign: &str| {
        let lines = changed.iter().filter_map(|line| line.strip_prefix(sign));
        let mut lines: Vec<String> = lines
            .map(|line| {
                let states =
                    ["UP", "DOWN", "UNKNOWN"].map(|state| format!("\"operstate\":\"{state}\""));
                let line = line
                    .replace("\"NO-CARRIER\",", "")
                    .replace("\"linkdown\"", "");
                states
                    .iter()
                    .fold(line, |line, state| line.replace(state, ""))
            })
            .collect();
        lines.sort();
        lines
    };
    without("-") == without("+")
}

/// A failure is an error result, except where its cause is that it could not be written.
#[track_caller]
fn assert_proper(outcome: &Outcome, point: &Point, fault: Fault) {
    let killed = fault == Fault::Killed && outcome.status.code().is_none();
    let mute = fault == Fault::Fails && point.call.name == "write" && outcome.stdout.is_empty();
    let mute = mute && outcome.status.code() == Some(1);
    if !killed && !mute {
        outcome.assert_one_document();
    }
}

/// For a call that nothing was done to.
#[track_caller]
#[expect(
    clippy::boxed_local,
    clippy::needless_pass_by_value,
    reason = "it ends a `Result<_, Box<Outcome>>`"
)]
fn fatal<T>(outcome: Box<Outcome>) -> T {
    panic!("expected success, got {}", outcome.describe())
}
