//! The life of a session of either family: from disk, to disk, and its end.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::owner::Owner;

use super::Daemon;
use super::counters::Counter;
use super::event::Happened;
use super::family::Family;
use super::session::{Session, Waiter};
use crate::client::Lost;
use crate::control::Answer;
use crate::inside::Inside;
use crate::kept::Kept;
use crate::record::{Place, Standing};
use crate::sys::poll::{Source, now};
use crate::time::Time;

pub(super) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Daemon {
    /// Takes a session out, works on it, does what then is to be done, and puts it back unless it is over.
    pub(super) fn with<F: Family>(
        &mut self,
        id: u64,
        work: impl FnOnce(&mut Self, &mut Session<F>),
    ) {
        let Some(mut session) = F::sessions_mut(self).take(id) else {
            return;
        };
        work(self, &mut session);
        F::advance(self, &mut session);
        if session.leaving && !session.is_releasing() {
            self.has_left(&mut session);
        }
        if let Some(due) = session.due.take() {
            self.deadlines.remove(&(due, F::due(id)));
        }
        if session.is_over() {
            F::take_back(self, &mut session);
            F::sessions_mut(self).forget(&session.owner);
            return;
        }
        session.due = session.deadline(now());
        if let Some(due) = session.due {
            self.deadlines.insert((due, F::due(id)));
        }
        F::sessions_mut(self).insert(session);
    }

    /// Leases from disk: those whose interface is there go on where they were.
    pub(super) fn resume<F: Family>(&mut self) -> Result<(), Error> {
        let (time, seconds) = (now(), wall());
        let records = self.store.all::<F::Record>()?;
        let crowd = records.len();
        for mut record in records {
            record.settle(&self.boot, time, seconds);
            let id = self.number();
            let standing = record.standing();
            let session = F::revive(self, id, record, crowd, time);
            F::sessions_mut(self).insert(Box::new(session));
            if standing == Standing::Released {
                self.release::<F>(id, None);
            } else {
                self.with::<F>(id, |_, _| {});
            }
        }
        Ok(())
    }

    pub(super) fn watch(&self, socket: impl AsFd, source: Source) -> Result<(), Error> {
        self.poll.watch(socket, source).step(|| "watch a socket")
    }

    pub(super) fn inside<F: Family>(&self, session: &Session<F>) -> Result<Inside, Error> {
        session.inside(&self.options.netns_path(&session.place.netns))
    }

    /// One more who waits, at the session of an attachment, which is made where there is none.
    pub(super) fn join<F: Family>(
        &mut self,
        owner: &Owner,
        place: Place,
        settings: Rc<F::Settings>,
        waiter: Waiter,
        attach: impl FnOnce(&mut Self, &mut Session<F>),
    ) {
        let known = F::sessions(self).id(owner);
        let id = known.unwrap_or_else(|| self.number());
        if known.is_none() {
            let session = Session::new(id, owner.clone(), place.clone(), settings.clone());
            F::sessions_mut(self).insert(Box::new(session));
        }
        self.with(id, |daemon, session| {
            if session.leaving {
                // It is wanted again, and a lease is asked for anew. Until that is there, the file says what to give back.
                daemon.stop_leaving(session);
            }
            session.waiters.push(waiter);
            session.place = place;
            session.settings = settings;
            attach(daemon, session);
        });
    }

    pub(super) fn refuse<F: Family>(&mut self, session: &mut Session<F>, error: &Error) {
        for waiter in core::mem::take(&mut session.waiters) {
            F::deliver(self, waiter.connection, Err(error.clone()));
        }
    }

    /// Ends an attempt that nobody waits for any more, unless the attachment had a lease before.
    pub(super) fn abandon<F: Family>(&mut self, session: &mut Session<F>) {
        if session.waiters.is_empty() && F::is_for_waiters(session) {
            session.say(format_args!("nobody waits for {} any more", F::WORD));
            self.let_go(session);
        }
    }

    /// A connection waits no longer for this family of an attachment.
    pub(super) fn leave<F: Family>(
        &mut self,
        id: u64,
        connection: u64,
        then: impl FnOnce(&mut Self, &mut Session<F>),
    ) {
        self.with(id, |daemon, session| {
            session
                .waiters
                .retain(|waiter| waiter.connection != connection);
            then(daemon, session);
        });
    }

    /// Writes what became of a lease.
    pub(super) fn write<F: Family>(
        &mut self,
        session: &mut Session<F>,
        standing: Standing,
    ) -> Result<(), Error> {
        let written = match F::record(session, standing) {
            Some(record) if standing == Standing::Released => self.store.mark_released(&record),
            Some(record) => self.store.write(&record),
            None => Ok(()),
        };
        if let Err(error) = &written {
            session.complain(error);
        }
        written
    }

    /// Writes a lease before anybody hears of it. Where that fails, those who wait do not get it, and it goes back: `false`.
    pub(super) fn keep<F: Family>(&mut self, session: &mut Session<F>) -> bool {
        match self.write(session, Standing::Held) {
            Err(error) if !session.waiters.is_empty() => {
                self.refuse(session, &error);
                self.let_go(session);
                false
            }
            Ok(()) | Err(_) => true,
        }
    }

    /// Remembers a lease that began or goes on; what there was before.
    pub(super) fn remember<F: Family>(
        session: &mut Session<F>,
        lease: &F::Lease,
    ) -> Option<F::Lease> {
        let age = now().since(F::since(lease)).as_secs();
        session.last_error = None;
        let began = wall().saturating_sub(age);
        let before = session.lease.replace((lease.clone(), began));
        before.map(|(before, _)| before)
    }

    /// Tells of terms that are not what the container had.
    pub(super) fn tell_of<F: Family>(
        &mut self,
        session: &Session<F>,
        had: Option<&F::Terms>,
        terms: &F::Terms,
    ) {
        let happened = match had {
            None => Happened::Bound,
            Some(had) if !F::is_same(had, terms) => Happened::Changed,
            Some(_) => return self.counters.count(Counter::Leases, "renewed"),
        };
        self.tell(session, happened, had, Some(terms));
    }

    /// Gives back what there is to give, and forgets it.
    pub(super) fn let_go<F: Family>(&mut self, session: &mut Session<F>) {
        // First, for one that was given back and is still in a file would be two's.
        let _ = self.write(session, Standing::Released);
        F::give_back(session, now());
        F::pump(self, session);
        if let Some((lease, _)) = session.lease.take() {
            let terms = F::terms(&lease);
            self.tell(session, Happened::Released, Some(&terms), None);
        }
        session.leaving = true;
        // Where the interface is gone, nobody will answer.
        if !session.is_releasing() || self.inside(session).is_err() {
            self.has_left(session);
        }
    }

    /// Takes what is given back from the interface: a container may live on, and whoever gets the address next has it alone.
    pub(super) fn stop_using<F: Family>(&mut self, session: &mut Session<F>) {
        if session.applied.is_some()
            && let Err(error) = F::change(self, session, None)
        {
            session.complain(&error);
        }
    }

    /// Nothing is left to be given back.
    fn has_left<F: Family>(&mut self, session: &mut Session<F>) {
        if let Err(error) = self.store.remove::<F::Record>(&session.owner) {
            session.complain(&error);
        }
        self.stop_leaving(session);
    }

    /// Nobody waits any more for what is being given back.
    fn stop_leaving<F: Family>(&mut self, session: &mut Session<F>) {
        session.leaving = false;
        session.client = None;
        session.close();
        for connection in core::mem::take(&mut session.leavers) {
            self.one_has_left(connection);
        }
    }

    /// DEL; `leaver` is told when the lease has been given back.
    pub(super) fn release<F: Family>(&mut self, id: u64, leaver: Option<u64>) {
        self.with::<F>(id, |daemon, session| {
            let error = Error::new(Code::TryAgain, "the attachment was deleted meanwhile");
            daemon.refuse(session, &error);
            daemon.let_go(session);
            if let Some(connection) = leaver.filter(|_| session.leaving) {
                session.leavers.push(connection);
                daemon.one_leaves(connection);
            }
        });
    }

    /// A connection that waits until something has been given back.
    pub(super) fn one_leaves(&mut self, connection: u64) {
        let count = self.leaving.entry(connection).or_default();
        *count = count.saturating_add(1);
    }

    /// One thing less that it waits for; after the last it has its answer.
    pub(super) fn one_has_left(&mut self, connection: u64) {
        let Some(count) = self.leaving.get_mut(&connection) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.leaving.remove(&connection);
            self.answer(connection, &Answer::Done);
        }
    }

    /// Asks for more time, because a person says so.
    pub(super) fn renew<F: Family>(&mut self, id: u64) {
        self.with::<F>(id, |_, session| {
            if let Some(client) = &mut session.client {
                F::renew(client, now());
            }
        });
    }

    /// A deadline. What came in time counts, also where there was so much to hear that it has not had its turn.
    pub(super) fn time_for<F: Family>(&mut self, id: u64, time: Time) {
        F::hear(self, id);
        self.with::<F>(id, |daemon, session| {
            daemon.give_up_waiting(session, time);
            F::pass_time(daemon, session, time);
            if session.has_ended(time) {
                session.say(format_args!(
                    "the lease of an interface that is gone is kept no longer"
                ));
                daemon.let_go(session);
            }
        });
    }

    /// The interface is gone: nothing more can be asked.
    pub(super) fn park<F: Family>(&mut self, session: &mut Session<F>, error: &Error) {
        session.complain(error);
        self.refuse(session, error);
        F::park(session);
        session.keep_for_an_add(now());
    }

    /// Tells those whose patience is over what was tried.
    fn give_up_waiting<F: Family>(&mut self, session: &mut Session<F>, time: Time) {
        let late = session.late(time);
        if late.is_empty() {
            return;
        }
        // Before they hear that they failed.
        if session.waiters.is_empty() {
            F::take_back(self, session);
        }
        for waiter in &late {
            let error = F::failure(session, waiter.secs);
            session.complain(&error);
            F::deliver(self, waiter.connection, Err(error));
        }
        self.abandon(session);
    }

    /// The address must not be used any more.
    pub(super) fn lost<F: Family>(
        &mut self,
        session: &mut Session<F>,
        why: Lost,
    ) -> Result<(), Error> {
        let reason = match why {
            Lost::Refused => "a server refused it",
            Lost::Expired => "nobody renewed it",
        };
        let had = session.applied.clone();
        if let Some(address) = had.as_ref().and_then(|terms| F::address(session, terms)) {
            session.say(format_args!("loses {address}: {reason}"));
        }
        session.last_error.get_or_insert_with(|| reason.to_owned());
        // The address goes whatever becomes of the file.
        let written = self.write(session, Standing::Lost);
        let changed = F::change(self, session, None);
        if had.is_some() {
            self.tell(session, Happened::Lost(why), had.as_ref(), None);
        }
        changed.and(written)
    }
}
