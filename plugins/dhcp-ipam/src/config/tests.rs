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
            {"option":"150","hex":"0a:ff"},
            {"option":"default-ip-ttl","value":64},
            {"option":"Interface MTU","value":1400},
            {"option":"time-offset","value":-3600},
            {"option":"ip-forwarding","value":true},
            {"option":"ntp-servers","value":"10.0.0.1, 10.0.0.2"},
            {"option":"domain-search","value":["a.example","b"]},
            {"option":93,"value":7},
            {"option":"224","value":258,"bytes":2}]}"#,
    );
    let expected: [(u8, &[u8]); 14] = [
        (12, b"web"),
        (60, b"plumb"),
        (77, b"\x03abc"),
        (81, b"\x05\x00\x00\x03pod"),
        (7, &[10, 0, 0, 1, 10, 0, 0, 2]),
        (150, &[10, 255]),
        (23, &[64]),
        (26, &[5, 120]),
        (2, &[0xff, 0xff, 0xf1, 0xf0]),
        (19, &[1]),
        (42, &[10, 0, 0, 1, 10, 0, 0, 2]),
        (119, b"\x01a\x07example\0\x01b\0"),
        (93, &[0, 7]),
        (224, &[1, 2]),
    ];
    let found: Vec<_> = config
        .options
        .iter()
        .map(|(code, data)| (*code, &data[..]))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn several_user_classes_are_a_list_and_one_may_come_from_an_argument() {
    let classes = |provide: &str| good(&format!(r#"{{"provide":[{provide}]}}"#)).options;
    assert_eq!(
        classes(r#"{"option":"user-class","value":["ab","c"]}"#),
        [(77, b"\x02ab\x01c".to_vec())]
    );
    assert_eq!(
        classes(r#"{"option":"user-class","fromArg":"NAME"}"#),
        [(77, b"\x03web".to_vec())]
    );
    assert_eq!(
        classes(r#"{"option":"fqdn","value":"web.example."}"#),
        [(81, b"\x05\0\0\x03web\x07example\0".to_vec())]
    );
}

#[test]
fn the_largest_message_is_configured_or_ours() {
    let size = |ipam: &str| good(ipam).options;
    assert_eq!(size("{}"), []);
    assert_eq!(size(r#"{"maxMessageSize":576}"#), [(57, vec![2, 64])]);
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
    let duid = id(r#"{"clientId":"duid"}"#);
    // Type 255, four bytes of IAID, and a DUID-UUID.
    assert_eq!((duid.len(), duid[0], &duid[5..7]), (23, 255, &[0, 4][..]));
    assert_eq!(id(r#"{"clientId":"hex:ff:01"}"#), [255, 1]);
    let provided = r#"{"provide":[{"option":"dhcp-client-identifier","value":"id"}]}"#;
    assert_eq!(id(provided), b"id");
}

#[test]
fn with_inform_the_address_is_the_runtimes_or_the_configurations() {
    let own = |ipam: &str, args: &str| {
        let (config, finished) = read(ipam, args);
        (config.inform.map(|cidr| cidr.to_string()), finished)
    };
    let with = r#"{"inform":true,"address":"10.0.0.5/24"}"#;
    assert_eq!(own(with, "").0.as_deref(), Some("10.0.0.5/24"));
    assert_eq!(
        own(with, "IP=10.0.0.6/24").0.as_deref(),
        Some("10.0.0.6/24")
    );
    assert_eq!(own(r#"{"address":"10.0.0.5/24"}"#, "").0, None);
    for (ipam, args, reason) in [
        (
            r#"{"inform":true}"#,
            "",
            "ipam.inform: wants an IPv4 address",
        ),
        (
            r#"{"inform":true,"address":"fd00::1/64"}"#,
            "",
            "must be an IPv4 address",
        ),
        (
            r#"{"inform":true,"address":"127.0.0.1/8"}"#,
            "",
            "ipam.address: ",
        ),
        (with, "IP=10.0.0.6", "CNI_ARGS: IP: "),
    ] {
        let refused = own(ipam, args).1.unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn all_that_cannot_be_is_named_at_once() {
    let (_, refused) = read(
        r#"{"daemonSocketPath":"run","timeoutSecs":0,"arpProbeMs":-1,"clientId":"hex:f","priority":-1,
            "provide":[{"option":"53","value":"x"},{"option":"nonsense","value":"x"},{"option":"12"},
                       {"option":"7","value":["x"]},{"value":"x"},
                       {"option":"23","value":256},{"option":"224","value":1},{"option":"26","value":"x"},
                       {"option":"fqdn","value":"a..b"},{"option":"log-servers","value":"x"}],
            "maxMessageSize":575,
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
        "ipam.provide[5].value: 256 must be between 0 and 255",
        "ipam.provide[6].value: 1 is a number, and how long this option is, is for the key bytes to say",
        r#"ipam.provide[7].value: "x" must be a number that fits into the option"#,
        r#"ipam.provide[8].value: "a..b" must be a name with 1 to 63 bytes between its dots"#,
        r#"ipam.provide[9].value: "x" must be an IPv4 address"#,
        "ipam.maxMessageSize: 575 must be between 576 and 1472",
        r#"ipam.request[0].option: "255" must be"#,
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}
