//! What the elements of a set are.

use core::fmt;
use core::net::IpAddr;

use crate::addr::{Family, Mac};
use crate::ident::IfName;
use crate::nft::statement::transport;

/// What kind of elements a set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `type ipv4_addr` or `type ipv6_addr`.
    Address(Family),
    /// `type ifname`.
    Interface,
    /// `type ifname . ether_addr`.
    InterfaceMac,
    /// `type ifname . ipv4_addr` or `type ifname . ipv6_addr`.
    InterfaceAddress(Family),
    /// `type inet_proto . inet_service`.
    Port,
    /// `type ipv4_addr . inet_proto . inet_service`, or with `ipv6_addr`.
    AddressPort(Family),
    /// `type ipv4_addr . inet_service`, or with `ipv6_addr`: what NAT translates to.
    Target(Family),
}

/// An element's key, or what a map has for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An address.
    Address(IpAddr),
    /// An interface.
    Interface(IfName),
    /// An interface and an Ethernet address.
    InterfaceMac(IfName, Mac),
    /// An interface and an address.
    InterfaceAddress(IfName, IpAddr),
    /// A transport protocol (`IPPROTO_*`) and a port.
    Port(u8, u16),
    /// An address, a transport protocol and a port.
    AddressPort(IpAddr, u8, u16),
    /// An address and a port.
    Target(IpAddr, u16),
}

/// `IFNAMSIZ` (linux/if.h).
pub(super) const IFNAMSIZ: usize = 16;

impl KeyKind {
    const ALL: [Self; 11] = [
        Self::Address(Family::V4),
        Self::Address(Family::V6),
        Self::Interface,
        Self::InterfaceMac,
        Self::InterfaceAddress(Family::V4),
        Self::InterfaceAddress(Family::V6),
        Self::Port,
        Self::AddressPort(Family::V4),
        Self::AddressPort(Family::V6),
        Self::Target(Family::V4),
        Self::Target(Family::V6),
    ];

    /// How nft(8) prints it: the numbers of `enum datatypes` of libnftables (include/datatype.h), six bits for each
    /// part of a concatenation.
    pub(super) fn number(self) -> u32 {
        const IPADDR: u32 = 7;
        const IP6ADDR: u32 = 8;
        const ETHERADDR: u32 = 9;
        const INET_PROTO: u32 = 12;
        const INET_SERVICE: u32 = 13;
        const IFNAME: u32 = 41;
        let address = |family| match family {
            Family::V4 => IPADDR,
            Family::V6 => IP6ADDR,
        };
        match self {
            Self::Address(family) => address(family),
            Self::Interface => IFNAME,
            Self::InterfaceMac => IFNAME << 6 | ETHERADDR,
            Self::InterfaceAddress(family) => IFNAME << 6 | address(family),
            Self::Port => INET_PROTO << 6 | INET_SERVICE,
            Self::AddressPort(family) => address(family) << 12 | INET_PROTO << 6 | INET_SERVICE,
            Self::Target(family) => address(family) << 6 | INET_SERVICE,
        }
    }

    pub(super) fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The length of a key in bytes: each part fills words of four.
    pub(super) fn length(self) -> u32 {
        match self {
            Self::Address(family) => u32::from(family.bits() / 8),
            Self::Interface => 16,
            Self::InterfaceMac => 24,
            Self::InterfaceAddress(family) => 16 + u32::from(family.bits() / 8),
            Self::Port => 8,
            Self::AddressPort(family) => 8 + u32::from(family.bits() / 8),
            Self::Target(family) => 4 + u32::from(family.bits() / 8),
        }
    }

    /// `BYTEORDER_*` of libnftables (include/datatype.h).
    pub(super) fn byte_order(self) -> u32 {
        match self {
            Self::Address(_) => 2,
            Self::Interface => 1,
            Self::InterfaceMac
            | Self::InterfaceAddress(_)
            | Self::Port
            | Self::AddressPort(_)
            | Self::Target(_) => 0,
        }
    }

    /// Reads a key.
    pub(super) fn read(self, bytes: &[u8]) -> Option<Key> {
        if u32::try_from(bytes.len()) != Ok(self.length()) {
            return None;
        }
        match self {
            Self::Address(family) => address(family, bytes).map(Key::Address),
            Self::Interface => interface(bytes).map(Key::Interface),
            Self::InterfaceMac => {
                let (name, mac) = bytes.split_at_checked(IFNAMSIZ)?;
                let [mac @ .., 0, 0] = <[u8; 8]>::try_from(mac).ok()? else {
                    return None;
                };
                Some(Key::InterfaceMac(interface(name)?, Mac(mac)))
            }
            Self::InterfaceAddress(family) => {
                let (name, ip) = bytes.split_at_checked(IFNAMSIZ)?;
                Some(Key::InterfaceAddress(
                    interface(name)?,
                    address(family, ip)?,
                ))
            }
            Self::Port => {
                let (protocol, number) = port(bytes)?;
                Some(Key::Port(protocol, number))
            }
            Self::AddressPort(family) => {
                let (ip, rest) = bytes.split_at_checked(usize::from(family.bits() / 8))?;
                let (protocol, number) = port(rest)?;
                Some(Key::AddressPort(address(family, ip)?, protocol, number))
            }
            Self::Target(family) => {
                let (ip, rest) = bytes.split_at_checked(usize::from(family.bits() / 8))?;
                Some(Key::Target(address(family, ip)?, service(rest)?))
            }
        }
    }
}

impl Key {
    /// The kind of set it belongs into.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Address(ip) => KeyKind::Address(Family::of(*ip)),
            Self::Interface(_) => KeyKind::Interface,
            Self::InterfaceMac(..) => KeyKind::InterfaceMac,
            Self::InterfaceAddress(_, ip) => KeyKind::InterfaceAddress(Family::of(*ip)),
            Self::Port(..) => KeyKind::Port,
            Self::AddressPort(ip, ..) => KeyKind::AddressPort(Family::of(*ip)),
            Self::Target(ip, _) => KeyKind::Target(Family::of(*ip)),
        }
    }

    /// The address, if it has one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(ip)
            | Self::InterfaceAddress(_, ip)
            | Self::AddressPort(ip, ..)
            | Self::Target(ip, _) => Some(*ip),
            Self::Interface(_) | Self::InterfaceMac(..) | Self::Port(..) => None,
        }
    }

    /// The interface, if it has one.
    pub fn interface(&self) -> Option<&IfName> {
        match self {
            Self::Interface(name)
            | Self::InterfaceMac(name, _)
            | Self::InterfaceAddress(name, _) => Some(name),
            Self::Address(_) | Self::Port(..) | Self::AddressPort(..) | Self::Target(..) => None,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Address(ip) => octets(*ip),
            Self::Interface(name) => name_bytes(name),
            Self::InterfaceMac(name, mac) => {
                let mut bytes = name_bytes(name);
                bytes.extend(mac.0);
                bytes.extend([0, 0]);
                bytes
            }
            Self::InterfaceAddress(name, ip) => {
                let mut bytes = name_bytes(name);
                bytes.extend(octets(*ip));
                bytes
            }
            Self::Port(protocol, number) => port_bytes(*protocol, *number).to_vec(),
            Self::AddressPort(ip, protocol, number) => {
                let mut bytes = octets(*ip);
                bytes.extend(port_bytes(*protocol, *number));
                bytes
            }
            Self::Target(ip, number) => {
                let mut bytes = octets(*ip);
                bytes.extend(number.to_be_bytes());
                bytes.extend([0, 0]);
                bytes
            }
        }
    }
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => write!(f, "{ip}"),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::InterfaceMac(name, mac) => write!(f, "\"{name}\" . {mac}"),
            Self::InterfaceAddress(name, ip) => write!(f, "\"{name}\" . {ip}"),
            Self::Port(protocol, number) => write!(f, "{} . {number}", transport(*protocol)),
            Self::AddressPort(ip, protocol, number) => {
                write!(f, "{ip} . {} . {number}", transport(*protocol))
            }
            Self::Target(ip, number) => write!(f, "{ip} . {number}"),
        }
    }
}

fn port_bytes(protocol: u8, number: u16) -> [u8; 8] {
    let [high, low] = number.to_be_bytes();
    [protocol, 0, 0, 0, high, low, 0, 0]
}

fn port(bytes: &[u8]) -> Option<(u8, u16)> {
    match bytes {
        [protocol, 0, 0, 0, number @ ..] => Some((*protocol, service(number)?)),
        _ => None,
    }
}

fn service(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [high, low, 0, 0] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn name_bytes(name: &IfName) -> Vec<u8> {
    let mut bytes = name.as_str().as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

fn address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        Family::V4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        Family::V6 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

fn interface(bytes: &[u8]) -> Option<IfName> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    IfName::parse(core::str::from_utf8(bytes.get(..end)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sent_as_nft_sends_them_and_come_back() {
        // nft add element bridge plumb mac { veth0 . 02:00:00:00:00:01 } (nft 1.0.6, by strace)
        let golden = b"veth0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\x01\0\0";
        let name = IfName::parse("veth0").unwrap();
        let mac = Key::InterfaceMac(name.clone(), Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(mac.bytes(), golden);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for key in [
            mac,
            Key::Interface(name.clone()),
            Key::Address(address("10.0.0.1")),
            Key::Address(address("fd00::1")),
            Key::InterfaceAddress(name.clone(), address("10.0.0.1")),
            Key::InterfaceAddress(name, address("fd00::1")),
            Key::Port(6, 8080),
            Key::AddressPort(address("10.0.0.1"), 17, 53),
            Key::AddressPort(address("fd00::1"), 132, 1),
            Key::Target(address("10.0.0.1"), 80),
            Key::Target(address("fd00::1"), 80),
        ] {
            let kind = key.kind();
            let bytes = key.bytes();
            assert_eq!(u32::try_from(bytes.len()), Ok(kind.length()), "{key}");
            assert_eq!(kind.read(&bytes).as_ref(), Some(&key));
            assert_eq!(KeyKind::of_number(kind.number()), Some(kind));
            for cut in 0..bytes.len() {
                assert_ne!(kind.read(&bytes[..cut]).as_ref(), Some(&key), "{key} {cut}");
            }
        }
    }

    #[test]
    fn a_concatenation_has_the_number_that_nft_gives_it() {
        // set mac { type ifname . ether_addr; } (nft 1.0.6, by strace)
        assert_eq!(KeyKind::InterfaceMac.number(), 0x0a49);
        assert_eq!(KeyKind::InterfaceAddress(Family::V6).number(), 0x0a48);
    }
}
