//! The third word of a line: an address with its prefix length and a gateway, none at all, or DHCP.

use std::net::{IpAddr, Ipv4Addr};

use super::dhcp::{self, Dhcp};
use crate::topology::{Cidr, cidr};

/// Where a guest's address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `0/0`: the interface has none.
    None,
    /// This one, with the gateway of the default route.
    Static {
        address: Cidr,
        gateway: Option<IpAddr>,
    },
    /// A DHCP server's.
    Dhcp(Dhcp),
}

/// `-a`: the address family that the address must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Reads the value of `-a`.
pub(super) fn family(word: &str) -> Result<Family, String> {
    match word {
        "4" => Ok(Family::V4),
        "6" => Ok(Family::V6),
        other => Err(format!("-a: {other:?} must be 4 or 6")),
    }
}

/// Reads the word.
pub(super) fn parse(word: &str, family: Option<Family>) -> Result<Address, String> {
    if let Some(dhcp) = dhcp::parse(word) {
        let dhcp = dhcp?;
        if family == Some(Family::V6) {
            return Err(format!(
                "-a 6: {word} asks for an IPv4 address; DHCP for IPv6 is not there yet"
            ));
        }
        return Ok(Address::Dhcp(dhcp));
    }
    let (address, gateway) = match word.split_once('@') {
        Some((address, gateway)) => (address, gateway.split('@').next().unwrap_or_default()),
        None => (word, ""),
    };
    if !address.contains('/') {
        return Err(format!(
            "The IP address should include a netmask.\nMaybe you meant {address}/24 ?"
        ));
    }
    let address = with_prefix(address)?;
    let gateway = match gateway {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| {
            format!("{text:?}: the gateway must be an address, such as 192.0.2.1 or 2001:db8::1")
        })?),
    };
    if address.address.is_unspecified() && address.prefix == 0 {
        return match gateway {
            None => Ok(Address::None),
            Some(gateway) => Err(format!(
                "{word}: an interface without address cannot reach the gateway {gateway}"
            )),
        };
    }
    if let Some(gateway) = gateway.filter(|gateway| gateway.is_ipv4() != address.address.is_ipv4())
    {
        return Err(format!(
            "{word}: the gateway {gateway} is of another family than the address"
        ));
    }
    if family.is_some_and(|family| (family == Family::V4) != address.address.is_ipv4()) {
        let family = if address.address.is_ipv4() { 6 } else { 4 };
        return Err(format!("-a {family}: {word} is of the other family"));
    }
    Ok(Address::Static { address, gateway })
}

/// An address and its prefix length, in the forms that ip(8) takes: `10.1/16` is 10.1.0.0/16, and the length may be a
/// netmask.
fn with_prefix(text: &str) -> Result<Cidr, String> {
    let refused = |must: String| format!("{text}: {must}");
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    if address.contains(':') {
        return cidr(text).map_err(refused);
    }
    let parts = address.split('.').count();
    let address = format!("{address}{}", ".0".repeat(4usize.saturating_sub(parts)));
    let prefix = match prefix.parse::<Ipv4Addr>() {
        Ok(mask) if u32::from(mask).leading_ones() == u32::from(mask).count_ones() => {
            u32::from(mask).count_ones().to_string()
        }
        Ok(_) | Err(_) => prefix.to_owned(),
    };
    cidr(&format!("{address}/{prefix}")).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> String {
        match parse(word, None) {
            Ok(Address::None) => "none".to_owned(),
            Ok(Address::Static { address, gateway }) => {
                let gateway = gateway.map(|gateway| format!(" via {gateway}"));
                format!("{address}{}", gateway.unwrap_or_default())
            }
            Ok(Address::Dhcp(_)) => "dhcp".to_owned(),
            Err(error) => error,
        }
    }

    #[test]
    fn addresses_are_read_as_ip_reads_them() {
        for (word, expected) in [
            ("192.168.4.25/20", "192.168.4.25/20"),
            (
                "192.168.4.25/20@192.168.4.1",
                "192.168.4.25/20 via 192.168.4.1",
            ),
            ("192.168.4.25/20@", "192.168.4.25/20"),
            (
                "192.168.4.25/20@192.168.4.1@x",
                "192.168.4.25/20 via 192.168.4.1",
            ),
            ("192.0.2.1/255.255.255.0", "192.0.2.1/24"),
            ("10.1/16", "10.1.0.0/16"),
            (
                "2001:db8::beef/64@2001:db8::1",
                "2001:db8::beef/64 via 2001:db8::1",
            ),
            ("0/0", "none"),
            ("0.0.0.0/0", "none"),
            ("::/0", "none"),
            ("dhclient", "dhcp"),
        ] {
            assert_eq!(read(word), expected, "{word}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_what_is_meant() {
        for (word, words) in [
            (
                "192.168.1.2",
                "The IP address should include a netmask.\nMaybe you meant 192.168.1.2/24 ?",
            ),
            (
                "192.168.1.2@192.168.1.1",
                "Maybe you meant 192.168.1.2/24 ?",
            ),
            (
                "10.0.0.1/33",
                "10.0.0.1/33: must be an address with a prefix length",
            ),
            (
                "10.0.0.1/255.0.255.0",
                "must be an address with a prefix length",
            ),
            ("10.0.0.1.5/8", "must be an address"),
            ("10.0.0.1/24@gw", "\"gw\": the gateway must be an address"),
            ("10.0.0.1/24@fe80::1", "another family"),
            ("0/0@10.0.0.1", "without address"),
        ] {
            assert!(read(word).contains(words), "{word}: {}", read(word));
        }
    }

    #[test]
    fn a_family_that_is_given_must_be_the_addresss() {
        assert!(parse("10.0.0.1/8", family("4").ok()).is_ok());
        assert!(parse("fd00::1/8", family("6").ok()).is_ok());
        assert!(
            parse("10.0.0.1/8", Some(Family::V6))
                .unwrap_err()
                .contains("-a 6")
        );
        assert!(
            parse("fd00::1/8", Some(Family::V4))
                .unwrap_err()
                .contains("-a 4")
        );
        assert!(
            parse("dhcp", Some(Family::V6))
                .unwrap_err()
                .contains("-a 6")
        );
        assert!(family("inet").unwrap_err().contains("4 or 6"));
    }
}
