//! The plugin's keys.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Mac, parse_ip};
use cni_common::attach::{keys, mac};
use cni_common::config::{Configuration, Input};
use cni_common::ident::IfName;
use cni_common::json::{Json, Object, Value};
use cni_common::netlink::addr::Detection;
use cni_common::result::Dns;

/// The bridge a configuration without `bridge` means.
const DEFAULT_BRIDGE: &str = "cni0";

/// The configuration; a key's own name stands where it differs from the field's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
pub(crate) struct Config {
    /// The bridge; `None` only on DEL and GC with a faulty configuration.
    pub(crate) bridge: Option<IfName>,
    /// `isGateway`, or implied by `isDefaultGateway`.
    pub(crate) gateway: bool,
    /// `isDefaultGateway`.
    pub(crate) default_gateway: bool,
    pub(crate) force_address: bool,
    /// `mtu`; 0 is absent.
    pub(crate) mtu: Option<u32>,
    /// `hairpinMode`.
    pub(crate) hairpin: bool,
    /// `promiscMode`.
    pub(crate) promisc: bool,
    /// `portIsolation`.
    pub(crate) isolated: bool,
    /// `enabledad`: whether IPv6 addresses are probed for before they are used.
    pub(crate) detect_duplicates: bool,
    /// `disableContainerInterface`.
    pub(crate) leave_down: bool,
    /// `ipMasq`.
    pub(crate) masquerade: bool,
    /// `macspoofchk`, `ipspoofchk`.
    pub(crate) spoof_check: SpoofCheck,
    pub(crate) dns: Option<Dns>,
    /// The container end's address: `CNI_ARGS` `MAC`, over it `args.cni.mac`, over it `runtimeConfig.mac`.
    pub(crate) mac: Option<Mac>,
    /// `hostInterfaceName`.
    pub(crate) host_name: Option<IfName>,
    pub(crate) host_routes: Vec<HostRoute>,
    /// `ipForward`: whether `isGateway` makes the host forward.
    pub(crate) forward: bool,
    /// `removeEmptyBridge`.
    pub(crate) remove_empty: bool,
    pub(crate) strict_del: bool,
    /// Whether `ipam.type` names a plugin.
    pub(crate) has_ipam: bool,
}

/// What a container's frames are checked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpoofCheck {
    /// Nothing.
    #[default]
    Off,
    /// The Ethernet source address.
    Mac,
    /// That, and addresses in ARP, IPv4, IPv6 and neighbour discovery.
    Ip,
}

/// A destination that the host reaches through the attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostRoute {
    pub(crate) dst: Cidr,
    /// The gateway; `None` for the container's address of the family.
    pub(crate) gw: Option<IpAddr>,
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        let config = Self {
            bridge: bridge(object),
            gateway: object.flag("isGateway") || object.flag("isDefaultGateway"),
            default_gateway: object.flag("isDefaultGateway"),
            force_address: object.flag("forceAddress"),
            mtu: keys::mtu(object),
            hairpin: object.flag("hairpinMode"),
            promisc: object.flag("promiscMode"),
            isolated: object.flag("portIsolation"),
            detect_duplicates: object.flag("enabledad"),
            leave_down: object.flag("disableContainerInterface"),
            masquerade: object.flag("ipMasq"),
            spoof_check: spoof_check(object),
            dns: keys::dns(object),
            mac: mac::read(input),
            host_name: object.parse_with("hostInterfaceName", IfName::parse),
            host_routes: host_routes(object),
            forward: object
                .get("ipForward")
                .and_then(|value| value.bool())
                .unwrap_or(true),
            remove_empty: object.flag("removeEmptyBridge"),
            strict_del: object.flag("strictDel"),
            has_ipam: keys::has_ipam(object),
        };
        check_backend(object);
        refuse_unbuilt(object);
        config.refuse_contradictions(object);
        config
    }
}

impl Config {
    /// Whether IPv6 addresses are probed for before they are used.
    pub(crate) fn detection(&self) -> Detection {
        if self.detect_duplicates {
            Detection::Probe
        } else {
            Detection::Skip
        }
    }

    fn refuse_contradictions(&self, object: &Object<'_>) {
        if self.hairpin && self.promisc {
            object.refuse("hairpinMode", "cannot be true while promiscMode is true");
        }
        if self.leave_down && self.has_ipam {
            object.refuse(
                "disableContainerInterface",
                "cannot be true with ipam: an interface that is down has no use for addresses",
            );
        }
        if self.spoof_check == SpoofCheck::Ip && !self.has_ipam {
            object.refuse(
                "ipspoofchk",
                "cannot be true without ipam: it is not known which addresses are the container's",
            );
        }
        if self.host_name.is_some() && self.host_name == self.bridge {
            object.refuse("hostInterfaceName", "cannot be the bridge's own name");
        }
    }
}

fn spoof_check(object: &Object<'_>) -> SpoofCheck {
    match (object.flag("ipspoofchk"), object.flag("macspoofchk")) {
        (true, _) => SpoofCheck::Ip,
        (false, true) => SpoofCheck::Mac,
        (false, false) => SpoofCheck::Off,
    }
}

fn bridge(object: &Object<'_>) -> Option<IfName> {
    match object.get("bridge") {
        Some(value) if *value.json() != Json::String(String::new()) => {
            value.parse_with(IfName::parse)
        }
        _ => IfName::parse(DEFAULT_BRIDGE).ok(),
    }
}

fn host_routes(object: &Object<'_>) -> Vec<HostRoute> {
    let read = |item: &Value<'_>| {
        let route = item.object()?;
        let gw = route.parse_with("gw", parse_ip);
        let Some(value) = route.get("dst") else {
            route.refuse("dst", "is missing");
            return None;
        };
        let dst: Cidr = value.parse()?;
        if dst.network() != dst {
            value.refuse(format_args!(
                "has host bits set: {} is meant",
                dst.network()
            ));
            return None;
        }
        if gw.is_some_and(|gw| cni_common::addr::Family::of(gw) != dst.family()) {
            route.refuse("gw", format_args!("must be an {} address", dst.family()));
            return None;
        }
        if gw.is_none() && !keys::has_ipam(object) {
            route.refuse(
                "gw",
                "is required without ipam: the container has no address",
            );
            return None;
        }
        Some(HostRoute { dst, gw })
    };
    object.items("hostRoutes").iter().filter_map(read).collect()
}

/// Refuses keys of the reference plugin that ask for what this release does not do: to accept and ignore them
/// would open what they are there to close.
fn refuse_unbuilt(object: &Object<'_>) {
    for key in ["vlan", "vlanTrunk"] {
        let Some(value) = object.get(key) else {
            continue;
        };
        let asks = match value.json() {
            Json::Bool(on) => *on,
            Json::Array(_) => true,
            Json::Null | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                value.unsigned(4094).is_some_and(|vlan| vlan != 0)
            }
        };
        if asks {
            value.unsupported("is not supported by this release");
        }
    }
}

/// `ipMasqBackend`: both names of the reference plugin are understood, and both mean nftables.
fn check_backend(object: &Object<'_>) {
    let Some(value) = object.get("ipMasqBackend") else {
        return;
    };
    if let Some(backend) = value.string()
        && !["", "iptables", "nftables"].contains(&backend)
    {
        value.refuse("must be \"iptables\" or \"nftables\"");
    }
}

#[cfg(test)]
mod tests {
    use cni_common::args::CniArgs;
    use cni_common::code::Code;
    use cni_common::config;
    use cni_common::env::Command;
    use cni_common::error::Error;
    use cni_common::version::SpecVersion;

    use super::*;

    fn read_with(args: &str, keys: &str) -> Result<Config, Error> {
        let text = format!(r#"{{"name":"net","type":"bridge-attach"{keys}}}"#);
        let json = Json::parse(text.as_bytes())?;
        let args = CniArgs::parse(args);
        let version = SpecVersion::V1_1_0;
        config::read::<Config>(&json, version, Command::Add, &args, None).map(|conf| conf.own)
    }

    fn read(keys: &str) -> Config {
        read_with("", keys).unwrap()
    }

    #[track_caller]
    fn refused(keys: &str, code: Code, words: &str) {
        let error = read_with("", keys).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn without_keys_it_is_a_layer_2_attachment_to_cni0() {
        let config = read("");
        assert_eq!(config.bridge.unwrap().as_str(), "cni0");
        assert!(!config.gateway && !config.has_ipam && config.mtu.is_none());
    }

    #[test]
    fn keys_of_the_reference_plugin_are_understood() {
        let config = read(
            r#","BRIDGE":"br7","isDefaultGateway":true,"mtu":9000,"forceAddress":true,"hairpinMode":true,
              "portIsolation":true,"dns":{"nameservers":["10.0.0.1"]},"vlan":0,"ipMasq":false,"macspoofchk":null,
              "preserveDefaultVlan":true,"ipMasqBackend":"nftables","ipam":{"type":"static"}"#,
        );
        assert_eq!(config.bridge.unwrap().as_str(), "br7");
        assert!(config.gateway && config.default_gateway && config.force_address);
        assert!(config.hairpin && config.isolated && config.has_ipam);
        assert_eq!(config.mtu, Some(9000));
        assert_eq!(config.dns.unwrap().nameservers, ["10.0.0.1"]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_and_value() {
        refused(r#","vlan":7"#, Code::Unsupported, "vlan: 7");
        refused(r#","vlanTrunk":[{"id":3}]"#, Code::Unsupported, "vlanTrunk");
    }

    #[test]
    fn a_check_of_ip_addresses_is_one_of_ethernet_addresses_too() {
        let check = |keys: &str| read(&format!(r#","ipam":{{"type":"static"}}{keys}"#)).spoof_check;
        assert_eq!(check(""), SpoofCheck::Off);
        assert_eq!(check(r#","macspoofchk":true"#), SpoofCheck::Mac);
        assert_eq!(check(r#","ipspoofchk":true"#), SpoofCheck::Ip);
        assert_eq!(
            check(r#","ipspoofchk":true,"macspoofchk":true"#),
            SpoofCheck::Ip
        );
    }

    #[test]
    fn both_names_of_a_masquerade_backend_are_understood() {
        for backend in [r#""iptables""#, r#""nftables""#, r#""""#, "null"] {
            let config = read(&format!(r#","ipMasq":true,"ipMasqBackend":{backend}"#));
            assert!(config.masquerade, "{backend}");
        }
        refused(
            r#","ipMasqBackend":"pf""#,
            Code::InvalidConfig,
            "ipMasqBackend: \"pf\" must be \"iptables\" or \"nftables\"",
        );
    }

    #[test]
    fn contradictions_are_refused() {
        refused(
            r#","hairpinMode":true,"promiscMode":true"#,
            Code::InvalidConfig,
            "hairpinMode",
        );
        refused(
            r#","disableContainerInterface":true,"ipam":{"type":"static"}"#,
            Code::InvalidConfig,
            "disableContainerInterface",
        );
        refused(r#","ipspoofchk":true"#, Code::InvalidConfig, "ipspoofchk");
        refused(
            r#","hostInterfaceName":"cni0""#,
            Code::InvalidConfig,
            "hostInterfaceName",
        );
    }

    #[test]
    fn impossible_values_are_refused_with_their_key() {
        refused(
            r#","mtu":67"#,
            Code::InvalidConfig,
            "mtu: 67 must be 0 or between 68 and 65535",
        );
        refused(r#","bridge":"a/b""#, Code::InvalidConfig, "bridge");
        refused(r#","bridge":7"#, Code::Decode, "bridge");
        refused(
            r#","hostRoutes":[{"dst":"10.1.2.3/24","gw":"10.0.0.1"}]"#,
            Code::InvalidConfig,
            "10.1.2.0/24 is meant",
        );
        refused(
            r#","hostRoutes":[{"dst":"10.1.2.0/24","gw":"fd00::1"}]"#,
            Code::InvalidConfig,
            "hostRoutes[0].gw",
        );
        refused(
            r#","hostRoutes":[{"dst":"10.1.2.0/24"}]"#,
            Code::InvalidConfig,
            "hostRoutes[0].gw",
        );
        refused(
            r#","runtimeConfig":{"mac":"01:00:00:00:00:01"}"#,
            Code::InvalidConfig,
            "runtimeConfig.mac",
        );
    }

    #[test]
    fn the_mac_of_the_runtime_wins_over_args_and_these_over_cni_args() {
        let args = "MAC=02:00:00:00:00:01";
        let mac = |keys| read_with(args, keys).unwrap().mac.unwrap().to_string();
        assert_eq!(mac(""), "02:00:00:00:00:01");
        let cni = r#","args":{"cni":{"mac":"02:00:00:00:00:02"}}"#;
        assert_eq!(mac(cni), "02:00:00:00:00:02");
        let runtime = format!(r#"{cni},"runtimeConfig":{{"mac":"02:00:00:00:00:03"}}"#);
        assert_eq!(mac(&runtime), "02:00:00:00:00:03");
        let bad = read_with("MAC=zz", "").unwrap_err();
        assert!(bad.to_string().contains("CNI_ARGS: MAC: \"zz\""), "{bad}");
        assert_eq!(bad.code(), Code::Environment);
    }

    #[test]
    fn nothing_but_zero_and_the_possible_is_an_mtu() {
        assert_eq!(read(r#","mtu":0"#).mtu, None);
        assert_eq!(read(r#","mtu":68"#).mtu, Some(68));
        assert_eq!(read(r#","mtu":65535"#).mtu, Some(65_535));
    }
}
