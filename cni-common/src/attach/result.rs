//! How a link is listed in a result.

use crate::code::Code;
use crate::error::{Cause, Error};
use crate::netlink::Rtnl;
use crate::netlink::link::Link;
use crate::result::Interface;

/// A link as it is after the IPAM plugin had it: a DHCP client gives it the MTU of its lease.
///
/// # Errors
/// Code 11 when it has vanished meanwhile.
pub fn refreshed(rtnl: &mut Rtnl, link: &Link) -> Result<Link, Error> {
    let found = rtnl.link_by_index(link.index).map_err(Cause::cause)?;
    found.ok_or_else(|| {
        let text = format!("{} vanished while the IPAM plugin had it", link.name);
        Error::new(Code::TryAgain, text)
    })
}

/// The link as a result's interface; `sandbox` is `CNI_NETNS` for one in the container, `None` on the host.
pub fn interface(link: &Link, sandbox: Option<String>) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac,
        mtu: Some(link.mtu),
        sandbox,
        ..Interface::default()
    }
}
