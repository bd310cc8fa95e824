//! Reading the plugin's keys.

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
fn vlans_that_cannot_be_are_refused_by_key_and_value() {
    for (keys, words) in [
        (r#","vlan":4095"#, "vlan: 4095"),
        (r#","vlanTrunk":[{"id":0}]"#, "vlanTrunk[0].id: 0"),
        (r#","vlanTrunk":[{"id":4095}]"#, "vlanTrunk[0].id: 4095"),
        (
            r#","vlanTrunk":[{"id":3},{"minID":3}]"#,
            "vlanTrunk[1].maxID: is missing",
        ),
        (
            r#","vlanTrunk":[{"maxID":3}]"#,
            "vlanTrunk[0].minID: is missing",
        ),
        (
            r#","vlanTrunk":[{"minID":9,"maxID":3}]"#,
            "vlanTrunk[0].minID: 9 is greater than maxID 3",
        ),
        (
            r#","vlan":4000,"isGateway":true,"bridge":"elevenchars","ipam":{"type":"static"}"#,
            "has no room for its VLAN's gateway",
        ),
        (r#","vlan":7,"vlanFiltering":false"#, "vlanFiltering"),
    ] {
        refused(keys, Code::InvalidConfig, words);
    }
    let config = read(r#","vlan":7,"vlanTrunk":[{"minID":10,"maxID":20},{"id":30}]"#);
    assert_eq!(config.vlans.wanted().len(), 3);
    assert!(config.vlans.filter && config.gateway_vlan().is_none());
    assert!(read(r#","vlanTrunk":[]"#).vlans.filter);
    assert!(!read(r#","vlan":0"#).vlans.filter);
}

#[test]
fn options_of_the_bridge_that_cannot_be_are_refused() {
    for (keys, words) in [
        (r#","forwardDelay":31"#, "forwardDelay: 31"),
        (
            r#","stp":true,"forwardDelay":1"#,
            "forwardDelay: 1 must be between 2 and 30 seconds with stp",
        ),
        (r#","ageingTime":1000001"#, "ageingTime"),
        (
            r#","moveAddresses":true"#,
            "moveAddresses: cannot be true without uplink",
        ),
        (
            r#","rules":[{"table":100,"from":"self"}]"#,
            "rules: must say from or to as a subnet without ipam",
        ),
        (
            r#","rules":[{"table":100,"iif":"lo"}]"#,
            "rules: must say from or to as a subnet without ipam",
        ),
        (r#","vlanProtocol":"802.1x""#, "vlanProtocol"),
        (r#","manageBridge":false,"promiscMode":true"#, "promiscMode"),
        (
            r#","manageBridge":false,"removeEmptyBridge":true"#,
            "removeEmptyBridge",
        ),
    ] {
        refused(keys, Code::InvalidConfig, words);
    }
    let config = read(r#","stp":true,"forwardDelay":4,"ageingTime":0,"vlanProtocol":"802.1ad""#);
    let same = config.options.of_new(&config);
    assert!(config.options.differences(&config, &same).is_empty());
    let other = cni_common::netlink::bridge::Options {
        forward_delay: Some(std::time::Duration::from_millis(15_500)),
        vlan_protocol: None,
        ..same
    };
    let differences = config.options.differences(&config, &other);
    let expected = [
        ("forwardDelay", "4".to_owned(), Some("15.500".to_owned())),
        ("vlanProtocol", "802.1ad".to_owned(), None),
    ];
    assert_eq!(differences, expected);
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

#[test]
fn rules_are_read_and_those_that_cannot_be_are_refused() {
    let rules = r#","rules":[
        {"from":"self","table":100,"priority":7},
        {"from":"10.1.2.3/24","to":"192.0.2.7","iif":"eth0","oif":"eth1","fwmark":"0x10/0xff","table":9},
        {"fwmark":5,"table":254}],"ipam":{"type":"static"}"#;
    let config = read(rules);
    assert_eq!(config.rules[0].from, From::Own);
    assert_eq!(
        config.rules[1].from,
        From::Net("10.1.2.0/24".parse().unwrap())
    );
    assert_eq!(config.rules[1].to, Some("192.0.2.7/32".parse().unwrap()));
    assert_eq!(config.rules[1].mark, Some((16, 255)));
    assert_eq!(config.rules[2].mark, Some((5, u32::MAX)));
    for (rule, words) in [
        (r#"{"from":"self"}"#, "rules[0].table: is missing"),
        (
            r#"{"from":"self","table":254}"#,
            "rules[0].table: must be one of its own",
        ),
        (r#"{"table":9}"#, "rules[0]"),
        (
            r#"{"from":"10.0.0.1","to":"fd00::1","table":9}"#,
            "rules[0].to: must be of the family",
        ),
        (r#"{"fwmark":"x","table":9}"#, "rules[0].fwmark"),
        (r#"{"from":"selves","table":9}"#, "rules[0].from"),
    ] {
        refused(&format!(r#","rules":[{rule}]"#), Code::InvalidConfig, words);
    }
}
