//! The view from inside a lab: how commands, sockets and plugins get into its nodes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::error::{At, Error};
use super::hold::own_program;
use super::model::{Attachment, Join, Kind, Topology};
use super::namespace::{Entrance, die_with_parent};
use super::node::NAMESPACES;
use super::store::{Place, State, Store};
use crate::device;
use crate::runtime::{self, Cache, Runtime};

/// A lab, seen by a process in its namespaces (or on the real host, when it is there).
pub(super) struct Inside {
    pub(super) store: Store,
    pub(super) topology: Topology,
    pub(super) state: State,
}

impl Inside {
    /// Reads what is known of the lab.
    pub(super) fn open(store: &Store) -> Result<Self, Error> {
        let state = store.state()?;
        let topology = store.topology(&state)?;
        Ok(Self {
            store: store.clone(),
            topology,
            state,
        })
    }

    /// Notes what has been made.
    pub(super) fn save(&self) -> Result<(), Error> {
        self.store.set_state(&self.state)
    }

    fn place(&self, node: &str) -> Result<&Place, Error> {
        self.state.nodes.get(node).ok_or_else(|| {
            let nodes: Vec<_> = self.state.nodes.keys().map(String::as_str).collect();
            Error::new(format!(
                "no node {node} in {}; there are: {}",
                self.state.name,
                nodes.join(", ")
            ))
        })
    }

    /// All namespaces of a node.
    pub(super) fn entrance(&self, node: &str) -> Result<Arc<Entrance>, Error> {
        let entrance = match self.place(node)? {
            Place::Held(pid, _) => Entrance::of_process(*pid, NAMESPACES),
            Place::Joined(path) => Entrance::of_netns(path),
            Place::Here => Ok(Entrance::default()),
        };
        entrance.map(Arc::new).at(|| format!("enter {node}"))
    }

    /// The network namespace of a node, for a thread.
    pub(super) fn network(&self, node: &str) -> Result<Entrance, Error> {
        let entrance = match self.place(node)? {
            Place::Here => Ok(Entrance::default()),
            place @ (Place::Held(..) | Place::Joined(_)) => Entrance::of_netns(&netns_path(place)),
        };
        entrance.at(|| format!("enter the network of {node}"))
    }

    /// A command that runs in a node, without input.
    pub(super) fn command(&self, node: &str, words: &[String]) -> Result<Command, Error> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Error::new("a command has no program"));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("PATH", search_path());
        if self.state.host {
            die_with_parent(&mut command);
        }
        self.entrance(node)?.prepare(&mut command);
        Ok(command)
    }

    /// The runtime of a host: its plugins run there.
    pub(super) fn runtime(&self, host: &str) -> Result<Runtime, Error> {
        let entrance = self.entrance(host)?;
        let cache = Cache::new(self.store.cache().join(host));
        let own = device::programs(&own_program()?, &["plugin"]);
        let runtime = Runtime::new(self.state.plugins.clone(), cache).with_own(own);
        Ok(runtime.prepared_by(move |command| entrance.prepare(command)))
    }

    /// The path of a node's network namespace as the plugins see it.
    pub(super) fn netns(&self, node: &str) -> Result<PathBuf, Error> {
        Ok(match self.place(node)? {
            Place::Held(..) if !self.state.host => Path::new("/run/netns").join(node),
            place @ (Place::Held(..) | Place::Joined(_) | Place::Here) => netns_path(place),
        })
    }

    /// The container id of a node. The real host may have containers of other labs.
    pub(super) fn container(&self, node: &str) -> String {
        if self.state.host {
            format!("{}-{node}", self.state.name)
        } else {
            node.to_owned()
        }
    }

    /// An attachment as the runtime sees it.
    pub(super) fn attachment(&self, wanted: &Attachment) -> Result<runtime::Attachment, Error> {
        let list = |items: Vec<String>| items.join(",");
        let mut args = vec![
            ("IgnoreUnknown".to_owned(), "1".to_owned()),
            ("K8S_POD_NAME".to_owned(), wanted.node.clone()),
        ];
        if !wanted.addresses.is_empty() {
            args.push((
                "IP".into(),
                list(wanted.addresses.iter().map(ToString::to_string).collect()),
            ));
        }
        if !wanted.gateways.is_empty() {
            args.push((
                "GATEWAY".into(),
                list(wanted.gateways.iter().map(ToString::to_string).collect()),
            ));
        }
        args.extend(wanted.mac.iter().map(|mac| ("MAC".to_owned(), mac.clone())));
        for (key, value) in &wanted.args {
            args.retain(|(known, _)| known != key);
            args.push((key.clone(), value.clone()));
        }
        Ok(runtime::Attachment {
            container: self.container(&wanted.node),
            netns: Some(self.netns(&wanted.node)?),
            ifname: wanted.interface.clone(),
            args,
            capabilities: wanted.capabilities.clone(),
        })
    }

    /// The hosts of the topology.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.topology
            .nodes
            .iter()
            .filter(|node| node.kind == Kind::Host)
            .map(|node| node.name.as_str())
    }
}

/// The path of a network namespace, as this process sees it.
pub(super) fn netns_path(place: &Place) -> PathBuf {
    match place {
        Place::Held(pid, _) => format!("/proc/{pid}/ns/net").into(),
        Place::Joined(path) => path.clone(),
        Place::Here => "/proc/self/ns/net".into(),
    }
}

/// The path of a namespace that exists already.
pub(super) fn joined_path(join: &Join) -> PathBuf {
    match join {
        Join::Pid(pid) => format!("/proc/{pid}/ns/net").into(),
        Join::Netns(name) => Path::new("/run/netns").join(name),
        Join::Path(path) => path.clone(),
    }
}

/// The inode of a namespace, which no other namespace has at the same time.
pub(super) fn inode(path: &Path) -> Result<u64, Error> {
    Ok(path
        .metadata()
        .at(|| format!("look at {}", path.display()))?
        .ino())
}

/// `PATH` with the folders that ordinary users lack.
pub(crate) fn search_path() -> std::ffi::OsString {
    let given = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&given).collect();
    for folder in [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ] {
        if !folders.iter().any(|known| known == Path::new(folder)) {
            folders.push(folder.into());
        }
    }
    std::env::join_paths(folders).unwrap_or(given)
}
