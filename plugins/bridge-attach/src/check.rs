//! CHECK.

use cni_common::addr::{Cidr, Mac};
use cni_common::attach::check::{
    Found, check_mac, drift, listed, of_interface, recorded, recorded_inside, shown,
};
use cni_common::env::Command;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netlink::membership::{Vlans, listed as listed_vlans};
use cni_common::plugin::Call;
use cni_common::result::{Attachment, Interface};

use crate::adopt;
use crate::attach::bridge_name;
use crate::bridge;
use crate::config::Config;
use crate::firewall;
use crate::gateways;
use crate::host_routes;
use crate::masq;
use crate::names::{self, Mark};
use crate::plan::Plan;
use crate::policy;
use crate::spoof;
use crate::uplink;
use crate::vlan_gateway;

/// Compares the attachment with what ADD left. Plugins after this one may have changed it, and recorded that in
/// the result, which therefore is what counts.
pub(crate) fn check(call: &Call<Config>) -> Result<(), Error> {
    let doing = || format!("check {}/{}", call.container, call.ifname);
    try_check(call).step(doing)
}

fn try_check(call: &Call<Config>) -> Result<(), Error> {
    let previous = call.required_previous()?;
    if let Some(delegate) = call.ipam()? {
        delegate.run(Command::Check)?;
    }
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    if call.config.adopt {
        return check_adopted(call, previous, &mut host);
    }
    let found = Found::read(call, &call.ifname)?;
    let bridge = check_bridge(call, previous, &mut host)?;
    let near = check_host_end(call, previous, &mut host, &bridge)?;
    check_container_end(call, previous, &found.link, &near)?;
    let here = of_interface(previous, call.ifname.as_str());
    found.check_addresses(&here)?;
    found.check_routes(&here)?;
    let plan = Plan::new(&call.config, here)?;
    policy::check(call, &plan)?;
    let carrier = find_carrier(call, &mut host, &bridge)?;
    check_vlans(call, &mut host, &bridge, &near)?;
    check_firewall(call, (&near, found.link.mac), &carrier, &plan)?;
    check_host(call, &plan, &mut host, &carrier)
}

/// What the plugin before made is that plugin's to compare.
fn check_adopted(call: &Call<Config>, previous: &Attachment, host: &mut Rtnl) -> Result<(), Error> {
    let bridge = check_bridge(call, previous, host)?;
    let port = adopt::check(host, &bridge, call)?;
    check_port(call, &port)?;
    let here = of_interface(previous, call.ifname.as_str());
    let plan = Plan::new(&call.config, here)?;
    let carrier = find_carrier(call, host, &bridge)?;
    check_vlans(call, host, &bridge, &port)?;
    let mac = recorded_inside(previous, &call.ifname).and_then(|inside| inside.mac);
    check_firewall(call, (&port, mac), &carrier, &plan)?;
    check_host(call, &plan, host, &carrier)
}

/// The interface that carries the gateway addresses.
fn find_carrier(call: &Call<Config>, host: &mut Rtnl, bridge: &Link) -> Result<Link, Error> {
    let Some(vlan) = call.config.gateway_vlan() else {
        return Ok(bridge.clone());
    };
    let what = format!("gateway interface of VLAN {vlan}");
    let found = vlan_gateway::find(host, bridge, vlan)?;
    let link = found.ok_or_else(|| drift(&what, format_args!("{}.{vlan}", bridge.name), "none"))?;
    if !link.up {
        return Err(drift(&format!("state of {}", link.name), "up", "down"));
    }
    vlan_gateway::check(host, bridge, &link, vlan)?;
    Ok(link)
}

/// The port must be in its VLANs, and not in the one it was to leave. What else it is in is nobody's concern.
fn check_vlans(
    call: &Call<Config>,
    host: &mut Rtnl,
    bridge: &Link,
    near: &Link,
) -> Result<(), Error> {
    let wanted = call.config.vlans.wanted();
    if wanted.is_empty() {
        return Ok(());
    }
    let found = host.vlans_of(near).map_err(Cause::cause)?;
    let what = format!("VLANs of {}", near.name);
    let within = |wanted: &Vlans, found: &Vlans| {
        found.first <= wanted.first
            && wanted.last <= found.last
            && (found.pvid, found.untagged) == (wanted.pvid, wanted.untagged)
    };
    for each in &wanted {
        if !found.iter().any(|found| within(each, found)) {
            return Err(drift(&what, each, listed_vlans(&found)));
        }
    }
    let left = call.config.vlans.unwanted(bridge::default_pvid(bridge));
    match left.filter(|left| {
        found
            .iter()
            .any(|f| f.first <= left.first && left.first <= f.last)
    }) {
        Some(left) => Err(drift(
            &what,
            format_args!("not {}", left.first),
            listed_vlans(&found),
        )),
        None => Ok(()),
    }
}

fn check_firewall(
    call: &Call<Config>,
    (near, mac): (&Link, Option<Mac>),
    carrier: &Link,
    plan: &Plan,
) -> Result<(), Error> {
    let owner = call.owner();
    if call.config.masquerade && !plan.ips.is_empty() {
        masq::check(&owner, carrier, plan)?;
    }
    let Ok(port) = IfName::parse(&near.name) else {
        return Ok(());
    };
    match firewall::guard_of(&call.config, &port, mac, Some(plan)) {
        Some(guard) => spoof::check(&owner, &guard),
        None => Ok(()),
    }
}

fn check_bridge(
    call: &Call<Config>,
    previous: &Attachment,
    host: &mut Rtnl,
) -> Result<Link, Error> {
    let name = bridge_name(&call.config)?;
    let found = host.link_by_name(name).map_err(Cause::cause)?;
    let Some(bridge) = found else {
        return Err(drift("bridge", name, "nothing"));
    };
    if !bridge.is_bridge() {
        let kind = shown(bridge.kind.as_deref());
        return Err(drift(&format!("kind of {name}"), "bridge", kind));
    }
    if !bridge.up {
        return Err(drift(&format!("state of {name}"), "up", "down"));
    }
    if call.config.promisc && !bridge.promisc {
        return Err(drift(&format!("promiscuous mode of {name}"), "on", "off"));
    }
    let options = bridge.bridge.unwrap_or_default();
    let differences = call.config.options.differences(&call.config, &options);
    if let Some((key, wanted, found)) = differences.first() {
        return Err(drift(
            &format!("{key} of {name}"),
            wanted,
            shown(found.as_ref()),
        ));
    }
    uplink::check(host, &bridge, &call.config)?;
    check_mac(
        &bridge,
        recorded(previous, name.as_str()).and_then(|b| b.mac),
    )?;
    Ok(bridge)
}

fn check_host_end(
    call: &Call<Config>,
    previous: &Attachment,
    host: &mut Rtnl,
    bridge: &Link,
) -> Result<Link, Error> {
    let name = match &call.config.host_name {
        Some(name) => name.clone(),
        None => names::host_name(&call.owner())?,
    };
    // The attachment may have been made by the reference plugin, under a random name.
    let on_host = |interface: &&Interface| interface.sandbox.is_none();
    let other = previous
        .interfaces
        .iter()
        .filter(on_host)
        .find(|interface| interface.name != bridge.name)
        .and_then(|interface| cni_common::ident::IfName::parse(&interface.name).ok());
    let name = other.unwrap_or(name);
    let found = host.link_by_name(&name).map_err(Cause::cause)?;
    let Some(near) = found.filter(Link::is_veth) else {
        return Err(drift("host interface", format_args!("veth {name}"), "none"));
    };
    if near.master != Some(bridge.index) {
        let what = format!("bridge of {name}");
        return Err(drift(&what, &bridge.name, "another or none"));
    }
    if !near.up {
        return Err(drift(&format!("state of {name}"), "up", "down"));
    }
    // The reference plugin's have none.
    let configured = call.config.host_name.as_ref();
    let hashed = names::host_name(&call.owner()).ok();
    let ours = |ours: &IfName| ours.as_str() == near.name;
    if configured.is_some_and(ours) || hashed.as_ref().is_some_and(ours) {
        let alias = near.alias.as_deref();
        let mark = alias.and_then(Mark::parse);
        if !mark.is_some_and(|mark| mark.is_of(&call.owner())) {
            let what = format!("owner of {name}");
            return Err(drift(&what, call.owner(), shown(alias)));
        }
    }
    let recorded = recorded(previous, name.as_str());
    check_mac(&near, recorded.and_then(|interface| interface.mac))?;
    check_mtu(&near, recorded.and_then(|interface| interface.mtu))?;
    check_port(call, &near)?;
    Ok(near)
}

fn check_port(call: &Call<Config>, near: &Link) -> Result<(), Error> {
    let port = near.port.unwrap_or_default();
    for (option, expected, found) in [
        ("hairpin mode", call.config.hairpin, port.hairpin),
        ("isolation", call.config.isolated, port.isolated),
    ] {
        if expected != found {
            return Err(drift(
                &format!("{option} of {}", near.name),
                expected,
                found,
            ));
        }
    }
    Ok(())
}

fn check_container_end(
    call: &Call<Config>,
    previous: &Attachment,
    far: &Link,
    near: &Link,
) -> Result<(), Error> {
    let ifname = &call.ifname;
    if far.peer != Some(near.index) || near.peer != Some(far.index) {
        let what = format!("other end of {ifname}");
        return Err(drift(&what, &near.name, "another link"));
    }
    if !far.up && !call.config.leave_down {
        return Err(drift(&format!("state of {ifname}"), "up", "down"));
    }
    let inside = recorded_inside(previous, ifname);
    check_mac(far, inside.and_then(|interface| interface.mac))?;
    // A plugin later in the chain may set another, and need not report it, as tuning does not.
    let reported = inside.and_then(|interface| interface.mtu) == Some(far.mtu);
    check_mtu(far, call.config.mtu.filter(|_| !reported))
}

fn check_mtu(link: &Link, expected: Option<u32>) -> Result<(), Error> {
    match expected {
        Some(mtu) if mtu != link.mtu => Err(drift(&format!("mtu of {}", link.name), mtu, link.mtu)),
        _ => Ok(()),
    }
}

/// The gateway addresses on the bridge, forwarding, and the host routes.
fn check_host(
    call: &Call<Config>,
    plan: &Plan,
    host: &mut Rtnl,
    carrier: &Link,
) -> Result<(), Error> {
    if !plan.gateways.is_empty() {
        let present = host.addresses(carrier).map_err(Cause::cause)?;
        let has = |wanted: &Cidr| present.iter().any(|found| found.cidr == *wanted);
        if let Some(missing) = plan.gateways.iter().find(|wanted| !has(wanted)) {
            let what = format!("address on {}", carrier.name);
            return Err(drift(&what, missing, listed(&present)));
        }
    }
    if call.config.forward {
        gateways::check_forwarding(&plan.gateways)?;
    }
    if plan.host_routes.is_empty() {
        return Ok(());
    }
    let present = host.routes(carrier).map_err(Cause::cause)?;
    for (dst, gw) in &plan.host_routes {
        let wanted = host_routes::kernel_route(*dst, *gw);
        if !present
            .iter()
            .any(|found| host_routes::is_same(found, &wanted))
        {
            let what = format!("host route to {dst}");
            return Err(drift(&what, format_args!("gateway {gw}"), "none"));
        }
    }
    Ok(())
}
