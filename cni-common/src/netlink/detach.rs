//! Leaving to a child process what only waits for the kernel to free memory.
//!
//! A link is gone, for everybody and with its addresses, routes, neighbours and port, within a millisecond of
//! `RTM_DELLINK`. The system call returns some 15 ms later: it waits, in `netdev_run_todo` after the lock was
//! dropped, until memory can be freed. A child process does that waiting.
#![expect(
    unsafe_code,
    reason = "fork, and what may be called in its child, have no safe form"
)]

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::Rtnl;
use super::connection::Connection;
use super::error::Error;
use super::link::{Link, deletion};
use super::pauses::Pauses;
use super::request::Family;

/// How long the child may take to get at the kernel's lock before the caller does the work itself.
const PATIENCE: Duration = Duration::from_secs(5);

impl Rtnl {
    /// Deletes a link and returns as soon as it is gone, read back by its index; fails when it is absent.
    ///
    /// A child process holds the netlink socket, and nothing else, until the kernel has freed the link; it has
    /// its own session and ends by itself. Where the child cannot be made or is refused, this is
    /// [`Rtnl::delete_link`].
    ///
    /// The connection must be of the calling thread's namespace.
    pub fn delete_link_detached(&mut self, link: &Link) -> Result<(), Error> {
        // A socket of its own: on the shared one the child's acknowledgement could be read by the parent.
        let mut childs = Self::open()?;
        let (socket, datagram) = childs.encoded(&deletion(link));
        let socket = socket.as_raw_fd();
        // SAFETY: the child calls nothing but system calls on values that exist already, and leaves by `_exit`;
        // so it is sound even when another thread holds a lock, such as the allocator's, at the fork.
        let child = match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                // SAFETY: this is the forked child.
                unsafe { delete_and_exit(socket, &datagram) }
            }
            Ok(ForkResult::Parent { child }) => child,
            Err(_) => return self.delete_link(link),
        };
        drop(childs);
        if self.wait_until_gone(link, child)? {
            Ok(())
        } else {
            self.delete_link(link)
        }
    }

    /// Looks the link up until it is gone: `true`; or until the child has given up: `false`.
    fn wait_until_gone(&mut self, link: &Link, child: Pid) -> Result<bool, Error> {
        let mut pauses = Pauses::new(PATIENCE);
        loop {
            let ended = match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => false,
                Ok(_) | Err(_) => true,
            };
            // The look-up queues behind the deletion for the kernel's lock, so this rarely goes round.
            if self.link_by_index(link.index)?.is_none() {
                return Ok(true);
            }
            if ended || !pauses.pause() {
                return Ok(false);
            }
        }
    }
}

impl<F: Family> Connection<F> {
    /// Closes the connection a while later, in a child process that holds it and nothing else.
    ///
    /// For a netfilter socket after a deletion: closing one while the kernel still has to free what was deleted
    /// takes an RCU grace period, and makes every other user of nftables wait with it. Where the child cannot be
    /// made, the connection is closed at once.
    pub fn close_later(self, after: Duration) {
        let socket = self.descriptor().as_raw_fd();
        // SAFETY: the child calls nothing but system calls on values that exist already, and leaves by `_exit`.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            let wait = libc::timespec {
                tv_sec: after.as_secs().try_into().unwrap_or(0),
                tv_nsec: after.subsec_nanos().into(),
            };
            // SAFETY: this is the forked child; the time is a valid value of this frame.
            unsafe {
                keep_only(socket);
                libc::setsid();
                libc::nanosleep(&raw const wait, core::ptr::null_mut());
                libc::_exit(0);
            }
        }
    }
}

/// Closes every descriptor but one.
///
/// # Safety
/// Only in a forked child that uses no other descriptor.
unsafe fn keep_only(socket: RawFd) {
    // SAFETY: system calls that take descriptors; nothing here allocates or takes a lock.
    unsafe {
        let fd = libc::c_uint::try_from(socket).unwrap_or(0);
        // Whoever waits for the end of our standard output must not wait for this child. The old way for
        // kernels before 5.9.
        let closed = libc::syscall(libc::SYS_close_range, 0, fd.wrapping_sub(1), 0) == 0
            && libc::syscall(
                libc::SYS_close_range,
                fd.wrapping_add(1),
                libc::c_uint::MAX,
                0,
            ) == 0;
        if !closed {
            for other in (0..1024).filter(|other| *other != socket) {
                libc::close(other);
            }
        }
    }
}

/// The child: sends the request and leaves.
///
/// # Safety
/// Only in a forked child: it closes every descriptor but the socket and ends the process.
unsafe fn delete_and_exit(socket: RawFd, datagram: &[u8]) -> ! {
    /// Size of `struct nlmsghdr`, before the error number.
    const HEADER: usize = 16;
    let mut answer = [0_u8; 256];
    // SAFETY: system calls that take descriptors and buffers valid for their length; nothing here allocates
    // or takes a lock.
    unsafe {
        keep_only(socket);
        libc::setsid();
        libc::send(socket, datagram.as_ptr().cast(), datagram.len(), 0);
        let length = libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), 0);
        let errno = answer
            .get(HEADER..)
            .and_then(|rest| rest.first_chunk::<4>());
        let deleted = length > 0 && errno == Some(&[0; 4]);
        libc::_exit(libc::c_int::from(!deleted));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;
    use crate::ident::IfName;
    use crate::testing::{private_netns, run};

    fn veth(rtnl: &mut Rtnl) -> Link {
        run(
            "ip",
            &["link", "add", "v0", "type", "veth", "peer", "name", "v1"],
        );
        rtnl.link_by_name(&IfName::parse("v0").unwrap())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn both_ends_are_gone_when_it_returns_and_the_name_is_free() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        for _ in 0..5 {
            let link = veth(&mut rtnl);
            run("ip", &["addr", "add", "10.9.9.1/24", "dev", "v1"]);
            run("ip", &["link", "set", "v1", "up"]);
            rtnl.delete_link_detached(&link).unwrap();
            let left = run("ip", &["-o", "addr"]) + &run("ip", &["-o", "link"]);
            assert!(!left.contains("v0") && !left.contains("v1"), "{left}");
            assert!(run("ip", &["route"]).is_empty());
        }
    }

    #[test]
    fn a_connection_is_closed_by_a_child_that_holds_nothing_else() {
        private_netns();
        let before = children();
        Rtnl::open().unwrap().close_later(Duration::from_secs(5));
        let new = || children().into_iter().find(|pid| !before.contains(pid));
        let child = new().expect("a child");
        let open = || fs::read_dir(format!("/proc/{child}/fd")).map_or(0, Iterator::count);
        let deadline = Instant::now() + Duration::from_secs(2);
        while open() != 1 {
            assert!(Instant::now() < deadline, "{} descriptors", open());
            std::thread::yield_now();
        }
        let child = Pid::from_raw(child);
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
        waitpid(child, None).unwrap();
    }

    /// The process numbers of the children of this thread.
    fn children() -> Vec<i32> {
        let path = "/proc/thread-self/children";
        let listed = fs::read_to_string(path).unwrap_or_default();
        listed
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    #[test]
    fn an_absent_link_is_an_error() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        let link = veth(&mut rtnl);
        rtnl.delete_link(&link).unwrap();
        assert!(rtnl.delete_link(&link).unwrap_err().is_absent());
    }

    #[test]
    fn a_link_that_cannot_be_deleted_is_an_error() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        let lo = rtnl
            .link_by_name(&IfName::parse("lo").unwrap())
            .unwrap()
            .unwrap();
        let refused = rtnl.delete_link_detached(&lo).unwrap_err();
        assert_eq!(refused.errno, libc::EOPNOTSUPP, "{refused}");
    }

    #[test]
    fn the_child_holds_nothing_of_the_parents_and_ends() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        let link = veth(&mut rtnl);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let begin = Instant::now();
        rtnl.delete_link_detached(&link).unwrap();
        drop(writer);
        // End of file comes only when nobody holds the writing end.
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut rest).unwrap();
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open < 100, "{open} descriptors left open");
    }
}
