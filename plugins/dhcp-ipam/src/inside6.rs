//! The interface in the container's namespace, as far as IPv6 goes.

use core::net::{IpAddr, Ipv6Addr};

use cni_common::addr::{Cidr, Family};
use cni_common::attach::inside::enable_ipv6;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::log;
use cni_common::netlink::addr;
use cni_common::sysctl;

use crate::config::ipv6::Ipv6;
use crate::inside::Inside;
use crate::lease::Wishes;
use crate::lease6::Span;
use crate::record6::Mode;

/// The address from which DHCPv6 and neighbour discovery are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkLocal {
    /// It can be used.
    Is(Ipv6Addr),
    /// Duplicate address detection is not over, or there is none yet.
    NotYet,
    /// Another host has it.
    Duplicate(Ipv6Addr),
}

fn v6(cidr: Cidr) -> Option<Ipv6Addr> {
    match cidr.address() {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

impl Inside {
    /// Lets the kernel do with router advertisements what the configuration wants, before one is asked for: it goes on
    /// with it for as long as the container lives, whether there is a daemon or not.
    ///
    /// # Errors
    /// Code 100 where the kernel has no IPv6, or does not take advertisements that are needed.
    pub(crate) fn prepare_ipv6(&self, ipv6: &Ipv6, wishes: Wishes) -> Result<(), Error> {
        let link = &self.link.name;
        let flag = |on: bool| if on { "1" } else { "0" };
        let temporary = if ipv6.privacy { "2" } else { "0" };
        // 2: also where the container forwards.
        let accept = if ipv6.routers { "2" } else { "0" };
        let metric = wishes.priority.map(|metric| metric.to_string());
        let mut settings = vec![
            ("autoconf", flag(ipv6.mode != Mode::Dhcp)),
            ("use_tempaddr", temporary),
            ("accept_ra_defrtr", flag(!wishes.no_default_route)),
        ];
        settings.extend(metric.as_deref().map(|metric| ("ra_defrtr_metric", metric)));
        let prepared = self.netns.run(|| {
            enable_ipv6(link)?;
            for (key, value) in settings {
                let name = format!("net/ipv6/conf/{link}/{key}");
                if let Err(error) = sysctl::set(&name, value) {
                    log::warning(format_args!("set {name} to {value}: {error}"));
                }
            }
            let name = format!("net/ipv6/conf/{link}/accept_ra");
            let set = sysctl::set(&name, accept).step(|| format!("set {name} to {accept}"))?;
            let refused = matches!(set, sysctl::Outcome::ReadOnly | sysctl::Outcome::Absent);
            if refused && ipv6.routers {
                let text = format!("{name} must be {accept} and cannot be written");
                return Err(Error::new(Code::Kernel, text));
            }
            Ok(())
        });
        prepared.step(|| "enter the container's namespace")?
    }

    /// The link-local address.
    pub(crate) fn link_local(&mut self) -> Result<LinkLocal, Error> {
        let all = self.rtnl.addresses(&self.link).map_err(Cause::cause)?;
        let ours: Vec<LinkLocal> = all
            .iter()
            .filter_map(|found| {
                let address = v6(found.cidr).filter(Ipv6Addr::is_unicast_link_local)?;
                Some(match (found.duplicate, found.tentative) {
                    (true, _) => LinkLocal::Duplicate(address),
                    (false, true) => LinkLocal::NotYet,
                    (false, false) => LinkLocal::Is(address),
                })
            })
            .collect();
        let usable = |one: &&LinkLocal| matches!(one, LinkLocal::Is(_));
        let best = ours.iter().find(usable).or(ours.first());
        Ok(best.copied().unwrap_or(LinkLocal::NotYet))
    }

    /// The addresses that the kernel made of prefixes, and that can be used: one each, for temporary ones come beside the
    /// first and go again.
    ///
    /// # Errors
    /// Code 101 when another host has one.
    pub(crate) fn autonomous(&mut self, subnets: &[Cidr]) -> Result<Vec<Cidr>, Error> {
        let all = self.rtnl.addresses(&self.link).map_err(Cause::cause)?;
        let mut list = Vec::new();
        for subnet in subnets {
            let made = |found: &&addr::Address| {
                !found.permanent && !found.temporary && subnet.contains(found.cidr.address())
            };
            // Another host may have the first of them, and the kernel makes a second one.
            let usable = all
                .iter()
                .filter(made)
                .find(|found| !found.tentative && !found.duplicate);
            if let Some(usable) = usable {
                list.push(usable.cidr);
            } else if let Some(taken) = all.iter().filter(made).find(|found| found.duplicate) {
                return Err(Error::new(
                    Code::Taken,
                    format!("{} is in use by another host", taken.cidr.address()),
                ));
            }
        }
        Ok(list)
    }

    /// Gives an address the times that a lease has, where the interface has it; whether it has.
    pub(crate) fn set_lifetimes(&mut self, cidr: Cidr, span: Span) -> Result<bool, Error> {
        let all = self.rtnl.addresses(&self.link).map_err(Cause::cause)?;
        let found = all
            .iter()
            .find(|found| found.cidr.address() == cidr.address());
        let Some(found) = found else {
            return Ok(false);
        };
        self.limit(found, span)?;
        Ok(true)
    }

    fn lease(&mut self, cidr: Cidr, span: Span) -> Result<(), Error> {
        let request = addr::lease(&self.link, cidr, span.preferred, span.valid);
        self.rtnl.execute(request).map_err(Cause::cause)
    }

    /// Limits the time of an address that the interface has.
    fn limit(&mut self, found: &addr::Address, span: Span) -> Result<(), Error> {
        let request = || addr::lease(&self.link, found.cidr, span.preferred, span.valid);
        let requests = if found.permanent && span.valid != u32::MAX {
            // `modify_prefix_route` of Linux (4.19 and later, seen in 6.18) takes the time that is left for the time of the
            // end, where the address was there for ever: the route to the subnet ends at once. The second time it is made
            // anew.
            vec![request(), request()]
        } else {
            vec![request()]
        };
        self.rtnl.batch(requests).map_err(Cause::cause)
    }

    /// Replaces one leased address by another: first the new, then the old goes.
    ///
    /// Each step is tried whatever became of the one before it; the first failure is reported.
    pub(crate) fn replace(
        &mut self,
        old: Option<Cidr>,
        new: Option<(Cidr, Span)>,
    ) -> Result<(), Error> {
        debug_assert!(old.is_none_or(|old| old.family() == Family::V6));
        let added = match new.filter(|(_, span)| span.valid > 0) {
            Some((cidr, span)) => {
                let has = self.set_lifetimes(cidr, span);
                let leased = match has {
                    Ok(false) => self.lease(cidr, span),
                    has => has.map(drop),
                };
                leased.and_then(|()| self.announce(cidr))
            }
            None => Ok(()),
        };
        let same = new.map(|(cidr, _)| cidr.address());
        let removed = match old.filter(|old| Some(old.address()) != same) {
            Some(old) => {
                let request = addr::remove(&self.link, old);
                self.rtnl.execute(request).map_err(Cause::cause)
            }
            None => Ok(()),
        };
        added.and(removed)
    }
}
