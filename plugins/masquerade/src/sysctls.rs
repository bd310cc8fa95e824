//! Kernel parameters: forwarding, and whether bridged frames pass the rules for IP.
//!
//! With `restoreSysctls` a file remembers what they were, so that the last attachment to go can put them back.
//! A lock keeps an attachment that comes apart from one that goes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cni_common::addr::Family;
use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::json::{Json, Object, ObjectWriter, Problems};
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netns::Identity;
use cni_common::sysctl::{self, Outcome};

use crate::config::Config;
use crate::rules::Inside;

/// Where the files are; they need not outlive a reboot.
pub(crate) const DIRECTORY: &str = "/run/plumb";

/// One parameter and the value it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The key of the configuration that asks for it.
    pub key: &'static str,
    /// The parameter's path below `/proc/sys`.
    pub name: String,
    /// The value.
    pub value: &'static str,
    /// Whether a kernel without the parameter is as good as one that has the value.
    pub optional: bool,
}

/// What the configuration wants for an attachment with addresses of these families.
pub fn wanted(config: &Config, families: &[Family], inside: &Inside) -> Vec<Wanted> {
    let mut wanted = config.ip_forward.wanted(families, inside);
    if let Some(called) = config.bridge_nf_call {
        let names = [
            "net/bridge/bridge-nf-call-iptables",
            "net/bridge/bridge-nf-call-ip6tables",
            "net/bridge/bridge-nf-call-arptables",
        ];
        wanted.extend(names.map(|name| Wanted {
            key: "bridgeNfCall",
            name: name.to_owned(),
            value: if called { "1" } else { "0" },
            // Without br_netfilter no bridged frame passes the rules.
            optional: !called,
        }));
    }
    wanted
}

/// A parameter that was changed: its path, the value before, the value it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    name: String,
    was: String,
    set: String,
}

/// What is remembered in a network namespace.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    /// What is remembered cannot be an earlier namespace's.
    certain: bool,
    lock: Option<File>,
}

impl Memory {
    /// The memory of the calling thread's network namespace. It is locked as long as this value lives if
    /// something is, or is to be, remembered.
    pub fn open(remember: bool) -> Result<Self, Error> {
        Self::open_in(Path::new(DIRECTORY), remember)
    }

    fn open_in(directory: &Path, remember: bool) -> Result<Self, Error> {
        let identity = Identity::current().step(|| "identify the network namespace")?;
        let (name, certain) = match identity {
            Identity::Unique(cookie) => (format!("cookie-{cookie}"), true),
            Identity::Reused(number) => (number.to_string(), false),
        };
        let path = directory.join(format!("masquerade-sysctls-{name}.json"));
        if !remember && !path.exists() {
            return Ok(Self {
                path,
                certain,
                lock: None,
            });
        }
        let naming = || format!("lock {}", directory.display());
        fs::create_dir_all(directory).step(naming)?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(directory.join("masquerade.lock"))
            .and_then(|file| file.lock().map(|()| file))
            .step(naming)?;
        Ok(Self {
            path,
            certain,
            lock: Some(lock),
        })
    }

    /// For the first attachment. What is remembered was left by a DEL that was killed, or somebody emptied the ruleset:
    /// then the last attachment is to put it back, unless somebody else has changed it since. Or an earlier life of the
    /// namespace's number left it: where that cannot be told, it is forgotten.
    pub fn begin(&self) -> Result<(), Error> {
        if !self.certain {
            return self.forget();
        }
        let remembered = self.read()?;
        let mut standing = Vec::new();
        for change in &remembered {
            let value = sysctl::read(&change.name).step(|| format!("read {}", change.name))?;
            if value.as_deref() == Some(change.set.as_str()) {
                standing.push(change.clone());
            }
        }
        if standing.is_empty() {
            self.forget()
        } else if standing == remembered {
            Ok(())
        } else {
            self.write(standing)
        }
    }

    /// Forgets everything.
    pub fn forget(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
        .step(|| format!("remove {}", self.path.display()))
    }

    fn read(&self) -> Result<Vec<Changed>, Error> {
        let naming = || format!("read {}", self.path.display());
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).step(naming),
        };
        let json = Json::parse(&bytes).step(naming)?;
        let problems = Problems::default();
        let object = Object::root(&json, &problems).step(naming)?;
        let changes = object
            .entries()
            .filter_map(|(name, value)| {
                let value = value.object()?;
                Some(Changed {
                    name: name.to_owned(),
                    was: value.string("was")?.to_owned(),
                    set: value.string("set")?.to_owned(),
                })
            })
            .collect();
        problems.finish().step(naming)?;
        Ok(changes)
    }

    fn remember(&self, change: &Changed) -> Result<(), Error> {
        let mut changes = self.read()?;
        if changes.iter().any(|known| known.name == change.name) {
            return Ok(());
        }
        changes.push(change.clone());
        self.write(changes)
    }

    fn write(&self, changes: Vec<Changed>) -> Result<(), Error> {
        let mut object = ObjectWriter::default();
        for change in changes {
            let values = ObjectWriter::default()
                .with("was", change.was)
                .with("set", change.set);
            object = object.with(&change.name, values);
        }
        let text = Json::from(object).to_pretty();
        let new = self.path.with_extension("new");
        // Complete or not there: a crash leaves no half of it.
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.path))
            .step(|| format!("write {}", self.path.display()))
    }

    /// Puts everything back that still has the value it was given, and forgets it.
    pub fn restore(&self) -> Result<(), Error> {
        if self.lock.is_none() {
            return Ok(());
        }
        put_back(&self.read()?)?;
        self.forget()
    }
}

/// Puts parameters back, the last first, unless somebody else changed them since.
pub fn put_back(changes: &[Changed]) -> Result<(), Error> {
    for change in changes.iter().rev() {
        let step = || format!("put {} back to {}", change.name, change.was);
        let value = sysctl::read(&change.name).step(step)?;
        if value.as_deref() != Some(change.set.as_str()) {
            continue;
        }
        if sysctl::set(&change.name, &change.was).step(step)? == Outcome::ReadOnly {
            return Err(Error::new(Code::Io, READ_ONLY)).step(step);
        }
    }
    Ok(())
}

/// Whether it is to let the host forward, and the host does; false where netlink does not say it. The file would say it too,
/// but the way to it grows with the namespaces.
fn stands(parameter: &Wanted) -> bool {
    let family = match (parameter.name.as_str(), parameter.value) {
        ("net/ipv4/ip_forward", "1") => Family::V4,
        ("net/ipv6/conf/all/forwarding", "1") => Family::V6,
        _ => return false,
    };
    Rtnl::open().is_ok_and(|mut rtnl| rtnl.forwarding(family) == Some(1))
}

/// Those that have another value; looks whether they can be set, before anything is changed.
///
/// # Errors
/// Code 2 for a parameter that this kernel does not have, code 5 for one that cannot be written.
pub fn pending(wanted: Vec<Wanted>) -> Result<Vec<Wanted>, Error> {
    let mut pending = Vec::new();
    for parameter in wanted {
        if stands(&parameter) {
            continue;
        }
        let step = || format!("set {} to {}", parameter.name, parameter.value);
        match sysctl::read(&parameter.name).step(step)? {
            None if parameter.optional => {}
            None => return Err(absent(&parameter)).step(step),
            Some(value) if value == parameter.value => {}
            Some(_) if sysctl::is_writable(&parameter.name) => pending.push(parameter),
            Some(_) => return Err(read_only(&parameter)).step(step),
        }
    }
    Ok(pending)
}

/// Sets the parameters; those that were changed are added to `changed`, and remembered if `memory` is given.
pub fn set(
    wanted: &[Wanted],
    memory: Option<&Memory>,
    changed: &mut Vec<Changed>,
) -> Result<(), Error> {
    for parameter in wanted {
        let step = || format!("set {} to {}", parameter.name, parameter.value);
        let Some(was) = sysctl::read(&parameter.name).step(step)? else {
            if parameter.optional {
                continue;
            }
            return Err(absent(parameter)).step(step);
        };
        if was == parameter.value {
            continue;
        }
        let change = Changed {
            name: parameter.name.clone(),
            was,
            set: parameter.value.to_owned(),
        };
        if let Some(memory) = memory {
            memory.remember(&change)?;
        }
        match sysctl::set(&parameter.name, parameter.value).step(step)? {
            Outcome::Changed { .. } => changed.push(change),
            Outcome::Already => {}
            Outcome::Absent => return Err(absent(parameter)).step(step),
            Outcome::ReadOnly => {
                return Err(read_only(parameter)).step(step);
            }
        }
        log::debug(format_args!("{} = {}", parameter.name, parameter.value));
    }
    Ok(())
}

const READ_ONLY: &str = "/proc/sys cannot be written here";

fn read_only(parameter: &Wanted) -> Error {
    Error::new(Code::Io, READ_ONLY).with_details(format!(
        "set {} to {} on the host, or use the key {}",
        parameter.name, parameter.value, parameter.key
    ))
}

fn absent(parameter: &Wanted) -> Error {
    let why = match parameter.key {
        "bridgeNfCall" => "the module br_netfilter is not loaded",
        _ if parameter.name.ends_with("/forwarding") && parameter.name.contains("ipv4/conf") => {
            "the host has no such interface"
        }
        _ if parameter.name.ends_with("/force_forwarding") => {
            "there is no such interface, or the kernel (before 6.17) forwards IPv6 for all interfaces or none"
        }
        _ => "the kernel does not have it",
    };
    Error::new(Code::Unsupported, format!("{}: {why}", parameter.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_the_one_remembered() {
        let directory = std::env::temp_dir().join(format!("plumb-memory-{}", std::process::id()));
        let memory = Memory::open_in(&directory, true).unwrap();
        let change = |name: &str, was: &str| Changed {
            name: name.into(),
            was: was.into(),
            set: "1".into(),
        };
        memory.remember(&change("net/a", "0")).unwrap();
        memory.remember(&change("net/b", "2")).unwrap();
        memory.remember(&change("net/a", "7")).unwrap();
        assert_eq!(
            memory.read().unwrap(),
            [change("net/a", "0"), change("net/b", "2")]
        );
        memory.forget().unwrap();
        memory.forget().unwrap();
        assert_eq!(memory.read().unwrap(), []);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_may_be_an_earlier_namespaces_is_forgotten() {
        let directory = std::env::temp_dir().join(format!("plumb-earlier-{}", std::process::id()));
        let mut memory = Memory::open_in(&directory, true).unwrap();
        // A parameter that every kernel has, as it is.
        let name = "net/ipv4/ip_forward";
        let standing = Changed {
            name: name.into(),
            was: "7".into(),
            set: sysctl::read(name).unwrap().unwrap(),
        };
        let changed_since = Changed {
            name: "net/ipv6/conf/all/forwarding".into(),
            was: "7".into(),
            set: "8".into(),
        };
        memory.remember(&standing).unwrap();
        memory.remember(&changed_since).unwrap();
        memory.certain = true;
        memory.begin().unwrap();
        assert_eq!(memory.read().unwrap(), [standing]);
        memory.certain = false;
        memory.begin().unwrap();
        assert_eq!(memory.read().unwrap(), []);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn without_anything_to_remember_nothing_is_written() {
        let directory =
            std::env::temp_dir().join(format!("plumb-no-memory-{}", std::process::id()));
        let memory = Memory::open_in(&directory, false).unwrap();
        assert!(memory.lock.is_none());
        memory.restore().unwrap();
        assert!(!directory.exists());
    }
}
