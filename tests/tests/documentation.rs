//! What the pages say is so: their commands run, their links lead somewhere, and the keys they name are there.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plumb_tests::{Host, Value, conf, json, our_binaries, until};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    let path = repository().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages in a folder and below it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

/// All pages: those of the top folder, `docs`, the examples and the parts of `integration`.
fn all_pages() -> Vec<PathBuf> {
    let top = fs::read_dir(repository()).unwrap().flatten();
    let top = top.map(|entry| entry.path());
    let mut found: Vec<_> = top
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    for folder in ["docs", "conf-examples", "integration"] {
        found.extend(pages(&repository().join(folder)));
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

/// The commands of a page's blocks that begin with `sh`.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(str::lines);
    let lines = lines.map(|line| {
        line.split_once("  #")
            .map_or(line, |(line, _)| line)
            .trim()
            .to_owned()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// A host as the pages have it: plugins and programs where they are installed, a network `lan` that guards and translates,
/// `c1` on it.
fn host() -> Host {
    let host = Host::new();
    host.sh("mount -t tmpfs none /opt && mkdir -p /opt/cni/bin");
    let binaries = our_binaries();
    for plugin in [
        "bridge-attach",
        "static-ipam",
        "dhcp-ipam",
        "masquerade",
        "vlan",
    ] {
        symlink(
            binaries.find(plugin),
            Path::new("/opt/cni/bin").join(plugin),
        )
        .unwrap();
    }
    symlink("bridge-attach", "/opt/cni/bin/bridge").unwrap();
    let c1 = host.container("c1");
    let ipam = json!({ "type": "static-ipam", "addresses": [{ "address": "10.7.0.2/24", "gateway": "10.7.0.1" }] });
    let bridge = conf(
        "bridge-attach",
        json!({ "bridge": "lan0", "isDefaultGateway": true, "macspoofchk": true, "ipam": ipam }),
    );
    let result = host.plugin("bridge-attach").add(&c1, &bridge).succeeds();
    let masquerade = conf("masquerade", json!({ "prevResult": result }));
    host.plugin("masquerade").add(&c1, &masquerade).succeeds();
    host
}

#[track_caller]
fn run(host: &Host, name: &str, least: usize) {
    let commands = commands(&page(name));
    assert!(commands.len() >= least, "{name}: {commands:?}");
    for command in commands {
        host.sh(&format!("PATH=/opt/cni/bin:$PATH; {command}"));
    }
}

#[test]
fn the_commands_of_the_security_page_run() {
    run(&host(), "docs/security.md", 2);
}

#[test]
fn the_commands_about_the_go_plugins_run() {
    run(&host(), "docs/coming-from-the-go-plugins.md", 2);
}

#[test]
fn the_commands_about_trouble_run() {
    let host = host();
    let _daemon = host.spawn(["/opt/cni/bin/dhcp-ipam", "daemon"]);
    let listens = || Path::new("/run/cni/dhcp.sock").exists();
    assert!(until(Duration::from_secs(20), listens));
    // pipework is a program of the lab, whose own test runs its page.
    fs::write("/run/testbed/pipework", "#!/bin/sh\n").unwrap();
    host.sh("cp /run/testbed/pipework /opt/cni/bin/pipework && chmod +x /opt/cni/bin/pipework");
    run(&host, "docs/troubleshooting.md", 20);
}

/// The messages in the first column about a failed ADD are those of the code.
#[test]
fn the_network_of_the_first_page_is_one() {
    let text = page("README.md");
    let block = text.split("```json\n").nth(1).unwrap();
    let list: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
    let host = Host::new();
    let world = host.container("world");
    host.sh(
        "ip link add wan0 type veth peer name wan0 netns world; ip addr add 203.0.113.2/24 dev wan0; ip link set wan0 up",
    );
    world.sh("ip addr add 203.0.113.9/24 dev wan0; ip link set wan0 up");
    let c1 = host.container("c1");
    let mut result = None;
    for conf in list["plugins"].as_array().unwrap() {
        let mut conf = conf.clone();
        for key in ["cniVersion", "name"] {
            conf[key] = list[key].clone();
        }
        let mut plugin = host.plugin(conf["type"].as_str().unwrap());
        if let Some(result) = &result {
            plugin = plugin.previous(result);
        }
        result = Some(plugin.add(&c1, &conf).succeeds());
    }
    assert!(c1.ping("10.7.0.1"));
    assert!(
        c1.reaches("203.0.113.9"),
        "the world knows no way back to 10.7.0.2"
    );
}

#[test]
fn the_messages_on_the_page_about_trouble_are_ours() {
    let text = page("docs/troubleshooting.md");
    let (_, section) = text.split_once("## An ADD fails").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines();
    let messages: Vec<_> = rows
        .filter_map(|row| row.strip_prefix("| `"))
        .flat_map(|row| row.split(" |").next().unwrap().split('`').step_by(2))
        .map(str::trim)
        .filter(|words| !words.is_empty() && !words.starts_with(['(', '…', ',']))
        .collect();
    assert!(messages.len() > 6, "{messages:?}");
    let mut code = String::new();
    for folder in ["cni-common/src", "plugins"] {
        gather(&repository().join(folder), &mut code);
    }
    for words in messages {
        assert!(code.contains(words), "{words}");
    }
}

fn gather(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let mut missing = Vec::new();
    for path in all_pages() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let file = target.split('#').next().unwrap();
            if target.contains("://") || file.is_empty() || file.contains(' ') {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                missing.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_make_target_of_every_page_is_one() {
    let makefile = page("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(targets, _)| targets.split(' '))
        .collect();
    for path in all_pages() {
        let text = fs::read_to_string(&path).unwrap();
        let said = text.split("make ").skip(1).filter(|rest| {
            let before = &text[..text.len() - rest.len()];
            before.ends_with("`make ")
                || before.ends_with("sudo make ")
                || before.ends_with("\nmake ")
        });
        for rest in said {
            let words = rest
                .split(['`', '\n', '#', ','])
                .next()
                .unwrap()
                .split_whitespace();
            for word in words.filter(|word| !word.contains(['=', '…', '/'])) {
                assert!(targets.contains(word), "{}: make {word}", path.display());
            }
        }
    }
}

/// The keys in the first column of a section's table.
fn keys(section: &str) -> Vec<&str> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| row.split_once(" |"));
    rows.flat_map(|(first, _)| first.split("`, `"))
        .map(|key| key.trim_matches('`'))
        .filter(|key| !key.contains(' ') && !key.contains('.'))
        .collect()
}

#[test]
fn every_key_of_the_go_plugins_is_on_the_page_and_one_of_ours() {
    let text = page("docs/coming-from-the-go-plugins.md");
    // As their documentation lists them.
    let theirs: [(&str, &str, &[&str]); 5] = [
        (
            "bridge",
            "bridge-attach",
            &[
                "bridge",
                "isGateway",
                "isDefaultGateway",
                "forceAddress",
                "ipMasq",
                "ipMasqBackend",
                "mtu",
                "hairpinMode",
                "promiscMode",
                "portIsolation",
                "vlan",
                "vlanTrunk",
                "preserveDefaultVlan",
                "macspoofchk",
                "enabledad",
                "disableContainerInterface",
                "dns",
            ],
        ),
        ("static", "static-ipam", &["addresses", "routes", "dns"]),
        (
            "dhcp",
            "dhcp-ipam",
            &["daemonSocketPath", "provide", "request", "priority"],
        ),
        (
            "vlan",
            "vlan",
            &["master", "vlanId", "mtu", "linkInContainer", "ipam", "dns"],
        ),
        (
            "firewall",
            "masquerade",
            &[
                "backend",
                "iptablesAdminChainName",
                "firewalldZone",
                "ingressPolicy",
            ],
        ),
    ];
    for (go, ours, expected) in theirs {
        let (_, section) = text.split_once(&format!("\n## `{go}` → ")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        assert_eq!(keys(section), expected, "{go}");
        let own = page(&format!("docs/{ours}.md"));
        for key in expected {
            assert!(own.contains(&format!("| `{key}` |")), "{ours}: {key}");
        }
        // What ours have beside: each word of the row without a key of theirs that looks like a key.
        let more = section
            .lines()
            .find(|line| line.starts_with("| none |"))
            .unwrap();
        for word in more.split('`').skip(1).step_by(2) {
            let key = word.split(':').next().unwrap();
            if key.chars().all(|each| each.is_ascii_alphanumeric())
                && key != "shared"
                && key != "legacy"
                && key != "direct"
            {
                assert!(own.contains(&format!("`{key}`")), "{ours}: {key}");
            }
        }
    }
}

/// A configuration with every key of the Go plugin that goes with the others is taken as it is.
#[test]
fn a_configuration_of_the_go_plugin_with_all_its_keys_is_taken() {
    let host = Host::new();
    let c1 = host.container("c1");
    let keys: Value = json!({
        "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "forceAddress": false, "ipMasq": true,
        "ipMasqBackend": "iptables", "mtu": 1400, "hairpinMode": true, "promiscMode": false, "vlan": 0, "vlanTrunk": null,
        "preserveDefaultVlan": true, "macspoofchk": true, "enabledad": false, "disableContainerInterface": false,
        "portIsolation": true, "dns": { "nameservers": ["10.1.0.53"] },
        "ipam": {
            "type": "static-ipam", "addresses": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }],
            "routes": [{ "dst": "192.0.2.0/24", "gw": "10.1.0.1", "mtu": 1300, "advmss": 1200, "priority": 5 }], "dns": {},
        },
    });
    let conf = conf("bridge-attach", keys);
    let result = host.plugin("bridge-attach").add(&c1, &conf).succeeds();
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 3);
    assert!(c1.ping("10.1.0.1"));
    host.plugin("bridge-attach")
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    host.plugin("bridge-attach").del(&c1, &conf).succeeds();
}
