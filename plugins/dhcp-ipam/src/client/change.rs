//! What brings the states about, and what time does to them.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::rc::Rc;

use super::state::State;
use super::{Client, Lost, Output};
use crate::lease::{Lease, Terms};
use crate::time::Time;

/// How often a REQUEST is sent before the client starts over: for an offer, and for a lease from before a reboot,
/// where servers that do not know it stay silent (RFC 2131, 4.3.2).
const REQUESTS: u32 = 4;
const REBOOTS: u32 = 2;
/// A lease is not renewed sooner than that, however short it is: each answer would bring the next question.
const SOONEST: Duration = Duration::from_millis(500);
/// After an address turned out to be taken for the second time (RFC 2131, 3.1, 5): such a thing may go on for ever.
const AFTER_DECLINE: Duration = Duration::from_secs(10);

impl<R: FnMut() -> u32> Client<R> {
    /// Time has come to the deadline; before it, nothing happens.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        // A machine that slept through a lease must not renew it.
        if let Some(lease) = self.state.lease()
            && now >= lease.expiry()
        {
            return self.lose(Lost::Expired, now);
        }
        match &self.state {
            State::Stopped => {}
            State::Waiting { .. } => self.discover(now),
            State::Selecting { sent, .. } => {
                let sent = *sent;
                self.send_discover(sent, now);
            }
            State::Requesting { sent, .. } if *sent >= REQUESTS => self.discover(now),
            State::Requesting {
                offer, sent, since, ..
            } => {
                let (offer, sent, since) = (offer.clone(), *sent, *since);
                self.send_request(offer, sent, since, now);
            }
            State::Rebooting { sent, .. } if *sent >= REBOOTS => self.discover(now),
            State::Rebooting {
                terms, sent, since, ..
            } => {
                let (terms, sent, since) = (terms.clone(), *sent, *since);
                self.send_reboot(terms, sent, since, now);
            }
            State::Informing { address, sent, .. } => {
                let (address, sent) = (*address, *sent);
                self.send_inform(address, sent, now);
            }
            State::Probing { lease, until, .. } if now >= *until => {
                let lease = lease.clone();
                self.bind(lease);
            }
            State::Probing { lease, until, .. } => {
                let (lease, until) = (lease.clone(), *until);
                self.outputs.push_back(Output::Probe(lease.terms.address));
                self.state = State::Probing {
                    lease,
                    again: None,
                    until,
                };
            }
            State::Bound { lease, .. } => {
                let lease = lease.clone();
                self.renewing(lease, now);
            }
            State::Renewing { lease, .. } => {
                let lease = lease.clone();
                if now >= lease.t2() {
                    self.send_rebind(lease, now);
                } else {
                    self.send_renewal(lease, now);
                }
            }
            State::Rebinding { lease, .. } => {
                let lease = lease.clone();
                self.send_rebind(lease, now);
            }
        }
    }

    /// Another host has the address that is being probed for: DECLINE (RFC 2131, 3.1, 5).
    pub(crate) fn address_in_use(&mut self, now: Time) {
        let State::Probing { lease, .. } = &self.state else {
            return;
        };
        let terms = lease.terms.clone();
        let message = self.decline_message(&terms, now);
        let from = Ipv4Addr::UNSPECIFIED;
        self.outputs.push_back(Output::Broadcast { from, message });
        self.wanted = None;
        self.tried.declined = self.tried.declined.saturating_add(1);
        if self.tried.declined == 1 {
            self.discover(now);
        } else {
            self.state = State::Waiting {
                until: now.after(AFTER_DECLINE),
            };
        }
    }

    /// Starts over with a new transaction.
    pub(super) fn discover(&mut self, now: Time) {
        self.xid = (self.random)();
        self.send_discover(0, now);
    }

    fn send_discover(&mut self, sent: u32, now: Time) {
        let message = self.discover_message(now);
        let from = Ipv4Addr::UNSPECIFIED;
        self.outputs.push_back(Output::Broadcast { from, message });
        self.tried.discovers = self.tried.discovers.saturating_add(1);
        let resend = now.after(self.backoff(sent));
        self.state = State::Selecting {
            sent: sent.saturating_add(1),
            resend,
        };
    }

    pub(super) fn send_request(&mut self, offer: Terms, sent: u32, since: Time, now: Time) {
        let message = self.select_message(&offer, now);
        let from = Ipv4Addr::UNSPECIFIED;
        self.outputs.push_back(Output::Broadcast { from, message });
        let resend = now.after(self.backoff(sent));
        self.state = State::Requesting {
            offer,
            sent: sent.saturating_add(1),
            since,
            resend,
        };
    }

    /// INIT-REBOOT.
    pub(super) fn ask_again(&mut self, terms: Rc<Terms>, now: Time) {
        self.send_reboot(terms, 0, now, now);
    }

    fn send_reboot(&mut self, terms: Rc<Terms>, sent: u32, since: Time, now: Time) {
        let message = self.reboot_message(terms.address, now);
        let from = Ipv4Addr::UNSPECIFIED;
        self.outputs.push_back(Output::Broadcast { from, message });
        let resend = now.after(self.backoff(sent));
        self.state = State::Rebooting {
            terms,
            sent: sent.saturating_add(1),
            since,
            resend,
        };
    }

    pub(super) fn send_inform(&mut self, address: Ipv4Addr, sent: u32, now: Time) {
        let message = self.inform_message(address, now);
        let from = address;
        self.outputs.push_back(Output::Broadcast { from, message });
        let resend = now.after(self.backoff(sent));
        self.state = State::Informing {
            address,
            sent: sent.saturating_add(1),
            resend,
        };
    }

    /// An address was granted that the interface does not have yet.
    pub(super) fn probe(&mut self, lease: Lease, now: Time) {
        if self.policy.probe.is_zero() {
            return self.bind(lease);
        }
        self.outputs.push_back(Output::Probe(lease.terms.address));
        self.state = State::Probing {
            lease,
            again: Some(now.after(self.policy.probe / 2)),
            until: now.after(self.policy.probe),
        };
    }

    pub(super) fn bind(&mut self, lease: Lease) {
        self.wanted = Some(lease.terms.address);
        self.tried = super::Tried::default();
        self.outputs.push_back(Output::Bound(lease.clone()));
        let renew = self.renewal_of(&lease);
        self.state = State::Bound { lease, renew };
    }

    pub(super) fn renewing(&mut self, lease: Lease, now: Time) {
        self.began = now;
        self.send_renewal(lease, now);
    }

    /// Each of these messages is a transaction of its own: the lease that one brings counts from when that one was sent, and
    /// the longest waits are between them.
    fn send_renewal(&mut self, lease: Lease, now: Time) {
        self.xid = (self.random)();
        let (from, to) = (lease.terms.address, lease.terms.server);
        let message = self.renew_message(from, now);
        self.outputs
            .push_back(Output::Unicast { from, to, message });
        let resend = now.after(half_of(lease.t2().since(now), &lease));
        self.state = State::Renewing {
            lease,
            since: now,
            resend,
        };
    }

    fn send_rebind(&mut self, lease: Lease, now: Time) {
        self.xid = (self.random)();
        let from = lease.terms.address;
        let message = self.renew_message(from, now);
        self.outputs.push_back(Output::Broadcast { from, message });
        let resend = now.after(half_of(lease.expiry().since(now), &lease));
        self.state = State::Rebinding {
            lease,
            since: now,
            resend,
        };
    }

    /// The address is not ours any more.
    pub(super) fn lose(&mut self, why: Lost, now: Time) {
        self.outputs.push_back(Output::Lost(why));
        self.began = now;
        if why == Lost::Refused {
            self.wanted = None;
        }
        self.discover(now);
    }

    /// A refused request: again after a while that doubles, for a server may refuse for ever.
    pub(super) fn refused(&mut self, now: Time) {
        self.wanted = None;
        self.tried.refusals = self.tried.refusals.saturating_add(1);
        if self.tried.refusals == 1 {
            return self.discover(now);
        }
        let until = now.after(self.backoff(self.tried.refusals.saturating_sub(2)));
        self.state = State::Waiting { until };
    }

    /// The wait after the message number `sent`: doubled each time, and a quarter more or less by chance, so that
    /// clients that began together do not stay together (RFC 2131, 4.1).
    fn backoff(&mut self, sent: u32) -> Duration {
        let factor = 1u32.checked_shl(sent.min(16)).unwrap_or(u32::MAX);
        let wait = self
            .policy
            .first
            .saturating_mul(factor)
            .min(self.policy.longest);
        let chance = (self.random)() % 512;
        (wait / 4).saturating_mul(3) + (wait / 1024).saturating_mul(chance)
    }

    /// When to renew what should have been renewed already, as all leases should after an outage: by chance within a
    /// quarter of what is left, or a minute.
    pub(super) fn overdue(&mut self, lease: &Lease, now: Time) -> Time {
        let end = if now < lease.t2() {
            lease.t2()
        } else {
            lease.expiry()
        };
        let within = (end.since(now) / 4).min(Duration::from_mins(1));
        now.after((within / 1024).saturating_mul((self.random)() % 1024))
    }

    /// When to renew: up to a sixteenth of the time before T1, by chance (RFC 2131, 4.4.5), so that what was attached
    /// in one second is not renewed in one.
    pub(super) fn renewal_of(&mut self, lease: &Lease) -> Time {
        let wait = lease.t1().since(lease.since).max(SOONEST);
        let early = (wait / 16 / 1024).saturating_mul((self.random)() % 1024);
        lease.since.after(wait.saturating_sub(early))
    }
}

/// Half of what is left, but no less than a minute (RFC 2131, 4.4.5); a short lease has shorter minutes, or it would
/// hang on one packet.
fn half_of(left: Duration, lease: &Lease) -> Duration {
    let shortest = Duration::from_secs(u64::from(lease.terms.seconds / 32).clamp(1, 60));
    (left / 2).max(shortest)
}
