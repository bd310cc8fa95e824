use super::*;
use crate::lease6::Span;
use crate::wire::v6::{Association, Outgoing, Status, association};

const DUID: [u8; 4] = [0, 4, 1, 2];
const SERVER: [u8; 6] = [0, 1, 0, 1, 9, 9];
const OURS: Ours<'static> = Ours {
    duid: &DUID,
    iaid: 7,
};

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&code.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

fn message(kind: u8, options: &[Vec<u8>]) -> Vec<u8> {
    [&[kind, 1, 2, 3][..], &options.concat()].concat()
}

/// Client and server identifier, and these.
fn reply(options: &[Vec<u8>]) -> Vec<u8> {
    let ids = [option(1, &DUID), option(2, &SERVER)];
    message(7, &[&ids[..], options].concat())
}

fn address(text: &str, preferred: u32, valid: u32, inner: &[u8]) -> Vec<u8> {
    let ip: core::net::Ipv6Addr = text.parse().unwrap();
    let data = [
        &ip.octets()[..],
        &preferred.to_be_bytes(),
        &valid.to_be_bytes(),
        inner,
    ];
    option(5, &data.concat())
}

fn ia(code: u16, iaid: u32, t1: u32, t2: u32, inner: &[u8]) -> Vec<u8> {
    let numbers = [iaid, t1, t2].map(u32::to_be_bytes).concat();
    option(code, &[&numbers[..], inner].concat())
}

#[track_caller]
fn good(options: &[Vec<u8>]) -> Reply {
    read(&reply(options), OURS).unwrap()
}

fn given(reply: &Reply) -> Vec<String> {
    let association = reply.addresses.as_ref();
    let all = association.map(|one| &one.given).into_iter().flatten();
    all.map(|(ip, _)| ip.to_string()).collect()
}

#[test]
fn an_address_a_prefix_and_all_that_comes_with_them() {
    let prefix = [
        &1000u32.to_be_bytes()[..],
        &2000u32.to_be_bytes(),
        &[56],
        &"fd00:ab::".parse::<core::net::Ipv6Addr>().unwrap().octets(),
    ]
    .concat();
    let dns = "fd00::53".parse::<core::net::Ipv6Addr>().unwrap().octets();
    let read = good(&[
        ia(3, 7, 10, 20, &address("fd00::5", 100, 200, &[])),
        ia(25, 7, 0, 0, &option(26, &prefix)),
        option(7, &[255]),
        option(14, &[]),
        option(23, &dns),
        option(24, b"\x03lab\x07example\0"),
        option(82, &3600u32.to_be_bytes()),
    ]);
    let span = |preferred, valid| Span { preferred, valid };
    assert_eq!(
        read,
        Reply {
            kind: Kind::Reply,
            xid: 0x01_02_03,
            server: SERVER.to_vec(),
            preference: 255,
            status: None,
            rapid_commit: true,
            addresses: Some(Association {
                t1: 10,
                t2: 20,
                status: None,
                given: vec![("fd00::5".parse().unwrap(), span(100, 200))],
            }),
            prefixes: Some(Association {
                t1: 0,
                t2: 0,
                status: None,
                given: vec![("fd00:ab::/56".parse().unwrap(), span(1000, 2000))],
            }),
            dns: vec!["fd00::53".parse().unwrap()],
            search: vec![String::from("lab.example")],
            sol_max_rt: Some(3600),
            inf_max_rt: None,
            refresh: None,
        }
    );
}

#[test]
fn what_is_not_for_us_is_refused_with_the_reason() {
    let client = option(1, &DUID);
    let server = option(2, &SERVER);
    for (bytes, why) in [
        (vec![7, 1, 2], Refused::Short),
        // A Reconfigure, and what only clients send.
        (
            message(10, &[client.clone(), server.clone()]),
            Refused::NotOfAServer,
        ),
        (
            message(1, &[client.clone(), server.clone()]),
            Refused::NotOfAServer,
        ),
        (
            message(7, std::slice::from_ref(&server)),
            Refused::OtherClient,
        ),
        (
            message(7, &[option(1, &[0, 4, 9]), server.clone()]),
            Refused::OtherClient,
        ),
        (message(7, std::slice::from_ref(&client)), Refused::NoServer),
        (
            message(7, &[client.clone(), option(2, &[])]),
            Refused::NoServer,
        ),
        (
            message(7, &[client.clone(), option(2, &[0; 131])]),
            Refused::NoServer,
        ),
        (
            message(7, &[client.clone(), client.clone(), server.clone()]),
            Refused::Doubled,
        ),
        (
            message(7, &[client.clone(), server.clone(), server.clone()]),
            Refused::Doubled,
        ),
        (
            message(7, &[client, server, vec![0, 3, 0, 9, 1]]),
            Refused::Malformed,
        ),
        (reply(&vec![option(99, &[]); 300]), Refused::Malformed),
    ] {
        assert_eq!(read(&bytes, OURS), Err(why), "{bytes:?}");
    }
}

#[test]
fn a_message_cut_anywhere_does_no_harm() {
    let whole = reply(&[ia(
        3,
        7,
        10,
        20,
        &address("fd00::5", 100, 200, &option(13, &[0, 0])),
    )]);
    for length in 0..whole.len() {
        if let Ok(read) = read(&whole[..length], OURS) {
            assert_eq!(read.addresses, None, "{length}");
        }
    }
}

#[test]
fn addresses_that_no_interface_can_have_are_left_out() {
    for bad in ["::", "::1", "ff02::1", "fe80::5", "::ffff:10.0.0.1"] {
        let both = [address(bad, 1, 2, &[]), address("fd00::5", 1, 2, &[])].concat();
        assert_eq!(given(&good(&[ia(3, 7, 0, 0, &both)])), ["fd00::5"], "{bad}");
    }
    // Preferred for longer than valid; refused by its own status; cut short.
    let no_binding = option(13, &[0, 3]);
    for bad in [
        address("fd00::5", 3, 2, &[]),
        address("fd00::5", 1, 2, &no_binding),
        address("fd00::5", 1, 2, &[0, 13, 0, 9]),
        option(5, &[0; 23]),
    ] {
        assert_eq!(given(&good(&[ia(3, 7, 0, 0, &bad)])), [""; 0]);
    }
}

#[test]
fn an_association_of_another_or_with_times_in_the_wrong_order_is_none() {
    let inner = address("fd00::5", 1, 2, &[]);
    assert_eq!(good(&[ia(3, 8, 0, 0, &inner)]).addresses, None);
    assert_eq!(good(&[ia(3, 7, 20, 10, &inner)]).addresses, None);
    assert_eq!(good(&[option(3, &[0, 0, 0, 7])]).addresses, None);
    assert_eq!(good(&[ia(3, 7, 0, 0, &[0, 5, 0, 99])]).addresses, None);
    // Zero is not before anything: it leaves the time to the client.
    assert!(good(&[ia(3, 7, 20, 0, &inner)]).addresses.is_some());
}

#[test]
fn a_status_says_why_with_words_that_may_be_shown() {
    let read = good(&[option(13, b"\0\x02no\x07ne\n left")]);
    let status = read.status.unwrap();
    assert_eq!(status.describe(), "NoAddrsAvail (none left)");
    // Neither two bytes nor text.
    assert_eq!(good(&[option(13, &[2])]).status, None);
    let silent = good(&[option(13, &[0, 4, 0xff])]).status.unwrap();
    assert_eq!(silent.describe(), "NotOnLink");
    let unknown = Status {
        number: 99,
        words: String::from("x"),
    };
    assert_eq!(unknown.describe(), "status 99 (x)");
}

#[test]
fn malformed_options_are_as_if_absent_and_hide_no_others() {
    let read = good(&[
        option(23, &[1, 2, 3]),
        option(24, &[0xff, 1]),
        option(7, &[]),
        option(14, &[1]),
        option(82, &59u32.to_be_bytes()),
        option(83, &86_400u32.to_be_bytes()),
        ia(3, 7, 0, 0, &address("fd00::5", 1, 2, &[])),
    ]);
    assert_eq!((read.preference, read.rapid_commit), (0, false));
    assert!(read.dns.is_empty() && read.search.is_empty());
    assert_eq!((read.sol_max_rt, read.inf_max_rt), (None, Some(86_400)));
    assert_eq!(given(&read), ["fd00::5"]);
}

#[test]
fn what_is_sent_is_what_the_rfc_draws() {
    let ip = "fd00::5".parse::<core::net::Ipv6Addr>().unwrap().octets();
    let wanted = [&ip[..], &[0; 8]].concat();
    let message = Outgoing {
        kind: Kind::Renew,
        xid: 0x0a_0b_0c,
        options: vec![
            (code::IA_NA, association(7, &[(code::IA_ADDRESS, wanted)])),
            (code::CLIENT_ID, DUID.to_vec()),
        ],
    };
    let bytes = message.to_bytes().unwrap();
    let expected = [
        &[5, 0x0a, 0x0b, 0x0c][..],
        &[0, 1, 0, 4],
        &DUID,
        &[0, 3, 0, 40, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 5, 0, 24],
        &ip,
        &[0; 8],
    ];
    assert_eq!(bytes, expected.concat());
}
