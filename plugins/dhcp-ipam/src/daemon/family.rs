//! What the two families have in common: the names of what differs, for [`super::life`] to do the rest alike.

use core::fmt::Debug;

use cni_common::addr::Cidr;
use cni_common::error::Error;
use cni_common::json::{Json, ObjectWriter};

use super::describe::Depth;
use super::session::{Session, Sessions};
use super::{Daemon, Due};
use crate::kept::Kept;
use crate::record::Standing;
use crate::time::Time;

/// How many words of neighbours are read before time does its work: more than the socket holds.
pub(super) const ALL: usize = 1024;

/// IPv4 or IPv6. A value of it is what a session of that family has beside what every session has.
pub(super) trait Family: Sized + Debug + Default {
    /// How it is called.
    const WORD: &str;

    type Settings: Debug;
    type Client: Debug;
    type Ears: Debug + Default;
    type Lease: Clone + Debug;
    type Terms: Clone + Debug;
    type Record: Kept;
    /// What an ADD is answered with.
    type Granted;

    // Where the daemon has it.

    fn sessions(daemon: &Daemon) -> &Sessions<Self>;
    fn sessions_mut(daemon: &mut Daemon) -> &mut Sessions<Self>;
    fn due(id: u64) -> Due;

    // Of values.

    fn client_deadline(client: &Self::Client) -> Option<Time>;
    fn renew(client: &mut Self::Client, now: Time);
    fn terms(lease: &Self::Lease) -> Self::Terms;
    /// When a lease began, and when it ends.
    fn since(lease: &Self::Lease) -> Time;
    fn expiry(lease: &Self::Lease) -> Time;
    /// Whether the container has the same of both.
    fn is_same(one: &Self::Terms, other: &Self::Terms) -> bool;
    fn terms_to_json(terms: &Self::Terms) -> ObjectWriter;
    /// The program that is told of changes.
    fn on_change(settings: &Self::Settings) -> Option<&str>;

    // Of a session.

    /// When something is to be done that is neither the client's nor a waiter's.
    fn deadline(session: &Session<Self>, now: Time) -> Option<Time>;
    /// Whether something is being asked for.
    fn asks(session: &Session<Self>) -> bool;
    /// Whether all that it does is for an ADD, should nobody wait for that any more.
    fn is_for_waiters(session: &Session<Self>) -> bool;
    /// What is to be on disk.
    fn record(session: &Session<Self>, standing: Standing) -> Option<Self::Record>;
    /// The address of terms as the interface has it.
    fn address(session: &Session<Self>, terms: &Self::Terms) -> Option<Cidr>;
    /// Why there is no lease after so many seconds.
    fn failure(session: &Session<Self>, seconds: u32) -> Error;
    /// What people see of it.
    fn described(session: &Session<Self>, now: Time, depth: Depth) -> Json;
    fn state(session: &Session<Self>) -> &'static str;
    /// Whether a client gives its lease back, and is of no other use.
    fn is_releasing(client: &Self::Client) -> bool;
    /// Lets the client give back what there is, and end.
    fn give_back(session: &mut Session<Self>, now: Time);
    /// Drops what is of no more use when the interface is gone.
    fn park(session: &mut Session<Self>);

    // Of the daemon.

    /// A session for what was on disk.
    fn revive(
        daemon: &Daemon,
        id: u64,
        record: Self::Record,
        crowd: usize,
        now: Time,
    ) -> Session<Self>;
    /// Does what the client wants, until it wants nothing.
    fn pump(daemon: &mut Daemon, session: &mut Session<Self>);
    /// The same, and all else that can be done at this moment.
    fn advance(daemon: &mut Daemon, session: &mut Session<Self>);
    /// Takes from the interface what it has only for as long as somebody asks.
    fn take_back(daemon: &mut Daemon, session: &mut Session<Self>);
    /// Makes the interface have what the lease says, and nothing of an earlier one.
    fn change(
        daemon: &mut Daemon,
        session: &mut Session<Self>,
        lease: Option<&Self::Lease>,
    ) -> Result<(), Error>;
    /// Hears all that has come for a session, if it listens.
    fn hear(daemon: &mut Daemon, id: u64);
    /// A deadline has come that is not a waiter's.
    fn pass_time(daemon: &mut Daemon, session: &mut Session<Self>, now: Time);
    /// Gives its part to an ADD.
    fn deliver(daemon: &mut Daemon, connection: u64, part: Result<Self::Granted, Error>);
}
