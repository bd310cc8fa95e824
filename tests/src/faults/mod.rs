//! Faults: a chain of plugins in which one is killed, or one of its system calls fails, at each point in turn.
//!
//! What every program of the chain does is recorded once with strace(1): the plugins, what they fork, and the IPAM
//! plugin that one of them executes. Then the operation is repeated for each (process, system call, occurrence). After
//! each, a DEL or a GC must leave the host and the container as they were, and another ADD must work.
//!
//! A test names a [`Case`] and calls [`try_all`]. `FAULTS=all` tries every point, a number as many of each case; without
//! it a few are tried, always the same.

mod inject;
mod record;
mod service;
mod world;

use std::any::Any;
use std::env;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::{Container, Host};
pub use inject::Fault;
use inject::{Point, Strace, is_inert};
pub use service::{
    SERVICE_RECORD, ServicePoint, recording, service_calls, service_points, service_was_hit,
};
use world::World;

/// How many points of a case are tried where nothing else is said: in an emulated machine a point takes seconds.
const FEW: usize = if EMULATED { 2 } else { 6 };

/// Whether the tests are made for the virtual machine.
const EMULATED: bool = cfg!(feature = "stock-kernel");

/// How often a program is recorded. What it does every time counts: how often it looks whether the kernel is done varies,
/// and the first to want a module waits until that is loaded.
pub const RECORDS: usize = if EMULATED { 2 } else { 3 };

/// How many failures are enough to look at.
const ENOUGH: usize = 12;

/// A chain, and the host it is tried on.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is called in the count of points.
    pub name: &'static str,
    /// The plugins with their configurations, in the order of their ADD.
    pub chain: Vec<(&'static str, Value)>,
    /// Prepares the host and the container, before anything is compared.
    pub prepare: fn(&Host, &Container),
    /// Asserts that an attachment works.
    pub works: fn(&Host, &Container),
    /// What may stay after DEL.
    pub leaves: Leaves,
    /// Whether ADD may be repeated without a DEL in between.
    pub repeatable: bool,
}

/// What may stay on the host after DEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing.
    Nothing,
    /// Nothing. GC, which knows no namespaces, leaves what is in the container to the end of its namespace.
    NothingButToGc,
    /// The bridge of this name with its addresses, and forwarding switched on.
    Bridge(&'static str),
}

/// The operation during which the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// ADD.
    Add,
    /// DEL.
    Del,
}

/// Tries the points of a case and prints how many there are. Panics with every point after which something is wrong,
/// and when there was none to try.
#[track_caller]
pub fn try_all(case: &Case, operation: Operation, fault: Fault) {
    let points = points(case, operation, fault);
    let chosen = choose(&points);
    let (hit, failures) = run(case, operation, fault, &chosen);
    let line = format!(
        "faults: {} {operation:?} {fault:?}: {} of {} points tried, {hit} came\n",
        case.name,
        chosen.len(),
        points.len(),
    );
    // Not eprint!: the harness would swallow what a passing test prints with it.
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(
        failures.is_empty(),
        "{line}{} went wrong:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(
        hit > 0 && hit * 2 >= chosen.len(),
        "{line}too few came to mean anything"
    );
}

/// Calls `act` with a host of its own: a host stays with the thread that made it.
fn on_a_host<T: Send>(case: &Case, act: impl FnOnce(World<'_>) -> T + Send) -> Result<T, String> {
    let joined = thread::scope(|scope| scope.spawn(|| act(World::new(case))).join());
    joined.map_err(|panicked| words(&*panicked))
}

fn words(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().cloned();
    let text = text.or_else(|| {
        panicked
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    text.unwrap_or_default()
}

/// Every point at which the fault can be brought about.
#[track_caller]
fn points(case: &Case, operation: Operation, fault: Fault) -> Vec<Point> {
    let programs = World::programs(case);
    let mut points = Vec::new();
    for program in programs {
        let records = (0..RECORDS).map(|_| {
            let record = on_a_host(case, |world| world.record(&program, operation));
            let record = record.unwrap_or_else(|why| panic!("{}: {why}", case.name));
            record::without_waiting(record::read(&record))
        });
        let always = record::in_all(&records.collect::<Vec<_>>());
        let calls = record::reachable(always).into_iter().map(|call| Point {
            program: program.clone(),
            call,
        });
        points.extend(calls.filter(|point| Strace::inject(point, fault).is_some()));
    }
    points
}

/// All points, or a few that are spread evenly over those that matter.
fn choose(points: &[Point]) -> Vec<Point> {
    if env::var("FAULTS").is_ok_and(|wanted| wanted == "all") {
        return points.to_vec();
    }
    let matter = points.iter().filter(|point| !is_inert(&point.call.name));
    let matter: Vec<&Point> = matter.collect();
    let count = wanted().min(matter.len());
    (0..count)
        // From the middle of each part: the first points of a program come before it has done anything.
        .map(|number| matter[(2 * number + 1) * matter.len() / (2 * count)].clone())
        .collect()
}

/// How many points are tried where not all are.
fn wanted() -> usize {
    let wanted = env::var("FAULTS").unwrap_or_default();
    wanted.parse().unwrap_or(FEW)
}

/// How many faults came, and what was wrong after which. After a failure a new host takes over.
fn run(case: &Case, operation: Operation, fault: Fault, points: &[Point]) -> (usize, Vec<String>) {
    let (at, hit) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut failures = Vec::new();
    while at.load(Ordering::Relaxed) < points.len() && failures.len() < ENOUGH {
        let went = on_a_host(case, |world| {
            for (number, point) in points.iter().enumerate().skip(at.load(Ordering::Relaxed)) {
                at.store(number, Ordering::Relaxed);
                let arrived = world.try_point(operation, number, point, fault);
                hit.fetch_add(usize::from(arrived), Ordering::Relaxed);
            }
            at.store(points.len(), Ordering::Relaxed);
        });
        if let Err(why) = went {
            let number = at.fetch_add(1, Ordering::Relaxed);
            failures.push(format!("{fault:?} at {}: {why}", points[number]));
        }
    }
    (hit.into_inner(), failures)
}
