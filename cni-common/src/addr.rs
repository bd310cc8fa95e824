//! Addresses as configurations write them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use ipnetwork::IpNetwork;

use crate::ident::Invalid;

/// An address with its prefix length; host bits are kept, an IPv4 address mapped into IPv6 is folded to IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The prefix length of a single address: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// `0.0.0.0/0` or `::/0`.
    pub fn default_route(self) -> Cidr {
        let address = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Cidr { address, prefix: 0 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Parses a bare address; an IPv4 address mapped into IPv6 is folded to IPv4.
pub fn parse_ip(text: &str) -> Result<IpAddr, Invalid> {
    text.parse::<IpAddr>()
        .map(|ip| ip.to_canonical())
        .map_err(|_| Invalid {
            reason: format!("{text:?} is not an IPv4 or IPv6 address"),
        })
}

impl Cidr {
    /// An address with a prefix length, or `None` when the prefix is too long for the family.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= Family::of(address).bits()).then_some(Self { address, prefix })
    }

    /// The address alone, as a /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix: Family::of(address).bits(),
        }
    }

    /// The address, host bits included.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The family.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Whether it is `0.0.0.0/0` or `::/0`.
    pub fn is_default_route(self) -> bool {
        self.prefix == 0
    }

    /// The subnet: the same prefix with the host bits cleared.
    #[must_use]
    pub fn network(self) -> Self {
        let address = IpNetwork::new(self.address, self.prefix)
            .map_or(self.address, |network| network.network());
        Self {
            address,
            prefix: self.prefix,
        }
    }

    /// The first address after the network address: where a gateway sits by convention. `None` when the
    /// subnet has no such address (a /32 or /128).
    pub fn first_host(self) -> Option<IpAddr> {
        if self.prefix >= self.family().bits() {
            return None;
        }
        match self.network().address {
            IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|n| IpAddr::V4(n.into())),
            IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|n| IpAddr::V6(n.into())),
        }
    }

    /// The broadcast address of an IPv4 subnet that has one (prefix below 31).
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match (self.address, IpNetwork::new(self.address, self.prefix)) {
            (IpAddr::V4(_), Ok(IpNetwork::V4(network))) if self.prefix < 31 => {
                Some(network.broadcast())
            }
            _ => None,
        }
    }

    /// Why no interface can have this address, to complete the sentence `10.0.0.255/24 …`; `None` when one can.
    pub fn unusable(self) -> Option<&'static str> {
        if self.address.is_unspecified() {
            return Some("is the unspecified address");
        }
        if self.address.is_multicast() {
            return Some("is a multicast address");
        }
        if self.address.is_loopback() {
            return Some("is a loopback address");
        }
        let broadcast = self.broadcast().map(IpAddr::V4);
        (broadcast == Some(self.address)).then_some("is the broadcast address of its subnet")
    }

    /// Whether the subnet holds `address`.
    pub fn contains(self, address: IpAddr) -> bool {
        IpNetwork::new(self.address, self.prefix).is_ok_and(|network| network.contains(address))
    }

    /// Whether the two subnets share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = Invalid;

    /// Parses `ADDRESS/PREFIX`; the prefix length is mandatory.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid {
            reason: format!("{text:?} is not an address with a prefix length, such as 10.1.2.3/24"),
        };
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let written: IpAddr = address.parse().map_err(|_| invalid())?;
        let length: u8 = prefix.parse().map_err(|_| invalid())?;
        let folded = written.to_canonical();
        let length = if folded == written {
            length
        } else {
            // `::ffff:10.0.0.1/120` means 10.0.0.1/24.
            length.checked_sub(96).ok_or_else(invalid)?
        };
        Self::new(folded, length).ok_or_else(invalid)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it can be the address of a link: not multicast, not all zeros.
    pub fn is_usable(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }

    /// A locally administered unicast address made from six bytes of a hash.
    pub fn local_from(bytes: [u8; 6]) -> Self {
        let mut bytes = bytes;
        let [first, ..] = &mut bytes;
        *first = *first & 0xfc | 0x02;
        Self(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = Invalid;

    /// Parses six hexadecimal bytes separated by ':' or '-'.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid {
            reason: format!("{text:?} is not a MAC address, such as 02:00:00:00:00:01"),
        };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(invalid)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_kept_and_the_network_clears_them() {
        let address = cidr("10.1.2.3/24");
        assert_eq!(address.to_string(), "10.1.2.3/24");
        assert_eq!(address.network().to_string(), "10.1.2.0/24");
        assert_eq!(cidr("fd00::7/64").network().to_string(), "fd00::/64");
    }

    #[test]
    fn ipv4_mapped_into_ipv6_is_folded() {
        assert_eq!(cidr("::ffff:10.0.0.1/120"), cidr("10.0.0.1/24"));
        assert!("::ffff:10.0.0.1/64".parse::<Cidr>().is_err());
    }

    #[test]
    fn a_prefix_length_is_mandatory_and_bounded() {
        for bad in [
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/33",
            "fd00::/129",
            "x/24",
            "10.0.0.1/+4",
            "",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_host_of_a_subnet() {
        assert_eq!(
            cidr("10.1.2.3/24").first_host(),
            Some("10.1.2.1".parse().unwrap())
        );
        assert_eq!(
            cidr("fd00::9/64").first_host(),
            Some("fd00::1".parse().unwrap())
        );
        assert_eq!(cidr("10.1.2.3/32").first_host(), None);
    }

    #[test]
    fn broadcast_exists_only_below_31() {
        assert_eq!(
            cidr("10.1.2.3/24").broadcast(),
            Some(Ipv4Addr::new(10, 1, 2, 255))
        );
        assert_eq!(cidr("10.1.2.3/31").broadcast(), None);
        assert_eq!(cidr("fd00::1/64").broadcast(), None);
    }

    #[test]
    fn mac_addresses_parse_and_print() {
        let mac: Mac = "02:00:5E:00:00:0f".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:00:00:0f");
        for bad in [
            "",
            "zz",
            "02:00:5e:00:00",
            "02:00:5e:00:00:0f:00",
            "2:0:5e:0:0:f",
            "02:00:5e:00:00:0g",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad:?}");
        }
        assert!(!Mac([1, 0, 0, 0, 0, 1]).is_usable());
    }
}
