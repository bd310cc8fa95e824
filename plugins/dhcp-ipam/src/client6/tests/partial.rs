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

/// A lease since 0 s whose prefix ends at that second, while its address has until 1600 s; held, and confirmed at 10 s.
fn with_a_prefix_until(end: u32) -> (TestClient, Lease6) {
    let mut both = lease(0);
    let span = Span {
        preferred: 0,
        valid: end,
    };
    both.terms.prefix = Some(("fd00:ab::/56".parse().unwrap(), span));
    let identity = Identity {
        prefix: Some(56),
        ..identity()
    };
    let without = lease(0);
    let client = Client6::confirm(identity, policy(), random(), both, true, at(10));
    (client, without)
}

#[test]
fn a_prefix_that_ends_before_its_address_goes_and_another_is_asked_for() {
    let (mut client, without) = with_a_prefix_until(200);
    next(&mut client);
    outputs(&mut client);
    let silent = reply(&client, Kind::Reply);
    take(&mut client, &silent, 10);
    let bound = outputs(&mut client);
    let [Output::Bound(both)] = &bound[..] else {
        panic!("{bound:?}");
    };
    // 10 s of it are over, and the lease has begun anew.
    assert_eq!(both.terms.prefix.map(|(_, span)| span.valid), Some(190));
    assert_eq!(next(&mut client), 200);
    let ended = outputs(&mut client);
    let alone = Lease6 {
        since: at(10),
        ..without
    };
    assert_eq!(ended[0], Output::PrefixEnded(alone.clone()));
    let [_, Output::Send(renew)] = &ended[..] else {
        panic!("{ended:?}");
    };
    let wanted = renew.option(code::IA_PD).unwrap();
    assert_eq!((renew.kind, wanted.len()), (Kind::Renew, 12 + 4 + 25));
    assert_eq!(
        wanted.get(24..41),
        Some(&[&[56][..], &[0; 16]].concat()[..])
    );
    assert_eq!(client.lease(), Some(&alone));
    let prefix = "fd00:cd::/56".parse().unwrap();
    let again = Reply {
        prefixes: Some(Association {
            t1: 0,
            t2: 0,
            status: None,
            given: vec![(prefix, SPAN)],
        }),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &again, 201);
    assert_eq!(client.lease().unwrap().terms.prefix, Some((prefix, SPAN)));
}

#[test]
fn a_prefix_ends_in_every_state_once() {
    for (end, state) in [(5, "REBINDING"), (600, "RENEWING"), (1000, "REBINDING")] {
        let (mut client, without) = with_a_prefix_until(end);
        if end > 10 {
            client.go_on(client.lease().unwrap().clone(), at(10));
            outputs(&mut client);
        }
        let mut ended = Vec::new();
        let mut lost = 0;
        while client.lease().is_some() {
            let before = client.state_name();
            let deadline = client.deadline().unwrap();
            client.handle_timeout(deadline.max(at(10)));
            for output in outputs(&mut client) {
                match output {
                    Output::PrefixEnded(lease) => ended.push((lease, before, deadline)),
                    Output::Lost(why) => {
                        assert_eq!((why, deadline), (Lost::Expired, at(1600)));
                        lost += 1;
                    }
                    Output::Send(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(ended, [(without, state, at(u64::from(end)))]);
        assert_eq!(lost, 1);
    }
    // Both at once are one end.
    let (mut client, _) = with_a_prefix_until(1600);
    client.handle_timeout(at(1600));
    let happened = outputs(&mut client);
    assert_eq!(happened[0], Output::Lost(Lost::Expired));
    assert!(!matches!(happened[1], Output::PrefixEnded(_)));
}

#[test]
fn answers_that_say_nothing_of_a_prefix_do_not_make_it_last() {
    let (mut client, _) = with_a_prefix_until(60);
    let mut time = at(10);
    while client.lease().unwrap().terms.prefix.is_some() {
        time = client.deadline().unwrap().max(time);
        client.handle_timeout(time);
        outputs(&mut client);
        if client.listens() {
            let silent = Reply {
                addresses: Some(Association {
                    t1: 0,
                    t2: 0,
                    ..given(ADDRESS, 1000, 1600)
                }),
                ..reply(&client, Kind::Reply)
            };
            assert_eq!(client.handle_message(&silent, time), Ok(()));
        }
        assert!(time <= at(60), "{time:?}");
    }
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
