//! Our plugins and the Go plugins in one list, each pair both ways: who attaches, who gives the addresses, what is chained.
#![cfg(test)]

use std::path::PathBuf;
use std::time::Duration;

use plumb_clients::{DIRECTORY, install, install_ours, reference};
use plumb_lab::runtime::{Attachment, Cache, NetworkList, Runtime};
use plumb_tests::{Container, Host, Plugin, Process, Value, json, until};

const MAINS: [&str; 2] = ["bridge-attach", "bridge"];
const CHAINED: [&str; 5] = ["masquerade", "firewall", "portmap", "tuning", "bandwidth"];

/// A host with our plugins under our names, and the Go plugins under theirs.
fn host() -> Host {
    let host = Host::new();
    install_ours(&host);
    for name in [
        "bridge",
        "static",
        "host-local",
        "dhcp",
        "firewall",
        "portmap",
        "tuning",
        "bandwidth",
    ] {
        install(&host, &reference(), name);
    }
    host.sh("echo hello > /run/testbed/page");
    host
}

fn is_ours(kind: &str) -> bool {
    ["bridge-attach", "static-ipam", "dhcp-ipam", "masquerade"].contains(&kind)
}

/// The keys of an IPAM plugin that leads to an address in 10.66.0.0/24.
fn ipam(kind: &str) -> Value {
    match kind {
        "host-local" => {
            json!({ "type": kind, "ranges": [[{ "subnet": "10.66.0.0/24" }]], "dataDir": "/run/testbed/leases" })
        }
        "dhcp" => json!({ "type": kind, "daemonSocketPath": "/run/testbed/dhcp.sock" }),
        "dhcp-ipam" => json!({ "type": kind, "daemonSocketPath": "/run/testbed/dhcp-ipam.sock" }),
        _ => {
            json!({ "type": kind, "addresses": [{ "address": "10.66.0.2/24", "gateway": "10.66.0.1" }] })
        }
    }
}

/// A list with the chained plugins; each of them has something to do.
fn list(main: &str, ipam: &Value, chained: &[&str]) -> NetworkList {
    let mut plugins = vec![json!({
        "type": main, "bridge": "mix0", "isGateway": true, "hairpinMode": true, "ipam": ipam,
    })];
    for kind in chained {
        plugins.push(match *kind {
            // Both publish the same port then.
            "masquerade" if chained.contains(&"portmap") => {
                json!({ "type": kind, "capabilities": { "portMappings": true } })
            }
            "portmap" => json!({ "type": kind, "capabilities": { "portMappings": true } }),
            "tuning" => json!({ "type": kind, "sysctl": { "net.ipv4.conf.eth0.arp_filter": "1" }, "mtu": 1400 }),
            "bandwidth" => json!({ "type": kind, "ingressRate": 100_000_000, "ingressBurst": 100_000_000 }),
            _ => json!({ "type": kind }),
        });
    }
    let source = json!({ "cniVersion": "1.0.0", "name": "mixed", "plugins": plugins });
    NetworkList::from_value(source).unwrap()
}

fn runtime() -> Runtime {
    let directories = vec![PathBuf::from(DIRECTORY)];
    Runtime::new(directories, Cache::new("/run/testbed/cache")).prepared_by(|process| {
        process.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    })
}

fn attachment(container: &Container) -> Attachment {
    let mappings = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    Attachment {
        container: container.id().to_owned(),
        netns: Some(container.netns().to_owned()),
        ifname: "eth0".to_owned(),
        args: Vec::new(),
        capabilities: json!({ "portMappings": mappings })
            .as_object()
            .unwrap()
            .clone(),
    }
}

/// ADD, traffic, CHECK, DEL; then nothing of the attachment may be left.
fn goes_round(host: &Host, name: &str, list: &NetworkList, chained: &[&str]) {
    let runtime = runtime();
    let container = host.container(name);
    let wanted = attachment(&container);
    let links = host.links().len();
    let bridge = usize::from(host.link("mix0").is_none());
    let kinds: Vec<_> = list.plugins.iter().map(|each| each.kind.as_str()).collect();

    let result = runtime
        .add(list, &wanted)
        .unwrap_or_else(|error| panic!("{kinds:?}: ADD: {error}"));
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    assert!(
        container.addrs("eth0").contains(&address),
        "{kinds:?}: {address} in {:?}",
        container.addrs("eth0")
    );
    // With the Go plugin for a bridge the first answer may be lost.
    assert!(
        container.reaches("10.66.0.1"),
        "{kinds:?}: the gateway answers"
    );
    for kind in chained {
        did(host, &container, kind, &kinds);
    }
    runtime
        .check(list, &wanted)
        .unwrap_or_else(|error| panic!("{kinds:?}: CHECK: {error}"));
    runtime
        .del(list, &wanted)
        .unwrap_or_else(|error| panic!("{kinds:?}: DEL: {error}"));

    assert_eq!(
        host.links().len(),
        links + bridge,
        "{kinds:?}: {:?}",
        host.links()
    );
    assert_eq!(container.link("eth0"), None, "{kinds:?}");
    let bare = address.split('/').next().unwrap();
    let ruleset = host.ruleset();
    assert!(
        !ruleset.contains(&format!("{bare} ")),
        "{kinds:?}: {ruleset}"
    );
    // Again at once: nothing of the first stands in the way.
    runtime
        .add(list, &wanted)
        .unwrap_or_else(|error| panic!("{kinds:?}: second ADD: {error}"));
    runtime.del(list, &wanted).unwrap();
}

/// Panics unless the chained plugin did what it is there for.
fn did(host: &Host, container: &Container, kind: &str, kinds: &[&str]) {
    match kind {
        "masquerade" => assert!(host.ruleset().contains("masquerade"), "{kinds:?}"),
        "firewall" => {
            let rules = host.exec(["iptables", "-S"]);
            assert!(rules.contains("CNI-FORWARD"), "{kinds:?}: {rules}");
        }
        "portmap" => {
            let web = container.spawn(["busybox", "httpd", "-f", "-p", "80", "-h", "/run/testbed"]);
            let page = "timeout 5 busybox wget -q -O - http://10.66.0.1:8080/page";
            let answers = || host.try_exec(["sh", "-c", page]).stdout == "hello\n";
            assert!(until(Duration::from_secs(30), answers), "{kinds:?}");
            drop(web);
        }
        "tuning" => {
            assert_eq!(container.link("eth0").unwrap()["mtu"], 1400, "{kinds:?}");
            let filter = container.sysctl("net/ipv4/conf/eth0/arp_filter");
            assert_eq!(filter.as_deref(), Some("1"), "{kinds:?}");
        }
        "bandwidth" => {
            let queues = host.exec(["tc", "qdisc"]);
            assert!(queues.contains("tbf"), "{kinds:?}: {queues}");
        }
        _ => panic!("nothing is known of {kind}"),
    }
}

/// What may stand behind the first plugin: each alone, nothing, and what nerdctl chains with the firewall of either.
fn chains() -> Vec<Vec<&'static str>> {
    let mut chains: Vec<Vec<&str>> = CHAINED.iter().map(|kind| vec![*kind]).collect();
    chains.push(Vec::new());
    chains.push(vec!["portmap", "firewall", "tuning"]);
    chains.push(vec!["portmap", "masquerade", "tuning"]);
    chains
}

/// Every list of this main and IPAM plugin and one of the chains in which at least one plugin is ours and one is not.
fn mixed(host: &Host, main: &str, ipam_kind: &str, chains: &[Vec<&str>]) {
    for (number, chained) in chains.iter().enumerate() {
        let kinds = [&[main, ipam_kind], chained.as_slice()].concat();
        let ours = kinds.iter().filter(|kind| is_ours(kind)).count();
        if ours == 0 || ours == kinds.len() {
            continue;
        }
        let list = list(main, &ipam(ipam_kind), chained);
        goes_round(host, &format!("c{number}"), &list, chained);
    }
    host.sh("for netns in /run/netns/*; do ip netns del ${netns##*/}; done");
}

#[test]
fn with_static_addresses() {
    let host = host();
    for (main, ipam) in [
        ("bridge-attach", "static-ipam"),
        ("bridge-attach", "static"),
        ("bridge", "static-ipam"),
        ("bridge", "static"),
    ] {
        mixed(&host, main, ipam, &chains());
    }
}

/// The way back: what ours attached is taken down by the Go plugin, but for the rules of ours, which our GC removes.
#[test]
fn the_go_plugin_takes_down_what_ours_attached() {
    let host = host();
    let container = host.container("c1");
    let before = host.state();
    let conf = json!({
        "cniVersion": "1.1.0", "name": "mixed", "type": "bridge-attach", "bridge": "mix0", "isGateway": true,
        "macspoofchk": true, "ipam": ipam("static"),
    });
    let ours = host.plugin("bridge-attach").path(DIRECTORY);
    let result = ours.add(&container, &conf).succeeds();
    let mut theirs = conf.clone();
    theirs["type"] = json!("bridge");
    let go = Plugin::of(&reference(), "bridge")
        .path(DIRECTORY)
        .previous(&result);
    go.check(&container, &theirs).succeeds();
    go.del(&container, &theirs).succeeds();
    assert!(container.link("eth0").is_none());
    assert_eq!(host.links().len(), 2, "lo and the bridge");
    assert!(host.ruleset().contains("mixed/c1/eth0"));
    ours.valid([]).gc(&conf).succeeds();
    assert!(until(Duration::from_secs(10), || host.ruleset().is_empty()));
    host.sh("ip link del mix0; sysctl -qw net.ipv4.ip_forward=0");
    host.assert_unchanged_since(&before);
}

#[test]
fn with_host_local() {
    let host = host();
    for main in MAINS {
        mixed(&host, main, "host-local", &chains());
    }
}

/// A DHCP server for 10.66.0.0/24 on the bridge, behind a port that is there before any container.
fn dhcp_server(host: &Host) -> Process {
    host.sh(
        "ip link add mix0 type bridge && ip addr add 10.66.0.1/24 dev mix0 && ip link set mix0 up
         ip link add srv type veth peer name srv-port && ip link set srv-port master mix0 && ip link set srv-port up
         ip link set srv up",
    );
    let range = [
        "--dhcp-range=10.66.0.100,10.66.0.200,255.255.255.0,1h",
        "--dhcp-leasefile=/run/testbed/dnsmasq.leases",
    ];
    host.dnsmasq("mix0", &range, "DHCP, IP range")
}

#[test]
fn with_dhcp() {
    let host = host();
    let server = dhcp_server(&host);
    let go = host.spawn([
        &format!("{DIRECTORY}/dhcp"),
        "daemon",
        "-socketpath",
        "/run/testbed/dhcp.sock",
    ]);
    let ours = host.spawn([
        &format!("{DIRECTORY}/dhcp-ipam"),
        "daemon",
        "--socketpath",
        "/run/testbed/dhcp-ipam.sock",
        "--state-dir",
        "/run/testbed/dhcp-ipam",
    ]);
    server.until_output_has("DHCP, IP range", Duration::from_secs(30));
    for socket in ["dhcp.sock", "dhcp-ipam.sock"] {
        let there = || PathBuf::from(format!("/run/testbed/{socket}")).exists();
        assert!(until(Duration::from_secs(30), there), "{socket}");
    }
    for (main, ipam) in [
        ("bridge-attach", "dhcp-ipam"),
        ("bridge-attach", "dhcp"),
        ("bridge", "dhcp-ipam"),
        ("bridge", "dhcp"),
    ] {
        mixed(&host, main, ipam, &chains());
    }
    drop((go, ours));
}
