//! Neighbour discovery (RFC 4861): router advertisements, and who else has an address.
//!
//! What comes here came through a socket that lets only messages of the link itself pass (hop limit 255), with a checksum
//! that the kernel looked at.

use core::net::{IpAddr, Ipv6Addr};

use cni_common::addr::{Cidr, Mac};

use super::{is_domain, is_host};

/// All routers of the link, to which solicitations go.
pub(crate) const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Types of ICMPv6 messages.
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
/// See [`ROUTER_ADVERTISEMENT`].
pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;
/// See [`ROUTER_ADVERTISEMENT`].
pub(crate) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const ROUTER_SOLICITATION: u8 = 133;

/// How many prefixes, name servers and search domains of one router are taken.
const MOST: usize = 16;
/// The largest MTU that a link can have; the smallest is what IPv6 needs (RFC 8200, 5).
const MTU: core::ops::RangeInclusive<u32> = 1280..=65_535;

/// A prefix that a router advertised (RFC 4861, 4.6.2), with its times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) subnet: Cidr,
    /// Whether its hosts are on the link.
    pub(crate) on_link: bool,
    /// Whether hosts make addresses of it (RFC 4862).
    pub(crate) autonomous: bool,
    pub(crate) valid: u32,
    pub(crate) preferred: u32,
}

/// How a router ranks itself (RFC 4191, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Low,
    Medium,
    High,
}

/// A router advertisement (RFC 4861, 4.2), as far as it could be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) router: Ipv6Addr,
    /// How long it is a default router, in seconds; zero is never.
    pub(crate) lifetime: u16,
    pub(crate) rank: Rank,
    /// Whether addresses come by DHCPv6.
    pub(crate) managed: bool,
    /// Whether other configuration comes by DHCPv6.
    pub(crate) other: bool,
    pub(crate) mtu: Option<u32>,
    pub(crate) prefixes: Vec<Prefix>,
    /// Name servers and search domains (RFC 8106).
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
}

/// Reads a router advertisement that came from `router`; `None` for one that RFC 4861, 6.1.2, wants ignored.
pub(crate) fn advertisement(router: Ipv6Addr, bytes: &[u8]) -> Option<Advertisement> {
    let (header, mut rest) = bytes.split_first_chunk::<16>()?;
    let [ROUTER_ADVERTISEMENT, 0, _, _, _hops, flags, high, low, ..] = *header else {
        return None;
    };
    if !router.is_unicast_link_local() {
        return None;
    }
    let lifetime = u16::from_be_bytes([high, low]);
    let mut found = Advertisement {
        router,
        lifetime,
        rank: match flags >> 3 & 3 {
            1 => Rank::High,
            3 => Rank::Low,
            // 2 is reserved and means medium.
            _ => Rank::Medium,
        },
        managed: flags & 0x80 != 0,
        other: flags & 0x40 != 0,
        mtu: None,
        prefixes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
    };
    while !rest.is_empty() {
        let (kind, eights) = (*rest.first()?, *rest.get(1)?);
        let length = usize::from(eights).checked_mul(8).filter(|all| *all > 0)?;
        let (option, after) = rest.split_at_checked(length)?;
        found.take(kind, option);
        rest = after;
    }
    Some(found)
}

impl Advertisement {
    fn take(&mut self, kind: u8, option: &[u8]) {
        match kind {
            3 if self.prefixes.len() < MOST => self.prefixes.extend(prefix(option)),
            5 => self.mtu = number(option, 4).filter(|mtu| MTU.contains(mtu)),
            // A lifetime of zero takes them back.
            25 if number(option, 4) != Some(0) => {
                let addresses = option.get(8..).unwrap_or_default().chunks_exact(16);
                let addresses = addresses.filter_map(|bytes| <[u8; 16]>::try_from(bytes).ok());
                let room = MOST.saturating_sub(self.dns.len());
                let usable = addresses.map(Ipv6Addr::from).filter(is_host);
                self.dns.extend(usable.take(room));
            }
            31 if number(option, 4) != Some(0) => {
                let room = MOST.saturating_sub(self.search.len());
                let found = names(option.get(8..).unwrap_or_default(), room);
                self.search.extend(found);
            }
            _ => {}
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

/// A prefix information option.
fn prefix(option: &[u8]) -> Option<Prefix> {
    let (length, flags) = (*option.get(2)?, *option.get(3)?);
    let address: [u8; 16] = option.get(16..32)?.try_into().ok()?;
    let address = Ipv6Addr::from(address);
    let subnet = Cidr::new(IpAddr::V6(address), length)?.network();
    let (valid, preferred) = (number(option, 4)?, number(option, 8)?);
    let sound = is_host(&address) && !address.is_unicast_link_local() && length > 0;
    sound.then_some(Prefix {
        subnet,
        on_link: flags & 0x80 != 0,
        // Preferred for longer than valid: no address is made of it (RFC 4862, 5.5.3), but its hosts are on the link.
        autonomous: flags & 0x40 != 0 && preferred <= valid,
        valid,
        preferred: preferred.min(valid),
    })
}

/// Domain names as RFC 8106, 5.2, has them: labels, uncompressed, and zeros to the end.
fn names(mut bytes: &[u8], most: usize) -> Vec<String> {
    let mut list = Vec::new();
    let mut name = String::new();
    while let Some((length, rest)) = bytes.split_first()
        && list.len() < most
    {
        let length = usize::from(*length);
        if length == 0 {
            if is_domain(&name) {
                list.push(core::mem::take(&mut name));
            }
            name.clear();
            bytes = rest;
            continue;
        }
        let Some((label, rest)) = rest.split_at_checked(length).filter(|_| length < 64) else {
            break;
        };
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label));
        bytes = rest;
    }
    list
}

/// A question for routers; its checksum is the kernel's to fill in.
pub(crate) fn router_solicitation() -> Vec<u8> {
    vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]
}

/// A question who has an address, from somebody who does not have it. Without the asker's Ethernet address (RFC 4861, 4.6.1)
/// nobody answers.
pub(crate) fn neighbor_solicitation(ours: Mac, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(ours.0);
    message
}

/// The group in which whoever has an address is asked for it (RFC 4291, 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., fourteenth, fifteenth, last] = address.octets();
    let low = u16::from_be_bytes([fifteenth, last]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(fourteenth), low)
}

/// Whether a message says that somebody else has an address, or is about to take it: an advertisement of it, or a
/// solicitation from the unspecified address (RFC 4862, 5.4.3).
pub(crate) fn conflicts(from: Ipv6Addr, bytes: &[u8], address: Ipv6Addr) -> bool {
    if bytes.get(8..24) != Some(&address.octets()[..]) {
        return false;
    }
    match bytes.first() {
        Some(&NEIGHBOR_ADVERTISEMENT) => true,
        Some(&NEIGHBOR_SOLICITATION) => from.is_unspecified(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        crate::record::unhex(&digits).unwrap()
    }

    /// radvd 2.19 with `AdvManagedFlag`, `AdvOtherConfigFlag`, an MTU, a prefix, RDNSS and DNSSL; tcpdump -x, from the
    /// message's type on.
    const RADVD: &str = "8600 648e 40c0 0708 0000 0000 0000 0000
        0304 40c0 0001 5180 0000 3840 0000 0000 fd00 0001 0000 0000 0000 0000 0000 0000
        1903 0000 0000 0258 fd00 0001 0000 0000 0000 0000 0000 0053
        1f03 0000 0000 0258 036c 6162 0765 7861 6d70 6c65 0000 0000
        0501 0000 0000 0578
        0101 0200 0000 0001";

    #[test]
    fn an_advertisement_of_radvd() {
        let found = advertisement(ROUTER, &unhex(RADVD)).unwrap();
        let subnet = "fd00:1::/64".parse().unwrap();
        let prefix = Prefix {
            subnet,
            on_link: true,
            autonomous: true,
            valid: 86_400,
            preferred: 14_400,
        };
        assert_eq!(
            found,
            Advertisement {
                router: ROUTER,
                lifetime: 1800,
                rank: Rank::Medium,
                managed: true,
                other: true,
                mtu: Some(1400),
                prefixes: vec![prefix],
                dns: vec!["fd00:1::53".parse().unwrap()],
                search: vec![String::from("lab.example")],
            }
        );
    }

    #[test]
    fn what_is_no_advertisement_of_the_link_is_ignored() {
        let good = unhex(RADVD);
        assert_eq!(advertisement("fd00::1".parse().unwrap(), &good), None);
        // Cut anywhere but between options.
        let ends = [16, 48, 72, 96, 104];
        for length in 0..good.len() {
            let read = advertisement(ROUTER, good.get(..length).unwrap());
            assert_eq!(read.is_some(), ends.contains(&length), "{length}");
        }
        // An option of no length would never end.
        let endless = [&good[..16], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(advertisement(ROUTER, &endless), None);
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        let header = &unhex(RADVD)[..16];
        let read = |option: &str| {
            let bytes = [header, &unhex(option)].concat();
            advertisement(ROUTER, &bytes).unwrap()
        };
        for option in [
            // A prefix of 129 bits, of no bits, of link-local addresses.
            "03 04 81 c0 00 01 51 80 00 00 38 40 00 00 00 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00",
            "03 04 00 c0 00 01 51 80 00 00 38 40 00 00 00 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00",
            "03 04 40 c0 00 01 51 80 00 00 38 40 00 00 00 00 fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
            // Too short for one.
            "03 01 40 c0 00 01 51 80",
            // An MTU below what IPv6 needs, and one that no link has.
            "05 01 00 00 00 00 04 ff",
            "05 01 00 00 7f ff ff ff",
            // Taken back.
            "19 03 00 00 00 00 00 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 53",
            // A name with a control character, one without end, one of a label that is too long.
            "1f 02 00 00 00 00 02 58 03 61 0a 62 00 00 00 00",
            "1f 02 00 00 00 00 02 58 07 61 61 61 61 61 61 61",
            "1f 02 00 00 00 00 02 58 40 61 61 61 61 61 61 61",
        ] {
            let found = read(option);
            assert!(
                found.prefixes.is_empty()
                    && found.mtu.is_none()
                    && found.dns.is_empty()
                    && found.search.is_empty(),
                "{option}: {found:?}"
            );
        }
    }

    #[test]
    fn a_prefix_that_is_preferred_for_longer_than_it_is_valid_is_on_the_link_and_no_more() {
        let header = &unhex(RADVD)[..16];
        let option = "03 04 40 c0 00 00 00 01 00 00 38 40 00 00 00 00 fd 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00";
        let bytes = [header, &unhex(option)].concat();
        let found = advertisement(ROUTER, &bytes).unwrap().prefixes.remove(0);
        assert!(found.on_link && !found.autonomous, "{found:?}");
        assert_eq!((found.valid, found.preferred), (1, 1));
    }

    #[test]
    fn lists_have_an_end() {
        let header = &unhex(RADVD)[..16];
        let prefix = &unhex(RADVD)[16..48];
        let bytes = [header, &prefix.repeat(200)].concat();
        let found = advertisement(ROUTER, &bytes).unwrap();
        assert_eq!(found.prefixes.len(), MOST);
    }

    #[test]
    fn a_holder_and_a_prober_conflict() {
        let address: Ipv6Addr = "fd00::1234:5678".parse().unwrap();
        assert_eq!(solicited_node(address).to_string(), "ff02::1:ff34:5678");
        let probe = neighbor_solicitation(Mac([2, 0, 0, 0, 0, 7]), address);
        assert!(conflicts(Ipv6Addr::UNSPECIFIED, &probe, address));
        // Somebody only asks.
        assert!(!conflicts(ROUTER, &probe, address));
        let mut held = probe.clone();
        held[0] = NEIGHBOR_ADVERTISEMENT;
        assert!(conflicts(ROUTER, &held, address));
        assert!(!conflicts(ROUTER, &held, ROUTER));
        assert!(!conflicts(ROUTER, &held[..20], address));
    }
}
