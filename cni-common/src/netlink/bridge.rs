//! Making bridges, and waiting for their ports.

use std::time::Duration;

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::Rtnl;
use super::error::Error;
use super::link::{Link, PortState};
use super::pauses::Pauses;
use crate::addr::Mac;
use crate::ident::IfName;

/// A bridge to make.
#[derive(Clone, Copy, Debug)]
pub struct NewBridge<'a> {
    /// The name.
    pub name: &'a IfName,
    /// The Ethernet address. Without one the kernel takes the lowest of the ports' addresses, and changes it
    /// with every port that comes or goes.
    pub mac: Mac,
    /// The MTU in bytes; the kernel's default is 1500, and without one it follows the ports.
    pub mtu: Option<u32>,
    /// The group it is made in; the kernel's default is 0. Unlike an alias, which the kernel ignores in the message
    /// that makes a link, this is there from the beginning: it can tell whose a bridge is that was not marked yet.
    pub group: Option<u32>,
}

/// Whether a thing had to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was made.
    Created(Link),
    /// A link of that name was there; it need not be a bridge.
    Found(Link),
}

/// Whether a bridge keeps its Ethernet address whatever ports come and go (`NET_ADDR_SET`, linux/netdevice.h);
/// `None` where sysfs does not show it. Netlink does not tell.
pub fn has_fixed_address(bridge: &Link) -> Option<bool> {
    let path = format!("/sys/class/net/{}/addr_assign_type", bridge.name);
    let kind = std::fs::read_to_string(path).ok()?;
    Some(kind.trim() == "3")
}

impl Rtnl {
    /// Looks the bridge up and makes it if there is no link of that name; when several do so at once, one makes
    /// it.
    pub fn ensure_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<Ensured, Error> {
        loop {
            if let Some(link) = self.link_by_name(bridge.name)? {
                return Ok(Ensured::Found(link));
            }
            match self.add_bridge(bridge) {
                // Somebody else made it, and may have deleted it since.
                Err(error) if error.is_taken() => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    if let Some(link) = self.link_by_name(bridge.name)? {
                        return Ok(Ensured::Created(link));
                    }
                }
            }
        }
    }

    fn add_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(bridge.name.as_str().to_owned()),
            LinkAttribute::Address(bridge.mac.0.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        message
            .attributes
            .extend(bridge.mtu.map(LinkAttribute::Mtu));
        message
            .attributes
            .extend(bridge.group.map(LinkAttribute::Group));
        self.add_link(format!("create bridge {}", bridge.name), &message)
    }

    /// Waits until a link is running and, where it is a bridge's port, its frames are forwarded, and gives it as it
    /// is then; `None` when it vanished.
    ///
    /// Both ends of a veth need this: an end that has not settled still drops what it is to send, because its
    /// queue is only made when its carrier's change is worked off.
    ///
    /// Where the kernel works that off on a look-up (6.8 and later) the first look is enough. A port under spanning
    /// tree takes its time to forward: it is given as it is once it runs. So is a link that is still not running
    /// after `patience`; the caller decides what that means.
    pub fn settled(&mut self, index: u32, patience: Duration) -> Result<Option<Link>, Error> {
        let mut pauses = Pauses::new(patience);
        loop {
            let link = self.link_by_index(index)?;
            if link.as_ref().is_none_or(is_settled) || !pauses.pause() {
                return Ok(link);
            }
        }
    }
}

fn is_settled(link: &Link) -> bool {
    let stp = |state| {
        matches!(
            state,
            PortState::Listening | PortState::Learning | PortState::Blocking
        )
    };
    link.running
        && link
            .port
            .is_none_or(|port| port.state == PortState::Forwarding || stp(port.state))
}
