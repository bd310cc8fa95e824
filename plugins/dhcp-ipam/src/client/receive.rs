//! What a server's message does.

use core::fmt;
use core::net::Ipv4Addr;

use super::state::State;
use super::{Client, Lost, Output};
use crate::lease::{Lease, Terms};
use crate::time::Time;
use crate::wire::{Kind, Reply};

/// Why a message was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// An answer to something else.
    OtherTransaction,
    /// Of no use in this state.
    NotExpectedIn(&'static str),
    /// Without server identifier, which a server must send.
    NoServer,
    /// Of another server than the one that was asked.
    OtherServer(Ipv4Addr),
    /// For another address than the one that was asked for.
    OtherAddress(Ipv4Addr),
    /// What it grants is no lease.
    BadLease(&'static str),
}

impl Ignored {
    /// The reason in a word, for a counter.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::OtherTransaction => "other-transaction",
            Self::NotExpectedIn(_) => "not-expected",
            Self::NoServer => "no-server",
            Self::OtherServer(_) => "other-server",
            Self::OtherAddress(_) => "other-address",
            Self::BadLease(_) => "bad-lease",
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherTransaction => f.write_str("it answers another question"),
            Self::NotExpectedIn(state) => write!(f, "nobody asked for it in {state}"),
            Self::NoServer => f.write_str("it does not say which server it is from"),
            Self::OtherServer(server) => write!(f, "{server} was not asked"),
            Self::OtherAddress(address) => write!(f, "{address} was not asked for"),
            Self::BadLease(why) => f.write_str(why),
        }
    }
}

impl<R: FnMut() -> u32> Client<R> {
    /// Takes a server's message.
    pub(crate) fn handle_message(&mut self, reply: &Reply, now: Time) -> Result<(), Ignored> {
        if reply.xid != self.xid {
            return Err(Ignored::OtherTransaction);
        }
        let server = reply.server.ok_or(Ignored::NoServer)?;
        match &self.state {
            State::Selecting { .. } if reply.kind == Kind::Offer => {
                let offer = terms(reply)?;
                self.tried.offered = Some(server);
                self.send_request(offer, 0, now, now);
                Ok(())
            }
            State::Requesting { offer, since, .. } => {
                let (asked, address, since) = (offer.server, offer.address, *since);
                from(asked, server)?;
                match reply.kind {
                    Kind::Ack => self.granted(reply, Some(address), since, now),
                    Kind::Nak => {
                        self.tried.words.clone_from(&reply.words);
                        self.refused(now);
                        Ok(())
                    }
                    Kind::Discover
                    | Kind::Offer
                    | Kind::Request
                    | Kind::Decline
                    | Kind::Inform
                    | Kind::Release => Err(self.unexpected()),
                }
            }
            State::Rebooting { terms, since, .. } => {
                let (address, since) = (terms.address, *since);
                match reply.kind {
                    Kind::Ack => self.granted(reply, Some(address), since, now),
                    Kind::Nak => {
                        self.tried.words.clone_from(&reply.words);
                        self.refused(now);
                        Ok(())
                    }
                    Kind::Discover
                    | Kind::Offer
                    | Kind::Request
                    | Kind::Decline
                    | Kind::Inform
                    | Kind::Release => Err(self.unexpected()),
                }
            }
            State::Informing { .. } if reply.kind == Kind::Ack => {
                let terms = terms(reply)?;
                self.outputs.push_back(Output::Informed(terms));
                self.state = State::Stopped;
                Ok(())
            }
            State::Renewing { lease, since, .. } => {
                let (asked, address, since) = (lease.terms.server, lease.terms.address, *since);
                from(asked, server)?;
                self.extended(reply, address, since, now)
            }
            State::Rebinding { lease, since, .. } => {
                let (address, since) = (lease.terms.address, *since);
                self.extended(reply, address, since, now)
            }
            State::Stopped
            | State::Waiting { .. }
            | State::Selecting { .. }
            | State::Informing { .. }
            | State::Probing { .. }
            | State::Bound { .. } => Err(self.unexpected()),
        }
    }

    /// An answer to a request of a client that has the address.
    fn extended(
        &mut self,
        reply: &Reply,
        address: Ipv4Addr,
        since: Time,
        now: Time,
    ) -> Result<(), Ignored> {
        match reply.kind {
            Kind::Ack => {
                let terms = terms(reply)?;
                if terms.address == address {
                    self.bind(Lease::new(terms, since));
                } else {
                    // Some servers give another address so. The one that the container has is no longer granted.
                    self.lose(Lost::Refused, now);
                }
                Ok(())
            }
            Kind::Nak => {
                self.lose(Lost::Refused, now);
                self.tried.words.clone_from(&reply.words);
                Ok(())
            }
            Kind::Discover
            | Kind::Offer
            | Kind::Request
            | Kind::Decline
            | Kind::Inform
            | Kind::Release => Err(self.unexpected()),
        }
    }

    /// An ACK for an address that the interface does not have yet.
    fn granted(
        &mut self,
        reply: &Reply,
        asked: Option<Ipv4Addr>,
        since: Time,
        now: Time,
    ) -> Result<(), Ignored> {
        let terms = terms(reply)?;
        if asked.is_some_and(|asked| asked != terms.address) {
            return Err(Ignored::OtherAddress(terms.address));
        }
        self.probe(Lease::new(terms, since), now);
        Ok(())
    }

    fn unexpected(&self) -> Ignored {
        Ignored::NotExpectedIn(self.state_name())
    }
}

fn terms(reply: &Reply) -> Result<Terms, Ignored> {
    reply.terms.clone().map_err(Ignored::BadLease)
}

fn from(asked: Ipv4Addr, server: Ipv4Addr) -> Result<(), Ignored> {
    if asked == server {
        return Ok(());
    }
    Err(Ignored::OtherServer(server))
}
