//! Packets for a session: servers' messages, and ARP.

use cni_common::log;

use super::Daemon;
use super::counters::Counter;
use super::family::{ALL, Family};
use super::session4::V4;
use crate::client::Ignored;
use crate::sys::poll::now;
use crate::wire::{self, Asked, Kind, frame};

/// How many packets of one session are read before others have their turn.
const TURN: usize = 32;

impl Daemon {
    /// All that has come for a session whose time is up.
    pub(super) fn hear4(&mut self, id: u64) {
        if self.v4.get(id).is_some_and(|one| one.ears.is_some()) {
            self.hear_servers(id);
            self.read_neighbours(id, ALL);
        }
    }

    /// Frames of servers.
    pub(super) fn hear_servers(&mut self, id: u64) {
        self.with::<V4>(id, |daemon, session| {
            let mut buffer = [0; 2048];
            for _ in 0..TURN {
                let Some(ears) = &session.ears else { return };
                // A link that went down is noticed at the next deadline.
                let Ok(Some(received)) = ears.dhcp.receive(&mut buffer) else {
                    return;
                };
                let Some((mac, from, message)) = frame::parse(received) else {
                    daemon.counters.count(Counter::Ignored, "frame");
                    continue;
                };
                if !frame::may_be_a_server(mac, from, session.place.mac) {
                    daemon.counters.count(Counter::Ignored, "source");
                    continue;
                }
                let Some(client) = &mut session.client else {
                    return;
                };
                let asked = Asked {
                    mac: client.mac(),
                    request: &session.settings.request,
                    informed: session.own.inform,
                    largest: session.place.mtu,
                };
                let reply = match wire::read(message, &asked) {
                    Ok(reply) => reply,
                    Err(why) => {
                        daemon.counters.count(Counter::Ignored, why.word());
                        log::debug(format_args!("a packet of {from} was ignored: {why}"));
                        continue;
                    }
                };
                let taken = client.handle_message(&reply, now());
                match &taken {
                    Ok(()) => daemon.counters.count(Counter::Received, reply.kind.word()),
                    Err(why) => daemon.counters.count(Counter::Ignored, why.word()),
                }
                match taken {
                    // The offer, too, may have to be given back.
                    Ok(()) if matches!(reply.kind, Kind::Ack | Kind::Offer) => {
                        session.own.server_mac = Some(mac);
                    }
                    Ok(()) if reply.kind == Kind::Nak => {
                        let words = reply.words.as_deref().unwrap_or("no reason");
                        session.last_error = Some(format!("{from} refused: {words}"));
                    }
                    Ok(()) | Err(Ignored::OtherTransaction) => {}
                    Err(why) => {
                        if daemon.remarks.may(now()) {
                            let kind = reply.kind;
                            session.say(format_args!("{kind:?} of {from} was ignored: {why}"));
                        }
                    }
                }
                V4::pump(daemon, session);
            }
        });
    }

    /// ARP, while an address is probed for.
    pub(super) fn hear_neighbours(&mut self, id: u64) {
        self.read_neighbours(id, TURN);
    }

    fn read_neighbours(&mut self, id: u64, most: usize) {
        self.with::<V4>(id, |_, session| {
            let mut buffer = [0; 128];
            for _ in 0..most {
                let Some(arp) = session.ears.as_ref().and_then(|ears| ears.arp.as_ref()) else {
                    return;
                };
                let Ok(Some(received)) = arp.receive(&mut buffer) else {
                    return;
                };
                let Some(client) = &mut session.client else {
                    return;
                };
                if let Some(address) = client.probing()
                    && frame::arp_conflicts(received, client.mac(), address)
                {
                    client.address_in_use(now());
                    session.say(format_args!(
                        "{address} is in use by another host: declined"
                    ));
                    return;
                }
            }
        });
    }
}
