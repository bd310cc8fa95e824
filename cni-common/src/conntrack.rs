//! Connection tracking by netlink: finding connections by the port they were opened to, and forgetting them.
//!
//! A connection keeps the translation of its first packet. When a port leads elsewhere from now on, what is tracked has to
//! be forgotten, or a client that goes on sending from the same port (UDP does) never notices.

use core::net::IpAddr;

use libc::{AF_INET, AF_INET6};
use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};

use crate::addr::Family;
use crate::netlink::{Connection, Error, Request};
use crate::nft::Netfilter;
use crate::nft::attributes::Attributes;

/// `NFNL_SUBSYS_CTNETLINK` (linux/netfilter/nfnetlink.h) and `IPCTNL_MSG_CT_GET` (`linux/netfilter/nfnetlink_conntrack.h`).
const CT_GET: u16 = 1 << 8 | 1;
/// As above, and `IPCTNL_MSG_CT_DELETE`.
const CT_DELETE: u16 = 1 << 8 | 2;
/// `CTA_TUPLE_ORIG`, as the other numbers from `linux/netfilter/nfnetlink_conntrack.h`.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
/// `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`.
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// `CTA_PROTO_NUM`, `_SRC_PORT`, `_DST_PORT`.
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// `CTA_FILTER_F_CTA_PROTO_NUM` and `CTA_FILTER_F_CTA_PROTO_DST_PORT` (`net/netfilter/nf_internals.h`).
const PROTOCOL: u32 = 1 << 3;
const DESTINATION_PORT: u32 = 1 << 5;
/// `IPS_DST_NAT` (`linux/netfilter/nf_conntrack_common.h`).
const IPS_DST_NAT: u32 = 1 << 5;

/// A connection that is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The transport protocol (`IPPROTO_*`).
    pub protocol: u8,
    /// Where its first packet was sent to.
    pub to: (IpAddr, u16),
    /// Who answers it.
    pub answered_by: (IpAddr, u16),
    /// Whether its destination was translated.
    pub redirected: bool,
    family: Family,
    /// The attributes by which it is deleted.
    identity: Vec<(u16, Vec<u8>)>,
}

/// The tracked connections of the network namespace it was opened in.
#[derive(Debug)]
pub struct Conntrack {
    connection: Connection<Netfilter>,
}

impl Conntrack {
    /// Opens it in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        let connection = Connection::open()?;
        Ok(Self { connection })
    }

    /// The connections of a protocol that were opened to that port of any address, or to any port.
    ///
    /// The kernel walks all connections; from 5.8 on it sends these alone.
    pub fn opened_to(
        &mut self,
        family: Family,
        protocol: u8,
        port: Option<u16>,
    ) -> Result<Vec<Tracked>, Error> {
        let mut proto = vec![DefaultNla::new(CTA_PROTO_NUM, vec![protocol])];
        let mut flags = PROTOCOL;
        if let Some(port) = port {
            proto.push(DefaultNla::new(
                CTA_PROTO_DST_PORT,
                port.to_be_bytes().to_vec(),
            ));
            flags |= DESTINATION_PORT;
        }
        let tuple = [nested(CTA_TUPLE_PROTO, &proto)];
        let filter = [DefaultNla::new(
            CTA_FILTER_ORIG_FLAGS,
            flags.to_ne_bytes().to_vec(),
        )];
        let body = body(
            family,
            &[nested(CTA_TUPLE_ORIG, &tuple), nested(CTA_FILTER, &filter)],
        );
        let request = Request::raw("list tracked connections", CT_GET, body);
        let replies = self.connection.dump(request)?;
        let all = replies
            .iter()
            .filter_map(|reply| tracked(family, &reply.body));
        Ok(all
            .filter(|found| found.protocol == protocol)
            .filter(|found| port.is_none_or(|port| found.to.1 == port))
            .collect())
    }

    /// Forgets a connection. One that is gone is no error.
    pub fn forget(&mut self, connection: &Tracked) -> Result<(), Error> {
        let attributes: Vec<DefaultNla> = connection
            .identity
            .iter()
            .map(|(kind, value)| DefaultNla::new(*kind, value.clone()))
            .collect();
        let body = body(connection.family, &attributes);
        let (address, port) = connection.to;
        let doing = format!("forget a tracked connection to {address} port {port}");
        let request = Request::raw(doing, CT_DELETE, body).tolerate(libc::ENOENT);
        self.connection.execute(request)
    }
}

fn nested(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// `struct nfgenmsg` (linux/netfilter/nfnetlink.h) and the attributes.
fn body(family: Family, attributes: &[DefaultNla]) -> Vec<u8> {
    let number = match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    let mut body = vec![u8::try_from(number).unwrap_or(0), 0, 0, 0];
    let mut encoded = vec![0; attributes.buffer_len()];
    attributes.emit(&mut encoded);
    body.append(&mut encoded);
    body
}

/// The protocol, and one end of a direction: the source or the destination.
fn end(family: Family, tuple: Attributes<'_>, is_source: bool) -> Option<(u8, (IpAddr, u16))> {
    let ip = tuple.nested(CTA_TUPLE_IP)?;
    // CTA_IP_V4_SRC, _V4_DST, _V6_SRC, _V6_DST
    let address = match (family, is_source) {
        (Family::V4, true) => IpAddr::from(<[u8; 4]>::try_from(ip.get(1)?).ok()?),
        (Family::V4, false) => IpAddr::from(<[u8; 4]>::try_from(ip.get(2)?).ok()?),
        (Family::V6, true) => IpAddr::from(<[u8; 16]>::try_from(ip.get(3)?).ok()?),
        (Family::V6, false) => IpAddr::from(<[u8; 16]>::try_from(ip.get(4)?).ok()?),
    };
    let proto = tuple.nested(CTA_TUPLE_PROTO)?;
    let kind = if is_source {
        CTA_PROTO_SRC_PORT
    } else {
        CTA_PROTO_DST_PORT
    };
    let port = proto.get(kind)?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some((*proto.get(CTA_PROTO_NUM)?.first()?, (address, port)))
}

fn tracked(family: Family, body: &[u8]) -> Option<Tracked> {
    let attributes = Attributes::of(body);
    let (protocol, to) = end(family, attributes.nested(CTA_TUPLE_ORIG)?, false)?;
    let (_, answered_by) = end(family, attributes.nested(CTA_TUPLE_REPLY)?, true)?;
    let status = attributes.number(CTA_STATUS).unwrap_or(0);
    let identity = [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID];
    Some(Tracked {
        protocol,
        to,
        answered_by,
        redirected: status & IPS_DST_NAT != 0,
        family,
        identity: identity
            .into_iter()
            .filter_map(|kind| {
                let nested = if kind == CTA_TUPLE_ORIG {
                    NLA_F_NESTED
                } else {
                    0
                };
                Some((kind | nested, attributes.get(kind)?.to_vec()))
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::testing::{private_netns, run};

    /// Three connections from 127.0.0.1: two to port 7001 and one to 7002.
    fn world() -> Conntrack {
        private_netns();
        run("ip", &["link", "set", "lo", "up"]);
        run(
            "nft",
            &[
                "add table ip t; add chain ip t c { type filter hook output priority 0; }; add rule ip t c ct state new counter",
            ],
        );
        for port in [7001, 7001, 7002] {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"x", ("127.0.0.1", port)).unwrap();
        }
        Conntrack::open().unwrap()
    }

    #[test]
    fn connections_are_found_by_port_and_forgotten() {
        let mut conntrack = world();
        let count = |conntrack: &mut Conntrack, port| {
            conntrack.opened_to(Family::V4, 17, port).unwrap().len()
        };
        assert_eq!(count(&mut conntrack, None), 3);
        assert_eq!(count(&mut conntrack, Some(7001)), 2);
        assert_eq!(count(&mut conntrack, Some(7003)), 0);
        let found = conntrack.opened_to(Family::V4, 17, Some(7001)).unwrap();
        let to = ("127.0.0.1".parse().unwrap(), 7001);
        assert_eq!((found[0].to, found[0].answered_by), (to, to));
        assert!(!found[0].redirected);
        for connection in &found {
            conntrack.forget(connection).unwrap();
            conntrack.forget(connection).unwrap();
        }
        assert_eq!(count(&mut conntrack, Some(7001)), 0);
        assert_eq!(count(&mut conntrack, None), 1);
        assert_eq!(conntrack.opened_to(Family::V6, 17, None).unwrap(), []);
        assert_eq!(conntrack.opened_to(Family::V4, 6, None).unwrap(), []);
    }

    #[test]
    fn a_damaged_answer_is_no_connection() {
        let mut body = body(
            Family::V4,
            &[DefaultNla::new(CTA_TUPLE_ORIG, vec![1, 2, 3])],
        );
        for length in (0..body.len()).rev() {
            assert_eq!(tracked(Family::V4, &body), None);
            body.truncate(length);
        }
    }
}
