//! What a server's message does.

use core::fmt;
use core::time::Duration;

use super::exchange::{REFRESH, SOONEST_REFRESH};
use super::state::{Offer, State};
use super::{Client6, Lost, Output};
use crate::lease6::{Lease6, Span, Terms6};
use crate::time::Time;
use crate::wire::v6::{Association, Kind, Reply, Status};

/// Why a message was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// An answer to something else.
    OtherTransaction,
    /// Of no use in this state.
    NotExpectedIn(&'static str),
    /// Of another server than the one that was asked.
    OtherServer,
    /// It grants nothing.
    NothingGiven(String),
}

impl Ignored {
    /// A word for a counter.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::OtherTransaction => "v6-other-transaction",
            Self::NotExpectedIn(_) => "v6-not-expected",
            Self::OtherServer => "v6-other-server",
            Self::NothingGiven(_) => "v6-nothing-given",
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherTransaction => f.write_str("it answers another question"),
            Self::NotExpectedIn(state) => write!(f, "nobody asked for it in {state}"),
            Self::OtherServer => f.write_str("its server was not asked"),
            Self::NothingGiven(why) => write!(f, "it gives nothing: {why}"),
        }
    }
}

/// What a Reply means for a lease that is asked for.
enum Verdict {
    Granted(Terms6),
    /// The server knows of no such lease.
    Unknown,
    /// What there was is not to be had any more.
    Refused(String),
    /// It has nothing to give to somebody who has nothing.
    Exhausted(String),
    /// It could not do it at this moment.
    Unable(String),
    /// It says nothing about what was asked.
    Silent(&'static str),
}

impl<R: FnMut() -> u32> Client6<R> {
    /// Takes a server's message.
    pub(crate) fn handle_message(&mut self, reply: &Reply, now: Time) -> Result<(), Ignored> {
        let asked = self.state.exchange().filter(|exchange| exchange.sent > 0);
        let Some(exchange) = asked else {
            return Err(Ignored::NotExpectedIn(self.state_name()));
        };
        if reply.xid != exchange.xid {
            return Err(Ignored::OtherTransaction);
        }
        let sent = exchange.last;
        match (&self.state, reply.kind) {
            (State::Soliciting { .. }, Kind::Advertise) => self.offered(reply, now),
            (State::Soliciting { .. }, Kind::Reply)
                if reply.rapid_commit && self.identity.rapid_commit =>
            {
                match self.judge(reply, None) {
                    Verdict::Granted(terms) => {
                        self.probe(Lease6 { terms, since: sent }, None, now);
                        Ok(())
                    }
                    Verdict::Unknown => Err(nothing("NoBinding")),
                    Verdict::Refused(why) | Verdict::Exhausted(why) | Verdict::Unable(why) => {
                        Err(Ignored::NothingGiven(why))
                    }
                    Verdict::Silent(why) => Err(nothing(why)),
                }
            }
            (State::Requesting { offer, .. }, Kind::Reply) => {
                from(&offer.server, reply)?;
                self.requested(reply, sent, now)
            }
            (State::Confirming { .. }, Kind::Reply) => self.confirmed(reply, now),
            (State::Renewing { lease, .. }, Kind::Reply) => {
                from(&lease.terms.server, reply)?;
                let lease = lease.clone();
                self.extended(reply, lease, true, sent, now)
            }
            (State::Rebinding { lease, held, .. }, Kind::Reply) => {
                let (lease, held) = (lease.clone(), *held);
                self.extended(reply, lease, held, sent, now)
            }
            (State::Declining { terms, .. }, Kind::Reply) => {
                from(&terms.server, reply)?;
                self.after_decline(now);
                Ok(())
            }
            // Whatever it says of it (RFC 8415, 18.2.10.2).
            (State::Releasing { terms, .. }, Kind::Reply) => {
                from(&terms.server, reply)?;
                self.state = State::Stopped;
                Ok(())
            }
            (State::Informing { .. }, Kind::Reply) => {
                self.learned(reply, now);
                Ok(())
            }
            _ => Err(Ignored::NotExpectedIn(self.state_name())),
        }
    }

    /// Takes the limits that a server sets, also where it gives nothing (RFC 8415, 18.2.9).
    fn note_limits(&mut self, reply: &Reply) {
        let seconds = |limit: u32| Duration::from_secs(u64::from(limit));
        if let Some(limit) = reply.sol_max_rt {
            self.sol_max_rt = seconds(limit);
        }
        if let Some(limit) = reply.inf_max_rt {
            self.inf_max_rt = seconds(limit);
        }
    }

    /// A Reply to an Information-request.
    fn learned(&mut self, reply: &Reply, now: Time) {
        self.note_limits(reply);
        let lease = Lease6 {
            terms: Terms6 {
                server: reply.server.clone(),
                address: None,
                prefix: None,
                t1: reply.refresh.unwrap_or(REFRESH).max(SOONEST_REFRESH),
                t2: 0,
                dns: reply.dns.clone(),
                search: reply.search.clone(),
            },
            since: now,
        };
        // What was asked for in one second is not asked for again in one.
        let delay = self.some_of(self.policy.delay);
        self.state = State::Informed {
            refresh: lease.t1().after(delay),
        };
        self.outputs.push_back(Output::Informed(lease));
    }

    /// An Advertise: taken at once where its server insists, or offers were waited for already.
    fn offered(&mut self, reply: &Reply, now: Time) -> Result<(), Ignored> {
        self.note_limits(reply);
        let terms = match self.judge(reply, None) {
            Verdict::Granted(terms) => terms,
            Verdict::Refused(why) | Verdict::Exhausted(why) | Verdict::Unable(why) => {
                self.tried.refusals = self.tried.refusals.saturating_add(1);
                self.tried.words = Some(why.clone());
                return Err(Ignored::NothingGiven(why));
            }
            Verdict::Unknown => return Err(nothing("NoBinding")),
            Verdict::Silent(why) => return Err(nothing(why)),
        };
        self.tried.offered = true;
        let State::Soliciting { exchange, best } = &mut self.state else {
            return Ok(());
        };
        if reply.preference == u8::MAX || exchange.sent > 1 {
            self.request(terms, None, now);
            return Ok(());
        }
        let rank = |terms: &Terms6, preference: u8| (terms.prefix.is_some(), preference);
        let better = best
            .as_ref()
            .is_none_or(|best| rank(&terms, reply.preference) > rank(&best.terms, best.preference));
        if better {
            *best = Some(Offer {
                terms,
                preference: reply.preference,
            });
        }
        Ok(())
    }

    /// A Reply to a Request.
    fn requested(&mut self, reply: &Reply, sent: Time, now: Time) -> Result<(), Ignored> {
        let State::Requesting { held, .. } = &self.state else {
            return Ok(());
        };
        let held = held.clone();
        let had = held.as_ref().map(|lease| &lease.terms);
        match self.judge(reply, had) {
            Verdict::Granted(terms) => {
                self.probe(Lease6 { terms, since: sent }, held, now);
                Ok(())
            }
            Verdict::Silent(why) => Err(nothing(why)),
            Verdict::Unknown => {
                self.give_up(held.is_some(), String::from("NoBinding"), now);
                Ok(())
            }
            // It is asked again, and then others are, while the lease goes on.
            Verdict::Unable(why) if held.is_some() => {
                self.tried.words = Some(why.clone());
                Err(Ignored::NothingGiven(why))
            }
            Verdict::Refused(why) | Verdict::Exhausted(why) | Verdict::Unable(why) => {
                self.give_up(held.is_some(), why, now);
                Ok(())
            }
        }
    }

    fn give_up(&mut self, held: bool, why: String, now: Time) {
        if held {
            self.outputs.push_back(Output::Lost(Lost::Refused));
        }
        self.refused(Some(why), now);
    }

    /// A Reply to a Confirm, of any server.
    fn confirmed(&mut self, reply: &Reply, now: Time) -> Result<(), Ignored> {
        let State::Confirming { lease, held, .. } = &self.state else {
            return Ok(());
        };
        let (lease, held) = (lease.clone(), *held);
        match reply.status.as_ref().map(|status| status.number) {
            // Some servers leave a Success out.
            None | Some(Status::SUCCESS) if held => self.go_on(lease, now),
            None | Some(Status::SUCCESS) => self.probe(lease, None, now),
            Some(Status::NOT_ON_LINK) if held => self.lose(Lost::Refused, now),
            Some(Status::NOT_ON_LINK) => {
                self.wanted = None;
                self.solicit(now);
            }
            Some(_) => {
                let why = reply.status.as_ref().map(Status::describe);
                return Err(Ignored::NothingGiven(why.unwrap_or_default()));
            }
        }
        Ok(())
    }

    /// A Reply to a Renew or Rebind.
    fn extended(
        &mut self,
        reply: &Reply,
        lease: Lease6,
        held: bool,
        sent: Time,
        now: Time,
    ) -> Result<(), Ignored> {
        let kept = held.then(|| lease.clone());
        match self.judge(reply, Some(&lease.terms)) {
            Verdict::Granted(mut terms) => {
                if self.identity.prefix.is_some() && terms.prefix.is_none() {
                    match reply.prefixes.as_ref() {
                        // It forgot the prefix alone.
                        Some(prefixes) if knows_nothing(prefixes.status.as_ref()) => {
                            self.request(terms, kept, now);
                            return Ok(());
                        }
                        // What it does not speak of goes on (RFC 8415, 18.2.10.1).
                        Some(prefixes) if prefixes.given.is_empty() => {
                            terms.prefix = lease.prefix_left(sent);
                        }
                        Some(_) => {}
                        None => terms.prefix = lease.prefix_left(sent),
                    }
                }
                self.probe(Lease6 { terms, since: sent }, kept, now);
                Ok(())
            }
            // RFC 8415, 18.2.10.1: that server is asked to make it anew.
            Verdict::Unknown => {
                let terms = Terms6 {
                    server: reply.server.clone(),
                    ..lease.terms
                };
                self.request(terms, kept, now);
                Ok(())
            }
            // The lease is as it was, and another answer may come.
            Verdict::Exhausted(why) | Verdict::Unable(why) if held => {
                self.tried.words = Some(why.clone());
                Err(Ignored::NothingGiven(why))
            }
            Verdict::Refused(why) | Verdict::Exhausted(why) | Verdict::Unable(why) => {
                if held {
                    self.lose(Lost::Refused, now);
                } else {
                    self.wanted = None;
                    self.solicit(now);
                }
                self.tried.words = Some(why);
                Ok(())
            }
            Verdict::Silent(why) => Err(nothing(why)),
        }
    }

    /// What a message grants to somebody who has `had`.
    fn judge(&mut self, reply: &Reply, had: Option<&Terms6>) -> Verdict {
        self.note_limits(reply);
        if let Some(status) = failed(reply.status.as_ref()) {
            return of_status(status);
        }
        let Some(addresses) = &reply.addresses else {
            return Verdict::Silent("it has no address association of ours");
        };
        if let Some(status) = failed(addresses.status.as_ref()) {
            return of_status(status);
        }
        let address = had.and_then(|had| had.address);
        let Some(address) = living(addresses, address.map(|(address, _)| address)) else {
            if addresses.given.is_empty() {
                return Verdict::Silent("its address association is empty");
            }
            return Verdict::Refused(String::from("its address has no time left"));
        };
        let delegated = reply.prefixes.as_ref();
        Verdict::Granted(Terms6 {
            server: reply.server.clone(),
            address: Some(address),
            prefix: delegated
                .filter(|_| self.identity.prefix.is_some())
                .and_then(|given| {
                    let prefix = had.and_then(|had| had.prefix);
                    living(given, prefix.map(|(prefix, _)| prefix))
                }),
            t1: earlier(addresses.t1, delegated.map_or(0, |prefixes| prefixes.t1)),
            t2: earlier(addresses.t2, delegated.map_or(0, |prefixes| prefixes.t2)),
            dns: reply.dns.clone(),
            search: reply.search.clone(),
        })
    }
}

/// What of an association has time left: what there was before, or else the first.
fn living<T: Copy + PartialEq>(association: &Association<T>, had: Option<T>) -> Option<(T, Span)> {
    let given = association.given.iter();
    let alive = given.filter(|(_, span)| span.valid > 0);
    let kept = alive.clone().find(|(one, _)| Some(*one) == had);
    kept.or(alive.clone().next()).copied()
}

fn knows_nothing(status: Option<&Status>) -> bool {
    status.is_some_and(|status| status.number == Status::NO_BINDING)
}

/// The earlier of two times of associations, of which zero leaves it to the client.
fn earlier(one: u32, other: u32) -> u32 {
    match (one, other) {
        (0, time) | (time, 0) => time,
        (one, other) => one.min(other),
    }
}

/// A status other than success.
fn failed(status: Option<&Status>) -> Option<&Status> {
    status.filter(|status| status.number != Status::SUCCESS)
}

fn of_status(status: &Status) -> Verdict {
    match status.number {
        Status::NO_BINDING => Verdict::Unknown,
        Status::NOT_ON_LINK => Verdict::Refused(status.describe()),
        Status::NO_ADDRS_AVAIL => Verdict::Exhausted(status.describe()),
        _ => Verdict::Unable(status.describe()),
    }
}

fn nothing(why: &str) -> Ignored {
    Ignored::NothingGiven(why.to_owned())
}

fn from(asked: &[u8], reply: &Reply) -> Result<(), Ignored> {
    if asked == reply.server {
        return Ok(());
    }
    Err(Ignored::OtherServer)
}
