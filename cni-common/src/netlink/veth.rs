//! Making veth pairs.

use std::os::fd::AsRawFd;

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};

use super::Rtnl;
use super::error::Error;
use super::link::Link;
use crate::addr::Mac;
use crate::ident::IfName;
use crate::netns::Netns;

/// A veth pair, complete in one message: one end here, the other under its final name in another namespace.
///
/// Both ends start down: the kernel refuses to make the far end up, and if the near end were up first, the
/// far end's carrier would change twice.
#[derive(Clone, Copy, Debug)]
pub struct NewVeth<'a> {
    /// The name of the end in this namespace.
    pub name: &'a IfName,
    /// Its address; one that is given is left alone by udev's `MACAddressPolicy`.
    pub mac: Mac,
    /// The index of the bridge it becomes a port of.
    pub master: Option<u32>,
    /// The name of the other end.
    pub peer: &'a IfName,
    /// The other end's address.
    pub peer_mac: Mac,
    /// The other end's namespace.
    pub peer_netns: &'a Netns,
    /// The MTU of both ends in bytes; the kernel's default is 1500.
    pub mtu: Option<u32>,
    /// The group that the end in this namespace is made in, as [`NewBridge::group`](super::bridge::NewBridge::group).
    pub group: Option<u32>,
}

impl Rtnl {
    /// Adds a veth pair, and gives the end in this namespace as it was made, before it became a port: the index of both ends
    /// is in it. `None` where the kernel does not say (before 6.2).
    ///
    /// # Errors
    /// `EEXIST` when either name is taken.
    pub fn add_veth(&mut self, veth: &NewVeth<'_>) -> Result<Option<Link>, Error> {
        let mut peer = end(veth.peer, veth.peer_mac, veth.mtu);
        peer.attributes
            .push(LinkAttribute::NetNsFd(veth.peer_netns.as_raw_fd()));
        let mut message = end(veth.name, veth.mac, veth.mtu);
        message
            .attributes
            .extend(veth.master.map(LinkAttribute::Controller));
        message
            .attributes
            .extend(veth.group.map(LinkAttribute::Group));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.add_link_told(format!("create veth {}", veth.name), &message)
    }
}

fn end(name: &IfName, mac: Mac, mtu: Option<u32>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.as_str().to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        // A veth works with one queue; for more, the kernel waits for a grace period and allocates one a CPU.
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ];
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{private_netns, run};

    fn name(text: &str) -> IfName {
        IfName::parse(text).unwrap()
    }

    #[test]
    fn what_the_kernel_tells_of_a_new_veth_is_what_it_made() {
        private_netns();
        let inside = Netns::current().unwrap();
        private_netns();
        run("ip", &["link", "add", "br0", "type", "bridge"]);
        let mut rtnl = Rtnl::open().unwrap();
        let bridge = rtnl.link_by_name(&name("br0")).unwrap().unwrap();
        let veth = NewVeth {
            name: &name("near"),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            master: Some(bridge.index),
            peer: &name("eth0"),
            peer_mac: Mac([2, 0, 0, 0, 0, 2]),
            peer_netns: &inside,
            mtu: Some(1400),
            group: Some(7),
        };
        // A kernel that tells nothing is asked by who needs to know.
        let Some(told) = rtnl.add_veth(&veth).unwrap() else {
            return;
        };
        let near = rtnl.link_by_name(&name("near")).unwrap().unwrap();
        let far = inside.run(|| Rtnl::open()?.link_by_name(&name("eth0")));
        assert_eq!(near.master, Some(bridge.index));
        assert_eq!(told.index, near.index);
        assert_eq!(told.peer, far.unwrap().unwrap().map(|far| far.index));
        assert_eq!(
            (told.name, told.mac, told.mtu, told.group),
            (near.name, near.mac, 1400, 7)
        );
        assert!(rtnl.add_veth(&veth).unwrap_err().is_taken());
    }
}
