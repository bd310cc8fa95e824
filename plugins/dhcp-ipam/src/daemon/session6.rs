//! What a session of IPv6 has, and how its packets go out.

use core::net::Ipv6Addr;
use core::time::Duration;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::error::{Error, Step};

use super::attempt6::Attempt;
use super::session::{Session, too_long};
use crate::client6::{Client6, Identity, Policy};
use crate::inside::Inside;
use crate::lease6::{Advertised, Granted6, Terms6};
use crate::sys::socket6::{Dhcp6Socket, NeighbourSocket};
use crate::time::Time;
use crate::wire::nd;
use crate::wire::v6::Outgoing;

/// The daemon's client.
pub(super) type OurClient6 = Client6<fn() -> u32>;

/// The sockets of a session that has something to say or to hear.
#[derive(Debug, Default)]
pub(super) struct Ears6 {
    pub(super) dhcp: Option<Dhcp6Socket>,
    pub(super) neighbours: Option<NeighbourSocket>,
}

/// When the interface is looked at after an ADD, to give the address its times: by then the plugin that attaches has put
/// it there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling {
    pub(super) at: Time,
    wait: Duration,
}

impl Settling {
    const FIRST: Duration = Duration::from_millis(500);
    const LAST: Duration = Duration::from_mins(1);

    pub(super) fn new(now: Time) -> Self {
        Self {
            at: now.after(Self::FIRST),
            wait: Self::FIRST,
        }
    }

    /// The next time, until it is of no more use.
    pub(super) fn next(self, now: Time) -> Option<Self> {
        let wait = self.wait * 3;
        (wait < Self::LAST).then(|| Self {
            at: now.after(wait),
            wait,
        })
    }
}

/// IPv6.
#[derive(Debug, Default)]
pub(super) struct V6 {
    /// While there is something to find out.
    pub(super) attempt: Option<Attempt>,
    /// Whether there was a lease before that attempt.
    pub(super) had: bool,
    /// The link-local address, once it can be used.
    pub(super) local: Option<Ipv6Addr>,
    /// When to look again at the interface, which tells nobody that it changed.
    pub(super) look: Option<Time>,
    /// What routers said, and the addresses that the kernel made of it, at the last ADD.
    pub(super) advertised: Advertised,
    pub(super) slaac: Vec<Cidr>,
    pub(super) settling: Option<Settling>,
}

/// A session of it.
pub(super) type Session6 = Session<V6>;

impl Session6 {
    pub(super) fn identity(&self) -> Identity {
        let settings = &self.settings;
        Identity {
            duid: settings.duid.clone(),
            iaid: settings.iaid,
            prefix: settings.delegation,
            rapid_commit: settings.rapid_commit,
            request: settings.request.clone(),
            options: Vec::new(),
        }
    }

    pub(super) fn policy(&self) -> Policy {
        let probe = u64::from(self.settings.probe_millis);
        Policy {
            probe: Duration::from_millis(probe),
            ..Policy::default()
        }
    }

    /// What the container has.
    pub(super) fn granted(&self) -> Granted6 {
        Granted6 {
            terms: self.lease.as_ref().map(|(lease, _)| lease.terms.clone()),
            slaac: self.own.slaac.clone(),
            advertised: self.own.advertised.clone(),
        }
    }

    /// The address of terms as the interface has it.
    pub(super) fn cidr(&self, terms: &Terms6) -> Option<Cidr> {
        terms.cidr(self.settings.prefix)
    }

    /// Opens the client's port where it is not open; whether it was not.
    pub(super) fn open_dhcp(&mut self, inside: &Inside) -> Result<bool, Error> {
        if self.ears.dhcp.is_some() {
            return Ok(false);
        }
        let local = self.own.local.ok_or_else(|| {
            let link = &self.owner.ifname;
            Error::new(
                Code::TryAgain,
                format!("{link} has no link-local address yet"),
            )
        })?;
        let socket = inside
            .netns
            .run(|| Dhcp6Socket::open(&inside.link, local))
            .step(|| "enter the container's namespace")?
            .step(|| format!("open port 546 of {local}"))?;
        self.ears.dhcp = Some(socket);
        Ok(true)
    }

    /// Opens what hears routers and neighbours where it is not open; whether it was not.
    pub(super) fn open_neighbours(&mut self, inside: &Inside) -> Result<bool, Error> {
        if self.ears.neighbours.is_some() {
            return Ok(false);
        }
        let socket = inside
            .netns
            .run(|| NeighbourSocket::open(&inside.link))
            .step(|| "enter the container's namespace")?
            .step(|| "open a raw ICMPv6 socket")?;
        self.ears.neighbours = Some(socket);
        Ok(true)
    }

    pub(super) fn send(&self, message: &Outgoing) -> Result<(), Error> {
        let doing = || format!("send {:?}", message.kind);
        let bytes = message.to_bytes().ok_or_else(|| too_long(message.kind))?;
        match &self.ears.dhcp {
            Some(socket) => socket.send(&bytes).step(doing),
            None => Err(Error::new(Code::Io, "there is no socket")).step(doing),
        }
    }

    /// Asks for routers.
    pub(super) fn solicit_routers(&self) -> Result<(), Error> {
        match &self.ears.neighbours {
            Some(socket) => socket
                .send(nd::ROUTERS, &nd::router_solicitation())
                .step(|| "send a router solicitation"),
            None => Ok(()),
        }
    }

    /// Asks whether somebody has an address.
    pub(super) fn probe(&self, address: Ipv6Addr) -> Result<(), Error> {
        let Some(socket) = &self.ears.neighbours else {
            return Ok(());
        };
        let group = nd::solicited_node(address);
        socket
            .join(address)
            .and_then(|()| socket.send(group, &nd::neighbor_solicitation(self.place.mac, address)))
            .step(|| format!("ask for {address}"))
    }
}
