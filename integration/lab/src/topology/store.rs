//! Where a lab is remembered: one folder a lab, with what `down` needs also when the holder is gone.
//!
//! ```text
//! topology.toml   the file as it was read         state.json  what has been made
//! holder          the holder's process id         lock        locked by the holder as long as it lives
//! cache/          the runtime's results           log/        output of processes
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::error::{At, Error};
use super::{Topology, parse};

/// The folder of one lab.
#[derive(Clone, Debug)]
pub(super) struct Store {
    path: PathBuf,
}

/// What has been made. The holder writes it after each step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// The name of the lab.
    pub(super) name: String,
    /// The topology file.
    pub(super) file: PathBuf,
    /// Whether it is on the real host.
    pub(super) host: bool,
    /// Where plugins are looked for.
    pub(super) plugins: Vec<PathBuf>,
    /// How to enter each node.
    pub(super) nodes: BTreeMap<String, Place>,
    /// Processes, with the ids they have inside.
    pub(super) processes: Vec<Running>,
    /// What the checks of earlier phases found.
    pub(super) earlier: Vec<Outcome>,
    /// Interfaces made on the real host, to be removed.
    pub(super) links: Vec<String>,
    /// Whether `up` has finished.
    pub(super) ready: bool,
}

/// How to enter a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// Namespaces that a process of the lab holds: its id, and the inode of its network namespace.
    Held(u32, u64),
    /// A network namespace that is not the lab's.
    Joined(PathBuf),
    /// The host itself.
    Here,
}

/// A process of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) node: String,
    pub(super) name: String,
    pub(super) pid: u32,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// The sentence of the check.
    pub(super) title: String,
    /// Why it does not hold; `None` when it does.
    pub(super) failure: Option<String>,
    /// What was seen, in a few words.
    pub(super) facts: Vec<String>,
    /// Output to show: a heading and its lines.
    pub(super) shown: Vec<(String, String)>,
}

/// The folder that holds the labs of this user.
fn base() -> PathBuf {
    if let Some(chosen) = std::env::var_os("PLUMB_LABS").filter(|path| !path.is_empty()) {
        return chosen.into();
    }
    if geteuid().is_root() {
        return "/run/plumb-labs".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_dir()) {
        Some(directory) => PathBuf::from(directory).join("plumb-labs"),
        None => std::env::temp_dir().join(format!("plumb-labs-{}", geteuid())),
    }
}

/// The base, made if need be: only its owner may look into it, and nobody else may have made it.
fn private_base() -> Result<PathBuf, Error> {
    let base = base();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(&base)
        .at(|| format!("create {}", base.display()))?;
    let owner = fs::symlink_metadata(&base).at(|| format!("look at {}", base.display()))?;
    if owner.is_dir() && owner.uid() == geteuid().as_raw() {
        return Ok(base);
    }
    Err(Error::new(format!(
        "{} belongs to somebody else: set PLUMB_LABS to a folder of your own",
        base.display()
    )))
}

impl Store {
    /// The folder of the lab of this name, which need not be there.
    pub(super) fn of(name: &str) -> Result<Self, Error> {
        Ok(Self {
            path: private_base()?.join(name),
        })
    }

    /// The folder at a path.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The labs there are.
    pub(super) fn all() -> Result<Vec<Self>, Error> {
        let base = base();
        let listed = match fs::read_dir(&base) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.at(|| format!("read {}", base.display()))?,
        };
        let paths = listed
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir());
        let mut all: Vec<_> = paths.map(|path| Self { path }).collect();
        all.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(all)
    }

    /// The lab of this name, or the only one there is.
    pub(super) fn find(name: Option<&str>) -> Result<Self, Error> {
        let all = Self::all()?;
        let names: Vec<_> = all.iter().map(Self::name).collect();
        if let Some(name) = name {
            let found = all.into_iter().find(|store| store.name() == name);
            let others = if names.is_empty() {
                "none is".to_owned()
            } else {
                format!("up: {}", names.join(", "))
            };
            return found.ok_or_else(|| Error::new(format!("lab {name} is not up ({others})")));
        }
        let mut all = all.into_iter();
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Error::new(format!(
                "no lab is up (looked in {})",
                base().display()
            ))),
            _ => Err(Error::new(format!(
                "several labs are up, say which with --name: {}",
                names.join(", ")
            ))),
        }
    }

    /// The lab's name.
    pub(super) fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The runtime's cache.
    pub(super) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// The file that a process's output goes to.
    pub(super) fn log(&self, node: &str, process: &str) -> PathBuf {
        self.path.join("log").join(format!("{node}.{process}.log"))
    }

    /// Makes the folder.
    pub(super) fn create(&self) -> Result<(), Error> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(self.path.join("log"))
            .at(|| format!("create {}", self.path.display()))
    }

    /// Removes what a lab that is gone has left in the folder.
    pub(super) fn clear(&self) -> Result<(), Error> {
        let step = || format!("clear {}", self.path.display());
        for entry in fs::read_dir(&self.path).at(step)? {
            let path = entry.at(step)?.path();
            // Whoever clears holds this lock.
            if path.file_name().is_some_and(|name| name != "work") {
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.at(step)?;
            }
        }
        self.create()
    }

    /// Whether something is known of a lab here.
    pub(super) fn is_used(&self) -> bool {
        self.path.join("state.json").exists()
    }

    /// Removes the folder and all in it.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).at(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Takes the lock that says that somebody lives here; `None` when another has it.
    pub(super) fn lock(&self) -> Result<Option<File>, Error> {
        self.try_lock("lock")
    }

    /// Takes the lock that `up` and `down` hold while they work; `None` when another has it.
    pub(super) fn lock_work(&self) -> Result<Option<File>, Error> {
        let Some(file) = self.try_lock("work")? else {
            return Ok(None);
        };
        // `down` removes the folder with this lock in hand.
        let step = || format!("lock {}", self.path.display());
        let (locked, there) = (
            file.metadata().at(step)?,
            fs::metadata(self.path.join("work")).at(step)?,
        );
        Ok(if locked.ino() == there.ino() {
            Some(file)
        } else {
            None
        })
    }

    fn try_lock(&self, name: &str) -> Result<Option<File>, Error> {
        let path = self.path.join(name);
        let step = || format!("lock {}", path.display());
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .at(step)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error).at(step),
        }
    }

    /// The holder's process id, when it lives.
    pub(super) fn holder(&self) -> Result<Option<u32>, Error> {
        if self.lock()?.is_some() {
            return Ok(None);
        }
        let path = self.path.join("holder");
        let text = fs::read_to_string(&path)
            .at(|| format!("{} is coming up: read {}", self.name(), path.display()))?;
        text.trim()
            .parse()
            .map(Some)
            .at(|| format!("read {}", path.display()))
    }

    /// Notes the holder's process id.
    pub(super) fn set_holder(&self, pid: u32) -> Result<(), Error> {
        self.write("holder", &pid.to_string())
    }

    /// Keeps the text of the topology file, for everything that comes after `up`.
    pub(super) fn keep_topology(&self, text: &str) -> Result<(), Error> {
        self.write("topology.toml", text)
    }

    /// The topology as it was when the lab came up.
    pub(super) fn topology(&self, state: &State) -> Result<Topology, Error> {
        let path = self.path.join("topology.toml");
        let text = fs::read_to_string(&path).at(|| format!("read {}", path.display()))?;
        let directory = state.file.parent().unwrap_or(Path::new("/"));
        parse(&text, directory, &state.name).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::new(format!("{}: {}", path.display(), problems.join("; ")))
        })
    }

    /// What has been made.
    pub(super) fn state(&self) -> Result<State, Error> {
        let path = self.path.join("state.json");
        let text = fs::read_to_string(&path).at(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).at(|| format!("read {}", path.display()))
    }

    /// Notes what has been made.
    pub(super) fn set_state(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(state).at(|| "write the state".to_owned())?;
        self.write("state.json", &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let (path, aside) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || {
            fs::write(&aside, text)?;
            fs::rename(&aside, &path)
        };
        write().map_err(|error: io::Error| Error::new(format!("write {}: {error}", path.display())))
    }
}
