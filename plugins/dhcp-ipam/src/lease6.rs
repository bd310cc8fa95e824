//! What a DHCPv6 server granted, what routers advertised, and what that means for the container.

use core::net::{IpAddr, Ipv6Addr};

use cni_common::addr::{Cidr, Family};
use cni_common::result::{Attachment, Dns, IpConfig, Route};

use crate::lease::Wishes;
use crate::time::Time;

/// For how long an address or prefix is good, in seconds; all ones is for ever (RFC 8415, 7.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) preferred: u32,
    pub(crate) valid: u32,
}

impl Span {
    /// What is left of it after so many seconds.
    fn after(self, seconds: u64) -> Self {
        let age = u32::try_from(seconds).unwrap_or(u32::MAX);
        let left = |seconds: u32| match seconds {
            u32::MAX => u32::MAX,
            _ => seconds.saturating_sub(age),
        };
        Self {
            preferred: left(self.preferred),
            valid: left(self.valid),
        }
    }
}

/// What a Reply grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms6 {
    /// The server's DUID.
    pub(crate) server: Vec<u8>,
    /// What the server gave to the interface. Without address and prefix these are terms of an Information-request.
    pub(crate) address: Option<(Ipv6Addr, Span)>,
    /// What it delegated to the container.
    pub(crate) prefix: Option<(Cidr, Span)>,
    /// When to renew, in seconds; zero leaves it to the client.
    pub(crate) t1: u32,
    pub(crate) t2: u32,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
}

/// Terms, and when they began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease6 {
    pub(crate) terms: Terms6,
    /// When the answered request was sent: no later than what the server counts from.
    pub(crate) since: Time,
}

impl Lease6 {
    /// When it is over: the address counts, and where there is none the prefix. What is no address has no end.
    pub(crate) fn expiry(&self) -> Time {
        match self.terms.decisive() {
            Some(span) => self.since.after_secs(span.valid),
            None => Time::NEVER,
        }
    }

    /// When its prefix is over, where the address goes on.
    pub(crate) fn prefix_end(&self) -> Option<Time> {
        let (_, span) = self.terms.prefix?;
        let end = self.since.after_secs(span.valid);
        (end < self.expiry()).then_some(end)
    }

    /// When to ask its server for more time.
    pub(crate) fn t1(&self) -> Time {
        self.since.after_secs(self.terms.renewal().0)
    }

    /// When to ask every server.
    pub(crate) fn t2(&self) -> Time {
        self.since.after_secs(self.terms.renewal().1)
    }

    /// The address with what is left of its times at `now`.
    pub(crate) fn left(&self, now: Time) -> Option<(Ipv6Addr, Span)> {
        let (address, span) = self.terms.address?;
        Some((address, span.after(now.since(self.since).as_secs())))
    }

    /// The prefix with what is left of its times. A second that has begun is over: what is left goes on in the next lease, and
    /// with many short ones it would never end.
    pub(crate) fn prefix_left(&self, now: Time) -> Option<(Cidr, Span)> {
        let (prefix, span) = self.terms.prefix?;
        let age = now.since(self.since).as_millis().div_ceil(1000);
        let left = span.after(u64::try_from(age).unwrap_or(u64::MAX));
        Some((prefix, left)).filter(|(_, span)| span.valid > 0)
    }
}

impl Terms6 {
    fn decisive(&self) -> Option<Span> {
        let address = self.address.map(|(_, span)| span);
        address.or(self.prefix.map(|(_, span)| span))
    }

    /// Whether a server gave nothing that has an end.
    pub(crate) fn is_information(&self) -> bool {
        self.decisive().is_none()
    }

    /// T1 and T2: the server's, or half and four fifths of the shortest preferred time (RFC 8415, 21.4); of the valid
    /// time where what was given is not preferred any more.
    fn renewal(&self) -> (u32, u32) {
        let Some(decisive) = self.decisive() else {
            return (self.t1, u32::MAX);
        };
        let spans = [
            self.address.map(|(_, span)| span),
            self.prefix.map(|(_, span)| span),
        ];
        let usual = |span: &Span| match span.preferred {
            0 => span.valid,
            preferred => preferred,
        };
        let shortest = spans.iter().flatten().map(usual).min();
        let shortest = shortest.unwrap_or(0);
        let share = |fifths: u64, tenths: u64| match shortest {
            u32::MAX => u32::MAX,
            seconds => u32::try_from(u64::from(seconds).saturating_mul(fifths) / tenths)
                .unwrap_or(u32::MAX),
        };
        let valid = decisive.valid;
        let t2 = match self.t2 {
            0 => share(4, 5).min(valid),
            t2 => t2.min(valid),
        };
        let t1 = match self.t1 {
            0 => share(1, 2).min(t2),
            t1 => t1.min(t2),
        };
        (t1, t2)
    }

    /// Whether the container has the same of both.
    pub(crate) fn same_to_the_container(&self, other: &Self) -> bool {
        let what = |terms: &Self| {
            let address = terms.address.map(|(address, _)| address);
            (address, terms.prefix.map(|(prefix, _)| prefix))
        };
        what(self) == what(other) && self.dns == other.dns && self.search == other.search
    }

    /// The address as the interface has it. It is the container's alone: which others are on the link is for routers to
    /// say (RFC 5942), or for the configuration.
    pub(crate) fn cidr(&self, prefix: u8) -> Option<Cidr> {
        let (address, _) = self.address?;
        Cidr::new(IpAddr::V6(address), prefix)
    }
}

/// What the routers of a link said, as far as it is of use to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// The default router.
    pub(crate) gateway: Option<Ipv6Addr>,
    /// Whose hosts are on the link.
    pub(crate) on_link: Vec<Cidr>,
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
}

/// All that a container has of IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted6 {
    pub(crate) terms: Option<Terms6>,
    /// Addresses that the kernel made from advertised prefixes.
    pub(crate) slaac: Vec<Cidr>,
    pub(crate) advertised: Advertised,
}

impl Granted6 {
    /// The addresses that the interface is to have.
    pub(crate) fn addresses(&self, prefix: u8) -> Vec<Cidr> {
        let leased = self.terms.as_ref().and_then(|terms| terms.cidr(prefix));
        leased
            .into_iter()
            .chain(self.slaac.iter().copied())
            .collect()
    }

    /// Adds itself to the result of an ADD. Addresses have the prefix length `prefix` where no router says another.
    pub(crate) fn add_to(&self, attachment: &mut Attachment, prefix: u8, wishes: Wishes) {
        /// `RT_SCOPE_LINK`, linux/rtnetlink.h.
        const LINK: u8 = 253;
        let gateway = self.advertised.gateway.map(IpAddr::V6);
        let ips = self.addresses(prefix).into_iter().map(|address| IpConfig {
            interface: None,
            address,
            gateway,
        });
        attachment.ips.extend(ips);
        let on_link = self.advertised.on_link.iter().map(|subnet| Route {
            scope: Some(LINK),
            ..Route::new(*subnet, None)
        });
        let default = gateway
            .filter(|_| !wishes.no_default_route)
            .map(|gw| Route {
                priority: wishes.priority,
                ..Route::new(Family::V6.default_route(), Some(gw))
            });
        attachment.routes.extend(on_link.chain(default));
        let leased = self.terms.as_ref();
        let servers = leased.map(|terms| &terms.dns).into_iter().flatten();
        let servers = servers.chain(&self.advertised.dns);
        let domains = leased.map(|terms| &terms.search).into_iter().flatten();
        let domains = domains.chain(&self.advertised.search);
        merge(
            &mut attachment.dns,
            servers.map(ToString::to_string),
            domains.cloned(),
        );
    }
}

/// Adds what is not there yet: a server often says what the router said.
fn merge(
    dns: &mut Dns,
    servers: impl Iterator<Item = String>,
    domains: impl Iterator<Item = String>,
) {
    for server in servers {
        if !dns.nameservers.contains(&server) {
            dns.nameservers.push(server);
        }
    }
    for domain in domains {
        if !dns.search.contains(&domain) {
            dns.search.push(domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(preferred: u32, valid: u32) -> Span {
        Span { preferred, valid }
    }

    fn terms(t1: u32, t2: u32, preferred: u32, valid: u32) -> Terms6 {
        Terms6 {
            server: vec![1],
            address: Some((Ipv6Addr::LOCALHOST, span(preferred, valid))),
            prefix: None,
            t1,
            t2,
            dns: Vec::new(),
            search: Vec::new(),
        }
    }

    #[test]
    fn the_server_may_leave_the_times_to_the_client() {
        for (t1, t2, preferred, valid, renewal) in [
            (100, 160, 200, 300, (100, 160)),
            (0, 0, 200, 300, (100, 160)),
            (0, 50, 200, 300, (50, 50)),
            (0, 0, u32::MAX, u32::MAX, (u32::MAX, u32::MAX)),
            (u32::MAX, u32::MAX, 200, 300, (300, 300)),
            // Deprecated already.
            (0, 0, 0, 300, (150, 240)),
        ] {
            assert_eq!(terms(t1, t2, preferred, valid).renewal(), renewal);
        }
    }

    #[test]
    fn times_run_down_unless_they_have_no_end() {
        let lease = Lease6 {
            terms: terms(0, 0, 100, u32::MAX),
            since: Time::from_millis(5_000),
        };
        let left = |seconds: u64| lease.left(Time::from_millis(seconds * 1000)).unwrap().1;
        assert_eq!(left(15), span(90, u32::MAX));
        assert_eq!(left(500), span(0, u32::MAX));
    }

    #[test]
    fn a_result_has_addresses_routes_and_each_name_server_once() {
        let server: Ipv6Addr = "fd00::53".parse().unwrap();
        let granted = Granted6 {
            terms: Some(Terms6 {
                dns: vec![server],
                ..terms(0, 0, 1, 2)
            }),
            slaac: vec!["fd00::5/64".parse().unwrap()],
            advertised: Advertised {
                gateway: Some("fe80::1".parse().unwrap()),
                on_link: vec!["fd00::/64".parse().unwrap()],
                dns: vec![server],
                search: vec![String::from("lab.example")],
            },
        };
        let mut whole = Attachment::default();
        granted.add_to(&mut whole, 128, Wishes::default());
        let addresses: Vec<_> = whole.ips.iter().map(|ip| ip.address.to_string()).collect();
        assert_eq!(addresses, ["::1/128", "fd00::5/64"]);
        let routes: Vec<_> = whole
            .routes
            .iter()
            .map(|r| (r.dst.to_string(), r.gw))
            .collect();
        let gateway = Some("fe80::1".parse().unwrap());
        assert_eq!(
            routes,
            [
                (String::from("fd00::/64"), None),
                (String::from("::/0"), gateway)
            ]
        );
        assert_eq!(whole.dns.nameservers, ["fd00::53"]);
        let mut secondary = Attachment::default();
        let wishes = Wishes {
            no_default_route: true,
            ..Wishes::default()
        };
        granted.add_to(&mut secondary, 128, wishes);
        assert_eq!(secondary.routes.len(), 1);
    }
}
