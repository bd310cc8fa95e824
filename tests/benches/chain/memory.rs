//! The peak memory of each program that a chain executes.
//!
//! Read from `VmHWM` in the moment a process ends, by tracing it: what wait4(2) reports is inherited from the parent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::chain::{Attachment, Chain};

/// A program and the most memory that one process of it had resident, in kB.
#[derive(Clone, Debug)]
pub(crate) struct Peak {
    pub(crate) program: String,
    pub(crate) kilobytes: u64,
}

/// Runs ADD and DEL of one container under a tracer, and returns the largest process of each program first.
pub(crate) fn of(chain: &Chain, mut attachment: Attachment) -> Vec<Peak> {
    let mut peaks = BTreeMap::new();
    let (file, conf) = chain.first_call(&attachment);
    let mut result = traced(chain.command("ADD", &file, &attachment), &conf, &mut peaks);
    if let Some((file, conf)) = chain.next_call(&result) {
        result = traced(chain.command("ADD", &file, &attachment), &conf, &mut peaks);
        let (_, conf) = chain.next_call(&result).expect("a second plugin");
        traced(chain.command("DEL", &file, &attachment), &conf, &mut peaks);
    }
    attachment.result = Some(serde_json::from_str(&result).expect("a result"));
    let conf = conf.replacen('{', &format!("{{\"prevResult\":{result},"), 1);
    traced(chain.command("DEL", &file, &attachment), &conf, &mut peaks);
    let mut peaks: Vec<_> = peaks
        .into_iter()
        .map(|(program, kilobytes)| Peak { program, kilobytes })
        .collect();
    peaks.sort_by_key(|peak| std::cmp::Reverse(peak.kilobytes));
    peaks
}

/// Runs a command to its end, with every process it starts, and returns what it printed.
fn traced(mut command: Command, stdin: &str, peaks: &mut BTreeMap<String, u64>) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[expect(
        unsafe_code,
        reason = "a child asks to be traced before it executes the plugin"
    )]
    // SAFETY: between fork and exec the closure makes one system call and neither allocates nor locks.
    let mut child = unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) }
        .spawn()
        .expect("a plugin starts");
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let stdin = stdin.to_owned();
    let writer = thread::spawn(move || input.write_all(stdin.as_bytes()).unwrap_or_default());
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    follow(Pid::from_raw(i32::try_from(child.id()).unwrap()), peaks);
    // The tracer has seen its end already, so there is nothing left to wait for.
    child.wait().map(drop).unwrap_or_default();
    writer.join().unwrap();
    reader.join().unwrap().expect("what the plugin printed")
}

fn follow(first: Pid, peaks: &mut BTreeMap<String, u64>) {
    let options = Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    // The first stop is the SIGTRAP after exec.
    waitpid(first, None).expect("the plugin stops");
    ptrace::setoptions(first, options).expect("PTRACE_SETOPTIONS");
    ptrace::cont(first, None).expect("PTRACE_CONT");
    // Until no traced process is left: ECHILD.
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) {
        let (pid, deliver) = match status {
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == libc::PTRACE_EVENT_EXIT {
                    record(pid, peaks);
                }
                (pid, None)
            }
            // A new process or thread begins with a SIGSTOP that is not meant for it.
            WaitStatus::Stopped(pid, Signal::SIGSTOP | Signal::SIGTRAP)
            | WaitStatus::PtraceSyscall(pid) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::Exited(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => continue,
        };
        // It may have been killed meanwhile.
        ptrace::cont(pid, deliver).unwrap_or_default();
    }
}

fn record(pid: Pid, peaks: &mut BTreeMap<String, u64>) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let peak: Option<u64> = field("VmHWM:")
        .and_then(|text| text.split(' ').next())
        .and_then(|number| number.parse().ok());
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let program = program
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    if let (Some(program), Some(peak)) = (program, peak) {
        let entry = peaks.entry(program).or_insert(0);
        *entry = peak.max(*entry);
    }
}
