//! The states.

use core::net::Ipv4Addr;
use std::rc::Rc;

use crate::lease::{Lease, Terms};
use crate::time::Time;

/// RFC 2131, figure 5; each state has what it needs and no more.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing more will happen.
    Stopped,
    /// INIT, but not at once.
    Waiting { until: Time },
    /// DISCOVER was sent.
    Selecting { sent: u32, resend: Time },
    /// REQUEST for an offer was sent, for the first time at `since`.
    Requesting {
        offer: Terms,
        sent: u32,
        since: Time,
        resend: Time,
    },
    /// REQUEST for what was had earlier was sent.
    Rebooting {
        terms: Rc<Terms>,
        sent: u32,
        since: Time,
        resend: Time,
    },
    /// INFORM was sent from an address of our own.
    Informing {
        address: Ipv4Addr,
        sent: u32,
        resend: Time,
    },
    /// The server granted it; does another host have it?
    Probing {
        lease: Lease,
        again: Option<Time>,
        until: Time,
    },
    /// A lease.
    Bound { lease: Lease, renew: Time },
    /// A lease whose server is asked for more time, since `since`.
    Renewing {
        lease: Lease,
        since: Time,
        resend: Time,
    },
    /// A lease that any server is asked for.
    Rebinding {
        lease: Lease,
        since: Time,
        resend: Time,
    },
}

impl State {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Waiting { .. } => "INIT",
            Self::Selecting { .. } => "SELECTING",
            Self::Requesting { .. } | Self::Probing { .. } => "REQUESTING",
            Self::Rebooting { .. } => "REBOOTING",
            Self::Informing { .. } => "INFORMING",
            Self::Bound { .. } => "BOUND",
            Self::Renewing { .. } => "RENEWING",
            Self::Rebinding { .. } => "REBINDING",
        }
    }

    /// The lease that holds.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Bound { lease, .. }
            | Self::Renewing { lease, .. }
            | Self::Rebinding { lease, .. } => Some(lease),
            Self::Stopped
            | Self::Waiting { .. }
            | Self::Selecting { .. }
            | Self::Requesting { .. }
            | Self::Rebooting { .. }
            | Self::Informing { .. }
            | Self::Probing { .. } => None,
        }
    }

    /// What a server believes we have, or will when a message arrives that is on its way.
    pub(super) fn granted(&self) -> Option<&Terms> {
        match self {
            Self::Requesting { offer, .. } => Some(offer),
            Self::Rebooting { terms, .. } => Some(terms),
            Self::Probing { lease, .. }
            | Self::Bound { lease, .. }
            | Self::Renewing { lease, .. }
            | Self::Rebinding { lease, .. } => Some(&lease.terms),
            Self::Stopped
            | Self::Waiting { .. }
            | Self::Selecting { .. }
            | Self::Informing { .. } => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Stopped => None,
            Self::Waiting { until } => Some(*until),
            Self::Selecting { resend, .. }
            | Self::Requesting { resend, .. }
            | Self::Rebooting { resend, .. }
            | Self::Informing { resend, .. } => Some(*resend),
            Self::Probing { again, until, .. } => Some(again.map_or(*until, |at| at.min(*until))),
            Self::Bound { renew, .. } => Some(*renew),
            Self::Renewing { lease, resend, .. } => Some((*resend).min(lease.t2())),
            Self::Rebinding { lease, resend, .. } => Some((*resend).min(lease.expiry())),
        }
    }
}
