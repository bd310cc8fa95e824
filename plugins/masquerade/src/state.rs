//! What `masquerade reload` needs to know beyond the kernel: the configuration of each attachment, in one small file.
//!
//! The kernel stays the database. Nothing else reads these files but STATUS and an ADD that finds the ruleset emptied;
//! DEL needs none of them. A file appears whole, after the rules, and goes before them: so no reload brings back what
//! DEL has removed.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni_common::error::{Error, Step};
use cni_common::ident::{ContainerId, IfName, NetworkName};
use cni_common::json::{Json, Object, ObjectWriter, Problems};
use cni_common::netns::Identity;
use cni_common::owner::Owner;

use crate::rules::network_mark;

/// Where the files are unless the configuration says otherwise.
pub const DIRECTORY: &str = "/var/lib/cni/masquerade";

/// Which plugin an attachment's rules were made by: the same attachment may have rules by two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// `masquerade`.
    Masquerade,
    /// `ipMasq` of `bridge-attach`.
    BridgeAttach,
}

impl Maker {
    fn as_str(self) -> &'static str {
        match self {
            Self::Masquerade => "masquerade",
            Self::BridgeAttach => "bridge-attach",
        }
    }
}

/// The files of one network namespace in a directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// What the files of this namespace are called first.
    namespace: String,
}

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    path: PathBuf,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// Which plugin made the rules.
    pub maker: Maker,
    /// The configuration of its ADD, with the previous result.
    pub configuration: Json,
    /// Written since the machine was booted: the container may live.
    pub is_current: bool,
    bytes: Vec<u8>,
}

impl Record {
    /// Whether the other says the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Store {
    /// The files of the calling thread's network namespace in a directory, which need not exist.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let identity = Identity::current().step(|| "identify the network namespace")?;
        let namespace = match identity {
            Identity::Unique(cookie) => format!("cookie{cookie}"),
            Identity::Reused(number) => format!("inode{number}"),
        };
        Ok(Self {
            directory: directory.to_owned(),
            namespace,
        })
    }

    /// `NAMESPACE-NETWORK-OWNER-MAKER.json`: of network and owner the hashes.
    fn path(&self, owner: &Owner, maker: Maker) -> PathBuf {
        let (namespace, mark) = (&self.namespace, network_mark(&owner.network));
        let (hash, maker) = (owner.hash(), maker.as_str());
        self.directory
            .join(format!("{namespace}-{mark}-{hash:016x}-{maker}.json"))
    }

    /// Keeps the configuration of an attachment whose rules are in the kernel.
    pub fn keep(&self, owner: &Owner, maker: Maker, configuration: &[u8]) -> Result<(), Error> {
        let path = self.path(owner, maker);
        let names = ObjectWriter::default()
            .with("bootId", boot_id().step(|| "read the boot id")?)
            .with("containerId", owner.container.as_str())
            .with("ifname", owner.ifname.as_str());
        // The configuration was read as JSON before: it goes in as it is.
        let mut text = Json::from(names).to_line().into_bytes();
        text.pop();
        text.extend_from_slice(b",\"configuration\":");
        text.extend_from_slice(configuration.trim_ascii());
        text.extend_from_slice(b"}\n");
        self.write(&path, &text)
            .step(|| format!("write {}", path.display()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = unfinished(path);
        let mut file = match create(&new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.directory)?;
                create(&new)
            }
            other => other,
        }?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // The first error is the one that matters.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Whether there is a file of an attachment.
    pub fn has(&self, owner: &Owner, maker: Maker) -> bool {
        self.path(owner, maker).exists()
    }

    /// Forgets an attachment; it is no error if there is nothing.
    pub fn forget(&self, owner: &Owner, maker: Maker) -> Result<(), Error> {
        remove(&self.path(owner, maker))
    }

    /// Forgets those attachments of a network whose owners are not valid.
    pub fn forget_stale(&self, network: &NetworkName, valid: &BTreeSet<u64>) -> Result<(), Error> {
        let mark = network_mark(network);
        let mut failed = Ok(());
        let is_stale = |file: &Name<'_>| file.network == mark && !valid.contains(&file.owner);
        for entry in self.entries(is_stale)? {
            failed = failed.and(remove(&entry.path));
        }
        failed
    }

    /// All files of the namespace.
    pub fn all(&self) -> Result<Vec<Entry>, Error> {
        self.entries(|file| file.complete)
    }

    /// The files of a network.
    pub fn of_network(&self, network: &NetworkName) -> Result<Vec<Entry>, Error> {
        self.some_of_network(network, usize::MAX)
    }

    /// Files of a network, so many at most: whichever the directory lists first.
    pub fn some_of_network(&self, network: &NetworkName, most: usize) -> Result<Vec<Entry>, Error> {
        let mark = network_mark(network);
        let is_of_network = |file: &Name<'_>| {
            file.namespace == self.namespace && file.complete && file.network == mark
        };
        list(&self.directory, most, is_of_network)
    }

    /// All files of the namespace but an attachment's own.
    pub fn others(&self, owner: &Owner, maker: Maker) -> Result<Vec<Entry>, Error> {
        let mut entries = self.all()?;
        entries.retain(|entry| entry.path != self.path(owner, maker));
        Ok(entries)
    }

    /// The files of an attachment's network but its own.
    pub fn others_of_network(&self, owner: &Owner, maker: Maker) -> Result<Vec<Entry>, Error> {
        let mut entries = self.of_network(&owner.network)?;
        entries.retain(|entry| entry.path != self.path(owner, maker));
        Ok(entries)
    }

    /// The files of all namespaces, those of earlier boots among them.
    pub fn of_all_namespaces(&self) -> Result<Vec<Entry>, Error> {
        list(&self.directory, usize::MAX, |file| file.complete)
    }

    fn entries(&self, wanted: impl Fn(&Name<'_>) -> bool) -> Result<Vec<Entry>, Error> {
        list(&self.directory, usize::MAX, |file| {
            file.namespace == self.namespace && wanted(file)
        })
    }
}

fn list(
    directory: &Path,
    most: usize,
    wanted: impl Fn(&Name<'_>) -> bool,
) -> Result<Vec<Entry>, Error> {
    let step = || format!("read {}", directory.display());
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.step(step)?,
    };
    let mut entries = Vec::new();
    for file in listed {
        let path = file.step(step)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.and_then(Name::parse).is_some_and(|name| wanted(&name)) {
            entries.push(Entry { path });
            if entries.len() == most {
                break;
            }
        }
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

impl Entry {
    /// What the file says; `None` when it is gone.
    ///
    /// # Errors
    /// The file cannot be read, or says nothing that an ADD can have written.
    pub fn read(&self) -> Result<Option<Record>, Error> {
        let step = || format!("read {}", self.path.display());
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.step(step)?,
        };
        let json = Json::parse(&bytes).step(step)?;
        let problems = Problems::default();
        let object = Object::root(&json, &problems).step(step)?;
        let container = object.parse_with("containerId", ContainerId::parse);
        let ifname = object.parse_with("ifname", IfName::parse);
        let boot = object.text("bootId");
        let configuration = object.object("configuration");
        let network = configuration
            .as_ref()
            .and_then(|object| object.parse_with("name", NetworkName::parse));
        problems.finish().step(step)?;
        let found = object.find("configuration");
        let (Some(container), Some(ifname), Some(network), Some(found)) =
            (container, ifname, network, found)
        else {
            return Err(Error::new(
                cni_common::code::Code::Decode,
                "does not name an attachment",
            ))
            .step(step);
        };
        let ending = format!("-{}.json", Maker::BridgeAttach.as_str());
        let maker = if self.path.to_string_lossy().ends_with(&ending) {
            Maker::BridgeAttach
        } else {
            Maker::Masquerade
        };
        let is_current = boot == Some(boot_id().step(|| "read the boot id")?.as_str());
        Ok(Some(Record {
            owner: Owner {
                network,
                container,
                ifname,
            },
            maker,
            configuration: found.json().clone(),
            is_current,
            bytes,
        }))
    }

    /// Removes the file.
    pub fn remove(&self) -> Result<(), Error> {
        remove(&self.path)
    }
}

/// What the name of a file says.
struct Name<'a> {
    namespace: &'a str,
    network: &'a str,
    owner: u64,
    /// It is not what a call that was killed left.
    complete: bool,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let (name, ending) = name.rsplit_once('.')?;
        let complete = ending == "json";
        if !complete && ending != "new" {
            return None;
        }
        let mut parts = name.splitn(4, '-');
        let (namespace, network) = (parts.next()?, parts.next()?);
        let owner = u64::from_str_radix(parts.next()?, 16).ok()?;
        parts.next()?;
        Some(Self {
            namespace,
            network,
            owner,
            complete,
        })
    }
}

/// Where a file is until it is complete.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Removes a file, and what a call that was killed left of it.
fn remove(path: &Path) -> Result<(), Error> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    };
    let removed = gone(path).and(gone(&unfinished(path)));
    removed.step(|| format!("remove {}", path.display()))
}

/// What tells one run of the machine from the next: no container outlives it.
fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(container: &str) -> Owner {
        Owner {
            network: NetworkName::parse("lan-of-many-parts").unwrap(),
            container: ContainerId::parse(container).unwrap(),
            ifname: IfName::parse("eth0").unwrap(),
        }
    }

    fn store(name: &str) -> Store {
        let directory = std::env::temp_dir().join(format!("plumb-{name}-{}", std::process::id()));
        Store::open(&directory).unwrap()
    }

    #[test]
    fn what_is_kept_is_read_back_until_it_is_forgotten() {
        let store = store("kept");
        assert_eq!(store.all().unwrap(), []);
        let text = br#" { "name": "lan-of-many-parts", "type": "masquerade", "sources": null } "#;
        for container in ["c1", "c2"] {
            store
                .keep(&owner(container), Maker::Masquerade, text)
                .unwrap();
        }
        store.keep(&owner("c1"), Maker::BridgeAttach, text).unwrap();
        let network = owner("c1").network;
        let entries = store.of_network(&network).unwrap();
        assert_eq!(entries.len(), 3);
        let record = entries[0].read().unwrap().unwrap();
        assert_eq!(record.configuration, Json::parse(text).unwrap());
        assert!(record.is_current);
        assert!(record.is_same(&record.clone()));
        store
            .forget_stale(&network, &BTreeSet::from([owner("c1").hash()]))
            .unwrap();
        assert_eq!(store.all().unwrap().len(), 2);
        store.forget(&owner("c1"), Maker::Masquerade).unwrap();
        store.forget(&owner("c1"), Maker::Masquerade).unwrap();
        let [left] = &store.all().unwrap()[..] else {
            panic!("one is left")
        };
        let left = left.read().unwrap().unwrap();
        assert_eq!(left.owner, owner("c1"));
        fs::remove_dir_all(&store.directory).unwrap();
    }

    #[test]
    fn other_files_and_other_namespaces_are_left_alone() {
        let mut store = store("others");
        store.keep(&owner("c1"), Maker::Masquerade, b"{}").unwrap();
        let broken = store.all().unwrap();
        assert!(broken[0].read().is_err());
        fs::write(store.directory.join("README"), "").unwrap();
        fs::write(store.directory.join("cookie1-lan-x-masquerade.json"), "").unwrap();
        store.namespace = "cookie0".to_owned();
        assert_eq!(store.all().unwrap(), []);
        let network = owner("c1").network;
        store.forget_stale(&network, &BTreeSet::new()).unwrap();
        assert_eq!(fs::read_dir(&store.directory).unwrap().count(), 3);
        fs::remove_dir_all(&store.directory).unwrap();
    }
}
