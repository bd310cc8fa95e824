//! The names and marks by which the plugin finds again what it made: the host end's name and alias, and the
//! alias of a bridge it made.

use core::net::IpAddr;

use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::ident::{IfName, NetworkName};
use cni_common::owner::{self, Owner, Tag};

/// What the names of host ends begin with.
const PREFIX: &str = "veth";

/// The alias of a bridge that the plugin made, and may remove.
pub(crate) const BRIDGE_MARK: &str = "plumb1-bridge";

/// The alias of such a bridge while it is being removed.
pub(crate) const REMOVAL_MARK: &str = "plumb1-bridge-removal";

/// The group (`IFLA_GROUP`) of a bridge, or a host end, that the plugin has made and not marked yet: an alias cannot be part
/// of the message that makes a link. The letters are `plum`.
pub(crate) const HALF_MADE: u32 = 0x706c_756d;

/// The longest alias in bytes (`IFALIASZ`, linux/if.h, less one).
const ALIAS: usize = 255;

/// What stands between the owner's tag and the gateways of host routes.
const VIA: &str = " via ";

/// What stands between the owner's tag and the VLAN whose gateway interface the attachment needs.
const GATEWAY: &str = " gateway ";

/// What stands behind the owner's tag where the port is guarded.
const GUARDED: &str = " guarded";

/// What stands at the end of the alias of an interface that was adopted, and is somebody else's to delete.
const ADOPTED: &str = " adopted";

/// What the names of ports begin with that lead to the gateway interface of a VLAN.
const GATEWAY_PREFIX: &str = "vgw";

/// The alias of such a port while it is being removed.
pub(crate) const GATEWAY_REMOVAL_MARK: &str = "plumb1-gateway-removal";

/// What the names of VXLAN links begin with.
const VXLAN_PREFIX: &str = "vx";

/// The name of an attachment's host end: `veth` and eleven characters of the owner's hash.
pub(crate) fn host_name(owner: &Owner) -> Result<IfName, Error> {
    hashed(owner.hash())
}

fn hashed(hash: u64) -> Result<IfName, Error> {
    let name = format!("{PREFIX}{}", owner::short(hash));
    IfName::parse(&name).map_err(|invalid| Error::new(Code::InvalidConfig, invalid.reason))
}

/// The name of the port that leads to the gateway interface of a bridge's VLAN.
pub(crate) fn gateway_port(bridge: &IfName, vlan: u16) -> Result<IfName, Error> {
    let hash = owner::hash(["gateway", bridge.as_str(), &vlan.to_string()]);
    let name = format!("{GATEWAY_PREFIX}{}", owner::short(hash));
    IfName::parse(&name).map_err(|invalid| Error::new(Code::InvalidConfig, invalid.reason))
}

/// The name of the VXLAN link of a bridge.
pub(crate) fn vxlan(bridge: &str, id: u32, port: u16) -> Result<IfName, Error> {
    let hash = owner::hash(["vxlan", bridge, &id.to_string(), &port.to_string()]);
    let name = format!("{VXLAN_PREFIX}{}", owner::short(hash));
    IfName::parse(&name).map_err(|invalid| Error::new(Code::InvalidConfig, invalid.reason))
}

/// The name that an owner with this hash has: for telling the living from the stale.
pub(crate) fn host_name_of(hash: u64) -> String {
    format!("{PREFIX}{}", owner::short(hash))
}

/// What the alias of a host end says: its owner, whether it is guarded, the VLAN whose gateway interface it needs, and the
/// gateways of the host routes it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    tag: Tag,
    /// The VLAN.
    pub(crate) gateway: Option<u16>,
    /// Whether `macspoofchk` or `ipspoofchk` guards it.
    pub(crate) guarded: bool,
    /// Whether the link was there before.
    pub(crate) adopted: bool,
    /// The gateways, without repetition.
    pub(crate) via: Vec<IpAddr>,
}

impl Mark {
    /// Reads an alias; `None` when it is not one of ours.
    pub(crate) fn parse(alias: &str) -> Option<Self> {
        let (alias, adopted) = match alias.strip_suffix(ADOPTED) {
            Some(alias) => (alias, true),
            None => (alias, false),
        };
        let (tag, via) = alias.rsplit_once(VIA).unwrap_or((alias, ""));
        let via = via.split(',').filter_map(|ip| ip.parse().ok()).collect();
        let (tag, gateway) = tag.rsplit_once(GATEWAY).unwrap_or((tag, ""));
        let (tag, guarded) = match tag.strip_suffix(GUARDED) {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        Some(Self {
            tag: Tag::parse(tag)?,
            gateway: gateway.parse().ok(),
            guarded,
            adopted,
            via,
        })
    }

    /// Whether it belongs to this attachment.
    pub(crate) fn is_of(&self, owner: &Owner) -> bool {
        self.tag.hash == owner.hash()
    }

    /// Whether it belongs to some attachment of this network.
    pub(crate) fn is_of_network(&self, network: &NetworkName) -> bool {
        self.tag.is_of(network)
    }

    /// The owner's hash.
    pub(crate) fn hash(&self) -> u64 {
        self.tag.hash
    }
}

/// What an attachment has beside its link, which is to go with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held<'a> {
    /// The VLAN whose gateway interface it needs.
    pub(crate) gateway: Option<u16>,
    /// Whether the port is guarded.
    pub(crate) guarded: bool,
    /// The gateways of its host routes.
    pub(crate) via: &'a [IpAddr],
    /// Whether the link itself was there before.
    pub(crate) adopted: bool,
}

/// The alias of a host end.
///
/// # Errors
/// Code 7 when the gateways of the host routes do not fit: some five of IPv6.
pub(crate) fn alias(owner: &Owner, held: Held<'_>) -> Result<String, Error> {
    /// What must remain of the tag: version, hash and the space behind it.
    const LEAST: usize = 25;
    let mut text = owner.tag();
    let mut suffix = String::new();
    if held.guarded {
        suffix.push_str(GUARDED);
    }
    if let Some(vlan) = held.gateway {
        suffix.push_str(GATEWAY);
        suffix.push_str(&vlan.to_string());
    }
    if !held.via.is_empty() {
        let list: Vec<String> = held.via.iter().map(IpAddr::to_string).collect();
        suffix.push_str(VIA);
        suffix.push_str(&list.join(","));
    }
    if held.adopted {
        suffix.push_str(ADOPTED);
    }
    let Some(room) = ALIAS
        .checked_sub(suffix.len())
        .filter(|room| *room >= LEAST)
    else {
        return Err(Error::new(
            Code::InvalidConfig,
            format!(
                "hostRoutes: {} different gateways are more than one attachment can hold",
                held.via.len()
            ),
        ));
    };
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    Ok(text + &suffix)
}

#[cfg(test)]
mod tests {
    use cni_common::ident::ContainerId;

    use super::*;

    fn owner(network: &str, container: &str) -> Owner {
        Owner {
            network: NetworkName::parse(network).unwrap(),
            container: ContainerId::parse(container).unwrap(),
            ifname: IfName::parse("eth0").unwrap(),
        }
    }

    #[test]
    fn a_host_end_is_named_for_its_owner_and_the_name_never_changes() {
        let name = host_name(&owner("net", "c1")).unwrap();
        assert_eq!(name.as_str(), "vethijw6twtrgjq");
        assert_eq!(host_name_of(owner("net", "c1").hash()), name.as_str());
    }

    #[test]
    fn an_alias_names_its_owner_and_its_gateways() {
        let one = owner("net", "c1");
        let parsed = |held| Mark::parse(&alias(&one, held).unwrap()).unwrap();
        let plain = parsed(Held::default());
        assert!(plain.is_of(&one) && plain.via.is_empty() && !plain.guarded);
        assert!(!plain.is_of(&owner("net", "c2")));

        let via: Vec<IpAddr> = vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let held = Held {
            via: &via,
            ..Held::default()
        };
        let mark = parsed(held);
        assert!(mark.is_of(&one) && mark.is_of_network(&one.network));
        assert_eq!(mark.via, via);

        let all = [false, true].map(|flag| [(flag, &via[..]), (flag, &[])]);
        for (flag, via) in all.into_iter().flatten() {
            for (guarded, adopted) in [(flag, true), (true, flag)] {
                let held = Held {
                    gateway: Some(7),
                    guarded,
                    via,
                    adopted,
                };
                let mark = parsed(held);
                assert!(mark.is_of(&one) && mark.is_of_network(&one.network));
                assert_eq!((mark.gateway, &mark.via[..]), (Some(7), via));
                assert_eq!((mark.guarded, mark.adopted), (guarded, adopted));
            }
        }
    }

    #[test]
    fn a_long_alias_keeps_hash_and_gateways() {
        let long = owner(&"n".repeat(90), &"c".repeat(200));
        let via: Vec<IpAddr> = (1..6)
            .map(|n| {
                format!("2001:db8:aaaa:bbbb:cccc:dddd:eeee:{n:x}fff")
                    .parse()
                    .unwrap()
            })
            .collect();
        let held = Held {
            gateway: Some(4094),
            guarded: true,
            via: &via,
            adopted: true,
        };
        let text = alias(&long, held).unwrap();
        assert!(text.len() <= ALIAS, "{}", text.len());
        let mark = Mark::parse(&text).unwrap();
        assert!(mark.is_of(&long));
        assert_eq!(mark.via, via);
        assert!(mark.guarded && mark.adopted);
        let more = [&via[..], &via].concat();
        let held = Held {
            via: &more,
            ..Held::default()
        };
        let error = alias(&long, held).unwrap_err();
        assert_eq!(error.code(), Code::InvalidConfig);
    }

    #[test]
    fn what_others_wrote_is_no_mark() {
        for other in ["", "docker", BRIDGE_MARK, "x via 10.0.0.1"] {
            assert_eq!(Mark::parse(other), None, "{other:?}");
        }
    }
}
