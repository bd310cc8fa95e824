//! What stands between a foreign packet and the codec.

use core::fmt;
use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use dhcproto::v4::{Decodable, Decoder, Message, Opcode};

use super::options::Options;
use super::{Asked, Kind, Reply, code, shown};

/// The fixed part of a message, and the magic cookie at its end (RFC 2131, section 2).
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where `sname` and `file` are, which options may go on in (option 52).
const SNAME: core::ops::Range<usize> = 44..108;
const FILE: core::ops::Range<usize> = 108..236;

/// Why a packet is no message for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Shorter than the fixed part.
    Short,
    /// Not a BOOTREPLY for an Ethernet client.
    NotAReply,
    /// BOOTP, or not DHCP at all.
    NoCookie,
    /// For another client.
    OtherClient,
    /// Without a message type, or with one that no server sends.
    NoType,
}

impl Refused {
    /// The reason in a word, for a counter.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::NotAReply => "not-a-reply",
            Self::NoCookie => "no-cookie",
            Self::OtherClient => "other-client",
            Self::NoType => "no-type",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "it is too short",
            Self::NotAReply => "it is no reply",
            Self::NoCookie => "it has no magic cookie",
            Self::OtherClient => "it is for another client",
            Self::NoType => "it is of no type that a server sends",
        })
    }
}

/// Reads what came from a server.
pub(crate) fn read(bytes: &[u8], asked: &Asked<'_>) -> Result<Reply, Refused> {
    let (fixed, rest) = bytes.split_at_checked(FIXED).ok_or(Refused::Short)?;
    if !fixed.ends_with(&COOKIE) {
        return Err(Refused::NoCookie);
    }
    // op BOOTREPLY, htype Ethernet, hlen 6: with more than 16 dhcproto 0.15 would panic.
    if !fixed.starts_with(&[2, 1, 6]) {
        return Err(Refused::NotAReply);
    }
    if fixed.get(28..34) != Some(&asked.mac.0[..]) {
        return Err(Refused::OtherClient);
    }
    let mut raw = BTreeMap::new();
    cut(rest, &mut raw);
    let overload = match raw.get(&code::OVERLOAD).map(Vec::as_slice) {
        Some([flags @ 1..=3]) => *flags,
        _ => 0,
    };
    // RFC 3396, section 5: the file field before sname.
    for (flag, range) in [(1, FILE), (2, SNAME)] {
        if overload & flag != 0
            && let Some(field) = fixed.get(range)
        {
            cut(field, &mut raw);
        }
    }
    let options = Options::new(raw);

    let header = header(fixed).ok_or(Refused::NotAReply)?;
    let number = options.number_u8(code::MESSAGE_TYPE);
    let kind = number.and_then(Kind::of_server).ok_or(Refused::NoType)?;
    let server = options
        .address(code::SERVER)
        .filter(|server| !server.is_unspecified() && !server.is_multicast());
    Ok(Reply {
        kind,
        xid: header.xid(),
        server,
        terms: options.terms(
            header.yiaddr(),
            server.unwrap_or(Ipv4Addr::UNSPECIFIED),
            asked,
        ),
        words: options.text(code::MESSAGE).map(|text| shown(&text)),
    })
}

/// The fixed part alone: what follows it is not dhcproto's to cut apart.
fn header(fixed: &[u8]) -> Option<Message> {
    let message = Message::decode(&mut Decoder::new(fixed)).ok()?;
    (message.opcode() == Opcode::BootReply).then_some(message)
}

/// Cuts options apart and joins those that come in several pieces (RFC 3396), up to the end, or to where they are no
/// longer options.
fn cut(mut bytes: &[u8], into: &mut BTreeMap<u8, Vec<u8>>) {
    const PAD: u8 = 0;
    const END: u8 = 255;
    loop {
        let (code, rest) = match bytes.split_first() {
            None | Some((&END, _)) => return,
            Some((&PAD, rest)) => {
                bytes = rest;
                continue;
            }
            Some((code, rest)) => (*code, rest),
        };
        let Some((length, rest)) = rest.split_first() else {
            return;
        };
        let Some((data, rest)) = rest.split_at_checked(usize::from(*length)) else {
            return;
        };
        into.entry(code).or_default().extend_from_slice(data);
        bytes = rest;
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
