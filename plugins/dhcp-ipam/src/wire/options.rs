//! Options, each decoded by dhcproto and believed only when it encodes to the same bytes again.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

use cni_common::addr::Cidr;
use dhcproto::v4::{Decodable, Decoder, DhcpOption, Encodable, Encoder};

use super::{Asked, code, is_domain, shown};
use crate::lease::{Hop, SHORTEST_PREFIX, Terms};

/// How many routes, name servers and search domains are taken: more than there is use for.
const MOST: usize = 64;
/// A lease without a duration, which RFC 2131 forbids, is taken to last an hour.
const UNSTATED: u32 = 3600;
/// No interface below these (RFC 791, and what a loopback has).
const MTU: core::ops::RangeInclusive<u16> = 576..=65_535;

/// How many bytes of options are kept that mean nothing to us.
const OTHERS: usize = 1024;
/// What is not kept as bytes: it is in the terms, or is the protocol's own.
const UNDERSTOOD: [u8; 18] = [
    code::SUBNET_MASK,
    code::ROUTERS,
    code::DNS,
    code::DOMAIN,
    code::MTU,
    code::STATIC_ROUTES,
    code::REQUESTED_ADDRESS,
    code::LEASE_TIME,
    code::OVERLOAD,
    code::MESSAGE_TYPE,
    code::SERVER,
    code::MESSAGE,
    code::T1,
    code::T2,
    code::CLIENT_ID,
    code::SEARCH,
    code::CLASSLESS_ROUTES,
    code::CLASSLESS_ROUTES_MICROSOFT,
];

/// The options of a message by their code.
pub(super) struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    pub(super) fn new(raw: BTreeMap<u8, Vec<u8>>) -> Self {
        Self(raw)
    }

    fn raw(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// What dhcproto makes of an option. One of more than 255 bytes, joined from several, is beyond it.
    fn decoded(&self, code: u8) -> Option<DhcpOption> {
        let data = self.raw(code)?;
        let mut bytes = vec![code, u8::try_from(data.len()).ok()?];
        bytes.extend_from_slice(data);
        let option = DhcpOption::decode(&mut Decoder::new(&bytes)).ok()?;
        // Compressed names may be written in more than one way.
        let faithful = code == code::SEARCH || {
            let mut again = Vec::new();
            option.encode(&mut Encoder::new(&mut again)).is_ok() && again == bytes
        };
        faithful.then_some(option)
    }

    pub(super) fn number_u8(&self, code: u8) -> Option<u8> {
        match self.raw(code) {
            Some([number]) => Some(*number),
            _ => None,
        }
    }

    fn number(&self, code: u8) -> Option<u32> {
        self.raw(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.number(code).map(Ipv4Addr::from)
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let decoded = self.decoded(code);
        let Some(DhcpOption::Router(list) | DhcpOption::DomainNameServer(list)) = decoded else {
            return Vec::new();
        };
        let usable = |ip: &Ipv4Addr| {
            !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_loopback()
        };
        list.into_iter().filter(usable).take(MOST).collect()
    }

    /// Text up to its first NUL, which some servers send.
    pub(super) fn text(&self, code: u8) -> Option<String> {
        let text = core::str::from_utf8(self.raw(code)?).ok()?;
        let text = shown(text.split('\0').next()?);
        (!text.is_empty()).then_some(text)
    }

    /// A domain's name.
    fn domain(&self) -> Option<String> {
        self.text(code::DOMAIN).filter(|name| is_domain(name))
    }

    fn search(&self) -> Vec<String> {
        let Some(DhcpOption::DomainSearch(names)) = self.decoded(code::SEARCH) else {
            return Vec::new();
        };
        names
            .iter()
            .map(|name| name.to_utf8().trim_end_matches('.').to_owned())
            .filter(|name| is_domain(name))
            .take(MOST)
            .collect()
    }

    /// Classless routes, which stand for all others (RFC 3442); Microsoft's own number where they are not.
    fn classless(&self) -> Option<Vec<Hop>> {
        // dhcproto knows them under the number of the RFC.
        let numbered = |number: u8| {
            let data = self.raw(number)?.to_vec();
            let alone = Self(BTreeMap::from([(code::CLASSLESS_ROUTES, data)]));
            let decoded = alone.decoded(code::CLASSLESS_ROUTES)?;
            let DhcpOption::ClasslessStaticRoute(routes) = decoded else {
                return None;
            };
            Some(routes)
        };
        let routes = numbered(code::CLASSLESS_ROUTES)
            .or_else(|| numbered(code::CLASSLESS_ROUTES_MICROSOFT))?;
        let hops = routes.into_iter().filter_map(|(dst, via)| {
            let dst = Cidr::new(IpAddr::V4(dst.addr()), dst.prefix_len())?.network();
            Hop::usable(dst, via)
        });
        Some(hops.take(MOST).collect())
    }

    /// Routes to the network of each address by its class, and the default by the first router (RFC 2132, 5.8).
    fn classful(&self, routers: &[Ipv4Addr]) -> Vec<Hop> {
        let pairs = match self.decoded(code::STATIC_ROUTES) {
            Some(DhcpOption::StaticRoutingTable(pairs)) => pairs,
            _ => Vec::new(),
        };
        let classed = pairs.into_iter().filter_map(|(dst, via)| {
            let prefix = match dst.octets() {
                [0 | 224..=255, ..] => return None,
                [1..=127, ..] => 8,
                [128..=191, ..] => 16,
                [192..=223, ..] => 24,
            };
            let network = Cidr::new(IpAddr::V4(dst), prefix)?.network();
            // With host bits it is a route to that host.
            let dst = if network.address() == IpAddr::V4(dst) {
                network
            } else {
                Cidr::host(IpAddr::V4(dst))
            };
            Hop::usable(dst, via)
        });
        let default = routers.first().and_then(|router| {
            let everything = Cidr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)?;
            Hop::usable(everything, *router)
        });
        classed.take(MOST).chain(default).collect()
    }

    /// The lease of an OFFER or ACK.
    pub(super) fn terms(
        &self,
        address: Ipv4Addr,
        server: Ipv4Addr,
        asked: &Asked<'_>,
    ) -> Result<Terms, &'static str> {
        let (address, prefix, seconds) = match asked.informed {
            // An address of its own, which no server ends.
            Some(cidr) => match cidr.address() {
                IpAddr::V4(address) => (address, cidr.prefix(), u32::MAX),
                IpAddr::V6(_) => return Err("its address is none of DHCP's"),
            },
            None => (address, self.prefix(address)?, self.seconds()?),
        };
        let routers = self.addresses(code::ROUTERS);
        let mtu = match self.decoded(code::MTU) {
            Some(DhcpOption::InterfaceMtu(mtu)) if MTU.contains(&mtu) => {
                // What a link cannot carry would be lost, not cut.
                Some(u32::from(mtu).min(asked.largest.unwrap_or(u32::MAX)))
            }
            _ => None,
        };
        Ok(Terms {
            address,
            prefix,
            server,
            gateway: routers.first().copied(),
            routes: self.classless().unwrap_or_else(|| self.classful(&routers)),
            dns: self.addresses(code::DNS),
            domain: self.domain(),
            search: self.search(),
            mtu,
            seconds,
            t1: self.number(code::T1),
            t2: self.number(code::T2),
            others: self.others(asked.request),
        })
    }

    fn prefix(&self, address: Ipv4Addr) -> Result<u8, &'static str> {
        let mask = self
            .address(code::SUBNET_MASK)
            .ok_or("it has no subnet mask")?;
        let prefix = u32::from(mask).leading_ones();
        if prefix == 0 || u32::from(mask).checked_shl(prefix).unwrap_or(0) != 0 {
            return Err("its subnet mask is none");
        }
        let prefix = u8::try_from(prefix).map_err(|_| "its subnet mask is none")?;
        if prefix < SHORTEST_PREFIX {
            return Err("its subnet mask is that of a part of the Internet");
        }
        let cidr = Cidr::new(IpAddr::V4(address), prefix).ok_or("its subnet mask is none")?;
        if cidr.unusable().is_some() || address.is_link_local() {
            return Err("its address is none that an interface can have");
        }
        Ok(prefix)
    }

    fn seconds(&self) -> Result<u32, &'static str> {
        match self.number(code::LEASE_TIME).unwrap_or(UNSTATED) {
            0 => Err("its lease is over at once"),
            seconds => Ok(seconds),
        }
    }

    /// The bytes of the options that were asked for and mean nothing to us.
    fn others(&self, request: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut room = OTHERS;
        let found = request
            .iter()
            .filter(|number| !UNDERSTOOD.contains(number))
            .filter_map(|number| Some((*number, self.raw(*number)?.to_vec())));
        found
            .take_while(|(_, data)| match room.checked_sub(data.len()) {
                Some(left) => {
                    room = left;
                    true
                }
                None => false,
            })
            .collect()
    }
}
