//! What stands between a foreign message and the codec.

use core::fmt;

use super::options::{self, Raw};
use super::{Kind, Reply, code};

/// How many options a message may have: a server has no use for more, and each costs memory.
const MOST_OPTIONS: usize = 256;
/// The longest DUID (RFC 8415, 11.1): a type of two bytes, and 128.
const LONGEST_DUID: usize = 130;

/// What a message must be for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    pub(crate) duid: &'a [u8],
    pub(crate) iaid: u32,
}

/// Why a datagram is no message for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Without type and transaction.
    Short,
    /// Neither Advertise nor Reply. A Reconfigure is one of these: it is not accepted without authentication.
    NotOfAServer,
    /// An option that ends after the message does, or too many of them.
    Malformed,
    /// An option twice that may be there once.
    Doubled,
    /// Without our client identifier.
    OtherClient,
    /// Without server identifier.
    NoServer,
}

impl Refused {
    /// A word for a counter.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Short => "v6-short",
            Self::NotOfAServer => "v6-not-of-a-server",
            Self::Malformed => "v6-malformed",
            Self::Doubled => "v6-doubled",
            Self::OtherClient => "v6-other-client",
            Self::NoServer => "v6-no-server",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "it is too short",
            Self::NotOfAServer => "it is of no type that a client takes from a server",
            Self::Malformed => "its options are malformed",
            Self::Doubled => "it has an option twice that may be there once",
            Self::OtherClient => "it is for another client",
            Self::NoServer => "it does not say which server it is from",
        })
    }
}

/// Reads what came from a server (RFC 8415, 16.3 and 16.10).
pub(crate) fn read(bytes: &[u8], ours: Ours<'_>) -> Result<Reply, Refused> {
    let (header, rest) = bytes.split_first_chunk::<4>().ok_or(Refused::Short)?;
    let [number, high, middle, low] = *header;
    let mut kinds = [Kind::Advertise, Kind::Reply].into_iter();
    let kind = kinds
        .find(|kind| kind.number() == number)
        .ok_or(Refused::NotOfAServer)?;
    let raw = options::cut(rest, MOST_OPTIONS).ok_or(Refused::Malformed)?;
    let once = |code: u16| match raw.count(code) {
        0 | 1 => Ok(raw.first(code)),
        _ => Err(Refused::Doubled),
    };
    if once(code::CLIENT_ID)? != Some(ours.duid) {
        return Err(Refused::OtherClient);
    }
    let server = once(code::SERVER_ID)?
        .filter(|duid| (1..=LONGEST_DUID).contains(&duid.len()))
        .ok_or(Refused::NoServer)?;
    once(code::STATUS)?;
    Ok(Reply {
        kind,
        xid: u32::from_be_bytes([0, high, middle, low]),
        server: server.to_vec(),
        preference: preference(&raw),
        status: raw.status(),
        rapid_commit: raw.first(code::RAPID_COMMIT).is_some_and(<[u8]>::is_empty),
        addresses: raw.addresses(ours.iaid),
        prefixes: raw.prefixes(ours.iaid),
        dns: raw.dns(),
        search: raw.search(),
        sol_max_rt: raw.limit(code::SOL_MAX_RT),
        inf_max_rt: raw.limit(code::INF_MAX_RT),
        refresh: raw.seconds(code::REFRESH),
    })
}

fn preference(raw: &Raw<'_>) -> u8 {
    match raw.first(code::PREFERENCE) {
        Some([value]) => *value,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
