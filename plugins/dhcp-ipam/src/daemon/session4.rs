//! What a session of IPv4 has, and how its packets go out.

use core::net::Ipv4Addr;
use std::net::UdpSocket;

use cni_common::addr::{Cidr, Mac};
use cni_common::code::Code;
use cni_common::error::{Error, Step};

use super::session::{Session, too_long};
use crate::client::{Client, Identity, Policy};
use crate::inside::Inside;
use crate::sys::packet::{self, Hears, PacketSocket};
use crate::time::Time;
use crate::wire::{Outgoing, frame};

/// The daemon's client.
pub(super) type OurClient = Client<fn() -> u32>;

/// The sockets of a session that has something to say or to hear.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) dhcp: PacketSocket,
    pub(super) arp: Option<PacketSocket>,
    /// At the leased address.
    udp: Option<UdpSocket>,
}

/// IPv4.
#[derive(Debug, Default)]
pub(super) struct V4 {
    pub(super) server_mac: Option<Mac>,
    /// When to look whether the interface is there, while its sockets are open.
    pub(super) look: Option<Time>,
    /// The address of its own, where it has one and asks for the rest alone.
    pub(super) inform: Option<Cidr>,
    /// Whether the interface has that address of us, for as long as it asks.
    pub(super) lent: bool,
}

/// A session of it.
pub(super) type Session4 = Session<V4>;

impl Session4 {
    pub(super) fn identity(&self, broadcast: bool) -> Identity {
        Identity {
            mac: self.place.mac,
            settings: self.settings.clone(),
            broadcast,
        }
    }

    pub(super) fn policy(&self, usual: Policy) -> Policy {
        let probe = u64::from(self.settings.probe_millis);
        Policy {
            probe: core::time::Duration::from_millis(probe),
            ..usual
        }
    }

    /// Opens what a client needs to hear servers.
    pub(super) fn listen(&self, inside: &Inside) -> Result<Ears, Error> {
        let (index, mac) = (inside.link.index, self.place.mac);
        let dhcp = inside
            .netns
            .run(|| PacketSocket::open(index, Hears::Dhcp(mac)))
            .step(|| "enter the container's namespace")?
            .step(|| "open a packet socket")?;
        Ok(Ears {
            dhcp,
            arp: None,
            udp: None,
        })
    }

    /// Opens what hears ARP.
    pub(super) fn listen_to_arp(&mut self, inside: &Inside) -> Result<(), Error> {
        let index = inside.link.index;
        let arp = inside
            .netns
            .run(|| PacketSocket::open(index, Hears::Arp))
            .step(|| "enter the container's namespace")?
            .step(|| "open a packet socket")?;
        if let Some(ears) = &mut self.ears {
            ears.arp = Some(arp);
        }
        Ok(())
    }

    /// Sends a message to everybody on the link.
    pub(super) fn broadcast(&self, from: Ipv4Addr, message: &Outgoing) -> Result<(), Error> {
        let to = (frame::EVERYBODY, Ipv4Addr::BROADCAST);
        self.send_frame(from, to, message)
    }

    fn send_frame(
        &self,
        from: Ipv4Addr,
        to: (Mac, Ipv4Addr),
        message: &Outgoing,
    ) -> Result<(), Error> {
        let doing = || format!("send {:?}", message.kind);
        let ears = self.ears.as_ref().ok_or_else(|| {
            Error::new(
                Code::Io,
                format!("send {:?}: there is no socket", message.kind),
            )
        })?;
        let path = frame::Path {
            from: (self.place.mac, from),
            to,
        };
        let bytes = message
            .to_bytes()
            .and_then(|bytes| frame::build(path, &bytes))
            .ok_or_else(|| too_long(message.kind))?;
        ears.dhcp.send(&bytes).step(doing)
    }

    /// Sends a message to a server from the leased address, as every program does that has one.
    pub(super) fn unicast(
        &mut self,
        inside: &Inside,
        from: Ipv4Addr,
        to: Ipv4Addr,
        message: &Outgoing,
    ) -> Result<(), Error> {
        let bytes = message.to_bytes().ok_or_else(|| too_long(message.kind))?;
        let opened = match self.ears.as_mut().and_then(|ears| ears.udp.take()) {
            Some(udp) => Ok(udp),
            None => inside
                .netns
                .run(|| packet::udp(&inside.link.name, from))
                .step(|| "enter the container's namespace")?,
        };
        let sent = opened.and_then(|udp| {
            packet::send_udp(&udp, to, &bytes)?;
            Ok(udp)
        });
        match (sent, self.own.server_mac) {
            (Ok(udp), _) => {
                if let Some(ears) = &mut self.ears {
                    ears.udp = Some(udp);
                }
                Ok(())
            }
            // The interface has lost the address, or the way to the server.
            (Err(_), Some(mac)) => self.send_frame(from, (mac, to), message),
            (Err(error), None) => Err(error).step(|| format!("send {:?} to {to}", message.kind)),
        }
    }

    /// Sends a release, which must be out before the interface goes: there is no time to ask for the server's address
    /// on the link, which is known when the server is on it.
    pub(super) fn send_release(
        &mut self,
        inside: &Inside,
        from: Ipv4Addr,
        to: Ipv4Addr,
        message: &Outgoing,
    ) -> Result<(), Error> {
        let on_link = self.lease.as_ref().is_some_and(|(lease, _)| {
            let cidr = lease.terms.cidr();
            cidr.contains(core::net::IpAddr::V4(to))
        });
        match self.own.server_mac.filter(|_| on_link) {
            Some(mac) => self.send_frame(from, (mac, to), message),
            None => self.unicast(inside, from, to, message),
        }
    }

    /// Asks with ARP whether somebody has an address.
    pub(super) fn probe(&self, address: Ipv4Addr) -> Result<(), Error> {
        let Some(arp) = self.ears.as_ref().and_then(|ears| ears.arp.as_ref()) else {
            return Ok(());
        };
        arp.send(&frame::arp_probe(self.place.mac, address))
            .step(|| format!("ask for {address} with ARP"))
    }
}
