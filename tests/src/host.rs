//! The throwaway host a test runs on.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::MutexGuard;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::{Container, Node, Plugin, require_namespaces};

thread_local! {
    static HAS_HOST: Cell<bool> = const { Cell::new(false) };
}

/// A host of its own for the calling test: network namespace, mounts, `/run`, `/sys` and `/var/lib/cni`.
///
/// Its loopback is up, it forwards nothing, and `bridge-nf-call-*` is 1 as the kernel has it by default. It goes with
/// the thread. Reading and running on the host itself is [`Node`], which a host dereferences to.
#[derive(Debug)]
pub struct Host {
    node: Node,
    /// A host may be used from threads it started, but must not move away from the thread whose namespaces it is.
    not_send: PhantomData<MutexGuard<'static, ()>>,
}

impl Deref for Host {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Host {
    /// Moves the calling thread into a fresh host.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the thread it is called in"
    )]
    #[track_caller]
    pub fn new() -> Self {
        require_namespaces();
        assert!(
            !HAS_HOST.replace(true),
            "a test has one host: its thread is already on one"
        );
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|errno| panic!("a private network and mount namespace: {errno}"));
        private_mounts();
        let node = Node::here("host");
        node.boot();
        Self {
            node,
            not_send: PhantomData,
        }
    }

    /// Makes a container namespace at `/run/netns/NAME`, with what a runtime sets: loopback up, nothing else.
    #[track_caller]
    pub fn container(&self, name: &str) -> Container {
        Container::new(name)
    }

    /// The plugin of this name (`bridge-attach`), to be called on this host.
    pub fn plugin(&self, name: &str) -> Plugin {
        Plugin::new(name)
    }

    /// Makes the tree at `path` read-only on this host, as `/proc/sys` is in an unprivileged container.
    #[track_caller]
    pub fn make_read_only(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        bind(path, path);
        // The flags of proc and tmpfs are locked in a user namespace: a remount has to repeat them.
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
            .unwrap_or_else(|errno| panic!("make {} read-only: {errno}", path.display()));
    }
}

#[track_caller]
fn private_mounts() {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .unwrap_or_else(|errno| panic!("make mounts private: {errno}"));
    // Where a container runtime has hidden parts of /sys the kernel refuses a fresh one to a user namespace. An empty
    // directory is then better than the interfaces of another namespace.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>).is_err() {
        tmpfs(Path::new("/sys"));
    }
    tmpfs(Path::new("/run"));
    for directory in ["/run/netns", "/run/lock", "/run/testbed"] {
        fs::create_dir(directory).unwrap();
    }
    private_directory(Path::new("/var/lib/cni"));
}

/// Puts an empty directory at `path`. Where it does not exist, its parent is replaced by a copy of links, so that the
/// real one is never written to.
#[track_caller]
fn private_directory(path: &Path) {
    if path.is_dir() {
        return tmpfs(path);
    }
    let parent = path.parent().expect("a path below the root");
    let real =
        Path::new("/run/testbed/real").join(parent.file_name().unwrap_or(OsStr::new("root")));
    fs::create_dir_all(&real).unwrap();
    bind(parent, &real);
    tmpfs(parent);
    for entry in fs::read_dir(&real).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), parent.join(entry.file_name())).unwrap();
    }
    fs::create_dir(path).unwrap();
}

#[track_caller]
fn tmpfs(at: &Path) {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some("mode=755"))
        .unwrap_or_else(|errno| panic!("mount a tmpfs on {}: {errno}", at.display()));
}

#[track_caller]
pub(crate) fn bind(from: &Path, to: &Path) {
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .unwrap_or_else(|errno| panic!("bind {} to {}: {errno}", from.display(), to.display()));
}
