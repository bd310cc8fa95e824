//! What the specification asks of every plugin, whatever it does: environment, versions, errors, one document on stdout.
//!
//! Each case runs against every plugin of the suite. That nothing was changed is part of each refusal.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use plumb_tests::{Container, Host, Outcome, Plugin, Value, conf, json};

const OPERATIONS: [&str; 5] = ["ADD", "DEL", "CHECK", "STATUS", "GC"];

/// Every plugin that there is a folder for.
fn names() -> BTreeSet<String> {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")).unwrap();
    let names: BTreeSet<_> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.contains("bridge-attach"), "{names:?}");
    names
}

/// A configuration that is complete for any of the plugins.
fn complete(name: &str) -> Value {
    let ipam = json!({ "type": "static-ipam", "addresses": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }] });
    let mut conf = conf(name, json!({ "bridge": "br0", "ipam": ipam }));
    if name == "dhcp-ipam" {
        conf["ipam"] = json!({ "type": "dhcp-ipam" });
    }
    if name == "masquerade" {
        conf["prevResult"] =
            json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.1.0.2/24" }] });
    }
    conf
}

fn without(mut conf: Value, key: &str) -> Value {
    conf.as_object_mut().unwrap().remove(key);
    conf
}

/// Calls `case` for every plugin, and makes sure that host and container are as before.
#[track_caller]
fn each(case: impl Fn(&Plugin, Value, &Container)) {
    each_of(names(), case);
}

/// Like [`each`], for the plugins that work in the container's namespace; the others never look at `CNI_NETNS`.
#[track_caller]
fn each_that_enters_the_container(case: impl Fn(&Plugin, Value, &Container)) {
    let work_on_the_host = ["static-ipam", "masquerade"];
    each_of(
        names()
            .into_iter()
            .filter(|name| !work_on_the_host.contains(&name.as_str())),
        case,
    );
}

#[track_caller]
fn each_of(names: impl IntoIterator<Item = String>, case: impl Fn(&Plugin, Value, &Container)) {
    let host = Host::new();
    let c1 = host.container("c1");
    let before = (host.state(), c1.state());
    for name in names {
        case(&host.plugin(&name), complete(&name), &c1);
        host.assert_unchanged_since(&before.0);
        c1.assert_unchanged_since(&before.1);
    }
}

#[test]
fn version_is_answered_under_dummy_variables_in_the_version_asked_for() {
    each(|plugin, _, _| {
        let answer = plugin.version().succeeds();
        assert_eq!(answer["cniVersion"], "1.1.0");
        let all = [
            "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
        ];
        assert_eq!(answer["supportedVersions"], json!(all));
        // podman asks with an empty container id and an older version.
        let podman = plugin
            .clone()
            .env("CNI_COMMAND", "VERSION")
            .env("CNI_NETNS", "dummy")
            .env("CNI_IFNAME", "dummy");
        let podman = podman.env("CNI_PATH", "dummy").env("CNI_CONTAINERID", "");
        let outcome = podman.raw(r#"{"cniVersion":"1.0.0"}"#);
        let answer: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(
            (outcome.status.code(), answer["cniVersion"].as_str()),
            (Some(0), Some("1.0.0"))
        );
    });
}

#[test]
fn no_command_means_two_lines_about_the_plugin_on_stderr() {
    let host = Host::new();
    for name in names() {
        for plugin in [
            host.plugin(&name),
            host.plugin(&name).env("CNI_COMMAND", ""),
        ] {
            let outcome = plugin.raw("");
            assert_eq!(
                (outcome.status.code(), outcome.stdout.as_str()),
                (Some(0), "")
            );
            let lines: Vec<_> = outcome.stderr.lines().collect();
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(
                lines[0].starts_with(&format!("CNI {name} plugin v")),
                "{lines:?}"
            );
            let versions =
                "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";
            assert_eq!(lines[1], versions);
        }
    }
}

#[test]
fn an_unknown_command_is_refused() {
    each(|plugin, conf, c1| {
        plugin
            .clone()
            .env("CNI_COMMAND", "UPDATE")
            .add(c1, conf)
            .fails_with(4, "UPDATE");
    });
}

#[test]
fn all_faults_of_the_environment_are_named_together() {
    each(|plugin, conf, c1| {
        let call = plugin
            .clone()
            .without("CNI_NETNS")
            .ifname("a/b")
            .container_id("../c1");
        let error = call.add(c1, conf).fails_with(4, "CNI_NETNS");
        let text = error.to_string();
        assert!(
            text.contains("CNI_IFNAME") && text.contains("CNI_CONTAINERID"),
            "{text}"
        );
    });
}

#[test]
fn a_refusal_is_told_on_stderr_as_well() {
    each(|plugin, conf, c1| {
        for refused in [
            plugin.clone().env("CNI_COMMAND", "UPDATE").add(c1, &conf),
            plugin.clone().ifname("a/b").add(c1, &conf),
            plugin.add(c1, "{"),
            plugin
                .clone()
                .key("cniVersion", json!("9.0.0"))
                .add(c1, &conf),
            plugin.clone().key("name", json!("a b")).add(c1, &conf),
        ] {
            let (stderr, error) = (refused.stderr.clone(), refused.fails());
            let line = format!(
                "failed with code {}: {}",
                error["code"],
                error["msg"].as_str().unwrap()
            );
            assert!(stderr.contains(&line), "{line:?} is not in {stderr:?}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    });
}

#[test]
fn impossible_keys_of_the_log_are_refused() {
    each(|plugin, conf, c1| {
        let call = plugin
            .clone()
            .key("logFile", json!("relative.log"))
            .key("logLevel", json!("loud"));
        let error = call
            .add(c1, &conf)
            .fails_with(7, "logFile: \"relative.log\" must be an absolute path");
        let text = error["msg"].as_str().unwrap();
        assert!(text.contains("logLevel: \"loud\" must be"), "{text}");
        assert!(!Path::new("relative.log").exists());
    });
}

#[test]
fn a_log_that_cannot_be_written_costs_a_warning_and_not_the_call() {
    each(|plugin, conf, c1| {
        for (file, words) in [
            ("/run/pipe", "logFile /run/pipe"),
            ("/run", "logFile /run"),
            ("/no/dir", "logFile /no/dir"),
        ] {
            // A named pipe that nobody reads.
            let made = Command::new("mkfifo").arg("/run/pipe").status().unwrap();
            assert!(made.success());
            let call = plugin.clone().key("logFile", json!(file));
            let began = Instant::now();
            let outcome = call.del(c1, &conf);
            assert!(began.elapsed() < Duration::from_secs(30));
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
            outcome.succeeds();
            fs::remove_file("/run/pipe").unwrap();
        }
    });
}

#[test]
fn an_error_result_has_the_version_of_the_configuration() {
    each(|plugin, conf, c1| {
        for version in ["0.4.0", "1.0.0", "1.1.0"] {
            let call = plugin
                .clone()
                .key("cniVersion", json!(version))
                .key("name", json!("a b"));
            assert_eq!(
                call.add(c1, &conf).fails_with(7, "name")["cniVersion"],
                version
            );
        }
    });
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    each(|plugin, conf, c1| {
        let text = conf.to_string();
        for broken in [
            "",
            "{",
            "[]",
            "null",
            &text[..text.len() - 1],
            &format!("{text}}}"),
        ] {
            plugin.add(c1, broken).fails_with(6, "");
        }
        plugin
            .add(c1, &b"{\"name\":\"\xff\"}"[..])
            .fails_with(6, "");
        plugin
            .clone()
            .key("name", json!(7))
            .add(c1, &conf)
            .fails_with(6, "name");
    });
}

#[test]
fn a_missing_or_impossible_network_name_is_refused() {
    each(|plugin, conf, c1| {
        plugin
            .add(c1, without(conf.clone(), "name"))
            .fails_with(7, "name");
        plugin
            .clone()
            .key("name", json!("-a"))
            .add(c1, &conf)
            .fails_with(7, "name");
    });
}

#[test]
fn a_version_that_nobody_supports_is_refused_with_those_that_are() {
    each(|plugin, conf, c1| {
        for version in ["1.0", "2.0.0", "0.0.9"] {
            let call = plugin.clone().key("cniVersion", json!(version));
            call.add(c1, &conf).fails_with(1, "1.1.0");
            call.add(c1, &conf).fails_with(1, version);
        }
    });
}

#[test]
fn operations_belong_to_the_versions_that_have_them() {
    each(|plugin, conf, c1| {
        let version = |version: &str| plugin.clone().key("cniVersion", json!(version));
        version("0.3.1").check(c1, &conf).fails_with(1, "CHECK");
        version("1.0.0").status(&conf).fails_with(1, "STATUS");
        version("1.0.0").gc(&conf).fails_with(1, "GC");
    });
}

#[test]
fn the_namespace_of_the_plugin_itself_is_refused() {
    each(|plugin, conf, c1| {
        for own in ["/proc/self/ns/net", "/proc/thread-self/ns/net"] {
            plugin.clone().netns(own).add(c1, &conf).fails_with(8, "");
            plugin.clone().netns(own).del(c1, &conf).succeeds();
        }
    });
}

#[test]
fn a_namespace_that_is_gone_is_an_error_of_add_and_none_of_del() {
    each_that_enters_the_container(|plugin, conf, c1| {
        plugin
            .clone()
            .netns("/run/netns/gone")
            .add(c1, &conf)
            .fails_with(3, "/run/netns/gone");
        plugin
            .clone()
            .netns("/run/netns/gone")
            .del(c1, &conf)
            .succeeds();
        plugin.clone().netns("").del(c1, &conf).succeeds();
        plugin
            .clone()
            .without("CNI_NETNS")
            .del(c1, &conf)
            .succeeds();
    });
}

#[test]
fn a_file_that_is_no_namespace_is_refused_by_add() {
    each_that_enters_the_container(|plugin, conf, c1| {
        // The last is a named pipe that nobody writes to.
        let made = Command::new("mkfifo").arg("/run/pipe").status().unwrap();
        assert!(made.success());
        for file in [
            "/proc/self/status",
            "/proc/self/ns/mnt",
            "/run",
            "/run/pipe",
        ] {
            let call = plugin.clone().netns(file);
            call.add(c1, &conf).fails_with(4, file);
            call.del(c1, &conf).succeeds();
        }
        fs::remove_file("/run/pipe").unwrap();
    });
}

#[test]
fn del_of_what_was_never_added_succeeds_and_changes_nothing() {
    each(|plugin, conf, c1| {
        plugin.del(c1, &conf).succeeds();
        plugin.del(c1, without(conf, "ipam")).succeeds();
    });
}

#[test]
fn garbage_collection_with_nothing_there_succeeds() {
    each(|plugin, conf, _| {
        let outcome = plugin.gc(&conf);
        // Nothing is known to be stale, and an operator may wonder why nothing went.
        assert!(
            outcome.stderr.contains("cni.dev/valid-attachments"),
            "{outcome:?}"
        );
        outcome.succeeds();
        plugin.clone().valid([]).gc(&conf).succeeds();
        plugin.clone().valid([("c9", "eth0")]).gc(&conf).succeeds();
        plugin
            .clone()
            .key("cni.dev/valid-attachments", Value::Null)
            .gc(&conf)
            .succeeds();
    });
}

#[test]
fn garbage_collection_with_a_broken_list_is_refused() {
    each(|plugin, conf, _| {
        let broken = json!([{ "containerID": "c1" }]);
        let call = plugin.clone().key("cni.dev/valid-attachments", broken);
        call.gc(&conf).fails_with(7, "cni.dev/valid-attachments[0]");
    });
}

#[test]
fn nothing_but_the_document_is_on_stdout_for_any_operation() {
    let host = Host::new();
    for name in names() {
        for operation in OPERATIONS {
            let c1 = host.container(&format!("{name}-{operation}"));
            // The testbed looks at stdout in every call; here each operation meets a configuration with a logFile too.
            let call = host
                .plugin(&name)
                .key("logFile", json!("/run/log"))
                .key("logLevel", json!("debug"));
            let _ = call_twice(&call, operation, &c1, &complete(&name));
        }
    }
}

fn call_twice(
    plugin: &Plugin,
    operation: &str,
    container: &Container,
    conf: &Value,
) -> [Outcome; 2] {
    [
        plugin.operation(operation, container, conf),
        plugin.operation(operation, container, conf),
    ]
}
