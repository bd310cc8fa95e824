//! `<bridge>.<vlan>`: the interface that carries the gateway addresses of a VLAN.
//!
//! As the reference plugin has it, it is one end of a veth whose other end is a port of the bridge in that VLAN. The
//! alias of each host end that needs it says so; it goes with the last of them.

use std::time::{Duration, Instant};

use cni_common::attach::check::drift;
use cni_common::attach::inside::PATIENCE;
use cni_common::attach::mac;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::link::Link;
use cni_common::netlink::membership::{Vlans, listed};
use cni_common::netlink::veth::NewVeth;
use cni_common::netlink::{self, Rtnl};
use cni_common::netns::Netns;
use cni_common::sysctl;
use cni_common::undo::Undo;

use crate::config::gateway_name;
use crate::names::{self, GATEWAY_REMOVAL_MARK, Mark};

fn names_of(bridge: &Link, vlan: u16) -> Result<(IfName, IfName), Error> {
    let impossible = |invalid| Error::new(Code::InvalidConfig, format!("bridge: {invalid}"));
    let bridge = IfName::parse(&bridge.name).map_err(impossible)?;
    let name = gateway_name(&bridge, vlan).map_err(impossible)?;
    Ok((name, names::gateway_port(&bridge, vlan)?))
}

/// Pushes the removal; to be called before the host end is made, so that it is undone after that.
pub(crate) fn undo(bridge: &Link, vlan: u16, undo: &mut Undo<'_>) {
    let bridge = bridge.clone();
    undo.push(format!("remove the gateway of VLAN {vlan}"), move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        remove_if_unused(&mut rtnl, &bridge, vlan)
    });
}

/// The interface, if it is there.
pub(crate) fn find(rtnl: &mut Rtnl, bridge: &Link, vlan: u16) -> Result<Option<Link>, Error> {
    let (name, _) = names_of(bridge, vlan)?;
    rtnl.link_by_name(&name).map_err(Cause::cause)
}

/// Makes the interface or finds it. The host end that needs it must be marked already.
pub(crate) fn ensure(
    rtnl: &mut Rtnl,
    bridge: &Link,
    vlan: u16,
    leaves: Option<Vlans>,
) -> Result<Link, Error> {
    /// A removal that takes longer has crashed.
    const REMOVAL: Duration = Duration::from_secs(1);
    let (name, port_name) = names_of(bridge, vlan)?;
    let begun = Instant::now();
    loop {
        let port = rtnl.link_by_name(&port_name).map_err(Cause::cause)?;
        let link = rtnl.link_by_name(&name).map_err(Cause::cause)?;
        match (link, port) {
            (Some(_), Some(port)) if is_leaving(&port) => {
                if begun.elapsed() > REMOVAL {
                    mark(rtnl, &port, "")?;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            (Some(link), Some(port)) if port.peer == Some(link.index) => {
                if !(link.up && port.up) {
                    set_up(rtnl, &link, &port, vlan, leaves)?;
                }
                return settled(rtnl, link, &port);
            }
            // Somebody else's, as the reference plugin's.
            (Some(link), _) => return Ok(link),
            (None, _) => {
                let here = Netns::current().step(|| "open the host's network namespace")?;
                match make(rtnl, &here, bridge, (&name, &port_name)) {
                    Err(error) if error.is_taken() && begun.elapsed() < REMOVAL => {}
                    Err(error) => return Err(error.cause()),
                    Ok(()) => {}
                }
            }
        }
    }
}

fn make(
    rtnl: &mut Rtnl,
    here: &Netns,
    bridge: &Link,
    (name, port): (&IfName, &IfName),
) -> Result<(), netlink::Error> {
    rtnl.add_veth(&NewVeth {
        name: port,
        mac: mac::random(),
        master: Some(bridge.index),
        peer: name,
        peer_mac: mac::random(),
        peer_netns: here,
        mtu: Some(bridge.mtu),
        group: None,
    })
    .map(|_| ())
}

/// The port is a member of its VLAN before it is up.
fn set_up(
    rtnl: &mut Rtnl,
    link: &Link,
    port: &Link,
    vlan: u16,
    leaves: Option<Vlans>,
) -> Result<(), Error> {
    for key in ["accept_ra", "accept_dad"] {
        let name = format!("net/ipv6/conf/{}/{key}", link.name);
        if let Err(error) = sysctl::set(&name, "0") {
            log::warning(format_args!("set {name} to 0: {error}"));
        }
    }
    let mut requests = vec![
        port.without_link_local(),
        port.add_vlans(&[Vlans::untagged(vlan)]),
    ];
    requests.extend(leaves.map(|leaves| port.delete_vlans(&[leaves])));
    requests.push(
        link.change()
            .doing(format!("set {} up", link.name))
            .up()
            .request(),
    );
    requests.push(
        port.change()
            .doing(format!("set {} up", port.name))
            .up()
            .request(),
    );
    rtnl.batch(requests).map_err(Cause::cause)
}

fn settled(rtnl: &mut Rtnl, link: Link, port: &Link) -> Result<Link, Error> {
    rtnl.settled(port.index, PATIENCE).map_err(Cause::cause)?;
    let now = rtnl.settled(link.index, PATIENCE).map_err(Cause::cause)?;
    Ok(now.unwrap_or(link))
}

/// Compares the port that leads to the interface, where the plugin made it.
pub(crate) fn check(rtnl: &mut Rtnl, bridge: &Link, link: &Link, vlan: u16) -> Result<(), Error> {
    let (_, port_name) = names_of(bridge, vlan)?;
    let port = rtnl.link_by_name(&port_name).map_err(Cause::cause)?;
    let Some(port) = port.filter(|port| port.peer == Some(link.index)) else {
        return Ok(());
    };
    if port.master != Some(bridge.index) {
        let what = format!("bridge of {port_name}");
        return Err(drift(&what, &bridge.name, "another or none"));
    }
    if !port.up {
        return Err(drift(&format!("state of {port_name}"), "up", "down"));
    }
    let found = rtnl.vlans_of(&port).map_err(Cause::cause)?;
    let wanted = Vlans::untagged(vlan);
    if !found.contains(&wanted) {
        let what = format!("VLANs of {port_name}");
        return Err(drift(&what, wanted, listed(&found)));
    }
    Ok(())
}

fn is_leaving(port: &Link) -> bool {
    port.alias.as_deref() == Some(GATEWAY_REMOVAL_MARK)
}

fn mark(rtnl: &mut Rtnl, port: &Link, mark: &str) -> Result<(), Error> {
    let doing = format!("mark link {}", port.name);
    let change = port.change().alias(mark).doing(doing);
    rtnl.execute(change.request()).map_err(Cause::cause)
}

/// Whether a host end on the bridge needs the gateway of a VLAN.
fn is_used(rtnl: &mut Rtnl, bridge: &Link, vlan: u16) -> Result<bool, Error> {
    let ports = rtnl.ports_of(bridge).map_err(Cause::cause)?;
    Ok(ports.iter().any(|port| {
        let mark = port.alias.as_deref().and_then(Mark::parse);
        mark.is_some_and(|mark| mark.gateway == Some(vlan))
    }))
}

/// Removes the interface if the plugin made it and no host end needs it.
///
/// An ADD may be about to use it. So it is marked first, and looked at again: an ADD that marked its host end too late
/// to be seen here sees this mark afterwards, and waits.
pub(crate) fn remove_if_unused(rtnl: &mut Rtnl, bridge: &Link, vlan: u16) -> Result<(), Error> {
    let (name, port_name) = names_of(bridge, vlan)?;
    let Some(port) = rtnl.link_by_name(&port_name).map_err(Cause::cause)? else {
        return Ok(());
    };
    if is_used(rtnl, bridge, vlan)? {
        return Ok(());
    }
    let removed = mark(rtnl, &port, GATEWAY_REMOVAL_MARK).and_then(|()| {
        if is_used(rtnl, bridge, vlan)? {
            return mark(rtnl, &port, "");
        }
        match rtnl.delete_link_detached(&port) {
            Err(error) if !error.is_absent() => Err(error.cause()),
            _ => Ok(()),
        }
    });
    // Somebody else was quicker.
    if removed.is_err()
        && rtnl
            .link_by_index(port.index)
            .is_ok_and(|port| port.is_none())
    {
        return Ok(());
    }
    removed.step(|| format!("remove {name}"))
}

/// Removes the interfaces of all VLANs of the bridge that no host end needs.
pub(crate) fn remove_all_unused(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    for (_, vlan) in all(rtnl, bridge)? {
        remove_if_unused(rtnl, bridge, vlan)?;
    }
    Ok(())
}

/// The interfaces of the bridge's VLANs that the plugin made, with their VLANs.
pub(crate) fn all(rtnl: &mut Rtnl, bridge: &Link) -> Result<Vec<(Link, u16)>, Error> {
    let ports = rtnl.ports_of(bridge).map_err(Cause::cause)?;
    let mut found = Vec::new();
    let Ok(name) = IfName::parse(&bridge.name) else {
        return Ok(found);
    };
    for port in &ports {
        let Some(peer) = port.peer.filter(|_| port.is_veth()) else {
            continue;
        };
        let Some(link) = rtnl.link_by_index(peer).map_err(Cause::cause)? else {
            continue;
        };
        let vlan = link.name.strip_prefix(&bridge.name);
        let vlan = vlan.and_then(|rest| rest.strip_prefix('.')?.parse().ok());
        let Some(vlan) = vlan else { continue };
        if names::gateway_port(&name, vlan).is_ok_and(|ours| ours.as_str() == port.name) {
            found.push((link, vlan));
        }
    }
    Ok(found)
}
