//! The keys of the configuration.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family, parse_ip};
use cni_common::config::{Configuration, Input};
use cni_common::ident::IfName;
use cni_common::json::Value;

/// Which connections may be opened through the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// Any: the plugin drops nothing.
    #[default]
    Open,
    /// Those that the network opens; towards it only replies pass.
    Stateful,
}

/// Which other networks of the host reach the network (`ingressPolicy` of the reference plugin `firewall`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// All.
    #[default]
    Open,
    /// None that has a policy other than `open`.
    SameBridge,
    /// As [`Ingress::SameBridge`]; and what the host forwards from one container of the network to another is dropped too.
    Isolated,
}

/// The keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `masquerade`: whether sources are translated.
    pub masquerade: bool,
    /// `sources`: networks behind the containers, translated and guarded like the containers' own addresses.
    pub sources: Vec<Cidr>,
    /// `outInterface`: only what leaves by this interface is translated.
    pub out_interface: Option<IfName>,
    /// `toSource`: the address that the outside sees, at most one of a family; without one, that of the
    /// interface by which a packet leaves.
    pub to_source: Vec<IpAddr>,
    /// `forward`.
    pub forward: Forward,
    /// `ingressPolicy`.
    pub ingress: Ingress,
    /// `ipForward`: whether forwarding is switched on for each family in use.
    pub ip_forward: bool,
    /// `bridgeNfCall`: whether bridged frames are to pass the host's IP rules; `None` leaves it as it is.
    pub bridge_nf_call: Option<bool>,
    /// `restoreSysctls`: whether what was switched is remembered and put back with the last attachment.
    pub restore_sysctls: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            masquerade: true,
            sources: Vec::new(),
            out_interface: None,
            to_source: Vec::new(),
            forward: Forward::Open,
            ingress: Ingress::Open,
            ip_forward: true,
            bridge_nf_call: None,
            restore_sysctls: false,
        }
    }
}

impl Config {
    /// The fixed source address of a family, if one is configured.
    pub fn to_source(&self, family: Family) -> Option<IpAddr> {
        let mut addresses = self.to_source.iter().copied();
        addresses.find(|address| Family::of(*address) == family)
    }

    /// The networks behind the containers that are of a family.
    pub fn sources(&self, family: Family) -> impl Iterator<Item = Cidr> {
        let of_family = move |source: &Cidr| source.family() == family;
        self.sources.iter().copied().filter(of_family)
    }
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        let mut sources = Vec::new();
        for item in object.items("sources") {
            sources.extend(read_source(&item).filter(|source| !sources.contains(source)));
        }
        let mut to_source: Vec<IpAddr> = Vec::new();
        for item in object.get("toSource").map(one_or_many).unwrap_or_default() {
            let Some(address) = read_to_source(&item) else {
                continue;
            };
            let family = Family::of(address);
            if to_source.iter().any(|other| Family::of(*other) == family) {
                item.refuse(format_args!("is a second {family} address: one is allowed"));
            }
            to_source.push(address);
        }
        let flag = |key| object.get(key).and_then(|value| value.bool());
        // What the reference plugin of that name does not do is done only on request.
        let is_firewall = object
            .get("type")
            .is_some_and(|kind| kind.string() == Some("firewall"));
        if let Some(backend) = object.get("backend") {
            check_backend(&backend);
        }
        Self {
            masquerade: flag("masquerade").unwrap_or(!is_firewall),
            sources,
            out_interface: object.parse_with("outInterface", IfName::parse),
            to_source,
            forward: object
                .get("forward")
                .as_ref()
                .map(read_forward)
                .unwrap_or_default(),
            ingress: object
                .get("ingressPolicy")
                .as_ref()
                .map(read_ingress)
                .unwrap_or_default(),
            ip_forward: flag("ipForward").unwrap_or(!is_firewall),
            bridge_nf_call: flag("bridgeNfCall"),
            restore_sysctls: object.flag("restoreSysctls"),
        }
    }
}

/// A list, or a string as a list of one; the empty string is no address.
fn one_or_many(value: Value<'_>) -> Vec<Value<'_>> {
    if let cni_common::json::Json::String(text) = value.json() {
        return if text.is_empty() {
            Vec::new()
        } else {
            vec![value]
        };
    }
    value.items()
}

fn read_source(item: &Value<'_>) -> Option<Cidr> {
    let source = item.parse::<Cidr>()?.network();
    if source.is_default_route() {
        item.refuse("is everything: name the networks behind the containers");
        return None;
    }
    let address = source.address();
    if address.is_multicast() || address.is_loopback() || address.is_unspecified() {
        item.refuse("cannot be the source of a packet that is forwarded");
        return None;
    }
    Some(source)
}

fn read_to_source(item: &Value<'_>) -> Option<IpAddr> {
    let address = item.parse_with(parse_ip)?;
    if address.is_multicast() || address.is_loopback() || address.is_unspecified() {
        item.refuse("cannot be the source of a packet that is forwarded");
        return None;
    }
    Some(address)
}

fn read_forward(value: &Value<'_>) -> Forward {
    match value.string() {
        Some("open" | "") | None => Forward::Open,
        Some("stateful") => Forward::Stateful,
        Some(_) => {
            value.refuse("must be \"open\" or \"stateful\"");
            Forward::Open
        }
    }
}

fn read_ingress(value: &Value<'_>) -> Ingress {
    match value.string() {
        Some("open" | "") | None => Ingress::Open,
        Some("same-bridge") => Ingress::SameBridge,
        Some("isolated") => Ingress::Isolated,
        Some(_) => {
            value.refuse("must be \"open\", \"same-bridge\" or \"isolated\"");
            Ingress::Open
        }
    }
}

/// Whatever tool a configuration for the reference plugin names, the rules are made through nftables, and where
/// iptables drops what it does not know, in its chains as well.
fn check_backend(value: &Value<'_>) {
    match value.string() {
        Some("auto" | "nftables" | "iptables" | "") | None => {}
        Some("firewalld") => {
            value.refuse("is not supported: put the bridge into a zone, and leave the key out");
        }
        Some(_) => {
            value.refuse("must be \"auto\", \"nftables\" or \"iptables\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use cni_common::args::CniArgs;
    use cni_common::env::Command;
    use cni_common::error::Error;
    use cni_common::json::{Json, Object, Problems};
    use cni_common::version::SpecVersion;

    use super::*;

    fn read(text: &str) -> Result<Config, Error> {
        let json = Json::parse(text.as_bytes())?;
        let problems = Problems::default();
        let config = Config::read(&Input {
            object: Object::root(&json, &problems)?,
            args: &CniArgs::default(),
            container: None,
            version: SpecVersion::NEWEST,
            command: Command::Add,
        });
        problems.finish().map(|()| config)
    }

    #[test]
    fn without_keys_everything_is_at_its_default() {
        assert_eq!(read("{}").unwrap(), Config::default());
        let empty = r#"{"toSource": "", "outInterface": "", "forward": "", "sources": null}"#;
        assert_eq!(read(empty).unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_read() {
        let config = read(
            r#"{"sources": ["192.168.102.7/24", "fd00:1::/48", "192.168.102.0/24"], "outInterface": "eth0",
                "toSource": ["203.0.113.2", "2001:db8::2"], "forward": "stateful", "ipForward": false,
                "bridgeNfCall": true, "restoreSysctls": true, "masquerade": false,
                "ingressPolicy": "same-bridge", "backend": "iptables"}"#,
        )
        .unwrap();
        assert_eq!(config.sources(Family::V4).count(), 1);
        assert_eq!(
            config.sources(Family::V4).next(),
            Some("192.168.102.0/24".parse().unwrap())
        );
        assert_eq!(
            config.to_source(Family::V6),
            Some("2001:db8::2".parse().unwrap())
        );
        assert_eq!(config.forward, Forward::Stateful);
        assert_eq!(config.out_interface.unwrap().as_str(), "eth0");
        assert!(!config.ip_forward && config.restore_sysctls && !config.masquerade);
        assert_eq!(config.ingress, Ingress::SameBridge);
        assert_eq!(config.bridge_nf_call, Some(true));
        let one = read(r#"{"toSource": "203.0.113.2"}"#).unwrap();
        assert_eq!(one.to_source(Family::V6), None);
        assert!(one.to_source(Family::V4).is_some());
    }

    #[test]
    fn as_firewall_it_does_what_the_reference_plugin_does() {
        let config = read(r#"{"type": "firewall", "ingressPolicy": "isolated"}"#).unwrap();
        assert!(!config.masquerade && !config.ip_forward);
        assert_eq!(config.ingress, Ingress::Isolated);
        let asked = read(r#"{"type": "firewall", "masquerade": true, "ipForward": true}"#).unwrap();
        assert!(asked.masquerade && asked.ip_forward);
    }

    #[test]
    fn what_cannot_be_is_refused_with_key_value_and_rule() {
        for (text, words) in [
            (
                r#"{"sources": ["0.0.0.0/0"]}"#,
                "sources[0]: \"0.0.0.0/0\" is everything",
            ),
            (
                r#"{"sources": ["10.0.0.0/8", "224.0.0.0/4"]}"#,
                "sources[1]: \"224.0.0.0/4\" cannot be the source",
            ),
            (
                r#"{"sources": ["10.0.0.1"]}"#,
                "sources[0]: \"10.0.0.1\" is not an address with a prefix length",
            ),
            (
                r#"{"toSource": ["10.0.0.1", "10.0.0.2"]}"#,
                "toSource[1]: \"10.0.0.2\" is a second IPv4 address",
            ),
            (r#"{"toSource": "::"}"#, "toSource: \"::\" cannot be"),
            (
                r#"{"toSource": "10.0.0.1/24"}"#,
                "toSource: \"10.0.0.1/24\" is not an IPv4 or IPv6 address",
            ),
            (
                r#"{"outInterface": "a/b"}"#,
                "outInterface: interface name \"a/b\"",
            ),
            (
                r#"{"forward": "closed"}"#,
                "forward: \"closed\" must be \"open\" or \"stateful\"",
            ),
            (
                r#"{"ingressPolicy": "closed"}"#,
                "ingressPolicy: \"closed\" must be \"open\", \"same-bridge\" or \"isolated\"",
            ),
            (
                r#"{"backend": "firewalld"}"#,
                "backend: \"firewalld\" is not supported",
            ),
            (
                r#"{"backend": "iptabels"}"#,
                "backend: \"iptabels\" must be \"auto\", \"nftables\" or \"iptables\"",
            ),
        ] {
            let refused = read(text).unwrap_err();
            assert_eq!(refused.code().number(), 7, "{text}");
            assert!(refused.to_string().contains(words), "{refused}");
        }
        for text in [
            r#"{"ipForward": "no"}"#,
            r#"{"sources": "10.0.0.0/8"}"#,
            r#"{"toSource": 7}"#,
        ] {
            assert_eq!(read(text).unwrap_err().code().number(), 6, "{text}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let refused = read(r#"{"forward": "x", "toSource": "y"}"#).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("forward:") && text.contains("toSource:"),
            "{text}"
        );
    }
}
