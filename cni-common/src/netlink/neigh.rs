//! Neighbours: which Ethernet address answers for an IP address.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the attributes the kernel sends, and there are more with every kernel, a few are wanted"
)]

use core::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use super::Rtnl;
use super::error::Error;
use super::link::Link;
use super::request::Request;
use crate::addr::Mac;

/// A neighbour the kernel knows the Ethernet address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The IP address.
    pub address: IpAddr,
    /// The Ethernet address.
    pub mac: Mac,
}

impl Rtnl {
    /// Lists the neighbours on a link whose Ethernet address is known, confirmed or not.
    pub fn neighbours(&mut self, link: &Link) -> Result<Vec<Neighbour>, Error> {
        let mut filter = NeighbourMessage::default();
        filter
            .attributes
            .push(NeighbourAttribute::IfIndex(link.index));
        let replies = self.dump(Request::new(
            format!("list the neighbours on {}", link.name),
            &RouteNetlinkMessage::GetNeighbour(filter),
        ))?;
        Ok(replies
            .iter()
            .filter_map(|reply| match reply {
                RouteNetlinkMessage::NewNeighbour(found) if found.header.ifindex == link.index => {
                    decode(found)
                }
                _ => None,
            })
            .collect())
    }
}

fn decode(message: &NeighbourMessage) -> Option<Neighbour> {
    if matches!(
        message.header.state,
        NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::Noarp
    ) {
        return None;
    }
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::V6(*ip));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
            }
            _ => {}
        }
    }
    Some(Neighbour {
        address: address?,
        mac: mac?,
    })
}
