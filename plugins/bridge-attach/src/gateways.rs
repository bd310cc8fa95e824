//! The gateway addresses of the containers, and forwarding for them.

use std::collections::BTreeSet;

use cni_common::addr::{Cidr, Family};
use cni_common::attach::check::{drift, shown};
use cni_common::attach::inside::enable_ipv6;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::netlink::link::Link;
use cni_common::netlink::{self, Rtnl, addr};
use cni_common::sysctl::{self, Outcome};
use cni_common::undo::Undo;

use crate::plan::{GatewayStep, gateway_step};

/// The gateway addresses that the host is to have.
pub(crate) struct Gateways<'a> {
    pub(crate) bridge: &'a Link,
    /// The interface that carries them: the bridge, or that of a VLAN.
    pub(crate) carrier: &'a Link,
    pub(crate) planned: &'a [Cidr],
    /// `forceAddress`.
    pub(crate) force: bool,
    /// `manageBridge`: where it is `false` the addresses must be there.
    pub(crate) manage: bool,
}

impl Gateways<'_> {
    /// Adds the addresses.
    ///
    /// # Errors
    /// Code 101 when another address is in the way and `forceAddress` is not set.
    pub(crate) fn add(&self, rtnl: &mut Rtnl, undo: &mut Undo<'_>) -> Result<(), Error> {
        if self.planned.is_empty() {
            return Ok(());
        }
        let present = rtnl.addresses(self.carrier).map_err(Cause::cause)?;
        let present: Vec<Cidr> = present.iter().map(|address| address.cidr).collect();
        for wanted in self.planned {
            if !self.manage && !present.contains(wanted) {
                return Err(Error::new(
                    Code::InvalidConfig,
                    format!(
                        "isGateway: manageBridge is false, and bridge {} has no address {wanted}",
                        self.carrier.name
                    ),
                ));
            }
            match gateway_step(*wanted, &present, self.planned, self.force) {
                GatewayStep::Keep => {}
                GatewayStep::Add => self.add_one(rtnl, *wanted, undo)?,
                GatewayStep::Replace(others) => {
                    for other in others {
                        self.remove_one(rtnl, other, undo)?;
                    }
                    self.add_one(rtnl, *wanted, undo)?;
                }
                GatewayStep::Refuse(other) => {
                    return Err(Error::new(
                        Code::Taken,
                        format!(
                            "{} has the address {other} already, beside which {wanted} cannot stand; forceAddress: true replaces it",
                            self.carrier.name
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn add_one(&self, rtnl: &mut Rtnl, cidr: Cidr, undo: &mut Undo<'_>) -> Result<(), Error> {
        let ports = |rtnl: &mut Rtnl, bridge: &Link| -> Result<BTreeSet<u32>, Error> {
            let ports = rtnl.ports_of(bridge).map_err(Cause::cause)?;
            Ok(ports.iter().map(|port| port.index).collect())
        };
        if self.manage && cidr.family() == Family::V6 {
            enable_ipv6(&self.carrier.name)?;
        }
        let before = ports(rtnl, self.bridge)?;
        let added = rtnl.execute(addr::add(self.carrier, cidr));
        // Another ADD was quicker.
        if added.as_ref().is_err_and(netlink::Error::is_taken) {
            return Ok(());
        }
        // After any other failure as well: what failed may be reading the answer.
        let (bridge, carrier) = (self.bridge.clone(), self.carrier.clone());
        undo.push(format!("delete {cidr} from {}", carrier.name), move || {
            let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
            // For a container that joined since it may be the gateway.
            if !ports(&mut rtnl, &bridge)?.is_subset(&before) {
                return Ok(());
            }
            match rtnl.execute(addr::delete(&carrier, cidr)) {
                Err(error) if !error.is_absent() => Err(error.cause()),
                _ => Ok(()),
            }
        });
        added.map_err(Cause::cause)
    }

    fn remove_one(&self, rtnl: &mut Rtnl, cidr: Cidr, undo: &mut Undo<'_>) -> Result<(), Error> {
        let removed = rtnl.execute(addr::delete(self.carrier, cidr));
        if removed.as_ref().is_err_and(netlink::Error::is_absent) {
            return Ok(());
        }
        let carrier = self.carrier.clone();
        undo.push(format!("give {cidr} back to {}", carrier.name), move || {
            let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
            match rtnl.execute(addr::add(&carrier, cidr)) {
                Err(error) if !error.is_taken() => Err(error.cause()),
                _ => Ok(()),
            }
        });
        removed.map_err(Cause::cause)
    }
}

/// The parameters that let the host forward for these gateways.
fn switches(gateways: &[Cidr]) -> impl Iterator<Item = (Family, &'static str)> {
    let all = [
        (Family::V4, "net/ipv4/ip_forward"),
        (Family::V6, "net/ipv6/conf/all/forwarding"),
    ];
    let used = |family| gateways.iter().any(|each| each.family() == family);
    all.into_iter().filter(move |(family, _)| used(*family))
}

/// Compares whether the host forwards.
pub(crate) fn check_forwarding(gateways: &[Cidr]) -> Result<(), Error> {
    for (_, name) in switches(gateways) {
        let found = sysctl::read(name).step(|| format!("read {name}"))?;
        if found.as_deref() != Some("1") {
            return Err(drift(name, "1", shown(found)));
        }
    }
    Ok(())
}

/// Lets the host forward for each family that has its gateway on the bridge.
pub(crate) fn forward(
    rtnl: &mut Rtnl,
    gateways: &[Cidr],
    undo: &mut Undo<'_>,
) -> Result<(), Error> {
    for (family, name) in switches(gateways) {
        if rtnl.forwarding(family) == Some(1) {
            continue;
        }
        if family == Family::V6
            && sysctl::read(name)
                .step(|| format!("read {name}"))?
                .as_deref()
                == Some("0")
        {
            keep_advertised_routes(undo)?;
        }
        match sysctl::set(name, "1").step(|| format!("set {name} to 1"))? {
            Outcome::Already => {}
            Outcome::Changed { from } => {
                undo.push(format!("set {name} to {from}"), move || {
                    sysctl::set(name, &from).step(|| "write it").map(|_| ())
                });
            }
            Outcome::Absent | Outcome::ReadOnly => {
                return Err(Error::new(
                    Code::Kernel,
                    format!(
                        "isGateway: {name} is 0 and cannot be written, so the host does not forward {family}"
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// A host that forwards IPv6 loses what routers advertise on links whose `accept_ra` is 1.
fn keep_advertised_routes(undo: &mut Undo<'_>) -> Result<(), Error> {
    let step = || "look for router advertisements";
    let links = Rtnl::open()
        .and_then(|mut rtnl| rtnl.advertised_links())
        .step(step)?;
    for link in links {
        let name = format!("net/ipv6/conf/{link}/accept_ra");
        if sysctl::read(&name).step(step)?.as_deref() != Some("1") {
            continue;
        }
        if let Outcome::Changed { from } =
            sysctl::set(&name, "2").step(|| format!("set {name} to 2"))?
        {
            undo.push(format!("set {name} to {from}"), move || {
                sysctl::set(&name, &from).step(|| "write it").map(|_| ())
            });
        }
    }
    Ok(())
}
