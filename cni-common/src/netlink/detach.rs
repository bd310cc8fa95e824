//! Leaving to a child process what only waits for the kernel to free memory.
//!
//! A link is gone, for everybody and with its addresses, routes, neighbours and port, within a millisecond of
//! `RTM_DELLINK`. The system call returns some 15 ms later: it waits, in `netdev_run_todo` after the lock was
//! dropped, until memory can be freed. A child process does that waiting.
#![expect(
    unsafe_code,
    reason = "a child that shares our memory has no safe form"
)]

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Rtnl;
use super::connection::Connection;
use super::error::Error;
use super::link::{Link, deletion};
use super::pauses::Pauses;
use super::request::Family;
use crate::child::{self, Signal};

/// How long the child may take to get at the kernel's lock before the caller does the work itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the child is given to begin before the caller looks what is keeping it.
const BEGINNING: Duration = Duration::from_millis(20);

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
        let begins = Signal::new();
        let errand = Deletion {
            datagram: childs.datagram(&deletion(link)),
            socket: childs.descriptor().as_raw_fd(),
            begins,
        };
        // SAFETY: `delete` makes system calls and gives the signal, and nothing else.
        let child = unsafe { child::start(childs.descriptor(), delete, errand) };
        let Some(child) = child else {
            return self.delete_link(link);
        };
        drop(childs);
        // Looking before the child has the kernel's lock would only be looking once more. What waking up takes, the
        // deletion takes anyway.
        begins.wait(BEGINNING);
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
        let wait = libc::timespec {
            tv_sec: after.as_secs().try_into().unwrap_or(0),
            tv_nsec: after.subsec_nanos().into(),
        };
        // SAFETY: `sleep` makes a system call and nothing else.
        let _ = unsafe { child::start(self.descriptor(), sleep, wait) };
    }
}

struct Deletion {
    socket: RawFd,
    datagram: Vec<u8>,
    begins: &'static Signal,
}

/// In the child: sends the request and waits for its acknowledgement.
fn delete(errand: &Deletion) -> bool {
    /// Size of `struct nlmsghdr`, before the error number.
    const HEADER: usize = 16;
    let mut answer = [0_u8; 256];
    let Ok(socket) = usize::try_from(errand.socket) else {
        return false;
    };
    let datagram = &errand.datagram;
    let send = [
        socket,
        datagram.as_ptr().expose_provenance(),
        datagram.len(),
        0,
        0,
        0,
    ];
    let receive = [
        socket,
        answer.as_mut_ptr().expose_provenance(),
        answer.len(),
        0,
        0,
        0,
    ];
    errand.begins.give();
    // SAFETY: the buffers are valid for their lengths.
    let length = unsafe {
        child::call(libc::SYS_sendto, send);
        child::call(libc::SYS_recvfrom, receive)
    };
    let errno = answer
        .get(HEADER..)
        .and_then(|rest| rest.first_chunk::<4>());
    length > 0 && errno == Some(&[0; 4])
}

/// In the child.
fn sleep(wait: &libc::timespec) -> bool {
    let wait: *const libc::timespec = wait;
    // SAFETY: the time is valid for the call.
    unsafe {
        child::call(
            libc::SYS_nanosleep,
            [wait.expose_provenance(), 0, 0, 0, 0, 0],
        ) == 0
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
        Rtnl::open().unwrap().close_later(Duration::from_mins(1));
        let new = || children().into_iter().find(|pid| !before.contains(pid));
        let child = new().expect("a child");
        let open = || fs::read_dir(format!("/proc/{child}/fd")).map_or(0, Iterator::count);
        let deadline = Instant::now() + Duration::from_secs(30);
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
        assert!(begin.elapsed() < 6 * PATIENCE, "{:?}", begin.elapsed());
        let open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert!(open < 100, "{open} descriptors left open");
    }
}
