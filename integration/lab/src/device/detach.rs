//! DEL: a moved link goes back to the host and is what it was; a made one goes.

use cni_common::attach::{defaults, ipam};
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::link::Link;
use cni_common::netlink::{Rtnl, addr, route};
use cni_common::netns::Netns;
use cni_common::owner::{Owner, Tag};
use cni_common::plugin::DelCall;

use super::Source;
use super::config::{Config, Restore};

/// Detaches the container.
pub(super) fn detach(source: Source, call: &DelCall<Config>) -> Result<(), Error> {
    let device = match (source, &call.config.restore.name, &call.config.device) {
        (Source::Dummy, _, _) => None,
        (Source::Host, Some(name), _) => Some(name.to_string()),
        (Source::Host, None, device) => device.as_ref().map(ToString::to_string),
    };
    let place = Place::of_call(call.owner(), call.netns.as_ref());
    ipam::del(&call.ipam(), || {
        let given = give_back(&place, device.as_deref(), &call.config.restore);
        let defaults = match &call.netns {
            Some(netns) if call.config.replace_default => defaults::promote(netns, &call.ifname),
            _ => Ok(()),
        };
        given.and(defaults)
    })
    .step(|| format!("detach {}/{}", call.container, call.ifname))
}

/// Where an attachment's link is looked for.
pub(super) struct Place<'a> {
    owner: Owner,
    netns: Option<&'a Netns>,
}

impl<'a> Place<'a> {
    pub(super) fn of_call(owner: Owner, netns: Option<&'a Netns>) -> Self {
        Self { owner, netns }
    }

    fn is_ours(&self, link: &Link) -> bool {
        let tag = link.alias.as_deref().and_then(Tag::parse);
        tag.is_some_and(|tag| tag.hash == self.owner.hash())
    }
}

/// Gives a link back to the host under the name `device`, or deletes it where there is none. It is found by its mark: in the
/// container, or on the host, where the kernel puts a NIC whose namespace is gone.
pub(super) fn give_back(
    place: &Place<'_>,
    device: Option<&str>,
    restore: &Restore,
) -> Result<(), Error> {
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    if let Some(netns) = place.netns {
        let inside = netns.run(Rtnl::open);
        let mut inside = inside
            .step(|| "enter the container's namespace")?
            .map_err(Cause::cause)?;
        let found = inside
            .link_by_name(&place.owner.ifname)
            .map_err(Cause::cause)?;
        if let Some(link) = found.filter(|link| place.is_ours(link)) {
            let Some(name) = device else {
                return inside.delete_link(&link).map_err(Cause::cause);
            };
            let home = Netns::current().step(|| "open the host's namespace")?;
            let name = named(name)?;
            let moved = link
                .change()
                .doing(format!("move {} back to the host as {name}", link.name));
            let moved = moved.netns(&home).name(&name).request();
            inside.execute(moved).map_err(Cause::cause)?;
            return restored(&mut host, &name, restore);
        }
    }
    let Some(name) = device.map(named).transpose()? else {
        return Ok(());
    };
    let links = host.links().map_err(Cause::cause)?;
    let Some(link) = links.into_iter().find(|link| place.is_ours(link)) else {
        return Ok(());
    };
    if link.name != name.as_str() {
        let change = link.change().doing(format!("rename {} {name}", link.name));
        let change = change.down().name(&name).request();
        host.execute(change).map_err(Cause::cause)?;
    }
    restored(&mut host, &name, restore)
}

fn named(name: &str) -> Result<IfName, Error> {
    IfName::parse(name).map_err(|invalid| {
        Error::new(
            cni_common::code::Code::InvalidConfig,
            format!("device: {invalid}"),
        )
    })
}

/// Makes a link that is back on the host what it was. What fails does not keep the rest from being restored.
fn restored(host: &mut Rtnl, name: &IfName, restore: &Restore) -> Result<(), Error> {
    let Some(link) = host.link_by_name(name).map_err(Cause::cause)? else {
        return Ok(());
    };
    let mut change = link.change().doing(format!("restore {name}"));
    change = change.alias(&restore.alias);
    if let Some(mac) = restore.mac.filter(|mac| link.mac != Some(*mac)) {
        change = change.mac(mac);
    }
    if let Some(mtu) = restore.mtu.filter(|mtu| link.mtu != *mtu) {
        change = change.mtu(mtu);
    }
    host.execute(change.request()).map_err(Cause::cause)?;
    if restore.up {
        let up = link.change().doing(format!("set {name} up")).up();
        host.execute(up.request()).map_err(Cause::cause)?;
    }
    let addresses = restore
        .addresses
        .iter()
        .map(|cidr| addr::add(&link, *cidr).tolerate(libc::EEXIST));
    let routes = restore
        .routes
        .iter()
        .map(|route| route::add(&link, route).tolerate(libc::EEXIST));
    for request in addresses.chain(routes) {
        if let Err(error) = host.execute(request) {
            log::warning(format_args!("{error}"));
        }
    }
    Ok(())
}
