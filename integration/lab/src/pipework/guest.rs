//! Finding a guest: its network namespace, and the name by which the kernel's state and ours know it.

use std::fs;
use std::path::{Path, PathBuf};

use cni_common::netns::{Identity, Netns};

use super::containers;
use crate::topology::{At, Error};

/// Guests that whoever calls knows better: `NAME=ID=PATH`, separated by spaces. A lab names its nodes so.
pub(crate) const GUESTS: &str = "PIPEWORK_GUESTS";

/// A guest that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    /// The container id.
    pub(super) id: String,
    /// Its network namespace.
    pub(super) netns: PathBuf,
    /// What tells that namespace from all others.
    pub(super) identity: String,
}

/// Where a guest was found: its id, and the path of its network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) netns: PathBuf,
}

/// Finds a guest by the word of a line.
pub(super) fn find(word: &str) -> Result<Guest, Error> {
    let Found { id, netns } = look_up(word)?;
    let identity = identity(&netns).at(|| format!("guest {word}"))?;
    Ok(Guest {
        id,
        netns,
        identity,
    })
}

/// What tells the namespace at a path from others that may come to its place.
pub(super) fn identity(netns: &Path) -> Result<String, Error> {
    let step = || format!("network namespace {}", netns.display());
    let opened = Netns::open(netns).map_err(|error| Error::new(error.to_string()))?;
    let identity = opened.run(Identity::current).at(step)?.at(step)?;
    Ok(match identity {
        Identity::Unique(cookie) => format!("cookie {cookie}"),
        Identity::Reused(inode) => format!("inode {inode}"),
    })
}

fn look_up(word: &str) -> Result<Found, Error> {
    if word.is_empty() {
        return Err(Error::new("the guest's name is empty"));
    }
    if let Some(found) = std::env::var(GUESTS)
        .ok()
        .and_then(|guests| told(&guests, word))
    {
        return Ok(found);
    }
    if let Some((kind, name)) = word.split_once(':') {
        return match kind {
            "pid" => by_pid(name).ok_or_else(|| no_process(name)),
            "netns" => by_name(name)
                .ok_or_else(|| Error::new(format!("there is no network namespace {name}"))),
            _ => containers::by_runtime(kind, name),
        };
    }
    if word.contains('/') && Path::new(word).exists() {
        return by_path(word);
    }
    if let Some(found) = by_name(word).or_else(|| by_pid(word)) {
        return Ok(found);
    }
    containers::by_any(word)
}

/// One of the guests that the environment names.
fn told(guests: &str, word: &str) -> Option<Found> {
    guests.split(' ').find_map(|guest| {
        let (name, place) = guest.split_once('=')?;
        let (id, netns) = place.split_once('=')?;
        (name == word).then(|| Found {
            id: id.to_owned(),
            netns: netns.into(),
        })
    })
}

/// The network namespace that `ip netns` knows by this name.
fn by_name(name: &str) -> Option<Found> {
    if name.contains('/') || name == "." || name == ".." {
        return None;
    }
    // The former is a link to the latter nearly everywhere.
    let folders = ["/run/netns", "/var/run/netns"].map(Path::new);
    let path = folders.map(|folder| folder.join(name));
    path.into_iter()
        .find(|path| path.exists())
        .map(|netns| Found {
            id: as_id(name),
            netns,
        })
}

/// A process, by its id.
fn by_pid(word: &str) -> Option<Found> {
    let pid: u32 = word.parse().ok()?;
    // A container id may be all digits too, and begins with a 0 or is longer then.
    let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
    (pid.to_string() == word && netns.exists()).then(|| Found {
        id: format!("pid-{pid}"),
        netns,
    })
}

fn no_process(pid: &str) -> Error {
    Error::new(format!("there is no process {pid}"))
}

/// A path: that of a named namespace or a process means the same as the name.
fn by_path(word: &str) -> Result<Found, Error> {
    let absolute = std::path::absolute(word).at(|| format!("guest {word}"))?;
    let of_process = absolute.to_str().and_then(|text| {
        let pid = text.strip_prefix("/proc/")?.strip_suffix("/ns/net")?;
        by_pid(pid)
    });
    if let Some(found) = of_process {
        return Ok(found);
    }
    // What /proc links to has no path.
    let path = fs::canonicalize(word).unwrap_or(absolute);
    let text = path.to_string_lossy().into_owned();
    let named = text.strip_prefix("/run/netns/").and_then(by_name);
    Ok(named.unwrap_or_else(|| Found {
        id: as_id(text.trim_start_matches('/')),
        netns: path,
    }))
}

/// A name in the form that the CNI specification has for container ids.
pub(super) fn as_id(name: &str) -> String {
    let allowed = |each: char| each.is_ascii_alphanumeric() || "_.-".contains(each);
    let id = name.replace(|each| !allowed(each), "-");
    if id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        id
    } else {
        format!("guest{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_the_specification() {
        for (name, id) in [
            ("R1", "R1"),
            ("web_1.a-b", "web_1.a-b"),
            ("cni-8f3", "cni-8f3"),
            ("-x", "guest-x"),
            ("a b", "a-b"),
            ("var/run/docker/netns/1a", "var-run-docker-netns-1a"),
        ] {
            assert_eq!(as_id(name), id);
        }
    }

    #[test]
    fn guests_that_the_environment_names() {
        let guests = "R1=lab-R1=/proc/7/ns/net R2=lab-R2=/run/netns/R2";
        let found = told(guests, "R2").unwrap();
        assert_eq!(
            (found.id.as_str(), found.netns),
            ("lab-R2", "/run/netns/R2".into())
        );
        assert_eq!(told(guests, "R"), None);
    }
}
