//! Tries what must hold in a lab.

mod capture;
mod command;
mod connect;
mod routes;

use std::thread;
use std::time::{Duration, Instant};

use super::inside::Inside;
use super::model::{Check, Probe, ProbeKind};
use super::store::Outcome;

/// What a probe that succeeded has found.
#[derive(Debug, Default)]
struct Found {
    /// In a few words.
    fact: Option<String>,
    /// A heading and the lines below it.
    shown: Option<(String, String)>,
}

/// Tries each probe of a check until it holds or its time is over, or it is no longer `wanted`.
pub(super) fn run(lab: &Inside, check: &Check, wanted: &dyn Fn() -> bool) -> Outcome {
    let mut outcome = Outcome {
        title: check.title.clone(),
        ..Outcome::default()
    };
    let deadline = Instant::now() + check.within;
    for probe in &check.probes {
        match persist(lab, probe, &|| wanted() && Instant::now() < deadline) {
            Ok(found) => {
                outcome.facts.extend(found.fact);
                outcome.shown.extend(found.shown);
            }
            Err(why) => {
                outcome.failure = Some(why);
                return outcome;
            }
        }
    }
    outcome
}

fn persist(lab: &Inside, probe: &Probe, again: &dyn Fn() -> bool) -> Result<Found, String> {
    loop {
        match attempt(lab, probe) {
            Err(_) if again() => thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
}

fn attempt(lab: &Inside, probe: &Probe) -> Result<Found, String> {
    let node = probe.node.as_str();
    match &probe.kind {
        ProbeKind::Ping { to, answers } => command::ping(lab, node, *to, *answers),
        ProbeKind::Connect {
            to,
            listener,
            opens,
            seen_as,
        } => connect::connect(
            lab,
            node,
            *to,
            listener,
            connect::Expected {
                opens: *opens,
                seen_as: *seen_as,
            },
        ),
        ProbeKind::Routes { expected, show } => routes::routes(lab, node, expected, *show),
        ProbeKind::Command {
            command,
            status,
            contains,
            lacks,
            json,
            show,
        } => {
            let expected = command::Expected {
                status: *status,
                contains,
                lacks,
                json,
            };
            command::command(lab, node, command, &expected, *show)
        }
        ProbeKind::Capture {
            protocol,
            to,
            seen_on,
            silent_on,
            listen,
        } => {
            let wanted = capture::Wanted {
                protocol: *protocol,
                to: *to,
            };
            capture::capture(lab, node, &wanted, (seen_on, silent_on), *listen)
        }
    }
}
