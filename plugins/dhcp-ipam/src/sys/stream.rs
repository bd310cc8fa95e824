//! The control socket: who is at the other end, and one that systemd passed.
#![expect(
    unsafe_code,
    reason = "a descriptor that systemd passed has no safe wrapper"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;

/// The first descriptor that systemd passes (`SD_LISTEN_FDS_START`, systemd/sd-daemon.h).
const PASSED: i32 = 3;

/// Whether root is at the other end, or the user that we run as (`SO_PEERCRED`).
pub(crate) fn is_trusted(stream: &UnixStream) -> io::Result<bool> {
    let peer = getsockopt(stream, sockopt::PeerCredentials)?;
    Ok(peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

/// Takes the listening socket that systemd passed; `None` where that descriptor is not open. To be called once, before
/// anything is opened.
pub(crate) fn passed() -> Option<UnixListener> {
    // SAFETY: takes no pointer, and changes nothing.
    if unsafe { libc::fcntl(PASSED, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, systemd passed it to this process alone, and nothing else took it.
    let socket = unsafe { OwnedFd::from_raw_fd(PASSED) };
    Some(UnixListener::from(socket))
}

/// Whether a failure to accept says that there are too many open files, here or on the machine, or too little memory: who
/// waits goes on waiting, and epoll goes on saying so.
pub(crate) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
