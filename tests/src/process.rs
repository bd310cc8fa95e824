//! Programs that run beside a test.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::node::tool;
use crate::{Node, setgroups, until};

/// So many lines of its output are shown where a test fails.
const LAST_WORDS: usize = 60;

/// A program running in a namespace. It is killed with its process group when this value is dropped.
#[derive(Debug)]
pub struct Process {
    argv: Vec<OsString>,
    child: Child,
    output: PathBuf,
}

impl Process {
    #[track_caller]
    pub(crate) fn start(node: &Node, argv: &[OsString]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let output = PathBuf::from(format!("/run/testbed/process-{number}"));
        let (program, arguments) = argv.split_first().expect("a program to start");
        let file = File::create_new(&output).unwrap();
        let errors = file.try_clone().unwrap();
        let netns = node.open_netns();
        let enter = move || {
            // A process outlives neither the test nor a test run that is killed. The signal comes with the end of the
            // thread that spawned, so this must be the test's own and the child enters the namespace by itself.
            set_pdeathsig(Signal::SIGKILL)?;
            setgroups::pretend()?;
            if let Some(netns) = &netns {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "in a child about to execute a program"
                )]
                setns(netns, CloneFlags::CLONE_NEWNET)?;
            }
            Ok(())
        };
        let mut command = tool(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0);
        #[expect(unsafe_code, reason = "the child has to enter its namespace by itself")]
        // SAFETY: between fork and exec the closure makes three system calls and neither allocates nor locks.
        let command = unsafe { command.pre_exec(enter) };
        let spawned = command.spawn();
        let child =
            spawned.unwrap_or_else(|error| panic!("on {}: start {argv:?}: {error}", node.name()));
        Self {
            argv: argv.to_vec(),
            child,
            output,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, standard output and error together.
    #[track_caller]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned()
    }

    /// Whether it has not ended.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has printed `words`.
    #[track_caller]
    pub fn until_output_has(&self, words: &str, within: Duration) {
        let found = until(within, || self.output().contains(words));
        assert!(
            found,
            "{:?} did not print {words:?} within {within:?}; it printed:\n{}",
            self.argv,
            self.output()
        );
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let ended = until(within, || !self.is_running());
        assert!(
            ended,
            "{:?} did not end within {within:?}; it printed:\n{}",
            self.argv,
            self.output()
        );
        self.child.wait().unwrap()
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        killpg(self.group(), signal)
            .unwrap_or_else(|errno| panic!("{signal} to {:?}: {errno}", self.argv));
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = fs::read(&self.output).unwrap_or_default();
            let output = String::from_utf8_lossy(&output);
            let lines: Vec<&str> = output.lines().collect();
            let last = lines.len().saturating_sub(LAST_WORDS);
            #[expect(clippy::print_stderr, reason = "for whoever looks why a test failed")]
            {
                eprintln!(
                    "{:?} printed, at the end:\n{}",
                    self.argv,
                    lines[last..].join("\n")
                );
            }
        }
        // Ended and waited for already: its number may be somebody else's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            killpg(self.group(), Signal::SIGKILL).unwrap_or_default();
            self.child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// A running `tcpdump`.
#[derive(Debug)]
pub struct Capture {
    process: Process,
}

impl Capture {
    #[track_caller]
    pub(crate) fn start(node: &Node, link: &str, filter: &str) -> Self {
        // The files of the test are not another user's to read.
        let process = node.spawn([
            "tcpdump",
            "-Z",
            "root",
            "-i",
            link,
            "-n",
            "-e",
            "-l",
            "-U",
            "--immediate-mode",
            filter,
        ]);
        process.until_output_has("listening on", Duration::from_secs(20));
        Self { process }
    }

    /// The packets seen so far, one line of `tcpdump -n -e` each.
    #[track_caller]
    pub fn packets(&self) -> Vec<String> {
        let output = self.process.output();
        let chatter =
            |line: &&str| !line.starts_with("tcpdump:") && !line.starts_with("listening on");
        output.lines().filter(chatter).map(str::to_owned).collect()
    }

    /// Waits until a packet's line has `words`, and panics with all lines otherwise.
    #[track_caller]
    pub fn until_seen(&self, words: &str, within: Duration) {
        let seen = until(within, || {
            self.packets().iter().any(|line| line.contains(words))
        });
        assert!(
            seen,
            "no packet with {words:?} within {within:?}; seen:\n{}",
            self.packets().join("\n")
        );
    }
}
