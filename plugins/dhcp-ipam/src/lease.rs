//! What a server granted, and what that means for the container.

use core::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use cni_common::addr::Cidr;
use cni_common::result::{Attachment, Dns, IpConfig, Route};

use crate::time::Time;

/// The largest network that is no part of the Internet: 10.0.0.0/8.
pub(crate) const SHORTEST_PREFIX: u8 = 8;

/// A route that a server gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) dst: Cidr,
    /// Unspecified for a destination on the link itself.
    pub(crate) via: Ipv4Addr,
}

impl Hop {
    /// A route that can be installed.
    pub(crate) fn usable(dst: Cidr, via: Ipv4Addr) -> Option<Self> {
        let never = |ip: IpAddr| ip.is_loopback() || ip.is_multicast();
        let bad = never(dst.address()) || never(IpAddr::V4(via)) || via.is_broadcast();
        (!bad).then_some(Self { dst, via })
    }
}

/// What an ACK grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) server: Ipv4Addr,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) routes: Vec<Hop>,
    pub(crate) dns: Vec<Ipv4Addr>,
    pub(crate) domain: Option<String>,
    pub(crate) search: Vec<String>,
    pub(crate) mtu: Option<u32>,
    /// How long it is granted for; all ones is for ever.
    pub(crate) seconds: u32,
    pub(crate) t1: Option<u32>,
    pub(crate) t2: Option<u32>,
    /// Options that were asked for and mean nothing to us, by number.
    pub(crate) others: Vec<(u8, Vec<u8>)>,
}

/// A lease: the terms, and since when they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Shared: a daemon that has ten thousand leases has each in several places.
    pub(crate) terms: Rc<Terms>,
    /// When the request was sent that the server granted: what a lease counts from (RFC 2131, 4.4.1).
    pub(crate) since: Time,
}

impl Lease {
    pub(crate) fn new(terms: Terms, since: Time) -> Self {
        Self {
            terms: Rc::new(terms),
            since,
        }
    }

    /// When it is over.
    pub(crate) fn expiry(&self) -> Time {
        self.since.after_secs(self.terms.seconds)
    }

    /// When to ask its server for more time: T1, or half of the lease.
    pub(crate) fn t1(&self) -> Time {
        let (t1, _) = self.terms.renewal();
        self.since.after_secs(t1)
    }

    /// When to ask every server: T2, or seven eighths of the lease.
    pub(crate) fn t2(&self) -> Time {
        let (_, t2) = self.terms.renewal();
        self.since.after_secs(t2)
    }
}

/// What the configuration wants of a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The metric of its routes.
    pub(crate) priority: Option<u32>,
    /// Whether its default routes are left out.
    pub(crate) no_default_route: bool,
}

impl Terms {
    /// The address with its prefix length.
    pub(crate) fn cidr(&self) -> Cidr {
        let address = IpAddr::V4(self.address);
        Cidr::new(address, self.prefix).unwrap_or(Cidr::host(address))
    }

    /// T1 and T2 in seconds, the server's where they make sense (RFC 2131, 4.4.5).
    fn renewal(&self) -> (u32, u32) {
        let lease = self.seconds;
        let eighths = u64::from(lease).saturating_mul(7) / 8;
        let t2 = self.t2.filter(|t2| *t2 < lease && *t2 > 0);
        let t2 = t2.unwrap_or_else(|| u32::try_from(eighths).unwrap_or(lease));
        let t1 = self.t1.filter(|t1| *t1 <= t2 && *t1 > 0);
        (t1.unwrap_or_else(|| (lease / 2).min(t2)), t2)
    }

    /// Whether the container would look the same with these.
    pub(crate) fn same_to_the_container(&self, other: &Self) -> bool {
        let alike = |terms: &Self| Self {
            server: Ipv4Addr::UNSPECIFIED,
            seconds: 0,
            t1: None,
            t2: None,
            ..terms.clone()
        };
        alike(self) == alike(other)
    }

    /// The result of an ADD.
    pub(crate) fn to_attachment(&self, wishes: Wishes) -> Attachment {
        /// `RT_SCOPE_LINK`, linux/rtnetlink.h.
        const LINK: u8 = 253;
        // Two halves of the Internet are a default route, too, and a server may write it so.
        let wanted = |hop: &&Hop| !(wishes.no_default_route && hop.dst.prefix() < SHORTEST_PREFIX);
        let routes = self.routes.iter().filter(wanted).map(|hop| {
            let on_link = hop.via.is_unspecified();
            Route {
                mtu: self.mtu,
                priority: wishes.priority,
                scope: on_link.then_some(LINK),
                ..Route::new(hop.dst, (!on_link).then_some(IpAddr::V4(hop.via)))
            }
        });
        Attachment {
            interfaces: Vec::new(),
            ips: vec![IpConfig {
                interface: None,
                address: self.cidr(),
                gateway: self.gateway.map(IpAddr::V4),
            }],
            routes: routes.collect(),
            dns: Dns {
                nameservers: self.dns.iter().map(ToString::to_string).collect(),
                domain: self.domain.clone(),
                search: self.search.clone(),
                options: Vec::new(),
            },
        }
    }
}
