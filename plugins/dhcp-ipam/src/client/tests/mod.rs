//! The client's timetables: what it sends when, and what each message does.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the client does fails the test"
)]

mod grant;
mod link;
mod renewal;
mod walk;

use core::net::Ipv4Addr;
use core::time::Duration;

use cni_common::addr::Mac;

use super::*;
use crate::lease::{Lease, Terms, Wishes};
use crate::wire::{Kind, Reply, code};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);

type TestClient = Client<Box<dyn FnMut() -> u32>>;

/// A new transaction each time. Its low bits are those that a wait takes by chance, which are zero: three quarters.
fn random() -> Box<dyn FnMut() -> u32> {
    let mut last = 0;
    Box::new(move || {
        last += 1 << 12;
        last
    })
}

fn identity() -> Identity {
    Identity {
        mac: MAC,
        settings: Rc::new(Settings {
            client_id: vec![0, 1, 2],
            options: vec![(12, b"host".to_vec())],
            request: vec![1, 3],
            probe_millis: 0,
            on_change: None,
            wishes: Wishes::default(),
        }),
        broadcast: false,
    }
}

fn policy() -> Policy {
    Policy {
        first: Duration::from_secs(4),
        longest: Duration::from_secs(64),
        probe: Duration::ZERO,
    }
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn terms() -> Terms {
    Terms {
        address: ADDRESS,
        prefix: 24,
        server: SERVER,
        gateway: None,
        routes: Vec::new(),
        dns: Vec::new(),
        domain: None,
        search: Vec::new(),
        mtu: None,
        seconds: 1000,
        t1: None,
        t2: None,
        others: Vec::new(),
    }
}

fn lease() -> Lease {
    Lease {
        terms: terms().into(),
        since: at(0),
    }
}

fn start() -> TestClient {
    Client::start(identity(), policy(), random(), at(0))
}

fn outputs(client: &mut TestClient) -> Vec<Output> {
    core::iter::from_fn(|| client.poll()).collect()
}

/// The one message that the client sends.
#[track_caller]
fn sent(client: &mut TestClient) -> Outgoing {
    let mut outputs = outputs(client);
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    let output = outputs.remove(0);
    let (Output::Broadcast { message, .. } | Output::Unicast { message, .. }) = output else {
        panic!("{output:?}")
    };
    message
}

fn reply(client: &TestClient, kind: Kind) -> Reply {
    Reply {
        kind,
        xid: client.xid,
        server: Some(SERVER),
        terms: Ok(terms()),
        words: None,
    }
}

#[track_caller]
fn take(client: &mut TestClient, kind: Kind, seconds: u64) {
    let reply = reply(client, kind);
    assert_eq!(client.handle_message(&reply, at(seconds)), Ok(()));
}

/// A client with a lease since 0 s: T1 at 500, T2 at 875, its end at 1000.
fn bound() -> TestClient {
    let mut client = start();
    outputs(&mut client);
    take(&mut client, Kind::Offer, 0);
    outputs(&mut client);
    take(&mut client, Kind::Ack, 0);
    assert_eq!(outputs(&mut client), [Output::Bound(lease())]);
    client
}

/// When it next does something, in seconds.
#[track_caller]
fn next(client: &mut TestClient) -> u64 {
    let deadline = client.deadline().unwrap();
    client.handle_timeout(deadline);
    deadline.millis() / 1000
}

#[test]
fn discover_offer_request_ack() {
    let mut client = start();
    let discover = sent(&mut client);
    assert_eq!(
        (discover.kind, discover.ciaddr),
        (Kind::Discover, Ipv4Addr::UNSPECIFIED)
    );
    assert_eq!(discover.option(code::CLIENT_ID), Some(&[0, 1, 2][..]));
    assert_eq!(discover.option(code::REQUEST_LIST), Some(&[1, 3][..]));
    assert_eq!(discover.option(12), Some(&b"host"[..]));
    assert_eq!(client.state_name(), "SELECTING");

    take(&mut client, Kind::Offer, 1);
    let request = sent(&mut client);
    assert_eq!((request.kind, request.xid), (Kind::Request, discover.xid));
    assert_eq!(request.option(code::SERVER), Some(&SERVER.octets()[..]));
    assert_eq!(
        request.option(code::REQUESTED_ADDRESS),
        Some(&ADDRESS.octets()[..])
    );
    assert_eq!(client.state_name(), "REQUESTING");

    take(&mut client, Kind::Ack, 2);
    // It counts from when the request was sent, not from when the answer came.
    let lease = Lease {
        terms: terms().into(),
        since: at(1),
    };
    assert_eq!(outputs(&mut client), [Output::Bound(lease)]);
    assert_eq!(client.state_name(), "BOUND");
    assert!(!client.listens());
}

#[test]
fn discovers_are_repeated_at_doubling_intervals_up_to_a_limit() {
    let mut client = start();
    sent(&mut client);
    let mut times = Vec::new();
    for _ in 0..6 {
        times.push(next(&mut client));
        assert_eq!(sent(&mut client).kind, Kind::Discover);
    }
    // Three quarters of 4, 8, 16, 32, 64 and 64 again.
    assert_eq!(times, [3, 9, 21, 45, 93, 141]);
    assert_eq!(client.tried().discovers, 7);
}

#[test]
fn waits_differ_by_chance_by_a_quarter() {
    for (chance, millis) in [(0, 3000), (511, 4996)] {
        let constant: Box<dyn FnMut() -> u32> = Box::new(move || chance);
        let client = Client::start(identity(), policy(), constant, at(0));
        let wait = client.deadline().unwrap().millis();
        assert!(wait.abs_diff(millis) < 10, "{wait}");
    }
}

#[test]
fn nothing_happens_before_the_deadline() {
    let mut client = start();
    sent(&mut client);
    client.handle_timeout(at(2));
    assert_eq!(outputs(&mut client), []);
}

#[test]
fn the_seconds_field_counts_from_the_first_message() {
    let mut client = start();
    assert_eq!(sent(&mut client).secs, 0);
    next(&mut client);
    assert_eq!(sent(&mut client).secs, 3);
    take(&mut client, Kind::Offer, 5);
    assert_eq!(sent(&mut client).secs, 5);
}

#[test]
fn a_request_that_nobody_answers_is_repeated_and_then_begun_anew() {
    let mut client = start();
    let discover = sent(&mut client);
    take(&mut client, Kind::Offer, 0);
    for _ in 0..4 {
        assert_eq!(sent(&mut client).kind, Kind::Request);
        next(&mut client);
    }
    let again = sent(&mut client);
    assert_eq!(again.kind, Kind::Discover);
    assert_ne!(again.xid, discover.xid);
    assert_eq!(client.tried().offered, Some(SERVER));
}

#[test]
fn what_is_not_ours_is_ignored_and_why() {
    let mut client = start();
    outputs(&mut client);
    let offer = reply(&client, Kind::Offer);
    let mut ignored = |reply: Reply| client.handle_message(&reply, at(0)).unwrap_err();
    assert_eq!(
        ignored(Reply {
            xid: 9,
            ..offer.clone()
        }),
        Ignored::OtherTransaction
    );
    assert_eq!(
        ignored(Reply {
            server: None,
            ..offer.clone()
        }),
        Ignored::NoServer
    );
    let bad = Reply {
        terms: Err("no"),
        ..offer.clone()
    };
    assert_eq!(ignored(bad), Ignored::BadLease("no"));
    let early = Reply {
        kind: Kind::Ack,
        ..offer.clone()
    };
    assert_eq!(ignored(early), Ignored::NotExpectedIn("SELECTING"));

    client.handle_message(&offer, at(0)).unwrap();
    let mut ignored = |reply: Reply| client.handle_message(&reply, at(0)).unwrap_err();
    let second = Reply {
        server: Some(OTHER),
        ..offer.clone()
    };
    assert_eq!(ignored(second), Ignored::OtherServer(OTHER));
    let mut elsewhere = Reply {
        kind: Kind::Ack,
        ..offer
    };
    elsewhere.terms.as_mut().unwrap().address = OTHER;
    assert_eq!(ignored(elsewhere), Ignored::OtherAddress(OTHER));
}

#[test]
fn a_refused_request_is_begun_anew_at_once_and_later_after_a_while() {
    let mut client = start();
    outputs(&mut client);
    take(&mut client, Kind::Offer, 0);
    sent(&mut client);
    take(&mut client, Kind::Nak, 0);
    assert_eq!(sent(&mut client).kind, Kind::Discover);
    take(&mut client, Kind::Offer, 0);
    sent(&mut client);
    take(&mut client, Kind::Nak, 0);
    assert_eq!(
        (client.state_name(), outputs(&mut client)),
        ("INIT", vec![])
    );
    assert_eq!(next(&mut client), 3);
    assert_eq!(sent(&mut client).kind, Kind::Discover);
    assert_eq!(client.tried().refusals, 2);
}
