//! What brings the states about, and what time does to them.

use core::time::Duration;

use super::exchange::{
    CONFIRM, CONFIRMING, DECLINE, DECLINES, Exchange, INFORMATION, RELEASE, RELEASES, RENEW,
    REQUEST, REQUESTS, Waits,
};
use super::state::State;
use super::{Client6, Lost, Output, Tried};
use crate::lease6::{Lease6, Terms6};
use crate::time::Time;

/// After an address turned out to be taken for the second time, or a server had none: such a thing may go on for ever.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);
/// A lease is not renewed sooner than that, whatever its server says: each answer would bring the next question (RFC 8415,
/// 14.1).
const SOONEST: Duration = Duration::from_millis(500);
/// How often a Confirm is sent for an address that the interface does not have.
const CONFIRMS: u32 = 2;

impl<R: FnMut() -> u32> Client6<R> {
    /// Time has come to the deadline; before it, nothing happens.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        // A machine that slept through a lease must not renew it.
        if let Some(lease) = self.state.lease()
            && now >= lease.expiry()
            // There is the next one already.
            && self.probing().is_none()
        {
            return self.lose(Lost::Expired, now);
        }
        if self.end_prefix(now) {
            return;
        }
        match core::mem::replace(&mut self.state, State::Stopped) {
            State::Stopped => {}
            State::Waiting { .. } => self.solicit(now),
            State::Soliciting { exchange, best } => match best {
                Some(offer) => self.request(offer.terms, None, now),
                None => self.send_solicit(exchange, now),
            },
            State::Requesting { exchange, held, .. } if exchange.sent >= REQUESTS => match held {
                // Others may know it.
                Some(lease) => {
                    let exchange = self.exchange(Duration::ZERO, now);
                    self.send_rebind(exchange, lease, true, now);
                }
                None => self.solicit(now),
            },
            State::Requesting {
                exchange,
                offer,
                held,
            } => self.send_request(exchange, offer, held, now),
            State::Confirming {
                exchange,
                lease,
                held,
            } => self.confirm_again(exchange, lease, held, now),
            State::Probing { lease, until, .. } if now >= until => self.bind(lease),
            State::Probing {
                lease, until, held, ..
            } => {
                let address = lease.terms.address.map(|(address, _)| address);
                self.outputs.extend(address.map(Output::Probe));
                self.state = State::Probing {
                    lease,
                    again: None,
                    until,
                    held,
                };
            }
            State::Bound { lease, .. } => self.renewing(lease, now),
            State::Renewing { lease, .. } if now >= lease.t2() => {
                let exchange = self.exchange(Duration::ZERO, now);
                self.send_rebind(exchange, lease, true, now);
            }
            State::Renewing { exchange, lease } => self.send_renewal(exchange, lease, now),
            State::Rebinding { lease, .. } if now >= lease.expiry() => self.solicit(now),
            State::Rebinding { exchange, held, .. } if !held && exchange.sent >= CONFIRMS => {
                self.solicit(now);
            }
            State::Rebinding {
                exchange,
                lease,
                held,
            } => self.send_rebind(exchange, lease, held, now),
            State::Declining { exchange, .. } if exchange.sent >= DECLINES => {
                self.after_decline(now);
            }
            State::Declining { exchange, terms } => self.send_decline(exchange, terms, now),
            // It has ended.
            State::Releasing { exchange, .. } if exchange.sent >= RELEASES => {}
            State::Releasing { exchange, terms } => self.send_release(exchange, terms, now),
            State::Informed { .. } => self.refresh(now),
            State::Informing { exchange } => self.send_information_request(exchange, now),
        }
    }

    /// Ends a prefix that has no time left while its address has, and asks for another; whether there was one.
    fn end_prefix(&mut self, now: Time) -> bool {
        let lease = self.state.lease_mut();
        let over = |lease: &&mut Lease6| lease.prefix_end().is_some_and(|end| now >= end);
        let Some(lease) = lease.filter(over) else {
            return false;
        };
        lease.terms.prefix = None;
        let lease = lease.clone();
        self.outputs.push_back(Output::PrefixEnded(lease.clone()));
        if self.identity.prefix.is_some() && matches!(self.state, State::Bound { .. }) {
            self.renewing(lease, now);
        }
        true
    }

    /// Another host has the address that is being probed for: Decline (RFC 8415, 18.2.8).
    pub(crate) fn address_in_use(&mut self, now: Time) {
        let State::Probing { lease, held, .. } = &self.state else {
            return;
        };
        let (terms, held) = (lease.terms.clone(), held.is_some());
        if held {
            self.outputs.push_back(Output::Lost(Lost::Refused));
        }
        self.tried.declined = self.tried.declined.saturating_add(1);
        self.wanted = None;
        let exchange = self.exchange(Duration::ZERO, now);
        self.send_decline(exchange, terms, now);
    }

    fn send_decline(&mut self, exchange: Exchange, terms: Terms6, now: Time) {
        let message = self.decline_message(&exchange, &terms, now);
        self.outputs.push_back(Output::Send(message));
        let exchange = self.sent(exchange, DECLINE, now);
        self.state = State::Declining { exchange, terms };
    }

    pub(super) fn send_release(&mut self, exchange: Exchange, terms: Terms6, now: Time) {
        let message = self.release_message(&exchange, &terms, now);
        self.outputs.push_back(Output::Send(message));
        let exchange = self.sent(exchange, RELEASE, now);
        self.state = State::Releasing { exchange, terms };
    }

    pub(super) fn after_decline(&mut self, now: Time) {
        if self.tried.declined < 2 {
            return self.solicit(now);
        }
        let until = now.after(AFTER_REFUSAL);
        self.state = State::Waiting { until };
    }

    /// Begins to look for a server.
    pub(super) fn solicit(&mut self, now: Time) {
        let exchange = self.exchange(Duration::ZERO, now);
        self.send_solicit(exchange, now);
    }

    fn send_solicit(&mut self, exchange: Exchange, now: Time) {
        let message = self.solicit_message(&exchange, now);
        self.outputs.push_back(Output::Send(message));
        self.tried.solicits = self.tried.solicits.saturating_add(1);
        let waits = Waits {
            first: self.policy.first,
            longest: self.sol_max_rt,
        };
        let exchange = self.sent_solicit(exchange, waits, now);
        self.state = State::Soliciting {
            exchange,
            best: None,
        };
    }

    /// Takes an offer.
    pub(super) fn request(&mut self, offer: Terms6, held: Option<Lease6>, now: Time) {
        let exchange = self.exchange(Duration::ZERO, now);
        self.send_request(exchange, offer, held, now);
    }

    fn send_request(&mut self, exchange: Exchange, offer: Terms6, held: Option<Lease6>, now: Time) {
        let message = self.request_message(&exchange, &offer, now);
        self.outputs.push_back(Output::Send(message));
        let exchange = self.sent(exchange, REQUEST, now);
        self.state = State::Requesting {
            exchange,
            offer,
            held,
        };
    }

    /// Asks whether a lease of earlier still holds, after a delay.
    pub(super) fn ask_again(&mut self, lease: Lease6, held: bool, delay: Duration, now: Time) {
        let exchange = self.exchange(delay, now);
        self.state = if lease.terms.prefix.is_some() {
            State::Rebinding {
                exchange,
                lease,
                held,
            }
        } else {
            State::Confirming {
                exchange,
                lease,
                held,
            }
        };
    }

    fn confirm_again(&mut self, exchange: Exchange, lease: Lease6, held: bool, now: Time) {
        if held && exchange.sent > 0 && now >= exchange.began.after(CONFIRMING) {
            // Nobody answers: it is used for as long as it was granted (RFC 8415, 18.2.3).
            return self.go_on(lease, now);
        }
        if !held && (exchange.sent >= CONFIRMS || now >= lease.expiry()) {
            return self.solicit(now);
        }
        let message = self.confirm_message(&exchange, &lease.terms, now);
        self.outputs.push_back(Output::Send(message));
        let mut exchange = self.sent(exchange, CONFIRM, now);
        exchange.resend = exchange.resend.min(exchange.began.after(CONFIRMING));
        self.state = State::Confirming {
            exchange,
            lease,
            held,
        };
    }

    /// An address was granted that the interface does not have yet.
    pub(super) fn probe(&mut self, lease: Lease6, held: Option<Lease6>, now: Time) {
        let address = lease.terms.address.map(|(address, _)| address);
        let had = held.as_ref().and_then(|held| held.terms.address);
        let is_new = address.is_some() && had.map(|(had, _)| had) != address;
        if self.policy.probe.is_zero() || !is_new {
            return self.bind(lease);
        }
        self.outputs.extend(address.map(Output::Probe));
        self.state = State::Probing {
            lease,
            again: Some(now.after(self.policy.probe / 2)),
            until: now.after(self.policy.probe),
            held,
        };
    }

    pub(super) fn bind(&mut self, lease: Lease6) {
        self.wanted = lease.terms.address.map(|(address, _)| address);
        self.tried = Tried::default();
        self.outputs.push_back(Output::Bound(lease.clone()));
        let renew = self.renewal_of(&lease);
        self.state = State::Bound { lease, renew };
    }

    /// Goes on with a lease on its old timetable.
    pub(super) fn go_on(&mut self, lease: Lease6, now: Time) {
        self.bind(lease);
        // What is due was due before.
        self.handle_timeout(now);
    }

    pub(super) fn renewing(&mut self, lease: Lease6, now: Time) {
        let exchange = self.exchange(Duration::ZERO, now);
        self.send_renewal(exchange, lease, now);
    }

    fn send_renewal(&mut self, exchange: Exchange, lease: Lease6, now: Time) {
        let message = self.renew_message(&exchange, &lease.terms, now);
        self.outputs.push_back(Output::Send(message));
        let spare = lease.t2().since(lease.t1());
        let exchange = self.sent(exchange, within(spare), now);
        self.state = State::Renewing { exchange, lease };
    }

    fn send_rebind(&mut self, exchange: Exchange, lease: Lease6, held: bool, now: Time) {
        let message = self.rebind_message(&exchange, &lease.terms, now);
        self.outputs.push_back(Output::Send(message));
        let waits = if held {
            within(lease.expiry().since(lease.t2()))
        } else {
            CONFIRM
        };
        let exchange = self.sent(exchange, waits, now);
        self.state = State::Rebinding {
            exchange,
            lease,
            held,
        };
    }

    /// Asks once more for what servers say beside addresses.
    pub(super) fn refresh(&mut self, now: Time) {
        let exchange = self.exchange(Duration::ZERO, now);
        self.send_information_request(exchange, now);
    }

    pub(super) fn send_information_request(&mut self, exchange: Exchange, now: Time) {
        let message = self.information_message(&exchange, now);
        self.outputs.push_back(Output::Send(message));
        self.tried.solicits = self.tried.solicits.saturating_add(1);
        let waits = Waits {
            first: INFORMATION,
            longest: self.inf_max_rt,
        };
        let exchange = self.sent(exchange, waits, now);
        self.state = State::Informing { exchange };
    }

    /// What it had is not ours any more.
    pub(super) fn lose(&mut self, why: Lost, now: Time) {
        self.outputs.push_back(Output::Lost(why));
        if why == Lost::Refused {
            self.wanted = None;
        }
        self.solicit(now);
    }

    /// A server has nothing to give: again after a while, for it may be so for long.
    pub(super) fn refused(&mut self, words: Option<String>, now: Time) {
        self.wanted = None;
        self.tried.refusals = self.tried.refusals.saturating_add(1);
        self.tried.words = words;
        if self.tried.refusals == 1 {
            return self.solicit(now);
        }
        let until = now.after(AFTER_REFUSAL);
        self.state = State::Waiting { until };
    }

    /// When to renew: up to a sixteenth of the time before T1, by chance, so that what was attached in one second is not
    /// renewed in one.
    fn renewal_of(&mut self, lease: &Lease6) -> Time {
        let wait = lease.t1().since(lease.since).max(SOONEST);
        let early = self.some_of(wait / 16);
        match lease.t1() {
            never if never == Time::NEVER => never,
            _ => lease.since.after(wait.saturating_sub(early)),
        }
    }
}

/// The waits of a renewal that has so much time: those of the RFC, but a short lease has shorter ones, or it would hang
/// on one packet.
fn within(spare: Duration) -> Waits {
    let shortest = Duration::from_secs(1);
    Waits {
        first: (spare / 4).clamp(shortest, RENEW.first),
        longest: RENEW.longest,
    }
}
