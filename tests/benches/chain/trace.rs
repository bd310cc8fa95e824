//! A chain under a tracer: every process of its ADD and DEL.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::chain::{Attachment, Chain};

/// Who looks at the processes.
pub(crate) trait Observer {
    /// A process is about to end, and has not given anything back yet.
    fn ends(&mut self, _pid: Pid) {}

    /// Lets a process go on, with a signal that is meant for it. It may have a new program since it was last looked at.
    fn goes_on(&mut self, pid: Pid, signal: Option<Signal>, _new_program: bool) -> nix::Result<()> {
        ptrace::cont(pid, signal)
    }
}

/// Runs ADD and DEL of one container.
pub(crate) fn all(chain: &Chain, mut attachment: Attachment, observer: &mut impl Observer) {
    let (file, conf) = chain.first_call(&attachment);
    let mut result = traced(chain.command("ADD", &file, &attachment), &conf, observer);
    if let Some((file, conf)) = chain.next_call(&result) {
        result = traced(chain.command("ADD", &file, &attachment), &conf, observer);
        let (_, conf) = chain.next_call(&result).expect("a second plugin");
        traced(chain.command("DEL", &file, &attachment), &conf, observer);
    }
    attachment.result = Some(serde_json::from_str(&result).expect("a result"));
    let conf = conf.replacen('{', &format!("{{\"prevResult\":{result},"), 1);
    traced(chain.command("DEL", &file, &attachment), &conf, observer);
}

/// Runs a command to its end, with every process it starts, and returns what it printed.
fn traced(mut command: Command, stdin: &str, observer: &mut impl Observer) -> String {
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
    follow(Pid::from_raw(i32::try_from(child.id()).unwrap()), observer);
    // The tracer has seen its end already, so there is nothing left to wait for.
    child.wait().map(drop).unwrap_or_default();
    writer.join().unwrap();
    reader.join().unwrap().expect("what the plugin printed")
}

fn follow(first: Pid, observer: &mut impl Observer) {
    let options = Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    // The first stop is the SIGTRAP after exec.
    waitpid(first, None).expect("the plugin stops");
    ptrace::setoptions(first, options).expect("PTRACE_SETOPTIONS");
    observer.goes_on(first, None, true).expect("it goes on");
    // Until no traced process is left: ECHILD.
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) {
        let (pid, deliver, new_program) = match status {
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == libc::PTRACE_EVENT_EXIT {
                    observer.ends(pid);
                }
                (pid, None, event == libc::PTRACE_EVENT_EXEC)
            }
            // A new process or thread begins with a SIGSTOP that is not meant for it.
            WaitStatus::Stopped(pid, Signal::SIGSTOP | Signal::SIGTRAP)
            | WaitStatus::PtraceSyscall(pid) => (pid, None, false),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal), false),
            WaitStatus::Exited(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => continue,
        };
        // It may have been killed meanwhile.
        observer
            .goes_on(pid, deliver, new_program)
            .unwrap_or_default();
    }
}
