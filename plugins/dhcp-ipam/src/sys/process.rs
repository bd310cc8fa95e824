//! This process and its children.
#![expect(unsafe_code, reason = "fork and close_range have no safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

/// What a process is after going into the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that was started; it ends.
    Front,
    /// The daemon.
    Back,
}

/// Goes on in a child, in a session of its own and with no terminal.
pub(crate) fn to_background() -> io::Result<Side> {
    // SAFETY: the process has one thread, so the child finds no lock taken.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(Side::Front),
        ForkResult::Child => {
            setsid()?;
            Ok(Side::Back)
        }
    }
}

/// Gives the standard streams other ends.
pub(crate) fn redirect(nothing: &File, log: &File) -> io::Result<()> {
    dup2_stdin(nothing)?;
    dup2_stdout(nothing)?;
    dup2_stderr(log)?;
    Ok(())
}

/// Closes what a careless caller left open beside the standard streams; a pipe of it would otherwise never end.
///
/// To be called before anything is opened.
pub(crate) fn close_inherited() {
    // SAFETY: no descriptor above 2 is in use: the process has just begun.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Two sockets for each of ten thousand leases at once are more than the usual limit; with that it works as well, for
/// fewer.
pub(crate) fn more_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Goes to the mount namespace of a file such as `/proc/1/ns/mnt`, for good.
pub(crate) fn enter_mounts(namespace: &File) -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "mounts, not a network: this process has one thread, and stays there"
    )]
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNS)?;
    Ok(())
}

/// Ends all processes of the group that a child leads.
pub(crate) fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
