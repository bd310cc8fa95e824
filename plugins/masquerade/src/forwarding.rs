//! `ipForward`: what the host forwards, for each family, and what that must not cost it.
//!
//! A host that forwards IPv6 ignores router advertisements on interfaces whose `accept_ra` is 1, and the kernel takes
//! their default routes away at the moment it is switched. So the uplinks get `accept_ra` 2 before.

use cni_common::addr::Family;
use cni_common::error::{Error, Step};
use cni_common::ident::IfName;
use cni_common::json::{Json, Value};
use cni_common::netlink::Rtnl;
use cni_common::sysctl;

use crate::rules::Inside;
use crate::sysctls::Wanted;

/// For which packets forwarding is switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// For none: it is left as it is.
    Leave,
    /// For all.
    #[default]
    Host,
    /// For those that come in by these interfaces, or from the network.
    Interfaces(Vec<IfName>),
}

/// The key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `ipv4`.
    pub v4: Scope,
    /// `ipv6`.
    pub v6: Scope,
}

/// All packets of IPv6.
const ALL_V6: &str = "net/ipv6/conf/all/forwarding";

impl Forwarding {
    /// Nothing is switched.
    pub const LEAVE: Self = Self {
        v4: Scope::Leave,
        v6: Scope::Leave,
    };

    /// Reads the key: a boolean, or an object with a boolean or a list of interfaces for each family.
    pub(crate) fn read(value: &Value<'_>) -> Self {
        if let Json::Bool(on) = value.json() {
            return if *on { Self::default() } else { Self::LEAVE };
        }
        if !matches!(value.json(), Json::Object(_)) {
            // Records what is wrong with it.
            value.bool();
            return Self::default();
        }
        let scope = |key: &str| {
            let found = value.object().and_then(|object| object.get(key));
            found.map_or_else(Scope::default, |value| Scope::read(&value))
        };
        Self {
            v4: scope("ipv4"),
            v6: scope("ipv6"),
        }
    }

    /// The parameters that these families want.
    pub(crate) fn wanted(&self, families: &[Family], inside: &Inside) -> Vec<Wanted> {
        families
            .iter()
            .flat_map(|family| match family {
                Family::V4 => {
                    self.v4
                        .names("net/ipv4/ip_forward", "net/ipv4", "forwarding", inside)
                }
                // Kernel 6.17 and later.
                Family::V6 => self
                    .v6
                    .names(ALL_V6, "net/ipv6", "force_forwarding", inside),
            })
            .map(|name| Wanted {
                key: "ipForward",
                name,
                value: "1",
                optional: false,
            })
            .collect()
    }
}

impl Scope {
    fn read(value: &Value<'_>) -> Self {
        match value.json() {
            Json::Bool(true) => Self::Host,
            Json::Bool(false) => Self::Leave,
            Json::Array(_) => {
                let items = value.items();
                let names = items
                    .iter()
                    .filter_map(|item| item.parse_with(IfName::parse));
                Self::Interfaces(names.collect())
            }
            Json::Null | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                value.refuse("must be true, false or a list of interfaces");
                Self::Host
            }
        }
    }

    /// The parameters: the host's, or one of each interface.
    fn names(&self, all: &str, tree: &str, each: &str, inside: &Inside) -> Vec<String> {
        let listed = match self {
            Self::Leave => return Vec::new(),
            Self::Host => return vec![all.to_owned()],
            Self::Interfaces(listed) => listed.iter(),
        };
        let inside = match inside {
            Inside::Interface(name) => Some(name),
            Inside::Addresses => None,
        };
        let mut names: Vec<String> = inside
            .into_iter()
            .chain(listed)
            .map(|interface| format!("{tree}/conf/{interface}/{each}"))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What is pending, and before it what keeps the uplinks' routes if IPv6 forwarding is about to be switched on.
pub(crate) fn keeping_routes(mut pending: Vec<Wanted>) -> Result<Vec<Wanted>, Error> {
    if !pending.iter().any(|wanted| wanted.name == ALL_V6) {
        return Ok(pending);
    }
    let mut all = Vec::new();
    let step = || "look for router advertisements";
    for name in Rtnl::open()
        .and_then(|mut rtnl| rtnl.advertised_links())
        .step(step)?
    {
        let name = format!("net/ipv6/conf/{name}/accept_ra");
        if sysctl::read(&name).step(step)?.as_deref() == Some("1") {
            all.push(Wanted {
                key: "ipForward",
                name,
                value: "2",
                optional: true,
            });
        }
    }
    all.append(&mut pending);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sysctls::wanted;

    #[test]
    fn forwarding_is_wanted_for_the_families_in_use() {
        let br1 = Inside::Interface(IfName::parse("br1").unwrap());
        let names = |config: &Config, families: &[Family]| {
            wanted(config, families, &br1)
                .iter()
                .map(|wanted| format!("{}={}", wanted.name, wanted.value))
                .collect::<Vec<_>>()
        };
        let config = Config::default();
        assert_eq!(names(&config, &[Family::V4]), ["net/ipv4/ip_forward=1"]);
        assert_eq!(
            names(&config, &[Family::V6]),
            ["net/ipv6/conf/all/forwarding=1"]
        );
        let left_alone = Config {
            ip_forward: Forwarding::LEAVE,
            ..Config::default()
        };
        assert!(names(&left_alone, &[Family::V4]).is_empty());
        let bridged = Config {
            ip_forward: Forwarding::LEAVE,
            bridge_nf_call: Some(false),
            ..Config::default()
        };
        assert_eq!(
            names(&bridged, &[Family::V4]),
            [
                "net/bridge/bridge-nf-call-iptables=0",
                "net/bridge/bridge-nf-call-ip6tables=0",
                "net/bridge/bridge-nf-call-arptables=0"
            ]
        );
        let single = Config {
            ip_forward: Forwarding {
                v4: Scope::Interfaces(vec![IfName::parse("eth0").unwrap()]),
                v6: Scope::Leave,
            },
            ..Config::default()
        };
        assert_eq!(
            names(&single, &[Family::V4, Family::V6]),
            [
                "net/ipv4/conf/br1/forwarding=1",
                "net/ipv4/conf/eth0/forwarding=1"
            ]
        );
    }
}
