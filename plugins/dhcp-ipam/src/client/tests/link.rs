//! Clients and a server on a simulated link that loses, repeats, delays and reorders, with a clock of its own.
//!
//! Each run has a seed, which a failure names: with it the run comes again exactly so.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::wire::Outgoing;

/// A generator whose numbers follow from its seed (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What is on the link.
#[derive(Clone, Debug)]
enum Packet {
    ToServer(usize, Outgoing),
    ToClient(usize, Reply),
}

/// A server that gives each client an address for a while, and does not lie.
#[derive(Debug, Default)]
struct Server {
    /// Who has an address, and until when.
    leases: BTreeMap<Ipv4Addr, (usize, Time)>,
    /// How long a lease is.
    seconds: u32,
    addresses: u8,
    declined: BTreeSet<Ipv4Addr>,
}

impl Server {
    fn held(&self, client: usize, now: Time) -> Option<Ipv4Addr> {
        let mut all = self.leases.iter();
        all.find(|(_, (owner, until))| *owner == client && *until > now)
            .map(|(address, _)| *address)
    }

    fn free(&self, now: Time) -> Option<Ipv4Addr> {
        let pool = (50..50 + self.addresses).map(|last| Ipv4Addr::new(10, 0, 0, last));
        pool.filter(|address| !self.declined.contains(address))
            .find(|address| {
                self.leases
                    .get(address)
                    .is_none_or(|(_, until)| *until <= now)
            })
    }

    fn terms(&self, address: Ipv4Addr) -> Terms {
        Terms {
            address,
            seconds: self.seconds,
            ..terms()
        }
    }

    fn hear(&mut self, client: usize, message: &Outgoing, now: Time) -> Option<Reply> {
        let wanted = message
            .option(code::REQUESTED_ADDRESS)
            .map(|data| Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap()));
        let answer = |kind, terms| {
            Some(Reply {
                kind,
                xid: message.xid,
                server: Some(SERVER),
                terms,
                words: None,
            })
        };
        let nak = || answer(Kind::Nak, Err("none"));
        match message.kind {
            Kind::Discover => {
                let address = self.held(client, now).or_else(|| self.free(now))?;
                answer(Kind::Offer, Ok(self.terms(address)))
            }
            Kind::Request => {
                let has = !message.ciaddr.is_unspecified();
                let address = if has { message.ciaddr } else { wanted? };
                let others = self.leases.get(&address);
                let taken = others.is_some_and(|(owner, until)| *owner != client && *until > now);
                if taken || self.declined.contains(&address) {
                    return nak();
                }
                let until = now.after_secs(self.seconds);
                self.leases.insert(address, (client, until));
                answer(Kind::Ack, Ok(self.terms(address)))
            }
            Kind::Decline => {
                self.declined.insert(wanted?);
                self.leases.remove(&wanted?);
                None
            }
            Kind::Release => {
                if self.held(client, now) == Some(message.ciaddr) {
                    self.leases.remove(&message.ciaddr);
                }
                None
            }
            Kind::Offer | Kind::Ack | Kind::Nak | Kind::Inform => None,
        }
    }
}

/// The link, who is on it, and what each client's interface has.
struct World {
    seed: u64,
    now: Time,
    chance: Chance,
    /// Of a hundred packets so many are lost, and so many come twice.
    loss: u64,
    repeats: u64,
    clients: Vec<TestClient>,
    server: Server,
    flying: Vec<(Time, u64, Packet)>,
    number: u64,
    has: Vec<Option<Lease>>,
    sent: Vec<u32>,
    /// How often each lost its address.
    lost: Vec<u32>,
}

impl World {
    fn new(seed: u64, count: usize, seconds: u32) -> Self {
        let mut chance = Chance(seed);
        let (loss, repeats) = (chance.below(40), chance.below(30));
        let clients = (0..count).map(|number| {
            let mut own = Chance(seed ^ u64::try_from(number).unwrap() << 32);
            let random: Box<dyn FnMut() -> u32> =
                Box::new(move || u32::try_from(own.next() >> 32).unwrap());
            let probe = Duration::from_millis(100);
            Client::start(
                identity(),
                Policy {
                    probe,
                    ..Policy::default()
                },
                random,
                at(0),
            )
        });
        let mut world = Self {
            seed,
            now: at(0),
            chance,
            loss,
            repeats,
            clients: clients.collect(),
            server: Server {
                seconds,
                addresses: u8::try_from(count).unwrap() + 1,
                ..Server::default()
            },
            flying: Vec::new(),
            number: 0,
            has: vec![None; count],
            sent: vec![0; count],
            lost: vec![0; count],
        };
        (0..count).for_each(|number| world.drain(number));
        world
    }

    fn fly(&mut self, packet: &Packet) {
        let copies = 1 + u64::from(self.chance.below(100) < self.repeats);
        for _ in 0..copies {
            if self.chance.below(100) < self.loss {
                continue;
            }
            // Up to a quarter of a second, so that one overtakes another.
            let wait = Duration::from_millis(self.chance.below(250));
            self.number += 1;
            self.flying
                .push((self.now.after(wait), self.number, packet.clone()));
        }
    }

    /// Does what a client wants, as the daemon does.
    fn drain(&mut self, number: usize) {
        while let Some(output) = self.clients[number].poll() {
            match output {
                Output::Broadcast { message, .. } | Output::Unicast { message, .. } => {
                    self.sent[number] += 1;
                    self.fly(&Packet::ToServer(number, message));
                }
                Output::Bound(lease) => self.bound(number, lease),
                Output::Lost(_) => {
                    assert!(
                        self.has[number].is_some(),
                        "seed {}: nothing to lose",
                        self.seed
                    );
                    self.has[number] = None;
                    self.lost[number] += 1;
                }
                Output::Probe(_) => {}
                Output::Informed(_) => panic!("seed {}: nobody asked", self.seed),
            }
        }
        let deadline = self.clients[number].deadline();
        assert!(
            deadline.is_some(),
            "seed {}: it would wait for ever",
            self.seed
        );
        assert_eq!(
            self.clients[number].lease(),
            self.has[number].as_ref(),
            "seed {}",
            self.seed
        );
    }

    /// Whoever has an address has it of the server, and not longer than the server says.
    fn bound(&mut self, number: usize, lease: Lease) {
        let seed = self.seed;
        let (owner, until) = self.server.leases[&lease.terms.address];
        assert_eq!(owner, number, "seed {seed}: {lease:?} is another's");
        assert!(
            lease.expiry() <= until,
            "seed {seed}: {lease:?} goes on after {until:?}"
        );
        self.has[number] = Some(lease);
        let held = self.has.iter().flatten().map(|lease| lease.terms.address);
        let (all, different) = (held.clone().count(), held.collect::<BTreeSet<_>>().len());
        assert_eq!(all, different, "seed {seed}: two have one address");
    }

    /// The next thing that happens.
    fn step(&mut self) {
        let packet = self
            .flying
            .iter()
            .map(|(time, order, _)| (*time, *order))
            .min();
        let client = (0..self.clients.len())
            .filter_map(|number| Some((self.clients[number].deadline()?, number)))
            .min()
            .unwrap();
        match packet {
            Some((time, order)) if time <= client.0 => {
                let place = self.flying.iter().position(|one| one.1 == order).unwrap();
                let (_, _, packet) = self.flying.swap_remove(place);
                self.now = self.now.max(time);
                self.arrive(packet);
            }
            _ => {
                assert!(
                    client.0 >= self.now,
                    "seed {}: a deadline in the past",
                    self.seed
                );
                self.now = client.0;
                self.clients[client.1].handle_timeout(self.now);
                let later = self.clients[client.1].deadline();
                assert!(
                    later.is_none_or(|at| at > self.now),
                    "seed {}: no end",
                    self.seed
                );
                self.drain(client.1);
            }
        }
        for lease in self.has.iter().flatten() {
            assert!(
                lease.expiry() >= self.now,
                "seed {}: {lease:?} is over",
                self.seed
            );
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::ToServer(from, message) => {
                if let Some(reply) = self.server.hear(from, &message, self.now) {
                    self.fly(&Packet::ToClient(from, reply));
                }
            }
            Packet::ToClient(to, reply) => {
                let _ = self.clients[to].handle_message(&reply, self.now);
                self.drain(to);
            }
        }
    }

    fn until(&mut self, seconds: u64) {
        while self.now < at(seconds) {
            self.step();
        }
    }
}

#[test]
fn over_a_bad_link_everybody_gets_an_address_of_his_own_and_keeps_it() {
    for seed in 0..150 {
        let mut world = World::new(seed, 5, 600);
        world.until(300);
        let waiting = world.has.iter().filter(|lease| lease.is_none()).count();
        assert_eq!(waiting, 0, "seed {seed}, {} of 100 lost", world.loss);
        // No storm: a handful of messages for each of the leases of half a day.
        world.until(43_200);
        let most = world.sent.iter().max().unwrap();
        assert!(
            *most < 2500,
            "seed {seed}: {most} messages, {} of 100 lost",
            world.loss
        );
    }
}

#[test]
fn a_server_that_falls_silent_ends_every_lease_in_time_and_coming_back_gives_them_again() {
    for seed in 0..100 {
        let mut world = World::new(seed, 4, 60);
        world.until(600);
        let loss = core::mem::replace(&mut world.loss, 100);
        world.until(700);
        assert_eq!(world.has, vec![None; 4], "seed {seed}");
        world.loss = loss;
        world.until(2000);
        let held = world.has.iter().flatten().count();
        // A bad link may lose every renewal of one lease, now and then.
        assert!(held >= 3, "seed {seed}: {held}, {loss} of 100 lost");
    }
}

#[test]
fn a_machine_that_slept_through_its_lease_has_it_no_more() {
    for seed in 0..100 {
        let mut world = World::new(seed, 2, 60);
        world.until(300);
        let later = world.now.after(Duration::from_secs(1000));
        world.now = later;
        world.flying.clear();
        for number in 0..2 {
            world.clients[number].handle_timeout(later);
            world.drain(number);
            assert_eq!(world.has[number], None, "seed {seed}");
        }
        world.until(3000);
    }
}
