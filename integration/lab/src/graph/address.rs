//! Addresses as pictures write them. Text that is no address passes through unchanged.

use core::net::IpAddr;

/// An address and its prefix length, if that is what the text is.
fn parse(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

/// The order addresses are listed in: IPv4, IPv6, then anything else.
pub(super) fn sort_key(text: &str) -> (u8, Option<(IpAddr, u8)>, String) {
    let parsed = parse(text);
    let family = match parsed {
        Some((IpAddr::V4(_), _)) => 0,
        Some((IpAddr::V6(_), _)) => 1,
        None => 2,
    };
    (family, parsed, text.to_owned())
}

/// Whether the first `length` bits of both are the same.
fn share_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32_u32.saturating_sub(length.into());
            (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let shift = 128_u32.saturating_sub(length.into());
            (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The prefix of the network that `address` lies in with that very length.
fn home(
    prefixes: &[String],
    (address, length): (IpAddr, u8),
) -> impl Iterator<Item = (IpAddr, u8)> {
    prefixes
        .iter()
        .filter_map(|prefix| parse(prefix))
        .filter(move |(network, own)| *own == length && share_prefix(*network, address, length))
}

/// `192.168.101.2` in a network of 192.168.101.0/24: the length is said by the network. Anywhere else the
/// length stays.
pub(super) fn within(prefixes: &[String], text: &str) -> String {
    match parse(text) {
        Some(parsed) if home(prefixes, parsed).next().is_some() => parsed.0.to_string(),
        _ => text.to_owned(),
    }
}

/// `.2` in a network whose only IPv4 prefix ends on an octet, as nwdiag's own examples write it; else as
/// [`within`].
pub(super) fn host_part(prefixes: &[String], text: &str) -> String {
    let full = within(prefixes, text);
    let only = prefixes
        .iter()
        .filter(|prefix| matches!(parse(prefix), Some((IpAddr::V4(_), _))))
        .count()
        == 1;
    let Some((IpAddr::V4(address), length)) = parse(text) else {
        return full;
    };
    if !only || home(prefixes, (address.into(), length)).next().is_none() {
        return full;
    }
    match (length, address.octets()) {
        (8, [_, b, c, d]) => format!(".{b}.{c}.{d}"),
        (16, [_, _, c, d]) => format!(".{c}.{d}"),
        (24, [_, _, _, d]) => format!(".{d}"),
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(prefixes: &[&str]) -> Vec<String> {
        prefixes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_host_part_is_what_the_prefix_leaves_open() {
        for (prefix, address, part) in [
            ("192.168.101.0/24", "192.168.101.2/24", ".2"),
            ("172.17.0.0/16", "172.17.3.4/16", ".3.4"),
            ("10.0.0.0/8", "10.1.2.3/8", ".1.2.3"),
            ("10.0.0.0/22", "10.0.1.3/22", "10.0.1.3"),
            ("2001:db8::/64", "2001:db8::7/64", "2001:db8::7"),
        ] {
            assert_eq!(host_part(&list(&[prefix]), address), part);
        }
    }

    #[test]
    fn a_second_ipv6_prefix_leaves_the_ipv4_form_short() {
        let prefixes = list(&["10.1.2.0/24", "fd00::/64"]);
        assert_eq!(host_part(&prefixes, "10.1.2.3/24"), ".3");
        assert_eq!(host_part(&prefixes, "fd00::3/64"), "fd00::3");
    }

    #[test]
    fn between_two_ipv4_prefixes_the_address_stays_whole() {
        let prefixes = list(&["10.1.2.0/24", "10.1.3.0/24"]);
        assert_eq!(host_part(&prefixes, "10.1.2.3/24"), "10.1.2.3");
    }

    #[test]
    fn an_address_from_elsewhere_keeps_its_length() {
        let prefixes = list(&["10.1.2.0/24"]);
        for address in ["10.9.2.3/24", "10.1.2.3/32", "fe80::1/64", "0.0.0.0/0"] {
            assert_eq!(host_part(&prefixes, address), address);
            assert_eq!(within(&prefixes, address), address);
        }
    }

    #[test]
    fn what_is_no_address_passes_unchanged() {
        for text in ["dhcp", "", "10.1.2.3", "10.1.2.3/x", "/"] {
            assert_eq!(host_part(&list(&["10.1.2.0/24"]), text), text);
        }
    }
}
