//! Leases on disk: one file each, replaced as a whole, so that a machine that stops at any moment has the old or the new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::json::Json;
use cni_common::log;
use cni_common::owner::Owner;

use crate::kept::Kept;
use crate::sys::file;

/// Where the files are when the configuration does not say.
pub(crate) const DIRECTORY: &str = "/var/lib/cni/dhcp-ipam";

/// How long the end of another daemon may take.
const ENDING: Duration = Duration::from_secs(1);

/// The longest file that is read: no lease is as long.
const LONGEST: u64 = 256 * 1024;

/// What a file has to outlast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// The process.
    Kill,
    /// The machine.
    PowerFailure,
}

/// The directory of the lease files.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Makes the directory, for its owner's eyes alone.
    pub(crate) fn create(&self) -> Result<(), Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .step(|| format!("create {}", self.directory.display()))
    }

    /// Takes the directory for one daemon alone: two would both renew each lease.
    ///
    /// # Errors
    /// Code 5 when another daemon has it.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let path = self.directory.join("lock");
        let doing = || format!("lock {}", path.display());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .step(doing)?;
        // One that was just killed may take a moment to be gone.
        let deadline = Instant::now() + ENDING;
        let mut tried = file.try_lock();
        while matches!(tried, Err(fs::TryLockError::WouldBlock)) && Instant::now() < deadline {
            std::thread::sleep(ENDING / 100);
            tried = file.try_lock();
        }
        match tried {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(Error::new(
                Code::Io,
                format!(
                    "another daemon keeps the leases in {}; give this one another --state-dir, or its plugins the socket of that one",
                    self.directory.display()
                ),
            )),
            Err(fs::TryLockError::Error(error)) => Err(error).step(doing),
        }
    }

    fn file<K: Kept>(&self, owner: &Owner) -> PathBuf {
        let (hash, suffix) = (owner.hash(), K::SUFFIX);
        self.directory.join(format!("{hash:016x}{suffix}"))
    }

    /// Writes a lease; it is on the disk when this returns.
    pub(crate) fn write<K: Kept>(&self, record: &K) -> Result<(), Error> {
        self.replace(record, Lasting::PowerFailure)
    }

    /// Says that a lease is being given back: who finds the file gives it back once more, and goes on with it no more.
    pub(crate) fn mark_released<K: Kept>(&self, record: &K) -> Result<(), Error> {
        // After a power failure there is no interface to give it back from.
        self.replace(&record.released(), Lasting::Kill)
    }

    fn replace<K: Kept>(&self, record: &K, lasting: Lasting) -> Result<(), Error> {
        let path = self.file::<K>(record.owner());
        let doing = || format!("write {}", path.display());
        let new = path.with_extension("new");
        let text = Json::from(record.to_json()).to_pretty();
        let written = (|| {
            let mut file = file::to_write(&new)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            if lasting == Lasting::PowerFailure {
                file.sync_all()?;
            }
            fs::rename(&new, &path)?;
            // The name, too, has to be there.
            match lasting {
                Lasting::PowerFailure => File::open(&self.directory)?.sync_all(),
                Lasting::Kill => Ok(()),
            }
        })();
        written.map_err(|error: io::Error| error).step(doing)
    }

    /// Reads the lease of an attachment; `None` where there is none that can be read.
    pub(crate) fn read<K: Kept>(&self, owner: &Owner) -> Option<K> {
        let record = read::<K>(&self.file::<K>(owner))?;
        // Two names with one hash, or a file that somebody put there.
        (record.owner() == owner).then_some(record)
    }

    /// Removes the lease of an attachment, where there is one.
    pub(crate) fn remove<K: Kept>(&self, owner: &Owner) -> Result<(), Error> {
        let path = self.file::<K>(owner);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).step(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// All leases; a file that cannot be read is passed over with a warning, and stays.
    pub(crate) fn all<K: Kept>(&self) -> Result<Vec<K>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).step(|| format!("read {}", self.directory.display())),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let leases = paths.filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let stem = name.and_then(|name| name.strip_suffix(K::SUFFIX));
            stem.is_some_and(|stem| !stem.contains('.'))
        });
        Ok(leases.filter_map(|path| read(&path)).collect())
    }
}

fn read<K: Kept>(path: &Path) -> Option<K> {
    let warn = |why: &dyn core::fmt::Display| {
        log::warning(format_args!("{}: {why}", path.display()));
    };
    let mut bytes = Vec::new();
    let opened = file::to_read(path);
    let read = opened.and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn(&error);
            return None;
        }
        Ok(_) => {}
    }
    let parsed = Json::parse(&bytes).and_then(|json| K::from_json(&json));
    match parsed {
        Ok(record) => Some(record),
        Err(error) => {
            warn(&error.with_code(Code::Io));
            None
        }
    }
}
