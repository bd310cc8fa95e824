//! DEL: everything of an attachment goes, found by its owner in the kernel.

use cni_common::attach::ipam;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::owner::Owner;
use cni_common::plugin::DelCall;

use crate::adopt;
use crate::attach::bridge_name;
use crate::bridge;
use crate::config::Config;
use crate::firewall;
use crate::host_routes;
use crate::names::{self, Mark};
use crate::policy;
use crate::vlan_gateway;

/// Detaches the container. What fails does not keep the rest alive; the first failure is reported.
pub(crate) fn detach(call: &DelCall<Config>) -> Result<(), Error> {
    let doing = || format!("detach {}/{}", call.container, call.ifname);
    ipam::del(&call.ipam(), || {
        let mut guarded = false;
        remove(call, &mut guarded)
            .and(firewall::remove(call, guarded))
            .and(policy::remove(call))
    })
    .step(doing)
}

/// Removes the link, the host routes and, where asked for, the bridge; tells whether the link says that it is guarded.
fn remove(call: &DelCall<Config>, guarded: &mut bool) -> Result<(), Error> {
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    let configured = match bridge_name(&call.config) {
        Ok(name) => host.link_by_name(name).map_err(Cause::cause)?,
        Err(_) => None,
    };
    let near = if call.config.adopt {
        adopt::find_anywhere(&mut host, configured.as_ref(), &call.owner())?
    } else {
        find(call, &mut host, configured.as_ref())?
    };
    // The configuration may have changed since the ADD.
    let bridge = match near.as_ref().and_then(|near| near.master) {
        Some(index) if configured.as_ref().is_none_or(|link| link.index != index) => {
            host.link_by_index(index).map_err(Cause::cause)?
        }
        _ => configured,
    };
    let mark = near
        .as_ref()
        .and_then(|near| Mark::parse(near.alias.as_deref()?));
    *guarded = mark.as_ref().is_some_and(|mark| mark.guarded);
    let held_routes = mark.as_ref().is_some_and(|mark| !mark.via.is_empty());
    let vlan = mark
        .and_then(|mark| mark.gateway)
        .or(call.config.gateway_vlan());
    let deleted = match near {
        Some(near) if call.config.adopt => adopt::release(&mut host, &near),
        Some(near) => delete(&mut host, &near, &call.config),
        None => Ok(()),
    };
    let Some(bridge) = bridge.filter(Link::is_bridge) else {
        return deleted;
    };
    let mut others = Ok(());
    if held_routes || !call.config.host_routes.is_empty() {
        let carrier = match vlan {
            Some(vlan) => vlan_gateway::find(&mut host, &bridge, vlan)?,
            None => Some(bridge.clone()),
        };
        others = carrier.map_or(Ok(()), |carrier| {
            host_routes::remove_stale(&mut host, &carrier, &bridge)
        });
    }
    if let Some(vlan) = vlan {
        others = others.and(vlan_gateway::remove_if_unused(&mut host, &bridge, vlan));
    }
    if call.config.remove_empty
        && let Ok(name) = IfName::parse(&bridge.name)
    {
        others = others.and(bridge::remove_if_empty(&mut host, &name, &call.config));
    }
    deleted.and(others)
}

fn delete(host: &mut Rtnl, near: &Link, config: &Config) -> Result<(), Error> {
    let deleted = if config.strict_del {
        host.delete_link(near)
    } else {
        host.delete_link_detached(near)
    };
    match deleted {
        // The container's namespace took it along meanwhile.
        Err(error) if error.is_absent() => Ok(()),
        other => other.map_err(Cause::cause),
    }
}

/// Whether a link is the owner's host end: its alias says so; or an ADD crashed before it set the alias. Then a
/// name made of the owner's hash is the owner's alone, and a configured one is this plugin's where it is half made.
pub(crate) fn is_host_end(link: &Link, owner: &Owner, configured: Option<&IfName>) -> bool {
    let is = |name: &IfName| link.name == name.as_str();
    link.is_veth()
        && match &link.alias {
            Some(alias) => {
                Mark::parse(alias).is_some_and(|mark| mark.is_of(owner) && !mark.adopted)
            }
            None if names::host_name(owner).is_ok_and(|name| is(&name)) => true,
            None => configured.is_some_and(is) && link.group == names::HALF_MADE,
        }
}

/// Finds the host end: by the names it may have, confirmed by its alias; or, where the reference plugin made it,
/// as the peer of the container's interface.
fn find(
    call: &DelCall<Config>,
    host: &mut Rtnl,
    bridge: Option<&Link>,
) -> Result<Option<Link>, Error> {
    let owner = call.owner();
    let hashed = names::host_name(&owner)?;
    let recorded = call.previous.iter().flat_map(|previous| {
        let on_host = previous.interfaces.iter().filter(|i| i.sandbox.is_none());
        on_host.filter_map(|interface| IfName::parse(&interface.name).ok())
    });
    let candidates = [Some(hashed), call.config.host_name.clone()];
    for name in candidates.into_iter().flatten().chain(recorded) {
        let Some(link) = host.link_by_name(&name).map_err(Cause::cause)? else {
            continue;
        };
        if is_host_end(&link, &owner, call.config.host_name.as_ref()) {
            return Ok(Some(link));
        }
    }
    find_foreign(call, host, bridge)
}

/// Finds a veth without a mark of ours whose other end is the container's interface, and which is known to be
/// of this network: it is a port of the bridge, or the recorded result names both ends.
fn find_foreign(
    call: &DelCall<Config>,
    host: &mut Rtnl,
    bridge: Option<&Link>,
) -> Result<Option<Link>, Error> {
    let Some(netns) = &call.netns else {
        return Ok(None);
    };
    let far = netns
        .run(|| Rtnl::open()?.link_by_name(&call.ifname))
        .step(|| "enter the container's namespace")?
        .map_err(Cause::cause)?;
    let Some(far) = far.filter(Link::is_veth) else {
        return Ok(None);
    };
    let Some(near) = (match far.peer {
        Some(index) => host.link_by_index(index).map_err(Cause::cause)?,
        None => None,
    }) else {
        return Ok(None);
    };
    let is_pair = near.is_veth() && near.peer == Some(far.index);
    let is_port = bridge.is_some_and(|bridge| near.master == Some(bridge.index));
    let is_recorded = call.previous.as_ref().is_some_and(|previous| {
        let has = |link: &Link, inside: bool| {
            previous.interfaces.iter().any(|interface| {
                interface.sandbox.is_some() == inside
                    && interface.name == link.name
                    && interface.mac == link.mac
            })
        };
        has(&near, false) && has(&far, true)
    });
    let is_marked = near
        .alias
        .as_deref()
        .is_some_and(|alias| Mark::parse(alias).is_some());
    if is_pair && !is_marked && (is_port || is_recorded) {
        log::info(format_args!(
            "{} was made by another plugin: deleted",
            near.name
        ));
        return Ok(Some(near));
    }
    Ok(None)
}
