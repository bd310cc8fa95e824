//! An attempt to get IPv6, carried out: routers and the interface are asked, and the ADD is answered when it is enough.

use core::time::Duration;

use cni_common::error::Error;

use super::Daemon;
use super::attempt6::{Attempt, Progress, Want};
use super::session::{VISITING, sooner};
use super::session6::{OurClient6, Session6, Settling};
use crate::client6::{Client6, Policy};
use crate::inside6::LinkLocal;
use crate::random;
use crate::record6::Record6;
use crate::sys::poll::{Source, now};
use crate::time::Time;

/// How often the interface is looked at while an ADD waits for it.
const OFTEN: Duration = Duration::from_millis(50);

impl Daemon {
    /// An ADD: answered at once where the interface has its lease.
    pub(super) fn attach6(&mut self, session: &mut Session6, here: bool) {
        let held = session.client.as_ref().and_then(OurClient6::lease);
        if here && held.is_some() && session.own.attempt.is_none() {
            return self.grant6(session);
        }
        if here && session.own.attempt.is_some() {
            // The answer comes with what is being asked for.
            return;
        }
        let time = now();
        session.close();
        session.own.local = None;
        session.own.look = None;
        session.applied = None;
        session.own.settling = None;
        session.own.slaac.clear();
        session.client = None;
        session.own.had = session.lease.is_some();
        let settings = &session.settings;
        session.own.attempt = Some(Attempt::new(settings.mode, settings.routers, time));
    }

    /// Goes on with an attempt and a client, as far as it is possible at this moment.
    pub(super) fn advance6(&mut self, session: &mut Session6) {
        if session.own.attempt.is_some()
            && let Err(error) = self.try_attempt(session)
        {
            self.park(session, &error);
        }
        self.pump6(session);
        if session.own.attempt.is_some() {
            self.conclude(session);
        }
        let listens = session.client.as_ref().is_some_and(OurClient6::listens);
        if session.own.attempt.is_none() {
            if !listens {
                // Nothing keeps the namespace of a quiet lease alive.
                session.close();
                session.own.look = session.client.as_ref().map(|_| now().after(VISITING));
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
        if open {
            session.own.look = Some(sooner(session.own.look, now()));
        }
    }

    /// The part of an attempt that is not the client's.
    fn try_attempt(&mut self, session: &mut Session6) -> Result<(), Error> {
        let time = now();
        if session.own.look.is_some_and(|at| time < at) && session.own.local.is_none() {
            return Ok(());
        }
        let mut inside = self.inside(session)?;
        if session.own.local.is_none() {
            match inside.link_local()? {
                LinkLocal::Is(local) => session.own.local = Some(local),
                LinkLocal::NotYet => {
                    session.own.look = Some(time.after(OFTEN));
                    return Ok(());
                }
                LinkLocal::Duplicate(address) => {
                    session.last_error = Some(format!("{address} is in use by another host"));
                    session.own.look = Some(time.after(OFTEN));
                    return Ok(());
                }
            }
        }
        session.own.look = None;
        if session.settings.routers && session.open_neighbours(&inside)? {
            self.watch_neighbours(session)?;
        }
        let Some(attempt) = &mut session.own.attempt else {
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
                Ok(made) => session.own.slaac = made,
                Err(error) => session.last_error = Some(error.to_string()),
            }
            if session.own.slaac.len() < subnets.len() {
                session.own.look = Some(time.after(OFTEN));
            }
        }
        Ok(())
    }

    /// A client for what servers are to be asked for.
    fn client_for(session: &Session6, wants: Want, time: Time) -> Option<OurClient6> {
        let (identity, policy) = (session.identity(), session.policy());
        let random: fn() -> u32 = random::number;
        let held = session.lease.as_ref().map(|(lease, _)| lease.clone());
        let held = held.filter(|lease| !lease.terms.is_information() && lease.expiry() > time);
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

    pub(super) fn watch_neighbours(&self, session: &Session6) -> Result<(), Error> {
        match &session.ears.neighbours {
            Some(socket) => self.watch(socket, Source::Neighbours6(session.id)),
            None => Ok(()),
        }
    }

    /// Ends an attempt that has all that can be had.
    fn conclude(&mut self, session: &mut Session6) {
        let Some(attempt) = &session.own.attempt else {
            return;
        };
        let leased = session
            .client
            .as_ref()
            .is_some_and(|one| one.lease().is_some());
        let progress = Progress {
            leased,
            addresses: &session.own.slaac,
        };
        if !attempt.is_complete(progress, now()) {
            return;
        }
        session.own.advertised = attempt.advertised();
        for address in &session.own.slaac {
            session.say(format_args!("has {address} of a router's prefix"));
        }
        if !leased && !attempt.informed {
            // What is left is the kernel's to see to. A lease of earlier is not of this link.
            session.client = None;
            if session.lease.take().is_some()
                && let Err(error) = self.store.remove::<Record6>(&session.owner)
            {
                session.complain(&error);
            }
        }
        if !self.keep(session) {
            return;
        }
        self.grant6(session);
        session.own.attempt = None;
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
                session.own.settling = Some(Settling::new(now()));
            }
        }
        let granted = session.granted();
        for waiter in waiters {
            self.deliver6(waiter.connection, Ok(granted.clone()));
        }
    }
}
