//! The client and a small server on a link that loses, repeats and delays.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// Numbers by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// A server with a handful of addresses, some of which others hold without asking.
struct Server {
    leases: BTreeSet<u16>,
    declined: BTreeSet<u16>,
    forgets: bool,
}

impl Server {
    fn address(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
    }

    fn free(&self) -> Option<u16> {
        (1..4).find(|number| !self.declined.contains(number))
    }

    /// What it answers, as the client's fence would read it.
    fn answer(&mut self, message: &Outgoing, chance: &mut Chance) -> Option<Reply> {
        let named = message.option(code::IA_NA).and_then(|ia| ia.get(30..32));
        let named = named.map(|low| u16::from_be_bytes([low[0], low[1]]));
        let mut reply = Reply::bare(Kind::Reply, message.xid, SERVER.to_vec());
        if chance.one_in(20) && self.forgets {
            self.leases.clear();
        }
        let grant = |number: u16| Some(given(Self::address(number), 1000, 1600));
        match message.kind {
            Kind::Solicit => {
                let number = self.free()?;
                reply.rapid_commit = chance.one_in(2);
                if reply.rapid_commit {
                    self.leases.insert(number);
                } else {
                    reply.kind = Kind::Advertise;
                }
                reply.addresses = grant(number);
            }
            Kind::Request => {
                let number = named.filter(|number| !self.declined.contains(number))?;
                self.leases.insert(number);
                reply.addresses = grant(number);
            }
            Kind::Renew | Kind::Rebind => match named.filter(|n| self.leases.contains(n)) {
                Some(number) => reply.addresses = grant(number),
                None => reply.status = Some(status(Status::NO_BINDING)),
            },
            Kind::Confirm => reply.status = Some(status(if chance.one_in(3) { 4 } else { 0 })),
            Kind::Decline => {
                self.leases.remove(&named?);
                self.declined.insert(named?);
            }
            Kind::Release => {
                self.leases.remove(&named?);
            }
            _ => {}
        }
        Some(reply)
    }
}

/// A client for a few leases' time; what it says must be so, and in the end it has a lease.
fn run(seed: u64) {
    let mut chance = Chance(seed);
    let mut numbers = Chance(seed ^ 0xffff);
    let random: Box<dyn FnMut() -> u32> =
        Box::new(move || u32::try_from(numbers.below(1 << 31)).unwrap());
    let policy = Policy {
        probe: Duration::from_millis(100),
        ..policy()
    };
    let mut server = Server {
        leases: BTreeSet::new(),
        declined: BTreeSet::new(),
        forgets: chance.one_in(2),
    };
    let squatted: u16 = if chance.one_in(2) { 1 } else { 99 };
    let loss = [2, 3, 10, 1000][usize::try_from(chance.below(4)).unwrap()];
    let mut client: TestClient = Client6::start(identity(), policy, random, at(0));
    let mut time = Time::from_millis(0);
    let mut flying: VecDeque<(Time, Reply)> = VecDeque::new();
    let mut holds: Option<Lease6> = None;
    let mut calm = 0;
    for step in 0..2000 {
        // Towards the end nothing is lost, so that every client must come to rest.
        let losing = step < 1500 && chance.one_in(loss);
        while let Some(output) = client.poll() {
            match output {
                Output::Send(message) => {
                    assert!(message.to_bytes().is_some());
                    if losing {
                        continue;
                    }
                    let Some(reply) = server.answer(&message, &mut chance) else {
                        continue;
                    };
                    let delay = Duration::from_millis(chance.below(50));
                    flying.push_back((time.after(delay), reply.clone()));
                    if chance.one_in(5) {
                        flying.push_back((time.after(delay * 40), reply));
                    }
                }
                Output::Probe(address) if address == Server::address(squatted) => {
                    client.address_in_use(time);
                }
                Output::Probe(_) | Output::Informed(_) => {}
                Output::PrefixEnded(lease) => holds = Some(lease),
                Output::Bound(lease) => {
                    let (address, _) = lease.terms.address.unwrap();
                    assert_ne!(address, Server::address(squatted), "nobody else's");
                    assert!(lease.since <= time && lease.expiry() > time);
                    holds = Some(lease);
                }
                Output::Lost(_) => assert!(holds.take().is_some(), "only what it had"),
            }
        }
        assert_eq!(client.lease().is_some(), holds.is_some());
        let deadline = client.deadline().expect("it always goes on");
        let arrival = flying.iter().map(|(at, _)| *at).min();
        if let Some(at) = arrival.filter(|at| *at <= deadline) {
            let place = flying.iter().position(|(when, _)| *when == at).unwrap();
            let (_, reply) = flying.remove(place).unwrap();
            time = time.max(at);
            let _ = client.handle_message(&reply, time);
        } else {
            time = time.max(deadline);
            if let Some(lease) = &holds {
                assert!(time <= lease.expiry(), "no lease outlives its end");
            }
            client.handle_timeout(time);
            let after = client.deadline().expect("it always goes on");
            assert!(
                after > time || client.outputs.front().is_some(),
                "time goes on"
            );
        }
        calm = if holds.is_some() { calm + 1 } else { 0 };
    }
    assert!(calm > 10, "seed {seed}: {:?}", client.state);
    while client.poll().is_some() {}
    client.release(time);
    let mut releases = 0;
    while client.deadline().is_some() {
        while let Some(output) = client.poll() {
            let Output::Send(release) = output else {
                panic!("{output:?}");
            };
            releases += 1;
            if chance.one_in(2) {
                continue;
            }
            if let Some(reply) = server.answer(&release, &mut chance) {
                client.handle_message(&reply, time).unwrap();
            }
        }
        time = client.deadline().unwrap_or(time);
        client.handle_timeout(time);
    }
    assert!((1..=3).contains(&releases), "{releases}");
}

#[test]
fn whatever_the_link_does_a_client_keeps_its_promises_and_gets_its_lease() {
    for seed in 1..=60 {
        run(seed);
    }
}

/// Whatever comes, and whenever: no panic, and no lease that was not granted.
#[test]
fn any_sequence_of_messages_and_times_does_no_harm() {
    let mut chance = Chance(7);
    for _ in 0..300 {
        let mut client = if chance.one_in(2) {
            start()
        } else {
            Client6::confirm(
                identity(),
                policy(),
                random(),
                lease(0),
                chance.one_in(2),
                at(0),
            )
        };
        let mut time = Time::from_millis(0);
        for _ in 0..100 {
            match chance.below(6) {
                0 | 1 => {
                    time = client.deadline().unwrap_or(time).max(time);
                    if time == Time::NEVER {
                        break;
                    }
                    client.handle_timeout(time);
                }
                2 => time = time.after(Duration::from_secs(chance.below(700))),
                3 => client.address_in_use(time),
                _ => {
                    let kind =
                        [Kind::Advertise, Kind::Reply][usize::try_from(chance.below(2)).unwrap()];
                    let mut message = reply(&client, kind);
                    message.rapid_commit = chance.one_in(2);
                    if chance.one_in(3) {
                        message.server = OTHER.to_vec();
                    }
                    if chance.one_in(3) {
                        message.status = Some(status(u16::try_from(chance.below(8)).unwrap()));
                    }
                    if chance.one_in(4) {
                        message.addresses = None;
                    }
                    let _ = client.handle_message(&message, time);
                }
            }
            outputs(&mut client);
            assert!(client.deadline().is_some());
        }
    }
}
