//! A line as a network configuration list: what a runtime would be given instead of the line.

use serde_json::{Map, Value, json};

use super::address::Address;
use super::line::{Line, Mac};
use crate::topology::Cidr;

/// What the host's side of a line turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A Linux bridge that is there, or is made.
    Bridge(String),
    /// A network interface; `by_mac` is how the line named it, if it did so by its Ethernet address.
    Nic {
        name: String,
        by_mac: Option<String>,
    },
    /// No interface: a dummy one is made.
    Dummy,
}

/// `RT_SCOPE_LINK`: the gateway is on the link though no subnet says so.
const ON_LINK: u8 = 253;

/// The name of the network that a line belongs to.
fn network(line: &Line, target: &Target) -> String {
    let host = match target {
        Target::Bridge(name) | Target::Nic { name, .. } => name.as_str(),
        Target::Dummy => "dummy",
    };
    let vlan = line.vlan.as_ref().map(|vlan| format!(".{vlan}"));
    let name = format!("pipework-{host}{}", vlan.unwrap_or_default());
    let allowed = |each: char| each.is_ascii_alphanumeric() || "_.-".contains(each);
    name.replace(|each| !allowed(each), "-")
}

/// The list that a line stands for.
pub(super) fn conflist(line: &Line, target: &Target) -> Result<Value, String> {
    let vlan = line.vlan.as_deref().map(vlan).transpose()?;
    let mut plugin = Map::new();
    match target {
        Target::Bridge(name) => {
            if line.direct {
                return Err(format!(
                    "--direct-phys: {name} is a bridge; its guests get interfaces of their own without it"
                ));
            }
            plugin.insert("type".into(), "bridge-attach".into());
            plugin.insert("bridge".into(), name.as_str().into());
            if let Some(vlan) = vlan {
                plugin.insert("vlan".into(), vlan.into());
                plugin.insert("vlanFiltering".into(), true.into());
            }
            if let Some(local) = &line.local {
                plugin.insert("hostInterfaceName".into(), local.as_str().into());
            }
        }
        // The interface itself, which with a VLAN is the VLAN's.
        Target::Nic { name, .. } if line.direct && vlan.is_none() => {
            plugin.insert("type".into(), "host-device".into());
            plugin.insert("device".into(), name.as_str().into());
        }
        Target::Nic { name, by_mac } => {
            plugin.insert("type".into(), "vlan".into());
            plugin.insert(
                "master".into(),
                by_mac.as_ref().unwrap_or(name).as_str().into(),
            );
            let mode = if line.direct { "direct" } else { "shared" };
            plugin.insert("mode".into(), mode.into());
            if let Some(vlan) = vlan {
                plugin.insert("vlanId".into(), vlan.into());
            }
        }
        Target::Dummy => {
            if let Some(vlan) = vlan {
                return Err(format!("@{vlan}: a dummy interface has no VLANs"));
            }
            plugin.insert("type".into(), "dummy".into());
        }
    }
    match &line.mac {
        Some(Mac::From(string)) => {
            plugin.insert("macFrom".into(), string.as_str().into());
        }
        Some(Mac::Literal(mac)) => {
            plugin.insert("args".into(), json!({"cni": {"mac": mac}}));
        }
        None => {}
    }
    let (ipam, default) = ipam(line);
    if default {
        plugin.insert("replaceDefaultRoute".into(), true.into());
    }
    if let Some(ipam) = ipam {
        plugin.insert("ipam".into(), ipam);
    }
    // Older libraries take the first and refuse a newer one; newer ones take the best of both.
    Ok(json!({
        "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": network(line, target), "plugins": [plugin],
    }))
}

fn vlan(word: &str) -> Result<u16, String> {
    let id = word.parse().ok().filter(|id| (1..=4094).contains(id));
    id.ok_or_else(|| format!("@{word}: a VLAN must be a number from 1 to 4094"))
}

/// The `ipam` section, and whether it gives a default route.
fn ipam(line: &Line) -> (Option<Value>, bool) {
    match &line.address {
        Address::None => (None, false),
        Address::Dhcp(dhcp) => (Some(dhcp.ipam(host_name(&line.guest).as_deref())), true),
        Address::Static { address, gateway } => {
            let mut given = json!({"address": address.to_string()});
            let mut ipam = json!({"type": "static-ipam"});
            let mut routes = Vec::new();
            if let Some(gateway) = gateway {
                let (host, default) = if gateway.is_ipv4() {
                    (32, "0.0.0.0/0")
                } else {
                    (128, "::/0")
                };
                if !contains(address, *gateway) {
                    routes.push(json!({"dst": format!("{gateway}/{host}"), "scope": ON_LINK}));
                }
                routes.push(json!({"dst": default, "gw": gateway}));
                set(&mut given, "gateway", gateway.to_string().into());
            }
            set(&mut ipam, "addresses", json!([given]));
            if !routes.is_empty() {
                set(&mut ipam, "routes", routes.into());
            }
            (Some(ipam), gateway.is_some())
        }
    }
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Whether an address is in the subnet of another.
fn contains(subnet: &Cidr, address: std::net::IpAddr) -> bool {
    use std::net::IpAddr::{V4, V6};
    let shift = |longest: u32| longest.saturating_sub(u32::from(subnet.prefix));
    match (subnet.address, address) {
        (V4(one), V4(other)) => {
            let differ = u32::from(one) ^ u32::from(other);
            differ.checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (V6(one), V6(other)) => {
            let differ = u128::from(one) ^ u128::from(other);
            differ.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The guest's name as a host name; a path is none.
fn host_name(guest: &str) -> Option<String> {
    let name = guest.rsplit(':').next().unwrap_or(guest);
    let valid = name
        .chars()
        .all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each));
    // As long as a label of a domain name (RFC 1035, 2.3.4).
    (valid && !name.is_empty()).then(|| name.chars().take(63).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipework::line::{Request, parse};

    fn line(text: &str) -> Line {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        let Request::Attach(line, _) = parse(&words, &|_| false).unwrap() else {
            panic!("{text}")
        };
        line
    }

    fn bridge(text: &str) -> Value {
        let list = conflist(&line(text), &Target::Bridge("br1".into())).unwrap();
        list["plugins"][0].clone()
    }

    fn nic(text: &str) -> Value {
        let target = Target::Nic {
            name: "eth2".into(),
            by_mac: None,
        };
        conflist(&line(text), &target).unwrap()["plugins"][0].clone()
    }

    #[test]
    fn a_bridge_with_address_and_gateway() {
        let list = conflist(
            &line("br1 -i eth1 R1 192.168.101.2/24@192.168.101.1"),
            &Target::Bridge("br1".into()),
        );
        assert_eq!(
            list.unwrap(),
            json!({
                "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "pipework-br1",
                "plugins": [{
                    "type": "bridge-attach", "bridge": "br1", "replaceDefaultRoute": true,
                    "ipam": {
                        "type": "static-ipam",
                        "addresses": [{"address": "192.168.101.2/24", "gateway": "192.168.101.1"}],
                        "routes": [{"dst": "0.0.0.0/0", "gw": "192.168.101.1"}],
                    },
                }],
            })
        );
    }

    #[test]
    fn a_gateway_beyond_the_subnet_is_on_the_link() {
        for (word, gateway, default) in [
            ("192.0.2.2/32@192.0.3.1", "192.0.3.1/32", "0.0.0.0/0"),
            ("2001:db8::2/64@fe80::1", "fe80::1/128", "::/0"),
        ] {
            let routes = bridge(&format!("br1 c1 {word}"))["ipam"]["routes"].clone();
            assert_eq!(routes[0], json!({"dst": gateway, "scope": 253}));
            assert_eq!(routes[1]["dst"], default);
        }
    }

    #[test]
    fn an_interface_without_address_has_no_ipam() {
        assert_eq!(
            bridge("br1 c1 0/0"),
            json!({"type": "bridge-attach", "bridge": "br1"})
        );
    }

    #[test]
    fn names_addresses_and_vlans_of_a_bridge() {
        let plugin = bridge("br1 -i eth2 -l hostapp1 c1 0/0 26:2e:71:98:60:8f@10");
        assert_eq!(
            plugin,
            json!({
                "type": "bridge-attach", "bridge": "br1", "vlan": 10, "vlanFiltering": true,
                "hostInterfaceName": "hostapp1", "args": {"cni": {"mac": "26:2e:71:98:60:8f"}},
            })
        );
        assert_eq!(
            bridge("br1 c1 0/0 U:myhost.foo.com")["macFrom"],
            "U:myhost.foo.com"
        );
    }

    #[test]
    fn a_nic_is_shared_or_given_away() {
        for (text, expected) in [
            (
                "eth2 c1 0/0",
                json!({"type": "vlan", "master": "eth2", "mode": "shared"}),
            ),
            (
                "eth2 c1 0/0 @10",
                json!({"type": "vlan", "master": "eth2", "mode": "shared", "vlanId": 10}),
            ),
            (
                "--direct-phys eth2 c1 0/0",
                json!({"type": "host-device", "device": "eth2"}),
            ),
            (
                "--direct-phys eth2 c1 0/0 @10",
                json!({"type": "vlan", "master": "eth2", "mode": "direct", "vlanId": 10}),
            ),
        ] {
            assert_eq!(nic(text), expected, "{text}");
        }
        let target = Target::Nic {
            name: "eth2".into(),
            by_mac: Some("mac:02:00:00:00:00:07".into()),
        };
        let list = conflist(&line("mac:02:00:00:00:00:07 c1 0/0"), &target).unwrap();
        assert_eq!(list["plugins"][0]["master"], "mac:02:00:00:00:00:07");
        assert_eq!(list["name"], "pipework-eth2");
    }

    #[test]
    fn dhcp_tells_the_server_the_guests_name() {
        for (guest, name) in [
            ("web1", Some("web1")),
            ("docker:web1", Some("web1")),
            ("/run/netns/web1", None),
        ] {
            let ipam = bridge(&format!("br1 {guest} dhclient"))["ipam"].clone();
            assert_eq!(ipam["type"], "dhcp-ipam");
            let said = ipam.pointer("/provide/0/value").and_then(Value::as_str);
            assert_eq!(said, name, "{guest}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let bridge = Target::Bridge("br1".into());
        for (text, target, words) in [
            (
                "br1 c1 0/0 @0",
                &bridge,
                "@0: a VLAN must be a number from 1 to 4094",
            ),
            ("br1 c1 0/0 @8001", &bridge, "@8001"),
            ("--direct-phys br1 c1 0/0", &bridge, "br1 is a bridge"),
            (
                "dummy c1 0/0 @7",
                &Target::Dummy,
                "@7: a dummy interface has no VLANs",
            ),
        ] {
            let error = conflist(&line(text), target).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
