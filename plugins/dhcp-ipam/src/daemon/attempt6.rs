//! One attempt to get IPv6 for a container: what there is to wait for, and when it is enough. No socket, no clock.

use core::time::Duration;

use cni_common::addr::Cidr;

use crate::client6::solicitation::Solicitation;
use crate::lease6::Advertised;
use crate::record6::Mode;
use crate::time::Time;
use crate::wire::nd::Advertisement;

/// How long routers are waited for by somebody who can do without.
const ROUTERS: Duration = Duration::from_secs(2);
/// How long what routers announced is waited for, where something else is there already.
const OTHERS: Duration = Duration::from_secs(3);
/// How many routers are heard.
const MOST: usize = 8;

/// What is asked of DHCPv6 servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Nothing,
    Lease,
    Information,
}

/// An attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    mode: Mode,
    routers: bool,
    began: Time,
    solicitation: Solicitation,
    heard: Vec<Advertisement>,
    /// When the first router was heard.
    since: Option<Time>,
    /// Whether a server answered an Information-request.
    pub(super) informed: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress<'a> {
    pub(super) leased: bool,
    /// The addresses that the kernel made, and that can be used.
    pub(super) addresses: &'a [Cidr],
}

impl Attempt {
    pub(super) fn new(mode: Mode, routers: bool, now: Time) -> Self {
        Self {
            mode,
            routers,
            began: now,
            solicitation: Solicitation::new(now),
            heard: Vec::new(),
            since: None,
            informed: false,
        }
    }

    /// Whether routers are to be asked now.
    pub(super) fn asks_routers(&mut self, now: Time) -> bool {
        self.routers && self.heard.is_empty() && self.solicitation.is_due(now)
    }

    /// Takes a router's words, where routers are to be heard: one may speak while neighbours are listened to.
    pub(super) fn hear(&mut self, advertisement: Advertisement, now: Time) {
        if !self.routers {
            return;
        }
        self.since.get_or_insert(now);
        self.heard.retain(|old| old.router != advertisement.router);
        if self.heard.len() < MOST {
            self.heard.push(advertisement);
        }
    }

    /// Whether any router was heard.
    pub(super) fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What DHCPv6 servers are to be asked for.
    pub(super) fn wants(&self, now: Time) -> Want {
        let managed = self.heard.iter().any(|router| router.managed);
        let other = self.heard.iter().any(|router| router.other);
        match self.mode {
            Mode::Dhcp => Want::Lease,
            Mode::Auto if managed => Want::Lease,
            // Where no router says anything there may be a server all the same.
            Mode::Auto if self.heard.is_empty() && now >= self.began.after(ROUTERS) => Want::Lease,
            Mode::Slaac | Mode::Auto if other || managed => Want::Information,
            Mode::Slaac | Mode::Auto => Want::Nothing,
        }
    }

    /// The prefixes of which the kernel makes addresses.
    pub(super) fn autonomous(&self) -> Vec<Cidr> {
        if self.mode == Mode::Dhcp {
            return Vec::new();
        }
        let all = self.heard.iter().flat_map(|router| &router.prefixes);
        let usable = all.filter(|one| one.autonomous && one.valid > 0 && one.subnet.prefix() == 64);
        let mut list = Vec::new();
        for one in usable {
            if !list.contains(&one.subnet) {
                list.push(one.subnet);
            }
        }
        list
    }

    /// Whether there is all that can be had, or enough after so long.
    pub(super) fn is_complete(&self, progress: Progress<'_>, now: Time) -> bool {
        let waited = self.since.is_some_and(|since| now >= since.after(OTHERS));
        let wants = self.wants(now);
        let informed = wants != Want::Information || self.informed || waited;
        let autonomous = self.autonomous();
        let made = |subnet: &Cidr| {
            let mut addresses = progress.addresses.iter();
            addresses.any(|address| subnet.contains(address.address()))
        };
        let all_made = autonomous.iter().all(made);
        match self.mode {
            Mode::Dhcp => {
                let patient = self.routers && now < self.began.after(ROUTERS);
                progress.leased && (self.has_heard() || !patient)
            }
            Mode::Slaac => !progress.addresses.is_empty() && (all_made || waited) && informed,
            Mode::Auto => {
                let anything = progress.leased || !progress.addresses.is_empty();
                let leased = wants != Want::Lease || progress.leased || waited;
                anything && leased && (all_made || waited) && informed
            }
        }
    }

    /// When something may change by itself.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let solicitation =
            (self.routers && self.heard.is_empty()).then(|| self.solicitation.deadline());
        let others = self.since.map(|since| since.after(OTHERS));
        let times = [Some(self.began.after(ROUTERS)), others];
        let coming = times.into_iter().flatten().filter(|at| *at > now);
        coming.chain(solicitation).min()
    }

    /// What the routers said, as far as it is of use.
    pub(super) fn advertised(&self) -> Advertised {
        let mut found = Advertised::default();
        let default = self.heard.iter().filter(|router| router.lifetime > 0);
        // Of several the one that was heard first.
        let best = default.fold(None::<&Advertisement>, |best, router| match best {
            Some(best) if best.rank >= router.rank => Some(best),
            _ => Some(router),
        });
        found.gateway = best.map(|router| router.router);
        for router in &self.heard {
            for prefix in router
                .prefixes
                .iter()
                .filter(|one| one.on_link && one.valid > 0)
            {
                add(&mut found.on_link, &prefix.subnet);
            }
            for server in &router.dns {
                add(&mut found.dns, server);
            }
            for domain in &router.search {
                add(&mut found.search, domain);
            }
        }
        found
    }
}

fn add<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if !list.contains(item) {
        list.push(item.clone());
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::wire::nd::{Prefix, Rank};

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn router(number: u16) -> Advertisement {
        Advertisement {
            router: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number),
            lifetime: 1800,
            rank: Rank::Medium,
            managed: false,
            other: false,
            mtu: None,
            prefixes: vec![Prefix {
                subnet: "fd00:1::/64".parse().unwrap(),
                on_link: true,
                autonomous: true,
                valid: 100,
                preferred: 100,
            }],
            dns: Vec::new(),
            search: Vec::new(),
        }
    }

    fn heard(mode: Mode, router: Advertisement) -> Attempt {
        let mut attempt = Attempt::new(mode, true, at(0));
        assert!(attempt.asks_routers(at(0)));
        attempt.hear(router, at(100));
        attempt
    }

    /// Whether it is enough: a lease or not, an address or not, at that time.
    fn complete(attempt: &Attempt, leased: bool, made: bool, millis: u64) -> bool {
        let address = ["fd00:1::5/64".parse().unwrap()];
        let progress = Progress {
            leased,
            addresses: if made { &address } else { &[] },
        };
        attempt.is_complete(progress, at(millis))
    }

    #[test]
    fn dhcp_waits_for_a_lease_and_a_moment_for_routers() {
        let silent = Attempt::new(Mode::Dhcp, true, at(0));
        assert_eq!(silent.wants(at(0)), Want::Lease);
        assert!(!complete(&silent, true, false, 1900));
        assert!(complete(&silent, true, false, 2000));
        assert!(!complete(&silent, false, false, 9000));
        let heard = heard(Mode::Dhcp, router(1));
        assert!(complete(&heard, true, false, 200));
        // Whatever else it says.
        assert_eq!(heard.autonomous(), []);
        let without = Attempt::new(Mode::Dhcp, false, at(0));
        assert!(complete(&without, true, false, 0));
    }

    #[test]
    fn slaac_waits_for_the_kernels_address_and_for_what_else_is_announced() {
        let plain = heard(Mode::Slaac, router(1));
        assert_eq!(plain.wants(at(9000)), Want::Nothing);
        assert!(!complete(&plain, false, false, 9000));
        assert!(complete(&plain, false, true, 200));
        let mut stateless = heard(
            Mode::Slaac,
            Advertisement {
                other: true,
                ..router(1)
            },
        );
        assert_eq!(stateless.wants(at(200)), Want::Information);
        assert!(!complete(&stateless, false, true, 200));
        assert!(complete(&stateless, false, true, 3100));
        stateless.informed = true;
        assert!(complete(&stateless, false, true, 200));
    }

    #[test]
    fn auto_does_what_routers_say() {
        let mut none = router(1);
        none.prefixes.clear();
        let managed = heard(
            Mode::Auto,
            Advertisement {
                managed: true,
                ..none.clone()
            },
        );
        assert_eq!(managed.wants(at(200)), Want::Lease);
        assert!(!complete(&managed, false, false, 9000));
        assert!(complete(&managed, true, false, 200));

        let both = heard(
            Mode::Auto,
            Advertisement {
                managed: true,
                ..router(1)
            },
        );
        assert!(!complete(&both, true, false, 200) && !complete(&both, false, true, 200));
        assert!(complete(&both, true, true, 200));
        // One of the two is better than nothing.
        assert!(complete(&both, true, false, 3100) && complete(&both, false, true, 3100));

        let slaac = heard(Mode::Auto, router(1));
        assert_eq!(slaac.wants(at(9000)), Want::Nothing);
        assert!(complete(&slaac, false, true, 200));

        let nothing = heard(Mode::Auto, none);
        assert!(!complete(&nothing, false, false, 9000));

        let silent = Attempt::new(Mode::Auto, true, at(0));
        assert_eq!(silent.wants(at(1999)), Want::Nothing);
        assert_eq!(silent.wants(at(2000)), Want::Lease);
        assert!(complete(&silent, true, false, 2000));
    }

    #[test]
    fn time_is_looked_at_when_it_matters() {
        let mut attempt = Attempt::new(Mode::Auto, true, at(0));
        assert_eq!(attempt.deadline(at(0)), Some(at(0)));
        attempt.asks_routers(at(0));
        assert_eq!(attempt.deadline(at(0)), Some(at(500)));
        attempt.hear(router(1), at(600));
        assert!(!attempt.asks_routers(at(5000)));
        assert_eq!(attempt.deadline(at(600)), Some(at(2000)));
        assert_eq!(attempt.deadline(at(2000)), Some(at(3600)));
        assert_eq!(attempt.deadline(at(3600)), None);
    }

    #[test]
    fn the_best_router_is_the_gateway_and_lists_are_joined() {
        let mut attempt = heard(Mode::Auto, router(1));
        let mut second = router(2);
        second.rank = Rank::High;
        second.dns.push("fd00::53".parse().unwrap());
        attempt.hear(second.clone(), at(100));
        let mut no_router = router(3);
        no_router.lifetime = 0;
        no_router.rank = Rank::High;
        no_router.dns.push("fd00::53".parse().unwrap());
        attempt.hear(no_router, at(100));
        let found = attempt.advertised();
        assert_eq!(found.gateway, Some(second.router));
        assert_eq!((found.on_link.len(), found.dns.len()), (1, 1));
        for number in 0..50 {
            attempt.hear(router(number), at(100));
        }
        assert_eq!(attempt.heard.len(), MOST);
    }
}
