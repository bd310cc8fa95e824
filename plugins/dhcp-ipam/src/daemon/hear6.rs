//! Packets for the IPv6 of a session: servers' messages, routers, and neighbours.

use cni_common::log;

use super::Daemon;
use super::counters::Counter;
use super::family::{ALL, Family};
use super::session6::{Session6, V6};
use crate::client6::Ignored;
use crate::sys::poll::now;
use crate::wire::{nd, v6};

/// How many packets of one session are read before others have their turn.
const TURN: usize = 32;
/// A datagram that a server may send, and a router: what an Ethernet link has room for.
const LONGEST: usize = 2048;

impl Daemon {
    /// All that has come for a session whose time is up.
    pub(super) fn hear6(&mut self, id: u64) {
        let is_open = |one: &Session6| one.ears.dhcp.is_some() || one.ears.neighbours.is_some();
        if self.v6.get(id).is_some_and(is_open) {
            self.hear_servers6(id);
            self.read_neighbours6(id, ALL);
        }
    }

    /// Messages of DHCPv6 servers.
    pub(super) fn hear_servers6(&mut self, id: u64) {
        self.with::<V6>(id, |daemon, session| {
            let mut buffer = [0; LONGEST];
            for _ in 0..TURN {
                let Some(socket) = &session.ears.dhcp else {
                    return;
                };
                // A link that went down is noticed at the next deadline.
                let Ok(Some(received)) = socket.receive(&mut buffer) else {
                    return;
                };
                daemon.take_message6(session, received);
                V6::pump(daemon, session);
            }
        });
    }

    fn take_message6(&mut self, session: &mut Session6, received: &[u8]) {
        let Some(client) = &mut session.client else {
            return;
        };
        let identity = client.identity();
        let ours = v6::Ours {
            duid: &identity.duid,
            iaid: identity.iaid,
        };
        let reply = match v6::read(received, ours) {
            Ok(reply) => reply,
            Err(why) => {
                self.counters.count(Counter::Ignored, why.word());
                log::debug(format_args!("a DHCPv6 packet was ignored: {why}"));
                return;
            }
        };
        match client.handle_message(&reply, now()) {
            Ok(()) => self.counters.count(Counter::Received, reply.kind.word()),
            Err(why) => {
                self.counters.count(Counter::Ignored, why.word());
                if why != Ignored::OtherTransaction && self.remarks.may(now()) {
                    session.say(format_args!("{:?} was ignored: {why}", reply.kind));
                }
            }
        }
    }

    /// Router advertisements, and neighbours while an address is probed for.
    pub(super) fn hear_neighbours6(&mut self, id: u64) {
        self.read_neighbours6(id, TURN);
    }

    fn read_neighbours6(&mut self, id: u64, most: usize) {
        self.with::<V6>(id, |daemon, session| {
            let mut buffer = [0; LONGEST];
            for _ in 0..most {
                let Some(socket) = &session.ears.neighbours else {
                    return;
                };
                let Ok(Some((from, message))) = socket.receive(&mut buffer) else {
                    return;
                };
                let is_router = message.first() == Some(&nd::ROUTER_ADVERTISEMENT);
                if !is_router {
                    if let Some(client) = &mut session.client
                        && let Some(address) = client.probing()
                        && nd::conflicts(from, message, address)
                    {
                        client.address_in_use(now());
                        session.say(format_args!(
                            "{address} is in use by another host: declined"
                        ));
                        return;
                    }
                    continue;
                }
                match (nd::advertisement(from, message), &mut session.own.attempt) {
                    (Some(advertisement), Some(attempt)) => attempt.hear(advertisement, now()),
                    (Some(_), None) => {}
                    (None, _) => {
                        daemon.counters.count(Counter::Ignored, "v6-advertisement");
                    }
                }
            }
        });
    }
}
