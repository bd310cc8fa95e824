//! Which interface of the host leads to a container's network.

use cni_common::addr::Cidr;
use cni_common::error::{Error, Step};
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::result::{Attachment, Interface};

use crate::rules::Inside;

/// The addresses of the container's interface in a result. An address without an interface counts: results
/// before 0.3.0 have none.
pub fn addresses(result: &Attachment, ifname: &IfName) -> Vec<Cidr> {
    let is_ours = |place: usize| {
        let interface = result.interfaces.get(place);
        interface.is_some_and(|i| !is_of_host(i) && i.name == ifname.as_str())
    };
    result
        .ips
        .iter()
        .filter(|ip| ip.interface.is_none_or(is_ours))
        .map(|ip| ip.address)
        .collect()
}

fn is_of_host(interface: &Interface) -> bool {
    interface.sandbox.as_deref().unwrap_or_default().is_empty()
}

/// The names of the host's interfaces in a result.
fn named_by(result: &Attachment) -> Vec<IfName> {
    let host = result.interfaces.iter().filter(|i| is_of_host(i));
    host.filter_map(|interface| IfName::parse(&interface.name).ok())
        .collect()
}

/// The host's interface to the container: the one that its route to the container leads to, if the result names
/// it or it is a bridge; else the first bridge that the result names.
pub fn find(rtnl: &mut Rtnl, result: &Attachment, addresses: &[Cidr]) -> Result<Inside, Error> {
    let named = named_by(result);
    for address in addresses {
        let routed = rtnl
            .neighbour_link(address.address())
            .step(|| "find the bridge")?;
        let Some(index) = routed else { continue };
        let link = rtnl.link_by_index(index).step(|| "find the bridge")?;
        let leads_to_it =
            |link: &Link| link.is_bridge() || named.iter().any(|name| name.as_str() == link.name);
        if let Some(name) = link.filter(leads_to_it).and_then(|link| name_of(&link)) {
            return Ok(Inside::Interface(name));
        }
    }
    for name in &named {
        let link = rtnl.link_by_name(name).step(|| "find the bridge")?;
        if link.is_some_and(|link| link.is_bridge()) {
            return Ok(Inside::Interface(name.clone()));
        }
    }
    Ok(Inside::Addresses)
}

fn name_of(link: &Link) -> Option<IfName> {
    IfName::parse(&link.name).ok()
}

#[cfg(test)]
mod tests {
    use cni_common::result::IpConfig;

    use super::*;

    fn interface(name: &str, sandbox: &str) -> Interface {
        Interface {
            name: name.into(),
            sandbox: Some(sandbox.into()),
            ..Interface::default()
        }
    }

    fn ip(interface: Option<usize>, address: &str) -> IpConfig {
        IpConfig {
            interface,
            address: address.parse().unwrap(),
            gateway: None,
        }
    }

    #[test]
    fn only_addresses_of_the_containers_interface_count() {
        let result = Attachment {
            interfaces: vec![
                interface("br0", ""),
                interface("eth0", "/run/netns/c1"),
                interface("eth1", "/run/netns/c1"),
                interface("eth0", ""),
            ],
            ips: vec![
                ip(Some(0), "10.0.0.1/24"),
                ip(Some(1), "10.0.0.2/24"),
                ip(Some(2), "10.0.1.2/24"),
                ip(Some(3), "10.0.2.2/24"),
                ip(Some(9), "10.0.3.2/24"),
                ip(None, "fd00::2/64"),
            ],
            ..Attachment::default()
        };
        let found = addresses(&result, &IfName::parse("eth0").unwrap());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2/24", "fd00::2/64"]);
        assert_eq!(
            named_by(&result),
            [
                IfName::parse("br0").unwrap(),
                IfName::parse("eth0").unwrap()
            ]
        );
    }
}
