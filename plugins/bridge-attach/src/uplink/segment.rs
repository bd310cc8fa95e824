//! A VXLAN link as an uplink: one segment over many hosts.

use cni_common::attach::mac;
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netlink::vxlan::NewVxlan;

use super::absent;
use crate::config::Vxlan;
use crate::names;

pub(super) fn name(bridge: &Link, vxlan: &Vxlan) -> Result<IfName, Error> {
    names::vxlan(&bridge.name, vxlan.id, vxlan.port)
}

pub(super) fn make(rtnl: &mut Rtnl, bridge: &Link, vxlan: &Vxlan) -> Result<Link, Error> {
    let name = name(bridge, vxlan)?;
    let device = match &vxlan.device {
        None => None,
        Some(device) => {
            let link = rtnl.link_by_name(device).map_err(Cause::cause)?;
            Some(link.ok_or_else(|| absent(&format!("{device} (device)")))?)
        }
    };
    // Outer Ethernet and UDP header, VXLAN's own, and IP's.
    let over_ipv6 = vxlan.remotes.first().is_some_and(std::net::IpAddr::is_ipv6);
    let headers = if over_ipv6 { 70 } else { 50 };
    let new = NewVxlan {
        name: &name,
        mac: mac::random(),
        master: bridge.index,
        id: vxlan.id,
        port: vxlan.port,
        group: vxlan.group,
        ipv6: over_ipv6,
        device: device.as_ref().map(|device| device.index),
        mtu: device.is_none().then(|| 1500 - headers),
    };
    match rtnl.add_vxlan(&new) {
        // Another ADD was quicker; or another link has the segment.
        Err(error) if !error.is_taken() => return Err(error.cause()),
        Err(error) => {
            let text = format!(
                "VXLAN {} on port {} is another link's",
                vxlan.id, vxlan.port
            );
            let taken = || Error::new(Code::Taken, format!("{text}: {error}"));
            let found = rtnl.link_by_name(&name).map_err(Cause::cause)?;
            found
                .filter(|link| link.master == Some(bridge.index))
                .ok_or_else(taken)?;
        }
        Ok(()) => {}
    }
    let made = rtnl.link_by_name(&name).map_err(Cause::cause)?;
    let made = made.ok_or_else(|| Error::new(Code::TryAgain, format!("{name} vanished")))?;
    rtnl.execute(made.without_link_local())
        .map_err(Cause::cause)?;
    set_up(rtnl, &made, vxlan)?;
    Ok(made)
}

/// The other hosts may be more than when it was made.
pub(super) fn set_up(rtnl: &mut Rtnl, port: &Link, vxlan: &Vxlan) -> Result<(), Error> {
    let mut requests: Vec<_> = vxlan.remotes.iter().map(|ip| port.flood_to(*ip)).collect();
    if !port.up {
        requests.push(port.change().up().request());
    }
    if requests.is_empty() {
        return Ok(());
    }
    rtnl.batch(requests).map_err(Cause::cause)
}
