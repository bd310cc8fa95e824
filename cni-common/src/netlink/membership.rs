//! Which VLANs a bridge's port belongs to (`bridge vlan`).

use core::fmt;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask, LinkMessage,
};

use super::error::Error;
use super::frame::attributes;
use super::link::Link;
use super::request::Request;
use super::{Rtnetlink, Rtnl};

/// VLANs with the same flags, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vlans {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// Whether untagged frames that come in by the port belong to it.
    pub pvid: bool,
    /// Whether its frames leave the port without a tag.
    pub untagged: bool,
}

impl Vlans {
    /// One that belongs to untagged frames, in both directions.
    pub fn untagged(id: u16) -> Self {
        Self {
            first: id,
            last: id,
            pvid: true,
            untagged: true,
        }
    }

    /// Those whose frames are tagged.
    pub fn tagged(first: u16, last: u16) -> Self {
        Self {
            first,
            last,
            pvid: false,
            untagged: false,
        }
    }

    /// Two entries say where a range begins and where it ends.
    fn infos(self) -> Vec<AfSpecBridge> {
        let mut flags = BridgeVlanInfoFlags::empty();
        flags.set(BridgeVlanInfoFlags::Pvid, self.pvid);
        flags.set(BridgeVlanInfoFlags::Untagged, self.untagged);
        let info = |flags, vid| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
        if self.first == self.last {
            return vec![info(flags, self.first)];
        }
        vec![
            info(flags | BridgeVlanInfoFlags::RangeBegin, self.first),
            info(flags | BridgeVlanInfoFlags::RangeEnd, self.last),
        ]
    }
}

/// As `bridge vlan show` writes it: `7 PVID Egress Untagged`, `10-20`.
impl fmt::Display for Vlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first != self.last {
            write!(f, "-{}", self.last)?;
        }
        if self.pvid {
            f.write_str(" PVID")?;
        }
        if self.untagged {
            f.write_str(" Egress Untagged")?;
        }
        Ok(())
    }
}

impl Link {
    fn vlan_message(&self, vlans: &[Vlans]) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.header.index = self.index;
        let infos = vlans.iter().flat_map(|each| each.infos()).collect();
        message.attributes.push(LinkAttribute::AfSpecBridge(infos));
        message
    }

    /// Makes the port a member of VLANs, all in one message; one that it is a member of gets these flags.
    pub fn add_vlans(&self, vlans: &[Vlans]) -> Request<Rtnetlink> {
        let doing = format!("add port {} to its VLANs", self.name);
        Request::new(doing, libc::RTM_SETLINK, &self.vlan_message(vlans))
    }

    /// Takes the port out of VLANs; those it is no member of are passed over.
    pub fn delete_vlans(&self, vlans: &[Vlans]) -> Request<Rtnetlink> {
        let doing = format!("take port {} out of VLANs", self.name);
        Request::new(doing, libc::RTM_DELLINK, &self.vlan_message(vlans))
    }
}

/// VLANs as a list for people.
pub fn listed(all: &[Vlans]) -> String {
    let list: Vec<String> = all.iter().map(ToString::to_string).collect();
    if list.is_empty() {
        return String::from("none");
    }
    list.join(", ")
}

impl Rtnl {
    /// The VLANs that a port belongs to, in their order, as ranges with the same flags. The cost grows with the
    /// number of ports on the host.
    pub fn vlans_of(&mut self, port: &Link) -> Result<Vec<Vlans>, Error> {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.attributes.push(LinkAttribute::ExtMask(vec![
            LinkExtentMask::BrvlanCompressed,
        ]));
        let doing = format!("list the VLANs of {}", port.name);
        let replies = self.dump(Request::new(doing, libc::RTM_GETLINK, &message))?;
        let of_port = |body: &&Vec<u8>| {
            let index = body.get(4..).and_then(super::frame::number);
            index == Some(port.index)
        };
        Ok(replies
            .iter()
            .map(|reply| &reply.body)
            .filter(of_port)
            .flat_map(|body| decode(body))
            .collect())
    }
}

/// Reads the `IFLA_BRIDGE_VLAN_INFO` of a message (`linux/if_bridge.h`).
fn decode(body: &[u8]) -> Vec<Vlans> {
    const IFINFOMSG: usize = 16;
    const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
    let mut found = Vec::new();
    let mut begin = None;
    let specs = attributes(body.get(IFINFOMSG..).unwrap_or_default())
        .filter(|(kind, _)| *kind == libc::IFLA_AF_SPEC);
    let infos = specs
        .flat_map(|(_, spec)| attributes(spec))
        .filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO);
    for (_, info) in infos {
        let [a, b, c, d] = *info else { continue };
        let flags = BridgeVlanInfoFlags::from_bits_retain(u16::from_ne_bytes([a, b]));
        let vid = u16::from_ne_bytes([c, d]);
        if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
            begin = Some(vid);
            continue;
        }
        found.push(Vlans {
            first: begin.take().unwrap_or(vid),
            last: vid,
            pvid: flags.contains(BridgeVlanInfoFlags::Pvid),
            untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(infos: &[(u16, u16)]) -> Vec<u8> {
        let mut body = vec![0; 16];
        body.extend(u16::try_from(4 + 8 * infos.len()).unwrap().to_ne_bytes());
        body.extend(libc::IFLA_AF_SPEC.to_ne_bytes());
        for (flags, vid) in infos {
            body.extend([8, 0, 2, 0]);
            body.extend(flags.to_ne_bytes());
            body.extend(vid.to_ne_bytes());
        }
        body
    }

    #[test]
    fn ranges_are_read_back_as_ranges() {
        // BRIDGE_VLAN_INFO_PVID | _UNTAGGED; _RANGE_BEGIN; _RANGE_END
        let body = message(&[(6, 7), (8, 10), (16, 4094)]);
        assert_eq!(decode(&body), [Vlans::untagged(7), Vlans::tagged(10, 4094)]);
        for cut in 0..body.len() {
            assert!(decode(&body[..cut]).len() <= 2);
        }
    }

    #[test]
    fn a_range_is_two_entries_and_one_id_is_one() {
        assert_eq!(Vlans::tagged(2, 4094).infos().len(), 2);
        assert_eq!(Vlans::untagged(2).infos().len(), 1);
    }
}
