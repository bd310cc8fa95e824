//! What becomes of an address that a server grants, or granted before.

use super::*;

#[test]
fn an_address_that_is_taken_is_declined() {
    let probing = Policy {
        probe: Duration::from_secs(2),
        ..policy()
    };
    let mut client: TestClient = Client::start(identity(), probing, random(), at(0));
    outputs(&mut client);
    take(&mut client, Kind::Offer, 0);
    outputs(&mut client);
    take(&mut client, Kind::Ack, 0);
    assert_eq!(outputs(&mut client), [Output::Probe(ADDRESS)]);
    assert_eq!(next(&mut client), 1);
    assert_eq!(outputs(&mut client), [Output::Probe(ADDRESS)]);
    client.address_in_use(at(1));
    let done = outputs(&mut client);
    let kinds: Vec<_> = done
        .iter()
        .map(|output| match output {
            Output::Broadcast { message, .. } => message.kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [Kind::Decline, Kind::Discover]);

    // The second time it waits ten seconds.
    take(&mut client, Kind::Offer, 1);
    take(&mut client, Kind::Ack, 1);
    client.address_in_use(at(2));
    assert_eq!((client.state_name(), next(&mut client)), ("INIT", 12));
}

#[test]
fn an_address_that_nobody_has_is_bound_after_the_probe() {
    let probing = Policy {
        probe: Duration::from_secs(2),
        ..policy()
    };
    let mut client: TestClient = Client::start(identity(), probing, random(), at(0));
    take(&mut client, Kind::Offer, 0);
    take(&mut client, Kind::Ack, 0);
    assert_eq!((next(&mut client), next(&mut client)), (1, 2));
    assert_eq!(outputs(&mut client).last(), Some(&Output::Bound(lease())));
    client.address_in_use(at(3));
    assert_eq!(client.lease(), Some(&lease()), "too late");
}

#[test]
fn init_reboot_asks_for_the_address_without_a_server() {
    let mut client: TestClient = Client::reboot(identity(), policy(), random(), &lease(), at(10));
    let request = sent(&mut client);
    assert_eq!(
        (request.kind, request.ciaddr),
        (Kind::Request, Ipv4Addr::UNSPECIFIED)
    );
    assert_eq!(
        request.option(code::REQUESTED_ADDRESS),
        Some(&ADDRESS.octets()[..])
    );
    assert_eq!(request.option(code::SERVER), None);
    assert_eq!(client.state_name(), "REBOOTING");
    take(&mut client, Kind::Ack, 11);
    assert_eq!(client.lease().unwrap().since, at(10));
}

#[test]
fn init_reboot_that_is_refused_or_not_answered_begins_anew() {
    let mut client: TestClient = Client::reboot(identity(), policy(), random(), &lease(), at(0));
    outputs(&mut client);
    take(&mut client, Kind::Nak, 0);
    assert_eq!(sent(&mut client).option(code::REQUESTED_ADDRESS), None);

    let mut client: TestClient = Client::reboot(identity(), policy(), random(), &lease(), at(0));
    assert_eq!(sent(&mut client).kind, Kind::Request);
    next(&mut client);
    assert_eq!(sent(&mut client).kind, Kind::Request);
    next(&mut client);
    let discover = sent(&mut client);
    assert_eq!(discover.kind, Kind::Discover);
    assert_eq!(
        discover.option(code::REQUESTED_ADDRESS),
        Some(&ADDRESS.octets()[..])
    );
}

#[test]
fn inform_asks_from_the_address_until_a_server_answers() {
    let mut client: TestClient = Client::inform(identity(), policy(), random(), ADDRESS, at(0));
    for seconds in [3, 9] {
        let message = sent(&mut client);
        assert_eq!((message.kind, message.ciaddr), (Kind::Inform, ADDRESS));
        assert_eq!(message.option(code::REQUESTED_ADDRESS), None);
        assert_eq!(next(&mut client), seconds);
    }
    assert_eq!(client.state_name(), "INFORMING");
    outputs(&mut client);
    let offer = reply(&client, Kind::Offer);
    assert_eq!(
        client.handle_message(&offer, at(9)),
        Err(Ignored::NotExpectedIn("INFORMING"))
    );
    take(&mut client, Kind::Ack, 9);
    assert_eq!(outputs(&mut client), [Output::Informed(terms())]);
    assert_eq!((client.deadline(), client.listens()), (None, false));
    client.release(at(10));
    assert_eq!(outputs(&mut client), [], "there is nothing to give back");
}

#[test]
fn a_lease_that_is_resumed_keeps_its_timetable() {
    let mut client: TestClient = Client::resume(identity(), policy(), random(), lease(), at(300));
    assert_eq!(outputs(&mut client), []);
    assert_eq!(next(&mut client), 500);
    assert_eq!(client.state_name(), "RENEWING");
}

#[test]
fn release_is_sent_to_the_server_and_nothing_afterwards() {
    let mut client = bound();
    client.release(at(5));
    let done = outputs(&mut client).remove(0);
    let Output::Unicast { from, to, message } = done else {
        panic!("{done:?}")
    };
    assert_eq!((from, to, message.kind), (ADDRESS, SERVER, Kind::Release));
    assert_eq!((message.ciaddr, message.secs), (ADDRESS, 0));
    assert_eq!(message.option(code::SERVER), Some(&SERVER.octets()[..]));
    assert_eq!(client.deadline(), None);
}

#[test]
fn without_a_lease_there_is_nothing_to_release() {
    let mut client = start();
    outputs(&mut client);
    client.release(at(1));
    assert_eq!((outputs(&mut client), client.deadline()), (vec![], None));
}

/// Lets go of what the server granted, or may grant yet.
#[track_caller]
fn gives_back(client: &mut TestClient, now: u64) {
    client.release(at(now));
    let done = outputs(client).remove(0);
    let Output::Unicast { from, to, message } = done else {
        panic!("{done:?}")
    };
    assert_eq!((from, to, message.kind), (ADDRESS, SERVER, Kind::Release));
    assert_eq!(client.deadline(), None);
}

#[test]
fn what_was_asked_for_is_given_back_for_it_may_be_granted_by_now() {
    let mut client = start();
    outputs(&mut client);
    let offer = reply(&client, Kind::Offer);
    assert_eq!(client.handle_message(&offer, at(0)), Ok(()));
    outputs(&mut client);
    gives_back(&mut client, 1);
}

#[test]
fn what_is_asked_for_again_is_given_back() {
    let mut client: TestClient = Client::reboot(identity(), policy(), random(), &lease(), at(10));
    outputs(&mut client);
    gives_back(&mut client, 10);
}

#[test]
fn the_broadcast_flag_is_for_a_client_without_an_address() {
    let identity = Identity {
        broadcast: true,
        ..identity()
    };
    let mut client: TestClient = Client::start(identity, policy(), random(), at(0));
    assert!(sent(&mut client).broadcast);
    take(&mut client, Kind::Offer, 0);
    take(&mut client, Kind::Ack, 0);
    outputs(&mut client);
    next(&mut client);
    assert!(!sent(&mut client).broadcast);
}
