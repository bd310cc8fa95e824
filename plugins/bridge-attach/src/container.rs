//! The container's side of an attachment.

use cni_common::addr::{Cidr, Family};
use cni_common::announce::Announcer;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::addr::Detection;
use cni_common::netlink::link::Link;
use cni_common::netlink::{Rtnl, addr, route};
use cni_common::netns::Netns;
use cni_common::sysctl;

use crate::bridge::enable_ipv6;
use crate::config::Config;
use crate::plan::Plan;

/// The inside of the container's namespace.
pub(crate) struct Inside {
    pub(crate) rtnl: Rtnl,
    announcer: Option<Announcer>,
}

impl Inside {
    /// Opens a socket inside, and makes sure that the interface's name is free.
    ///
    /// # Errors
    /// Code 101 when it is not: the attachment that has it stays as it is.
    pub(crate) fn open(netns: &Netns, ifname: &IfName) -> Result<Self, Error> {
        let mut rtnl = netns
            .run(Rtnl::open)
            .step(|| "enter the container's namespace")?
            .map_err(Cause::cause)?;
        if let Some(link) = rtnl.link_by_name(ifname).map_err(Cause::cause)? {
            let kind = link.kind.as_deref().unwrap_or("hardware");
            return Err(taken(ifname, kind));
        }
        Ok(Self {
            rtnl,
            announcer: None,
        })
    }

    /// Sets the container end up with its addresses and routes, all in one datagram.
    pub(crate) fn configure(
        &mut self,
        netns: &Netns,
        link: &Link,
        config: &Config,
        plan: &Plan,
    ) -> Result<(), Error> {
        let detection = if config.detect_duplicates {
            Detection::Probe
        } else {
            Detection::Skip
        };
        let families: Vec<Family> = [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| plan.has(*family))
            .collect();
        if !families.is_empty() {
            self.announcer = netns
                .run(|| prepare(&link.name, &families, detection))
                .step(|| "enter the container's namespace")??;
        }
        let up = link.change().doing(format!("set {} up", link.name)).up();
        let addresses = plan
            .addresses()
            .map(|cidr| addr::add_with(link, cidr, detection));
        let routes = plan.container_routes.iter();
        let requests = core::iter::once(up.request())
            .chain(addresses)
            .chain(routes.map(|each| route::add(link, each)));
        self.rtnl.batch(requests.collect()).map_err(Cause::cause)
    }

    /// Announces the addresses; the attachment works without.
    pub(crate) fn announce(&mut self, link: &Link, plan: &Plan) {
        let addresses: Vec<_> = plan.addresses().map(Cidr::address).collect();
        if let Some(announcer) = &self.announcer
            && let Err(error) = announcer.announce(&mut self.rtnl, link, &addresses)
        {
            log::warning(format_args!("{error}"));
        }
    }
}

/// The error for an interface name that is taken in the container.
pub(crate) fn taken(ifname: &IfName, kind: &str) -> Error {
    Error::new(
        Code::Taken,
        format!("CNI_IFNAME: the container has an interface {ifname} already, of kind {kind}"),
    )
}

/// Settings of the container's link before its first address.
fn prepare(
    link: &str,
    families: &[Family],
    detection: Detection,
) -> Result<Option<Announcer>, Error> {
    if families.contains(&Family::V6) {
        prepare_ipv6(link, detection)?;
    }
    let announcer = Announcer::prepare(link, families);
    if let Err(error) = &announcer {
        log::warning(format_args!(
            "the addresses of {link} will not be announced: {error}"
        ));
    }
    Ok(announcer.ok())
}

/// Settings of the container's link before its first IPv6 address.
fn prepare_ipv6(link: &str, detection: Detection) -> Result<(), Error> {
    enable_ipv6(link)?;
    let probe = match detection {
        Detection::Skip => "0",
        Detection::Probe => "1",
    };
    let settings = [
        // Its addresses come from the IPAM plugin; whoever is on the bridge could send it others.
        ("accept_ra", "0"),
        ("accept_dad", probe),
        // Else setting the link down would lose them, IPv4's stay.
        ("keep_addr_on_down", "1"),
    ];
    for (key, value) in settings {
        let name = format!("net/ipv6/conf/{link}/{key}");
        if let Err(error) = sysctl::set(&name, value) {
            log::warning(format_args!("set {name} to {value}: {error}"));
        }
    }
    Ok(())
}
