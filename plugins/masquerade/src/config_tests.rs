//! What is read from a configuration, and what is refused.

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
            "bridgeNfCall": true, "restoreSysctls": true, "masquerade": false, "clampMss": 1360,
            "exclude": ["10.96.0.1/12", "fd00:2::/64"], "ingressPolicy": "same-bridge", "backend": "iptables", "iptablesAdminChainName": "EXCEPTIONS"}"#,
    )
    .unwrap();
    assert_eq!(config.sources(Family::V4).count(), 1);
    assert_eq!(
        config.sources(Family::V4).next(),
        Some("192.168.102.0/24".parse().unwrap())
    );
    assert_eq!(
        config.to_source(Family::V6),
        Some(NatTo::Address("2001:db8::2".parse().unwrap()))
    );
    assert_eq!(config.forward, Forward::Stateful);
    assert_eq!(config.out_interface.as_ref().unwrap().as_str(), "eth0");
    assert!(
        config.ip_forward == Forwarding::LEAVE
            && config.restore_sysctls
            && config.masquerade.is_empty()
    );
    assert_eq!(config.ingress, Ingress::SameBridge);
    assert_eq!(config.clamp_mss, Some(Mss::Bytes(1360)));
    let excluded: Vec<Cidr> = config.excluded(Family::V4).collect();
    assert_eq!(excluded, ["10.96.0.0/12".parse().unwrap()]);
    let clamped = read(r#"{"clampMss": true}"#).unwrap();
    assert_eq!(clamped.clamp_mss, Some(Mss::OfRoute));
    assert_eq!(read(r#"{"clampMss": false}"#).unwrap(), Config::default());
    assert_eq!(config.bridge_nf_call, Some(true));
    assert_eq!(config.admin.name, "EXCEPTIONS");
    assert_eq!(config.admin.make, Make::Always);
    let firewall = read(r#"{"type": "firewall"}"#).unwrap();
    assert_eq!(firewall.admin.make, Make::WithIptables);
    let one = read(r#"{"toSource": "203.0.113.2"}"#).unwrap();
    assert_eq!(one.to_source(Family::V6), None);
    assert!(one.to_source(Family::V4).is_some());
}

#[test]
fn as_firewall_it_does_what_the_reference_plugin_does() {
    let config = read(r#"{"type": "firewall", "ingressPolicy": "isolated"}"#).unwrap();
    assert!(config.masquerade.is_empty() && config.ip_forward == Forwarding::LEAVE);
    assert_eq!(config.ingress, Ingress::Isolated);
    let asked = read(r#"{"type": "firewall", "masquerade": true, "ipForward": true}"#).unwrap();
    assert!(asked.translates(Family::V6) && asked.ip_forward == Forwarding::default());
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
            "forward: \"closed\" must be \"open\", \"stateful\" or \"isolated\"",
        ),
        (
            r#"{"ingressPolicy": "closed"}"#,
            "ingressPolicy: \"closed\" must be \"open\", \"same-bridge\" or \"isolated\"",
        ),
        (r#"{"clampMss": 500}"#, "clampMss: 500 "),
        (
            r#"{"exclude": ["10.0.0.1"]}"#,
            "exclude[0]: \"10.0.0.1\" is not an address with a prefix length",
        ),
        (
            r#"{"backend": "iptabels"}"#,
            "backend: \"iptabels\" must be \"auto\", \"nftables\"",
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

#[test]
fn forwarding_is_said_for_each_family() {
    use crate::forwarding::Scope;
    let config = read(r#"{"ipForward": {"ipv4": ["eth0", "eth1"], "ipv6": false}}"#).unwrap();
    assert!(matches!(&config.ip_forward.v4, Scope::Interfaces(names) if names.len() == 2));
    assert_eq!(config.ip_forward.v6, Scope::Leave);
    let config = read(r#"{"ipForward": {"ipv6": []}}"#).unwrap();
    assert_eq!(config.ip_forward.v4, Scope::Host);
    for (wrong, words) in [
        (r#"{"ipForward": "yes"}"#, "ipForward"),
        (r#"{"ipForward": {"ipv4": "eth0"}}"#, "ipForward.ipv4"),
        (r#"{"ipForward": {"ipv6": ["a/b"]}}"#, "ipForward.ipv6[0]"),
    ] {
        let error = read(wrong).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn firewalld_has_a_zone() {
    let config = read(r#"{"backend": "firewalld", "firewalldZone": ""}"#).unwrap();
    assert_eq!(config.backend, Backend::Firewalld);
    assert_eq!(config.firewalld_zone.as_deref(), Some("trusted"));
    let config = read(r#"{"firewalldZone": "containers"}"#).unwrap();
    assert_eq!(config.firewalld_zone.as_deref(), Some("containers"));
}
