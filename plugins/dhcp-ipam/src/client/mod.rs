//! The DHCP client of RFC 2131 as a value: no socket, no clock, no randomness of its own.
//!
//! After each call drain [`Client::poll`], then wait for a message or for [`Client::deadline`]. How a message travels
//! follows from the output that holds it, not from the state. Why one was ignored comes back as a value.

mod change;
mod message;
mod receive;
mod state;
#[cfg(test)]
mod tests;

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use cni_common::addr::Mac;

use crate::lease::{Lease, Terms};
use crate::record::Settings;
use crate::time::Time;
use crate::wire::Outgoing;

pub(crate) use receive::Ignored;
use state::State;

/// Who the client is, and what it asks for; the same for as long as the attachment lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) mac: Mac,
    /// Shared with whoever keeps the lease.
    pub(crate) settings: Rc<Settings>,
    /// Whether replies should be broadcast.
    pub(crate) broadcast: bool,
}

/// How patient the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Until a message is sent again for the first time; each further wait doubles. RFC 2131, 4.1, has four seconds,
    /// for the networks of 1997. A container waits for this one, on a link that was made a moment ago: up to a second
    /// passes before a bridge forwards for it, and what was sent before is lost.
    pub(crate) first: Duration,
    /// The longest of these waits.
    pub(crate) longest: Duration,
    /// For how long other hosts are asked whether they have the address; zero does not ask.
    pub(crate) probe: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(62),
            probe: Duration::from_millis(100),
        }
    }
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send it to everybody on the link, from `from`: unspecified as long as there is no address.
    Broadcast { from: Ipv4Addr, message: Outgoing },
    /// Send it to a server from the leased address.
    Unicast {
        from: Ipv4Addr,
        to: Ipv4Addr,
        message: Outgoing,
    },
    /// Ask with ARP whether somebody has the address; [`Client::address_in_use`] if so.
    Probe(Ipv4Addr),
    /// What there is to know for a client that has an address of its own.
    Informed(Terms),
    /// A lease began, or goes on, perhaps with other terms.
    Bound(Lease),
    /// The address must not be used from now on.
    Lost(Lost),
}

/// Why an address must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A server said so.
    Refused,
    /// Nobody renewed it.
    Expired,
}

/// A DHCP client.
#[derive(Debug)]
pub(crate) struct Client<R> {
    identity: Identity,
    policy: Policy,
    random: R,
    state: State,
    xid: u32,
    /// When the present attempt began: what `secs` counts from.
    began: Time,
    /// The address it had last, to ask for again.
    wanted: Option<Ipv4Addr>,
    outputs: VecDeque<Output>,
    /// What happened in the present attempt, for a person who waits for it.
    tried: Tried,
}

/// What happened since an attempt to get a lease began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// DISCOVERs sent.
    pub(crate) discovers: u32,
    /// The server of the last OFFER.
    pub(crate) offered: Option<Ipv4Addr>,
    /// NAKs received.
    pub(crate) refusals: u32,
    /// The words of the last NAK.
    pub(crate) words: Option<String>,
    /// Addresses that somebody else had.
    pub(crate) declined: u32,
}

impl<R: FnMut() -> u32> Client<R> {
    fn new(identity: Identity, policy: Policy, mut random: R, now: Time) -> Self {
        let xid = random();
        Self {
            identity,
            policy,
            random,
            state: State::Stopped,
            xid,
            began: now,
            wanted: None,
            outputs: VecDeque::new(),
            tried: Tried::default(),
        }
    }

    /// Begins without a lease: DISCOVER.
    pub(crate) fn start(identity: Identity, policy: Policy, random: R, now: Time) -> Self {
        let mut client = Self::new(identity, policy, random, now);
        client.discover(now);
        client
    }

    /// Has an address of its own and asks for the rest: INFORM (RFC 2131, 3.4).
    pub(crate) fn inform(
        identity: Identity,
        policy: Policy,
        random: R,
        address: Ipv4Addr,
        now: Time,
    ) -> Self {
        let mut client = Self::new(identity, policy, random, now);
        client.send_inform(address, 0, now);
        client
    }

    /// Begins with a lease from another time or place: INIT-REBOOT asks whether it still holds.
    pub(crate) fn reboot(
        identity: Identity,
        policy: Policy,
        random: R,
        lease: &Lease,
        now: Time,
    ) -> Self {
        let mut client = Self::new(identity, policy, random, now);
        client.wanted = Some(lease.terms.address);
        client.ask_again(lease.terms.clone(), now);
        client
    }

    /// Goes on with a lease that the interface has: its timetable is kept.
    pub(crate) fn resume(
        identity: Identity,
        policy: Policy,
        random: R,
        lease: Lease,
        now: Time,
    ) -> Self {
        let mut client = Self::new(identity, policy, random, now);
        client.wanted = Some(lease.terms.address);
        let renew = client.renewal_of(&lease).max(client.overdue(&lease, now));
        client.state = State::Bound { lease, renew };
        client
    }

    /// Asks for more time at once, where there is a lease.
    pub(crate) fn renew(&mut self, now: Time) {
        if let State::Bound { lease, .. } = &self.state {
            let lease = lease.clone();
            self.renewing(lease, now);
        }
    }

    /// Gives back what a server granted, or was asked to grant, and ends.
    pub(crate) fn release(&mut self, now: Time) {
        if let Some(terms) = self.state.granted() {
            let (from, to) = (terms.address, terms.server);
            self.xid = (self.random)();
            let message = self.release_message(from, to, now);
            self.outputs
                .push_back(Output::Unicast { from, to, message });
        }
        self.state = State::Stopped;
    }

    /// What to do next.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`]; `None` when there is nothing to wait for.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.state.deadline()
    }

    /// The lease that holds, if one does.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.state.lease()
    }

    /// Whether messages may come: nobody needs to listen while a lease is quietly held.
    pub(crate) fn listens(&self) -> bool {
        !matches!(self.state, State::Stopped | State::Bound { .. })
    }

    /// The address that other hosts are being asked for.
    pub(crate) fn probing(&self) -> Option<Ipv4Addr> {
        match &self.state {
            State::Probing { lease, .. } => Some(lease.terms.address),
            State::Stopped
            | State::Waiting { .. }
            | State::Selecting { .. }
            | State::Requesting { .. }
            | State::Rebooting { .. }
            | State::Informing { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. } => None,
        }
    }

    /// The transaction that messages must be of.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn xid(&self) -> u32 {
        self.xid
    }

    /// The state as RFC 2131 (figure 5) calls it.
    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// What happened in the present attempt.
    pub(crate) fn tried(&self) -> &Tried {
        &self.tried
    }

    /// Ethernet address of the interface.
    pub(crate) fn mac(&self) -> Mac {
        self.identity.mac
    }
}
