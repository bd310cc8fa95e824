//! What is to be in the kernel: the table, and one port's part in its sets.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use cni_common::addr::{Cidr, Family, Mac};
use cni_common::ident::{IfName, NetworkName};
use cni_common::nft::{
    BaseChain, ChainKind, Element, EtherType, Field, Hook, Is, Key, KeyKind, Place, Set, Statement,
    Table, TableFamily,
};
use cni_common::owner::{Owner, Tag};

/// Ahead of what else the host does with bridged frames.
pub(super) const CHAIN: BaseChain = BaseChain {
    name: "spoof",
    kind: ChainKind::Filter,
    hook: Hook::Prerouting,
    priority: -300,
};

/// The guarded ports.
pub(super) const GUARDED: &str = "guarded";
/// Those of them whose IP addresses are guarded as well.
const GUARDED_IP: &str = "guarded-ip";
const MACS: &str = "mac";
const IPV4: &str = "ipv4";
const IPV6: &str = "ipv6";

/// Types of `ICMPv6` messages (RFC 4861 section 4, RFC 3810 section 5.2).
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const MULTICAST_REPORT: u8 = 143;

/// The table.
pub(super) fn table() -> Table {
    Table::new(TableFamily::Bridge, "plumb")
}

/// The sets, with their names.
pub(super) fn sets() -> impl Iterator<Item = (&'static str, Set)> {
    [
        (GUARDED, KeyKind::Interface, "ports that are guarded"),
        (
            GUARDED_IP,
            KeyKind::Interface,
            "those whose IP addresses are guarded too",
        ),
        (MACS, KeyKind::InterfaceMac, "what a port may send as"),
        (
            IPV4,
            KeyKind::InterfaceAddress(Family::V4),
            "what a port may send as",
        ),
        (
            IPV6,
            KeyKind::InterfaceAddress(Family::V6),
            "what a port may send as",
        ),
    ]
    .into_iter()
    .map(|(name, keys, comment)| {
        let set = Set {
            table: table(),
            name: name.to_owned(),
            keys,
            data: None,
            counter: false,
            comment: comment.to_owned(),
        };
        (name, set)
    })
}

/// The rules in their order.
pub(super) fn rules() -> Vec<Vec<Statement>> {
    let from = |is, field, set: &str| Statement::InInterfaceSet(is, Some(field), set.to_owned());
    let port = |set: &str| Statement::InInterfaceSet(Is::Not, None, set.to_owned());
    let carries = |kind| Statement::EtherType(Is::Equal, kind);
    let others = |kind| Statement::EtherType(Is::Not, kind);
    let (v4, v6) = (EtherType::Ip(Family::V4), EtherType::Ip(Family::V6));
    let source = |ip: IpAddr| Statement::Source(Is::Equal, Place::Net(Cidr::host(ip)));
    let nobody4 = source(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let nobody6 = source(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let broadcast = Place::Net(Cidr::host(IpAddr::V4(Ipv4Addr::BROADCAST)));
    let without_address = |kind| {
        vec![
            carries(v6),
            nobody6.clone(),
            Statement::Icmpv6Type(kind),
            Statement::Accept,
        ]
    };
    vec![
        vec![port(GUARDED), Statement::Accept],
        vec![from(Is::Not, Field::SourceMac, MACS), Statement::Drop],
        vec![port(GUARDED_IP), Statement::Accept],
        vec![
            carries(EtherType::Arp),
            from(Is::Not, Field::ArpSenderMac, MACS),
            Statement::Drop,
        ],
        // A probe names no sender (RFC 5227, 2.1.1).
        vec![
            carries(EtherType::Arp),
            Statement::ArpSender(Is::Not, Ipv4Addr::UNSPECIFIED),
            from(Is::Not, Field::ArpSender, IPV4),
            Statement::Drop,
        ],
        // A DHCP client has no address yet (RFC 2131, 4.1).
        vec![
            carries(v4),
            nobody4,
            Statement::Destination(Is::Equal, broadcast),
            Statement::UdpPorts(68, 67),
            Statement::Accept,
        ],
        vec![
            carries(v4),
            from(Is::Not, Field::Source(Family::V4), IPV4),
            Statement::Drop,
        ],
        // Duplicate address detection, for its own addresses (RFC 4862, 5.4.2).
        vec![
            carries(v6),
            nobody6.clone(),
            Statement::Icmpv6Type(NEIGHBOUR_SOLICITATION),
            from(Is::Equal, Field::NeighbourTarget, IPV6),
            Statement::Accept,
        ],
        without_address(ROUTER_SOLICITATION),
        without_address(MULTICAST_REPORT),
        vec![
            carries(v6),
            from(Is::Not, Field::Source(Family::V6), IPV6),
            Statement::Drop,
        ],
        vec![
            carries(v6),
            Statement::Icmpv6Type(NEIGHBOUR_ADVERTISEMENT),
            from(Is::Not, Field::NeighbourTarget, IPV6),
            Statement::Drop,
        ],
        // Whatever else could carry IP: frames with two VLAN tags, tunnels.
        vec![
            others(v4),
            others(v6),
            others(EtherType::Arp),
            Statement::Drop,
        ],
    ]
}

/// What a port may send as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The port.
    pub(crate) port: IfName,
    /// The container's Ethernet address.
    pub(crate) mac: Mac,
    /// Its addresses, where they are guarded as well.
    pub(crate) addresses: Option<Vec<IpAddr>>,
}

impl Guard {
    /// The elements, with the set that each belongs to.
    pub(super) fn elements(&self) -> Vec<(&'static str, Key)> {
        let port = || self.port.clone();
        let mut elements = vec![
            (MACS, Key::InterfaceMac(port(), self.mac)),
            (GUARDED, Key::Interface(port())),
        ];
        let Some(addresses) = &self.addresses else {
            return elements;
        };
        let own = addresses.iter().copied().chain([link_local(self.mac)]);
        let own: BTreeSet<IpAddr> = own.collect();
        elements.extend(own.into_iter().map(|ip| {
            let set = match Family::of(ip) {
                Family::V4 => IPV4,
                Family::V6 => IPV6,
            };
            (set, Key::InterfaceAddress(port(), ip))
        }));
        elements.push((GUARDED_IP, Key::Interface(port())));
        elements
    }
}

/// The link-local address that a kernel makes from an Ethernet address (RFC 4291, appendix A).
pub(crate) fn link_local(mac: Mac) -> IpAddr {
    let mut octets = [0; 8];
    let [left, right] = [mac.0.first_chunk::<3>(), mac.0.last_chunk::<3>()];
    let places = left
        .into_iter()
        .flatten()
        .chain(&[0xff, 0xfe])
        .chain(right.into_iter().flatten());
    for (octet, value) in octets.iter_mut().zip(places) {
        *octet = *value;
    }
    // The bit that says whether the address is local is the other way round.
    let host = u128::from(u64::from_be_bytes(octets) ^ 2 << 56);
    IpAddr::V6(Ipv6Addr::from_bits(0xfe80 << 112 | host))
}

/// Whose elements go.
pub(crate) enum Leaving<'a> {
    /// One owner's, which are probably these.
    Of(&'a Owner, Option<&'a Guard>),
    /// Those of a network whose owners are not among these.
    Stale(&'a NetworkName, &'a BTreeSet<u64>),
    /// Those of a port that are not this owner's, who has it now.
    Earlier(&'a Owner, &'a IfName),
}

impl Leaving<'_> {
    pub(super) fn includes(&self, element: &Element) -> bool {
        let Some(tag) = element.comment.as_deref().and_then(Tag::parse) else {
            return false;
        };
        match self {
            Self::Of(owner, _) => tag.hash == owner.hash(),
            Self::Stale(network, valid) => tag.is_of(network) && !valid.contains(&tag.hash),
            Self::Earlier(owner, port) => {
                tag.hash != owner.hash() && element.key.interface() == Some(*port)
            }
        }
    }

    pub(super) fn probably(&self) -> Option<Vec<(&'static str, Key)>> {
        match self {
            Self::Of(_, Some(guard)) => Some(guard.elements()),
            Self::Of(_, None) | Self::Stale(..) | Self::Earlier(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_the_kernels() {
        let mac = Mac([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);
        assert_eq!(link_local(mac).to_string(), "fe80::11:22ff:fe33:4455");
    }

    #[test]
    fn a_guarded_port_has_an_element_for_each_of_its_addresses() {
        let guard = Guard {
            port: IfName::parse("veth1").unwrap(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: None,
        };
        let shown = |guard: &Guard| -> Vec<String> {
            let elements = guard.elements().into_iter();
            elements.map(|(set, key)| format!("{set} {key}")).collect()
        };
        let macs = ["mac \"veth1\" . 02:00:00:00:00:01", "guarded \"veth1\""];
        assert_eq!(shown(&guard), macs);
        let guard = Guard {
            addresses: Some(vec![
                "10.0.0.2".parse().unwrap(),
                "fd00::2".parse().unwrap(),
            ]),
            ..guard
        };
        let all = [
            macs[0],
            macs[1],
            "ipv4 \"veth1\" . 10.0.0.2",
            "ipv6 \"veth1\" . fd00::2",
            "ipv6 \"veth1\" . fe80::ff:fe00:1",
            "guarded-ip \"veth1\"",
        ];
        assert_eq!(shown(&guard), all);
    }
}
