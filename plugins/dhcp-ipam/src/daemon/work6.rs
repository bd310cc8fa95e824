//! What IPv6 does in the life of a session.

use core::time::Duration;

use cni_common::addr::Cidr;
use cni_common::error::Error;
use cni_common::json::{Json, ObjectWriter};

use super::counters::Counter;
use super::describe::{self, Depth};
use super::family::Family;
use super::session::{Session, Sessions};
use super::session6::{Ears6, OurClient6, Session6, Settling, V6};
use super::{Daemon, Due, failure};
use crate::client6::{Client6, Output, Policy};
use crate::inside::Inside;
use crate::inside6::LinkLocal;
use crate::lease6::{Granted6, Lease6, Terms6};
use crate::random;
use crate::record::Standing;
use crate::record6::{Record6, Settings6};
use crate::sys::poll::Source;
use crate::time::Time;
use crate::wire::v6::Kind;

/// The time that each lease has to be confirmed in, when a daemon starts with many.
const EACH: Duration = Duration::from_millis(2);

impl Family for V6 {
    const WORD: &str = "IPv6";

    type Settings = Settings6;
    type Client = OurClient6;
    type Ears = Ears6;
    type Lease = Lease6;
    type Terms = Terms6;
    type Record = Record6;
    type Granted = Granted6;

    fn sessions(daemon: &Daemon) -> &Sessions<Self> {
        &daemon.v6
    }

    fn sessions_mut(daemon: &mut Daemon) -> &mut Sessions<Self> {
        &mut daemon.v6
    }

    fn due(id: u64) -> Due {
        Due::Session6(id)
    }

    fn client_deadline(client: &OurClient6) -> Option<Time> {
        client.deadline()
    }

    fn renew(client: &mut OurClient6, now: Time) {
        client.renew(now);
    }

    fn terms(lease: &Lease6) -> Terms6 {
        lease.terms.clone()
    }

    fn since(lease: &Lease6) -> Time {
        lease.since
    }

    fn expiry(lease: &Lease6) -> Time {
        lease.expiry()
    }

    fn is_same(one: &Terms6, other: &Terms6) -> bool {
        one.same_to_the_container(other)
    }

    fn terms_to_json(terms: &Terms6) -> ObjectWriter {
        terms.to_json()
    }

    fn on_change(settings: &Settings6) -> Option<&str> {
        settings.on_change.as_deref()
    }

    fn deadline(session: &Session6, now: Time) -> Option<Time> {
        let own = &session.own;
        // Before it can say anything, it has nothing to say when.
        let attempt = own.attempt.as_ref().filter(|_| own.local.is_some());
        let attempt = attempt.and_then(|attempt| attempt.deadline(now));
        let settling = own.settling.map(|settling| settling.at);
        let times = [attempt, settling, own.look];
        times.into_iter().flatten().min()
    }

    fn asks(session: &Session6) -> bool {
        session.client.is_some() || session.own.attempt.is_some()
    }

    fn is_for_waiters(session: &Session6) -> bool {
        session.own.attempt.is_some() && !session.own.had
    }

    fn record(session: &Session6, standing: Standing) -> Option<Record6> {
        let (lease, wall) = session.lease.clone()?;
        Some(Record6 {
            owner: session.owner.clone(),
            place: session.place.clone(),
            settings: session.settings.clone(),
            lease,
            wall,
            advertised: session.own.advertised.clone(),
            slaac: session.own.slaac.clone(),
            standing,
        })
    }

    fn address(session: &Session6, terms: &Terms6) -> Option<Cidr> {
        session.cidr(terms)
    }

    fn failure(session: &Session6, seconds: u32) -> Error {
        failure::describe6(session, seconds)
    }

    fn described(session: &Session6, now: Time, depth: Depth) -> Json {
        describe::described6(session, now, depth)
    }

    fn state(session: &Session6) -> &'static str {
        describe::state_of6(session)
    }

    fn is_releasing(client: &OurClient6) -> bool {
        client.is_releasing()
    }

    fn give_back(session: &mut Session6, now: Time) {
        session.own.attempt = None;
        if let Some(client) = &mut session.client {
            client.release(now);
        }
    }

    fn park(session: &mut Session6) {
        session.own.attempt = None;
        session.own.settling = None;
        session.own.look = None;
    }

    fn revive(daemon: &Daemon, id: u64, record: Record6, crowd: usize, now: Time) -> Session6 {
        // Ten thousand in one second would be a storm.
        let delay = EACH.saturating_mul(u32::try_from(crowd).unwrap_or(u32::MAX));
        daemon.revive6(id, record, delay, now)
    }

    fn pump(daemon: &mut Daemon, session: &mut Session6) {
        daemon.pump6(session);
    }

    fn advance(daemon: &mut Daemon, session: &mut Session6) {
        daemon.advance6(session);
    }

    fn take_back(_: &mut Daemon, _: &mut Session6) {}

    fn change(
        daemon: &mut Daemon,
        session: &mut Session6,
        lease: Option<&Lease6>,
    ) -> Result<(), Error> {
        daemon.change6(session, lease)
    }

    fn hear(daemon: &mut Daemon, id: u64) {
        daemon.hear6(id);
    }

    fn pass_time(daemon: &mut Daemon, session: &mut Session6, now: Time) {
        daemon.pass_time6(session, now);
    }

    fn deliver(daemon: &mut Daemon, connection: u64, part: Result<Granted6, Error>) {
        daemon.deliver6(connection, part);
    }
}

impl Daemon {
    /// A lease whose interface is there is confirmed: nobody knows what happened to the link meanwhile.
    fn revive6(&self, id: u64, record: Record6, delay: Duration, time: Time) -> Session6 {
        let Record6 {
            owner,
            place,
            settings,
            lease,
            wall,
            advertised,
            slaac,
            standing,
        } = record;
        let mut session = Session::<V6>::new(id, owner, place, settings);
        session.lease = Some((lease.clone(), wall));
        session.own.advertised = advertised;
        session.own.slaac = slaac;
        let Ok(mut inside) = self.inside(&session) else {
            session.say(format_args!(
                "its interface is gone; its IPv6 lease is kept for a while"
            ));
            session.keep_for_an_add(time);
            return session;
        };
        if let Ok(LinkLocal::Is(local)) = inside.link_local() {
            session.own.local = Some(local);
        }
        let random: fn() -> u32 = random::number;
        let (identity, policy) = (session.identity(), session.policy());
        let policy = Policy {
            delay: policy.delay.max(delay),
            ..policy
        };
        session.client = Some(if standing == Standing::Lost {
            Client6::start(identity, policy, random, time)
        } else if lease.terms.is_information() {
            session.applied = Some(lease.terms.clone());
            Client6::informed(identity, policy, random, &lease, time)
        } else {
            session.applied = Some(lease.terms.clone());
            session.own.settling = Some(Settling::new(time));
            Client6::confirm(identity, policy, random, lease, true, time)
        });
        session
    }

    fn pass_time6(&mut self, session: &mut Session6, time: Time) {
        if session.client.is_none() {
            return;
        }
        if let Some(settling) = session.own.settling.filter(|settling| time >= settling.at) {
            self.settle6(session, settling, time);
        }
        let client_due = session.client.as_ref().and_then(OurClient6::deadline);
        let looks = session.own.look.is_some_and(|at| time >= at);
        if !looks && client_due.is_none_or(|at| time < at) {
            return;
        }
        if session.own.attempt.is_none() {
            session.own.look = None;
        }
        match self.inside(session) {
            Ok(_) => {
                if let Some(client) = &mut session.client {
                    client.handle_timeout(time);
                }
            }
            Err(error) => self.park(session, &error),
        }
    }

    /// Gives the address on the interface the lease's times, so that the kernel takes it away when nobody else does.
    fn settle6(&mut self, session: &mut Session6, settling: Settling, time: Time) {
        session.own.settling = settling.next(time);
        let left = session
            .lease
            .as_ref()
            .and_then(|(lease, _)| lease.left(time));
        let Some((address, span)) = left else {
            session.own.settling = None;
            return;
        };
        let cidr = Cidr::host(address.into());
        let set = self
            .inside(session)
            .and_then(|mut inside| inside.set_lifetimes(cidr, span));
        match set {
            Ok(true) => session.own.settling = None,
            Ok(false) => {}
            Err(error) => session.complain(&error),
        }
    }

    /// Does what the client wants, until it wants nothing.
    pub(super) fn pump6(&mut self, session: &mut Session6) {
        while let Some(output) = session.client.as_mut().and_then(Client6::poll) {
            let done = match output {
                Output::Bound(lease) => {
                    self.bound6(session, &lease);
                    Ok(())
                }
                Output::PrefixEnded(lease) => {
                    self.prefix_ended6(session, &lease);
                    Ok(())
                }
                Output::Lost(why) => self.lost(session, why),
                Output::Informed(lease) => {
                    self.informed6(session, &lease);
                    Ok(())
                }
                Output::Send(message) => {
                    if message.kind == Kind::Release {
                        session.say(format_args!("gives its IPv6 lease back"));
                        // Before the server hears of it (RFC 8415, 18.2.7).
                        self.stop_using(session);
                    }
                    self.counters.count(Counter::Sent, message.kind.word());
                    self.ready(session).and_then(|_| session.send(&message))
                }
                Output::Probe(address) => self.ready(session).and_then(|inside| {
                    if session.open_neighbours(&inside)? {
                        self.watch_neighbours(session)?;
                    }
                    session.probe(address)
                }),
            };
            if let Err(error) = done {
                session.complain(&error);
            }
        }
    }

    /// The interface, with the client's port open.
    fn ready(&mut self, session: &mut Session6) -> Result<Inside, Error> {
        let mut inside = self.inside(session)?;
        if session.own.local.is_none()
            && let LinkLocal::Is(local) = inside.link_local()?
        {
            session.own.local = Some(local);
        }
        if session.open_dhcp(&inside)?
            && let Some(socket) = &session.ears.dhcp
        {
            self.watch(socket, Source::Dhcp6(session.id))?;
        }
        Ok(inside)
    }
}
