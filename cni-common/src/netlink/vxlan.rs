//! VXLAN links: Ethernet over UDP (RFC 7348).

use core::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::error::Error;
use super::frame::{attributes, ip, number};
use super::link::Link;
use super::request::{Reply, Request};
use super::{Rtnetlink, Rtnl};
use crate::addr::Mac;
use crate::ident::IfName;

/// A VXLAN link to make.
#[derive(Clone, Copy, Debug)]
pub struct NewVxlan<'a> {
    /// The name.
    pub name: &'a IfName,
    /// Its address.
    pub mac: Mac,
    /// The index of the bridge it becomes a port of.
    pub master: u32,
    /// The segment's number (VNI).
    pub id: u32,
    /// The UDP port.
    pub port: u16,
    /// The multicast group to which goes what is not for one known host.
    pub group: Option<IpAddr>,
    /// Whether packets go over IPv6, where no group says so: the kernel takes hosts of one family only, and of IPv4 unless told.
    pub ipv6: bool,
    /// The index of the link that packets leave by.
    pub device: Option<u32>,
    /// The MTU in bytes; the kernel's is that of the device less the headers, or 1500 without a device.
    pub mtu: Option<u32>,
}

impl Rtnl {
    /// Adds a VXLAN link, down.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, or another link has the same number and port.
    pub fn add_vxlan(&mut self, vxlan: &NewVxlan<'_>) -> Result<(), Error> {
        let mut data = vec![
            InfoVxlan::Id(vxlan.id),
            InfoVxlan::Port(vxlan.port),
            InfoVxlan::Learning(true),
        ];
        data.extend(vxlan.group.map(|group| match group {
            IpAddr::V4(group) => InfoVxlan::Group(group),
            IpAddr::V6(group) => InfoVxlan::Group6(group),
        }));
        if vxlan.ipv6 {
            // Any address of the host, of that family.
            data.push(InfoVxlan::Local6(Ipv6Addr::UNSPECIFIED));
        }
        data.extend(vxlan.device.map(InfoVxlan::Link));
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(vxlan.name.as_str().to_owned()),
            LinkAttribute::Address(vxlan.mac.0.to_vec()),
            LinkAttribute::Controller(vxlan.master),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(data)),
            ]),
        ];
        message.attributes.extend(vxlan.mtu.map(LinkAttribute::Mtu));
        self.add_link(format!("create vxlan {}", vxlan.name), &message)
    }

    /// The hosts that a VXLAN link sends to what is not for one known host; see [`Link::flood_to`].
    pub fn flood_remotes(&mut self, vxlan: &Link) -> Result<Vec<IpAddr>, Error> {
        let mut filter = NeighbourMessage::default();
        filter.header.family = AddressFamily::Bridge;
        filter.header.ifindex = vxlan.index;
        let doing = format!("list the hosts that {} sends to", vxlan.name);
        let replies = self.dump(Request::new(doing, libc::RTM_GETNEIGH, &filter))?;
        let remote = |reply: &Reply| flood_remote(&reply.body, vxlan.index);
        Ok(replies.iter().filter_map(remote).collect())
    }
}

/// Reads the body of an `RTM_NEWNEIGH`: `struct ndmsg` (linux/neighbour.h), then attributes.
fn flood_remote(body: &[u8], index: u32) -> Option<IpAddr> {
    const NDMSG: usize = 12;
    if number(body.get(4..)?)? != index {
        return None;
    }
    let (mut floods, mut remote) = (false, None);
    for (kind, value) in attributes(body.get(NDMSG..)?) {
        match kind {
            libc::NDA_LLADDR => floods = value == [0; 6],
            libc::NDA_DST => remote = ip(value),
            _ => {}
        }
    }
    remote.filter(|_| floods)
}

impl Link {
    /// VXLAN: also sends to this host what is not for one known host (`bridge fdb append 00:00:00:00:00:00`).
    pub fn flood_to(&self, remote: IpAddr) -> Request<Rtnetlink> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = self.index;
        message.header.state = NeighbourState::Permanent;
        message.header.flags = NeighbourFlags::Own;
        message.attributes = vec![
            NeighbourAttribute::LinkLayerAddress(vec![0; 6]),
            NeighbourAttribute::Destination(match remote {
                IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
                IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
            }),
        ];
        let doing = format!("make {} send to {remote}", self.name);
        Request::new(doing, libc::RTM_NEWNEIGH, &message)
            .with(NLM_F_CREATE | NLM_F_APPEND)
            .tolerate(libc::EEXIST)
    }
}
