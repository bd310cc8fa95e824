//! ADD: the interface in the container, complete or not at all.

use std::time::Duration;

use cni_common::addr::Cidr;
use cni_common::attach::inside::{Inside, Setup, take_in};
use cni_common::attach::ipam::Ipam;
use cni_common::attach::result::interface;
use cni_common::attach::{defaults, mac, namespace, routes};
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::netlink::Rtnl;
use cni_common::netlink::addr::Detection;
use cni_common::netlink::link::Link;
use cni_common::netns::Netns;
use cni_common::plugin::Call;
use cni_common::result::{Attachment, IpConfig};
use cni_common::undo::Undo;

use super::Source;
use super::config::Config;
use super::detach::{Place, give_back};

/// How long a link may take to run.
const PATIENCE: Duration = Duration::from_secs(3);

/// Attaches the container.
pub(super) fn attach(source: Source, call: &Call<Config>) -> Result<Attachment, Error> {
    try_attach(source, call).step(|| format!("attach {}/{}", call.container, call.ifname))
}

fn try_attach(source: Source, call: &Call<Config>) -> Result<Attachment, Error> {
    let netns = call.netns()?;
    let delegate = call.ipam()?;
    if delegate.is_none() {
        call.args.check(&[])?;
    }
    let nic = match source {
        Source::Host => Some(nic(&call.config)?),
        Source::Dummy => None,
    };
    let mut inside = Inside::open(netns, &call.ifname)?;
    let mut ipam = Ipam::new(call, delegate.as_ref())?;
    let mut undo = Undo::new();
    match steps(call, nic.as_ref(), &mut inside, &mut ipam, &mut undo) {
        Ok(attachment) => {
            undo.commit();
            Ok(attachment)
        }
        Err(error) => {
            ipam.release();
            if undo.roll_back() && !namespace::is_there(call) {
                return Err(error.with_code(Code::UnknownContainer));
            }
            Err(error)
        }
    }
}

/// The link of the host that is meant.
pub(super) fn nic(config: &Config) -> Result<Link, Error> {
    let Some(device) = &config.device else {
        return Err(Error::new(Code::InvalidConfig, "device: is missing"));
    };
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    let nic = device.require(&mut host, "device")?;
    if nic.name == "lo" || nic.is_bridge() {
        let text = format!("device: {} cannot be given away", nic.name);
        return Err(Error::new(Code::InvalidConfig, text));
    }
    if let Some(master) = nic.master {
        let master = host.link_by_index(master).map_err(Cause::cause)?;
        let master = master.map_or_else(|| "another link".to_owned(), |master| master.name);
        let text = format!("device: {} is a port of {master}", nic.name);
        return Err(Error::new(Code::Taken, text));
    }
    Ok(nic)
}

fn steps<'a>(
    call: &'a Call<Config>,
    nic: Option<&Link>,
    inside: &mut Inside,
    ipam: &mut Ipam<'_, Config>,
    undo: &mut Undo<'a>,
) -> Result<Attachment, Error> {
    let netns = call.netns()?;
    let link = bring(call, netns, nic, inside, undo)?;
    if ipam.needs_link() {
        let up = link.change().doing(format!("set {} up", link.name)).up();
        inside.rtnl.execute(up.request()).map_err(Cause::cause)?;
        inside
            .rtnl
            .settled(link.index, PATIENCE)
            .map_err(Cause::cause)?;
    }
    let given = ipam.given()?;
    let ips: Vec<IpConfig> = given
        .ips
        .iter()
        .map(|ip| IpConfig {
            interface: Some(0),
            ..ip.clone()
        })
        .collect();
    let addresses: Vec<Cidr> = ips.iter().map(|ip| ip.address).collect();
    if call.config.replace_default {
        defaults::make_room(&mut inside.rtnl, netns, &link, &given.routes, undo)?;
    }
    let setup = Setup {
        addresses: &addresses,
        routes: &routes::to_install(&given.routes, &ips)?,
        detection: Detection::Skip,
    };
    inside.configure(netns, &link, &setup)?;
    namespace::require(call)?;
    let settled = inside.rtnl.settled(link.index, PATIENCE);
    let link = settled.map_err(Cause::cause)?.unwrap_or(link);
    if link.running {
        take_in(&mut inside.rtnl, &link, addresses.iter().copied())?;
    }
    inside.announce(netns, &link, &addresses);
    Ok(Attachment {
        interfaces: vec![interface(&link, Some(call.netns_path.clone()))],
        ips,
        routes: given.routes,
        dns: call.config.dns.clone().unwrap_or(given.dns),
    })
}

/// Moves the link in, or makes one: marked as this attachment's, with its address, down.
fn bring<'a>(
    call: &'a Call<Config>,
    netns: &'a Netns,
    nic: Option<&Link>,
    inside: &mut Inside,
    undo: &mut Undo<'a>,
) -> Result<Link, Error> {
    let (owner, ifname) = (call.owner(), &call.ifname);
    let place = Place::of_call(owner.clone(), Some(netns));
    let back = nic.map(|nic| nic.name.clone());
    undo.push(format!("take {ifname} out of the container"), move || {
        give_back(&place, back.as_deref(), &call.config.restore)
    });
    let tag = owner.tag();
    if let Some(nic) = nic {
        let mut host = Rtnl::open().map_err(Cause::cause)?;
        let moved = nic
            .change()
            .doing(format!("move {} into the container", nic.name));
        let moved = moved.netns(netns).name(ifname).alias(&tag).request();
        host.execute(moved).map_err(Cause::cause)?;
    } else {
        let mac = call.config.mac.unwrap_or_else(mac::random);
        let made = inside.rtnl.add_dummy(ifname, mac, netns);
        made.map_err(Cause::cause)?;
    }
    let found = inside.rtnl.link_by_name(ifname).map_err(Cause::cause)?;
    let link = found.ok_or_else(|| {
        let text = format!("{ifname} was renamed or removed in the container");
        Error::new(Code::TryAgain, text)
    })?;
    let mut change = link
        .change()
        .doing(format!("set address and alias of {ifname}"));
    change = change.alias(&tag);
    if let Some(mac) = call.config.mac.filter(|_| nic.is_some()) {
        change = change.mac(mac);
    }
    inside
        .rtnl
        .execute(change.request())
        .map_err(Cause::cause)?;
    Ok(link)
}
