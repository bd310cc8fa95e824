//! What becomes of a request, and of what a server grants.

use super::*;

/// A client that has been granted an address at once, and asks for two seconds whether somebody has it.
fn probing() -> TestClient {
    let policy = Policy {
        probe: Duration::from_secs(2),
        ..policy()
    };
    let mut client = Client6::start(identity(), policy, random(), at(0));
    outputs(&mut client);
    let granted = Reply {
        rapid_commit: true,
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &granted, 0);
    client
}

#[test]
fn a_request_without_an_answer_is_given_up_after_ten() {
    let (mut client, offer) = offered();
    take(&mut client, &offer, 0);
    let mut requests = 0;
    while sent(&mut client).kind == Kind::Request {
        requests += 1;
        next(&mut client);
    }
    assert_eq!((requests, client.state_name()), (10, "SOLICITING"));
}

#[test]
fn a_server_that_has_nothing_after_all_is_asked_again_later() {
    let (mut client, offer) = offered();
    for round in 0..2 {
        let offer = Reply {
            xid: client.state.exchange().unwrap().xid,
            ..offer.clone()
        };
        take(&mut client, &offer, round);
        outputs(&mut client);
        let refusal = Reply {
            status: Some(status(2)),
            ..reply(&client, Kind::Reply)
        };
        take(&mut client, &refusal, round);
        let state = ["SOLICITING", "WAITING"][usize::try_from(round).unwrap()];
        assert_eq!(client.state_name(), state);
        outputs(&mut client);
    }
    assert_eq!(client.deadline(), Some(at(11)));
    assert_eq!(client.tried().refusals, 2);
}

#[test]
fn an_address_that_somebody_has_is_declined_until_the_server_knows() {
    let mut client = probing();
    assert_eq!(outputs(&mut client), [Output::Probe(ADDRESS)]);
    assert_eq!(next(&mut client), 1);
    assert_eq!(outputs(&mut client), [Output::Probe(ADDRESS)]);
    assert_eq!(client.probing(), Some(ADDRESS));
    client.address_in_use(at(1));
    let decline = sent(&mut client);
    assert_eq!(decline.kind, Kind::Decline);
    assert_eq!(decline.option(code::SERVER_ID), Some(&SERVER[..]));
    assert_eq!(next(&mut client), 2);
    assert_eq!(sent(&mut client).kind, Kind::Decline);
    let answer = Reply {
        addresses: None,
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &answer, 2);
    let solicit = sent(&mut client);
    assert_eq!(solicit.kind, Kind::Solicit);
    // And does not ask for it again.
    assert_eq!(solicit.option(code::IA_NA).unwrap().len(), 12);
    assert_eq!(client.tried().declined, 1);
}

#[test]
fn an_address_that_nobody_has_is_taken() {
    let mut client = probing();
    next(&mut client);
    outputs(&mut client);
    assert_eq!(next(&mut client), 2);
    assert_eq!(outputs(&mut client), [Output::Bound(lease(0))]);
}

#[test]
fn a_prefix_is_asked_for_kept_and_given_back() {
    let identity = Identity {
        prefix: Some(56),
        ..identity()
    };
    let mut client: TestClient = Client6::start(identity, policy(), random(), at(0));
    let wanted = sent(&mut client).option(code::IA_PD).unwrap().to_vec();
    assert_eq!((wanted.len(), wanted.get(24)), (12 + 4 + 25, Some(&56)));
    let prefix = "fd00:ab::/60".parse().unwrap();
    let span = Span {
        preferred: 100,
        valid: 200,
    };
    let granted = Reply {
        rapid_commit: true,
        prefixes: Some(Association {
            t1: 50,
            t2: 80,
            status: None,
            given: vec![(prefix, span)],
        }),
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &granted, 0);
    let lease = client.lease().unwrap().clone();
    outputs(&mut client);
    assert_eq!(lease.terms.prefix, Some((prefix, span)));
    // Renewed when the first of the two wants it.
    assert_eq!((lease.t1(), lease.t2()), (at(50), at(80)));
    client.release(at(1));
    let release = sent(&mut client);
    let delegated = release.option(code::IA_PD).unwrap();
    assert_eq!(delegated.get(24), Some(&60));
    assert_eq!(release.option(code::IA_NA).unwrap().len(), 12 + 4 + 24);
    assert_eq!(client.lease(), None);
    // Once more where nobody answers, and once more; the same question each time.
    let mut waits = Vec::new();
    while let Some(deadline) = client.deadline() {
        waits.push(deadline.millis() - 1000);
        client.handle_timeout(deadline);
        let again = outputs(&mut client);
        let kinds = again.iter().map(|output| match output {
            Output::Send(message) => (message.kind, message.xid),
            other => panic!("{other:?}"),
        });
        let expected = (Kind::Release, release.xid);
        assert!(kinds.eq((waits.len() < 3).then_some(expected)));
    }
    assert_eq!(waits, [250, 750, 1750]);
    // An answer is enough, whatever it says.
    let mut answered = Client6::start(client.identity().clone(), policy(), random(), at(0));
    outputs(&mut answered);
    let granted = Reply {
        xid: answered.xid(),
        ..granted
    };
    take(&mut answered, &granted, 0);
    outputs(&mut answered);
    answered.release(at(1));
    let done = Reply {
        status: Some(status(3)),
        ..reply(&answered, Kind::Reply)
    };
    take(&mut answered, &done, 1);
    assert_eq!(
        (answered.deadline(), answered.is_releasing()),
        (None, false)
    );
    // With a prefix there is no Confirm.
    let mut again = Client6::confirm(
        client.identity().clone(),
        policy(),
        random(),
        lease,
        true,
        at(2),
    );
    assert_eq!(next(&mut again), 2);
    assert_eq!(sent(&mut again).kind, Kind::Rebind);
}

#[test]
fn information_alone() {
    let mut client: TestClient = Client6::inform(identity(), policy(), random(), at(0));
    let question = sent(&mut client);
    assert_eq!(question.kind, Kind::InformationRequest);
    assert_eq!(question.option(code::IA_NA), None);
    assert_eq!(
        question.option(code::REQUEST_LIST),
        Some(&[0, 23, 0, 32, 0, 83][..])
    );
    let answer = Reply {
        addresses: None,
        dns: vec![ADDRESS],
        ..reply(&client, Kind::Reply)
    };
    take(&mut client, &answer, 1);
    // It is good for a day where the server does not say (`IRT_DEFAULT`), and asked for again within a second then.
    let known = Lease6 {
        terms: Terms6 {
            address: None,
            t1: 86_400,
            t2: 0,
            dns: vec![ADDRESS],
            ..terms()
        },
        since: at(1),
    };
    assert_eq!(outputs(&mut client), [Output::Informed(known.clone())]);
    assert_eq!(
        (client.deadline(), client.listens()),
        (Some(at(86_401)), false)
    );
    assert_eq!(known.expiry(), Time::NEVER);
    assert_eq!(next(&mut client), 86_401);
    let again = sent(&mut client);
    assert_eq!(again.kind, Kind::InformationRequest);
    assert_ne!(again.xid, question.xid);
    // At least ten minutes (`IRT_MINIMUM`), and for ever where it says so.
    for (said, deadline) in [
        (Some(5), Some(at(87_010))),
        (Some(900), Some(at(87_310))),
        (Some(u32::MAX), Some(Time::NEVER)),
    ] {
        let answer = Reply {
            refresh: said,
            ..reply(&client, Kind::Reply)
        };
        take(&mut client, &answer, 86_410);
        assert_eq!(client.deadline(), deadline, "{said:?}");
        outputs(&mut client);
        client.renew(at(86_410));
        outputs(&mut client);
    }
    client.release(at(90_000));
    assert_eq!(outputs(&mut client), []);
}

#[test]
fn what_was_known_before_a_restart_is_asked_for_again_in_its_time() {
    let known = Lease6 {
        terms: Terms6 {
            address: None,
            t1: 900,
            ..terms()
        },
        since: at(100),
    };
    for (now, deadline) in [(200, 1000), (5000, 5000)] {
        let mut client: TestClient =
            Client6::informed(identity(), policy(), random(), &known, at(now));
        assert_eq!(client.state_name(), "INFORMED");
        assert_eq!(next(&mut client), deadline);
        assert_eq!(sent(&mut client).kind, Kind::InformationRequest);
    }
}

#[test]
fn what_was_held_before_a_restart_is_confirmed_at_different_times() {
    let mut seed = 0_u32;
    let mut times: Vec<u64> = (0..100)
        .map(|_| {
            seed += 1;
            let chance = seed * 10;
            let patient = Policy {
                delay: Duration::from_secs(20),
                ..policy()
            };
            let client =
                Client6::confirm(identity(), patient, move || chance, lease(0), true, at(100));
            assert_eq!(client.lease(), Some(&lease(0)), "meanwhile it holds");
            client.deadline().unwrap().millis() - 100_000
        })
        .collect();
    times.sort_unstable();
    assert!(
        times[0] < 1000 && times[99] > 15_000 && times[99] <= 20_000,
        "{times:?}"
    );
    let together = times.windows(10).map(|ten| ten[9] - ten[0]).min();
    assert!(together > Some(1000), "{times:?}");
}
