//! Entering namespaces: of this process, of a command about to start, of a thread.

#![expect(
    unsafe_code,
    reason = "a command enters its namespaces between fork and exec"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Opened namespaces, entered in the order they were opened.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    handles: Vec<(File, CloneFlags)>,
}

/// A user namespace comes first: it gives the right to enter the others.
const KINDS: [(CloneFlags, &str); 5] = [
    (CloneFlags::CLONE_NEWUSER, "user"),
    (CloneFlags::CLONE_NEWPID, "pid"),
    (CloneFlags::CLONE_NEWUTS, "uts"),
    (CloneFlags::CLONE_NEWNET, "net"),
    (CloneFlags::CLONE_NEWNS, "mnt"),
];

impl Entrance {
    /// Those namespaces of a process.
    pub(super) fn of_process(pid: u32, kinds: CloneFlags) -> io::Result<Self> {
        let mut handles = Vec::new();
        for (kind, name) in KINDS {
            if kinds.contains(kind) {
                handles.push((File::open(format!("/proc/{pid}/ns/{name}"))?, kind));
            }
        }
        Ok(Self { handles })
    }

    /// The network namespace at a path.
    pub(super) fn of_netns(path: &Path) -> io::Result<Self> {
        Ok(Self {
            handles: vec![(File::open(path)?, CloneFlags::CLONE_NEWNET)],
        })
    }

    /// Enters with the calling thread. Of a PID namespace only children are part.
    #[expect(clippy::disallowed_methods, reason = "this is the lab's netns.rs")]
    pub(super) fn enter(&self) -> io::Result<()> {
        for (handle, kind) in &self.handles {
            nix::sched::setns(handle, *kind)?;
        }
        Ok(())
    }

    /// Has the command enter before it starts.
    pub(super) fn prepare(self: &Arc<Self>, command: &mut Command) {
        let entrance = Arc::clone(self);
        // SAFETY: setns(2) is async-signal-safe and the closure neither allocates nor locks.
        unsafe { command.pre_exec(move || entrance.enter()) };
    }

    /// Runs `work` in a thread that has entered. Only for network namespaces: threads share their root directory.
    pub(super) fn run<T: Send>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.enter().and_then(|()| work()));
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        })
    }
}

/// Whether the user namespace of a process (`self` or its id) has no groups to give: an ordinary user's, see
/// `user_namespaces(7)`.
pub(super) fn lacks_groups(process: &str) -> io::Result<bool> {
    Ok(std::fs::read_to_string(format!("/proc/{process}/setgroups"))?.trim() == "deny")
}

/// Has the command killed when the process that starts it dies.
pub(super) fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl(2) is async-signal-safe and the closure neither allocates nor locks.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
}

/// A process by a handle that cannot come to mean another.
pub(super) struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens it: `pidfd_open(2)`.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: the call takes two numbers and gives a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Kills it: `pidfd_send_signal(2)`.
    pub(super) fn kill(&self) -> io::Result<()> {
        let nothing: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is open, and a null siginfo_t is allowed.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                libc::SIGKILL,
                nothing,
                0,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Waits until it has ended. `false` when it has not in that time.
    pub(super) fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut watched = [PollFd::new(
            std::os::fd::AsFd::as_fd(&self.0),
            PollFlags::POLLIN,
        )];
        Ok(poll(
            &mut watched,
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
        )? > 0)
    }
}

/// Catches a signal and does nothing: this process lives on, and a command started later is ended by it as usual.
pub(super) fn outlive(signal: Signal) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::Handler(nothing)) }?;
    Ok(())
}
