//! What becomes of a lease.

use cni_common::addr::Cidr;

use super::*;

#[test]
fn a_lease_is_renewed_rebound_and_lost() {
    let mut client = bound();
    // Up to a sixteenth before T1, by chance.
    let renewed = next(&mut client);
    assert!((468..=500).contains(&renewed), "{renewed}");
    let renew = sent(&mut client);
    assert_eq!(renew.kind, Kind::Renew);
    assert_eq!(renew.option(code::SERVER_ID), Some(&SERVER[..]));
    let mut renewals = Vec::new();
    loop {
        let time = next(&mut client);
        let message = sent(&mut client);
        if message.kind == Kind::Rebind {
            assert_eq!(time, 800);
            assert_eq!(message.option(code::SERVER_ID), None);
            break;
        }
        assert_eq!((message.kind, message.xid), (Kind::Renew, renew.xid));
        renewals.push(time - renewed);
    }
    // 10 s, and each wait twice the one before.
    assert_eq!(renewals, [10, 30, 70, 150, 310]);
    let mut last = 0;
    while client.state_name() == "REBINDING" {
        assert_eq!(client.lease().map(|one| one.since), Some(at(0)));
        last = next(&mut client);
        let happened = outputs(&mut client);
        if last == 1600 {
            assert_eq!(happened.first(), Some(&Output::Lost(Lost::Expired)));
        }
    }
    assert_eq!((last, client.state_name()), (1600, "SOLICITING"));
    // The address it had is asked for again.
    next(&mut client);
    let ia = sent(&mut client).option(code::IA_NA).unwrap().to_vec();
    assert_eq!(ia.get(16..32), Some(&ADDRESS.octets()[..]));
}

#[test]
fn an_answered_renewal_begins_the_lease_anew() {
    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let answer = reply(&client, Kind::Reply);
    take(&mut client, &answer, 101);
    assert_eq!(outputs(&mut client), [Output::Bound(lease(100))]);
    // Another server may not.
    client.renew(at(200));
    outputs(&mut client);
    let other = Reply {
        server: OTHER.to_vec(),
        ..reply(&client, Kind::Reply)
    };
    assert_eq!(
        client.handle_message(&other, at(201)),
        Err(Ignored::OtherServer)
    );
}

#[test]
fn another_server_may_take_over_after_t2() {
    let mut client = bound();
    while client.state_name() != "REBINDING" {
        next(&mut client);
    }
    outputs(&mut client);
    let other = Reply {
        server: OTHER.to_vec(),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &other, 801);
    assert_eq!(client.lease().unwrap().terms.server, OTHER);
}

#[test]
fn a_server_that_forgot_the_lease_is_asked_to_make_it_anew_while_it_holds() {
    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let mut forgot = reply(&client, Kind::Reply);
    forgot.addresses = Some(Association {
        status: Some(status(Status::NO_BINDING)),
        given: Vec::new(),
        ..given(ADDRESS, 0, 0)
    });
    take(&mut client, &forgot, 101);
    assert_eq!(sent(&mut client).kind, Kind::Request);
    assert_eq!(client.lease(), Some(&lease(0)));
    let anew = reply(&client, Kind::Reply);
    take(&mut client, &anew, 102);
    assert_eq!(outputs(&mut client), [Output::Bound(lease(101))]);
}

#[test]
fn and_if_it_will_not_the_address_goes() {
    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let forgot = Reply {
        status: Some(status(Status::NO_BINDING)),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &forgot, 101);
    outputs(&mut client);
    let refusal = Reply {
        status: Some(status(2)),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &refusal, 102);
    assert_eq!(
        outputs(&mut client).first(),
        Some(&Output::Lost(Lost::Refused))
    );
    assert_eq!(client.lease(), None);
}

#[test]
fn an_address_without_time_left_goes_and_one_given_with_it_comes() {
    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let mut over = reply(&client, Kind::Reply);
    over.addresses = Some(given(ADDRESS, 0, 0));
    take(&mut client, &over, 101);
    assert_eq!(
        outputs(&mut client).first(),
        Some(&Output::Lost(Lost::Refused))
    );

    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let new: Ipv6Addr = "fd00::6".parse().unwrap();
    let mut moved = over;
    moved.xid = client.state.exchange().unwrap().xid;
    let span = Span {
        preferred: 10,
        valid: 20,
    };
    moved.addresses.as_mut().unwrap().given.push((new, span));
    take(&mut client, &moved, 101);
    match &outputs(&mut client)[..] {
        [Output::Bound(lease)] => assert_eq!(lease.terms.address, Some((new, span))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_renewal_that_says_nothing_of_the_lease_is_ignored() {
    let mut client = bound();
    client.renew(at(100));
    outputs(&mut client);
    let silent = Reply {
        addresses: None,
        ..reply(&client, Kind::Reply)
    };
    assert!(client.handle_message(&silent, at(101)).is_err());
    assert_eq!(
        (client.state_name(), client.lease()),
        ("RENEWING", Some(&lease(0)))
    );
}

fn confirming(held: bool) -> TestClient {
    let mut client = Client6::confirm(identity(), policy(), random(), lease(0), held, at(100));
    assert_eq!(outputs(&mut client), []);
    assert_eq!(next(&mut client), 100);
    client
}

#[test]
fn a_confirmed_lease_goes_on_where_it_was() {
    let mut client = confirming(true);
    let confirm = sent(&mut client);
    assert_eq!(confirm.kind, Kind::Confirm);
    assert_eq!(confirm.option(code::SERVER_ID), None);
    assert_eq!(confirm.option(code::IA_NA).unwrap().len(), 12 + 4 + 24);
    assert_eq!(client.lease(), Some(&lease(0)));
    let answer = Reply {
        server: OTHER.to_vec(),
        status: Some(status(0)),
        addresses: None,
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &answer, 101);
    assert_eq!(outputs(&mut client), [Output::Bound(lease(0))]);
    let renewed = next(&mut client);
    assert!((468..=500).contains(&renewed), "{renewed}");
}

#[test]
fn a_lease_of_another_link_is_lost() {
    for held in [true, false] {
        let mut client = confirming(held);
        assert_eq!(client.lease().is_some(), held);
        outputs(&mut client);
        let answer = Reply {
            status: Some(status(Status::NOT_ON_LINK)),
            addresses: None,
            ..reply(&client, Kind::Reply)
        };
        take(&mut client, &answer, 101);
        let lost = outputs(&mut client).contains(&Output::Lost(Lost::Refused));
        assert_eq!((lost, client.state_name()), (held, "SOLICITING"));
    }
}

#[test]
fn without_an_answer_an_address_that_the_interface_has_is_kept() {
    let mut client = confirming(true);
    let mut times = vec![100];
    while client.state_name() == "CONFIRMING" {
        times.push(next(&mut client));
    }
    // 1, 2 and 4 s, and ten in all.
    assert_eq!(times, [100, 101, 103, 107, 110]);
    assert_eq!(outputs(&mut client).last(), Some(&Output::Bound(lease(0))));

    let mut client = confirming(false);
    outputs(&mut client);
    assert_eq!(next(&mut client), 101);
    assert_eq!(sent(&mut client).kind, Kind::Confirm);
    assert_eq!(next(&mut client), 103);
    let solicit = sent(&mut client);
    assert_eq!(solicit.kind, Kind::Solicit);
    let ia = solicit.option(code::IA_NA).unwrap();
    assert_eq!(ia.get(16..32), Some(&ADDRESS.octets()[..]));
}

#[test]
fn a_lease_that_ended_while_nobody_looked_is_lost() {
    let mut client = Client6::confirm(identity(), policy(), random(), lease(0), true, at(2000));
    client.handle_timeout(at(2000));
    assert_eq!(
        outputs(&mut client).first(),
        Some(&Output::Lost(Lost::Expired))
    );
}

#[test]
fn a_lease_without_end_is_never_renewed() {
    let mut endless = lease(0);
    let forever = Span {
        preferred: u32::MAX,
        valid: u32::MAX,
    };
    endless.terms.address = Some((ADDRESS, forever));
    endless.terms.t1 = 0;
    endless.terms.t2 = 0;
    let mut client: TestClient =
        Client6::confirm(identity(), policy(), random(), endless, true, at(0));
    next(&mut client);
    outputs(&mut client);
    let answer = Reply {
        addresses: None,
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &answer, 0);
    assert_eq!(client.deadline(), Some(Time::NEVER));
}

#[test]
fn a_short_lease_is_asked_for_often_enough() {
    let mut short = lease(0);
    let span = Span {
        preferred: 5,
        valid: 8,
    };
    short.terms = Terms6 {
        address: Some((ADDRESS, span)),
        t1: 0,
        t2: 0,
        ..short.terms
    };
    let mut client: TestClient =
        Client6::confirm(identity(), policy(), random(), short, true, at(0));
    next(&mut client);
    let answer = Reply {
        addresses: None,
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &answer, 0);
    outputs(&mut client);
    let mut messages = Vec::new();
    while client.lease().is_some() {
        next(&mut client);
        messages.extend(outputs(&mut client));
    }
    let sends = |kind| {
        let all = messages.iter();
        all.filter(|output| matches!(output, Output::Send(message) if message.kind == kind))
            .count()
    };
    assert!(
        sends(Kind::Renew) >= 2 && sends(Kind::Rebind) >= 2,
        "{messages:?}"
    );
}

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
