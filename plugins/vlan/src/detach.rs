//! DEL: everything of an attachment goes, found by its owner in the kernel. The master is not asked for.

use cni_common::attach::check::recorded_inside;
use cni_common::attach::{defaults, ipam};
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netns::Netns;
use cni_common::owner::Tag;
use cni_common::plugin::DelCall;

use crate::attach::owner;
use crate::config::{Config, Mode};
use crate::lower::Ground;
use crate::names::{self, passing_name, stacked_name};
use crate::shared::{leave, remove_if_unused};
use crate::target::Place;

/// Detaches the container. What fails does not keep the rest alive; the first failure is reported.
pub(crate) fn detach(call: &DelCall<Config>) -> Result<(), Error> {
    let doing = || format!("detach {}/{}", call.container, call.ifname);
    ipam::del(&call.ipam(), || remove(call)).step(doing)
}

fn remove(call: &DelCall<Config>) -> Result<(), Error> {
    let recorded = match call.netns {
        Some(_) => None,
        None => recorded_namespace(call),
    };
    let netns = call.netns.as_ref().or(recorded.as_ref());
    let interface = netns.map_or(Ok(()), |netns| remove_interface(call, netns));
    let on_host = leave_shared(call, Ground::HOST);
    let inside = match netns {
        Some(netns) if may_be_inside(&call.config) => {
            leave_shared(call, Ground::of(Place::Container, netns))
        }
        _ => Ok(()),
    };
    let defaults = match &call.netns {
        Some(netns) if call.config.replace_default => defaults::promote(netns, &call.ifname),
        _ => Ok(()),
    };
    interface.and(on_host).and(inside).and(defaults)
}

/// Whether the master may be in the container.
fn may_be_inside(config: &Config) -> bool {
    let unsaid = config.master.is_none();
    config.in_container.unwrap_or(unsaid)
}

/// The namespace that the result of the ADD names, where the runtime gives none; not our own.
///
/// Only an interface that carries the attachment's mark is removed in it: the path may be another container's by now.
fn recorded_namespace(call: &DelCall<Config>) -> Option<Netns> {
    let interfaces = call.previous.as_ref()?.interfaces.iter();
    let path = interfaces.into_iter().find_map(|i| i.sandbox.as_deref())?;
    let netns = Netns::open(path).ok()?;
    (!netns.is_current().ok()?).then_some(netns)
}

/// Removes the container's interface.
fn remove_interface(call: &DelCall<Config>, netns: &Netns) -> Result<(), Error> {
    let ground = Ground::of(Place::Container, netns);
    let mut inside = ground.open()?;
    // Where no chain made it, it is another attachment's that has that name.
    let is_recorded = |name: &IfName| {
        let previous = call.previous.as_ref();
        previous.is_none_or(|previous| recorded_inside(previous, name).is_some())
    };
    let stacked = stacked_name(&call.ifname, call.config.id)
        .ok()
        .filter(is_recorded);
    for name in stacked.iter().chain([&call.ifname]) {
        let passing = passing_name(&call.owner(), name)?;
        for name in [name, &passing] {
            let found = inside.link_by_name(name).map_err(Cause::cause)?;
            let Some(link) = found else { continue };
            if is_of(call, &mut inside, &link, name)? {
                return ground.delete(&link, call.config.strict_del);
            }
        }
    }
    Ok(())
}

/// Whether a link in the container is the attachment's. One without a mark is where its ADD crashed before it was
/// set up, or the reference plugin made it.
fn is_of(
    call: &DelCall<Config>,
    inside: &mut Rtnl,
    link: &Link,
    name: &IfName,
) -> Result<bool, Error> {
    let is_marked = match &link.alias {
        Some(alias) => {
            let owner = owner(call.owner(), name);
            if Tag::parse(alias).is_none_or(|tag| tag.hash != owner.hash()) {
                return Ok(false);
            }
            true
        }
        None => false,
    };
    if call.netns.is_none() && !is_marked {
        return Ok(false);
    }
    if is_marked && is_first(&call.config) {
        return Ok(link.is_vlan() || link.is_macvlan());
    }
    match call.config.mode {
        Mode::Direct => Ok(is_tagged(&call.config, link)),
        Mode::Shared if !link.is_macvlan() || (!is_marked && link.up) => Ok(false),
        Mode::Shared if call.config.id.is_none() => Ok(true),
        Mode::Shared => {
            let index = link.peer.unwrap_or(link.index);
            let below = if link.peer_netns_id.is_none() {
                inside.link_by_index(index)
            } else {
                Rtnl::open().and_then(|mut host| host.link_by_index(index))
            };
            let below = below.map_err(Cause::cause)?;
            Ok(below.is_some_and(|below| is_tagged(&call.config, &below)))
        }
    }
}

/// Whether the plugin is the first of its chain to make an interface, so that what carries the attachment's mark is its
/// own, even where the configuration is another one now. Behind another, which may be of this type too, the VLAN tells.
fn is_first(config: &Config) -> bool {
    config.master.is_some()
}

/// Whether a link is of the configuration's VLAN.
pub(crate) fn is_tagged(config: &Config, link: &Link) -> bool {
    link.vlan.as_ref().is_some_and(|vlan| {
        config.id.is_none_or(|id| id == vlan.id) && config.protocol == vlan.protocol
    })
}

/// Takes the attachment off the VLAN link it shares; removes one that its crashed ADD left without an owner.
fn leave_shared(call: &DelCall<Config>, ground: Ground<'_>) -> Result<(), Error> {
    let id = call.config.id.filter(|_| call.config.mode == Mode::Shared);
    let mut rtnl = ground.open()?;
    // Runtimes go through a chain from its end.
    let stacked = stacked_name(&call.ifname, id).ok();
    for ifname in stacked.iter().chain([&call.ifname]) {
        let Some(id) = id else { break };
        let what = names::what(call.config.protocol, id, &call.owner(), ifname);
        let name = call.owner().altname(&what);
        if let Some(link) = rtnl.link_by_altname(&name).map_err(Cause::cause)? {
            return leave(ground, &link, &name);
        }
    }
    let hash = call.owner().hash();
    let mut outcome = Ok(());
    for link in rtnl.vlans().map_err(Cause::cause)? {
        if id.is_some() && is_tagged(&call.config, &link) {
            outcome = outcome.and(remove_if_unused(ground, &link));
        }
        // The configuration was another one when the attachment was made.
        for (name, _) in names::owners(&link).filter(|(_, tag)| tag.hash == hash) {
            if is_first(&call.config) && names::is_ours(&link) {
                outcome = outcome.and(leave(ground, &link, name));
            }
        }
    }
    outcome
}
