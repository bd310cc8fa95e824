//! What each state sends (RFC 2131, table 5).

use core::net::Ipv4Addr;

use super::Client;
use crate::lease::Terms;
use crate::time::Time;
use crate::wire::{Kind, Outgoing, code};

/// The largest message we take, unless configured: what an Ethernet frame holds, less what a relay may add (option 82).
const MAX_SIZE: u16 = 1400;

impl<R: FnMut() -> u32> Client<R> {
    /// A message with what every one of them has.
    fn message(&self, kind: Kind, ciaddr: Ipv4Addr, now: Time) -> Outgoing {
        let secs = now.since(self.began).as_secs();
        Outgoing {
            kind,
            xid: self.xid,
            secs: u16::try_from(secs).unwrap_or(u16::MAX),
            // With an address the client hears what is sent to it.
            broadcast: self.identity.broadcast && ciaddr.is_unspecified(),
            ciaddr,
            chaddr: self.identity.mac,
            options: vec![(code::CLIENT_ID, self.identity.settings.client_id.clone())],
        }
    }

    /// A message that asks for parameters.
    fn question(&self, kind: Kind, ciaddr: Ipv4Addr, now: Time) -> Outgoing {
        let mut message = self.message(kind, ciaddr, now);
        let own = [
            (code::REQUEST_LIST, self.identity.settings.request.clone()),
            (code::MAX_SIZE, MAX_SIZE.to_be_bytes().to_vec()),
        ];
        message.options.extend(own);
        // Last, for what is configured wins.
        message
            .options
            .extend(self.identity.settings.options.iter().cloned());
        message
    }

    pub(super) fn discover_message(&self, now: Time) -> Outgoing {
        let mut message = self.question(Kind::Discover, Ipv4Addr::UNSPECIFIED, now);
        let wanted = self.wanted.map(|ip| ip.octets().to_vec());
        message
            .options
            .extend(wanted.map(|ip| (code::REQUESTED_ADDRESS, ip)));
        message
    }

    /// SELECTING: which offer is taken, for all servers to see.
    pub(super) fn select_message(&self, offer: &Terms, now: Time) -> Outgoing {
        let mut message = self.question(Kind::Request, Ipv4Addr::UNSPECIFIED, now);
        message.options.extend([
            (code::REQUESTED_ADDRESS, offer.address.octets().to_vec()),
            (code::SERVER, offer.server.octets().to_vec()),
        ]);
        message
    }

    /// INIT-REBOOT: the address, and no server.
    pub(super) fn reboot_message(&self, address: Ipv4Addr, now: Time) -> Outgoing {
        let mut message = self.question(Kind::Request, Ipv4Addr::UNSPECIFIED, now);
        message
            .options
            .push((code::REQUESTED_ADDRESS, address.octets().to_vec()));
        message
    }

    /// RENEWING and REBINDING: the address is in `ciaddr`, and in no option.
    pub(super) fn renew_message(&self, address: Ipv4Addr, now: Time) -> Outgoing {
        self.question(Kind::Request, address, now)
    }

    /// INFORM: the address is in `ciaddr`, and no lease is asked for.
    pub(super) fn inform_message(&self, address: Ipv4Addr, now: Time) -> Outgoing {
        self.question(Kind::Inform, address, now)
    }

    pub(super) fn decline_message(&self, terms: &Terms, now: Time) -> Outgoing {
        let mut message = self.message(Kind::Decline, Ipv4Addr::UNSPECIFIED, now);
        message.options.extend([
            (code::REQUESTED_ADDRESS, terms.address.octets().to_vec()),
            (code::SERVER, terms.server.octets().to_vec()),
        ]);
        Outgoing {
            secs: 0,
            broadcast: false,
            ..message
        }
    }

    pub(super) fn release_message(
        &self,
        address: Ipv4Addr,
        server: Ipv4Addr,
        now: Time,
    ) -> Outgoing {
        let mut message = self.message(Kind::Release, address, now);
        message
            .options
            .push((code::SERVER, server.octets().to_vec()));
        Outgoing { secs: 0, ..message }
    }
}
