//! What happens to the IPv6 of a session: its beginning and end, time, and what its client wants done.

use core::time::Duration;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::error::{Error, Step};

use super::attempt6::{Attempt, Progress, Want};
use super::counters::Counter;
use super::event::Happened;
use super::session6::{LOOKING, OurClient6, Session6, Settling};
use super::work::wall;
use super::{Daemon, Due, failure};
use crate::client::Lost;
use crate::client6::{Client6, Output, Policy};
use crate::inside::Inside;
use crate::inside6::LinkLocal;
use crate::lease6::{Lease6, Terms6};
use crate::random;
use crate::record::Standing;
use crate::record6::Record6;
use crate::sys::poll::{Source, now};
use crate::time::Time;

/// How often the interface is looked at while an ADD waits for it.
const OFTEN: Duration = Duration::from_millis(50);
/// The time that each lease has to be confirmed in, when a daemon starts with many.
const EACH: Duration = Duration::from_millis(2);

impl Daemon {
    /// Takes the IPv6 of a session out, works on it, does what then is to be done, and puts it back unless it is over.
    pub(super) fn with6(&mut self, id: u64, work: impl FnOnce(&mut Self, &mut Session6)) {
        let Some(mut session) = self.sessions6.remove(&id) else {
            return;
        };
        work(self, &mut session);
        self.advance(&mut session);
        if let Some(due) = session.due.take() {
            self.deadlines.remove(&(due, Due::Session6(id)));
        }
        if session.client.is_none() && session.lease.is_none() && session.attempt.is_none() {
            self.names6.remove(&session.owner);
            return;
        }
        session.due = session.deadline(now());
        if let Some(due) = session.due {
            self.deadlines.insert((due, Due::Session6(id)));
        }
        self.sessions6.insert(id, session);
    }

    /// Leases from disk.
    pub(super) fn resume6(&mut self) -> Result<(), Error> {
        let (time, seconds) = (now(), wall());
        let records = self.store.all::<Record6>()?;
        // Ten thousand in one second would be a storm.
        let delay = EACH.saturating_mul(u32::try_from(records.len()).unwrap_or(u32::MAX));
        for mut record in records {
            record.settle(&self.boot, time, seconds);
            let id = self.number();
            self.names6.insert(record.owner.clone(), id);
            let standing = record.standing;
            let session = self.revive6(id, record, delay, time);
            self.sessions6.insert(id, Box::new(session));
            if standing == Standing::Released {
                self.release6(id);
            } else {
                self.with6(id, |_, _| {});
            }
        }
        Ok(())
    }

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
        let mut session = Session6::new(id, owner, place, settings);
        session.lease = Some((lease.clone(), wall));
        session.advertised = advertised;
        session.slaac = slaac;
        let Ok(mut inside) = self.inside6(&session) else {
            session.say(format_args!(
                "its interface is gone; its IPv6 lease is kept until it ends"
            ));
            return session;
        };
        if let Ok(LinkLocal::Is(local)) = inside.link_local() {
            session.local = Some(local);
        }
        let random: fn() -> u32 = random::number;
        let (identity, policy) = (session.identity(), session.policy());
        let policy = Policy {
            delay: policy.delay.max(delay),
            ..policy
        };
        session.client = Some(if standing == Standing::Lost {
            Client6::start(identity, policy, random, time)
        } else {
            session.applied = Some(lease.terms.clone());
            session.settling = Some(Settling::new(time));
            Client6::confirm(identity, policy, random, lease, true, time)
        });
        session
    }

    pub(super) fn inside6(&self, session: &Session6) -> Result<Inside, Error> {
        session.inside(&self.options.netns_path(&session.place.netns))
    }

    /// An ADD: answered at once where the interface has its lease.
    pub(super) fn attach6(&mut self, session: &mut Session6, here: bool) {
        let held = session.client.as_ref().and_then(OurClient6::lease);
        if here && held.is_some() && session.attempt.is_none() {
            return self.grant6(session);
        }
        if here && session.attempt.is_some() {
            // The answer comes with what is being asked for.
            return;
        }
        let time = now();
        session.ears = super::session6::Ears6::default();
        session.local = None;
        session.look = None;
        session.applied = None;
        session.settling = None;
        session.slaac.clear();
        session.client = None;
        session.had = session.lease.is_some();
        let settings = &session.settings;
        session.attempt = Some(Attempt::new(settings.mode, settings.routers, time));
    }

    /// Goes on with an attempt and a client, as far as it is possible at this moment.
    fn advance(&mut self, session: &mut Session6) {
        if session.attempt.is_some()
            && let Err(error) = self.try_attempt(session)
        {
            self.park6(session, &error);
        }
        self.pump6(session);
        if session.attempt.is_some() {
            self.conclude(session);
        }
        let listens = session.client.as_ref().is_some_and(OurClient6::listens);
        if session.attempt.is_none() {
            if !listens {
                // Nothing keeps the namespace of a quiet lease alive.
                session.ears = super::session6::Ears6::default();
                session.look = None;
            } else if session
                .client
                .as_ref()
                .and_then(OurClient6::probing)
                .is_none()
            {
                session.ears.neighbours = None;
            }
        }
        let open = session.ears.dhcp.is_some() || session.ears.neighbours.is_some();
        if open && session.look.is_none() {
            session.look = Some(now().after(LOOKING));
        }
    }

    /// The part of an attempt that is not the client's.
    fn try_attempt(&mut self, session: &mut Session6) -> Result<(), Error> {
        let time = now();
        if session.look.is_some_and(|at| time < at) && session.local.is_none() {
            return Ok(());
        }
        let mut inside = self.inside6(session)?;
        if session.local.is_none() {
            match inside.link_local()? {
                LinkLocal::Is(local) => session.local = Some(local),
                LinkLocal::NotYet => {
                    session.look = Some(time.after(OFTEN));
                    return Ok(());
                }
                LinkLocal::Duplicate(address) => {
                    session.last_error = Some(format!("{address} is in use by another host"));
                    session.look = Some(time.after(OFTEN));
                    return Ok(());
                }
            }
        }
        session.look = None;
        if session.settings.routers && session.open_neighbours(&inside)? {
            self.watch_neighbours(session)?;
        }
        let Some(attempt) = &mut session.attempt else {
            return Ok(());
        };
        let (asks, wants) = (attempt.asks_routers(time), attempt.wants(time));
        let subnets = attempt.autonomous();
        if asks {
            session.solicit_routers()?;
        }
        if session.client.is_none() {
            session.client = Self::client_for(session, wants, time);
        }
        if !subnets.is_empty() {
            match inside.autonomous(&subnets) {
                Ok(made) => session.slaac = made,
                Err(error) => session.last_error = Some(error.to_string()),
            }
            if session.slaac.len() < subnets.len() {
                session.look = Some(time.after(OFTEN));
            }
        }
        Ok(())
    }

    /// A client for what servers are to be asked for.
    fn client_for(session: &Session6, wants: Want, time: Time) -> Option<OurClient6> {
        let (identity, policy) = (session.identity(), session.policy());
        let random: fn() -> u32 = random::number;
        let held = session.lease.as_ref().map(|(lease, _)| lease.clone());
        let held = held.filter(|lease| lease.expiry() > time);
        match (wants, held) {
            (Want::Nothing, _) => None,
            (Want::Information, _) => Some(Client6::inform(identity, policy, random, time)),
            (Want::Lease, None) => Some(Client6::start(identity, policy, random, time)),
            (Want::Lease, Some(lease)) => {
                let policy = Policy {
                    // Somebody waits for it.
                    delay: Duration::ZERO,
                    ..policy
                };
                Some(Client6::confirm(
                    identity, policy, random, lease, false, time,
                ))
            }
        }
    }

    fn watch_neighbours(&self, session: &Session6) -> Result<(), Error> {
        match &session.ears.neighbours {
            Some(socket) => self
                .poll
                .watch(socket, Source::Neighbours6(session.id))
                .step(|| "watch a socket"),
            None => Ok(()),
        }
    }

    /// Ends an attempt that has all that can be had.
    fn conclude(&mut self, session: &mut Session6) {
        let Some(attempt) = &session.attempt else {
            return;
        };
        let leased = session
            .client
            .as_ref()
            .is_some_and(|one| one.lease().is_some());
        let progress = Progress {
            leased,
            addresses: &session.slaac,
        };
        if !attempt.is_complete(progress, now()) {
            return;
        }
        session.advertised = attempt.advertised();
        for address in &session.slaac {
            session.say(format_args!("has {address} of a router's prefix"));
        }
        if !leased {
            // What is left is the kernel's to see to. A lease of earlier is not of this link.
            session.client = None;
            if session.lease.take().is_some()
                && let Err(error) = self.store.remove::<Record6>(&session.owner)
            {
                session.complain(&error);
            }
        }
        if let Some(record) = session.record(Standing::Held)
            && let Err(error) = self.store.write(&record)
        {
            session.complain(&error);
            self.refuse6(session, &error);
            return self.let_go6(session);
        }
        self.grant6(session);
        session.attempt = None;
    }

    /// Gives what there is to those who wait.
    fn grant6(&mut self, session: &mut Session6) {
        let waiters = core::mem::take(&mut session.waiters);
        let lease = session.lease.as_ref().map(|(lease, _)| lease.clone());
        if let Some(lease) = lease {
            if waiters.is_empty() {
                if let Err(error) = self.change6(session, Some(&lease)) {
                    session.complain(&error);
                }
            } else {
                // The plugin that attaches gives it to the interface.
                session.applied = Some(lease.terms);
                session.settling = Some(Settling::new(now()));
            }
        }
        let granted = session.granted();
        for waiter in waiters {
            self.deliver6(waiter.connection, Ok(granted.clone()));
        }
    }

    pub(super) fn refuse6(&mut self, session: &mut Session6, error: &Error) {
        for waiter in core::mem::take(&mut session.waiters) {
            self.deliver6(waiter.connection, Err(error.clone()));
        }
    }

    /// Ends an attempt that nobody waits for any more, unless the attachment had a lease before.
    pub(super) fn abandon6(&mut self, session: &mut Session6) {
        if session.waiters.is_empty() && session.attempt.is_some() && !session.had {
            session.say(format_args!("nobody waits for IPv6 any more"));
            self.let_go6(session);
        }
    }

    /// Gives back what there is to give, and forgets it.
    fn let_go6(&mut self, session: &mut Session6) {
        session.attempt = None;
        // First, for one that was given back and is still in a file would be two's.
        let record = session.record(Standing::Released);
        let marked = record.map_or(Ok(()), |record| self.store.mark_released(&record));
        if let Err(error) = marked {
            session.complain(&error);
        }
        if let Some(client) = &mut session.client {
            client.release(now());
        }
        self.pump6(session);
        if let Err(error) = self.store.remove::<Record6>(&session.owner) {
            session.complain(&error);
        }
        if let Some((lease, _)) = session.lease.take() {
            self.tell6(session, Happened::Released, Some(&lease.terms), None);
        }
        session.client = None;
        session.ears = super::session6::Ears6::default();
    }

    /// DEL.
    pub(super) fn release6(&mut self, id: u64) {
        self.with6(id, |daemon, session| {
            let error = Error::new(Code::TryAgain, "the attachment was deleted meanwhile");
            daemon.refuse6(session, &error);
            daemon.let_go6(session);
        });
    }

    /// Asks for more time, because a person says so.
    pub(super) fn renew6(&mut self, id: u64) {
        self.with6(id, |_, session| {
            if let Some(client) = &mut session.client {
                client.renew(now());
            }
        });
    }

    /// A deadline of the session has come.
    pub(super) fn time_for6(&mut self, id: u64, time: Time) {
        self.with6(id, |daemon, session| {
            session.due = None;
            daemon.give_up_waiting6(session, time);
            if session.client.is_none() {
                let over = session
                    .lease
                    .as_ref()
                    .is_some_and(|(lease, _)| time >= lease.expiry());
                if over && session.attempt.is_none() {
                    session.say(format_args!("its IPv6 lease is over"));
                    daemon.let_go6(session);
                }
                return;
            }
            if let Some(settling) = session.settling.filter(|settling| time >= settling.at) {
                daemon.settle6(session, settling, time);
            }
            let client_due = session.client.as_ref().and_then(OurClient6::deadline);
            let looks = session.look.is_some_and(|at| time >= at);
            if !looks && client_due.is_none_or(|at| time < at) {
                return;
            }
            if session.attempt.is_none() {
                session.look = None;
            }
            match daemon.inside6(session) {
                Ok(_) => {
                    if let Some(client) = &mut session.client {
                        client.handle_timeout(time);
                    }
                }
                Err(error) => daemon.park6(session, &error),
            }
        });
    }

    /// Gives the address on the interface the lease's times, so that the kernel takes it away when nobody else does.
    fn settle6(&mut self, session: &mut Session6, settling: Settling, time: Time) {
        session.settling = settling.next(time);
        let left = session
            .lease
            .as_ref()
            .and_then(|(lease, _)| lease.left(time));
        let Some((address, span)) = left else {
            session.settling = None;
            return;
        };
        let cidr = Cidr::host(address.into());
        let set = self
            .inside6(session)
            .and_then(|mut inside| inside.set_lifetimes(cidr, span));
        match set {
            Ok(true) => session.settling = None,
            Ok(false) => {}
            Err(error) => session.complain(&error),
        }
    }

    /// The interface is gone: nothing more can be asked.
    fn park6(&mut self, session: &mut Session6, error: &Error) {
        session.complain(error);
        self.refuse6(session, error);
        session.attempt = None;
        session.client = None;
        session.ears = super::session6::Ears6::default();
        session.applied = None;
        session.settling = None;
        session.look = None;
    }

    /// Tells those whose patience is over what was tried.
    fn give_up_waiting6(&mut self, session: &mut Session6, time: Time) {
        let (late, others): (Vec<_>, Vec<_>) = session
            .waiters
            .drain(..)
            .partition(|waiter| waiter.deadline <= time);
        session.waiters = others;
        for waiter in &late {
            let error = failure::describe6(session, waiter.secs);
            session.complain(&error);
            self.deliver6(waiter.connection, Err(error));
        }
        if !late.is_empty() {
            self.abandon6(session);
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
                Output::Lost(why) => self.lost6(session, why),
                Output::Informed(information) => {
                    if let Some(attempt) = &mut session.attempt {
                        attempt.information = Some(information);
                    }
                    Ok(())
                }
                Output::Send(message) => {
                    if message.kind == crate::wire::v6::Kind::Release {
                        session.say(format_args!("gives its IPv6 lease back"));
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
        let mut inside = self.inside6(session)?;
        if session.local.is_none()
            && let LinkLocal::Is(local) = inside.link_local()?
        {
            session.local = Some(local);
        }
        if session.open_dhcp(&inside)?
            && let Some(socket) = &session.ears.dhcp
        {
            self.poll
                .watch(socket, Source::Dhcp6(session.id))
                .step(|| "watch a socket")?;
        }
        Ok(inside)
    }

    /// A lease began or goes on: it is on disk before anybody hears of it.
    fn bound6(&mut self, session: &mut Session6, lease: &Lease6) {
        let age = now().since(lease.since).as_secs();
        let before = session
            .lease
            .replace((lease.clone(), wall().saturating_sub(age)));
        session.last_error = None;
        let before = before.map(|(before, _)| before.terms);
        let alike = |before: &Terms6| before.same_to_the_container(&lease.terms);
        let same = before.as_ref().is_some_and(alike);
        let server = before.as_ref().map(|terms| &terms.server);
        if !same || server != Some(&lease.terms.server) {
            say_terms(session, &lease.terms);
        }
        let written = session
            .record(Standing::Held)
            .map_or(Ok(()), |record| self.store.write(&record));
        if let Err(error) = written {
            session.complain(&error);
            if !session.waiters.is_empty() {
                self.refuse6(session, &error);
                return self.let_go6(session);
            }
        }
        let had = session.applied.clone();
        match &had {
            None => self.tell6(session, Happened::Bound, None, Some(&lease.terms)),
            Some(terms) if !terms.same_to_the_container(&lease.terms) => {
                self.tell6(session, Happened::Changed, had.as_ref(), Some(&lease.terms));
            }
            Some(_) => self.counters.count(Counter::Leases, "renewed"),
        }
        // Else whoever waits for more gets it all at once.
        if session.attempt.is_none()
            && let Err(error) = self.change6(session, Some(lease))
        {
            session.complain(&error);
        }
    }

    /// The address must not be used any more.
    fn lost6(&mut self, session: &mut Session6, why: Lost) -> Result<(), Error> {
        let reason = match why {
            Lost::Refused => "a server refused it",
            Lost::Expired => "nobody renewed it",
        };
        let applied = session.applied.as_ref();
        if let Some(address) = applied.and_then(|terms| session.cidr(terms)) {
            session.say(format_args!("loses {address}: {reason}"));
        }
        session.last_error.get_or_insert_with(|| reason.to_owned());
        let had = session.applied.clone();
        if let Some(record) = session.record(Standing::Lost) {
            self.store.write(&record)?;
        }
        let changed = self.change6(session, None);
        self.tell6(session, Happened::Lost(why), had.as_ref(), None);
        changed
    }

    /// Makes the interface have what the lease says, for as long as it says, and nothing of an earlier one.
    fn change6(&mut self, session: &mut Session6, lease: Option<&Lease6>) -> Result<(), Error> {
        let mut inside = self.inside6(session)?;
        let old = session
            .applied
            .as_ref()
            .and_then(|terms| session.cidr(terms));
        let new = lease.and_then(|lease| {
            let (_, span) = lease.left(now())?;
            Some((session.cidr(&lease.terms)?, span))
        });
        session.applied = lease.map(|lease| lease.terms.clone());
        match (old, new) {
            // Somebody may have taken it away on purpose.
            (Some(old), Some((new, span))) if old == new => {
                inside.set_lifetimes(new, span).map(drop)
            }
            (old, new) => inside.replace(old, new),
        }
    }
}

fn say_terms(session: &Session6, terms: &Terms6) {
    if let Some((address, span)) = terms.address {
        session.say(format_args!("has {address} for {} s", span.valid));
    }
    if let Some((prefix, span)) = terms.prefix {
        session.say(format_args!("is delegated {prefix} for {} s", span.valid));
    }
}
