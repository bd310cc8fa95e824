//! What becomes of a lease.

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
