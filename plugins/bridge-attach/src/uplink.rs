//! The bridge's uplinks: host interfaces that are its ports, and segments over many hosts.
//!
//! They belong to the bridge and not to an attachment: the first one makes them ports, and where the bridge goes with its
//! last attachment they are given back. An address that was moved to the bridge carries a number that says from which.

use cni_common::addr::Mac;
use cni_common::attach::check::drift;
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netlink::belongings::Which;
use cni_common::netlink::link::Link;
use cni_common::netlink::membership::listed;
use cni_common::netlink::route::PROTOCOL_PLUMB;
use cni_common::undo::Undo;

use crate::bridge::keep_mtu;
use crate::config::{Config, Uplink};

mod segment;
mod tagged;

/// Who added the addresses of the uplink at this place (`IFA_PROTO`).
fn number(place: usize) -> u8 {
    PROTOCOL_PLUMB.saturating_add(u8::try_from(place).unwrap_or(0))
}

/// Makes the uplinks ports of the bridge, and gives the bridge as it is then.
///
/// # Errors
/// Code 7 for one that is not there or cannot be a port; code 101 for one that is somebody else's port, or has addresses
/// that are not to be moved.
pub(crate) fn ensure(
    rtnl: &mut Rtnl,
    bridge: Link,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Link, Error> {
    let mut bridge = bridge;
    for (place, uplink) in config.uplinks.iter().enumerate() {
        let step = || format!("uplink[{place}]");
        bridge = ensure_one(rtnl, &bridge, config, (place, uplink), undo).step(step)?;
    }
    Ok(bridge)
}

fn ensure_one(
    rtnl: &mut Rtnl,
    bridge: &Link,
    config: &Config,
    (place, uplink): (usize, &Uplink),
    undo: &mut Undo<'_>,
) -> Result<Link, Error> {
    let found = find(rtnl, bridge, uplink)?;
    let mut now = bridge.clone();
    let port = match (found, uplink) {
        (Some(port), Uplink::Vxlan(vxlan)) => {
            segment::set_up(rtnl, &port, vxlan)?;
            port
        }
        (None, Uplink::Vxlan(vxlan)) => {
            undo_later(bridge, config, undo);
            let port = segment::make(rtnl, bridge, vxlan)?;
            now = fit(rtnl, bridge, &port, config)?;
            port
        }
        (None, Uplink::Name(name)) => return Err(absent(name.as_str())),
        (None, Uplink::Mac(mac)) => return Err(absent(&format!("with the address {mac}"))),
        (Some(port), _) if port.master == Some(bridge.index) => {
            if config.move_addresses {
                // An ADD that crashed may have come no further.
                move_addresses(rtnl, bridge, &port, place)?;
            }
            port
        }
        (Some(port), _) => {
            require_usable(rtnl, &port, config)?;
            undo_later(bridge, config, undo);
            now = enslave(rtnl, bridge, &port, config, place)?;
            port
        }
    };
    let lacking = tagged::lacking(rtnl, &port, config)?;
    if !lacking.is_empty() {
        rtnl.execute(port.add_vlans(&lacking))
            .map_err(Cause::cause)?;
    }
    Ok(now)
}

fn absent(what: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("the host has no interface {what}"),
    )
}

/// The host interface, or the VXLAN link if it was made already.
fn find(rtnl: &mut Rtnl, bridge: &Link, uplink: &Uplink) -> Result<Option<Link>, Error> {
    match uplink {
        Uplink::Name(name) => rtnl.link_by_name(name).map_err(Cause::cause),
        Uplink::Vxlan(vxlan) => {
            let name = segment::name(bridge, vxlan)?;
            let link = rtnl.link_by_name(&name).map_err(Cause::cause)?;
            Ok(link.filter(|link| link.master == Some(bridge.index)))
        }
        Uplink::Mac(mac) => with_address(rtnl, *mac),
    }
}

/// The host interface with this Ethernet address.
fn with_address(rtnl: &mut Rtnl, mac: Mac) -> Result<Option<Link>, Error> {
    // The bridge has the same address once it has taken over from it; so may links on top of it.
    let links = rtnl.links().map_err(Cause::cause)?;
    let beneath = |link: &Link| !link.is_bridge() && !link.is_vlan() && !link.is_macvlan();
    let mut all = links
        .into_iter()
        .filter(|link| link.mac == Some(mac) && beneath(link));
    let first = all.next();
    match (&first, all.next()) {
        (Some(first), Some(second)) => Err(Error::new(
            Code::InvalidConfig,
            format!(
                "several interfaces have the address {mac}, {} and {} among them",
                first.name, second.name
            ),
        )),
        _ => Ok(first),
    }
}

/// Refuses what should not or cannot become a port.
fn require_usable(rtnl: &mut Rtnl, port: &Link, config: &Config) -> Result<(), Error> {
    if port.mac.is_none() || port.is_bridge() || port.name == "lo" {
        return Err(Error::new(
            Code::InvalidConfig,
            format!("{} cannot be a port of a bridge", port.name),
        ));
    }
    if port.master.is_some() {
        return Err(Error::new(
            Code::Taken,
            format!("{} is a port of another bridge or bond", port.name),
        ));
    }
    let own = rtnl.belongings(port, Which::All).map_err(Cause::cause)?;
    if own.is_empty() || config.move_addresses {
        return Ok(());
    }
    let shown = rtnl.addresses(port).map_err(Cause::cause)?;
    let global: Vec<String> = shown
        .iter()
        .filter(|address| !address.local_scope)
        .map(|address| address.cidr.to_string())
        .collect();
    Err(Error::new(
        Code::Taken,
        format!(
            "{} has the addresses {}, which would stop working; moveAddresses: true moves them to the bridge",
            port.name,
            global.join(", ")
        ),
    ))
}

/// Pushes the release of all uplinks, which leaves them where others have come to use the bridge.
fn undo_later(bridge: &Link, config: &Config, undo: &mut Undo<'_>) {
    let (before, config) = (bridge.clone(), config.clone());
    undo.push("give the uplinks back", move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        let ports = of_bridge(&mut rtnl, &before, &config);
        let all = rtnl.ports_of(&before).map_err(Cause::cause)?;
        if all.iter().any(|port| !is_among(port, &ports)) {
            return Ok(());
        }
        release(&mut rtnl, &before, &ports)?;
        let mut change = before.change().mtu(before.mtu);
        if let Some(mac) = before.mac {
            change = change.mac(mac);
        }
        rtnl.execute(change.request()).map_err(Cause::cause)
    });
}

/// A port of the bridge that is an uplink.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Its place in the configuration.
    place: usize,
    link: Link,
    /// Whether it is the plugin's own, and goes with the bridge.
    made: bool,
}

/// Whether a port is one of the uplinks.
pub(crate) fn is_among(port: &Link, uplinks: &[Port]) -> bool {
    uplinks.iter().any(|uplink| uplink.link.index == port.index)
}

/// The ports of the bridge that are its uplinks.
pub(crate) fn of_bridge(rtnl: &mut Rtnl, bridge: &Link, config: &Config) -> Vec<Port> {
    let mut ports = Vec::new();
    for (place, uplink) in config.uplinks.iter().enumerate() {
        match find(rtnl, bridge, uplink) {
            Ok(Some(link)) if link.master == Some(bridge.index) => ports.push(Port {
                place,
                link,
                made: matches!(uplink, Uplink::Vxlan(_)),
            }),
            Ok(_) => {}
            Err(error) => log::warning(format_args!("uplink[{place}]: {error}")),
        }
    }
    ports
}

/// Compares the uplinks: each must be a port of the bridge, up, and carry the VLANs.
pub(crate) fn check(rtnl: &mut Rtnl, bridge: &Link, config: &Config) -> Result<(), Error> {
    for (place, uplink) in config.uplinks.iter().enumerate() {
        let what = format!("uplink[{place}]");
        let found = find(rtnl, bridge, uplink)?;
        let port = found.filter(|port| port.master == Some(bridge.index));
        let port =
            port.ok_or_else(|| drift(&what, format_args!("port of {}", bridge.name), "none"))?;
        if !port.up {
            return Err(drift(&format!("state of {}", port.name), "up", "down"));
        }
        if let Some(lost) = tagged::lacking(rtnl, &port, config)?.first() {
            let found = rtnl.vlans_of(&port).map_err(Cause::cause)?;
            let what = format!("VLANs of {}", port.name);
            return Err(drift(&what, lost, listed(&found)));
        }
        let Uplink::Vxlan(vxlan) = uplink else {
            continue;
        };
        let found = rtnl.flood_remotes(&port).map_err(Cause::cause)?;
        if let Some(lost) = vxlan.remotes.iter().find(|remote| !found.contains(remote)) {
            return Err(drift(&what, format_args!("remote {lost}"), "none"));
        }
    }
    Ok(())
}

/// Makes sure that the host's interfaces that are to be uplinks are there.
///
/// # Errors
/// Code 7.
pub(crate) fn require_present(rtnl: &mut Rtnl, config: &Config) -> Result<(), Error> {
    for (place, uplink) in config.uplinks.iter().enumerate() {
        let step = || format!("uplink[{place}]");
        let (what, found) = match uplink {
            Uplink::Vxlan(_) => continue,
            Uplink::Name(name) => (
                name.to_string(),
                rtnl.link_by_name(name).map_err(Cause::cause),
            ),
            Uplink::Mac(mac) => (format!("with the address {mac}"), with_address(rtnl, *mac)),
        };
        if found.step(step)?.is_none() {
            return Err(absent(&what)).step(step);
        }
    }
    Ok(())
}

/// Gives the uplinks back with their addresses and routes; VXLAN links are deleted.
///
/// The addresses go first: an uplink that is no port any more would not be known by a DEL that comes after a crash.
pub(crate) fn release(rtnl: &mut Rtnl, bridge: &Link, ports: &[Port]) -> Result<(), Error> {
    for Port { place, link, made } in ports {
        if *made {
            rtnl.delete_link_detached(link).map_err(Cause::cause)?;
            continue;
        }
        let which = Which::AddedBy(number(*place));
        let moved = rtnl.belongings(bridge, which).map_err(Cause::cause)?;
        if !moved.is_empty() {
            rtnl.transfer(&moved, bridge, link, None)
                .map_err(Cause::cause)?;
        }
        let doing = format!("give {} back", link.name);
        let free = link.change().no_master().doing(doing);
        rtnl.execute(free.request()).map_err(Cause::cause)?;
    }
    Ok(())
}

/// Makes an interface a port, and moves its addresses and routes to the bridge.
fn enslave(
    rtnl: &mut Rtnl,
    bridge: &Link,
    port: &Link,
    config: &Config,
    place: usize,
) -> Result<Link, Error> {
    let own = rtnl.belongings(port, Which::All).map_err(Cause::cause)?;
    let now = if own.is_empty() {
        bridge.clone()
    } else {
        take_over(rtnl, bridge, port)?
    };
    let join = port.change().master(bridge).up();
    let doing = format!("make {} a port of {}", port.name, bridge.name);
    rtnl.execute(join.doing(doing).request())
        .map_err(Cause::cause)?;
    let now = fit(rtnl, &now, port, config)?;
    move_addresses(rtnl, bridge, port, place)?;
    Ok(now)
}

/// Moves addresses and routes from an uplink to the bridge, where it has some.
fn move_addresses(rtnl: &mut Rtnl, bridge: &Link, port: &Link, place: usize) -> Result<(), Error> {
    let own = rtnl.belongings(port, Which::All).map_err(Cause::cause)?;
    if own.is_empty() {
        return Ok(());
    }
    rtnl.transfer(&own, port, bridge, Some(number(place)))
        .map_err(Cause::cause)?;
    let moved = rtnl.belongings(bridge, Which::AddedBy(number(place)));
    if moved.map_err(Cause::cause)?.len() < own.len() {
        // They cannot be told from others, so they could not be given back: done at once.
        rtnl.transfer(&own, bridge, port, None)
            .map_err(Cause::cause)?;
        return Err(Error::new(
            Code::Unsupported,
            "moveAddresses: this kernel (before 5.18) does not remember who added an address",
        ));
    }
    Ok(())
}

/// Gives the bridge the address of the uplink whose IP addresses it takes over: neighbours and switches know it. Not
/// where others use the bridge's own already.
fn take_over(rtnl: &mut Rtnl, bridge: &Link, port: &Link) -> Result<Link, Error> {
    let Some(mac) = port.mac else {
        return Ok(bridge.clone());
    };
    if !rtnl.ports_of(bridge).map_err(Cause::cause)?.is_empty() {
        return Ok(bridge.clone());
    }
    let doing = format!("give {} the address of {}", bridge.name, port.name);
    let change = bridge.change().mac(mac).doing(doing);
    rtnl.execute(change.request()).map_err(Cause::cause)?;
    Ok(Link {
        mac: Some(mac),
        ..bridge.clone()
    })
}

/// Lets a bridge without containers take over a smaller MTU, unless one is configured.
fn fit(rtnl: &mut Rtnl, bridge: &Link, port: &Link, config: &Config) -> Result<Link, Error> {
    let ports = rtnl.ports_of(bridge).map_err(Cause::cause)?;
    let segments = of_bridge(rtnl, bridge, config).into_iter();
    let segments: Vec<Port> = segments.filter(|uplink| uplink.made).collect();
    let alone = ports
        .iter()
        .all(|other| other.index == port.index || is_among(other, &segments));
    if config.mtu.is_some() || !alone || port.mtu >= bridge.mtu {
        if port.mtu < bridge.mtu {
            log::warning(format_args!(
                "the MTU of {} is {}, less than the {} of bridge {}",
                port.name, port.mtu, bridge.mtu, bridge.name
            ));
        }
        keep_mtu(rtnl, bridge, port.mtu)?;
        return Ok(bridge.clone());
    }
    let doing = format!("give {} the MTU of {}", bridge.name, port.name);
    let change = bridge.change().mtu(port.mtu).doing(doing);
    rtnl.execute(change.request()).map_err(Cause::cause)?;
    Ok(Link {
        mtu: port.mtu,
        ..bridge.clone()
    })
}
