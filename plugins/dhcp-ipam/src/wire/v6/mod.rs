//! DHCPv6 messages (RFC 8415). dhcproto decodes single options and encodes messages; what holds them together is walked
//! strictly here.

mod fence;
mod options;
mod send;

use core::net::Ipv6Addr;

use cni_common::addr::Cidr;

pub(crate) use fence::{Ours, read};
pub(crate) use send::{Outgoing, association};

use crate::lease6::Span;

/// The port of servers and relays, and the port of clients (RFC 8415, 7.2).
pub(crate) const SERVER_PORT: u16 = 547;
/// See [`SERVER_PORT`].
pub(crate) const CLIENT_PORT: u16 = 546;
/// All servers and relays of a link (RFC 8415, 7.1).
pub(crate) const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Options (RFC 8415, 21, and its companions).
pub(crate) mod code {
    pub(crate) const CLIENT_ID: u16 = 1;
    pub(crate) const SERVER_ID: u16 = 2;
    pub(crate) const IA_NA: u16 = 3;
    pub(crate) const IA_ADDRESS: u16 = 5;
    pub(crate) const REQUEST_LIST: u16 = 6;
    pub(crate) const PREFERENCE: u16 = 7;
    pub(crate) const ELAPSED: u16 = 8;
    pub(crate) const STATUS: u16 = 13;
    pub(crate) const RAPID_COMMIT: u16 = 14;
    pub(crate) const DNS: u16 = 23;
    pub(crate) const SEARCH: u16 = 24;
    pub(crate) const IA_PD: u16 = 25;
    pub(crate) const IA_PREFIX: u16 = 26;
    pub(crate) const REFRESH: u16 = 32;
    pub(crate) const SOL_MAX_RT: u16 = 82;
    pub(crate) const INF_MAX_RT: u16 = 83;
}

/// What a message is (RFC 8415, 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Solicit,
    Advertise,
    Request,
    Confirm,
    Renew,
    Rebind,
    Reply,
    Release,
    Decline,
    InformationRequest,
}

impl Kind {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Solicit => 1,
            Self::Advertise => 2,
            Self::Request => 3,
            Self::Confirm => 4,
            Self::Renew => 5,
            Self::Rebind => 6,
            Self::Reply => 7,
            Self::Release => 8,
            Self::Decline => 9,
            Self::InformationRequest => 11,
        }
    }

    /// A word for a counter.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Solicit => "v6-solicit",
            Self::Advertise => "v6-advertise",
            Self::Request => "v6-request",
            Self::Confirm => "v6-confirm",
            Self::Renew => "v6-renew",
            Self::Rebind => "v6-rebind",
            Self::Reply => "v6-reply",
            Self::Release => "v6-release",
            Self::Decline => "v6-decline",
            Self::InformationRequest => "v6-information-request",
        }
    }
}

/// Why a server did not do what was asked (RFC 8415, 21.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) number: u16,
    /// Its words for a person.
    pub(crate) words: String,
}

impl Status {
    pub(crate) const SUCCESS: u16 = 0;
    pub(crate) const UNSPEC_FAIL: u16 = 1;
    pub(crate) const NO_ADDRS_AVAIL: u16 = 2;
    pub(crate) const NO_BINDING: u16 = 3;
    pub(crate) const NOT_ON_LINK: u16 = 4;

    /// What the RFC calls it, and the server's words.
    pub(crate) fn describe(&self) -> String {
        let name = match self.number {
            Self::SUCCESS => "Success",
            Self::UNSPEC_FAIL => "UnspecFail",
            Self::NO_ADDRS_AVAIL => "NoAddrsAvail",
            Self::NO_BINDING => "NoBinding",
            Self::NOT_ON_LINK => "NotOnLink",
            5 => "UseMulticast",
            6 => "NoPrefixAvail",
            other => return format!("status {other} ({})", self.words),
        };
        if self.words.is_empty() {
            return name.to_owned();
        }
        format!("{name} ({})", self.words)
    }
}

/// An identity association: what a server gives to our IAID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Association<T> {
    pub(crate) t1: u32,
    pub(crate) t2: u32,
    pub(crate) status: Option<Status>,
    /// At most so many as are of use.
    pub(crate) given: Vec<(T, Span)>,
}

/// A message of a server, as far as it could be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    /// The server's DUID.
    pub(crate) server: Vec<u8>,
    pub(crate) preference: u8,
    pub(crate) status: Option<Status>,
    pub(crate) rapid_commit: bool,
    pub(crate) addresses: Option<Association<Ipv6Addr>>,
    pub(crate) prefixes: Option<Association<Cidr>>,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
    /// How long to wait at most between Solicits, and between Information-requests, in seconds (RFC 8415, 21.24).
    pub(crate) sol_max_rt: Option<u32>,
    pub(crate) inf_max_rt: Option<u32>,
    /// How long what it says beside addresses is good, in seconds (RFC 8415, 21.23).
    pub(crate) refresh: Option<u32>,
}

#[cfg(any(test, fuzzing))]
impl Reply {
    /// One of a server that says nothing more.
    pub(crate) fn bare(kind: Kind, xid: u32, server: Vec<u8>) -> Self {
        Self {
            kind,
            xid,
            server,
            preference: 0,
            status: None,
            rapid_commit: false,
            addresses: None,
            prefixes: None,
            dns: Vec::new(),
            search: Vec::new(),
            sol_max_rt: None,
            inf_max_rt: None,
            refresh: None,
        }
    }
}
