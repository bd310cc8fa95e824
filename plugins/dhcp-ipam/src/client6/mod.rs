//! The DHCPv6 client of RFC 8415 as a value: no socket, no clock, no randomness of its own.
//!
//! It is driven as [`crate::client`] is: after each call drain [`Client6::poll`], then wait for a message or for
//! [`Client6::deadline`]. All it sends goes to all servers of the link from the interface's link-local address: that a
//! server may want to be asked alone is obsolete.

mod change;
mod exchange;
mod message;
mod receive;
pub(crate) mod solicitation;
mod state;
#[cfg(test)]
mod tests;

use core::net::Ipv6Addr;
use core::time::Duration;
use std::collections::VecDeque;

use crate::client::Lost;
use crate::lease6::Lease6;
use crate::time::Time;
use crate::wire::v6::Outgoing;

use exchange::Exchange;
pub(crate) use receive::Ignored;
use state::State;

/// Who the client is, and what it asks for; the same for as long as the attachment lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The client's DUID (RFC 8415, 11).
    pub(crate) duid: Vec<u8>,
    /// What tells its associations from those of others with this DUID.
    pub(crate) iaid: u32,
    /// Whether it wants a prefix delegated, and of which length; zero leaves that to the server.
    pub(crate) prefix: Option<u8>,
    /// Whether a server may grant at once what it is solicited for (RFC 8415, 18.2.1).
    pub(crate) rapid_commit: bool,
    /// The options it asks for beside those that the client itself needs.
    pub(crate) request: Vec<u16>,
    /// Further options to send.
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

/// How patient the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Until the first Solicit is sent again. RFC 8415, 7.6, has one second (`SOL_TIMEOUT`), in which offers are collected
    /// as well; a container waits for this one.
    pub(crate) first: Duration,
    /// The most by which a Confirm is delayed at random (`CNF_MAX_DELAY`).
    pub(crate) delay: Duration,
    /// For how long other hosts are asked whether they have the address; zero does not ask.
    pub(crate) probe: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            delay: Duration::from_secs(1),
            probe: Duration::from_millis(100),
        }
    }
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send it to all servers of the link.
    Send(Outgoing),
    /// Ask whether somebody has the address; [`Client6::address_in_use`] if so.
    Probe(Ipv6Addr),
    /// A lease began, or goes on, perhaps with other terms.
    Bound(Lease6),
    /// The delegated prefix must not be used from now on; the lease goes on without it.
    PrefixEnded(Lease6),
    /// What an Information-request brought.
    Informed(Lease6),
    /// The address and prefix must not be used from now on.
    Lost(Lost),
}

/// A DHCPv6 client.
#[derive(Debug)]
pub(crate) struct Client6<R> {
    identity: Identity,
    policy: Policy,
    random: R,
    state: State,
    /// What it had last, to ask for again.
    wanted: Option<Ipv6Addr>,
    /// The longest waits between Solicits and between Information-requests, which servers may change.
    sol_max_rt: Duration,
    inf_max_rt: Duration,
    outputs: VecDeque<Output>,
    tried: Tried,
}

/// What happened since an attempt to get a lease began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// Solicits and Information-requests sent.
    pub(crate) solicits: u32,
    /// Whether a server made an offer.
    pub(crate) offered: bool,
    /// How often servers had nothing to give.
    pub(crate) refusals: u32,
    /// What the last of them said.
    pub(crate) words: Option<String>,
    /// Addresses that somebody else had.
    pub(crate) declined: u32,
}

impl<R: FnMut() -> u32> Client6<R> {
    fn new(identity: Identity, policy: Policy, random: R) -> Self {
        Self {
            identity,
            policy,
            random,
            state: State::Stopped,
            wanted: None,
            sol_max_rt: exchange::SOL_MAX_RT,
            inf_max_rt: exchange::INF_MAX_RT,
            outputs: VecDeque::new(),
            tried: Tried::default(),
        }
    }

    /// Begins without a lease: Solicit.
    pub(crate) fn start(identity: Identity, policy: Policy, random: R, now: Time) -> Self {
        let mut client = Self::new(identity, policy, random);
        client.solicit(now);
        client
    }

    /// Asks for nothing but what servers say beside addresses: Information-request.
    pub(crate) fn inform(identity: Identity, policy: Policy, random: R, now: Time) -> Self {
        let mut client = Self::new(identity, policy, random);
        let exchange = client.exchange(Duration::ZERO, now);
        client.send_information_request(exchange, now);
        client
    }

    /// Goes on with what an Information-request brought earlier, until it is to be asked for again.
    pub(crate) fn informed(
        identity: Identity,
        policy: Policy,
        random: R,
        known: &Lease6,
        now: Time,
    ) -> Self {
        let mut client = Self::new(identity, policy, random);
        let refresh = known.t1().max(now.after(client.some_of(policy.delay)));
        client.state = State::Informed { refresh };
        client
    }

    /// Goes on with a lease of earlier, after a while in which the link may have become another one: Confirm, or Rebind
    /// where a prefix was delegated (RFC 8415, 18.2.12). `held` says whether the interface has the address, and keeps it
    /// unless a server objects.
    pub(crate) fn confirm(
        identity: Identity,
        policy: Policy,
        random: R,
        lease: Lease6,
        held: bool,
        now: Time,
    ) -> Self {
        let mut client = Self::new(identity, policy, random);
        client.wanted = lease.terms.address.map(|(address, _)| address);
        let delay = client.some_of(policy.delay);
        client.ask_again(lease, held, delay, now);
        client
    }

    /// Asks for more time at once, where there is a lease; or once more, where there is none.
    pub(crate) fn renew(&mut self, now: Time) {
        match &self.state {
            State::Bound { lease, .. } => {
                let lease = lease.clone();
                self.renewing(lease, now);
            }
            State::Informed { .. } => self.refresh(now),
            State::Stopped
            | State::Waiting { .. }
            | State::Soliciting { .. }
            | State::Requesting { .. }
            | State::Confirming { .. }
            | State::Probing { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Declining { .. }
            | State::Releasing { .. }
            | State::Informing { .. } => {}
        }
    }

    /// Gives back what a server granted, or was asked to grant, and ends when it has heard of it, or is not there.
    pub(crate) fn release(&mut self, now: Time) {
        if self.is_releasing() {
            return;
        }
        match self.state.granted() {
            Some(terms) => {
                let exchange = self.exchange(Duration::ZERO, now);
                self.send_release(exchange, terms, now);
            }
            None => self.state = State::Stopped,
        }
    }

    /// Whether it gives a lease back, and is of no other use.
    pub(crate) fn is_releasing(&self) -> bool {
        matches!(self.state, State::Releasing { .. })
    }

    /// What to do next.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`]; `None` when there is nothing to wait for.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let prefix = self.state.lease().and_then(Lease6::prefix_end);
        [self.state.deadline(), prefix].into_iter().flatten().min()
    }

    /// The lease that holds, if one does.
    pub(crate) fn lease(&self) -> Option<&Lease6> {
        self.state.lease()
    }

    /// Whether messages may come: nobody needs to listen while a lease is quietly held.
    pub(crate) fn listens(&self) -> bool {
        !matches!(
            self.state,
            State::Stopped | State::Informed { .. } | State::Bound { .. }
        )
    }

    /// The address that other hosts are being asked for.
    pub(crate) fn probing(&self) -> Option<Ipv6Addr> {
        match &self.state {
            State::Probing { lease, .. } => lease.terms.address.map(|(address, _)| address),
            State::Stopped
            | State::Waiting { .. }
            | State::Soliciting { .. }
            | State::Requesting { .. }
            | State::Confirming { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Declining { .. }
            | State::Releasing { .. }
            | State::Informing { .. }
            | State::Informed { .. } => None,
        }
    }

    /// The state, by the name of what was sent.
    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// What happened in the present attempt.
    pub(crate) fn tried(&self) -> &Tried {
        &self.tried
    }

    /// The transaction that an answer must name.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn xid(&self) -> u32 {
        self.state.exchange().map_or(0, |exchange| exchange.xid)
    }

    /// Who it is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}
