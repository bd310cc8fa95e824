//! Packets: what is sent comes back, and what is hostile does nothing.

use core::net::{IpAddr, Ipv4Addr};

use cni_common::addr::{Cidr, Mac};

use super::*;
use crate::lease::Hop;
use crate::wire::frame;
use crate::wire::{Outgoing, code};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const SERVER: [u8; 4] = [10, 0, 0, 1];

const ASKED: Asked<'_> = Asked {
    mac: MAC,
    request: &[],
    informed: None,
    largest: None,
};

/// A reply with these options, as they stand on the wire.
fn packet(options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 1, 6, 0, 0, 0, 0, 9];
    bytes.resize(16, 0);
    bytes.extend([10, 0, 0, 50]);
    bytes.resize(28, 0);
    bytes.extend(MAC.0);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99]);
    bytes.extend(options);
    bytes
}

/// An ACK with these options and what every one has.
fn ack(options: &[u8]) -> Reply {
    let usual = [
        53, 1, 5, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 0, 100,
    ];
    read(&packet(&[&usual, options, &[255]].concat()), &ASKED).unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn a_lease_is_read() {
    let reply = ack(&[
        3, 4, 10, 0, 0, 1, 6, 8, 10, 0, 0, 53, 9, 9, 9, 9, 15, 3, b'l', b'a', b'b', 26, 2, 5, 120,
        58, 4, 0, 0, 0, 40, 59, 4, 0, 0, 0, 70,
    ]);
    assert_eq!(
        (reply.kind, reply.xid, reply.server),
        (Kind::Ack, 9, Some(SERVER.into()))
    );
    let terms = reply.terms.unwrap();
    assert_eq!(terms.cidr(), cidr("10.0.0.50/24"));
    assert_eq!(terms.gateway, Some(SERVER.into()));
    let default = Hop {
        dst: cidr("0.0.0.0/0"),
        via: SERVER.into(),
    };
    assert_eq!(terms.routes, [default]);
    assert_eq!(
        terms.dns,
        [Ipv4Addr::new(10, 0, 0, 53), Ipv4Addr::new(9, 9, 9, 9)]
    );
    assert_eq!(
        (terms.domain.as_deref(), terms.mtu),
        (Some("lab"), Some(1400))
    );
    assert_eq!(
        (terms.seconds, terms.t1, terms.t2),
        (100, Some(40), Some(70))
    );
}

#[test]
fn classless_routes_stand_for_all_others_under_both_numbers() {
    let routes = [
        24, 10, 99, 0, 10, 0, 0, 254, 0, 10, 0, 0, 253, 16, 10, 7, 0, 0, 0, 0,
    ];
    for number in [121, 249] {
        let length = u8::try_from(routes.len()).unwrap();
        let terms = ack(&[&[3, 4, 10, 0, 0, 1, number, length], &routes[..]].concat()).terms;
        let found: Vec<_> = terms
            .unwrap()
            .routes
            .iter()
            .map(|hop| format!("{} via {}", hop.dst, hop.via))
            .collect();
        assert_eq!(
            found,
            [
                "10.99.0.0/24 via 10.0.0.254",
                "0.0.0.0/0 via 10.0.0.253",
                "10.7.0.0/16 via 0.0.0.0"
            ]
        );
    }
}

#[test]
fn a_classless_route_with_an_impossible_prefix_spoils_the_option_and_nothing_else() {
    let terms = ack(&[121, 9, 33, 10, 99, 0, 0, 0, 10, 0, 0, 3, 4, 10, 0, 0, 1])
        .terms
        .unwrap();
    assert_eq!(terms.routes.len(), 1);
    assert!(terms.routes[0].dst.is_default_route());
}

#[test]
fn a_malformed_option_does_not_hide_those_after_it() {
    // Routers of three bytes, then a name server.
    let terms = ack(&[3, 3, 10, 0, 0, 6, 4, 9, 9, 9, 9]).terms.unwrap();
    assert_eq!((terms.gateway, terms.dns.len()), (None, 1));
}

#[test]
fn static_routes_have_the_network_of_their_class() {
    let terms = ack(&[33, 16, 10, 0, 0, 0, 10, 0, 0, 9, 192, 0, 2, 7, 10, 0, 0, 9])
        .terms
        .unwrap();
    let destinations: Vec<_> = terms.routes.iter().map(|hop| hop.dst).collect();
    assert_eq!(destinations, [cidr("10.0.0.0/8"), cidr("192.0.2.7/32")]);
}

#[test]
fn search_domains_are_read_where_they_are_compressed() {
    let list = [
        119, 13, 3, b'l', b'a', b'b', 2, b'e', b'x', 0, 1, b'a', 0xc0, 4, 255,
    ];
    let terms = ack(&list).terms.unwrap();
    assert_eq!(terms.search, ["lab.ex", "a.ex"]);
}

#[test]
fn options_go_on_in_the_file_and_server_name_fields() {
    let mut bytes = packet(&[52, 1, 3, 53, 1, 5, 255]);
    bytes[108..115].copy_from_slice(&[54, 4, 10, 0, 0, 1, 255]);
    bytes[44..51].copy_from_slice(&[1, 4, 255, 255, 0, 0, 255]);
    let reply = read(&bytes, &ASKED).unwrap();
    assert_eq!(reply.server, Some(SERVER.into()));
    assert_eq!(reply.terms.unwrap().prefix, 16);
}

#[test]
fn an_option_in_pieces_is_joined() {
    let terms = ack(&[6, 2, 9, 9, 12, 1, b'x', 6, 2, 9, 9]).terms.unwrap();
    assert_eq!(terms.dns, [Ipv4Addr::new(9, 9, 9, 9)]);
}

#[test]
fn what_is_no_message_for_us_is_refused() {
    let good = packet(&[53, 1, 5, 255]);
    let with = |place: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[place] = value;
        read(&bytes, &ASKED).unwrap_err()
    };
    assert_eq!(read(&good[..239], &ASKED), Err(Refused::Short));
    assert_eq!(with(0, 1), Refused::NotAReply);
    assert_eq!(with(2, 255), Refused::NotAReply);
    assert_eq!(with(33, 8), Refused::OtherClient);
    assert_eq!(with(238, 0), Refused::NoCookie);
    assert_eq!(with(242, 1), Refused::NoType);
}

#[test]
fn an_address_that_no_interface_can_have_is_no_lease() {
    let usual = [53, 1, 5, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0, 255];
    for address in [
        [0; 4],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [10, 0, 0, 255],
        [169, 254, 1, 1],
    ] {
        let mut bytes = packet(&usual);
        bytes[16..20].copy_from_slice(&address);
        assert!(read(&bytes, &ASKED).unwrap().terms.is_err(), "{address:?}");
    }
    for mask in [[0; 4], [255, 0, 255, 0]] {
        let mut bytes = packet(&usual);
        bytes[251..255].copy_from_slice(&mask);
        assert!(read(&bytes, &ASKED).unwrap().terms.is_err(), "{mask:?}");
    }
}

#[test]
fn absurd_values_are_left_out() {
    let terms = ack(&[
        26, 2, 0, 10, 15, 5, b'a', b'\n', b'$', b'(', b'b', 6, 4, 127, 0, 0, 1,
    ])
    .terms;
    let terms = terms.unwrap();
    assert_eq!((terms.mtu, terms.domain, terms.dns), (None, None, vec![]));
}

#[test]
fn no_bytes_at_all_make_it_panic() {
    let mut seed: u64 = 1;
    let mut byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    };
    for round in 0..20_000_usize {
        let options: Vec<u8> = (0..round % 200).map(|_| byte()).collect();
        let mut bytes = packet(&options);
        for _ in 0..round % 3 {
            let place = (usize::from(byte()) << 8 | usize::from(byte())) % bytes.len();
            bytes[place] = byte();
        }
        let _ = read(&bytes, &ASKED);
        let _ = frame::parse(&bytes);
        let _ = frame::arp_conflicts(&bytes, MAC, SERVER.into());
    }
}

fn discover() -> Outgoing {
    Outgoing {
        kind: Kind::Discover,
        xid: 0x0102_0304,
        secs: 5,
        broadcast: true,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: MAC,
        options: vec![(code::CLIENT_ID, vec![0, 1]), (code::CLIENT_ID, vec![0, 2])],
    }
}

#[test]
fn what_is_sent_is_padded_to_what_bootp_has() {
    let bytes = discover().to_bytes().unwrap();
    assert_eq!(bytes.len(), 300);
    assert_eq!(bytes[..4], [1, 1, 6, 0]);
    assert_eq!(bytes[4..12], [1, 2, 3, 4, 0, 5, 0x80, 0]);
    assert_eq!(bytes[28..34], MAC.0);
    assert_eq!(bytes[236..240], [99, 130, 83, 99]);
    // In the order of their numbers, and of duplicates the last.
    assert_eq!(bytes[240..248], [53, 1, 1, 61, 2, 0, 2, 255]);
}

#[test]
fn an_option_that_is_too_long_is_not_sent() {
    let long = Outgoing {
        options: vec![(60, vec![0; 256])],
        ..discover()
    };
    assert_eq!(long.to_bytes(), None);
}

/// The checksums of `frame::build` are checked by its reader, and by tcpdump in the black-box tests.
#[test]
fn a_frame_has_its_checksums() {
    let path = frame::Path {
        from: (MAC, Ipv4Addr::UNSPECIFIED),
        to: (frame::EVERYBODY, Ipv4Addr::BROADCAST),
    };
    let mut frame = frame::build(path, &[1, 2, 3]).unwrap();
    assert_eq!(frame.len(), 45);
    assert_eq!(frame[12..14], [8, 0]);
    assert_eq!(frame[34..38], [0, 68, 0, 67]);
    // From a client: not for us.
    assert_eq!(frame::parse(&frame), None);
    frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
    frame.extend([0; 15]);
    let (mac, from, message) = frame::parse(&frame).unwrap();
    assert_eq!(
        (mac, from, message),
        (MAC, Ipv4Addr::UNSPECIFIED, &[1, 2, 3][..])
    );
    frame[24] ^= 1;
    assert_eq!(frame::parse(&frame), None, "the checksum of IP is wrong");
}

#[test]
fn a_conflict_is_what_another_host_says_of_the_address() {
    let ours = frame::arp_probe(MAC, SERVER.into());
    assert_eq!(ours.len(), 42);
    let theirs = Mac([2, 0, 0, 0, 0, 8]);
    assert!(!frame::arp_conflicts(&ours, MAC, SERVER.into()), "our own");
    let probe = frame::arp_probe(theirs, SERVER.into());
    assert!(
        frame::arp_conflicts(&probe, MAC, SERVER.into()),
        "another probe"
    );
    let mut reply = probe;
    reply[20..22].copy_from_slice(&[0, 2]);
    reply[28..32].copy_from_slice(&SERVER);
    reply[38..42].copy_from_slice(&[0; 4]);
    assert!(frame::arp_conflicts(&reply, MAC, SERVER.into()), "a reply");
    assert!(
        !frame::arp_conflicts(&reply, MAC, Ipv4Addr::new(10, 0, 0, 2)),
        "another address"
    );
}

#[test]
fn the_results_of_leases_have_no_route_that_cannot_be() {
    let loopback = Hop::usable(cidr("127.0.0.0/8"), SERVER.into());
    let multicast = Hop::usable(cidr("10.0.0.0/8"), Ipv4Addr::new(224, 0, 0, 1));
    assert_eq!((loopback, multicast), (None, None));
    assert!(Hop::usable(Cidr::host(IpAddr::V4(SERVER.into())), Ipv4Addr::UNSPECIFIED).is_some());
}

#[test]
fn what_was_asked_for_and_is_not_understood_is_kept_as_bytes_up_to_a_bound() {
    let with = |request: &'static [u8], options: &[u8]| {
        let usual = [53, 1, 5, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0];
        let asked = Asked { request, ..ASKED };
        let reply = read(&packet(&[&usual, options, &[255]].concat()), &asked);
        reply.unwrap().terms.unwrap().others
    };
    let options = [42, 4, 10, 0, 0, 9, 66, 1, b'x', 6, 4, 10, 0, 0, 53];
    assert_eq!(with(&[42, 6], &options), [(42, vec![10, 0, 0, 9])]);
    let long = [&[66, 255][..], &[b'x'; 255]].concat();
    let much = [&long[..], &long, &long, &long, &long, &[42, 1, 9]].concat();
    assert_eq!(with(&[66, 42], &much), []);
    assert_eq!(with(&[42, 66], &much), [(42, vec![9])]);
}

#[test]
fn an_mtu_is_no_larger_than_the_link_can_have() {
    let asked = Asked {
        largest: Some(1500),
        ..ASKED
    };
    let mtu = |bytes: [u8; 2]| {
        let usual = [53, 1, 5, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0, 26, 2];
        let reply = read(&packet(&[&usual, &bytes[..], &[255]].concat()), &asked);
        reply.unwrap().terms.unwrap().mtu
    };
    assert_eq!(mtu([5, 120]), Some(1400));
    assert_eq!(mtu([0xff, 0xff]), Some(1500));
    assert_eq!(mtu([0, 68]), None);
}

#[test]
fn a_client_with_an_address_of_its_own_needs_no_lease() {
    let asked = Asked {
        informed: Some(cidr("10.0.0.9/16")),
        ..ASKED
    };
    let mut bytes = packet(&[53, 1, 5, 54, 4, 10, 0, 0, 1, 6, 4, 10, 0, 0, 53, 255]);
    bytes[16..20].fill(0);
    let terms = read(&bytes, &asked).unwrap().terms.unwrap();
    assert_eq!(
        (terms.cidr(), terms.seconds),
        (cidr("10.0.0.9/16"), u32::MAX)
    );
    assert_eq!(terms.dns, [Ipv4Addr::new(10, 0, 0, 53)]);
}
