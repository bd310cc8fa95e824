//! What the runtime remembers of each attachment: enough to undo it with nothing else at hand.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::conflist::is_identifier;
use super::{Attachment, Error, NetworkList};

/// The lock of the whole network state. No container can be called so.
const EVERYTHING: &str = "@.lock";

/// A directory with one file an attachment.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

/// One attachment as it was asked for, and the result when ADD got that far.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The list as it was when ADD was called.
    pub list: NetworkList,
    /// The attachment.
    pub attachment: Attachment,
    /// The result of the last plugin; `None` when ADD did not finish.
    pub result: Option<Value>,
    /// When ADD was called: entries sort by it.
    pub since: u64,
}

impl Cache {
    /// A cache in this directory, which is made when something is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Remembers an attachment. Written aside and renamed: a reader never sees half a file.
    pub(super) fn store(
        &self,
        list: &NetworkList,
        attachment: &Attachment,
        result: Option<&Value>,
    ) -> Result<(), Error> {
        let path = self.path(&list.name, attachment)?;
        let step = || format!("write {}", path.display());
        let since = self
            .load(&list.name, attachment)
            .map_or_else(now, |entry| entry.since);
        let args: Vec<_> = attachment
            .args
            .iter()
            .map(|(key, value)| json!([key, value]))
            .collect();
        let entry = json!({
            "list": list.source, "containerID": attachment.container, "ifname": attachment.ifname,
            "netns": attachment.netns, "args": args, "capabilities": attachment.capabilities,
            "result": result, "since": since,
        });
        let write = || {
            fs::create_dir_all(&self.directory)?;
            let aside = path.with_extension("new");
            fs::write(&aside, entry.to_string())?;
            fs::rename(&aside, &path)
        };
        write().map_err(|error: io::Error| Error::runtime(step(), error))
    }

    /// The attachment as remembered. A file that does not read is as good as none: DEL goes on without it.
    pub fn load(&self, network: &str, attachment: &Attachment) -> Option<Entry> {
        let text = fs::read_to_string(self.path(network, attachment).ok()?).ok()?;
        entry(&text)
    }

    /// Forgets an attachment.
    pub(super) fn remove(&self, network: &str, attachment: &Attachment) -> Result<(), Error> {
        let path = self.path(network, attachment)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::runtime(format!("remove {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// All attachments, oldest first.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let listed = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed,
        };
        let step = || format!("read {}", self.directory.display());
        let mut entries = Vec::new();
        for file in listed.map_err(|error| Error::runtime(step(), error))? {
            let path = file.map_err(|error| Error::runtime(step(), error))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                entries.extend(fs::read_to_string(&path).ok().as_deref().and_then(entry));
            }
        }
        entries.sort_by_key(|entry| entry.since);
        Ok(entries)
    }

    /// Locks one container against a second operation, and the whole network state against GC. Held until dropped.
    pub(super) fn lock(&self, container: &str) -> Result<[File; 2], Error> {
        checked(container)?;
        let all = self.lock_file(EVERYTHING)?;
        all.lock_shared()
            .map_err(|error| Error::runtime("lock the cache", error))?;
        let own = self.lock_file(&format!("{container}.lock"))?;
        own.lock()
            .map_err(|error| Error::runtime("lock the container", error))?;
        Ok([all, own])
    }

    /// Locks out every other operation, as GC must.
    pub(super) fn lock_all(&self) -> Result<File, Error> {
        let all = self.lock_file(EVERYTHING)?;
        all.lock()
            .map_err(|error| Error::runtime("lock the cache", error))?;
        Ok(all)
    }

    fn lock_file(&self, name: &str) -> Result<File, Error> {
        let path = self.directory.join(name);
        let open = || {
            fs::create_dir_all(&self.directory)?;
            File::options().create(true).append(true).open(&path)
        };
        open().map_err(|error: io::Error| Error::runtime(format!("open {}", path.display()), error))
    }

    /// Names cannot hold `@`, so the three of them cannot run into each other.
    fn path(&self, network: &str, attachment: &Attachment) -> Result<PathBuf, Error> {
        checked(network)?;
        checked(&attachment.container)?;
        if attachment.ifname.contains('/') {
            return Err(Error::Config(vec![format!(
                "interface name {:?} has a '/'",
                attachment.ifname
            )]));
        }
        Ok(self.directory.join(format!(
            "{network}@{}@{}.json",
            attachment.container, attachment.ifname
        )))
    }
}

fn checked(name: &str) -> Result<(), Error> {
    if is_identifier(name) {
        return Ok(());
    }
    Err(Error::Config(vec![format!(
        "{name:?} is not a network name or container id: a letter or digit, then letters, digits, '_', '.' or '-'"
    )]))
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn entry(text: &str) -> Option<Entry> {
    let value: Value = serde_json::from_str(text).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let pair = |pair: &Value| {
        let part = |index| pair.get(index).and_then(Value::as_str).map(str::to_owned);
        Some((part(0)?, part(1)?))
    };
    let args = value
        .get("args")?
        .as_array()?
        .iter()
        .map(pair)
        .collect::<Option<_>>()?;
    let capabilities = value
        .get("capabilities")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_else(Map::new);
    Some(Entry {
        list: NetworkList::from_value(value.get("list")?.clone()).ok()?,
        attachment: Attachment {
            container: text("containerID")?,
            ifname: text("ifname")?,
            netns: text("netns").map(PathBuf::from),
            args,
            capabilities,
        },
        result: value
            .get("result")
            .filter(|result| !result.is_null())
            .cloned(),
        since: value.get("since")?.as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_container_is_in_the_way_of_the_lock_for_all() {
        let directory = std::env::temp_dir().join(format!("plumb-cache-{}", std::process::id()));
        let cache = Cache::new(&directory);
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(cache.lock("all").is_ok()));
        let within = std::time::Duration::from_secs(10);
        assert_eq!(finished.recv_timeout(within), Ok(true));
        fs::remove_dir_all(&directory).unwrap();
    }
}
