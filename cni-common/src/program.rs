//! Another program at work, beside this one.
//!
//! The child that becomes the program shares our memory until then, and nobody waits for that, as vfork(2) and `posix_spawn`
//! do: what the kernel does for execve(2) takes as long as all the work of a small program. So it turns out when the program
//! is waited for whether it could be executed at all. Its standard input is written before it starts, where the pipe is sure to
//! hold it.
#![expect(
    unsafe_code,
    reason = "what a child that shares our memory may do has no safe form"
)]

use core::ffi::{CStr, c_int};
use core::sync::atomic::{AtomicI32, Ordering};
use std::ffi::{CString, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Output};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::child::{self, call};

/// What a pipe holds at least: one page, which is also `PIPE_BUF` of `linux/limits.h`.
const PIPE_HOLDS: usize = 4096;

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Program {
    pid: Pid,
    stdout: PipeReader,
    stderr: PipeReader,
    /// Why it could not be executed, an error number; zero while nothing is known of it.
    refused: &'static AtomicI32,
}

impl Program {
    /// Starts the file without arguments, with this environment and this standard input.
    ///
    /// # Errors
    /// There is no pipe or no process for it. What is wrong with the file [`Program::output`] says.
    pub(crate) fn start(
        file: &Path,
        environment: &[(OsString, OsString)],
        input: &[u8],
    ) -> io::Result<Self> {
        let (stdin, mut feed) = pipe()?;
        let (stdout, to_stdout) = pipe()?;
        let (stderr, to_stderr) = pipe()?;
        let early = input.len() <= PIPE_HOLDS;
        if early {
            feed.write_all(input)?;
        }
        let refused: &'static AtomicI32 = Box::leak(Box::new(AtomicI32::new(0)));
        let streams = [&stdin.as_fd(), &to_stdout.as_fd(), &to_stderr.as_fd()];
        let execution =
            Execution::new(file, environment, streams.map(AsRawFd::as_raw_fd), refused)?;
        // SAFETY: `execute` makes system calls and stores a number, and nothing else.
        let pid = unsafe { child::clone(execute, execution) }?;
        drop((stdin, to_stdout, to_stderr));
        if !early {
            write_late(feed, input)?;
        }
        Ok(Self {
            pid,
            stdout,
            stderr,
            refused,
        })
    }

    /// Waits for the program and gives what it printed.
    ///
    /// # Errors
    /// The file could not be executed, or the output not be read.
    pub(crate) fn output(mut self) -> io::Result<Output> {
        let (mut stdout, mut stderr) = (Vec::with_capacity(1024), Vec::new());
        let read = self.read(&mut stdout, &mut stderr);
        let status = wait(self.pid)?;
        match self.refused.load(Ordering::Acquire) {
            0 => read.map(|()| Output {
                status,
                stdout,
                stderr,
            }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Reads both streams to their ends, whichever has something.
    fn read(&mut self, stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) -> io::Result<()> {
        let (mut out, mut err) = (true, true);
        while out && err {
            let mut ready = [&self.stdout, &self.stderr]
                .map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN));
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let [out_ready, err_ready] = ready.map(|stream| stream.any().unwrap_or(true));
            out = !out_ready || some(&mut self.stdout, stdout)?;
            err = !err_ready || some(&mut self.stderr, stderr)?;
        }
        // One has ended, so waiting for the other stops nobody.
        self.stdout.read_to_end(stdout)?;
        self.stderr.read_to_end(stderr)?;
        Ok(())
    }
}

/// Reads what is there; `false` at the end.
fn some(stream: &mut PipeReader, read: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; 1024];
    let length = loop {
        match stream.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    read.extend_from_slice(bytes.get(..length).unwrap_or_default());
    Ok(length > 0)
}

/// A program that ends without reading all of its input says why itself.
fn write_late(mut feed: PipeWriter, input: &[u8]) -> io::Result<()> {
    match feed.write_all(input) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn wait(pid: Pid) -> io::Result<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: the number is valid for the call.
        let waited = unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) };
        match Errno::result(waited) {
            Err(Errno::EINTR) => {}
            ended => return Ok(ended.map(|_| ExitStatus::from_raw(status))?),
        }
    }
}

/// What the child needs, made beforehand. Numbers stand for addresses; what they point to lies in the strings.
struct Execution {
    streams: [RawFd; 3],
    arguments: [usize; 2],
    environment: Vec<usize>,
    refused: &'static AtomicI32,
    _strings: Vec<CString>,
}

impl Execution {
    fn new(
        file: &Path,
        environment: &[(OsString, OsString)],
        streams: [RawFd; 3],
        refused: &'static AtomicI32,
    ) -> io::Result<Self> {
        let mut strings = vec![CString::new(file.as_os_str().as_bytes())?];
        for (name, value) in environment {
            let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
            strings.push(CString::new(variable)?);
        }
        let mut addresses = strings.iter().map(|text| address(text));
        let arguments = [addresses.next().unwrap_or(0), 0];
        Ok(Self {
            streams,
            arguments,
            environment: addresses.chain([0]).collect(),
            refused,
            _strings: strings,
        })
    }
}

fn address(text: &CStr) -> usize {
    text.as_ptr().expose_provenance()
}

/// In the child.
fn execute(execution: &Execution) -> c_int {
    /// Size of the kernel's `sigset_t`.
    const SIGNALS: usize = 8;
    /// `struct sigaction` of the kernel: the default action, no flags; and an empty set.
    const DEFAULT: [u64; 4] = [0; 4];
    let none = DEFAULT.as_ptr().expose_provenance();
    let number = |number: c_int| usize::try_from(number).unwrap_or(usize::MAX);
    let [file, _] = execution.arguments;
    let arguments = execution.arguments.as_ptr().expose_provenance();
    let environment = execution.environment.as_ptr().expose_provenance();
    for (stream, standard) in execution.streams.iter().zip(0..) {
        // SAFETY: the child's descriptors are its own. With flags zero the copy stays open in the program.
        unsafe { call(libc::SYS_dup3, [number(*stream), standard, 0, 0, 0, 0]) };
    }
    // SAFETY: the set and the action are valid for the calls, and what is started begins with neither of ours.
    unsafe {
        let pipe = number(libc::SIGPIPE);
        call(libc::SYS_rt_sigaction, [pipe, none, 0, SIGNALS, 0, 0]);
        let set = number(libc::SIG_SETMASK);
        call(libc::SYS_rt_sigprocmask, [set, none, 0, SIGNALS, 0, 0]);
    }
    // SAFETY: file, arguments and environment are strings, and lists of them, that end with zero and are never freed.
    let refused = unsafe { call(libc::SYS_execve, [file, arguments, environment, 0, 0, 0]) };
    let errno = i32::try_from(refused.wrapping_neg()).unwrap_or(libc::EIO);
    execution.refused.store(errno, Ordering::Release);
    127
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(file: &str, input: &[u8]) -> io::Result<Output> {
        let environment: Vec<_> = std::env::vars_os().collect();
        Program::start(Path::new(file), &environment, input)?.output()
    }

    #[test]
    fn both_streams_are_read_however_much_comes_on_either() {
        let script =
            "head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero; head -c 100000 /dev/zero >&2";
        let output = run("/bin/sh", script.as_bytes()).unwrap();
        let lengths = (output.stdout.len(), output.stderr.len());
        assert_eq!(lengths, (400_000, 400_000));
    }

    #[test]
    fn more_input_than_a_pipe_holds_is_read_and_need_not_be() {
        let long = vec![b'x'; 200_000];
        let counted = run("/usr/bin/wc", &long).unwrap().stdout;
        assert!(counted.trim_ascii().ends_with(b" 200000"));
        assert!(run("/bin/true", &long).unwrap().status.success());
    }

    #[test]
    fn its_environment_is_what_it_was_given_and_its_end_is_told() {
        let environment = [("ONE".into(), "1 2".into())];
        let program = |script: &[u8]| {
            let program = Program::start(Path::new("/bin/sh"), &environment, script).unwrap();
            program.output().unwrap()
        };
        assert_eq!(program(b"printf '%s' \"$ONE$HOME\"; exit 7").stdout, b"1 2");
        assert_eq!(program(b"exit 7").status.code(), Some(7));
        assert_eq!(program(b"kill -9 $$").status.signal(), Some(9));
        // A pipe that nobody reads ends who writes to it, whatever the plugin itself does about that.
        assert_eq!(program(b"kill -PIPE $$").status.signal(), Some(13));
    }

    #[test]
    fn what_cannot_be_executed_is_an_error_of_its_output() {
        let start = |file| Program::start(Path::new(file), &[], b"").unwrap();
        let error = |file| start(file).output().unwrap_err().raw_os_error();
        assert_eq!(error("/nowhere"), Some(libc::ENOENT));
        assert_eq!(error("/etc/passwd"), Some(libc::EACCES));
    }
}
