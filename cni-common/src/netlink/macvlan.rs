//! Macvlan links: further Ethernet addresses on a link.

use netlink_packet_route::link::{InfoData, InfoKind, InfoMacVlan, LinkInfo, MacVlanMode};

use super::Rtnl;
use super::error::Error;
use super::link::Link;
use super::vlan::upper;
use crate::addr::Mac;
use crate::ident::IfName;
use crate::netns::Netns;

/// A macvlan link to make, down, in one message. Those of one link reach each other (mode `bridge`).
#[derive(Clone, Copy, Debug)]
pub struct NewMacvlan<'a> {
    /// The name.
    pub name: &'a IfName,
    /// The link it stands on, of the connection's namespace.
    pub below: &'a Link,
    /// The Ethernet address.
    pub mac: Mac,
    /// The MTU in bytes; `None` for the one of the link below.
    pub mtu: Option<u32>,
    /// The namespace it appears in; `None` for the connection's.
    pub netns: Option<&'a Netns>,
}

impl Rtnl {
    /// Adds a macvlan link.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, `EBUSY` when the link below is a port of something.
    pub fn add_macvlan(&mut self, new: &NewMacvlan<'_>) -> Result<(), Error> {
        let info = vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                MacVlanMode::Bridge,
            )])),
        ];
        let message = upper(new.name, new.below, Some(new.mac), new.mtu, new.netns, info);
        let doing = format!("create macvlan {} on {}", new.name, new.below.name);
        self.add_link(doing, &message)
    }
}
