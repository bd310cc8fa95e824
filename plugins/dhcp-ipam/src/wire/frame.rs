//! Ethernet, IPv4, UDP and ARP around a message, as long as the interface has no address.

use core::net::Ipv4Addr;

use cni_common::addr::Mac;

use super::{CLIENT_PORT, SERVER_PORT};

/// To every host of the link.
pub(crate) const EVERYBODY: Mac = Mac([0xff; 6]);

const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const UDP: u8 = 17;

/// Where a frame goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) from: (Mac, Ipv4Addr),
    pub(crate) to: (Mac, Ipv4Addr),
}

/// A frame with a client's message. `None` for a message longer than a datagram can be.
pub(crate) fn build(path: Path, message: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(message.len().checked_add(8)?).ok()?;
    let length = udp_length.checked_add(20)?;
    let mut ip = vec![0x45, 0x10];
    ip.extend(length.to_be_bytes());
    // No fragments, 64 hops; the checksum comes last.
    ip.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
    ip.extend(path.from.1.octets());
    ip.extend(path.to.1.octets());
    let sum = checksum(&[&ip]).to_be_bytes();
    ip.splice(10..12, sum);

    let mut udp = Vec::with_capacity(message.len().saturating_add(8));
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend_from_slice(message);
    let pseudo = pseudo_header(path.from.1, path.to.1, udp_length);
    // Zero would mean that there is none (RFC 768).
    let sum = match checksum(&[&pseudo, &udp]) {
        0 => u16::MAX,
        sum => sum,
    };
    udp.splice(6..8, sum.to_be_bytes());

    let mut frame = Vec::with_capacity(ETHERNET.saturating_add(usize::from(length)));
    frame.extend(path.to.0.0);
    frame.extend(path.from.0.0);
    frame.extend(IPV4);
    frame.extend(ip);
    frame.extend(udp);
    Some(frame)
}

/// A frame of a server for a client: who sent it, and the message.
///
/// The checksum of UDP is not looked at: a server on the same machine leaves it to hardware that a veth does not have.
pub(crate) fn parse(frame: &[u8]) -> Option<(Mac, Ipv4Addr, &[u8])> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let source = Mac(ethernet.get(6..12)?.try_into().ok()?);
    if ethernet.get(12..14)? != IPV4 {
        return None;
    }
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f).checked_mul(4)?;
    if first >> 4 != 4 || header < 20 {
        return None;
    }
    let length = usize::from(word(packet, 2)?);
    // Ethernet pads short packets.
    let packet = packet.get(..length)?;
    let (ip, udp) = packet.split_at_checked(header)?;
    // More fragments, or not the first one: DHCP has none.
    let is_fragment = word(ip, 6)? & 0x3fff != 0;
    if checksum(&[ip]) != 0 || is_fragment || *ip.get(9)? != UDP {
        return None;
    }
    if word(udp, 0)? != SERVER_PORT || word(udp, 2)? != CLIENT_PORT {
        return None;
    }
    let message = udp.get(8..usize::from(word(udp, 4)?))?;
    let address: [u8; 4] = ip.get(12..16)?.try_into().ok()?;
    Some((source, Ipv4Addr::from(address), message))
}

/// Whether a frame's source can be a server, or a relay, rather than this client or nobody.
pub(crate) fn may_be_a_server(mac: Mac, address: Ipv4Addr, ours: Mac) -> bool {
    let nobody = address.is_multicast() || address.is_broadcast() || address.is_loopback();
    mac.is_usable() && mac != ours && !nobody
}

/// A question who has an address, from somebody who has none (RFC 5227, 2.1.1).
pub(crate) fn arp_probe(ours: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(EVERYBODY.0);
    frame.extend(ours.0);
    frame.extend(ARP);
    // Ethernet, IPv4, their lengths, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(ours.0);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// Whether an ARP frame says that somebody else has, or is about to take, an address (RFC 5227, 2.1.1).
pub(crate) fn arp_conflicts(frame: &[u8], ours: Mac, address: Ipv4Addr) -> bool {
    let field = |range: core::ops::Range<usize>| frame.get(range).unwrap_or_default();
    if field(12..14) != ARP || field(14..20) != [0, 1, 8, 0, 6, 4] {
        return false;
    }
    let (sender_mac, sender, target) = (field(22..28), field(28..32), field(38..42));
    let probes = sender == [0; 4] && target == address.octets();
    sender_mac != ours.0 && (sender == address.octets() || probes)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    pair.try_into().ok().map(u16::from_be_bytes)
}

fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr, length: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend([0, UDP]);
    bytes.extend(length.to_be_bytes());
    bytes
}

/// The Internet checksum (RFC 1071) of pieces that all but the last have an even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for piece in pieces {
        for pair in piece.chunks(2) {
            let word = match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high] => u16::from_be_bytes([*high, 0]),
                _ => 0,
            };
            sum = sum.saturating_add(u32::from(word));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16).saturating_add(sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
