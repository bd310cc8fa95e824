//! The protocol's rules, each through [`serve`] with no process.

use std::cell::RefCell;
use std::ffi::OsString;
use std::net::Ipv4Addr;

use super::*;
use crate::addr::Cidr;
use crate::code::Code;
use crate::config::Input;
use crate::json::{Json, Object, Problems};
use crate::result::{Interface, IpConfig};

/// Records which of its functions ran.
#[derive(Default)]
struct Recorder {
    calls: RefCell<Vec<String>>,
}

/// One key, which must be between 1 and 10.
struct Keys {
    number: Option<u32>,
}

impl Configuration for Keys {
    fn read(input: &Input<'_>) -> Self {
        Self {
            number: input.object.unsigned("number", 10),
        }
    }
}

impl Recorder {
    fn record(&self, call: impl Into<String>) {
        self.calls.borrow_mut().push(call.into());
    }
}

impl Plugin for Recorder {
    type Config = Keys;
    const ABOUT: About = About {
        name: "recorder",
        release: "0.1.0",
        versions: SpecVersion::V0_2_0..=SpecVersion::V1_1_0,
    };

    fn add(&self, call: &Call<Keys>) -> Result<Attachment, Error> {
        self.record(format!("add {} {:?}", call.owner(), call.config.number));
        Ok(Attachment {
            interfaces: vec![Interface {
                name: call.ifname.to_string(),
                sandbox: Some(call.netns_path.clone()),
                ..Interface::default()
            }],
            ips: vec![IpConfig {
                interface: Some(0),
                address: Cidr::host(Ipv4Addr::new(10, 0, 0, 2).into()),
                gateway: None,
            }],
            ..Attachment::default()
        })
    }

    fn check(&self, call: &Call<Keys>) -> Result<(), Error> {
        call.required_previous()?;
        self.record("check");
        Ok(())
    }

    fn del(&self, call: &DelCall<Keys>) -> Result<(), Error> {
        let place = if call.netns.is_some() {
            "inside"
        } else {
            "gone"
        };
        self.record(format!("del {place} {:?}", call.config.number));
        Ok(())
    }

    fn status(&self, _: &StatusCall<Keys>) -> Result<(), Error> {
        self.record("status");
        Err(Error::new(Code::NotAvailable, "no").with_details("why"))
    }

    fn gc(&self, call: &GcCall<Keys>) -> Result<(), Error> {
        let valid: Vec<String> = call.valid.iter().map(|(c, i)| format!("{c}/{i}")).collect();
        self.record(format!("gc [{}]", valid.join(" ")));
        Ok(())
    }
}

/// What a call printed, and what the plugin was asked.
struct Answer {
    printed: Result<String, Refusal>,
    calls: Vec<String>,
}

impl Answer {
    #[track_caller]
    fn succeeded(&self, calls: &[&str]) -> &str {
        assert_eq!(self.calls, calls);
        match &self.printed {
            Ok(printed) => printed,
            Err(refusal) => panic!("{}", refusal.to_json()),
        }
    }

    /// The call was refused before the plugin was asked.
    #[track_caller]
    fn refused(&self, code: u32, words: &str) {
        assert_eq!(self.calls, Vec::<String>::new(), "the plugin was called");
        let refusal = self.printed.as_ref().unwrap_err();
        assert_eq!(refusal.error.code().number(), code, "{}", refusal.error);
        let text = format!("{} {}", refusal.error, refusal.error.details());
        assert!(text.contains(words), "{text:?} has no {words:?}");
    }
}

const CONF: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"recorder"}"#;

fn call_with(variables: &[(&str, &str)], stdin: &str) -> Answer {
    let recorder = Recorder::default();
    let lookup = |name: &str| {
        variables
            .iter()
            .rfind(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    let printed = serve(&recorder, &lookup, stdin.as_bytes());
    Answer {
        printed,
        calls: recorder.calls.into_inner(),
    }
}

/// A call with all variables set, the namespace being another than the test's.
fn call(command: &str, stdin: &str) -> Answer {
    call_in(command, stdin, "/proc/thread-self/ns/net", "1")
}

fn call_in(command: &str, stdin: &str, netns: &str, allowed: &str) -> Answer {
    let variables = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", netns),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_NETNS_OVERRIDE", allowed),
    ];
    call_with(&variables, stdin)
}

#[test]
fn add_prints_the_result_in_the_configurations_version() {
    let answer = call("ADD", CONF);
    let printed = answer.succeeded(&["add net/c1/eth0 None"]);
    let json = Json::parse(printed.as_bytes()).unwrap();
    assert_eq!(
        json.to_line(),
        r#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/proc/thread-self/ns/net"}],"ips":[{"interface":0,"address":"10.0.0.2/32"}]}"#
    );
    let answer = call("ADD", r#"{"cniVersion":"0.2.0","name":"net"}"#);
    let printed = answer.succeeded(&["add net/c1/eth0 None"]);
    let json = Json::parse(printed.as_bytes()).unwrap();
    assert_eq!(
        json.to_line(),
        r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/32"},"dns":{}}"#
    );
}

#[test]
fn check_del_and_gc_print_nothing() {
    let with_result = r#"{"cniVersion":"1.1.0","name":"net","prevResult":{}}"#;
    assert_eq!(call("CHECK", with_result).succeeded(&["check"]), "");
    assert_eq!(call("DEL", CONF).succeeded(&["del inside None"]), "");
    let gc = r#"{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]}"#;
    assert_eq!(call("GC", gc).succeeded(&["gc [c1/eth0]"]), "");
}

#[test]
fn an_error_result_has_version_code_message_and_details() {
    let answer = call("STATUS", CONF);
    let text = answer.printed.unwrap_err().to_json();
    assert_eq!(
        Json::parse(text.as_bytes()).unwrap().to_line(),
        r#"{"cniVersion":"1.1.0","code":50,"msg":"no","details":"why"}"#
    );
}

#[test]
fn version_echoes_the_version_asked_with() {
    let expected = r#""supportedVersions":["0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#;
    for (stdin, echoed) in [
        (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
        (r#"{"cniVersion":"9.9.9"}"#, "9.9.9"),
        ("{}", "1.1.0"),
        ("", "1.1.0"),
    ] {
        let answer = call("VERSION", stdin);
        let printed = answer.succeeded(&[]);
        assert_eq!(printed, format!(r#"{{"cniVersion":"{echoed}",{expected}"#));
    }
    call("VERSION", "{").refused(6, "not JSON");
}

#[test]
fn version_works_with_nothing_but_the_command() {
    let answer = call_with(&[("CNI_COMMAND", "VERSION"), ("CNI_IFNAME", "a/b")], "{}");
    assert!(answer.succeeded(&[]).contains("supportedVersions"));
}

#[test]
fn an_unknown_or_missing_command_is_refused() {
    call("FROB", CONF).refused(4, "unknown CNI_COMMAND: \"FROB\"");
    call("add", CONF).refused(4, "unknown CNI_COMMAND: \"add\"");
    call_with(&[], CONF).refused(4, "CNI_COMMAND");
}

#[test]
fn missing_variables_are_refused_before_stdin_is_judged() {
    let variables = [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1")];
    call_with(&variables, "not json").refused(4, "[CNI_NETNS,CNI_IFNAME] missing");
}

#[test]
fn impossible_names_are_refused_with_the_variable_named() {
    let base = [
        ("CNI_COMMAND", "DEL"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
    ];
    for (name, value) in [
        ("CNI_CONTAINERID", "../c1"),
        ("CNI_IFNAME", "much-too-long-name"),
        ("CNI_IFNAME", ".."),
    ] {
        let mut variables = base.to_vec();
        variables.push((name, value));
        call_with(&variables, CONF).refused(4, &format!("{name}: "));
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    for stdin in ["", "{", "[]", "3", "{} {}"] {
        call("ADD", stdin).refused(6, "");
    }
    call("ADD", r#"{"cniVersion":1}"#).refused(6, "cniVersion: 1 is a number");
    call("ADD", r#"{"cniVersion":"1.1.0"}"#).refused(7, "name: is missing");
    call("ADD", r#"{"cniVersion":"1.1.0","name":""}"#).refused(7, "name: is missing");
    call("ADD", r#"{"cniVersion":"1.1.0","name":"a b"}"#).refused(7, "\"a b\"");
    call("ADD", r#"{"cniVersion":"1.1.0","name":["x"]}"#).refused(6, "name: ");
}

#[test]
fn a_version_that_the_plugin_lacks_is_refused() {
    for version in ["1.0", "2.0.0", "0.1.0"] {
        let conf = format!(r#"{{"cniVersion":"{version}","name":"net"}}"#);
        call("ADD", &conf).refused(
            1,
            &format!("config is \"{version}\", plugin supports [0.2.0, "),
        );
    }
    call("ADD", r#"{"name":"net"}"#).refused(1, "config is \"0.1.0\"");
}

#[test]
fn a_version_refusal_and_a_later_one_carry_their_version() {
    let unknown = call("ADD", r#"{"cniVersion":"1.0","name":"net"}"#);
    assert!(
        unknown
            .printed
            .unwrap_err()
            .to_json()
            .contains("\"cniVersion\": \"1.1.0\"")
    );
    let old = call("ADD", r#"{"cniVersion":"0.4.0","name":"a b"}"#);
    assert!(
        old.printed
            .unwrap_err()
            .to_json()
            .contains("\"cniVersion\": \"0.4.0\"")
    );
}

#[test]
fn commands_that_a_version_lacks_are_refused() {
    let conf =
        |version: &str| format!(r#"{{"cniVersion":"{version}","name":"net","prevResult":{{}}}}"#);
    call("CHECK", &conf("0.3.1")).refused(1, "config version does not allow CHECK");
    call("CHECK", &conf("0.4.0")).succeeded(&["check"]);
    for command in ["STATUS", "GC"] {
        let words = format!("config version does not allow {command}");
        call(command, &conf("1.0.0")).refused(1, &words);
    }
}

#[test]
fn a_faulty_configuration_is_refused_but_does_not_stop_a_del() {
    let faulty = r#"{"cniVersion":"1.1.0","name":"net","number":11}"#;
    call("ADD", faulty).refused(7, "number: 11 must be between 0 and 10");
    call("DEL", faulty).succeeded(&["del inside None"]);
}

#[test]
fn a_faulty_previous_result_is_refused_with_its_path() {
    let conf =
        r#"{"cniVersion":"1.1.0","name":"net","prevResult":{"ips":[{"address":"10.0.0.1"}]}}"#;
    call("ADD", conf).refused(7, "ips[0].address: \"10.0.0.1\"");
    call("DEL", conf).succeeded(&["del inside None"]);
}

#[test]
fn the_plugins_own_namespace_is_refused_before_the_plugin_runs() {
    let own = "/proc/thread-self/ns/net";
    call_in("ADD", CONF, own, "").refused(8, own);
    call_in("CHECK", CONF, own, "").refused(8, own);
    call_in("DEL", CONF, own, "").succeeded(&["del gone None"]);
    call_in("ADD", CONF, own, "true").succeeded(&["add net/c1/eth0 None"]);
}

#[test]
fn a_namespace_that_is_gone() {
    let nowhere = "/nowhere/netns/c1";
    call_in("ADD", CONF, nowhere, "").refused(3, nowhere);
    call_in("CHECK", CONF, nowhere, "").refused(102, nowhere);
    call_in("DEL", CONF, nowhere, "").succeeded(&["del gone None"]);
    call_in("DEL", CONF, "", "").succeeded(&["del gone None"]);
}

#[test]
fn what_is_no_namespace_is_refused() {
    call_in("ADD", CONF, "/etc/passwd", "").refused(4, "CNI_NETNS: /etc/passwd");
    call_in("DEL", CONF, "/etc/passwd", "").succeeded(&["del gone None"]);
}

#[test]
fn gc_tells_an_empty_list_from_no_list() {
    let conf = |list: &str| format!(r#"{{"cniVersion":"1.1.0","name":"net"{list}}}"#);
    call("GC", &conf("")).succeeded(&[]);
    call("GC", &conf(r#","cni.dev/valid-attachments":[]"#)).succeeded(&["gc []"]);
    call("GC", &conf(r#","cni.dev/valid-attachments":null"#)).succeeded(&["gc []"]);
    let other = r#","cni.dev/attachments":[{"containerID":"c2","ifname":"net1"}]"#;
    call("GC", &conf(other)).succeeded(&["gc [c2/net1]"]);
}

#[test]
fn gc_with_a_broken_entry_removes_nothing() {
    let conf =
        r#"{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":[{"containerID":"c1"}]}"#;
    call("GC", conf).refused(7, "must have a containerID and an ifname");
    let conf = r#"{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":"c1"}"#;
    call("GC", conf).refused(6, "cni.dev/valid-attachments");
}

#[test]
fn the_about_lines_take_the_name_of_the_link() {
    let about = Recorder::ABOUT;
    assert_eq!(
        about_lines(&about, "/opt/cni/bin/recorder"),
        "CNI recorder plugin v0.1.0\n\
         CNI protocol versions supported: 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    );
    let lines = about_lines(&about, "/opt/cni/bin/firewall");
    assert!(
        lines.starts_with("CNI firewall plugin v1.9.1+plumb.0.1.0\n"),
        "{lines}"
    );
}

#[test]
fn a_result_without_room_in_its_version_is_refused() {
    let json =
        Json::parse(br#"{"ips":[{"address":"10.0.0.1/8"},{"address":"10.0.0.2/8"}]}"#).unwrap();
    let problems = Problems::default();
    let two = Attachment::read(&Object::root(&json, &problems).unwrap());
    let refused = super::call::check_room(SpecVersion::V0_2_0, &two).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidConfig);
    assert!(super::call::check_room(SpecVersion::V0_3_0, &two).is_ok());
}
