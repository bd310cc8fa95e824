//! The keys under `ipam`.

use cni_common::args::CniArgs;
use cni_common::ident::{ContainerId, IfName, NetworkName};
use cni_common::json::{Json, Object, Problems};
use cni_common::version::SpecVersion;

use super::*;

fn read(ipam: &str, args: &str) -> (Config, Result<(), String>) {
    let text = format!(r#"{{"name":"lan","ipam":{ipam}}}"#);
    let json = Json::parse(text.as_bytes()).unwrap();
    let problems = Problems::default();
    let args = CniArgs::parse(args);
    let config = Config::read(&Input {
        object: Object::root(&json, &problems).unwrap(),
        args: &args,
        container: None,
        version: SpecVersion::NEWEST,
        command: Command::Add,
    });
    let finished = problems.finish().map_err(|error| error.to_string());
    (config, finished)
}

#[track_caller]
fn good(ipam: &str) -> Config {
    let (config, finished) = read(ipam, "NAME=web;K8S_POD_NAME=pod");
    assert_eq!(finished, Ok(()), "{ipam}");
    config
}

#[test]
fn nothing_but_a_type_is_enough() {
    assert_eq!(good(r#"{"type":"dhcp-ipam"}"#), Config::default());
    assert_eq!(
        good(r#"{"daemonSocketPath":"","priority":0}"#),
        Config::default()
    );
}

#[test]
fn options_are_given_by_name_and_number() {
    let config = good(
        r#"{"provide":[
            {"option":"host-name","value":"old"},
            {"option":"12","fromArg":"NAME","value":"unused"},
            {"option":"vendor-class-identifier","value":"plumb"},
            {"option":"user-class","value":"abc"},
            {"option":"fqdn","fromArg":"K8S_POD_NAME"},
            {"option":"log-servers","value":["10.0.0.1","10.0.0.2"]},
            {"option":"150","hex":"0a:ff"}]}"#,
    );
    let expected: [(u8, &[u8]); 6] = [
        (12, b"web"),
        (60, b"plumb"),
        (77, b"\x03abc"),
        (81, b"\x05\x00\x00\x03pod"),
        (7, &[10, 0, 0, 1, 10, 0, 0, 2]),
        (150, &[10, 255]),
    ];
    let found: Vec<_> = config
        .options
        .iter()
        .map(|(code, data)| (*code, &data[..]))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn an_argument_that_the_call_does_not_have_leaves_the_value_or_nothing() {
    let config = good(
        r#"{"provide":[{"option":"12","fromArg":"NO","value":"x"},{"option":"60","fromArg":"NO"}]}"#,
    );
    assert_eq!(config.options, [(12, b"x".to_vec())]);
}

#[test]
fn requests_are_added_to_the_usual_unless_told_otherwise() {
    let config = good(r#"{"request":[{"option":"ntp-servers"},{"option":"3"}]}"#);
    assert_eq!(config.request, [&REQUEST[..], &[42]].concat());
    let config = good(r#"{"request":[{"skipDefault":true},{"option":"1"}]}"#);
    assert_eq!(config.request, [1]);
    let config = good(r#"{"request":[{"option":"","skipDefault":true}]}"#);
    assert_eq!(config.request, [1]);
}

#[test]
fn client_identifiers_are_short_and_stable() {
    let owner = Owner {
        network: NetworkName::parse("lan").unwrap(),
        container: ContainerId::parse("c1").unwrap(),
        ifname: IfName::parse("eth0").unwrap(),
    };
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let id = |ipam: &str| good(ipam).settings(&owner, mac).client_id;
    let hash = id("{}");
    assert_eq!((hash.len(), hash[0]), (9, 0));
    assert_eq!(hash, id(r#"{"clientId":"hash"}"#));
    assert_eq!(id(r#"{"clientId":"mac"}"#), [1, 2, 0, 0, 0, 0, 7]);
    assert_eq!(id(r#"{"clientId":"legacy"}"#), b"\0c1/lan/eth0");
    assert_eq!(id(r#"{"clientId":"web"}"#), b"\0web");
    assert_eq!(id(r#"{"clientId":"hex:ff:01"}"#), [255, 1]);
    let provided = r#"{"provide":[{"option":"dhcp-client-identifier","value":"id"}]}"#;
    assert_eq!(id(provided), b"id");
}

#[test]
fn all_that_cannot_be_is_named_at_once() {
    let (_, refused) = read(
        r#"{"daemonSocketPath":"run","timeoutSecs":0,"arpProbeMs":-1,"clientId":"hex:f","priority":-1,
            "provide":[{"option":"53","value":"x"},{"option":"nonsense","value":"x"},{"option":"12"},
                       {"option":"7","value":["x"]},{"value":"x"}],
            "request":[{"option":"255"}]}"#,
        "",
    );
    let text = refused.unwrap_err();
    for part in [
        r#"ipam.daemonSocketPath: "run" must be an absolute path"#,
        "ipam.timeoutSecs: 0 must be between 1 and 600",
        "ipam.arpProbeMs: -1 must be between 0 and 10000",
        "ipam.clientId: ",
        "ipam.priority: -1",
        r#"ipam.provide[0].option: "53" is for the client itself to send"#,
        r#"ipam.provide[1].option: "nonsense" must be the name of an option"#,
        "ipam.provide[2].value: is missing",
        r#"ipam.provide[3].value[0]: "x" must be an IPv4 address"#,
        "ipam.provide[4].option: is missing",
        r#"ipam.request[0].option: "255" must be"#,
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}
