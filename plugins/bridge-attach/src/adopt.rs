//! `adopt`: the plugin before made the interface, and this one makes its host side a port of the bridge.
//!
//! The interface is not ours: DEL and GC let go of it, and never delete it.

use std::time::Duration;

use cni_common::attach::check::{drift, recorded_inside};
use cni_common::attach::inside::PATIENCE;
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::owner::Owner;
use cni_common::plugin::Call;
use cni_common::result::{Attachment, Interface};
use cni_common::undo::Undo;

use crate::attach::bridge_name;
use crate::bridge::{self, default_pvid};
use crate::config::Config;
use crate::gateways::{self, Gateways};
use crate::names::{self, Held, Mark};
use crate::plan::Plan;
use crate::spoof;
use crate::{firewall, masq, uplink, vlan_gateway};

/// Makes the interface of the previous result a port of the bridge.
pub(crate) fn adopt(call: &Call<Config>) -> Result<Attachment, Error> {
    let mut undo = Undo::new();
    let adopted = try_adopt(call, &mut undo)?;
    undo.commit();
    Ok(adopted)
}

fn try_adopt(call: &Call<Config>, undo: &mut Undo<'_>) -> Result<Attachment, Error> {
    let (config, owner) = (&call.config, call.owner());
    let previous = call.required_previous()?;
    call.args.check(&[])?;
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    let link = find(&mut host, previous)?;
    let plan = Plan::new(config, of_container(call, previous))?;
    let mac = recorded_inside(previous, &call.ifname).and_then(|inside| inside.mac);
    let port = IfName::parse(&link.name)
        .map_err(|invalid| Error::new(Code::InvalidConfig, invalid.reason))?;
    let guard = firewall::guard_of(config, &port, mac, Some(&plan));
    if guard.is_none() && config.checks_spoofing() {
        return Err(Error::new(
            Code::InvalidConfig,
            "macspoofchk: prevResult does not say which Ethernet address the container has",
        ));
    }
    let bridge = bridge::ensure(&mut host, bridge_name(config)?, config, undo)?;
    let bridge = uplink::ensure(&mut host, bridge, config, undo)?;
    if let Some(vlan) = config.gateway_vlan() {
        vlan_gateway::undo(&bridge, vlan, undo);
    }
    require_free(&link, &bridge, &owner)?;
    firewall::take_over(config, &owner, &port)?;
    if let Some(guard) = &guard {
        firewall::undo_guard(config, &owner, undo);
        spoof::add(&owner, guard)?;
    }
    join(&mut host, &bridge, &link, config, &owner, undo)?;
    let carrier = match config.gateway_vlan() {
        None => bridge.clone(),
        Some(vlan) => {
            let leaves = config.vlans.unwanted(default_pvid(&bridge));
            vlan_gateway::ensure(&mut host, &bridge, vlan, leaves)?
        }
    };
    let gateways = Gateways {
        bridge: &bridge,
        carrier: &carrier,
        planned: &plan.gateways,
        force: config.force_address,
        manage: config.options.manage,
    };
    gateways.add(&mut host, undo)?;
    if config.forward {
        gateways::forward(&mut host, &plan.gateways, undo)?;
    }
    if config.masquerade && !plan.ips.is_empty() {
        masq::add(&owner, &carrier, &plan, undo)?;
    }
    Ok(result(previous, &bridge, &carrier))
}

/// The addresses of the container's interface in the previous result.
fn of_container(call: &Call<Config>, previous: &Attachment) -> Attachment {
    cni_common::attach::check::of_interface(previous, call.ifname.as_str())
}

/// The one interface on the host that the previous result names, bridges aside.
fn find(host: &mut Rtnl, previous: &Attachment) -> Result<Link, Error> {
    let refused = |words: String| Error::new(Code::InvalidConfig, format!("adopt: {words}"));
    let on_host = |interface: &&Interface| {
        let sandbox = interface.sandbox.as_deref();
        sandbox.unwrap_or_default().is_empty()
    };
    let mut found: Vec<Link> = Vec::new();
    for interface in previous.interfaces.iter().filter(on_host) {
        let Ok(name) = IfName::parse(&interface.name) else {
            continue;
        };
        let link = host.link_by_name(&name).map_err(Cause::cause)?;
        found.extend(link.filter(|link| !link.is_bridge()));
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (None, _) => Err(refused(String::from(
            "prevResult names no interface of the host that could be a port",
        ))),
        (Some(link), None) => Ok(link),
        (Some(one), Some(other)) => Err(refused(format!(
            "prevResult names several interfaces of the host, {} and {}",
            one.name, other.name
        ))),
    }
}

/// Refuses an interface that is another attachment's, or a port of something else.
fn require_free(link: &Link, bridge: &Link, owner: &Owner) -> Result<(), Error> {
    if link.master.is_some_and(|master| master != bridge.index) {
        let text = format!("adopt: {} is a port of another bridge or bond", link.name);
        return Err(Error::new(Code::Taken, text));
    }
    let alias = link.alias.as_deref().unwrap_or_default();
    let ours = Mark::parse(alias).is_some_and(|mark| mark.adopted && mark.is_of(owner));
    if !alias.is_empty() && !ours {
        let text = format!("adopt: {} is marked as another's: {alias}", link.name);
        return Err(Error::new(Code::Taken, text));
    }
    Ok(())
}

fn join(
    host: &mut Rtnl,
    bridge: &Link,
    link: &Link,
    config: &Config,
    owner: &Owner,
    undo: &mut Undo<'_>,
) -> Result<(), Error> {
    let (before, was_up) = (link.clone(), link.up);
    undo.push(format!("let go of {}", link.name), move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        release(&mut rtnl, &before)?;
        if was_up {
            return Ok(());
        }
        let down = before.change().down().request();
        rtnl.execute(down).map_err(Cause::cause)
    });
    let doing = format!("make {} a port of {}", link.name, bridge.name);
    let held = Held {
        adopted: true,
        ..config.held(&[])
    };
    let enslave = link
        .change()
        .master(bridge)
        .alias(&names::alias(owner, held)?)
        .doing(doing);
    host.execute(enslave.request()).map_err(Cause::cause)?;
    let mut requests = vec![
        link.change()
            .hairpin(config.hairpin)
            .isolated(config.isolated)
            .request(),
    ];
    let wanted = config.vlans.wanted();
    if !wanted.is_empty() {
        requests.push(link.add_vlans(&wanted));
    }
    let leaves = config.vlans.unwanted(default_pvid(bridge));
    requests.extend(leaves.map(|leaves| link.delete_vlans(&[leaves])));
    requests.push(link.change().up().request());
    host.batch(requests).map_err(Cause::cause)?;
    bridge::keep_mtu(host, bridge, link.mtu)?;
    settle(host, bridge, link)
}

/// Waits until frames pass. A tap that nobody has opened, or a veth whose other end is down, is not waited for.
fn settle(host: &mut Rtnl, bridge: &Link, link: &Link) -> Result<(), Error> {
    let patience = if link.running {
        PATIENCE
    } else {
        Duration::ZERO
    };
    for index in [link.index, bridge.index] {
        host.settled(index, patience).map_err(Cause::cause)?;
    }
    Ok(())
}

/// Makes the interface a port of nothing, and takes the mark off it.
pub(crate) fn release(host: &mut Rtnl, link: &Link) -> Result<(), Error> {
    let doing = format!("let go of {}", link.name);
    let free = link.change().no_master().alias("").doing(doing);
    match host.execute(free.request()) {
        Err(error) if !error.is_absent() => Err(error.cause()),
        _ => Ok(()),
    }
}

/// The port that an ADD of this owner adopted.
pub(crate) fn find_adopted(
    host: &mut Rtnl,
    bridge: &Link,
    owner: &Owner,
) -> Result<Option<Link>, Error> {
    let ports = host.ports_of(bridge).map_err(Cause::cause)?;
    Ok(ports.into_iter().find(|port| is_adopted_by(port, owner)))
}

/// What an ADD of this owner adopted, be it for another bridge than the configuration names by now.
pub(crate) fn find_anywhere(
    host: &mut Rtnl,
    bridge: Option<&Link>,
    owner: &Owner,
) -> Result<Option<Link>, Error> {
    if let Some(bridge) = bridge
        && let Some(port) = find_adopted(host, bridge, owner)?
    {
        return Ok(Some(port));
    }
    let links = host.links().map_err(Cause::cause)?;
    Ok(links.into_iter().find(|link| is_adopted_by(link, owner)))
}

fn is_adopted_by(link: &Link, owner: &Owner) -> bool {
    let mark = link.alias.as_deref().and_then(Mark::parse);
    mark.is_some_and(|mark| mark.adopted && mark.is_of(owner))
}

/// The bridge stands before what the previous plugins made: that is where plugins after this one look for it.
fn result(previous: &Attachment, bridge: &Link, carrier: &Link) -> Attachment {
    let interface = |link: &Link| Interface {
        name: link.name.clone(),
        mac: link.mac,
        mtu: Some(link.mtu),
        ..Interface::default()
    };
    let mut result = previous.clone();
    result.interfaces.insert(0, interface(bridge));
    for ip in &mut result.ips {
        ip.interface = ip.interface.map(|place| place.saturating_add(1));
    }
    if carrier.index != bridge.index {
        result.interfaces.push(interface(carrier));
    }
    result
}

/// Compares the port with what ADD left.
pub(crate) fn check(host: &mut Rtnl, bridge: &Link, call: &Call<Config>) -> Result<Link, Error> {
    let found = find_adopted(host, bridge, &call.owner())?;
    let what = format!("port of {}", bridge.name);
    let port = found.ok_or_else(|| drift(&what, call.owner(), "none"))?;
    if !port.up {
        return Err(drift(&format!("state of {}", port.name), "up", "down"));
    }
    Ok(port)
}
