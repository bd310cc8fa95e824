//! VLAN links: tagged traffic of another link (IEEE 802.1Q, 802.1ad).

use core::fmt;
use std::os::fd::AsRawFd;

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, VlanFlags, VlanProtocol,
    VlanQosMapping,
};

use super::Rtnl;
use super::error::Error;
use super::frame::{attributes, number};
use super::link::Link;
use crate::addr::Mac;
use crate::ident::{IfName, Invalid};
use crate::netns::Netns;

/// Which Ethernet type the tag has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// `802.1Q`: 0x8100, the customer's tag.
    #[default]
    Dot1Q,
    /// `802.1ad`: 0x88a8, the service provider's tag, outside of another.
    Dot1Ad,
}

impl Protocol {
    /// Reads it as ip-link(8) writes it, in any case.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        [Self::Dot1Q, Self::Dot1Ad]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Invalid {
                reason: format!("{text:?} must be \"802.1Q\" or \"802.1ad\""),
            })
    }

    /// As ip-link(8) writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dot1Q => "802.1Q",
            Self::Dot1Ad => "802.1ad",
        }
    }

    pub(super) fn to_kernel(self) -> VlanProtocol {
        match self {
            Self::Dot1Q => VlanProtocol::Ieee8021Q,
            Self::Dot1Ad => VlanProtocol::Ieee8021Ad,
        }
    }

    pub(super) fn from_kernel(ethertype: &[u8]) -> Self {
        if ethertype == [0x88, 0xa8] {
            Self::Dot1Ad
        } else {
            Self::Dot1Q
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mapping of priorities: from, to.
pub type QosMap = Vec<(u32, u32)>;

/// What can be chosen about a VLAN link; what is `None` or empty is left to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// `reorder_hdr`: whether frames are shown to the link's users without their tag.
    pub reorder_header: Option<bool>,
    /// `gvrp`: whether the VLAN is registered by the GARP VLAN Registration Protocol.
    pub gvrp: Option<bool>,
    /// `mvrp`: whether the VLAN is registered by the Multiple VLAN Registration Protocol.
    pub mvrp: Option<bool>,
    /// `loose_binding`: whether the link stays up when the one below it goes down.
    pub loose_binding: Option<bool>,
    /// `ingress-qos-map`: from the tag's priority to the packet's.
    pub ingress: QosMap,
    /// `egress-qos-map`: from the packet's priority to the tag's.
    pub egress: QosMap,
}

impl Options {
    /// The flags with the names that ip-link(8) has for them.
    pub fn flags(&self) -> [(&'static str, Option<bool>); 4] {
        [
            ("reorder_hdr", self.reorder_header),
            ("gvrp", self.gvrp),
            ("mvrp", self.mvrp),
            ("loose_binding", self.loose_binding),
        ]
    }

    /// The first choice that another link's options do not fulfil: its name, what is wanted and what is there.
    ///
    /// A map is fulfilled when each of its mappings is there.
    pub fn unfulfilled_by(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let on = |flag: bool| String::from(if flag { "on" } else { "off" });
        for ((name, wanted), (_, found)) in self.flags().into_iter().zip(other.flags()) {
            let found = found.unwrap_or_default();
            if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
                return Some((name, on(wanted), on(found)));
            }
        }
        let maps = [
            ("ingress-qos-map", &self.ingress, &other.ingress),
            ("egress-qos-map", &self.egress, &other.egress),
        ];
        maps.into_iter().find_map(|(name, wanted, found)| {
            // What is not mapped has the priority 0, and a kernel need not list it.
            let fulfilled = |pair: &(u32, u32)| {
                found.contains(pair)
                    || (pair.1 == 0 && found.iter().all(|(from, _)| *from != pair.0))
            };
            (!wanted.iter().all(fulfilled)).then(|| (name, shown(wanted), shown(found)))
        })
    }

    fn to_kernel(&self) -> Vec<InfoVlan> {
        let bits = [
            VlanFlags::ReorderHdr,
            VlanFlags::Gvrp,
            VlanFlags::Mvrp,
            VlanFlags::LooseBinding,
        ];
        let (mut values, mut mask) = (VlanFlags::empty(), VlanFlags::empty());
        for (bit, (_, wanted)) in bits.into_iter().zip(self.flags()) {
            let Some(on) = wanted else { continue };
            mask |= bit;
            values.set(bit, on);
        }
        let map = |map: &QosMap| {
            let pairs = map.iter();
            pairs
                .map(|(from, to)| VlanQosMapping::Mapping(*from, *to))
                .collect::<Vec<_>>()
        };
        let mut data = Vec::new();
        if !mask.is_empty() {
            data.push(InfoVlan::Flags((values, mask)));
        }
        if !self.ingress.is_empty() {
            data.push(InfoVlan::IngressQos(map(&self.ingress)));
        }
        if !self.egress.is_empty() {
            data.push(InfoVlan::EgressQos(map(&self.egress)));
        }
        data
    }
}

/// What makes a link a VLAN link.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Vlan {
    /// The VLAN id (`IFLA_VLAN_ID`).
    pub id: u16,
    /// The tag's Ethernet type (`IFLA_VLAN_PROTOCOL`).
    pub protocol: Protocol,
    /// Flags and maps; every flag is `Some`.
    pub options: Options,
}

impl Vlan {
    /// Reads an `IFLA_INFO_DATA` (`IFLA_VLAN_*`, `linux/if_link.h`).
    pub(super) fn decode(data: &[u8]) -> Self {
        const ID: u16 = 1;
        const FLAGS: u16 = 2;
        const EGRESS_QOS: u16 = 3;
        const INGRESS_QOS: u16 = 4;
        const PROTOCOL: u16 = 5;
        let mut vlan = Self::default();
        for (kind, value) in attributes(data) {
            match kind {
                ID => vlan.id = value.first_chunk().map_or(0, |id| u16::from_ne_bytes(*id)),
                FLAGS => vlan.options.decode_flags(number(value).unwrap_or_default()),
                EGRESS_QOS => vlan.options.egress = decode_map(value),
                INGRESS_QOS => vlan.options.ingress = decode_map(value),
                PROTOCOL => vlan.protocol = Protocol::from_kernel(value),
                _ => {}
            }
        }
        vlan
    }
}

impl Options {
    fn decode_flags(&mut self, bits: u32) {
        let has = |flag: VlanFlags| Some(bits & flag.bits() != 0);
        self.reorder_header = has(VlanFlags::ReorderHdr);
        self.gvrp = has(VlanFlags::Gvrp);
        self.mvrp = has(VlanFlags::Mvrp);
        self.loose_binding = has(VlanFlags::LooseBinding);
    }
}

/// As ip-link(8) shows a map.
fn shown(map: &QosMap) -> String {
    if map.is_empty() {
        return String::from("none");
    }
    let pairs: Vec<String> = map
        .iter()
        .map(|(from, to)| format!("{from}:{to}"))
        .collect();
    pairs.join(" ")
}

fn decode_map(map: &[u8]) -> QosMap {
    let pairs = attributes(map);
    pairs
        .filter_map(|(_, pair)| Some((number(pair)?, number(pair.get(4..)?)?)))
        .collect()
}

/// A VLAN link to make, down, in one message.
#[derive(Clone, Copy, Debug)]
pub struct NewVlan<'a> {
    /// The name.
    pub name: &'a IfName,
    /// The link whose tagged traffic it gets, of the connection's namespace.
    pub master: &'a Link,
    /// The VLAN id.
    pub id: u16,
    /// The tag's Ethernet type.
    pub protocol: Protocol,
    /// Flags and maps.
    pub options: &'a Options,
    /// The Ethernet address; `None` for the one of the link below.
    pub mac: Option<Mac>,
    /// The MTU in bytes; `None` for the one of the link below.
    pub mtu: Option<u32>,
    /// The namespace it appears in; `None` for the connection's.
    pub netns: Option<&'a Netns>,
}

impl Rtnl {
    /// Adds a VLAN link.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken, or the link below has one of this id and protocol, in whatever namespace.
    pub fn add_vlan(&mut self, vlan: &NewVlan<'_>) -> Result<(), Error> {
        let mut data = vec![
            InfoVlan::Protocol(vlan.protocol.to_kernel()),
            InfoVlan::Id(vlan.id),
        ];
        data.extend(vlan.options.to_kernel());
        let info = vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(data)),
        ];
        let message = upper(vlan.name, vlan.master, vlan.mac, vlan.mtu, vlan.netns, info);
        let doing = format!(
            "create vlan {} ({} id {} on {})",
            vlan.name, vlan.protocol, vlan.id, vlan.master.name
        );
        self.add_link(doing, &message)
    }

    /// Lists the VLAN links of the namespace.
    pub fn vlans(&mut self) -> Result<Vec<Link>, Error> {
        let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]);
        let links = self.list_links(vec![kind])?;
        // Kernels before 4.6 do not filter.
        Ok(links.into_iter().filter(Link::is_vlan).collect())
    }
}

/// The message that makes a link on top of another.
pub(super) fn upper(
    name: &IfName,
    below: &Link,
    mac: Option<Mac>,
    mtu: Option<u32>,
    netns: Option<&Netns>,
    info: Vec<LinkInfo>,
) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.as_str().to_owned()),
        LinkAttribute::Link(below.index),
    ];
    let mac = mac.map(|mac| LinkAttribute::Address(mac.0.to_vec()));
    message.attributes.extend(mac);
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    let netns = netns.map(|netns| LinkAttribute::NetNsFd(netns.as_raw_fd()));
    message.attributes.extend(netns);
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_read_in_any_case() {
        assert_eq!(Protocol::parse("802.1q").unwrap(), Protocol::Dot1Q);
        assert_eq!(Protocol::parse("802.1AD").unwrap(), Protocol::Dot1Ad);
        let refused = Protocol::parse("qinq").unwrap_err().reason;
        assert!(refused.contains("\"802.1ad\""), "{refused}");
    }

    #[test]
    fn a_choice_that_is_not_fulfilled_is_named() {
        let found = Options {
            reorder_header: Some(true),
            gvrp: Some(false),
            ..Options::default()
        };
        assert_eq!(Options::default().unfulfilled_by(&found), None);
        let wanted = Options {
            gvrp: Some(true),
            ..Options::default()
        };
        let (name, want, have) = wanted.unfulfilled_by(&found).unwrap();
        assert_eq!((name, want.as_str(), have.as_str()), ("gvrp", "on", "off"));
        let wanted = Options {
            egress: vec![(1, 5)],
            ..Options::default()
        };
        assert_eq!(wanted.unfulfilled_by(&found).unwrap().0, "egress-qos-map");
    }
}
