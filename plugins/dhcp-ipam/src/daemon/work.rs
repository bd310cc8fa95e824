//! What happens to a session: its beginning and end, time, and what its client wants done.

use core::net::IpAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::error::Error;

use super::counters::Counter;
use super::event::Happened;
use super::session::{OurClient, Session};
use super::{Daemon, Due, failure};
use crate::client::{Client, Lost, Output};
use crate::inside::Inside;
use crate::lease::{Lease, Terms};
use crate::random;
use crate::record::{Record, Standing};
use crate::sys::poll::{Source, now};
use crate::time::Time;
use crate::wire::Kind;

pub(super) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Daemon {
    /// Takes a session out, works on it, does what its client then wants, and puts it back unless it is over.
    pub(super) fn with(&mut self, id: u64, work: impl FnOnce(&mut Self, &mut Session)) {
        let Some(mut session) = self.sessions.remove(&id) else {
            return;
        };
        work(self, &mut session);
        self.pump(&mut session);
        if let Some(due) = session.due.take() {
            self.deadlines.remove(&(due, Due::Session(id)));
        }
        if session.client.is_none() && session.lease.is_none() {
            self.take_back(&mut session);
            self.names.remove(&session.owner);
            return;
        }
        session.due = session.deadline();
        if let Some(due) = session.due {
            self.deadlines.insert((due, Due::Session(id)));
        }
        self.sessions.insert(id, session);
    }

    /// Leases from disk: those whose interface is there go on where they were.
    pub(super) fn resume(&mut self) -> Result<(), Error> {
        let (time, seconds) = (now(), wall());
        for mut record in self.store.all::<Record>()? {
            record.settle(&self.boot, time, seconds);
            let id = self.number();
            self.names.insert(record.owner.clone(), id);
            let (session, standing) = self.revive(id, record, time);
            self.sessions.insert(id, Box::new(session));
            if standing == Standing::Released {
                self.release(id);
            } else {
                self.with(id, |_, _| {});
            }
        }
        Ok(())
    }

    fn revive(&self, id: u64, record: Record, time: Time) -> (Session, Standing) {
        let Record {
            owner,
            place,
            settings,
            lease,
            wall,
            server_mac,
            standing,
        } = record;
        let mut session = Session::new(id, owner, place, settings);
        session.server_mac = server_mac;
        session.lease = Some((lease.clone(), wall));
        if self.inside(&session).is_err() {
            session.say(format_args!(
                "its interface is gone; {} is kept until it ends",
                lease.terms.cidr()
            ));
            return (session, standing);
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
        (session, standing)
    }

    pub(super) fn inside(&self, session: &Session) -> Result<Inside, Error> {
        session.inside(&self.options.netns_path(&session.place.netns))
    }

    /// An ADD: answered at once where the interface has its lease.
    pub(super) fn attach(&mut self, session: &mut Session, here: bool) {
        let time = now();
        let identity = session.identity(self.options.broadcast);
        let policy = session.policy(self.options.policy);
        let random: fn() -> u32 = random::number;
        if let Some(IpAddr::V4(address)) = session.inform.map(Cidr::address) {
            let client = Client::inform(identity, policy, random, address, time);
            session.client = Some(client);
            return;
        }
        let lease = session.lease.as_ref().map(|(lease, _)| lease.clone());
        match &session.client {
            Some(client) if here => {
                if let Some(lease) = client.lease().cloned() {
                    self.grant(session, &lease);
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
    fn grant(&mut self, session: &mut Session, lease: &Lease) {
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

    fn refuse(&mut self, session: &mut Session, error: &Error) {
        for waiter in core::mem::take(&mut session.waiters) {
            self.deliver4(waiter.connection, Err(error.clone()));
        }
    }

    /// Ends an attempt that nobody waits for any more, unless the attachment had a lease before.
    pub(super) fn abandon(&mut self, session: &mut Session) {
        if session.waiters.is_empty() && session.lease.is_none() {
            session.say(format_args!("nobody waits for a lease any more"));
            self.let_go(session);
        }
    }

    /// Gives back what there is to give, and forgets it.
    fn let_go(&mut self, session: &mut Session) {
        // First, for one that was given back and is still in a file would be two's.
        let record = session.record(Standing::Released);
        let marked = record.map_or(Ok(()), |record| self.store.mark_released(&record));
        if let Err(error) = marked {
            session.complain(&error);
        }
        if let Some(client) = &mut session.client {
            client.release(now());
        }
        self.pump(session);
        if let Err(error) = self.store.remove::<Record>(&session.owner) {
            session.complain(&error);
        }
        if let Some((lease, _)) = session.lease.take() {
            self.tell(session, Happened::Released, Some(&lease.terms), None);
        }
        session.client = None;
        session.ears = None;
    }

    /// DEL.
    pub(super) fn release(&mut self, id: u64) {
        self.with(id, |daemon, session| {
            let error = Error::new(Code::TryAgain, "the attachment was deleted meanwhile");
            daemon.refuse(session, &error);
            daemon.let_go(session);
        });
    }

    /// Asks for more time, because a person says so.
    pub(super) fn renew(&mut self, id: u64) {
        self.with(id, |_, session| {
            if let Some(client) = &mut session.client {
                client.renew(now());
            }
        });
    }

    /// A deadline.
    pub(super) fn time_for(&mut self, id: u64, time: Time) {
        self.with(id, |daemon, session| {
            session.due = None;
            daemon.give_up_waiting(session, time);
            let Some(client) = &mut session.client else {
                if session
                    .lease
                    .as_ref()
                    .is_some_and(|(lease, _)| lease.expiry() <= time)
                {
                    session.say(format_args!(
                        "the lease of an interface that is gone has ended"
                    ));
                    daemon.let_go(session);
                }
                return;
            };
            if client.deadline().is_none_or(|deadline| deadline > time) {
                return;
            }
            // A namespace that is gone would be kept alive by what is opened now.
            match daemon.inside(session) {
                Ok(_) => {
                    if let Some(client) = &mut session.client {
                        client.handle_timeout(time);
                    }
                }
                Err(error) => daemon.park(session, &error),
            }
        });
    }

    /// The interface is gone: nothing more can be asked.
    fn park(&mut self, session: &mut Session, error: &Error) {
        session.complain(error);
        self.refuse(session, error);
        session.client = None;
        session.ears = None;
        session.applied = None;
    }

    /// Tells those whose patience is over what was tried.
    fn give_up_waiting(&mut self, session: &mut Session, time: Time) {
        let (late, others): (Vec<_>, Vec<_>) = session
            .waiters
            .drain(..)
            .partition(|waiter| waiter.deadline <= time);
        session.waiters = others;
        // Before they hear that they failed.
        if session.waiters.is_empty() && !late.is_empty() {
            self.take_back(session);
        }
        for waiter in &late {
            let error = failure::describe(session, waiter.secs);
            session.complain(&error);
            self.deliver4(waiter.connection, Err(error));
        }
        if !late.is_empty() {
            self.abandon(session);
        }
    }

    /// Does what the client wants, until it wants nothing.
    pub(super) fn pump(&mut self, session: &mut Session) {
        while let Some(output) = session.client.as_mut().and_then(Client::poll) {
            let done = match output {
                Output::Bound(lease) => {
                    self.bound(session, &lease);
                    Ok(())
                }
                Output::Lost(why) => self.lost(session, why),
                Output::Informed(terms) => {
                    self.informed(session, terms);
                    Ok(())
                }
                Output::Broadcast { .. } | Output::Unicast { .. } | Output::Probe(_) => {
                    self.send(session, output)
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
            session.ears = None;
        } else if !probes && let Some(ears) = &mut session.ears {
            ears.arp = None;
        }
    }

    fn send(&mut self, session: &mut Session, output: Output) -> Result<(), Error> {
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
                session.send_release(&inside, from, to, &message)
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

    fn watch(&self, socket: impl std::os::fd::AsFd, source: Source) -> Result<(), Error> {
        use cni_common::error::Step;
        self.poll.watch(socket, source).step(|| "watch a socket")
    }

    /// A lease began or goes on: it is on disk before anybody hears of it.
    fn bound(&mut self, session: &mut Session, lease: &Lease) {
        let age = now().since(lease.since).as_secs();
        let before = session
            .lease
            .replace((lease.clone(), wall().saturating_sub(age)));
        session.last_error = None;
        let had = session.applied.clone();
        // Ten thousand leases are renewed all the time, and nobody wants to read that.
        let is_news = before.is_none_or(|(before, _)| {
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
        let written = session
            .record(Standing::Held)
            .map_or(Ok(()), |record| self.store.write(&record));
        if let Err(error) = written {
            session.complain(&error);
            if !session.waiters.is_empty() {
                self.refuse(session, &error);
                return self.let_go(session);
            }
        }
        if !session.waiters.is_empty() {
            self.grant(session, lease);
            return self.tell_of(session, had.as_ref(), lease);
        }
        let same = session
            .applied
            .as_ref()
            .is_some_and(|old| old.same_to_the_container(&lease.terms));
        if !same && let Err(error) = self.change(session, Some(lease)) {
            session.complain(&error);
        }
        self.tell_of(session, had.as_ref(), lease);
    }

    /// Tells of a lease that is not what the container had.
    fn tell_of(&mut self, session: &Session, had: Option<&Rc<Terms>>, lease: &Lease) {
        let happened = match had {
            None => Happened::Bound,
            Some(had) if !had.same_to_the_container(&lease.terms) => Happened::Changed,
            Some(_) => return self.counters.count(Counter::Leases, "renewed"),
        };
        self.tell(session, happened, had, Some(&lease.terms));
    }

    /// The address must not be used any more.
    fn lost(&mut self, session: &mut Session, why: Lost) -> Result<(), Error> {
        let address = session.applied.as_ref().map(|terms| terms.cidr());
        let reason = match why {
            Lost::Refused => "a server refused it",
            Lost::Expired => "nobody renewed it",
        };
        if let Some(address) = address {
            session.say(format_args!("loses {address}: {reason}"));
        }
        session.last_error.get_or_insert_with(|| reason.to_owned());
        // The address goes whatever becomes of the file.
        let record = session.record(Standing::Lost);
        let written = record.map_or(Ok(()), |record| self.store.write(&record));
        let had = session.applied.clone();
        let changed = self.change(session, None);
        if had.is_some() {
            self.tell(session, Happened::Lost(why), had.as_ref(), None);
        }
        changed.and(written)
    }

    /// Makes the interface have what the lease says, and nothing of an earlier one.
    fn change(&mut self, session: &mut Session, lease: Option<&Lease>) -> Result<(), Error> {
        let mut inside = self.inside(session)?;
        let new = lease.map(|lease| lease.terms.clone());
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
        changed.and(fitted)
    }
}
