//! The protocol: environment, versions, errors.

use plumb_tests::{Host, Plugin, Value, conf, json};

use super::{bridge_conf, kind, plugin, theirs, without};

const OURS: [&str; 3] = ["bridge-attach", "static-ipam", "masquerade"];

fn each(mut case: impl FnMut(Plugin, Value)) {
    let host = Host::new();
    for name in OURS {
        case(plugin(&host, name), conf(kind(name), json!({})));
    }
}

#[test]
fn version_answers_under_dummy_variables() {
    each(|plugin, _| {
        let answer = plugin.version().succeeds();
        assert!(answer["cniVersion"].is_string());
        let supported: Vec<_> = answer["supportedVersions"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect();
        for version in ["\"0.4.0\"", "\"1.0.0\"", "\"1.1.0\""] {
            assert!(
                supported.iter().any(|one| one == version),
                "{version} in {supported:?}"
            );
        }
    });
}

#[test]
fn no_command_prints_the_about_line_on_stderr() {
    let host = Host::new();
    for name in OURS {
        let outcome = plugin(&host, name).raw("");
        assert!(outcome.status.success());
        assert_eq!(outcome.stdout, "");
        // nerdctl finds the firewall plugin's version by this line.
        let lines: Vec<_> = outcome.stderr.lines().collect();
        assert!(
            lines[0].starts_with(&format!("CNI {} plugin v", kind(name))),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("CNI protocol versions supported: 0."),
            "{lines:?}"
        );
        assert!(lines[1].ends_with(", 1.0.0, 1.1.0"), "{lines:?}");
    }
}

#[test]
fn missing_variables_are_named_together() {
    let host = Host::new();
    let c1 = host.container("c1");
    let call = plugin(&host, "bridge-attach")
        .without("CNI_IFNAME")
        .without("CNI_NETNS");
    let error = call
        .add(&c1, bridge_conf("10.1.0.2/24", json!({})))
        .fails_with(4, "CNI_IFNAME");
    assert!(
        error["msg"].as_str().unwrap().contains("CNI_NETNS"),
        "{error}"
    );
    assert!(host.link("br0").is_none());
}

#[test]
fn an_impossible_container_id_is_refused() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    for id in ["../c1", "-c1", "c 1"] {
        plugin(&host, "bridge-attach")
            .container_id(id)
            .add(&c1, &conf)
            .fails_with(4, "");
    }
}

#[test]
fn an_impossible_interface_name_is_refused() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    for name in ["sixteen-letters-", "a/b", "..", "a b", "a:b"] {
        plugin(&host, "bridge-attach")
            .ifname(name)
            .add(&c1, &conf)
            .fails_with(4, "");
    }
}

#[test]
fn what_is_not_json_is_a_decoding_error() {
    let host = Host::new();
    let c1 = host.container("c1");
    for text in ["", "{", "not json", "[]"] {
        plugin(&host, "bridge-attach")
            .add(&c1, text)
            .fails_with(6, "");
    }
}

#[test]
fn a_network_has_a_name() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    plugin(&host, "bridge-attach")
        .add(&c1, without(conf.clone(), "name"))
        .fails_with(7, "name");
    plugin(&host, "bridge-attach")
        .key("name", json!("a/b"))
        .add(&c1, &conf)
        .fails_with(7, "name");
}

#[test]
fn a_version_nobody_supports_is_refused() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    for version in ["1.0", "9.9.9", "0.0.1"] {
        plugin(&host, "bridge-attach")
            .key("cniVersion", json!(version))
            .add(&c1, &conf)
            .fails_with(1, "");
    }
}

#[test]
fn operations_belong_to_the_versions_that_have_them() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    let version = |version: &str| plugin(&host, "bridge-attach").key("cniVersion", json!(version));
    version("0.3.1").check(&c1, &conf).fails_with(1, "CHECK");
    version("1.0.0").status(&conf).fails_with(1, "STATUS");
    version("1.0.0").gc(&conf).fails_with(1, "GC");
}

#[test]
fn the_namespace_of_the_plugin_itself_is_refused() {
    let host = Host::new();
    let c1 = host.container("c1");
    let own = plugin(&host, "bridge-attach").netns("/proc/self/ns/net");
    let outcome = own.add(&c1, bridge_conf("10.1.0.2/24", json!({})));
    if theirs(
        "the skeleton looks only after the plugin has worked, and prints a result and an error",
    ) {
        assert!(!outcome.status.success());
        return;
    }
    outcome.fails_with(8, "");
    assert!(host.link("br0").is_none() && host.link("eth0").is_none());
}

#[test]
fn a_namespace_that_does_not_exist_is_an_error_of_add() {
    let host = Host::new();
    let c1 = host.container("c1");
    let gone = plugin(&host, "bridge-attach").netns("/run/netns/gone");
    let error = gone.add(&c1, bridge_conf("10.1.0.2/24", json!({}))).fails();
    let code = if theirs("every error of a plugin is 999") {
        999
    } else {
        3
    };
    assert_eq!(error["code"], code, "{error}");
}

#[test]
fn keys_are_read_as_go_reads_them() {
    let host = Host::new();
    let c1 = host.container("c1");
    let text = bridge_conf("10.1.0.2/24", json!({})).to_string();
    let text = text
        .replace("\"bridge\":", "\"BRIDGE\":")
        .replace("\"isGateway\":true", "\"isGateway\":null");
    plugin(&host, "bridge-attach")
        .add(&c1, text.as_str())
        .succeeds();
    assert!(host.link("br0").is_some());
    assert!(!host.addrs("br0").contains(&"10.1.0.1/24".to_owned()));
}
