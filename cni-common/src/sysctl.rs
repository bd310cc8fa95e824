//! Kernel parameters below `/proc/sys`.
//!
//! Names are paths, `net/ipv4/conf/eth0.100/arp_notify`, and not dotted: an interface name may hold dots.
//! `/proc/sys/net` shows the namespace of the thread that opens a file, so a container's parameters are read
//! and written inside [`Netns::run`](crate::netns::Netns::run).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

/// What setting a parameter came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It had another value, given here, and has the wanted one.
    Changed {
        /// The value before.
        from: String,
    },
    /// It had the wanted value.
    Already,
    /// The kernel does not have it: IPv6 is off, or the kernel is older.
    Absent,
    /// It has another value and cannot be written: `/proc/sys` is read-only, or not ours.
    ReadOnly,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

/// Reads a parameter; `None` when the kernel does not have it.
pub fn read(name: &str) -> io::Result<Option<String>> {
    present(fs::read_to_string(path(name)))
}

fn present(read: io::Result<String>) -> io::Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a parameter could be written: it exists, `/proc/sys` is not read-only, and we may.
pub fn is_writable(name: &str) -> bool {
    OpenOptions::new().write(true).open(path(name)).is_ok()
}

/// Sets a parameter, and writes only when it has another value: some writes walk all links under the kernel's
/// lock, and a read-only `/proc/sys` with the right value is good enough.
///
/// # Errors
/// What is neither absence nor a refusal to write, such as a value the kernel rejects.
pub fn set(name: &str, value: &str) -> io::Result<Outcome> {
    let write = || OpenOptions::new().write(true).open(path(name));
    set_from(read(name)?, value, write)
}

/// Sets a parameter that was read; `write` opens it for writing, without `O_CREAT` and `O_TRUNC`, which a read-only
/// mount answers differently.
fn set_from(
    from: Option<String>,
    value: &str,
    write: impl FnOnce() -> io::Result<File>,
) -> io::Result<Outcome> {
    let Some(from) = from else {
        return Ok(Outcome::Absent);
    };
    if from == value {
        return Ok(Outcome::Already);
    }
    let written = write().and_then(|mut file| file.write_all(value.as_bytes()));
    match written.map_err(|error| (error.kind(), error)) {
        Ok(()) => Ok(Outcome::Changed { from }),
        Err((io::ErrorKind::NotFound, _)) => Ok(Outcome::Absent),
        Err((io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied, _)) => {
            Ok(Outcome::ReadOnly)
        }
        Err((_, error)) => Err(error),
    }
}

/// Several parameters in one folder below `/proc/sys`, such as `net/ipv6/conf/eth0`.
///
/// The way there is dear, and dearer with every namespace, for they all have an `ipv6` and an `eth0`, in one list of the
/// kernel's directory cache; from there it is short.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder of the calling thread's namespace; `None` when the kernel does not have it.
    pub fn open(name: &str) -> io::Result<Option<Self>> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match fcntl::open(&path(name), flags, Mode::empty()) {
            Ok(folder) => Ok(Some(Self(folder))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sets one of its parameters, like [`set`].
    pub fn set(&self, key: &str, value: &str) -> io::Result<Outcome> {
        let read = self.file(key, OFlag::O_RDONLY).and_then(io::read_to_string);
        set_from(present(read)?, value, || self.file(key, OFlag::O_WRONLY))
    }

    fn file(&self, key: &str, access: OFlag) -> io::Result<File> {
        let opened = fcntl::openat(&self.0, key, access | OFlag::O_CLOEXEC, Mode::empty());
        Ok(opened.map(File::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Netns;
    use crate::testing::{private_netns, run};

    const FORWARD: &str = "net/ipv4/conf/lo/forwarding";

    #[test]
    fn a_parameter_is_changed_once() {
        private_netns();
        set(FORWARD, "0").unwrap();
        let from = String::from("0");
        assert_eq!(set(FORWARD, "1").unwrap(), Outcome::Changed { from });
        assert_eq!(set(FORWARD, "1").unwrap(), Outcome::Already);
        assert_eq!(read(FORWARD).unwrap().as_deref(), Some("1"));
    }

    #[test]
    fn a_folders_parameters_are_those_of_its_namespace() {
        private_netns();
        let inside = Netns::current().unwrap();
        let folder = inside.run(|| Folder::open("net/ipv4/conf/lo").unwrap());
        let folder = folder.unwrap().unwrap();
        set(FORWARD, "0").unwrap();
        private_netns();
        set(FORWARD, "0").unwrap();
        let from = String::from("0");
        let changed = inside.run(|| folder.set("forwarding", "1").unwrap());
        assert_eq!(changed.unwrap(), Outcome::Changed { from });
        assert_eq!(folder.set("forwarding", "1").unwrap(), Outcome::Already);
        assert_eq!(folder.set("no-such-key", "1").unwrap(), Outcome::Absent);
        assert!(folder.set("forwarding", "not a number").is_err());
        assert_eq!(read(FORWARD).unwrap().as_deref(), Some("0"));
        assert!(
            Folder::open("net/ipv4/conf/no.such.link")
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn what_the_kernel_does_not_have_is_absent() {
        let name = "net/ipv4/conf/no.such.link/forwarding";
        assert_eq!(set(name, "1").unwrap(), Outcome::Absent);
        assert_eq!(read(name).unwrap(), None);
    }

    #[test]
    fn the_threads_own_namespace_is_meant() {
        private_netns();
        let inside = Netns::current().unwrap();
        run("ip", &["link", "add", "br.1", "type", "bridge"]);
        private_netns();
        let name = "net/ipv4/conf/br.1/arp_notify";
        assert_eq!(set(name, "1").unwrap(), Outcome::Absent);
        let set_inside = inside.run(|| set(name, "1").unwrap()).unwrap();
        assert!(
            matches!(set_inside, Outcome::Changed { .. }),
            "{set_inside:?}"
        );
        assert_eq!(
            inside.run(|| read(name).unwrap()).unwrap().as_deref(),
            Some("1")
        );
    }

    #[test]
    fn a_value_the_kernel_rejects_is_an_error() {
        private_netns();
        assert!(set(FORWARD, "not a number").is_err());
    }
}
