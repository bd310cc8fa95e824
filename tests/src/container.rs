//! A container's network namespace.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::Node;
use crate::host::bind;

/// A network namespace at `/run/netns/NAME`, and the container of that id in it.
///
/// Reading and running inside it is [`Node`], which a container dereferences to.
#[derive(Debug)]
pub struct Container {
    id: String,
    path: PathBuf,
    node: Node,
}

impl Deref for Container {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Container {
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new("/run/netns").join(name);
        File::create_new(&path)
            .unwrap_or_else(|error| panic!("container {name}: {}: {error}", path.display()));
        let made = thread::scope(|scope| {
            let make = || {
                unshare(CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|errno| panic!("a network namespace: {errno}"));
                // Not /proc/self: that is the process's first thread, which is in another namespace.
                bind(Path::new("/proc/thread-self/ns/net"), &path);
            };
            scope.spawn(make).join()
        });
        assert!(
            made.is_ok(),
            "container {name}: its namespace could not be made"
        );
        let node = Node::inside(name, &path);
        node.boot();
        Self {
            id: name.to_owned(),
            path,
            node,
        }
    }

    /// What `CNI_CONTAINERID` is for this container: its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What `CNI_NETNS` is for this container.
    pub fn netns(&self) -> &Path {
        &self.path
    }

    /// Takes the namespace away, as when a container has died. Processes in it would keep it alive.
    #[track_caller]
    pub fn vanish(&self) {
        umount2(&self.path, MntFlags::MNT_DETACH)
            .unwrap_or_else(|errno| panic!("unmount {}: {errno}", self.path.display()));
        fs::remove_file(&self.path).unwrap();
    }
}
