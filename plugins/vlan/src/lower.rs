//! The master, and what it can carry.

use cni_common::attach::master::Master;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::netlink::link::Link;
use cni_common::netlink::{self, Rtnl};
use cni_common::netns::Netns;

use crate::config::{Config, Mode};
use crate::target::Place;

/// The length of a tag in bytes (`VLAN_HLEN`, `linux/if_vlan.h`).
const TAG: u32 = 4;

/// The namespace of a master.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    /// `None` for the plugin's own.
    netns: Option<&'a Netns>,
}

impl<'a> Ground<'a> {
    /// The plugin's own namespace.
    pub(crate) const HOST: Self = Self { netns: None };

    /// The namespace of a place.
    pub(crate) fn of(place: Place, netns: &'a Netns) -> Self {
        let netns = (place == Place::Container).then_some(netns);
        Self { netns }
    }

    /// Runs `work` there.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> Result<T, Error> {
        match self.netns {
            None => Ok(work()),
            Some(netns) => netns.run(work).step(|| "enter the container's namespace"),
        }
    }

    /// Opens a socket there.
    pub(crate) fn open(self) -> Result<Rtnl, Error> {
        self.run(Rtnl::open)?.map_err(Cause::cause)
    }

    /// Deletes a link; one that is gone is no error.
    pub(crate) fn delete(self, link: &Link, strict: bool) -> Result<(), Error> {
        let delete = || -> Result<(), netlink::Error> {
            let mut rtnl = Rtnl::open()?;
            if strict {
                rtnl.delete_link(link)
            } else {
                rtnl.delete_link_detached(link)
            }
        };
        match self.run(delete)? {
            Err(error) if !error.is_absent() => Err(error.cause()),
            _ => Ok(()),
        }
    }
}

/// The master and how large a packet the interface on it may carry.
#[derive(Debug)]
pub(crate) struct Lower {
    pub(crate) rtnl: Rtnl,
    pub(crate) master: Link,
    /// The largest MTU of what stands on the master.
    pub(crate) room: u32,
}

impl Lower {
    /// Finds the master and makes sure that the interface can stand on it.
    ///
    /// # Errors
    /// Code 7 when there is no such link, it is down, or smaller than `mtu`; code 101 when it is a port of something
    /// and would need to be none.
    pub(crate) fn open(
        config: &Config,
        master: &Master,
        ground: Ground<'_>,
    ) -> Result<Self, Error> {
        let mut rtnl = ground.open()?;
        let master = master.require(&mut rtnl, "master")?;
        require_up(&master, config, "master")?;
        if config.id.is_none() && master.master.is_some() {
            return Err(Error::new(
                Code::Taken,
                format!(
                    "master: {} is a port of a bridge or bond: without vlanId no container can stand on it",
                    master.name
                ),
            ));
        }
        let room = match config.id {
            Some(_) => room(&mut rtnl, &master)?,
            None => master.mtu,
        };
        if let Some(mtu) = config.mtu.filter(|mtu| *mtu > room) {
            return Err(too_large(mtu, room, &master));
        }
        Ok(Self { rtnl, master, room })
    }
}

fn too_large(mtu: u32, room: u32, master: &Link) -> Error {
    let mut text = format!(
        "mtu: {mtu} must be at most {room}: {} has the MTU {}",
        master.name, master.mtu
    );
    if room < master.mtu {
        text.push_str(", and a second tag needs room too");
    }
    Error::new(Code::InvalidConfig, text)
}

/// A link that is down lets nothing on it come up, unless the binding is loose.
///
/// # Errors
/// Code 7, naming the key `key`.
pub(crate) fn require_up(link: &Link, config: &Config, key: &str) -> Result<(), Error> {
    let loose = config.mode == Mode::Direct && config.options.loose_binding == Some(true);
    if link.up || loose {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidConfig,
        format!("{key}: {} is down: set it up first", link.name),
    ))
}

/// The largest MTU of a VLAN link on `master`.
///
/// Ethernet has room for one tag beside the MTU. Each further one is taken from the MTU of the link that all the
/// tagged ones stand on.
fn room(rtnl: &mut Rtnl, master: &Link) -> Result<u32, Error> {
    let (mut tags, mut lowest) = (0_u32, master.clone());
    while lowest.is_vlan() {
        tags = tags.saturating_add(1);
        // What is below in another namespace cannot be seen from here; it is at least as large.
        let below = lowest.peer.filter(|_| lowest.peer_netns_id.is_none());
        let Some(index) = below else { break };
        match rtnl.link_by_index(index).map_err(Cause::cause)? {
            Some(link) => lowest = link,
            None => break,
        }
    }
    Ok(fitting(master.mtu, lowest.mtu, tags))
}

/// The largest MTU on a link that has the MTU `master`, and frames with so many tags on a link with the MTU `lowest`.
fn fitting(master: u32, lowest: u32, tags: u32) -> u32 {
    master.min(lowest.saturating_sub(tags.saturating_mul(TAG)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tag_is_free_and_each_further_one_takes_four_bytes() {
        assert_eq!(fitting(1500, 1500, 0), 1500);
        assert_eq!(fitting(1500, 1500, 1), 1496);
        assert_eq!(fitting(1496, 1500, 2), 1492);
        assert_eq!(fitting(1500, 1504, 1), 1500, "the lowest has room for it");
        assert_eq!(fitting(1400, 1504, 1), 1400);
    }
}
