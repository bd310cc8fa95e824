//! Making bridges, and waiting for their ports.

use std::time::{Duration, Instant};

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::Rtnl;
use super::error::Error;
use super::link::{Link, PortState};
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
}

/// Whether a thing had to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was made.
    Created(Link),
    /// A link of that name was there; it need not be a bridge.
    Found(Link),
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

    fn open_link_events() -> Result<Self, Error> {
        let mut events = Self::open()?;
        events.subscribe(libc::RTNLGRP_LINK)?;
        Ok(events)
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
        self.add_link(format!("create bridge {}", bridge.name), message)
    }

    /// Waits until a port is running and its bridge forwards its frames, and gives the port as it is then;
    /// `None` when it vanished.
    ///
    /// Where the kernel settles carrier changes on a look-up (6.8 and later) the first look is enough. With
    /// spanning tree a port takes its time to forward: it is given as it is once it runs. So is a port that is
    /// still not running after `patience`; the caller decides what that means.
    pub fn settled_port(&mut self, index: u32, patience: Duration) -> Result<Option<Link>, Error> {
        let deadline = Instant::now().checked_add(patience);
        let mut events: Option<Self> = None;
        loop {
            let link = self.link_by_index(index)?;
            let settled = link.as_ref().is_none_or(is_settled);
            let left = deadline.and_then(|end| end.checked_duration_since(Instant::now()));
            let Some(left) = left.filter(|_| !settled) else {
                return Ok(link);
            };
            match &mut events {
                // What happens between the look-up and the subscription is seen by the next look-up.
                None => events = Some(Self::open_link_events()?),
                Some(events) => events.wait_for_event(left)?,
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
