//! What is given back when nobody wants it any more.

use cni_common::addr::Cidr;

use super::*;

const SPAN: Span = Span {
    preferred: 1000,
    valid: 1600,
};

/// A client that wants a prefix, and asks neighbours for two seconds whether they have its address.
fn wants_a_prefix() -> TestClient {
    let identity = Identity {
        prefix: Some(56),
        ..identity()
    };
    let policy = Policy {
        probe: Duration::from_secs(2),
        ..policy()
    };
    let mut client = Client6::start(identity, policy, random(), at(0));
    outputs(&mut client);
    client
}

/// Whose messages grant an address, and that prefix if any.
fn granting(client: &TestClient, kind: Kind, prefix: Option<Cidr>) -> Reply {
    Reply {
        preference: 255,
        rapid_commit: true,
        prefixes: prefix.map(|prefix| Association {
            t1: 0,
            t2: 0,
            status: None,
            given: vec![(prefix, SPAN)],
        }),
        ..reply(client, kind)
    }
}

/// The Release that a client sends, which is no answer to anything.
#[track_caller]
fn released(client: &mut TestClient) -> Outgoing {
    client.release(at(5));
    let release = sent(client);
    assert_eq!(release.kind, Kind::Release);
    assert_eq!(release.option(code::SERVER_ID), Some(&SERVER[..]));
    assert_eq!(release.option(code::ELAPSED), Some(&[0, 0][..]));
    assert_eq!(release.option(code::REQUEST_LIST), None);
    release
}

#[test]
fn what_was_asked_for_is_given_back_for_it_may_be_granted_by_now() {
    let prefix = "fd00:ab::/56".parse().unwrap();
    let mut client = wants_a_prefix();
    let offer = granting(&client, Kind::Advertise, Some(prefix));
    take(&mut client, &offer, 0);
    assert_eq!(sent(&mut client).kind, Kind::Request);
    let release = released(&mut client);
    let address = release.option(code::IA_NA).unwrap();
    assert_eq!(address.get(16..32), Some(&ADDRESS.octets()[..]));
    let delegated = release.option(code::IA_PD).unwrap();
    assert_eq!(delegated.get(24), Some(&56));
    // The answer to the request is none any more.
    let late = granting(&client, Kind::Reply, None);
    let late = Reply {
        xid: late.xid ^ 1,
        ..late
    };
    let taken = client.handle_message(&late, at(5));
    assert_eq!(taken, Err(Ignored::OtherTransaction));

    let mut nothing = wants_a_prefix();
    nothing.release(at(5));
    assert_eq!((outputs(&mut nothing), nothing.deadline()), (vec![], None));
}

#[test]
fn a_prefix_that_was_only_wanted_is_not_given_back() {
    let mut client = wants_a_prefix();
    let granted = granting(&client, Kind::Reply, None);
    take(&mut client, &granted, 0);
    outputs(&mut client);
    assert_eq!(released(&mut client).option(code::IA_PD), None);
}

#[test]
fn a_prefix_is_given_back_whose_address_is_declined() {
    for prefix in [None, Some("fd00:ab::/56".parse().unwrap())] {
        let mut client = wants_a_prefix();
        let granted = granting(&client, Kind::Reply, prefix);
        take(&mut client, &granted, 0);
        outputs(&mut client);
        client.address_in_use(at(1));
        assert_eq!(sent(&mut client).kind, Kind::Decline);
        if prefix.is_none() {
            client.release(at(5));
            assert_eq!((outputs(&mut client), client.deadline()), (vec![], None));
        } else {
            let release = released(&mut client);
            assert_eq!(release.option(code::IA_NA), None);
            assert!(release.option(code::IA_PD).is_some());
        }
    }
}
