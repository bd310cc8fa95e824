//! Netlink messages as bytes: one datagram holds several, each padded to four bytes.
//!
//! Written here because netlink-packet-core 0.9 neither walks a datagram, nor parses extended acknowledgements,
//! nor pads a batch.

use core::net::IpAddr;

use netlink_packet_core::{NLA_TYPE_MASK, NLM_F_ACK_TLVS, NLM_F_CAPPED};

/// Size of `struct nlmsghdr` (linux/netlink.h).
pub(super) const HEADER: usize = 16;

/// A received message, borrowed from its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// What `NLMSG_ERROR` or `NLMSG_DONE` says: 0 is success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The error number, positive, or 0.
    pub(super) errno: i32,
    /// The extended acknowledgement's sentence, or nothing.
    pub(super) message: String,
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Appends one message with its header and padding.
pub(super) fn write(
    datagram: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    length: usize,
    body: impl FnOnce(&mut [u8]),
) {
    let start = datagram.len();
    let total = HEADER.saturating_add(length);
    datagram.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_ne_bytes());
    datagram.extend_from_slice(&kind.to_ne_bytes());
    datagram.extend_from_slice(&flags.to_ne_bytes());
    datagram.extend_from_slice(&sequence.to_ne_bytes());
    datagram.extend_from_slice(&0_u32.to_ne_bytes());
    datagram.resize(start.saturating_add(aligned(total)), 0);
    let end = start.saturating_add(total);
    if let Some(space) = datagram.get_mut(start.saturating_add(HEADER)..end) {
        body(space);
    }
}

/// The messages of a datagram, up to the first whose header makes no sense.
pub(super) fn frames(datagram: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = datagram;
    core::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let frame = Frame {
            kind: u16_at(rest, 4)?,
            flags: u16_at(rest, 6)?,
            sequence: u32_at(rest, 8)?,
            body: rest.get(HEADER..length)?,
        };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(frame)
    })
}

impl Frame<'_> {
    /// Reads an `NLMSG_ERROR`: `struct nlmsgerr`, then attributes.
    pub(super) fn error(&self) -> Option<Verdict> {
        let echoed = if self.flags & NLM_F_CAPPED == 0 {
            usize::try_from(u32_at(self.body, 4)?).ok()?
        } else {
            HEADER
        };
        self.verdict(4_usize.saturating_add(aligned(echoed)))
    }

    /// Reads an `NLMSG_DONE`; the kernel may leave the number out.
    pub(super) fn done(&self) -> Verdict {
        self.verdict(4).unwrap_or(Verdict {
            errno: 0,
            message: String::new(),
        })
    }

    fn verdict(&self, attributes: usize) -> Option<Verdict> {
        let code = i32::from_ne_bytes(*self.body.first_chunk()?);
        let message = if self.flags & NLM_F_ACK_TLVS == 0 {
            None
        } else {
            self.body.get(attributes..).and_then(sentence)
        };
        Some(Verdict {
            errno: code.checked_neg().unwrap_or(i32::MAX),
            message: message.unwrap_or_default(),
        })
    }
}

/// The attributes in `bytes` as type, without its flag bits, and value, up to the first whose length makes no
/// sense.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A value of four bytes in host order.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An address of four or sixteen bytes.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
        .ok()
}

/// A text value, with or without its final NUL.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// The text of `NLMSGERR_ATTR_MSG` among the attributes of an acknowledgement.
fn sentence(bytes: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    attributes(bytes)
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, value)| text(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, kind, flags, sequence, body.len(), |space| {
            space.copy_from_slice(body);
        });
        bytes
    }

    #[test]
    fn messages_are_padded_and_found_again() {
        let mut datagram = message(16, 5, 1, b"abcde");
        datagram.extend(message(17, 0, 2, b""));
        assert_eq!(datagram.len(), 24 + 16);
        let found: Vec<_> = frames(&datagram)
            .map(|f| (f.kind, f.flags, f.sequence, f.body))
            .collect();
        assert_eq!(found, [(16, 5, 1, &b"abcde"[..]), (17, 0, 2, &b""[..])]);
    }

    #[test]
    fn a_header_that_lies_ends_the_walk() {
        let good = message(16, 0, 1, b"abcd");
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut datagram = good.clone();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(frames(&datagram).count(), 0, "{length}");
        }
        for cut in 0..good.len() {
            assert_eq!(frames(&good[..cut]).count(), 0, "{cut}");
        }
    }

    #[test]
    fn the_extended_acknowledgement_is_read_capped_or_not() {
        let mut offset = vec![8, 0, 2, 0, 9, 9, 9, 9];
        offset.extend([4 + 3, 0, 1, 0, b'n', b'o', 0, 0]);

        let mut capped = (-22_i32).to_ne_bytes().to_vec();
        capped.extend(message(16, 0, 1, b""));
        capped.extend(&offset);
        let bytes = message(2, NLM_F_ACK_TLVS | NLM_F_CAPPED, 1, &capped);
        let verdict = frames(&bytes).next().unwrap().error().unwrap();
        assert_eq!((verdict.errno, verdict.message.as_str()), (22, "no"));

        let mut full = (-22_i32).to_ne_bytes().to_vec();
        full.extend(message(16, 0, 1, b"echoed"));
        full.extend(&offset);
        let bytes = message(2, NLM_F_ACK_TLVS, 1, &full);
        let verdict = frames(&bytes).next().unwrap().error().unwrap();
        assert_eq!((verdict.errno, verdict.message.as_str()), (22, "no"));
    }

    #[test]
    fn acknowledgements_of_any_length_do_not_panic() {
        let bytes = [0xff_u8; 64];
        for cut in 0..bytes.len() {
            for flags in [0, NLM_F_ACK_TLVS, NLM_F_ACK_TLVS | NLM_F_CAPPED] {
                let frame = Frame {
                    kind: 2,
                    flags,
                    sequence: 0,
                    body: &bytes[..cut],
                };
                assert_eq!(
                    frame.error().is_some(),
                    cut >= if flags & NLM_F_CAPPED == 0 { 8 } else { 4 }
                );
                frame.done();
            }
        }
    }
}
