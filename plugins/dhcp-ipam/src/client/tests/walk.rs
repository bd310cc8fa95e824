//! A walk by chance over messages and times.

use super::*;

/// Whatever comes, and whenever: no panic, no deadline in the past, and a lease only by an ACK.
#[test]
fn any_sequence_of_messages_and_times_keeps_the_promises() {
    let mut seed: u64 = 7;
    let mut chance = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..200 {
        let probe = Duration::from_secs(chance(3));
        let mut client: TestClient =
            Client::start(identity(), Policy { probe, ..policy() }, random(), at(0));
        let mut time = 0;
        let mut acked = false;
        for _ in 0..100 {
            let had = client.lease().is_some();
            match chance(8) {
                0..=2 => {
                    time = client.deadline().map_or(time, Time::millis).max(time);
                    client.handle_timeout(Time::from_millis(time));
                }
                3 => client.address_in_use(Time::from_millis(time)),
                4 => time += chance(400_000),
                kind => {
                    let kind =
                        [Kind::Offer, Kind::Ack, Kind::Nak][usize::try_from(kind - 5).unwrap()];
                    let mut reply = reply(&client, kind);
                    if chance(4) == 0 {
                        reply.server = Some(OTHER);
                    }
                    let done = client.handle_message(&reply, Time::from_millis(time));
                    acked |= kind == Kind::Ack && done.is_ok();
                }
            }
            for output in outputs(&mut client) {
                assert!(!matches!(output, Output::Bound(_)) || acked);
                assert!(!matches!(output, Output::Lost(_)) || had || client.lease().is_none());
            }
            assert!(client.deadline().is_some());
        }
    }
}
