//! Network namespaces: opening, comparing, and working inside one.
//!
//! A namespace belongs to a thread, not to the process: `/proc/self` names that of the main thread. A thread's own is asked for by
//! a socket, and where that is not allowed through `/proc/thread-self`, for which the kernel first makes five directory entries
//! that it must take away again with the process. What is opened inside a namespace, a socket above all,
//! stays in it wherever it is used: so a plugin enters seldom and works from outside.
#![expect(
    unsafe_code,
    reason = "a namespace is asked for its type and its cookie, and a socket for it, by calls that nix does not wrap"
)]

use core::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::code::Code;
use crate::error::{Cause, Error as Reported};

/// Where a thread finds its own network namespace.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// An open network namespace, kept alive while it is open.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

/// Why a namespace could not be opened or entered.
#[derive(Debug)]
pub struct Error {
    /// The path that was opened; empty when entering failed.
    pub path: PathBuf,
    /// What is the matter.
    pub problem: Problem,
}

/// What is the matter with a namespace.
#[derive(Debug)]
pub enum Problem {
    /// There is nothing at the path.
    Absent,
    /// What is there is not a network namespace.
    NotANetns,
    /// A system call failed.
    System(io::Error),
}

impl Error {
    /// Whether there is nothing at the path.
    pub fn is_absent(&self) -> bool {
        matches!(self.problem, Problem::Absent)
    }

    fn sentence(&self) -> String {
        let path = self.path.display();
        match &self.problem {
            Problem::Absent => format!("there is no network namespace at {path}"),
            Problem::NotANetns => format!("{path} is not a network namespace"),
            Problem::System(error) if self.path.as_os_str().is_empty() => error.to_string(),
            Problem::System(error) => format!("{path}: {error}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for Error {}

impl Cause for Error {
    fn cause(self) -> Reported {
        let code = match self.problem {
            Problem::Absent => Code::UnknownContainer,
            Problem::NotANetns => Code::Environment,
            Problem::System(_) => Code::Io,
        };
        Reported::new(code, self.sentence())
    }
}

impl Netns {
    /// Opens the namespace at a path, such as `/run/netns/c1` or `/proc/4711/ns/net`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |problem| Error {
            path: path.to_owned(),
            problem,
        };
        // A named pipe that nobody writes to would hold the call up.
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path);
        let file = opened.map_err(|error| {
            // ESRCH: the process behind /proc/PID/ns/net is dead and not yet reaped.
            let absent = [libc::ENOENT, libc::ENOTDIR, libc::ESRCH].map(Some);
            failed(if absent.contains(&error.raw_os_error()) {
                Problem::Absent
            } else {
                Problem::System(error)
            })
        })?;
        let netns = Self { file };
        match netns.is_netns() {
            Ok(true) => Ok(netns),
            Ok(false) => Err(failed(Problem::NotANetns)),
            Err(error) => Err(failed(Problem::System(error))),
        }
    }

    /// Opens the namespace of the calling thread.
    pub fn current() -> Result<Self, Error> {
        match of_calling_thread() {
            Ok(file) => Ok(Self { file }),
            Err(_) => Self::open(CURRENT),
        }
    }

    /// Whether it is the namespace of the calling thread.
    pub fn is_current(&self) -> io::Result<bool> {
        Ok(identity(&self.file)? == identity(&of_calling_thread()?)?)
    }

    /// Whether both are the same namespace.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        Ok(identity(&self.file)? == identity(&other.file)?)
    }

    /// Runs `work` inside the namespace and comes back.
    ///
    /// Only the calling thread moves. That it may come back is made sure of before it leaves; if it cannot all the
    /// same, the process aborts: whatever it did next, it would do to the wrong namespace.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let failed = |path: &str, error: io::Error| Error {
            path: PathBuf::from(path),
            problem: Problem::System(error),
        };
        let home = of_calling_thread().map_err(|error| failed(CURRENT, error))?;
        enter(home.as_fd()).map_err(|error| failed(CURRENT, error))?;
        enter(self.file.as_fd()).map_err(|error| failed("", error))?;
        let _return = Return { home };
        Ok(work())
    }

    /// Whether the file is a network namespace.
    fn is_netns(&self) -> io::Result<bool> {
        // linux/nsfs.h: `_IO(0xb7, 0x3)`.
        const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
        if fstatfs(&self.file)?.filesystem_type() != NSFS_MAGIC {
            return Ok(false);
        }
        // SAFETY: this ioctl takes no argument, and the descriptor is open for as long as `self` lives.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), NS_GET_NSTYPE) };
        match Errno::result(answer) {
            Ok(kind) => Ok(kind == libc::CLONE_NEWNET),
            // Kernels before 4.11 do not know the question.
            Err(Errno::ENOTTY) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The calling thread's namespace.
fn of_calling_thread() -> io::Result<File> {
    of_a_new_socket().or_else(|_| File::open(CURRENT))
}

/// The namespace that the calling thread's sockets belong to. Only who administers it is told.
fn of_a_new_socket() -> io::Result<File> {
    // linux/sockios.h, kernel 4.10 and later.
    const SIOCGSKNS: libc::Ioctl = 0x894c;
    let socket = UnixDatagram::unbound()?;
    // SAFETY: this ioctl takes no argument, and the socket is open for as long as the call lasts.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    let descriptor = Errno::result(answer)?;
    // SAFETY: the kernel opened it for this call, so that nobody else closes it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }.into())
}

/// Brings the thread back when it is dropped, also when a test's work panics.
struct Return {
    home: File,
}

impl Drop for Return {
    fn drop(&mut self) {
        if enter(self.home.as_fd()).is_err() {
            let _ = io::stderr().write_all(b"there is no way back from a network namespace\n");
            std::process::abort();
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that changes namespaces, and it comes back"
)]
fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::sched::setns(netns, CloneFlags::CLONE_NEWNET)?)
}

/// What tells the calling thread's network namespace from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No other namespace has had it since the machine was booted (`SO_NETNS_COOKIE`, kernel 5.14 and later).
    Unique(u64),
    /// The number of its file: when the namespace is gone, another one may get it.
    Reused(u64),
}

impl Identity {
    /// That of the calling thread's network namespace.
    pub fn current() -> io::Result<Self> {
        match cookie() {
            Ok(cookie) => Ok(Self::Unique(cookie)),
            // Any other failure passes, and what was kept under the one name must not be looked for under the other.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                Ok(Self::Reused(std::fs::metadata(CURRENT)?.ino()))
            }
            Err(error) => Err(error),
        }
    }
}

fn cookie() -> io::Result<u64> {
    /// asm-generic/socket.h
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of_val(&cookie)).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, the size of `cookie`, and both outlive the call.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Errno::result(answer)?;
    Ok(cookie)
}

/// Two files are the same namespace when device and inode are equal (namespaces(7)).
fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{private_netns, run};

    #[test]
    fn each_namespace_has_an_identity_of_its_own() {
        private_netns();
        let one = Identity::current().unwrap();
        assert_eq!(Identity::current().unwrap(), one);
        private_netns();
        assert_ne!(Identity::current().unwrap(), one);
    }

    #[test]
    fn what_is_absent_and_what_is_no_namespace_are_told_apart() {
        let absent = Netns::open("/run/netns/no-such-namespace").unwrap_err();
        assert!(absent.is_absent());
        assert_eq!(absent.cause().code(), Code::UnknownContainer);
        for other in [
            "/dev/null",
            "/proc/thread-self/ns/mnt",
            "/etc/hostname",
            "/proc",
            "/proc/self/status",
        ] {
            let refused = Netns::open(other).unwrap_err();
            assert!(!refused.is_absent());
            assert_eq!(
                refused.to_string(),
                format!("{other} is not a network namespace")
            );
        }
    }

    #[test]
    fn a_namespace_knows_itself() {
        let outside = Netns::current().unwrap();
        assert!(outside.is_current().unwrap());
        std::thread::spawn(move || {
            private_netns();
            assert!(!outside.is_current().unwrap());
            assert!(!outside.is_same(&Netns::current().unwrap()).unwrap());
            let again = Netns::open(format!("/proc/{}/ns/net", std::process::id())).unwrap();
            assert!(outside.is_same(&again).unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn work_happens_inside_and_the_caller_stays_outside() {
        private_netns();
        let inside = Netns::current().unwrap();
        run("ip", &["link", "add", "br-inside", "type", "bridge"]);
        private_netns();
        let seen = inside.run(|| run("ip", &["-br", "link"])).unwrap();
        assert!(seen.contains("br-inside"), "{seen}");
        assert!(!run("ip", &["-br", "link"]).contains("br-inside"));
    }

    #[test]
    fn a_panic_inside_brings_the_thread_back() {
        private_netns();
        let inside = Netns::current().unwrap();
        private_netns();
        let here = Netns::current().unwrap();
        let panics = || inside.run(|| assert!(here.is_current().unwrap(), "it is elsewhere"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        assert!(panicked.is_err());
        assert!(here.is_current().unwrap());
    }
}
