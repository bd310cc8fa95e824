//! What becomes of an IPv6 lease: it is kept, told of, and given to the interface.

use cni_common::error::Error;

use super::Daemon;
use super::session6::Session6;
use crate::lease6::{Lease6, Terms6};
use crate::record::Standing;
use crate::sys::poll::now;

impl Daemon {
    /// A lease began or goes on: it is on disk before anybody hears of it.
    pub(super) fn bound6(&mut self, session: &mut Session6, lease: &Lease6) {
        let before = Self::remember(session, lease);
        let before = before.map(|before| before.terms);
        let alike = |before: &Terms6| before.same_to_the_container(&lease.terms);
        let same = session.applied.is_some() && before.as_ref().is_some_and(alike);
        let server = before.as_ref().map(|terms| &terms.server);
        if !same || server != Some(&lease.terms.server) {
            say_terms(session, &lease.terms);
        }
        if !self.keep(session) {
            return;
        }
        let had = session.applied.clone();
        self.tell_of(session, had.as_ref(), &lease.terms);
        // Else whoever waits for more gets it all at once.
        if session.own.attempt.is_none()
            && let Err(error) = self.change6(session, Some(lease))
        {
            session.complain(&error);
        }
    }

    /// The container's prefix is over, and its address goes on.
    pub(super) fn prefix_ended6(&mut self, session: &mut Session6, lease: &Lease6) {
        let before = Self::remember(session, lease).map(|before| before.terms);
        if let Some((prefix, _)) = before.as_ref().and_then(|terms| terms.prefix) {
            session.say(format_args!("loses {prefix}: nobody renewed it"));
            session.last_error = Some(format!("nobody renewed {prefix}"));
        }
        if let Some(applied) = &mut session.applied {
            applied.prefix = None;
        }
        // It is over whatever becomes of the file.
        let _ = self.write(session, Standing::Held);
        self.tell_of(session, before.as_ref(), &lease.terms);
    }

    /// A server said what there is beside addresses, for the first time or again: that is kept as a lease is.
    pub(super) fn informed6(&mut self, session: &mut Session6, lease: &Lease6) {
        Self::remember(session, lease);
        let had = session.applied.replace(lease.terms.clone());
        if let Some(attempt) = &mut session.own.attempt {
            // It is written when all that is wanted is there.
            attempt.informed = true;
        } else {
            self.keep(session);
        }
        self.tell_of(session, had.as_ref(), &lease.terms);
    }

    /// Makes the interface have what the lease says, for as long as it says, and nothing of an earlier one.
    pub(super) fn change6(
        &mut self,
        session: &mut Session6,
        lease: Option<&Lease6>,
    ) -> Result<(), Error> {
        let mut inside = self.inside(session)?;
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
