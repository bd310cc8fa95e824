//! One attachment in one family: its client, its sockets, and those who wait for its lease.

use core::fmt::Debug;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::log;
use cni_common::owner::Owner;

use super::family::Family;
use crate::inside::Inside;
use crate::record::Place;
use crate::time::Time;

/// How often a namespace is looked at whose sockets are open: they keep it alive.
const LOOKING: Duration = Duration::from_secs(20);

/// How often one is looked at whose lease is quietly held, which may be so for days, or for ever.
pub(super) const VISITING: Duration = Duration::from_hours(1);
/// How long a lease is kept whose interface is gone, where it does not end before: one that has no end would stay for ever.
const KEEPING: Duration = Duration::from_hours(7 * 24);

/// When to look next at one whose sockets are open, where another look was planned.
pub(super) fn sooner(planned: Option<Time>, now: Time) -> Time {
    let soon = now.after(LOOKING);
    planned.map_or(soon, |planned| planned.min(soon))
}

/// Somebody who waits for a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) connection: u64,
    pub(super) deadline: Time,
    pub(super) secs: u32,
}

/// What the daemon has of an attachment, in the family `F`.
#[derive(Debug)]
pub(super) struct Session<F: Family> {
    pub(super) id: u64,
    pub(super) owner: Owner,
    pub(super) place: Place,
    pub(super) settings: Rc<F::Settings>,
    /// None where nobody asks a server, as for a lease whose interface is gone: that waits for its end, or for an ADD that
    /// wants it again.
    pub(super) client: Option<F::Client>,
    /// The sockets, while there is something to say or to hear.
    pub(super) ears: F::Ears,
    /// The last lease, and the seconds since 1970 when it began.
    pub(super) lease: Option<(F::Lease, u64)>,
    /// Until when it is kept at most, once its interface is gone.
    kept_until: Time,
    /// What the interface has of us.
    pub(super) applied: Option<F::Terms>,
    pub(super) waiters: Vec<Waiter>,
    /// Whether its lease is being given back, which is all that is left to do; and the connections that wait for that.
    pub(super) leaving: bool,
    pub(super) leavers: Vec<u64>,
    /// Under which deadline it stands in the daemon's list.
    pub(super) due: Option<Time>,
    pub(super) last_error: Option<String>,
    /// What only this family has.
    pub(super) own: F,
}

/// What is said of a message into which more was to go than a packet holds.
pub(super) fn too_long(kind: impl Debug) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!(
            "{kind:?} does not fit into a packet: let `ipam.provide` and `ipam.request` name less"
        ),
    )
}

impl<F: Family> Session<F> {
    pub(super) fn new(id: u64, owner: Owner, place: Place, settings: Rc<F::Settings>) -> Self {
        Self {
            id,
            owner,
            place,
            settings,
            client: None,
            ears: F::Ears::default(),
            lease: None,
            kept_until: Time::NEVER,
            applied: None,
            waiters: Vec::new(),
            leaving: false,
            leavers: Vec::new(),
            due: None,
            last_error: None,
            own: F::default(),
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let own = match (&self.client, &self.lease) {
            (Some(client), _) => F::client_deadline(client),
            (None, Some((lease, _))) => Some(F::expiry(lease).min(self.kept_until)),
            (None, None) => None,
        };
        let waiting = self.waiters.iter().map(|waiter| waiter.deadline).min();
        let times = [own, waiting, F::deadline(self, now)];
        times.into_iter().flatten().min()
    }

    /// Its interface is gone: its lease waits for an ADD that wants it again.
    pub(super) fn keep_for_an_add(&mut self, now: Time) {
        self.client = None;
        self.applied = None;
        self.kept_until = now.after(KEEPING);
        self.close();
    }

    /// Whether its lease has ended or waited for long, and nobody asks for another.
    pub(super) fn has_ended(&self, now: Time) -> bool {
        let over = |(lease, _): &(F::Lease, u64)| F::expiry(lease).min(self.kept_until) <= now;
        !F::asks(self) && self.lease.as_ref().is_some_and(over)
    }

    /// Whether its client gives a lease back.
    pub(super) fn is_releasing(&self) -> bool {
        self.client.as_ref().is_some_and(F::is_releasing)
    }

    /// Whether it is of no more use to anybody.
    pub(super) fn is_over(&self) -> bool {
        !F::asks(self) && self.lease.is_none()
    }

    /// Takes those out whose patience is over.
    pub(super) fn late(&mut self, now: Time) -> Vec<Waiter> {
        let (late, others) = self
            .waiters
            .drain(..)
            .partition(|waiter| waiter.deadline <= now);
        self.waiters = others;
        late
    }

    /// Says a line about it.
    pub(super) fn say(&self, text: core::fmt::Arguments<'_>) {
        log::info(format_args!("{}: {text}", self.owner));
    }

    /// Says, and remembers, what went wrong.
    pub(super) fn complain(&mut self, error: &Error) {
        log::warning(format_args!("{}: {error}", self.owner));
        self.last_error = Some(error.to_string());
    }

    /// The interface of this session, and no other that came into its place.
    pub(super) fn inside(&self, netns: &str) -> Result<Inside, Error> {
        let inside = Inside::open(netns, &self.owner.ifname)?;
        if inside.is(&self.place, &self.place.boot) {
            return Ok(inside);
        }
        Err(Error::new(
            Code::UnknownContainer,
            format!("{netns} has another interface {}", self.owner.ifname),
        ))
    }

    /// Closes its sockets: nothing keeps the namespace of a quiet lease alive.
    pub(super) fn close(&mut self) {
        self.ears = F::Ears::default();
    }
}

/// All sessions of a family, by their numbers and by their attachments.
#[derive(Debug)]
pub(super) struct Sessions<F: Family> {
    all: BTreeMap<u64, Box<Session<F>>>,
    names: BTreeMap<Owner, u64>,
}

impl<F: Family> Default for Sessions<F> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }
}

impl<F: Family> Sessions<F> {
    pub(super) fn id(&self, owner: &Owner) -> Option<u64> {
        self.names.get(owner).copied()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Session<F>> {
        self.all.get(&id).map(AsRef::as_ref)
    }

    pub(super) fn find(&self, owner: &Owner) -> Option<&Session<F>> {
        self.get(self.id(owner)?)
    }

    pub(super) fn insert(&mut self, session: Box<Session<F>>) {
        let known = self.names.get(&session.owner) == Some(&session.id);
        if !known {
            self.names.insert(session.owner.clone(), session.id);
        }
        self.all.insert(session.id, session);
    }

    /// Takes one out to work on it; its name stays.
    pub(super) fn take(&mut self, id: u64) -> Option<Box<Session<F>>> {
        self.all.remove(&id)
    }

    /// Forgets the name of one that was taken out.
    pub(super) fn forget(&mut self, owner: &Owner) {
        self.names.remove(owner);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session<F>> {
        self.all.values().map(AsRef::as_ref)
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.names.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::session4::V4;
    use crate::kept::Kept;
    use crate::record::Record;

    /// A session whose interface went at that second, with a lease of so many.
    fn gone(at: Time, seconds: u32) -> Session<V4> {
        let text = include_bytes!("../../../../fuzz/corpus/dhcp_state/held");
        let json = cni_common::json::Json::parse(text).unwrap();
        let record = Record::from_json(&json).unwrap();
        let mut lease = record.lease;
        Rc::make_mut(&mut lease.terms).seconds = seconds;
        let mut session = Session::new(1, record.owner, record.place, record.settings);
        session.lease = Some((lease, 0));
        session.keep_for_an_add(at);
        session
    }

    #[test]
    fn the_lease_of_an_interface_that_is_gone_is_kept_until_it_ends_or_for_a_week() {
        let at = Time::from_millis(1_000_000_000);
        let week = at.after(Duration::from_hours(168));
        for seconds in [u32::MAX, 90 * 86_400] {
            let session = gone(at, seconds);
            assert_eq!(session.deadline(at), Some(week));
            assert!(!session.has_ended(at.after(Duration::from_hours(167))));
            assert!(session.has_ended(week));
        }
        let session = gone(at, 3600);
        let end = session.lease.as_ref().map(|(lease, _)| lease.expiry());
        assert_eq!(session.deadline(at), end);
    }
}
