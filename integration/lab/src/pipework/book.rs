//! What is attached: the runtime's cache, with a few notes of ours in each remembered list.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::guest::{Guest, identity};
use super::host::Host;
use crate::device;
use crate::runtime::{Attachment, Cache, Entry, NetworkList, Runtime};
use crate::topology::{At, Error, default_plugins, own_program};

/// Where the state is, in place of [`FOLDER`].
pub(crate) const STATE: &str = "PIPEWORK_STATE";

/// Gone after a reboot, as all that it is about.
const FOLDER: &str = "/run/plumb-pipework";

/// The key of the notes in a remembered list; no plugin sees it.
const NOTES: &str = "pipework";

/// The book of one host.
pub(super) struct Book {
    folder: PathBuf,
    runtime: Runtime,
}

/// One attachment.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    entry: Entry,
    /// The guest as the line named it.
    pub(super) guest: String,
    /// What tells the guest's network namespace from others.
    identity: String,
    /// The line.
    pub(super) line: String,
}

impl Book {
    /// Opens it; nothing is written yet.
    pub(super) fn open() -> Result<Self, Error> {
        let given = std::env::var_os(STATE).filter(|folder| !folder.is_empty());
        let folder = given.map_or_else(|| PathBuf::from(FOLDER), PathBuf::from);
        let program = own_program()?;
        let own = device::programs(&program, &["--plugin"]);
        let runtime = Runtime::new(plugins(), Cache::new(&folder)).with_own(own);
        Ok(Self { folder, runtime })
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Locks a guest against every other line. Held until dropped.
    pub(super) fn lock(&self, id: &str) -> Result<File, Error> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder
            .create(&self.folder)
            .at(|| format!("create {}", self.folder.display()))?;
        // The runtime's own names hold no '@' in this place.
        let path = self.folder.join(format!("@{id}.line"));
        let step = || format!("lock {}", path.display());
        let file = File::options().create(true).append(true).open(&path);
        let file = file.at(step)?;
        file.lock().at(step)?;
        Ok(file)
    }

    /// All that is attached, oldest first.
    pub(super) fn all(&self) -> Result<Vec<Attached>, Error> {
        let entries = self.runtime.cache().entries();
        let entries = entries.at(|| "read what is attached".to_owned())?;
        Ok(entries.into_iter().filter_map(Attached::read).collect())
    }

    /// Attaches a guest; the line is remembered with the list.
    pub(super) fn attach(
        &self,
        list: &Value,
        line: &str,
        guest: (&str, &Guest),
        interface: &str,
    ) -> Result<(), Error> {
        let (word, guest) = guest;
        let mut kept = list.clone();
        if let Some(kept) = kept.as_object_mut() {
            let notes = json!({"guest": word, "identity": guest.identity, "line": line});
            kept.insert(NOTES.to_owned(), notes);
        }
        let list = NetworkList::from_value(kept).at(|| "network configuration".to_owned())?;
        let attachment = attachment(guest, interface);
        self.runtime
            .add(&list, &attachment)
            .map(|_| ())
            .map_err(|error| Error::new(error.to_string()))
    }

    /// Detaches: everything of it goes, and with `bridge` a bridge that we made for it and nobody uses any more.
    pub(super) fn detach(&self, attached: &Attached, bridge: bool) -> Result<(), Error> {
        let Entry {
            list, attachment, ..
        } = &attached.entry;
        let list = if bridge { tidying(list)? } else { list.clone() };
        let attachment = Attachment {
            netns: attachment.netns.clone().filter(|_| attached.is_alive()),
            ..attachment.clone()
        };
        self.runtime
            .del(&list, &attachment)
            .at(|| format!("detach {} of {}", attachment.ifname, attached.guest))
    }

    /// Detaches what belongs to guests that are gone, then has the plugins look for what a crash left.
    pub(super) fn collect(&self) -> Result<Vec<String>, Error> {
        let all = self.all()?;
        let (mut failures, mut collected) = (Vec::new(), Vec::new());
        for attached in all.iter().rev().filter(|each| !each.is_alive()) {
            let _lock = self.lock(attached.container())?;
            // Another line may have attached a guest of that name anew meanwhile.
            if self.now(attached)?.is_none_or(|now| now.is_alive()) {
                continue;
            }
            match self.detach(attached, true) {
                Ok(()) => collected.push(format!("{} {}", attached.guest, attached.interface())),
                Err(error) => failures.push(error.to_string()),
            }
        }
        let mut networks = Vec::new();
        for list in all.iter().map(|attached| &attached.entry.list) {
            if !networks.contains(&list.name) {
                networks.push(list.name.clone());
                let outcome = self.runtime.gc_remembered(&tidying(list)?);
                failures.extend(outcome.err().map(|error| error.to_string()));
            }
        }
        if failures.is_empty() {
            Ok(collected)
        } else {
            Err(Error::new(failures.join("\n")))
        }
    }

    /// An attachment as it is now, with the guest locked.
    pub(super) fn now(&self, attached: &Attached) -> Result<Option<Attached>, Error> {
        let same = |each: &Attached| {
            (each.container(), each.interface()) == (attached.container(), attached.interface())
                && each.entry.list.name == attached.entry.list.name
        };
        Ok(self.all()?.into_iter().find(same))
    }
}

/// The attachment of a guest.
pub(super) fn attachment(guest: &Guest, interface: &str) -> Attachment {
    Attachment {
        container: guest.id.clone(),
        netns: Some(guest.netns.clone()),
        ifname: interface.to_owned(),
        ..Attachment::default()
    }
}

/// The network of a list that a line made, by the host's side of it: `br1`, `eth1.10`.
pub(crate) fn network(list: &NetworkList) -> Option<&str> {
    let _ours = note(list, "line")?;
    list.name.strip_prefix("pipework-")
}

/// The list for a DEL that also removes a bridge that the plugin made.
pub(crate) fn without_bridge(list: &NetworkList) -> NetworkList {
    let mut source = list.source.clone();
    if let Some(plugin) = source.pointer_mut("/plugins/0")
        && plugin.get("bridge").is_some()
        && let Some(plugin) = plugin.as_object_mut()
    {
        plugin.insert("removeEmptyBridge".to_owned(), true.into());
    }
    NetworkList::from_value(source).unwrap_or_else(|_| list.clone())
}

/// The list for a DEL or GC that also removes a bridge that the plugin made, unless somebody gave it an address.
fn tidying(list: &NetworkList) -> Result<NetworkList, Error> {
    let bridge = list.source.pointer("/plugins/0/bridge");
    let bridge = bridge.and_then(Value::as_str);
    Ok(match bridge {
        Some(bridge) if !Host::read()?.is_addressed(bridge) => without_bridge(list),
        _ => list.clone(),
    })
}

/// Where plugins are looked for: `CNI_PATH`, or where they are built and installed.
fn plugins() -> Vec<PathBuf> {
    match std::env::var_os("CNI_PATH").filter(|path| !path.is_empty()) {
        Some(path) => std::env::split_paths(&path).collect(),
        None => default_plugins(),
    }
}

/// One of the notes in a remembered list.
fn note<'a>(list: &'a NetworkList, key: &str) -> Option<&'a str> {
    list.source.get(NOTES)?.get(key)?.as_str()
}

impl Attached {
    fn read(entry: Entry) -> Option<Self> {
        let note = |key| note(&entry.list, key).map(str::to_owned);
        let (guest, identity, line) = (note("guest")?, note("identity")?, note("line")?);
        Some(Self {
            entry,
            guest,
            identity,
            line,
        })
    }

    pub(super) fn container(&self) -> &str {
        &self.entry.attachment.container
    }

    pub(super) fn interface(&self) -> &str {
        &self.entry.attachment.ifname
    }

    /// What the interface leads to: a bridge, a NIC, or a VLAN of either.
    pub(super) fn network(&self) -> &str {
        network(&self.entry.list).unwrap_or(&self.entry.list.name)
    }

    /// The guest's network namespace as it was when it was attached.
    pub(super) fn netns(&self) -> Option<&PathBuf> {
        self.entry.attachment.netns.as_ref()
    }

    /// The result of the ADD; `None` where that did not finish.
    pub(super) fn result(&self) -> Option<&Value> {
        self.entry.result.as_ref()
    }

    /// Whether the guest's network namespace is still the one that was attached.
    pub(super) fn is_alive(&self) -> bool {
        let netns = self.entry.attachment.netns.as_ref();
        netns.is_some_and(|netns| identity(netns).is_ok_and(|now| now == self.identity))
    }

    /// Whether it is a guest's, in the namespace that guest has.
    pub(super) fn is_of(&self, guest: &Guest) -> bool {
        self.identity == guest.identity
    }

    /// Whether it came from the same configuration.
    pub(super) fn is_as(&self, list: &Value) -> bool {
        let plain = |list: &Value| {
            let mut plain = list.clone();
            if let Some(plain) = plain.as_object_mut() {
                plain.remove(NOTES);
            }
            if let Some(plugin) = plain.pointer_mut("/plugins/0")
                && let Some(plugin) = plugin.as_object_mut()
            {
                // What a NIC was before it was given away.
                plugin.remove(super::attach::RESTORE);
            }
            plain
        };
        plain(&self.entry.list.source) == plain(list)
    }
}
