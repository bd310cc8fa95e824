//! The states.

use super::exchange::Exchange;
use crate::lease6::{Lease6, Terms6};
use crate::time::Time;

/// An offer, and how much its server wants to be taken.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) terms: Terms6,
    pub(super) preference: u8,
}

/// Each state has what it needs and no more.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing more will happen.
    Stopped,
    /// It begins anew, but not at once.
    Waiting { until: Time },
    /// Solicit was sent; the best offer so far.
    Soliciting {
        exchange: Exchange,
        best: Option<Offer>,
    },
    /// Request was sent, while a lease holds that its server forgot.
    Requesting {
        exchange: Exchange,
        offer: Terms6,
        held: Option<Lease6>,
    },
    /// Confirm was sent, or is about to be.
    Confirming {
        exchange: Exchange,
        lease: Lease6,
        held: bool,
    },
    /// The server granted it; does another host have it? Meanwhile an older lease may hold.
    Probing {
        lease: Lease6,
        again: Option<Time>,
        until: Time,
        held: Option<Lease6>,
    },
    /// A lease.
    Bound { lease: Lease6, renew: Time },
    /// A lease whose server is asked for more time.
    Renewing { exchange: Exchange, lease: Lease6 },
    /// A lease that any server is asked for; `held` as in `Confirming`.
    Rebinding {
        exchange: Exchange,
        lease: Lease6,
        held: bool,
    },
    /// Decline was sent.
    Declining { exchange: Exchange, terms: Terms6 },
    /// Release was sent, and nothing of the lease is used any more.
    Releasing { exchange: Exchange, terms: Terms6 },
    /// Information-request was sent.
    Informing { exchange: Exchange },
    /// And answered; it is to be asked for again.
    Informed { refresh: Time },
}

impl State {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Waiting { .. } => "WAITING",
            Self::Soliciting { .. } => "SOLICITING",
            Self::Requesting { .. } | Self::Probing { .. } => "REQUESTING",
            Self::Confirming { .. } => "CONFIRMING",
            Self::Bound { .. } => "BOUND",
            Self::Renewing { .. } => "RENEWING",
            Self::Rebinding { .. } => "REBINDING",
            Self::Declining { .. } => "DECLINING",
            Self::Releasing { .. } => "RELEASING",
            Self::Informing { .. } => "INFORMING",
            Self::Informed { .. } => "INFORMED",
        }
    }

    /// The lease that holds.
    pub(super) fn lease(&self) -> Option<&Lease6> {
        match self {
            Self::Bound { lease, .. }
            | Self::Renewing { lease, .. }
            | Self::Rebinding {
                lease, held: true, ..
            }
            | Self::Confirming {
                lease, held: true, ..
            } => Some(lease),
            Self::Requesting { held, .. } | Self::Probing { held, .. } => held.as_ref(),
            Self::Stopped
            | Self::Waiting { .. }
            | Self::Soliciting { .. }
            | Self::Confirming { .. }
            | Self::Rebinding { .. }
            | Self::Declining { .. }
            | Self::Releasing { .. }
            | Self::Informing { .. }
            | Self::Informed { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn lease_mut(&mut self) -> Option<&mut Lease6> {
        if let Self::Requesting { held, .. } | Self::Probing { held, .. } = self {
            return held.as_mut();
        }
        if let Self::Bound { lease, .. }
        | Self::Renewing { lease, .. }
        | Self::Rebinding {
            lease, held: true, ..
        }
        | Self::Confirming {
            lease, held: true, ..
        } = self
        {
            return Some(lease);
        }
        None
    }

    /// What a server believes we have, or will when a message arrives that is on its way.
    pub(super) fn granted(&self) -> Option<Terms6> {
        match self {
            Self::Requesting { offer, .. } => Some(offer.clone()),
            Self::Probing { lease, .. }
            | Self::Confirming { lease, .. }
            | Self::Bound { lease, .. }
            | Self::Renewing { lease, .. }
            | Self::Rebinding { lease, .. } => Some(lease.terms.clone()),
            // The prefix that came with an address of somebody else.
            Self::Declining { terms, .. } => terms.prefix.map(|prefix| Terms6 {
                address: None,
                prefix: Some(prefix),
                ..terms.clone()
            }),
            Self::Stopped
            | Self::Waiting { .. }
            | Self::Soliciting { .. }
            | Self::Releasing { .. }
            | Self::Informing { .. }
            | Self::Informed { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Stopped => None,
            Self::Waiting { until } | Self::Informed { refresh: until } => Some(*until),
            Self::Soliciting { exchange, .. }
            | Self::Declining { exchange, .. }
            | Self::Releasing { exchange, .. }
            | Self::Informing { exchange } => Some(exchange.resend),
            Self::Requesting { exchange, held, .. } => {
                let expiry = held.as_ref().map(Lease6::expiry);
                Some(expiry.map_or(exchange.resend, |end| end.min(exchange.resend)))
            }
            Self::Confirming {
                exchange, lease, ..
            }
            | Self::Rebinding {
                exchange, lease, ..
            } => Some(exchange.resend.min(lease.expiry())),
            Self::Probing { again, until, .. } => Some(again.map_or(*until, |at| at.min(*until))),
            Self::Bound { renew, lease } => Some((*renew).min(lease.expiry())),
            Self::Renewing { exchange, lease } => {
                Some(exchange.resend.min(lease.t2()).min(lease.expiry()))
            }
        }
    }

    /// The transaction that an answer must name.
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Soliciting { exchange, .. }
            | Self::Requesting { exchange, .. }
            | Self::Confirming { exchange, .. }
            | Self::Renewing { exchange, .. }
            | Self::Rebinding { exchange, .. }
            | Self::Declining { exchange, .. }
            | Self::Releasing { exchange, .. }
            | Self::Informing { exchange } => Some(exchange),
            Self::Stopped
            | Self::Waiting { .. }
            | Self::Probing { .. }
            | Self::Bound { .. }
            | Self::Informed { .. } => None,
        }
    }
}
