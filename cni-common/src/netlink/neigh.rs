//! Neighbours: which Ethernet address answers for an IP address.

use core::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};

use super::Rtnl;
use super::error::Error;
use super::frame::{attributes, ip, number, u16_at};
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
            libc::RTM_GETNEIGH,
            &filter,
        ))?;
        Ok(replies
            .iter()
            .filter_map(|reply| Neighbour::decode(&reply.body, link.index))
            .collect())
    }
}

impl Neighbour {
    /// Reads the body of an `RTM_NEWNEIGH`: `struct ndmsg` (linux/neighbour.h), then attributes. `None` for one of
    /// another link, or whose Ethernet address is not known.
    pub(super) fn decode(body: &[u8], index: u32) -> Option<Self> {
        const UNKNOWN: u16 = libc::NUD_INCOMPLETE | libc::NUD_FAILED | libc::NUD_NOARP;
        if number(body.get(4..)?)? != index || u16_at(body, 8)? & UNKNOWN != 0 {
            return None;
        }
        let mut address = None;
        let mut mac = None;
        for (kind, value) in attributes(body.get(12..)?) {
            match kind {
                libc::NDA_DST => address = ip(value),
                libc::NDA_LLADDR => mac = <[u8; 6]>::try_from(value).ok().map(Mac),
                _ => {}
            }
        }
        Some(Self {
            address: address?,
            mac: mac?,
        })
    }
}
