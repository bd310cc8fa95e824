//! Dummy links: interfaces that lead nowhere.

use std::os::fd::AsRawFd;

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::Rtnl;
use super::error::Error;
use crate::addr::Mac;
use crate::ident::IfName;
use crate::netns::Netns;

impl Rtnl {
    /// Adds a dummy link, down, in another namespace.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken there.
    pub fn add_dummy(&mut self, name: &IfName, mac: Mac, netns: &Netns) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.as_str().to_owned()),
            LinkAttribute::Address(mac.0.to_vec()),
            LinkAttribute::NetNsFd(netns.as_raw_fd()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
        ];
        self.add_link(format!("create dummy {name}"), &message)
    }
}
