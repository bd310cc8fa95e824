//! The answer to an ADD, which may wait for two families.

use std::rc::Rc;

use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::owner::Owner;

use super::family::Family;
use super::session4::V4;
use super::session6::V6;
use super::{Daemon, Due};
use crate::control::{Answer, Held};
use crate::dual::{Part, Require, Verdict, decide};
use crate::lease::Terms;
use crate::lease6::Granted6;
use crate::sys::poll::now;
use crate::time::Time;

/// An ADD that has no answer yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) owner: Owner,
    pub(super) v4: Part<Rc<Terms>>,
    pub(super) v6: Part<Granted6>,
    pub(super) require: Require,
    pub(super) grace_secs: u32,
    /// Until when a family that is not required is waited for, once that counts.
    pub(super) until: Option<Time>,
    /// Which families the attachment had before: those stay, whatever becomes of this ADD.
    pub(super) had: (bool, bool),
}

impl Daemon {
    pub(super) fn deliver4(&mut self, connection: u64, part: Result<Rc<Terms>, Error>) {
        if let Some(pending) = self.pending.get_mut(&connection) {
            pending.v4 = part.map_or_else(Part::Failed, Part::Has);
            self.judge(connection);
        }
    }

    pub(super) fn deliver6(&mut self, connection: u64, part: Result<Granted6, Error>) {
        if let Some(pending) = self.pending.get_mut(&connection) {
            pending.v6 = part.map_or_else(Part::Failed, Part::Has);
            self.judge(connection);
        }
    }

    /// Answers an ADD if it is time to.
    pub(super) fn judge(&mut self, connection: u64) {
        let Some(pending) = self.pending.get_mut(&connection) else {
            return;
        };
        let time = now();
        let patient = pending.until.is_none_or(|until| time < until);
        match decide(&pending.v4, &pending.v6, pending.require, patient) {
            Verdict::Wait => {}
            Verdict::Grace => {
                if pending.until.is_none() {
                    let until = time.after_secs(pending.grace_secs);
                    pending.until = Some(until);
                    self.deadlines.insert((until, Due::Grace(connection)));
                }
            }
            Verdict::Answer => {
                if let Some(pending) = self.forget(connection) {
                    self.stop_waiting(connection, &pending);
                    let state = String::from("BOUND");
                    let ipv4 = pending.v4.got().map(|terms| Terms::clone(terms));
                    let answer = Answer::Lease(Box::new(Held {
                        ipv4: ipv4.map(|terms| (terms, state.clone())),
                        ipv6: pending.v6.got().map(|granted| (granted.clone(), state)),
                    }));
                    self.answer(connection, &answer);
                }
            }
            Verdict::Fail(error) => {
                if let Some(pending) = self.forget(connection) {
                    self.answer(connection, &Answer::failed(&error));
                    self.undo(connection, &pending);
                }
            }
        }
    }

    fn forget(&mut self, connection: u64) -> Option<Pending> {
        let pending = self.pending.remove(&connection)?;
        if let Some(until) = pending.until {
            self.deadlines.remove(&(until, Due::Grace(connection)));
        }
        Some(pending)
    }

    /// The family that is late is no longer waited for; its client goes on, and the interface gets what it brings.
    fn stop_waiting(&mut self, connection: u64, pending: &Pending) {
        if let (Part::Waits, Some(id)) = (&pending.v4, self.v4.id(&pending.owner)) {
            self.leave::<V4>(id, connection, |_, _| {});
        }
        if let (Part::Waits, Some(id)) = (&pending.v6, self.v6.id(&pending.owner)) {
            self.leave::<V6>(id, connection, |_, _| {});
        }
    }

    /// An ADD that failed, or whose caller is gone, leaves nothing that was not there before.
    fn undo(&mut self, connection: u64, pending: &Pending) {
        let (had4, had6) = pending.had;
        self.undo_part::<V4>(connection, &pending.owner, &pending.v4, had4);
        self.undo_part::<V6>(connection, &pending.owner, &pending.v6, had6);
    }

    fn undo_part<F: Family>(
        &mut self,
        connection: u64,
        owner: &Owner,
        part: &Part<F::Granted>,
        had: bool,
    ) {
        let Some(id) = F::sessions(self).id(owner) else {
            return;
        };
        match part {
            Part::Has(_) if !had => self.release::<F>(id, None),
            Part::Waits => self.leave::<F>(id, connection, |daemon, session| {
                daemon.abandon(session);
            }),
            Part::Has(_) | Part::Off | Part::Failed(_) => {}
        }
    }

    /// A plugin that is gone takes nothing: its runtime gave up, and nobody would ever give the lease back.
    pub(super) fn drop_pending(&mut self, connection: u64) {
        if let Some(pending) = self.forget(connection) {
            self.undo(connection, &pending);
        }
    }

    /// A family that could not even begin.
    pub(super) fn failed_at_once(&mut self, connection: u64, error: &Error) {
        if let Some(pending) = self.forget(connection) {
            self.undo(connection, &pending);
        }
        self.answer(connection, &Answer::failed(error));
    }
}

/// The error for an ADD that asks for nothing.
pub(super) fn nothing_asked() -> Error {
    Error::new(Code::InvalidConfig, "the request asks for no family")
}
