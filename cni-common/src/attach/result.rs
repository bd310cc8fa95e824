//! How a link is listed in a result.

use crate::netlink::link::Link;
use crate::result::Interface;

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
