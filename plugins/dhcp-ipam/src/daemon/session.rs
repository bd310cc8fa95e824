//! One attachment: its client, its sockets, and those who wait for its lease.

use core::net::Ipv4Addr;
use std::net::UdpSocket;
use std::rc::Rc;

use cni_common::addr::{Cidr, Mac};
use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::log;
use cni_common::owner::Owner;

use crate::client::{Client, Identity, Policy};
use crate::inside::Inside;
use crate::lease::{Lease, Terms};
use crate::record::{Place, Record, Settings, Standing};
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

/// Somebody who waits for a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) connection: u64,
    pub(super) deadline: Time,
    pub(super) secs: u32,
}

/// An attachment.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) owner: Owner,
    pub(super) place: Place,
    pub(super) settings: Rc<Settings>,
    /// None for a lease whose interface is gone: it waits for its end, or for an ADD that wants it again.
    pub(super) client: Option<OurClient>,
    pub(super) ears: Option<Ears>,
    /// The last lease, and the seconds since 1970 when it began.
    pub(super) lease: Option<(Lease, u64)>,
    /// What the interface has of us.
    pub(super) applied: Option<Rc<Terms>>,
    pub(super) server_mac: Option<Mac>,
    /// The address of its own, where it has one and asks for the rest alone.
    pub(super) inform: Option<Cidr>,
    /// Whether the interface has that address of us, for as long as it asks.
    pub(super) lent: bool,
    pub(super) waiters: Vec<Waiter>,
    /// Under which deadline it stands in the daemon's list.
    pub(super) due: Option<Time>,
    pub(super) last_error: Option<String>,
}

impl Session {
    pub(super) fn new(id: u64, owner: Owner, place: Place, settings: Rc<Settings>) -> Self {
        Self {
            id,
            owner,
            place,
            settings,
            client: None,
            ears: None,
            lease: None,
            applied: None,
            server_mac: None,
            inform: None,
            lent: false,
            waiters: Vec::new(),
            due: None,
            last_error: None,
        }
    }

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

    /// What is to be on disk.
    pub(super) fn record(&self, standing: Standing) -> Option<Record> {
        let (lease, wall) = self.lease.clone()?;
        Some(Record {
            owner: self.owner.clone(),
            place: self.place.clone(),
            settings: self.settings.clone(),
            lease,
            wall,
            server_mac: self.server_mac,
            standing,
        })
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Time> {
        let own = match (&self.client, &self.lease) {
            (Some(client), _) => client.deadline(),
            (None, Some((lease, _))) => Some(lease.expiry()),
            (None, None) => None,
        };
        let waiting = self.waiters.iter().map(|waiter| waiter.deadline).min();
        match (own, waiting) {
            (Some(own), Some(waiting)) => Some(own.min(waiting)),
            (own, waiting) => own.or(waiting),
        }
    }

    /// Says a line about it.
    pub(super) fn say(&self, text: core::fmt::Arguments<'_>) {
        log::info(format_args!("{}: {text}", self.owner));
    }

    /// Says, and remembers, what went wrong.
    pub(super) fn complain(&mut self, error: &Error) {
        log::warning(format_args!("{}: {error}", self.owner));
        self.last_error = Some(error.to_string());
    }

    /// The interface of this session, and no other that came into its place.
    pub(super) fn inside(&self, netns: &str) -> Result<Inside, Error> {
        let inside = Inside::open(netns, &self.owner.ifname)?;
        if inside.is(&self.place, &self.place.boot) {
            return Ok(inside);
        }
        Err(Error::new(
            Code::UnknownContainer,
            format!("{netns} has another interface {}", self.owner.ifname),
        ))
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
            .ok_or_else(|| {
                Error::new(
                    Code::InvalidConfig,
                    format!("{:?} is too long", message.kind),
                )
            })?;
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
        let opened = match self.ears.as_mut().and_then(|ears| ears.udp.take()) {
            Some(udp) => Ok(udp),
            None => inside
                .netns
                .run(|| packet::udp(&inside.link.name, from))
                .step(|| "enter the container's namespace")?,
        };
        let bytes = message.to_bytes().unwrap_or_default();
        let sent = opened.and_then(|udp| {
            packet::send_udp(&udp, to, &bytes)?;
            Ok(udp)
        });
        match (sent, self.server_mac) {
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
        match self.server_mac.filter(|_| on_link) {
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
