//! What IPv4 does in the life of a session.

use core::net::IpAddr;
use std::rc::Rc;

use cni_common::addr::Cidr;
use cni_common::error::Error;
use cni_common::json::{Json, ObjectWriter};

use super::counters::Counter;
use super::describe::{self, Depth};
use super::family::Family;
use super::session::{Session, Sessions, VISITING, sooner};
use super::session4::{Ears, OurClient, Session4, V4};
use super::{Daemon, Due, failure};
use crate::client::{Client, Output};
use crate::lease::{Lease, Terms};
use crate::random;
use crate::record::{Record, Settings, Standing};
use crate::sys::poll::{Source, now};
use crate::time::Time;
use crate::wire::Kind;

impl Family for V4 {
    const WORD: &str = "IPv4";

    type Settings = Settings;
    type Client = OurClient;
    type Ears = Option<Ears>;
    type Lease = Lease;
    type Terms = Rc<Terms>;
    type Record = Record;
    type Granted = Rc<Terms>;

    fn sessions(daemon: &Daemon) -> &Sessions<Self> {
        &daemon.v4
    }

    fn sessions_mut(daemon: &mut Daemon) -> &mut Sessions<Self> {
        &mut daemon.v4
    }

    fn due(id: u64) -> Due {
        Due::Session4(id)
    }

    fn client_deadline(client: &OurClient) -> Option<Time> {
        client.deadline()
    }

    fn renew(client: &mut OurClient, now: Time) {
        client.renew(now);
    }

    fn terms(lease: &Lease) -> Rc<Terms> {
        lease.terms.clone()
    }

    fn since(lease: &Lease) -> Time {
        lease.since
    }

    fn expiry(lease: &Lease) -> Time {
        lease.expiry()
    }

    fn is_same(one: &Rc<Terms>, other: &Rc<Terms>) -> bool {
        one.same_to_the_container(other)
    }

    fn terms_to_json(terms: &Rc<Terms>) -> ObjectWriter {
        terms.to_json()
    }

    fn on_change(settings: &Settings) -> Option<&str> {
        settings.on_change.as_deref()
    }

    fn deadline(session: &Session4, _: Time) -> Option<Time> {
        session.own.look
    }

    fn asks(session: &Session4) -> bool {
        session.client.is_some()
    }

    fn is_for_waiters(session: &Session4) -> bool {
        session.lease.is_none()
    }

    fn record(session: &Session4, standing: Standing) -> Option<Record> {
        let (lease, wall) = session.lease.clone()?;
        Some(Record {
            owner: session.owner.clone(),
            place: session.place.clone(),
            settings: session.settings.clone(),
            lease,
            wall,
            server_mac: session.own.server_mac,
            standing,
        })
    }

    fn address(_: &Session4, terms: &Rc<Terms>) -> Option<Cidr> {
        Some(terms.cidr())
    }

    fn failure(session: &Session4, seconds: u32) -> Error {
        failure::describe(session, seconds)
    }

    fn described(session: &Session4, now: Time, depth: Depth) -> Json {
        describe::described(session, now, depth)
    }

    fn state(session: &Session4) -> &'static str {
        describe::state_of(session)
    }

    /// Nobody answers a release: it is sent, and that is all.
    fn is_releasing(_: &OurClient) -> bool {
        false
    }

    fn give_back(session: &mut Session4, now: Time) {
        if let Some(client) = &mut session.client {
            client.release(now);
        }
    }

    fn park(session: &mut Session4) {
        session.own.look = None;
    }

    fn revive(daemon: &Daemon, id: u64, record: Record, _: usize, now: Time) -> Session4 {
        daemon.revive4(id, record, now)
    }

    fn pump(daemon: &mut Daemon, session: &mut Session4) {
        daemon.pump4(session);
    }

    fn advance(daemon: &mut Daemon, session: &mut Session4) {
        daemon.pump4(session);
    }

    fn take_back(daemon: &mut Daemon, session: &mut Session4) {
        daemon.take_back(session);
    }

    fn change(
        daemon: &mut Daemon,
        session: &mut Session4,
        lease: Option<&Lease>,
    ) -> Result<(), Error> {
        daemon.change4(session, lease)
    }

    fn hear(daemon: &mut Daemon, id: u64) {
        daemon.hear4(id);
    }

    fn pass_time(daemon: &mut Daemon, session: &mut Session4, now: Time) {
        let deadline = session.client.as_ref().and_then(OurClient::deadline);
        let times = [deadline, session.own.look];
        if times.into_iter().flatten().all(|time| time > now) {
            return;
        }
        session.own.look = None;
        // A namespace that is gone would be kept alive by what is opened now.
        match daemon.inside(session) {
            Ok(_) => {
                if let Some(client) = &mut session.client {
                    client.handle_timeout(now);
                }
            }
            Err(error) => daemon.park(session, &error),
        }
    }

    fn deliver(daemon: &mut Daemon, connection: u64, part: Result<Rc<Terms>, Error>) {
        daemon.deliver4(connection, part);
    }
}

impl Daemon {
    /// A lease of which the interface is there goes on where it was.
    fn revive4(&self, id: u64, record: Record, time: Time) -> Session4 {
        let Record {
            owner,
            place,
            settings,
            lease,
            wall,
            server_mac,
            standing,
        } = record;
        let mut session = Session::<V4>::new(id, owner, place, settings);
        session.own.server_mac = server_mac;
        session.lease = Some((lease.clone(), wall));
        if self.inside(&session).is_err() {
            session.say(format_args!(
                "its interface is gone; {} is kept for a while",
                lease.terms.cidr()
            ));
            session.keep_for_an_add(time);
            return session;
        }
        let identity = session.identity(self.options.broadcast);
        let policy = session.policy(self.options.policy);
        let random: fn() -> u32 = random::number;
        if standing == Standing::Lost {
            session.client = Some(Client::start(identity, policy, random, time));
        } else {
            session.applied = Some(lease.terms.clone());
            session.client = Some(Client::resume(identity, policy, random, lease, time));
        }
        session
    }

    /// An ADD: answered at once where the interface has its lease.
    pub(super) fn attach4(&mut self, session: &mut Session4, here: bool) {
        let time = now();
        let identity = session.identity(self.options.broadcast);
        let policy = session.policy(self.options.policy);
        let random: fn() -> u32 = random::number;
        if let Some(IpAddr::V4(address)) = session.own.inform.map(Cidr::address) {
            let client = Client::inform(identity, policy, random, address, time);
            session.client = Some(client);
            return;
        }
        let lease = session.lease.as_ref().map(|(lease, _)| lease.clone());
        match &session.client {
            Some(client) if here => {
                if let Some(lease) = client.lease().cloned() {
                    self.grant4(session, &lease);
                }
                // Or the answer comes with the lease that is being asked for.
                return;
            }
            _ => {}
        }
        session.ears = None;
        session.applied = None;
        let held = lease.filter(|lease| lease.expiry() > time);
        session.client = Some(match held {
            Some(lease) => Client::reboot(identity, policy, random, &lease, time),
            None => Client::start(identity, policy, random, time),
        });
    }

    /// Gives the lease to those who wait.
    fn grant4(&mut self, session: &mut Session4, lease: &Lease) {
        let waiters = core::mem::take(&mut session.waiters);
        if !waiters.is_empty() {
            // The plugin that attaches gives it to the interface, and knows nothing of its MTU.
            let fitted = self
                .inside(session)
                .and_then(|mut inside| inside.fit(None, Some(&lease.terms), session.place.mtu));
            if let Err(error) = fitted {
                session.complain(&error);
            }
            session.applied = Some(lease.terms.clone());
        }
        for waiter in waiters {
            self.deliver4(waiter.connection, Ok(lease.terms.clone()));
        }
    }

    /// Does what the client wants, until it wants nothing.
    fn pump4(&mut self, session: &mut Session4) {
        while let Some(output) = session.client.as_mut().and_then(Client::poll) {
            let done = match output {
                Output::Bound(lease) => {
                    self.bound4(session, &lease);
                    Ok(())
                }
                Output::Lost(why) => self.lost(session, why),
                Output::Informed(terms) => {
                    self.informed(session, terms);
                    Ok(())
                }
                Output::Broadcast { .. } | Output::Unicast { .. } | Output::Probe(_) => {
                    self.send4(session, output)
                }
            };
            if let Err(error) = done {
                self.counters.count(Counter::Failures, "attachment");
                session.complain(&error);
            }
        }
        let listens = session.client.as_ref().is_some_and(OurClient::listens);
        let probes = session
            .client
            .as_ref()
            .and_then(OurClient::probing)
            .is_some();
        if !listens {
            // Nothing keeps the namespace of a quiet lease alive.
            session.close();
            session.own.look = session.client.as_ref().map(|_| now().after(VISITING));
        } else if !probes && let Some(ears) = &mut session.ears {
            ears.arp = None;
        }
        if session.ears.is_some() {
            session.own.look = Some(sooner(session.own.look, now()));
        }
    }

    fn send4(&mut self, session: &mut Session4, output: Output) -> Result<(), Error> {
        let inside = self.inside(session)?;
        if session.ears.is_none() {
            let ears = session.listen(&inside)?;
            self.watch(&ears.dhcp, Source::Dhcp(session.id))?;
            session.ears = Some(ears);
        }
        if let Output::Broadcast { message, .. } | Output::Unicast { message, .. } = &output {
            self.counters.count(Counter::Sent, message.kind.word());
        }
        match output {
            Output::Broadcast { from, message } => session.broadcast(from, &message),
            Output::Unicast { from, to, message } if message.kind == Kind::Release => {
                session.say(format_args!("gives {from} back to {to}"));
                let sent = session.send_release(&inside, from, to, &message);
                // It went from that address.
                self.stop_using(session);
                sent
            }
            Output::Unicast { from, to, message } => session.unicast(&inside, from, to, &message),
            Output::Probe(address) => {
                let silent = session.ears.as_ref().is_none_or(|ears| ears.arp.is_none());
                if silent {
                    session.listen_to_arp(&inside)?;
                    if let Some(arp) = session.ears.as_ref().and_then(|ears| ears.arp.as_ref()) {
                        self.watch(arp, Source::Arp(session.id))?;
                    }
                }
                session.probe(address)
            }
            Output::Bound(_) | Output::Lost(_) | Output::Informed(_) => Ok(()),
        }
    }

    /// A lease began or goes on: it is on disk before anybody hears of it.
    fn bound4(&mut self, session: &mut Session4, lease: &Lease) {
        let before = Self::remember(session, lease);
        let had = session.applied.clone();
        // Ten thousand leases are renewed all the time, and nobody wants to read that.
        let is_news = had.is_none()
            || before.is_none_or(|before| {
                before.terms.server != lease.terms.server
                    || !before.terms.same_to_the_container(&lease.terms)
            });
        if is_news {
            session.say(format_args!(
                "has {} of {} for {} s",
                lease.terms.cidr(),
                lease.terms.server,
                lease.terms.seconds
            ));
        }
        if !self.keep(session) {
            return;
        }
        if !session.waiters.is_empty() {
            self.grant4(session, lease);
            return self.tell_of(session, had.as_ref(), &lease.terms);
        }
        let same = session
            .applied
            .as_ref()
            .is_some_and(|old| old.same_to_the_container(&lease.terms));
        if !same && let Err(error) = self.change4(session, Some(lease)) {
            session.complain(&error);
        }
        self.tell_of(session, had.as_ref(), &lease.terms);
    }

    /// Makes the interface have what the lease says, and nothing of an earlier one.
    fn change4(&mut self, session: &mut Session4, lease: Option<&Lease>) -> Result<(), Error> {
        let mut inside = self.inside(session)?;
        let new = lease.map(|lease| lease.terms.clone());
        let cidr = |terms: &Rc<Terms>| terms.cidr();
        let got = new.as_ref().map(cidr);
        let got = got.filter(|got| session.applied.as_ref().map(cidr) != Some(*got));
        let changed = inside.apply(
            session.applied.as_deref(),
            new.as_deref(),
            session.settings.wishes,
        );
        let fitted = inside.fit(
            session.applied.as_deref(),
            new.as_deref(),
            session.place.mtu,
        );
        session.applied = new;
        let announced = got.map_or(Ok(()), |cidr| inside.announce(cidr));
        changed.and(fitted).and(announced)
    }
}
