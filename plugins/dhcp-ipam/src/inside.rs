//! The interface in the container's namespace: finding it again, and giving it another address.

use cni_common::addr::{Cidr, Family, Mac};
use cni_common::announce;
use cni_common::attach::routes;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::netlink::link::Link;
use cni_common::netlink::route::Route;
use cni_common::netlink::{Rtnl, addr, route};
use cni_common::netns::{Identity, Netns};

use crate::lease::{Terms, Wishes};
use crate::record::Place;
use crate::sys::packet::{Hears, PacketSocket};

/// The least MTU of a link that has IPv6 (RFC 8200, 5).
const IPV6_MIN_MTU: u32 = 1280;

/// An interface, and a way to work on it. It keeps the namespace alive, so nobody holds it for long.
pub(crate) struct Inside {
    pub(crate) netns: Netns,
    pub(crate) cookie: Option<u64>,
    pub(crate) link: Link,
    pub(crate) mac: Mac,
    pub(crate) rtnl: Rtnl,
}

impl Inside {
    /// Finds the interface in the namespace at `path`.
    ///
    /// # Errors
    /// Code 3 when the namespace is gone, code 8 when it is our own, code 4 when it has no such interface.
    pub(crate) fn open(path: &str, ifname: &IfName) -> Result<Self, Error> {
        let netns = Netns::open(path).map_err(Cause::cause)?;
        if netns.is_current().step(|| path)? {
            return Err(Error::new(
                Code::OwnNamespace,
                format!("{path} is the namespace of dhcp-ipam itself"),
            ));
        }
        let (identity, opened) = netns
            .run(|| (Identity::current(), Rtnl::open()))
            .step(|| "enter the container's namespace")?;
        let mut rtnl = opened.map_err(Cause::cause)?;
        let link = rtnl
            .link_by_name(ifname)
            .map_err(Cause::cause)?
            .ok_or_else(|| {
                Error::new(
                    Code::Environment,
                    format!("CNI_IFNAME: the container has no interface {ifname}"),
                )
            })?;
        let mac = link.mac.filter(|mac| mac.is_usable()).ok_or_else(|| {
            Error::new(
                Code::InvalidConfig,
                format!("interface {ifname} has no Ethernet address, which DHCP needs"),
            )
        })?;
        Ok(Self {
            netns,
            cookie: match identity.step(|| "identify the container's namespace")? {
                Identity::Unique(cookie) => Some(cookie),
                Identity::Reused(_) => None,
            },
            link,
            mac,
            rtnl,
        })
    }

    /// Whether this is the interface that a lease was for.
    pub(crate) fn is(&self, place: &Place, boot: &str) -> bool {
        self.mac == place.mac && self.cookie == place.cookie && place.boot == boot
    }

    /// Sets the interface up: nothing is heard while it is down.
    pub(crate) fn raise(&mut self) -> Result<(), Error> {
        let up = self
            .link
            .change()
            .doing(format!("set {} up", self.link.name))
            .up();
        self.rtnl.execute(up.request()).map_err(Cause::cause)
    }

    /// Whether the interface has an address.
    pub(crate) fn has(&mut self, cidr: Cidr) -> Result<bool, Error> {
        let addresses = self.rtnl.addresses(&self.link).map_err(Cause::cause)?;
        Ok(addresses.iter().any(|address| address.cidr == cidr))
    }

    /// Gives it one.
    pub(crate) fn give(&mut self, cidr: Cidr) -> Result<(), Error> {
        let request = addr::ensure(&self.link, cidr);
        self.rtnl.execute(request).map_err(Cause::cause)
    }

    /// Takes one away.
    pub(crate) fn take(&mut self, cidr: Cidr) -> Result<(), Error> {
        let request = addr::remove(&self.link, cidr);
        self.rtnl.execute(request).map_err(Cause::cause)
    }

    /// Tells the neighbours where an address is that the interface has got: the cache of one may still have the interface
    /// that had it before (RFC 5227, 2.3; RFC 4861, 7.2.6).
    pub(crate) fn announce(&self, cidr: Cidr) -> Result<(), Error> {
        let frame = announce::frame(self.mac, cidr.address());
        self.netns
            .run(|| PacketSocket::open(self.link.index, Hears::Nothing)?.send(&frame))
            .step(|| "enter the container's namespace")?
            .step(|| format!("announce {cidr}"))
    }

    /// Gives the interface the MTU of a lease, or the `usual` one where an earlier lease had changed it. Less than IPv6
    /// needs is for the routes alone: with it on the interface the kernel would take all IPv6 away.
    pub(crate) fn fit(
        &mut self,
        old: Option<&Terms>,
        new: Option<&Terms>,
        usual: Option<u32>,
    ) -> Result<(), Error> {
        let of = |terms: Option<&Terms>| terms?.mtu.filter(|mtu| *mtu >= IPV6_MIN_MTU);
        let wanted = match (of(old), of(new)) {
            (_, Some(mtu)) => Some(mtu),
            (Some(_), None) if new.is_some() => usual,
            (_, None) => None,
        };
        let Some(mtu) = wanted.filter(|mtu| *mtu != self.link.mtu) else {
            return Ok(());
        };
        let doing = format!("set the mtu of {} to {mtu}", self.link.name);
        let change = self.link.change().doing(doing).mtu(mtu);
        self.rtnl.execute(change.request()).map_err(Cause::cause)
    }

    /// Replaces what one lease gave by what another gives: first the new, then the old goes, so that there is no moment
    /// without an address.
    ///
    /// Each step is tried whatever became of those before it; the first failure is reported.
    pub(crate) fn apply(
        &mut self,
        old: Option<&Terms>,
        new: Option<&Terms>,
        wishes: Wishes,
    ) -> Result<(), Error> {
        let mut failures = Vec::new();
        let (old_cidr, new_cidr) = (old.map(Terms::cidr), new.map(Terms::cidr));
        let old_routes = installed(old, wishes)?;
        let new_routes = installed(new, wishes)?;
        if let Some(cidr) = new_cidr.filter(|cidr| Some(*cidr) != old_cidr) {
            let request = addr::ensure(&self.link, cidr);
            failures.extend(self.rtnl.execute(request).err());
        }
        let gone = |each: &&Route| !new_routes.iter().any(|new| in_place_of(new, each));
        for each in old_routes.iter().filter(gone) {
            self.delete_route(each, &mut failures);
        }
        if let Some(cidr) = old_cidr.filter(|cidr| Some(*cidr) != new_cidr) {
            let request = addr::remove(&self.link, cidr);
            failures.extend(self.rtnl.execute(request).err());
        }
        // After the old address went: the kernel takes routes with it that name it as their source.
        for each in &new_routes {
            let stands = old_routes.iter().any(|old| in_place_of(each, old));
            let request = if stands && !old_routes.contains(each) {
                route::replace(&self.link, each)
            } else {
                route::ensure(&self.link, each)
            };
            failures.extend(self.rtnl.execute(request).err());
        }
        match failures.into_iter().next() {
            Some(error) => Err(error.cause()),
            None => Ok(()),
        }
    }

    /// Deletes a route whoever installed it, where it is there.
    fn delete_route(&mut self, gone: &Route, failures: &mut Vec<cni_common::netlink::Error>) {
        let found = match self.rtnl.routes(&self.link) {
            Ok(found) => found,
            Err(error) => return failures.push(error),
        };
        let same = |each: &&Route| {
            (each.dst, each.gw, each.table) == (gone.dst, gone.gw, gone.table)
                && each.priority.unwrap_or(0) == gone.priority.unwrap_or(0)
        };
        for each in found.iter().filter(same) {
            let request = route::remove(&self.link, each);
            failures.extend(self.rtnl.execute(request).err());
        }
    }
}

/// Whether the kernel has only one of two routes, so that one can take the place of the other with no moment between.
fn in_place_of(new: &Route, old: &Route) -> bool {
    (new.dst, new.table) == (old.dst, old.table)
        && new.priority.unwrap_or(0) == old.priority.unwrap_or(0)
}

/// The routes of a lease as the plugin that attached installed them.
fn installed(terms: Option<&Terms>, wishes: Wishes) -> Result<Vec<Route>, Error> {
    let Some(terms) = terms else {
        return Ok(Vec::new());
    };
    let attachment = terms.to_attachment(wishes);
    let routes = routes::to_install(&attachment.routes, &attachment.ips)?;
    Ok(routes
        .into_iter()
        .filter(|each| each.dst.family() == Family::V4)
        .collect())
}
