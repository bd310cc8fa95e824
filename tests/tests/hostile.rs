//! Input from somebody who means harm: a clear error at once, in little memory, and nothing changed.

#![cfg(test)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use plumb_tests::{Host, Outcome, Value, conf, json};

const OPERATIONS: [&str; 5] = ["ADD", "DEL", "CHECK", "STATUS", "GC"];

/// The kernel ends a plugin that computes for more than a second, and gives it no more than 64 MiB of address space.
const LIMITS: [&str; 3] = ["prlimit", "--cpu=1", "--as=67108864"];

/// No answer may take longer, however much else the machine has to do.
const AT_ONCE: Duration = Duration::from_secs(20);

/// The longest answer in bytes: it goes into logs and events.
const ANSWER: usize = 8192;

fn names() -> Vec<String> {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")).unwrap();
    let names: Vec<_> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().any(|name| name == "bridge-attach"),
        "{names:?}"
    );
    names
}

/// A configuration that is complete for any of the plugins.
fn complete(name: &str, keys: &Value) -> Value {
    let ipam = json!({ "type": "static-ipam", "addresses": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }] });
    let mut conf = conf(
        name,
        json!({ "bridge": "br0", "ipam": ipam, "master": "lo" }),
    );
    if name == "dhcp-ipam" {
        conf["ipam"] = json!({ "type": "dhcp-ipam" });
    }
    if name == "masquerade" {
        conf["prevResult"] =
            json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.1.0.2/24" }] });
    }
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

/// [`complete`] with a key whose value is this text, valid or not.
fn with_raw(name: &str, key: &str, raw: &[u8]) -> Vec<u8> {
    let text = complete(name, &json!({ key: "HERE" })).to_string();
    let (before, after) = text.split_once("\"HERE\"").unwrap();
    [before.as_bytes(), raw, after.as_bytes()].concat()
}

/// Answers at once, properly, briefly and without control characters, and in little memory.
#[track_caller]
fn tame(outcome: &Outcome) {
    outcome.assert_one_document();
    let Outcome {
        stdout,
        stderr,
        elapsed,
        ..
    } = outcome;
    let start: String = stdout.chars().take(500).collect();
    assert!(*elapsed < AT_ONCE, "{elapsed:?}: {start}");
    assert!(stdout.len() <= ANSWER, "{} bytes: {start}", stdout.len());
    assert!(stderr.len() <= ANSWER, "{} bytes on stderr", stderr.len());
    let controls = stderr.chars().any(|c| c.is_control() && c != '\n');
    assert!(!controls, "control characters on stderr: {stderr:?}");
}

/// Every operation of every plugin is tame with what `make` makes, ADD fails with one of these codes, and nothing is
/// changed.
#[track_caller]
fn all_refuse(codes: &[u64], make: impl Fn(&str) -> Vec<u8>) {
    let host = Host::new();
    let container = host.container("c1");
    let (before, inside) = (host.state(), container.state());
    for name in names() {
        let plugin = host.plugin(&name).under(LIMITS);
        let input = make(&name);
        for operation in OPERATIONS {
            let outcome = plugin.operation(operation, &container, &input[..]);
            tame(&outcome);
            if operation == "ADD" {
                let error = outcome.fails();
                let code = error["code"].as_u64().unwrap();
                assert!(codes.contains(&code), "{name}: {error}");
            }
        }
    }
    host.assert_unchanged_since(&before);
    container.assert_unchanged_since(&inside);
}

const MEGABYTES: usize = 10 << 20;

#[test]
fn ten_megabytes_of_anything() {
    all_refuse(&[6], |_| vec![b'x'; MEGABYTES]);
}

#[test]
fn ten_megabytes_of_white_space_before_a_configuration() {
    all_refuse(&[6], |name| {
        let mut text = vec![b' '; MEGABYTES];
        text.extend(complete(name, &json!({})).to_string().into_bytes());
        text
    });
}

#[test]
fn a_name_of_ten_megabytes() {
    all_refuse(&[6], |name| {
        complete(name, &json!({ "name": "n".repeat(MEGABYTES) }))
            .to_string()
            .into_bytes()
    });
}

/// As long as is still read.
const ACCEPTED: usize = 1 << 20;

#[test]
fn a_name_that_is_as_long_as_a_configuration_may_be() {
    all_refuse(&[7], |name| {
        let name = complete(name, &json!({ "name": "!".repeat(ACCEPTED - 4096) }));
        name.to_string().into_bytes()
    });
}

#[test]
fn as_many_faults_as_a_configuration_may_have() {
    let list = format!("[{}0]", "0,".repeat(ACCEPTED / 2 - 4096));
    let half = format!("[{}0]", "0,".repeat(ACCEPTED / 4 - 4096));
    let raws = [
        ("dns", format!("{{\"nameservers\":{list},\"search\":3}}")),
        (
            "prevResult",
            format!("{{\"cniVersion\":\"1.1.0\",\"ips\":{half},\"routes\":{half}}}"),
        ),
        (
            "ipam",
            format!("{{\"type\":\"static-ipam\",\"addresses\":{list}}}"),
        ),
        ("routes", list.clone()),
        ("sources", list.clone()),
        ("hostRoutes", list.clone()),
    ];
    all_tame(|name| {
        let inputs = raws.iter();
        inputs
            .map(|(key, raw)| with_raw(name, key, raw.as_bytes()))
            .collect()
    });
}

/// Every operation of every plugin is tame with each of what `make` makes, whatever it answers.
#[track_caller]
fn all_tame(make: impl Fn(&str) -> Vec<Vec<u8>>) {
    let host = Host::new();
    let container = host.container("c1");
    for name in names() {
        let plugin = host.plugin(&name).under(LIMITS);
        for input in make(&name) {
            for operation in OPERATIONS {
                tame(&plugin.operation(operation, &container, &input[..]));
            }
        }
    }
}

#[test]
fn json_that_is_deeper_than_any_stack() {
    all_refuse(&[6], |_| vec![b'['; ACCEPTED - 1]);
    let deep = |open: &str, close: &str| {
        let depth = ACCEPTED / 8;
        [open.repeat(depth), "0".to_owned(), close.repeat(depth)].concat()
    };
    for raw in [deep("[", "]"), deep("{\"a\":", "}")] {
        let joined = std::thread::spawn(move || {
            all_refuse(&[6], |name| with_raw(name, "unknown", raw.as_bytes()));
        });
        joined.join().unwrap();
    }
}

#[test]
fn numbers_that_no_type_holds() {
    let digits = "9".repeat(100_000);
    let numbers = [
        "1e999999999",
        "-1e400",
        "18446744073709551616",
        "-9223372036854775809",
        "1e-400",
        &digits,
    ];
    all_tame(|name| {
        let pairs = numbers.iter().flat_map(|n| [("mtu", n), ("unknown", n)]);
        pairs
            .map(|(key, number)| with_raw(name, key, number.as_bytes()))
            .collect()
    });
}

#[test]
fn a_huge_mtu_is_refused_with_its_path_and_what_is_allowed() {
    let host = Host::new();
    let container = host.container("c1");
    let conf = with_raw("bridge-attach", "mtu", b"99999999999999999999");
    let error = host
        .plugin("bridge-attach")
        .add(&container, &conf[..])
        .fails();
    let words = error["msg"].as_str().unwrap();
    assert!(words.contains("mtu"), "{words}");
}

#[test]
fn text_that_is_not_utf8() {
    all_refuse(&[6], |name| with_raw(name, "name", b"\"a\xff\xfeb\""));
    let joined = std::thread::spawn(|| {
        all_refuse(&[6], |name| with_raw(name, "unknown", b"\"\xc3\x28\""));
    });
    joined.join().unwrap();
}

#[test]
fn names_with_control_characters() {
    let evils = ["a\nb", "\u{1b}[31mred", "a\0b", "\u{7f}", "x\r\ny"];
    all_tame(|name| {
        let pairs = evils
            .iter()
            .flat_map(|evil| ["name", "bridge", "type"].map(|key| (key, evil)));
        pairs
            .map(|(key, evil)| {
                complete(name, &json!({ key: evil }))
                    .to_string()
                    .into_bytes()
            })
            .collect()
    });
}

const EVIL: [&[u8]; 4] = [b"a\nb", b"\x1b[2J", b"a\xffb", b"../../x"];

#[test]
fn variables_that_are_no_names() {
    let host = Host::new();
    let container = host.container("c1");
    let (before, inside) = (host.state(), container.state());
    for name in names() {
        for variable in ["CNI_CONTAINERID", "CNI_IFNAME"] {
            for value in EVIL {
                let plugin = host.plugin(&name).under(LIMITS);
                let plugin = plugin.env(variable, OsStr::from_bytes(value));
                for operation in ["ADD", "DEL", "CHECK"] {
                    let conf = complete(&name, &json!({}));
                    let outcome = plugin.operation(operation, &container, &conf);
                    tame(&outcome);
                    outcome.fails_with(4, variable);
                }
            }
        }
    }
    host.assert_unchanged_since(&before);
    container.assert_unchanged_since(&inside);
}

#[test]
fn variables_with_anything_in_them() {
    let host = Host::new();
    let container = host.container("c1");
    // The kernel's limit for one is 128 KiB (MAX_ARG_STRLEN, linux/binfmts.h).
    let long = vec![b'x'; 130_000];
    for name in names() {
        for variable in [
            "CNI_CONTAINERID",
            "CNI_IFNAME",
            "CNI_ARGS",
            "CNI_NETNS",
            "CNI_PATH",
        ] {
            for value in EVIL.into_iter().chain([&long[..]]) {
                let plugin = host.plugin(&name).under(LIMITS);
                let plugin = plugin.env(variable, OsStr::from_bytes(value));
                for operation in ["ADD", "CHECK", "DEL"] {
                    let conf = complete(&name, &json!({}));
                    tame(&plugin.operation(operation, &container, &conf));
                }
            }
        }
    }
}
