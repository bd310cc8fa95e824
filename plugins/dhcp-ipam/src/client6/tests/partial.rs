//! Renewals that bring less than was asked for.

use cni_common::addr::Cidr;

use super::*;

#[test]
fn a_server_that_cannot_prolong_a_lease_at_this_moment_does_not_end_it() {
    // UnspecFail, NoAddrsAvail, UseMulticast: for the message or for the association alone.
    for number in [1, 2, 5] {
        for outside in [true, false] {
            let mut client = bound();
            client.renew(at(100));
            outputs(&mut client);
            let mut answer = reply(&client, Kind::Reply);
            if outside {
                answer.status = Some(status(number));
            } else {
                answer.addresses = Some(Association {
                    status: Some(status(number)),
                    given: Vec::new(),
                    ..given(ADDRESS, 0, 0)
                });
            }
            let taken = client.handle_message(&answer, at(101));
            assert!(matches!(taken, Err(Ignored::NothingGiven(_))), "{taken:?}");
            assert_eq!(
                (client.state_name(), client.lease()),
                ("RENEWING", Some(&lease(0)))
            );
            assert_eq!(outputs(&mut client), []);
            // It is asked again, and then every server is.
            let again = next(&mut client);
            assert_eq!((again, sent(&mut client).kind), (110, Kind::Renew));
        }
    }
}

#[test]
fn a_server_that_forgot_a_lease_and_cannot_make_it_anew_does_not_end_it() {
    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let unknown = Reply {
        status: Some(status(Status::NO_BINDING)),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &unknown, 101);
    assert_eq!(sent(&mut client).kind, Kind::Request);
    let unable = Reply {
        status: Some(status(Status::UNSPEC_FAIL)),
        ..reply(&client, Kind::Reply)
    };
    assert!(client.handle_message(&unable, at(102)).is_err());
    assert_eq!(client.lease(), Some(&lease(0)));
    // Ten times, and then it is every server's turn.
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Kind::Rebind) {
        next(&mut client);
        kinds.push(sent(&mut client).kind);
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert_eq!(client.lease(), Some(&lease(0)));
}

/// A lease of an address and a prefix, both for 1600 s, that is being renewed since 100 s.
fn renewing_both() -> (TestClient, Cidr) {
    let prefix: Cidr = "fd00:ab::/56".parse().unwrap();
    let both = Lease6 {
        terms: Terms6 {
            prefix: Some((prefix, SPAN)),
            ..terms()
        },
        since: at(0),
    };
    let identity = Identity {
        prefix: Some(56),
        ..identity()
    };
    let mut client: TestClient =
        Client6::confirm(identity, policy(), random(), both, true, at(100));
    client.handle_timeout(at(100));
    outputs(&mut client);
    (client, prefix)
}

const SPAN: Span = Span {
    preferred: 1000,
    valid: 1600,
};

#[test]
fn a_prefix_that_an_answer_leaves_out_goes_on_for_as_long_as_it_has() {
    let (mut client, prefix) = renewing_both();
    let answer = reply(&client, Kind::Reply);
    take(&mut client, &answer, 101);
    let held = client.lease().unwrap();
    assert_eq!(held.terms.address, Some((ADDRESS, SPAN)));
    let left = Span {
        preferred: 900,
        valid: 1500,
    };
    assert_eq!(held.terms.prefix, Some((prefix, left)));
}

#[test]
fn a_prefix_that_the_server_forgot_is_asked_for_anew_and_one_that_is_over_is_not_kept() {
    let prefixes = |status, given| Association {
        t1: 0,
        t2: 0,
        status,
        given,
    };
    let (mut client, prefix) = renewing_both();
    let forgot = Reply {
        prefixes: Some(prefixes(Some(status(Status::NO_BINDING)), Vec::new())),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &forgot, 101);
    assert_eq!(sent(&mut client).kind, Kind::Request);
    assert!(client.lease().is_some(), "meanwhile it goes on");

    let (mut client, _) = renewing_both();
    let none = Span {
        preferred: 0,
        valid: 0,
    };
    let over = Reply {
        prefixes: Some(prefixes(None, vec![(prefix, none)])),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &over, 101);
    assert_eq!(client.lease().unwrap().terms.prefix, None);

    // Of several the one that it had.
    let (mut client, _) = renewing_both();
    let other = "fd00:cd::/56".parse().unwrap();
    let two = Reply {
        prefixes: Some(prefixes(None, vec![(other, SPAN), (prefix, SPAN)])),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &two, 101);
    assert_eq!(client.lease().unwrap().terms.prefix, Some((prefix, SPAN)));
}

#[test]
fn however_short_its_times_a_lease_is_not_renewed_without_a_pause() {
    for (t1, t2, preferred, valid) in [(0, 0, 0, 1), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 1, 300)] {
        let mut client = start();
        outputs(&mut client);
        let answer = Reply {
            rapid_commit: true,
            addresses: Some(Association {
                t1,
                t2,
                ..given(ADDRESS, preferred, valid)
            }),
            ..reply(&client, Kind::Reply)
        };
        take(&mut client, &answer, 0);
        outputs(&mut client);
        let renewal = client.deadline().unwrap().millis();
        assert!((450..=1000).contains(&renewal), "{renewal}");
    }
}
