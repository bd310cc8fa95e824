//! Where in a packet its fields stand.

use super::statement::{EtherType, Field};
use crate::addr::Family;

/// Where bytes are loaded from (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// `NFT_PAYLOAD_LL_HEADER`.
    Link,
    /// `NFT_PAYLOAD_NETWORK_HEADER`.
    Network,
    /// `NFT_PAYLOAD_TRANSPORT_HEADER`.
    Transport,
}

/// Bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) base: Base,
    /// The first byte.
    pub(super) offset: u32,
    /// How many.
    pub(super) length: u32,
}

/// The number of an ether type on the wire.
pub(super) fn ether_type(kind: EtherType) -> Vec<u8> {
    let number: u16 = match kind {
        EtherType::Ip(Family::V4) => 0x0800,
        EtherType::Ip(Family::V6) => 0x86dd,
        EtherType::Arp => 0x0806,
    };
    number.to_be_bytes().to_vec()
}

/// Where the sender's IPv4 address stands in an ARP packet (RFC 826).
pub(super) const ARP_SENDER: Bytes = Bytes {
    base: Base::Network,
    offset: 14,
    length: 4,
};
/// Where the type of an `ICMPv6` message stands (RFC 4443, 2.1).
pub(super) const ICMPV6_TYPE: Bytes = Bytes {
    base: Base::Transport,
    offset: 0,
    length: 1,
};
/// Where the ports of UDP stand (RFC 768).
pub(super) const PORTS: Bytes = Bytes {
    base: Base::Transport,
    offset: 0,
    length: 4,
};
/// Where the destination port of TCP, UDP and SCTP stands.
pub(super) const DPORT: Bytes = Bytes {
    base: Base::Transport,
    offset: 2,
    length: 2,
};
/// Where the flags of TCP stand (RFC 9293, 3.1).
pub(super) const TCP_FLAGS: Bytes = Bytes {
    base: Base::Transport,
    offset: 13,
    length: 1,
};
/// SYN among them.
pub(super) const SYN: u8 = 2;
/// `IPPROTO_TCP`.
pub(super) const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub(super) const UDP: u8 = 17;
/// `IPPROTO_ICMPV6`.
pub(super) const ICMPV6: u8 = 58;

/// Where a field stands.
pub(super) fn place(field: Field) -> Bytes {
    let (base, offset, length) = match field {
        Field::SourceMac => (Base::Link, 6, 6),
        Field::ArpSenderMac => (Base::Network, 8, 6),
        Field::ArpSender => return ARP_SENDER,
        Field::Source(Family::V4) => (Base::Network, 12, 4),
        Field::Source(Family::V6) => (Base::Network, 8, 16),
        Field::NeighbourTarget => (Base::Transport, 8, 16),
    };
    Bytes {
        base,
        offset,
        length,
    }
}
