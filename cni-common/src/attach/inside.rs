//! The container's side of an attachment.

use std::time::Duration;

use crate::addr::{Cidr, Family};
use crate::announce;
use crate::code::Code;
use crate::error::{Cause, Error, Step};
use crate::ident::IfName;
use crate::log;
use crate::netlink::addr::Detection;
use crate::netlink::link::Link;
use crate::netlink::route::Route;
use crate::netlink::{Rtnl, addr, multipath};
use crate::netns::Netns;
use crate::sysctl::{Folder, Outcome};

/// The smallest MTU with which the kernel runs IPv6 on a link (`IPV6_MIN_MTU`, `linux/ipv6.h`; RFC 8200 section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// How long the kernel may take over what it leaves to a worker: a link that comes up, an address that works. As long as
/// the reference plugin waits for addresses (`SettleAddresses`); where namespaces go away in numbers it was seen to take 2.6 s.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the container's interface is to have.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The addresses.
    pub addresses: &'a [Cidr],
    /// The routes, in an order in which the kernel takes them.
    pub routes: &'a [Route],
    /// Whether IPv6 addresses are probed for before they are used.
    pub detection: Detection,
}

/// The inside of the container's namespace.
#[derive(Debug)]
pub struct Inside {
    /// A socket of that namespace.
    pub rtnl: Rtnl,
    /// Whether the IPAM plugin had the link, and may have left addresses and routes on it.
    lent: bool,
}

impl Inside {
    /// Opens a socket inside, and makes sure that the interface's name is free.
    ///
    /// # Errors
    /// Code 101 when it is not: the attachment that has it stays as it is.
    pub fn open(netns: &Netns, ifname: &IfName) -> Result<Self, Error> {
        let mut rtnl = netns
            .run(Rtnl::open)
            .step(|| "enter the container's namespace")?
            .map_err(Cause::cause)?;
        if let Some(link) = rtnl.link_by_name(ifname).map_err(Cause::cause)? {
            let kind = link.kind.as_deref().unwrap_or("hardware");
            return Err(taken(ifname, kind));
        }
        Ok(Self { rtnl, lent: false })
    }

    /// Sets the interface up for an IPAM plugin that works over it. Router advertisements are ignored from before that
    /// moment, unless the plugin itself wants them: it has the last word on them.
    pub fn lend(&mut self, netns: &Netns, link: &Link, detection: Detection) -> Result<(), Error> {
        netns
            .run(|| set_ipv6(&link.name, &ipv6_settings(detection)))
            .step(|| "enter the container's namespace")?;
        self.lent = true;
        let up = link.change().doing(format!("set {} up", link.name)).up();
        self.rtnl.execute(up.request()).map_err(Cause::cause)
    }

    /// Sets the interface up with its addresses and routes, all in one datagram.
    pub fn configure(
        &mut self,
        netns: &Netns,
        link: &Link,
        setup: &Setup<'_>,
    ) -> Result<(), Error> {
        let has = |family: Family| {
            let mut addresses = setup.addresses.iter();
            addresses.any(|address| address.family() == family)
        };
        if has(Family::V6) && link.mtu < IPV6_MIN_MTU {
            return Err(Error::new(
                Code::InvalidConfig,
                format!(
                    "mtu: {} is too small for {}, which is to have an IPv6 address: IPv6 needs {IPV6_MIN_MTU}",
                    link.mtu, link.name
                ),
            ));
        }
        if has(Family::V6) {
            let settings = ipv6_settings(setup.detection);
            let settings = if self.lent {
                // As the IPAM plugin left it.
                settings.get(1..).unwrap_or_default()
            } else {
                &settings
            };
            netns
                .run(|| enabled_ipv6(&link.name).map(|folder| folder.set_all(settings)))
                .step(|| "enter the container's namespace")??;
        }
        let (mut addresses, mut routes) = (setup.addresses.to_vec(), setup.routes.to_vec());
        if self.lent {
            self.leave_out_present(link, &mut addresses, &mut routes)?;
        }
        let mut up = link.change().doing(format!("set {} up", link.name)).up();
        if has(Family::V4) {
            up = up.arp_notify();
        }
        let addresses = addresses
            .iter()
            .map(|cidr| addr::add_with(link, *cidr, setup.detection));
        let requests = core::iter::once(up.request())
            .chain(addresses)
            .chain(multipath::add_all(link, &routes));
        self.rtnl.batch(requests.collect()).map_err(Cause::cause)
    }

    /// Leaves out what the interface has by router advertisements: added once more it would fail, and a route would lose
    /// its lifetime.
    fn leave_out_present(
        &mut self,
        link: &Link,
        addresses: &mut Vec<Cidr>,
        routes: &mut Vec<Route>,
    ) -> Result<(), Error> {
        let present = self.rtnl.addresses(link).map_err(Cause::cause)?;
        addresses.retain(|cidr| !present.iter().any(|found| found.cidr == *cidr));
        let present = self.rtnl.routes(link).map_err(Cause::cause)?;
        let same = |found: &Route, wanted: &Route| {
            found.dst.family() == Family::V6
                && (found.dst, found.gw, found.table) == (wanted.dst, wanted.gw, wanted.table)
                && wanted
                    .priority
                    .is_none_or(|_| found.priority == wanted.priority)
        };
        routes.retain(|wanted| !present.iter().any(|found| same(found, wanted)));
        Ok(())
    }

    /// Announces the addresses; the attachment works without. Returns before it is done.
    pub fn announce(&mut self, netns: &Netns, link: &Link, addresses: &[Cidr]) {
        let addresses: Vec<_> = addresses.iter().map(|cidr| cidr.address()).collect();
        if let Err(error) = announce::announce(netns, &mut self.rtnl, link, &addresses) {
            log::warning(format_args!("{error}"));
        }
    }
}

/// The error for an interface name that is taken in the container.
pub fn taken(ifname: &IfName, kind: &str) -> Error {
    Error::new(
        Code::Taken,
        format!("CNI_IFNAME: the container has an interface {ifname} already, of kind {kind}"),
    )
}

/// Waits until the IPv6 addresses among these work on a link.
///
/// # Errors
/// Code 11 when one does not in time.
pub fn take_in(
    rtnl: &mut Rtnl,
    link: &Link,
    addresses: impl Iterator<Item = Cidr>,
) -> Result<(), Error> {
    for address in addresses.map(Cidr::address) {
        let works = address.is_ipv4()
            || rtnl
                .taken_in(link, address, PATIENCE)
                .map_err(Cause::cause)?;
        if !works {
            return Err(Error::new(
                Code::TryAgain,
                format!(
                    "{address} on {} does not work after {PATIENCE:?}",
                    link.name
                ),
            ));
        }
    }
    Ok(())
}

/// Settings of the container's link before its first IPv6 address.
fn ipv6_settings(detection: Detection) -> [(&'static str, &'static str); 4] {
    let probe = match detection {
        Detection::Skip => "0",
        Detection::Probe => "1",
    };
    [
        // Its addresses come from the IPAM plugin; whoever is on the same link could send it others.
        ("accept_ra", "0"),
        ("accept_dad", probe),
        // Else setting the link down would lose them, IPv4's stay.
        ("keep_addr_on_down", "1"),
        ("ndisc_notify", "1"),
    ]
}

/// Sets a link's IPv6 settings where the kernel has them; a container works without.
fn set_ipv6(link: &str, settings: &[(&str, &str)]) {
    match Ipv6::of(link) {
        Ok(Some(ipv6)) => ipv6.set_all(settings),
        Ok(None) => {}
        Err(error) => log::warning(format_args!("{error}")),
    }
}

/// Switches IPv6 on for a link of the calling thread's namespace, where it is off.
///
/// # Errors
/// Code 100 where it is off and cannot be switched on: an address would be refused without a reason.
pub fn enable_ipv6(link: &str) -> Result<(), Error> {
    enabled_ipv6(link).map(|_| ())
}

/// The IPv6 parameters of a link.
struct Ipv6 {
    folder: Folder,
    name: String,
}

impl Ipv6 {
    fn of(link: &str) -> Result<Option<Self>, Error> {
        let name = format!("net/ipv6/conf/{link}");
        let folder = Folder::open(&name).step(|| format!("open {name}"))?;
        Ok(folder.map(|folder| Self { folder, name }))
    }

    fn set_all(&self, settings: &[(&str, &str)]) {
        for (key, value) in settings {
            if let Err(error) = self.folder.set(key, value) {
                let name = &self.name;
                log::warning(format_args!("set {name}/{key} to {value}: {error}"));
            }
        }
    }
}

/// The parameters of a link, with IPv6 switched on.
fn enabled_ipv6(link: &str) -> Result<Ipv6, Error> {
    let without = || {
        Error::new(
            Code::Kernel,
            format!("link {link} cannot have an IPv6 address: this kernel runs without IPv6"),
        )
    };
    let ipv6 = Ipv6::of(link)?.ok_or_else(without)?;
    let name = format!("{}/disable_ipv6", ipv6.name);
    let set = ipv6.folder.set("disable_ipv6", "0");
    match set.step(|| format!("set {name} to 0"))? {
        Outcome::Changed { .. } | Outcome::Already => Ok(ipv6),
        Outcome::Absent => Err(without()),
        Outcome::ReadOnly => Err(Error::new(
            Code::Kernel,
            format!("{name} is 1 and cannot be written: /proc/sys is read-only"),
        )),
    }
}
