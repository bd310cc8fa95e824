//! A program that runs beside the test, such as a daemon, killed or failing at one of its system calls.

use std::env;
use std::fmt;

use super::inject::{self, Fault, is_inert};
use super::record::{self, SystemCall};
use super::wanted;

/// Where strace writes what such a program does.
pub const SERVICE_RECORD: &str = "/run/testbed/strace-service";

/// A system call of a program that runs beside the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePoint {
    call: SystemCall,
}

impl fmt::Display for ServicePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.call.name, self.call.occurrence)
    }
}

impl ServicePoint {
    /// What stands before the program for it to come to grief here.
    pub fn argv(&self, fault: Fault) -> Vec<String> {
        let SystemCall {
            name, occurrence, ..
        } = &self.call;
        let what = match fault {
            Fault::Killed => "signal=KILL".to_owned(),
            Fault::Fails => format!("error={}", errno(name).unwrap_or("EIO")),
        };
        let inject = format!("inject={name}:{what}:when={occurrence}");
        let mut argv = recording();
        argv.extend([
            "-e".to_owned(),
            format!("trace={name}"),
            "-e".to_owned(),
            inject,
        ]);
        argv
    }
}

/// What stands before a program for its system calls to be recorded in [`SERVICE_RECORD`].
pub fn recording() -> Vec<String> {
    ["strace", "-f", "-q", "-b", "execve", "-o", SERVICE_RECORD]
        .map(str::to_owned)
        .into()
}

/// Whether the fault that was asked for came, from what strace recorded.
pub fn service_was_hit(record: &str) -> bool {
    inject::was_hit(record)
}

/// The system calls of the program itself in a record at which it can be hit, without the first `skip`: all, or as many
/// as `FAULTS` says, spread evenly.
pub fn service_points(record: &str, skip: usize, fault: Fault) -> Vec<ServicePoint> {
    let calls = record::read(record).into_iter();
    let own = calls.filter(|call| call.process == 0).skip(skip);
    let possible = own.filter(|call| fault == Fault::Killed || errno(&call.name).is_some());
    let all = env::var("FAULTS").is_ok_and(|wanted| wanted == "all");
    let matter: Vec<_> = possible
        .filter(|call| all || !is_inert(&call.name))
        .map(|call| ServicePoint { call })
        .collect();
    let count = if all {
        matter.len()
    } else {
        wanted().min(matter.len())
    };
    (0..count)
        .map(|number| matter[(2 * number + 1) * matter.len() / (2 * count)].clone())
        .collect()
}

/// How many system calls of the program itself are in a record.
pub fn service_calls(record: &str) -> usize {
    let calls = record::read(record).into_iter();
    calls.filter(|call| call.process == 0).count()
}

/// What a daemon does beside what plugins do.
fn errno(call: &str) -> Option<&'static str> {
    Some(match call {
        "accept4" => "ECONNABORTED",
        "bind" => "EADDRINUSE",
        "chmod" | "fchmodat" => "EPERM",
        "epoll_ctl" | "setsockopt" => "ENOMEM",
        "fsync" => "EIO",
        "access" | "faccessat" => "EACCES",
        _ => return inject::errno(call),
    })
}
