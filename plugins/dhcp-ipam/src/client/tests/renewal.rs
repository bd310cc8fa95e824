//! A lease that is renewed, refused, or forgotten.

use super::*;

#[test]
fn renewal_is_asked_of_the_server_by_unicast_at_t1() {
    let mut client = bound();
    assert_eq!(next(&mut client), 500);
    let renewal = outputs(&mut client).remove(0);
    let Output::Unicast { from, to, message } = renewal else {
        panic!("{renewal:?}")
    };
    assert_eq!((from, to, message.kind), (ADDRESS, SERVER, Kind::Request));
    assert_eq!(message.ciaddr, ADDRESS);
    // RFC 2131, table 5: neither of these.
    assert_eq!(message.option(code::SERVER), None);
    assert_eq!(message.option(code::REQUESTED_ADDRESS), None);
    assert_eq!(client.state_name(), "RENEWING");

    take(&mut client, Kind::Ack, 502);
    let renewed = Lease {
        terms: terms().into(),
        since: at(500),
    };
    assert_eq!(outputs(&mut client), [Output::Bound(renewed)]);
    assert_eq!(next(&mut client), 1000);
}

#[test]
fn after_an_outage_not_everybody_renews_at_once() {
    let mut seed: u32 = 1;
    let mut times: Vec<u64> = (0..1000)
        .map(|_| {
            seed = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let chance = seed >> 16;
            let random: Box<dyn FnMut() -> u32> = Box::new(move || chance);
            // T1 was a hundred seconds ago.
            let client = Client::resume(identity(), policy(), random, lease(), at(600));
            client.deadline().unwrap().millis() / 1000
        })
        .collect();
    times.sort_unstable();
    assert!(times[0] >= 600 && times[999] <= 660, "{times:?}");
    let most = times
        .chunk_by(|one, two| one == two)
        .map(<[u64]>::len)
        .max();
    assert!(most.unwrap() < 50, "{most:?} of 1000 in one second");
}

#[test]
fn renewal_comes_a_little_early_by_chance() {
    let constant: Box<dyn FnMut() -> u32> = Box::new(|| 1023);
    let client = Client::resume(identity(), policy(), constant, lease(), at(0));
    let renew = client.deadline().unwrap();
    assert!(renew < at(500) && renew > at(468), "{renew:?}");
}

#[test]
fn a_silent_server_is_asked_at_half_of_what_is_left_then_all_servers_are_and_then_the_lease_is_lost()
 {
    let mut client = bound();
    let mut timetable = Vec::new();
    loop {
        let when = next(&mut client);
        for output in outputs(&mut client) {
            timetable.push(match output {
                Output::Unicast { .. } => (when, "server"),
                Output::Broadcast { from: ADDRESS, .. } => (when, "all"),
                Output::Lost(Lost::Expired) => (when, "lost"),
                Output::Broadcast { message, .. } if message.kind == Kind::Discover => {
                    // The same address would be welcome.
                    let wanted = message.option(code::REQUESTED_ADDRESS);
                    assert_eq!(wanted, Some(&ADDRESS.octets()[..]));
                    (when, "discover")
                }
                other => panic!("{other:?}"),
            });
        }
        if client.lease().is_none() {
            break;
        }
    }
    let servers: Vec<_> = timetable.iter().filter(|(_, to)| *to == "server").collect();
    assert_eq!(
        servers[..3],
        [&(500, "server"), &(687, "server"), &(781, "server")]
    );
    let first = timetable.iter().find(|(_, to)| *to == "all");
    assert_eq!(first, Some(&(875, "all")));
    assert_eq!(
        timetable[timetable.len() - 2..],
        [(1000, "lost"), (1000, "discover")]
    );
}

#[test]
fn another_server_may_take_over_while_rebinding() {
    let mut client = bound();
    while client.state_name() != "REBINDING" {
        next(&mut client);
    }
    outputs(&mut client);
    let mut ack = reply(&client, Kind::Ack);
    ack.server = Some(OTHER);
    ack.terms.as_mut().unwrap().server = OTHER;
    client.handle_message(&ack, at(880)).unwrap();
    assert_eq!(client.lease().unwrap().terms.server, OTHER);
}

#[test]
fn while_renewing_only_the_lease_s_server_counts() {
    let mut client = bound();
    next(&mut client);
    let refusal = Reply {
        server: Some(OTHER),
        ..reply(&client, Kind::Nak)
    };
    let ignored = client.handle_message(&refusal, at(501));
    assert_eq!(ignored, Err(Ignored::OtherServer(OTHER)));
    assert!(client.lease().is_some());
}

#[test]
fn a_refused_renewal_ends_the_use_of_the_address_at_once() {
    let mut client = bound();
    next(&mut client);
    outputs(&mut client);
    take(&mut client, Kind::Nak, 501);
    let done = outputs(&mut client);
    assert_eq!(done[0], Output::Lost(Lost::Refused));
    let Output::Broadcast { message, .. } = &done[1] else {
        panic!("{done:?}")
    };
    assert_eq!(message.kind, Kind::Discover);
    assert_eq!(message.option(code::REQUESTED_ADDRESS), None);
    assert_eq!(client.lease(), None);
}

#[test]
fn an_acknowledgement_of_another_address_is_a_refusal_of_this_one() {
    let mut client = bound();
    next(&mut client);
    outputs(&mut client);
    let mut ack = reply(&client, Kind::Ack);
    ack.terms.as_mut().unwrap().address = OTHER;
    client.handle_message(&ack, at(501)).unwrap();
    assert_eq!(outputs(&mut client)[0], Output::Lost(Lost::Refused));
}

#[test]
fn the_servers_t1_and_t2_count_where_they_make_sense() {
    for (t1, t2, expected) in [
        (Some(100), Some(200), (100, 200)),
        (Some(300), Some(200), (200, 200)),
        (Some(0), Some(2000), (500, 875)),
        (None, Some(400), (400, 400)),
    ] {
        let lease = Lease {
            terms: Terms { t1, t2, ..terms() }.into(),
            since: at(0),
        };
        let found = (lease.t1().millis() / 1000, lease.t2().millis() / 1000);
        assert_eq!(found, expected, "{t1:?} {t2:?}");
    }
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let terms = Terms {
        seconds: u32::MAX,
        ..terms()
    };
    let lease = Lease {
        terms: terms.into(),
        since: at(0),
    };
    assert_eq!(lease.expiry().millis(), u64::MAX);
    assert!(lease.t1() > at(1_000_000_000));
}

#[test]
fn a_machine_that_slept_through_its_lease_does_not_renew_it() {
    let mut client = bound();
    client.handle_timeout(at(5000));
    assert_eq!(outputs(&mut client)[0], Output::Lost(Lost::Expired));
}

#[test]
fn however_short_a_lease_is_it_is_not_renewed_without_a_pause() {
    let mut client = start();
    outputs(&mut client);
    take(&mut client, Kind::Offer, 0);
    outputs(&mut client);
    let answer = Reply {
        terms: Ok(Terms {
            seconds: 1,
            ..terms()
        }),
        ..reply(&client, Kind::Ack)
    };
    assert_eq!(client.handle_message(&answer, at(0)), Ok(()));
    let renewal = client.deadline().unwrap().millis();
    assert!((450..=500).contains(&renewal), "{renewal}");
}
