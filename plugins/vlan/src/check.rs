//! CHECK and STATUS.

use cni_common::attach::check::{Found, check_mac, drift, of_interface, recorded_inside, shown};
use cni_common::attach::ipam;
use cni_common::attach::master::Master;
use cni_common::code::Code;
use cni_common::env::Command;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netlink::upper::Upper;
use cni_common::plugin::{Call, StatusCall};
use cni_common::result::Attachment;

use crate::config::{Config, Mode};
use crate::detach::is_tagged;
use crate::lower::{Ground, Lower};
use crate::names::{self, stacked_name};
use crate::target::{Place, place};

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
    let found = find(call, previous)?;
    let link = &found.link;
    check_interface(call, previous, link)?;
    let below = read_below(call, link)?;
    match call.config.mode {
        Mode::Direct => {
            check_vlan(&call.config, link)?;
            check_master(call, &below)?;
        }
        Mode::Shared => check_shared(call, link, &below)?,
    }
    let mut here = of_interface(previous, &link.name);
    let inside = previous.interfaces.iter().filter(|i| i.sandbox.is_some());
    if inside.count() > 1 {
        keep_own_routes(&mut here);
    }
    found.check_addresses(&here)?;
    found.check_routes(&here)
}

/// Leaves the routes out that lead through other interfaces of a chain's result: ours have a gateway in one of our
/// subnets.
fn keep_own_routes(here: &mut Attachment) {
    let ips = &here.ips;
    here.routes.retain(|route| {
        let gw = route.gw.filter(|gw| !gw.is_unspecified());
        gw.is_some_and(|gw| ips.iter().any(|ip| ip.address.contains(gw)))
    });
}

/// The attachment's interface: in a chain the one with the VLAN id in its name.
fn find(call: &Call<Config>, previous: &Attachment) -> Result<Found, Error> {
    let stacked = stacked_name(&call.ifname, call.config.id).ok();
    if let Some(name) = stacked.filter(|name| recorded_inside(previous, name).is_some())
        && let Ok(found) = Found::read(call, &name)
        && (call.config.mode == Mode::Shared || is_tagged(&call.config, &found.link))
    {
        // A chain may use one VLAN on two masters.
        if !stands_on_master(call, &found.link)
            && let Ok(called) = Found::read(call, &call.ifname)
            && stands_on_master(call, &called.link)
        {
            return Ok(called);
        }
        return Ok(found);
    }
    Found::read(call, &call.ifname)
}

/// Whether a link is certain to be on the master that the configuration names, with its VLAN id.
fn stands_on_master(call: &Call<Config>, link: &Link) -> bool {
    let Ok(below) = read_below(call, link) else {
        return false;
    };
    match (call.config.mode, call.config.id) {
        (Mode::Direct, _) => is_tagged(&call.config, link) && check_master(call, &below).is_ok(),
        (Mode::Shared, None) => check_master(call, &below).is_ok(),
        (Mode::Shared, Some(_)) => {
            is_tagged(&call.config, &below.link) && check_shared_master(call, &below).is_ok()
        }
    }
}

fn check_interface(call: &Call<Config>, previous: &Attachment, link: &Link) -> Result<(), Error> {
    let kind = match call.config.mode {
        Mode::Direct => "vlan",
        Mode::Shared => "macvlan",
    };
    let name = &link.name;
    if link.kind.as_deref() != Some(kind) {
        let found = link.kind.as_deref().unwrap_or("hardware");
        return Err(drift(&format!("kind of {name}"), kind, found));
    }
    if !link.up {
        return Err(drift(&format!("state of {name}"), "up", "down"));
    }
    let recorded = IfName::parse(name)
        .ok()
        .and_then(|name| recorded_inside(previous, &name));
    check_mac(link, recorded.and_then(|recorded| recorded.mac))?;
    let mtu = recorded
        .and_then(|recorded| recorded.mtu)
        .or(call.config.mtu);
    match mtu {
        Some(mtu) if mtu != link.mtu => Err(drift(&format!("mtu of {name}"), mtu, link.mtu)),
        _ => Ok(()),
    }
}

/// Compares id, protocol, flags and maps.
fn check_vlan(config: &Config, link: &Link) -> Result<(), Error> {
    let name = &link.name;
    let vlan = link.vlan.clone().unwrap_or_default();
    if config.protocol != vlan.protocol {
        let what = format!("protocol of {name}");
        return Err(drift(&what, config.protocol, vlan.protocol));
    }
    if let Some(id) = config.id.filter(|id| *id != vlan.id) {
        return Err(drift(&format!("VLAN id of {name}"), id, vlan.id));
    }
    match config.options.unfulfilled_by(&vlan.options) {
        Some((what, wanted, found)) => Err(drift(&format!("{what} of {name}"), wanted, found)),
        None => Ok(()),
    }
}

/// Where the interface's lower link is, and the link.
struct Below {
    place: Place,
    link: Link,
}

fn read_below(call: &Call<Config>, link: &Link) -> Result<Below, Error> {
    let place = match link.peer_netns_id {
        None => Place::Container,
        Some(_) => Place::Host,
    };
    let mut rtnl = Ground::of(place, call.netns()?).open()?;
    // The kernel leaves the index out where it is the link's own.
    let index = link.peer.unwrap_or(link.index);
    match rtnl.link_by_index(index).map_err(Cause::cause)? {
        Some(link) => Ok(Below { place, link }),
        None => Err(drift(
            &format!("link below {}", link.name),
            "one on the host or in the container",
            "none",
        )),
    }
}

/// Compares the link below with the master that the configuration names. Where it names none, what was the default
/// route's link at the ADD, or the plugin's before, is not known any more.
fn check_master(call: &Call<Config>, below: &Below) -> Result<(), Error> {
    let Some(master) = &call.config.master else {
        return Ok(());
    };
    let expected = place(&call.config);
    let found = find_master(call, master, expected)?;
    if below.place != expected || found.index != below.link.index {
        return Err(drift("master", &found.name, &below.link.name));
    }
    Ok(())
}

fn find_master(call: &Call<Config>, master: &Master, place: Place) -> Result<Link, Error> {
    let mut rtnl = Ground::of(place, call.netns()?).open()?;
    let found = master.find(&mut rtnl)?;
    found.ok_or_else(|| drift("master", master, "nothing"))
}

/// Compares the VLAN link that the container shares, or the master without `vlanId`.
fn check_shared(call: &Call<Config>, link: &Link, below: &Below) -> Result<(), Error> {
    let config = &call.config;
    let Some(id) = config.id else {
        return check_master(call, below);
    };
    let shared = &below.link;
    if !shared.is_vlan() {
        let found = format!("{} of kind {}", shared.name, shown(shared.kind.as_deref()));
        return Err(drift(
            &format!("link below {}", link.name),
            "a VLAN link",
            found,
        ));
    }
    check_vlan(config, shared)?;
    if !shared.up {
        return Err(drift(&format!("state of {}", shared.name), "up", "down"));
    }
    let ifname = IfName::parse(&link.name).unwrap_or_else(|_| call.ifname.clone());
    let what = names::what(config.protocol, id, &call.owner(), &ifname);
    let owner = call.owner().altname(&what);
    if names::is_ours(shared) && !shared.altnames.contains(&owner) {
        let what = format!("owner of {}", shared.name);
        return Err(drift(&what, owner, "none of that name"));
    }
    check_shared_master(call, below)
}

/// Compares the link below the shared one with the master that the configuration names.
fn check_shared_master(call: &Call<Config>, below: &Below) -> Result<(), Error> {
    let (config, shared) = (&call.config, &below.link);
    let Some(master) = &config.master else {
        return Ok(());
    };
    let expected = place(config);
    let found = find_master(call, master, expected)?;
    if below.place != expected || shared.peer.unwrap_or(shared.index) != found.index {
        let mut rtnl = Ground::of(below.place, call.netns()?).open()?;
        let other = rtnl.link_by_index(shared.peer.unwrap_or(shared.index));
        let other = other.map_err(Cause::cause)?.map(|other| other.name);
        return Err(drift("master", &found.name, shown(other)));
    }
    Ok(())
}

/// Whether an ADD could be served: the kernel has what is needed, the master is there, and the IPAM plugin is ready.
pub(crate) fn status(call: &StatusCall<Config>) -> Result<(), Error> {
    ready(&call.config).map_err(|error| error.with_code(Code::NotAvailable))?;
    ipam::status(call)
}

fn ready(config: &Config) -> Result<(), Error> {
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    if config.id.is_some() {
        host.require_upper(Upper::Vlan).map_err(Cause::cause)?;
    }
    if config.mode == Mode::Shared {
        host.require_upper(Upper::Macvlan).map_err(Cause::cause)?;
    }
    match &config.master {
        // The container's links are not known yet.
        Some(master) if place(config) == Place::Host => {
            Lower::open(config, master, Ground::HOST).map(|_| ())
        }
        _ => Ok(()),
    }
}
