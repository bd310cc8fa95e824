//! The names and marks by which the plugin finds again what it made.
//!
//! A VLAN link that containers share lives on the host. Its name says that it is ours, from the moment it exists; its
//! alias says whether it is being removed; and each attachment that uses it is one of its further names.

use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::ident::IfName;
use cni_common::netlink::link::Link;
use cni_common::netlink::vlan::Protocol;
use cni_common::owner::{self, Owner, Tag};

/// What the names of shared VLAN links begin with.
const PREFIX: &str = "vlan";

/// The alias of a shared VLAN link.
pub(crate) const MARK: &str = "plumb1-vlan";

/// Its alias while it is being removed.
pub(crate) const REMOVAL_MARK: &str = "plumb1-vlan-removal";

/// The name of a shared VLAN link: `vlan` and eleven characters of a hash.
///
/// Made from the master's index and not its name: the index stays when the master is renamed, and what stands on a
/// master goes with it.
pub(crate) fn shared_name(master_index: u32, protocol: Protocol, id: u16) -> Result<IfName, Error> {
    let (index, id) = (master_index.to_string(), id.to_string());
    let hash = owner::hash(["vlan", &index, protocol.as_str(), &id]);
    let name = format!("{PREFIX}{}", owner::short(hash));
    IfName::parse(&name).map_err(|invalid| Error::new(Code::InvalidConfig, invalid.reason))
}

/// Whether a link is one that the plugin made to be shared.
pub(crate) fn is_ours(link: &Link) -> bool {
    match (&link.vlan, link.alias.as_deref()) {
        (None, _) => false,
        (Some(_), Some(alias)) => is_mark(alias),
        // Its ADD has not come to mark it, or crashed before.
        (Some(vlan), None) => {
            let master = link.peer.filter(|_| link.peer_netns_id.is_none());
            master.is_some_and(|master| is_name_of(&link.name, master, vlan.protocol, vlan.id))
        }
    }
}

fn is_mark(alias: &str) -> bool {
    alias == MARK || alias == REMOVAL_MARK
}

/// Compares the whole name, for somebody's own may well begin like ours: `vlandevelopment`.
fn is_name_of(name: &str, master_index: u32, protocol: Protocol, id: u16) -> bool {
    shared_name(master_index, protocol, id).is_ok_and(|ours| ours.as_str() == name)
}

/// Whether somebody is about to delete it.
pub(crate) fn is_marked_for_removal(link: &Link) -> bool {
    link.alias.as_deref() == Some(REMOVAL_MARK)
}

/// What tells apart the shared links that one attachment uses: a chain may have several, also of one VLAN on two masters.
/// `ifname` is the interface for which the link is used.
pub(crate) fn what(protocol: Protocol, id: u16, owner: &Owner, ifname: &IfName) -> String {
    let protocol = match protocol {
        Protocol::Dot1Q => "q",
        Protocol::Dot1Ad => "ad",
    };
    let stacked = if *ifname == owner.ifname { "" } else { "s" };
    format!("{protocol}{id}{stacked}")
}

/// The owners of a shared link: further name and tag.
pub(crate) fn owners(link: &Link) -> impl Iterator<Item = (&str, Tag)> {
    tags(&link.altnames)
}

fn tags(altnames: &[String]) -> impl Iterator<Item = (&str, Tag)> {
    let names = altnames.iter();
    names.filter_map(|name| Some((name.as_str(), Tag::parse_altname(name)?)))
}

/// The name that an interface has in the container until it gets its own, where it cannot be made under that.
pub(crate) fn passing_name(owner: &Owner, ifname: &IfName) -> Result<IfName, Error> {
    let (network, container) = (owner.network.as_str(), owner.container.as_str());
    let hash = owner::hash(["passing", network, container, ifname.as_str()]);
    let name = format!("tmp{}", owner::short(hash));
    IfName::parse(&name).map_err(|invalid| Error::new(Code::InvalidConfig, invalid.reason))
}

/// The name of an interface that a chain adds to the one it is called for.
///
/// # Errors
/// Code 7 when it is too long.
pub(crate) fn stacked_name(ifname: &IfName, id: Option<u16>) -> Result<IfName, Error> {
    let name = match id {
        Some(id) => format!("{ifname}.{id}"),
        None => format!("{ifname}.0"),
    };
    IfName::parse(&name).map_err(|invalid| {
        Error::new(
            Code::InvalidConfig,
            format!("CNI_IFNAME: with the VLAN id behind it the name is impossible: {invalid}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use cni_common::ident::{ContainerId, NetworkName};

    use super::*;

    fn owner() -> Owner {
        Owner {
            network: NetworkName::parse("office").unwrap(),
            container: ContainerId::parse("c1").unwrap(),
            ifname: IfName::parse("eth0").unwrap(),
        }
    }

    #[test]
    fn the_name_of_a_shared_link_never_changes_and_tells_that_it_is_ours() {
        let name = shared_name(2, Protocol::Dot1Q, 42).unwrap();
        assert_eq!(name.as_str(), "vlanamusbny3z7c");
        assert!(is_name_of(name.as_str(), 2, Protocol::Dot1Q, 42));
        for other in ["vlan42", "eth0.42", "vlandevelopment"] {
            assert!(!is_name_of(other, 2, Protocol::Dot1Q, 42), "{other}");
        }
        assert!(is_mark(MARK) && is_mark(REMOVAL_MARK) && !is_mark("somebodys"));
    }

    #[test]
    fn protocols_and_ids_have_shared_links_of_their_own() {
        let name = |protocol, id| shared_name(2, protocol, id).unwrap();
        assert_ne!(name(Protocol::Dot1Q, 42), name(Protocol::Dot1Q, 43));
        assert_ne!(name(Protocol::Dot1Q, 42), name(Protocol::Dot1Ad, 42));
    }

    #[test]
    fn one_attachment_has_a_further_name_for_each_link_it_shares() {
        let what = |protocol, ifname| {
            let ifname = IfName::parse(ifname).unwrap();
            super::what(protocol, 42, &owner(), &ifname)
        };
        assert_eq!(what(Protocol::Dot1Q, "eth0"), "q42");
        assert_eq!(what(Protocol::Dot1Q, "eth0.42"), "q42s");
        assert_eq!(what(Protocol::Dot1Ad, "eth0"), "ad42");
    }

    #[test]
    fn owners_are_told_from_further_names_of_others() {
        let owner = owner();
        let altnames = [String::from("enp0s1"), owner.altname("q42")];
        let found: Vec<_> = tags(&altnames).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.hash, owner.hash());
    }
}
