//! Running one of a chain's programs under strace, to record it or to make it fail.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::record::SystemCall;
use crate::Plugin;

/// Where the record is, and the directory of the delegates that run under strace.
const RECORD: &str = "/run/testbed/strace";
const DELEGATES: &str = "/run/testbed/delegates";

/// What happens to a program at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is killed before the kernel acts.
    Killed,
    /// The call fails. For a receive this is after the kernel has acted on what was sent.
    Fails,
}

/// One of the programs that a chain executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The plugin's place in the chain.
    pub(super) plugin: usize,
    /// The name of the IPAM plugin that it executes, where that is meant.
    pub(super) delegate: Option<String>,
}

/// A system call of one of the programs.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) program: Program,
    pub(super) call: SystemCall,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, call } = self;
        let SystemCall {
            process,
            name,
            occurrence,
        } = call;
        write!(f, "{name} {occurrence} of plugin {}", program.plugin)?;
        if let Some(delegate) = &program.delegate {
            write!(f, "'s delegate {delegate}")?;
        }
        match process {
            0 => Ok(()),
            child => write!(f, ", child {child}"),
        }
    }
}

/// A program under strace.
#[derive(Clone, Debug)]
pub(super) struct Strace {
    program: Program,
    options: Vec<String>,
}

impl Strace {
    /// Records what the program does.
    pub(super) fn record(program: &Program) -> Self {
        // Detached where it executes another: what that one does is counted for itself.
        let options = ["strace", "-f", "-q", "-b", "execve", "-o", RECORD];
        Self {
            program: program.clone(),
            options: options.map(str::to_owned).into(),
        }
    }

    /// Lets it come to grief at a point; `None` where the call cannot fail in this way.
    pub(super) fn inject(point: &Point, fault: Fault) -> Option<Self> {
        let SystemCall {
            name, occurrence, ..
        } = &point.call;
        let what = match fault {
            Fault::Killed => "signal=KILL".to_owned(),
            Fault::Fails => format!("error={}", errno(name)?),
        };
        let mut strace = Self::record(&point.program);
        strace.options.extend([
            "-e".to_owned(),
            format!("trace={name}"),
            "-e".to_owned(),
            format!("inject={name}:{what}:when={occurrence}"),
        ]);
        Some(strace)
    }

    /// The plugin at `place` of the chain, with its delegate or itself under strace where it is meant.
    pub(super) fn around(&self, place: usize, plugin: Plugin) -> Plugin {
        if place != self.program.plugin {
            return plugin;
        }
        let Some(delegate) = &self.program.delegate else {
            return plugin.under(&self.options);
        };
        let directory = plugin.file().parent().unwrap_or(Path::new("/"));
        let script = format!(
            "#!/bin/sh\nexec {} {}/{delegate}\n",
            self.options.join(" "),
            directory.display()
        );
        fs::create_dir_all(DELEGATES).unwrap();
        let file = Path::new(DELEGATES).join(delegate);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{DELEGATES}:{}", directory.display());
        plugin.path(path)
    }

    /// What strace wrote; nothing when the program was not executed.
    pub(super) fn take_record() -> String {
        let text = fs::read_to_string(RECORD).unwrap_or_default();
        if !text.is_empty() {
            fs::remove_file(RECORD).unwrap();
        }
        text
    }
}

/// Whether the fault that was asked for came.
pub(super) fn was_hit(record: &str) -> bool {
    record.contains("killed by SIGKILL") || record.contains("(INJECTED)")
}

/// The calls that ask the kernel or change something, and an error that each may end with. Not setns(2): before a
/// plugin enters a namespace it makes sure that it may come back, and aborts if it cannot all the same.
pub(super) fn errno(call: &str) -> Option<&'static str> {
    Some(match call {
        "sendto" | "sendmsg" | "recvfrom" | "recvmsg" => "ENOBUFS",
        "open" | "openat" | "socket" | "pipe" | "pipe2" => "EMFILE",
        "clone" | "clone3" | "fork" | "vfork" => "EAGAIN",
        "execve" => "EACCES",
        "fstatfs" | "close_range" => "EIO",
        "write" | "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" => "ENOSPC",
        "unlink" | "unlinkat" => "EROFS",
        "flock" => "ENOLCK",
        _ => return None,
    })
}

/// Whether a call changes nothing outside the process: being killed at it is being killed at the next that does.
pub(super) fn is_inert(call: &str) -> bool {
    const INERT: [&str; 25] = [
        "arch_prctl",
        "brk",
        "clock_nanosleep",
        "close",
        "dup2",
        "dup3",
        "exit_group",
        "fcntl",
        "fstat",
        "fstatfs",
        "getrandom",
        "ioctl",
        "mmap",
        "mprotect",
        "mremap",
        "munmap",
        "nanosleep",
        "poll",
        "ppoll",
        "prctl",
        "rt_sigaction",
        "rt_sigprocmask",
        "set_tid_address",
        "sigaltstack",
        "stat",
    ];
    INERT.contains(&call)
}
