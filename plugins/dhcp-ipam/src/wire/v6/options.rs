//! Options cut apart, each decoded by dhcproto alone, and believed only when it encodes to the same bytes again.

use core::net::{IpAddr, Ipv6Addr};

use cni_common::addr::Cidr;
use dhcproto::v6::{Decodable, DhcpOption, Encodable};
use dhcproto::{Decoder, Encoder};

use super::{Association, Status, code};
use crate::lease6::Span;
use crate::wire::{is_domain, is_host, shown};

/// How many addresses, name servers and search domains are taken: more than there is use for.
const MOST: usize = 64;
/// How many options an association may have.
const MOST_INNER: usize = 64;
/// What limits on retransmission may be, in seconds (RFC 8415, 21.24 and 21.25).
const LIMITS: core::ops::RangeInclusive<u32> = 60..=86_400;

/// Options as they stand in a message.
pub(super) struct Raw<'a>(Vec<(u16, &'a [u8])>);

/// Cuts options apart; `None` where one ends after they do, or there are more than `most`.
pub(super) fn cut(mut bytes: &[u8], most: usize) -> Option<Raw<'_>> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_first_chunk::<4>()?;
        let [code_high, code_low, high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (data, rest) = rest.split_at_checked(length)?;
        if list.len() >= most {
            return None;
        }
        list.push((u16::from_be_bytes([code_high, code_low]), data));
        bytes = rest;
    }
    Some(Raw(list))
}

/// What dhcproto makes of one option.
fn decoded(code: u16, data: &[u8]) -> Option<DhcpOption> {
    let mut bytes = code.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(data);
    let option = DhcpOption::decode(&mut Decoder::new(&bytes)).ok()?;
    let mut again = Vec::new();
    let encoded = option.encode(&mut Encoder::new(&mut again));
    (encoded.is_ok() && again == bytes).then_some(option)
}

/// What the interface or the container may have.
fn is_usable(address: Ipv6Addr) -> bool {
    Cidr::host(IpAddr::V6(address)).unusable().is_none()
        && !address.is_unicast_link_local()
        && address.to_ipv4_mapped().is_none()
}

/// A time that is over before it is over is none (RFC 8415, 21.6).
fn span(preferred: u32, valid: u32) -> Option<Span> {
    (preferred <= valid).then_some(Span { preferred, valid })
}

impl<'a> Raw<'a> {
    fn all(&self, code: u16) -> impl Iterator<Item = &'a [u8]> {
        let matching = self.0.iter().filter(move |(found, _)| *found == code);
        matching.map(|(_, data)| *data)
    }

    pub(super) fn count(&self, code: u16) -> usize {
        self.all(code).count()
    }

    pub(super) fn first(&self, code: u16) -> Option<&'a [u8]> {
        self.all(code).next()
    }

    pub(super) fn status(&self) -> Option<Status> {
        // A number of two bytes: with fewer dhcproto 0.15 would panic where overflow is checked.
        let data = self.first(code::STATUS).filter(|data| data.len() >= 2)?;
        let number = u16::from_be_bytes(*data.first_chunk()?);
        // Else its words are no text.
        let words = if let Some(DhcpOption::StatusCode(status)) = decoded(code::STATUS, data) {
            shown(&status.msg)
        } else {
            String::new()
        };
        Some(Status { number, words })
    }

    pub(super) fn seconds(&self, code: u16) -> Option<u32> {
        let data = self.first(code)?.try_into().ok()?;
        Some(u32::from_be_bytes(data))
    }

    pub(super) fn limit(&self, code: u16) -> Option<u32> {
        self.seconds(code)
            .filter(|seconds| LIMITS.contains(seconds))
    }

    pub(super) fn dns(&self) -> Vec<Ipv6Addr> {
        let decoded = self
            .first(code::DNS)
            .and_then(|data| decoded(code::DNS, data));
        let Some(DhcpOption::DomainNameServers(list)) = decoded else {
            return Vec::new();
        };
        list.into_iter().filter(is_host).take(MOST).collect()
    }

    pub(super) fn search(&self) -> Vec<String> {
        let decoded = self
            .first(code::SEARCH)
            .and_then(|data| decoded(code::SEARCH, data));
        let Some(DhcpOption::DomainSearchList(names)) = decoded else {
            return Vec::new();
        };
        let names = names.iter();
        names
            .map(|name| name.to_utf8().trim_end_matches('.').to_owned())
            .filter(|name| is_domain(name))
            .take(MOST)
            .collect()
    }

    /// The association of our IAID, with what is in it.
    fn association<T>(
        &self,
        kind: u16,
        iaid: u32,
        each: impl Fn(&Raw<'_>) -> Vec<(T, Span)>,
    ) -> Option<Association<T>> {
        let ours = iaid.to_be_bytes();
        let data = self.all(kind).find(|data| data.starts_with(&ours))?;
        let (header, rest) = data.split_first_chunk::<12>()?;
        let (t1, t2) = times(&decoded(kind, header)?)?;
        // Both given and in the wrong order: RFC 8415, 21.4, discards it.
        if t1 > t2 && t2 > 0 {
            return None;
        }
        let inner = cut(rest, MOST_INNER)?;
        Some(Association {
            t1,
            t2,
            status: inner.status(),
            given: each(&inner),
        })
    }

    pub(super) fn addresses(&self, iaid: u32) -> Option<Association<Ipv6Addr>> {
        self.association(code::IA_NA, iaid, |inner| {
            let given = inner.all(code::IA_ADDRESS).filter_map(|data| {
                let (header, rest) = data.split_at_checked(24)?;
                if !is_granted(rest) {
                    return None;
                }
                let DhcpOption::IAAddr(one) = decoded(code::IA_ADDRESS, header)? else {
                    return None;
                };
                let span = span(one.preferred_life, one.valid_life)?;
                is_usable(one.addr).then_some((one.addr, span))
            });
            given.collect()
        })
    }

    pub(super) fn prefixes(&self, iaid: u32) -> Option<Association<Cidr>> {
        self.association(code::IA_PD, iaid, |inner| {
            let given = inner.all(code::IA_PREFIX).filter_map(|data| {
                let (header, rest) = data.split_at_checked(25)?;
                if !is_granted(rest) {
                    return None;
                }
                let DhcpOption::IAPrefix(one) = decoded(code::IA_PREFIX, header)? else {
                    return None;
                };
                let span = span(one.preferred_lifetime, one.valid_lifetime)?;
                let prefix = Cidr::new(IpAddr::V6(one.prefix_ip), one.prefix_len)?;
                let sound = is_usable(one.prefix_ip)
                    && prefix.network() == prefix
                    && (1..128).contains(&one.prefix_len);
                sound.then_some((prefix, span))
            });
            given.collect()
        })
    }
}

/// T1 and T2 of an association.
fn times(association: &DhcpOption) -> Option<(u32, u32)> {
    if let DhcpOption::IANA(one) = association {
        return Some((one.t1, one.t2));
    }
    if let DhcpOption::IAPD(one) = association {
        return Some((one.t1, one.t2));
    }
    None
}

/// Whether the options inside an address or prefix do not take it back.
fn is_granted(options: &[u8]) -> bool {
    cut(options, MOST_INNER).is_some_and(|inner| {
        let status = inner.status();
        status.is_none_or(|status| status.number == Status::SUCCESS)
    })
}
