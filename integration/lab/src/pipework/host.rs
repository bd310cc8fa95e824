//! The host's side of a line: what its first word is there, and what has to be so before a plugin is called.

use std::fs;

use cni_common::addr::Mac;
use cni_common::attach::master::Master;
use cni_common::ident::IfName;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use serde_json::{Value, json};

use super::conflist::Target;
use super::line::Line;
use crate::topology::{At, Error};

/// What stands before an Ethernet address in place of a name.
const BY_MAC: &str = "mac:";

/// The links of the host.
pub(super) struct Host {
    rtnl: Rtnl,
    links: Vec<Link>,
}

impl Host {
    /// Reads them.
    pub(super) fn read() -> Result<Self, Error> {
        let step = || "list the host's links".to_owned();
        let mut rtnl = Rtnl::open().at(step)?;
        let links = rtnl.links().at(step)?;
        Ok(Self { rtnl, links })
    }

    /// The link of a name, or of a further one.
    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        let named = |link: &&Link| link.name == name || link.altnames.iter().any(|alt| alt == name);
        self.links.iter().find(named)
    }

    /// What a line's first word is on this host.
    pub(super) fn target(&mut self, word: &str) -> Result<Target, Error> {
        if word.starts_with(BY_MAC) {
            let link = Master::parse(word)
                .map_err(|invalid| invalid.to_string())
                .and_then(|master| {
                    let found = master.find(&mut self.rtnl);
                    found.map_err(|error| error.to_string())
                });
            let link = link.map_err(|error| Error::new(format!("{word}: {error}")))?;
            let link = link.ok_or_else(|| {
                Error::new(format!(
                    "{word}: no interface of this host has that Ethernet address"
                ))
            })?;
            return known(word, &link.name, link.kind.as_deref(), is_infiniband(&link));
        }
        if let Some(link) = self.link(word) {
            return known(word, &link.name, link.kind.as_deref(), is_infiniband(link));
        }
        absent(word)
    }

    /// Raises a NIC that is down, as pipework does, and makes way for the host's end that a line names.
    pub(super) fn prepare(&mut self, line: &Line, target: &Target) -> Result<(), Error> {
        match target {
            Target::Bridge(_) => match &line.local {
                Some(local) => self.make_way(local),
                None => Ok(()),
            },
            Target::Nic { name, .. } if !line.direct || line.vlan.is_some() => {
                let Some(nic) = self.link(name).filter(|nic| !nic.up).cloned() else {
                    return Ok(());
                };
                let up = nic.change().doing(format!("set {name} up")).up();
                self.rtnl
                    .execute(up.request())
                    .at(|| format!("raise {name}"))
            }
            Target::Nic { .. } | Target::Dummy => Ok(()),
        }
    }

    /// A veth of that name which is down is a leftover and goes; any other link is somebody's.
    fn make_way(&mut self, local: &str) -> Result<(), Error> {
        let Some(link) = self.link(local).cloned() else {
            return Ok(());
        };
        if link.up {
            return Err(Error::new(format!("Link {local} exists and is up")));
        }
        if !link.is_veth() || link.master.is_some() {
            return Err(Error::new(format!(
                "Link {local} exists and is not one end of a leftover veth"
            )));
        }
        self.rtnl
            .delete_link(&link)
            .at(|| format!("remove the leftover {local}"))
    }

    /// What a NIC is before it is given away, so that DEL can make it that again.
    pub(super) fn snapshot(&mut self, name: &str) -> Result<Value, Error> {
        let step = || format!("look at {name}");
        let Some(link) = self.link(name).cloned() else {
            return Err(Error::new(format!("{name} is gone")));
        };
        if fs::exists(format!("/sys/class/net/{}/phy80211", link.name)).unwrap_or(false) {
            return Err(Error::new(format!(
                "{name} is a Wi-Fi interface, which the kernel moves with its radio only: \
                iw phy PHY set netns PID, and then `pipework` is not needed"
            )));
        }
        let addresses = self.rtnl.addresses(&link).at(step)?;
        let addresses = addresses
            .iter()
            .filter(|address| !address.local_scope && address.permanent)
            .map(|address| address.cidr.to_string());
        let routes = self.rtnl.routes(&link).at(step)?;
        let routes = routes
            .iter()
            .filter(|route| is_set_by_hand(route))
            .map(|route| {
                let gw = route.gw.map(|gw| gw.to_string());
                json!({"dst": route.dst.to_string(), "gw": gw, "priority": route.priority})
            });
        Ok(json!({
            "name": link.name, "alias": link.alias, "mac": link.mac.map(|mac: Mac| mac.to_string()), "mtu": link.mtu,
            "up": link.up, "addresses": addresses.collect::<Vec<_>>(), "routes": routes.collect::<Vec<_>>(),
        }))
    }

    /// Whether a bridge has an address that somebody gave it: then somebody uses it.
    pub(super) fn is_addressed(&mut self, bridge: &str) -> bool {
        let Some(link) = self.link(bridge).cloned() else {
            return false;
        };
        let addresses = self.rtnl.addresses(&link).unwrap_or_default();
        addresses.iter().any(|address| !address.local_scope)
    }
}

/// Whether somebody added a route; the kernel adds those of addresses by itself.
fn is_set_by_hand(route: &cni_common::netlink::route::Route) -> bool {
    use cni_common::netlink::route::TABLE_MAIN;
    const RTPROT_KERNEL: u8 = 2;
    route.table == TABLE_MAIN && route.protocol != RTPROT_KERNEL
}

/// `ARPHRD_INFINIBAND`, `linux/if_arp.h`.
fn is_infiniband(link: &Link) -> bool {
    let kind = fs::read_to_string(format!("/sys/class/net/{}/type", link.name));
    link.kind.as_deref() == Some("ipoib") || kind.is_ok_and(|kind| kind.trim() == "32")
}

/// What a link that is there means for a line.
fn known(word: &str, name: &str, kind: Option<&str>, infiniband: bool) -> Result<Target, Error> {
    if kind == Some("openvswitch") {
        return Err(no_open_vswitch(name));
    }
    if name == "lo" {
        return Err(Error::new(
            "lo leads nowhere and cannot be given away; `pipework dummy` gives a guest an interface that leads nowhere",
        ));
    }
    if infiniband {
        return Err(Error::new(format!(
            "{name} is an IPoIB interface, on which no Ethernet link can stand: use the CNI plugin ipoib, or \
            `pipework --direct-phys` with a virtual function (SR-IOV)"
        )));
    }
    if kind == Some("bridge") {
        return Ok(Target::Bridge(name.to_owned()));
    }
    Ok(Target::Nic {
        name: name.to_owned(),
        by_mac: word.starts_with(BY_MAC).then(|| word.to_owned()),
    })
}

/// What a word means that no link has for its name.
fn absent(word: &str) -> Result<Target, Error> {
    if word.starts_with("ovs") {
        return Err(no_open_vswitch(word));
    }
    if word.starts_with("dummy") {
        return Ok(Target::Dummy);
    }
    if word.starts_with("br") && IfName::parse(word).is_ok() {
        return Ok(Target::Bridge(word.to_owned()));
    }
    Err(Error::new(format!(
        "I do not know how to setup interface {word}.\nThis host has no such link, and only names that begin with br \
        make a bridge; the other words are dummy, route, rule and tc"
    )))
}

fn no_open_vswitch(name: &str) -> Error {
    Error::new(format!(
        "{name} is a bridge of Open vSwitch, which Plumb has no plugin for: use the CNI plugin ovs-cni, or a Linux bridge \
        (`pipework br0 …`), which knows VLANs as well (`@10`)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_bridge_or_a_nic() {
        let nic = |by_mac: Option<&str>| Target::Nic {
            name: "eth7".into(),
            by_mac: by_mac.map(str::to_owned),
        };
        let bridge = Target::Bridge("eth7".into());
        assert_eq!(
            known("eth7", "eth7", Some("bridge"), false),
            Ok(bridge.clone())
        );
        assert_eq!(known("mac:x", "eth7", Some("bridge"), false), Ok(bridge));
        assert_eq!(known("eth7", "eth7", None, false), Ok(nic(None)));
        assert_eq!(known("eth7", "eth7", Some("dummy"), false), Ok(nic(None)));
        assert_eq!(known("mac:x", "eth7", None, false), Ok(nic(Some("mac:x"))));
    }

    #[test]
    fn what_no_plugin_serves_is_refused_with_what_to_use() {
        for (found, words) in [
            (known("x", "eth7", Some("openvswitch"), false), "ovs-cni"),
            (known("x", "eth7", None, true), "ipoib"),
            (absent("ovsbr0"), "ovs-cni"),
            (absent("eth9"), "I do not know how to setup interface eth9."),
            (absent("br-with-a-long-name"), "I do not know"),
        ] {
            let error = found.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(absent("dummy0"), Ok(Target::Dummy));
        assert_eq!(absent("br1"), Ok(Target::Bridge("br1".into())));
    }
}
