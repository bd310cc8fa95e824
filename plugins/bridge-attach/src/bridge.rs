//! The bridge: made or adopted, given its gateway addresses, and removed when it was ours and is empty.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cni_common::addr::{Cidr, Family};
use cni_common::attach::inside::enable_ipv6;
use cni_common::attach::mac;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::bridge::{Ensured, NewBridge, has_fixed_address};
use cni_common::netlink::link::Link;
use cni_common::netlink::{self, Rtnl, addr};
use cni_common::sysctl::{self, Outcome};
use cni_common::undo::Undo;

use crate::config::Config;
use crate::names::{BRIDGE_MARK, HALF_MADE, REMOVAL_MARK};
use crate::plan::{GatewayStep, gateway_step};

/// Makes the bridge, or adopts the one there is, and sets it up.
///
/// # Errors
/// Code 101 when the name belongs to a link that is no bridge.
pub(crate) fn ensure(
    rtnl: &mut Rtnl,
    name: &IfName,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Link, Error> {
    let new = NewBridge {
        name,
        mac: mac::random(),
        mtu: None,
        group: Some(HALF_MADE),
    };
    // Before it is made: the answer may be what is lost. Its address tells whether it is ours.
    let (wanted, mac) = (name.clone(), new.mac);
    undo.push(format!("delete bridge {name}"), move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        match rtnl.link_by_name(&wanted).map_err(Cause::cause)? {
            Some(link) if link.is_bridge() && link.mac == Some(mac) => {
                remove_if_unused(&mut rtnl, &link)
            }
            _ => Ok(()),
        }
    });
    match ensure_lasting(rtnl, &new)? {
        Ensured::Created(link) => prepare(rtnl, link, config),
        // Whoever makes it is about to do the same, or has crashed.
        Ensured::Found(link) if is_half_made(&link) => prepare(rtnl, link, config),
        Ensured::Found(link) if link.is_bridge() => adopt(rtnl, link, config, undo),
        Ensured::Found(link) => Err(Error::new(
            Code::Taken,
            format!(
                "bridge: {:?} exists already and is not a bridge but a link of kind {}",
                link.name,
                link.kind.as_deref().unwrap_or("hardware")
            ),
        )),
    }
}

/// Whether the plugin made the bridge, and so may remove it.
pub(crate) fn is_ours(bridge: &Link) -> bool {
    matches!(bridge.alias.as_deref(), Some(BRIDGE_MARK | REMOVAL_MARK))
}

/// Whether the plugin made the bridge and has not marked it yet.
fn is_half_made(bridge: &Link) -> bool {
    bridge.is_bridge() && bridge.group == HALF_MADE
}

/// Whether somebody is about to delete the bridge.
pub(crate) fn is_marked_for_removal(bridge: &Link) -> bool {
    bridge.alias.as_deref() == Some(REMOVAL_MARK)
}

/// Makes or finds the bridge, and waits for one that is being removed. A removal that takes too long has crashed:
/// then the bridge is taken over.
fn ensure_lasting(rtnl: &mut Rtnl, new: &NewBridge<'_>) -> Result<Ensured, Error> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let begin = Instant::now();
    loop {
        match rtnl.ensure_bridge(new).map_err(Cause::cause)? {
            Ensured::Found(link) if is_marked_for_removal(&link) => {
                if begin.elapsed() > PATIENCE {
                    mark(rtnl, &link, BRIDGE_MARK)?;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            ensured @ (Ensured::Created(_) | Ensured::Found(_)) => return Ok(ensured),
        }
    }
}

fn mark(rtnl: &mut Rtnl, bridge: &Link, mark: &str) -> Result<(), Error> {
    let change = bridge.change().alias(mark);
    let doing = format!("mark bridge {}", bridge.name);
    rtnl.execute(change.doing(doing).request())
        .map_err(Cause::cause)
}

/// Marks a bridge that was just made, and sets it up.
fn prepare(rtnl: &mut Rtnl, link: Link, config: &Config) -> Result<Link, Error> {
    // What containers send must neither configure the host nor delay its addresses.
    for key in ["accept_ra", "accept_dad"] {
        let name = format!("net/ipv6/conf/{}/{key}", link.name);
        if let Err(error) = sysctl::set(&name, "0") {
            log::warning(format_args!("set {name} to 0: {error}"));
        }
    }
    let mut change = link.change().alias(BRIDGE_MARK).group(0).up();
    if config.promisc {
        change = change.promisc(true);
    }
    if let Some(mtu) = config.mtu.filter(|mtu| *mtu != link.mtu) {
        change = change.mtu(mtu);
    }
    let doing = format!("set up bridge {}", link.name);
    rtnl.execute(change.doing(doing).request())
        .map_err(Cause::cause)?;
    let mtu = config.mtu.unwrap_or(link.mtu);
    Ok(Link { mtu, ..link })
}

fn adopt(rtnl: &mut Rtnl, link: Link, config: &Config, undo: &mut Undo<'_>) -> Result<Link, Error> {
    // The kernel gives a bridge the lowest of its ports' addresses, so that the gateway's address changes under
    // all containers when one comes or goes, unless somebody has set it.
    let pin = link.alias.as_deref() != Some(BRIDGE_MARK) && has_fixed_address(&link) != Some(true);
    let raise_promisc = config.promisc && !link.promisc;
    if link.up && !raise_promisc && !pin {
        return Ok(link);
    }
    let mut change = link
        .change()
        .doing(format!("adopt bridge {}", link.name))
        .up();
    if raise_promisc {
        change = change.promisc(true);
    }
    if let Some(mac) = link.mac.filter(|_| pin) {
        change = change.mac(mac);
    }
    let (was_up, before) = (link.up, link.clone());
    undo.push(format!("put bridge {} back", link.name), move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        let mut change = before.change();
        if raise_promisc {
            change = change.promisc(false);
        }
        // Somebody else's container may live on it by now.
        if !was_up && rtnl.ports_of(&before).map_err(Cause::cause)?.is_empty() {
            change = change.down();
        }
        rtnl.execute(change.request()).map_err(Cause::cause)
    });
    rtnl.execute(change.request()).map_err(Cause::cause)?;
    Ok(link)
}

/// Puts the bridge's MTU back to what it was before a port with a smaller one joined: the kernel makes it
/// follow the smallest port until it has been set once.
pub(crate) fn keep_mtu(rtnl: &mut Rtnl, bridge: &Link, port_mtu: u32) -> Result<(), Error> {
    if port_mtu >= bridge.mtu {
        return Ok(());
    }
    let now = rtnl.link_by_index(bridge.index).map_err(Cause::cause)?;
    if now.is_none_or(|now| now.mtu == bridge.mtu) {
        return Ok(());
    }
    let change = bridge.change().mtu(bridge.mtu);
    let doing = format!("keep the mtu of bridge {}", bridge.name);
    rtnl.execute(change.doing(doing).request())
        .map_err(Cause::cause)
}

/// The addresses that a bridge is to have.
pub(crate) struct Gateways<'a> {
    pub(crate) bridge: &'a Link,
    pub(crate) planned: &'a [Cidr],
    /// `forceAddress`.
    pub(crate) force: bool,
}

impl Gateways<'_> {
    /// Gives the bridge the addresses.
    ///
    /// # Errors
    /// Code 101 when another address is in the way and `forceAddress` is not set.
    pub(crate) fn add(&self, rtnl: &mut Rtnl, undo: &mut Undo<'_>) -> Result<(), Error> {
        if self.planned.is_empty() {
            return Ok(());
        }
        if self.planned.iter().any(|each| each.family() == Family::V6) {
            enable_ipv6(&self.bridge.name)?;
        }
        let present = rtnl.addresses(self.bridge).map_err(Cause::cause)?;
        let present: Vec<Cidr> = present.iter().map(|address| address.cidr).collect();
        for wanted in self.planned {
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
                            "bridge {} has the address {other} already, beside which {wanted} cannot stand; forceAddress: true replaces it",
                            self.bridge.name
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
        let before = ports(rtnl, self.bridge)?;
        let added = rtnl.execute(addr::add(self.bridge, cidr));
        // Another ADD was quicker.
        if added.as_ref().is_err_and(netlink::Error::is_taken) {
            return Ok(());
        }
        // After any other failure as well: what failed may be reading the answer.
        let bridge = self.bridge.clone();
        undo.push(format!("delete {cidr} from {}", bridge.name), move || {
            let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
            // For a container that joined since it may be the gateway.
            if !ports(&mut rtnl, &bridge)?.is_subset(&before) {
                return Ok(());
            }
            match rtnl.execute(addr::delete(&bridge, cidr)) {
                Err(error) if !error.is_absent() => Err(error.cause()),
                _ => Ok(()),
            }
        });
        added.map_err(Cause::cause)
    }

    fn remove_one(&self, rtnl: &mut Rtnl, cidr: Cidr, undo: &mut Undo<'_>) -> Result<(), Error> {
        let removed = rtnl.execute(addr::delete(self.bridge, cidr));
        if removed.as_ref().is_err_and(netlink::Error::is_absent) {
            return Ok(());
        }
        let bridge = self.bridge.clone();
        undo.push(format!("give {cidr} back to {}", bridge.name), move || {
            let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
            match rtnl.execute(addr::add(&bridge, cidr)) {
                Err(error) if !error.is_taken() => Err(error.cause()),
                _ => Ok(()),
            }
        });
        removed.map_err(Cause::cause)
    }
}

/// Lets the host forward for each family that has its gateway on the bridge.
pub(crate) fn forward(gateways: &[Cidr], undo: &mut Undo<'_>) -> Result<(), Error> {
    let switches = [
        (Family::V4, "net/ipv4/ip_forward"),
        (Family::V6, "net/ipv6/conf/all/forwarding"),
    ];
    for (family, name) in switches {
        if !gateways.iter().any(|each| each.family() == family) {
            continue;
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

/// Removes a bridge that the plugin made and that has no port left.
pub(crate) fn remove_if_empty(rtnl: &mut Rtnl, name: &IfName) -> Result<(), Error> {
    match rtnl.link_by_name(name).map_err(Cause::cause)? {
        Some(link) if link.is_bridge() && is_ours(&link) => remove_if_unused(rtnl, &link),
        Some(link) if is_half_made(&link) => remove_abandoned(rtnl, &link),
        _ => Ok(()),
    }
}

/// Removes a bridge whose ADD crashed before it marked it.
fn remove_abandoned(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    /// How long its ADD may take if it lives: it takes microseconds.
    const BEING_MADE: Duration = Duration::from_millis(50);
    std::thread::sleep(BEING_MADE);
    match rtnl.link_by_index(bridge.index).map_err(Cause::cause)? {
        Some(link) if is_half_made(&link) => remove_if_unused(rtnl, &link),
        _ => Ok(()),
    }
}

/// Deletes the bridge unless it has a port.
///
/// An ADD may be joining it. So it is marked first, and looked at again: an ADD whose port came too late to be
/// seen here sees the mark afterwards, and begins anew. The kernel does one after the other.
pub(crate) fn remove_if_unused(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    match try_remove(rtnl, bridge) {
        // Somebody else removed it.
        Err(error) if error.is_absent() => Ok(()),
        other => other.map_err(Cause::cause),
    }
}

fn try_remove(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), cni_common::netlink::Error> {
    if !rtnl.ports_of(bridge)?.is_empty() {
        return Ok(());
    }
    rtnl.execute(bridge.change().alias(REMOVAL_MARK).request())?;
    if rtnl.ports_of(bridge)?.is_empty() {
        return rtnl.delete_link_detached(bridge);
    }
    rtnl.execute(bridge.change().alias(BRIDGE_MARK).request())
}
