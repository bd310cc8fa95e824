//! DHCP messages, and the frames they travel in. Nothing else in this plugin names dhcproto, or sees a foreign byte.
//!
//! Packets are hostile. dhcproto is the codec of options, behind a fence: the header is checked before it decodes, the
//! options are cut apart here (overload and repeated ones included), and an option counts only when what dhcproto
//! understood encodes to the same bytes again. One that does not is as if it were absent, and is named.

mod fence;
pub(crate) mod frame;
pub(crate) mod nd;
mod options;
mod send;
pub(crate) mod v6;

use core::net::{Ipv4Addr, Ipv6Addr};

use cni_common::addr::{Cidr, Mac};

pub(crate) use fence::read;
pub(crate) use send::Outgoing;

use crate::lease::Terms;

/// The port of servers, and the port of clients.
pub(crate) const SERVER_PORT: u16 = 67;
/// See [`SERVER_PORT`].
pub(crate) const CLIENT_PORT: u16 = 68;

/// The options that every client needs to name (RFC 2132 and its successors).
pub(crate) mod code {
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const ROUTERS: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const MTU: u8 = 26;
    pub(crate) const STATIC_ROUTES: u8 = 33;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const REQUEST_LIST: u8 = 55;
    pub(crate) const MESSAGE: u8 = 56;
    pub(crate) const MAX_SIZE: u8 = 57;
    pub(crate) const T1: u8 = 58;
    pub(crate) const T2: u8 = 59;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const RAPID_COMMIT: u8 = 80;
    pub(crate) const SEARCH: u8 = 119;
    pub(crate) const CLASSLESS_ROUTES: u8 = 121;
    pub(crate) const CLASSLESS_ROUTES_MICROSOFT: u8 = 249;
}

/// What a message is (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl Kind {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Decline => 4,
            Self::Ack => 5,
            Self::Nak => 6,
            Self::Release => 7,
            Self::Inform => 8,
        }
    }

    /// Its name, for a counter.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Offer => "offer",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Ack => "ack",
            Self::Nak => "nak",
            Self::Release => "release",
            Self::Inform => "inform",
        }
    }

    /// What a server sends.
    fn of_server(number: u8) -> Option<Self> {
        [Self::Offer, Self::Ack, Self::Nak]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// What a client wants to know of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Whose message it must be.
    pub(crate) mac: Mac,
    /// The options that were asked for; of those that are not understood here the bytes are kept.
    pub(crate) request: &'a [u8],
    /// The address that a client has already, which only asks for the rest (RFC 2131, 3.4).
    pub(crate) informed: Option<Cidr>,
    /// The largest MTU that the link can have.
    pub(crate) largest: Option<u32>,
}

/// A message of a server, as far as it could be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) server: Option<Ipv4Addr>,
    /// What an OFFER or ACK grants, or why it is no lease.
    pub(crate) terms: Result<Terms, &'static str>,
    /// What the server says to a person (option 56).
    pub(crate) words: Option<String>,
}

/// Text of a server as it may be shown: without control characters, and not long.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(255)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// What may be another host's address. One of IPv4 in IPv6's form is no address of a packet (RFC 4291, 2.5.5.2).
fn is_host(address: &Ipv6Addr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && !address.is_loopback()
        && address.to_ipv4_mapped().is_none()
}

/// Whether a name may be written into a resolver's configuration.
fn is_domain(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed)
}
