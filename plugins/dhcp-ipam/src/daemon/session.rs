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
pub(super) const LOOKING: Duration = Duration::from_secs(20);

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
    /// What the interface has of us.
    pub(super) applied: Option<F::Terms>,
    pub(super) waiters: Vec<Waiter>,
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
            applied: None,
            waiters: Vec::new(),
            due: None,
            last_error: None,
            own: F::default(),
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let own = match (&self.client, &self.lease) {
            (Some(client), _) => F::client_deadline(client),
            (None, Some((lease, _))) => Some(F::expiry(lease)),
            (None, None) => None,
        };
        let waiting = self.waiters.iter().map(|waiter| waiter.deadline).min();
        let times = [own, waiting, F::deadline(self, now)];
        times.into_iter().flatten().min()
    }

    /// Whether its lease has ended, and nobody asks for another.
    pub(super) fn has_ended(&self, now: Time) -> bool {
        let over = |(lease, _): &(F::Lease, u64)| F::expiry(lease) <= now;
        !F::asks(self) && self.lease.as_ref().is_some_and(over)
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
