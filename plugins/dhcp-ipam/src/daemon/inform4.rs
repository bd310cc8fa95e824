//! Attachments whose address is given by other means, and that ask a server for the rest (RFC 2131, 3.4).
//!
//! Nothing of it is kept: what has no end needs nobody who renews it.

use std::rc::Rc;

use cni_common::addr::Cidr;
use cni_common::error::Error;

use super::Daemon;
use super::session4::Session4;
use crate::inside::Inside;
use crate::lease::Terms;

impl Daemon {
    /// Lends the interface its address while it asks: a server answers to that address, for which somebody must answer
    /// to ARP. Whether it was lent: an address that is there already is not ours to take away.
    pub(super) fn lend(inside: &mut Inside, cidr: Cidr) -> Result<bool, Error> {
        if inside.has(cidr)? {
            return Ok(false);
        }
        inside.give(cidr)?;
        Ok(true)
    }

    /// Takes it back: giving it is for the plugin that attaches.
    pub(super) fn take_back(&mut self, session: &mut Session4) {
        let Some(cidr) = session.own.inform.filter(|_| session.own.lent) else {
            return;
        };
        session.own.lent = false;
        let taken = self
            .inside(session)
            .and_then(|mut inside| inside.take(cidr));
        if let Err(error) = taken {
            session.complain(&error);
        }
    }

    /// A server told all there is to know.
    pub(super) fn informed(&mut self, session: &mut Session4, terms: Terms) {
        session.say(format_args!("is told of by {}", terms.server));
        self.take_back(session);
        session.client = None;
        let terms = Rc::new(terms);
        for waiter in core::mem::take(&mut session.waiters) {
            self.deliver4(waiter.connection, Ok(terms.clone()));
        }
    }
}
