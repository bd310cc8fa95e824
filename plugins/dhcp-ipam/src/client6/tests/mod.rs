//! The client's timetables: what it sends when, and what each message does.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the client does fails the test"
)]

mod grant;
mod link;
mod partial;
mod release;
mod renewal;

use core::net::Ipv6Addr;
use core::time::Duration;

use super::*;
use crate::lease6::{Span, Terms6};
use crate::wire::v6::{Association, Kind, Reply, Status, code};

const SERVER: [u8; 3] = [0, 3, 1];
const OTHER: [u8; 3] = [0, 3, 2];
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5);

pub(super) type TestClient = Client6<Box<dyn FnMut() -> u32>>;

/// A new transaction each time, and the middle of what a wait takes by chance.
fn random() -> Box<dyn FnMut() -> u32> {
    let mut last = 0;
    Box::new(move || {
        last += 2001 * 1024;
        last + 1000
    })
}

fn identity() -> Identity {
    Identity {
        duid: vec![0, 4, 9],
        iaid: 7,
        prefix: None,
        rapid_commit: true,
        request: vec![code::DNS],
        options: Vec::new(),
    }
}

fn policy() -> Policy {
    Policy {
        first: Duration::from_secs(1),
        delay: Duration::ZERO,
        probe: Duration::ZERO,
    }
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn terms() -> Terms6 {
    Terms6 {
        server: SERVER.to_vec(),
        address: Some((
            ADDRESS,
            Span {
                preferred: 1000,
                valid: 1600,
            },
        )),
        prefix: None,
        t1: 500,
        t2: 800,
        dns: Vec::new(),
        search: Vec::new(),
    }
}

fn lease(since: u64) -> Lease6 {
    Lease6 {
        terms: terms(),
        since: at(since),
    }
}

/// A client, and an offer that it takes at once: of the highest preference.
fn offered() -> (TestClient, Reply) {
    let mut client = start();
    outputs(&mut client);
    let offer = Reply {
        preference: 255,
        ..reply(&client, Kind::Advertise)
    };
    (client, offer)
}

fn start() -> TestClient {
    Client6::start(identity(), policy(), random(), at(0))
}

fn outputs(client: &mut TestClient) -> Vec<Output> {
    core::iter::from_fn(|| client.poll()).collect()
}

/// The one message that the client sends.
#[track_caller]
fn sent(client: &mut TestClient) -> Outgoing {
    let mut outputs = outputs(client);
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    match outputs.remove(0) {
        Output::Send(message) => message,
        other => panic!("{other:?}"),
    }
}

fn given(address: Ipv6Addr, preferred: u32, valid: u32) -> Association<Ipv6Addr> {
    Association {
        t1: 500,
        t2: 800,
        status: None,
        given: vec![(address, Span { preferred, valid })],
    }
}

fn status(number: u16) -> Status {
    Status {
        number,
        words: String::new(),
    }
}

/// What a server answers when all is well.
fn reply(client: &TestClient, kind: Kind) -> Reply {
    let xid = client.state.exchange().map_or(0, |exchange| exchange.xid);
    Reply {
        addresses: Some(given(ADDRESS, 1000, 1600)),
        ..Reply::bare(kind, xid, SERVER.to_vec())
    }
}

#[track_caller]
fn take(client: &mut TestClient, reply: &Reply, seconds: u64) {
    assert_eq!(client.handle_message(reply, at(seconds)), Ok(()));
}

/// A client with a lease since 0 s: T1 at 500, T2 at 800, its end at 1600.
fn bound() -> TestClient {
    let mut client = start();
    outputs(&mut client);
    let reply = Reply {
        rapid_commit: true,
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &reply, 0);
    assert_eq!(outputs(&mut client), [Output::Bound(lease(0))]);
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
fn solicit_advertise_request_reply() {
    let mut client = start();
    let solicit = sent(&mut client);
    assert_eq!(solicit.kind, Kind::Solicit);
    assert_eq!(solicit.option(code::CLIENT_ID), Some(&[0, 4, 9][..]));
    assert_eq!(solicit.option(code::ELAPSED), Some(&[0, 0][..]));
    assert_eq!(
        solicit.option(code::REQUEST_LIST),
        Some(&[0, 23, 0, 82][..])
    );
    assert_eq!(solicit.option(code::RAPID_COMMIT), Some(&[][..]));
    let empty = [&[0, 0, 0, 7][..], &[0; 8]].concat();
    assert_eq!(solicit.option(code::IA_NA), Some(&empty[..]));
    assert_eq!(solicit.option(code::IA_PD), None);

    // Others may offer more until the first wait is over.
    let offer = reply(&client, Kind::Advertise);
    take(&mut client, &offer, 0);
    assert_eq!(outputs(&mut client), []);
    let better = Reply {
        server: OTHER.to_vec(),
        preference: 3,
        ..reply(&client, Kind::Advertise)
    };
    take(&mut client, &better, 0);
    let offer = reply(&client, Kind::Advertise);
    take(&mut client, &offer, 0);
    assert_eq!(next(&mut client), 1);
    let request = sent(&mut client);
    assert_eq!(request.kind, Kind::Request);
    assert_ne!(request.xid, solicit.xid);
    assert_eq!(request.option(code::SERVER_ID), Some(&OTHER[..]));
    let held = request.option(code::IA_NA).unwrap();
    assert_eq!(held.get(16..32), Some(&ADDRESS.octets()[..]));
    assert_eq!(client.state_name(), "REQUESTING");

    // Only the one that was chosen.
    let wrong = reply(&client, Kind::Reply);
    assert_eq!(
        client.handle_message(&wrong, at(2)),
        Err(Ignored::OtherServer)
    );
    let right = Reply {
        server: OTHER.to_vec(),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &right, 2);
    // It counts from when the request was sent, not from when the answer came.
    let bound = match &outputs(&mut client)[..] {
        [Output::Bound(lease)] => lease.clone(),
        other => panic!("{other:?}"),
    };
    assert!(bound.since < at(2) && bound.since >= at(1), "{bound:?}");
    assert_eq!(client.state_name(), "BOUND");
    assert!(!client.listens());
}

#[test]
fn an_offer_of_the_highest_preference_is_taken_at_once() {
    let (mut client, offer) = offered();
    take(&mut client, &offer, 0);
    assert_eq!(sent(&mut client).kind, Kind::Request);
}

#[test]
fn after_the_first_wait_the_next_offer_is_taken_at_once() {
    let mut client = start();
    outputs(&mut client);
    next(&mut client);
    outputs(&mut client);
    let offer = reply(&client, Kind::Advertise);
    take(&mut client, &offer, 2);
    assert_eq!(sent(&mut client).kind, Kind::Request);
}

#[test]
fn a_reply_to_a_solicit_counts_with_rapid_commit_alone() {
    let mut client = start();
    outputs(&mut client);
    let plain = reply(&client, Kind::Reply);
    let refused = client.handle_message(&plain, at(0));
    assert_eq!(refused, Err(Ignored::NotExpectedIn("SOLICITING")));
    let identity = Identity {
        rapid_commit: false,
        ..identity()
    };
    let mut unwilling = Client6::start(identity, policy(), random(), at(0));
    let solicit = sent(&mut unwilling);
    assert_eq!(solicit.option(code::RAPID_COMMIT), None);
    let rapid = Reply {
        rapid_commit: true,
        ..reply(&unwilling, Kind::Reply)
    };
    assert!(unwilling.handle_message(&rapid, at(0)).is_err());
}

#[test]
fn solicits_are_repeated_at_doubling_intervals_up_to_the_servers_limit() {
    let mut client = start();
    sent(&mut client);
    // It has nothing, but what it says about waiting counts.
    let refusal = Reply {
        addresses: Some(Association {
            status: Some(status(2)),
            given: Vec::new(),
            ..given(ADDRESS, 0, 0)
        }),
        sol_max_rt: Some(60),
        ..reply(&client, Kind::Advertise)
    };
    let refused = client.handle_message(&refusal, at(0));
    assert_eq!(refused, Err(Ignored::NothingGiven("NoAddrsAvail".into())));
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..9 {
        times.push(next(&mut client));
        let solicit = sent(&mut client);
        assert_eq!(solicit.kind, Kind::Solicit);
        assert!(last.is_none_or(|xid| xid == solicit.xid), "one transaction");
        last = Some(solicit.xid);
    }
    assert_eq!(times, [1, 3, 7, 15, 31, 63, 123, 183, 243]);
    assert_eq!(client.tried().words.as_deref(), Some("NoAddrsAvail"));
}

#[test]
fn waits_differ_by_chance_by_a_tenth_and_a_first_solicit_waits_no_less() {
    // The first wait, and the second, which is the first and again as much, a tenth more or less.
    for (chance, first, second) in [(0, 1100, 2090), (1000, 1001, 2002), (2000, 1100, 2310)] {
        let constant: Box<dyn FnMut() -> u32> = Box::new(move || chance);
        let mut client = Client6::start(identity(), policy(), constant, at(0));
        let mut wait = || {
            let before = client.state.exchange().unwrap().last.millis();
            let deadline = client.deadline().unwrap();
            client.handle_timeout(deadline);
            deadline.millis() - before
        };
        let waits = (wait(), wait());
        assert!(
            waits.0.abs_diff(first) < 5 && waits.1.abs_diff(second) < 5,
            "{chance}: {waits:?}"
        );
    }
}
