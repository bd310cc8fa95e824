//! What a call costs does not depend on how many are attached: counted in system calls and in bytes read, which nothing else on
//! the machine changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use plumb_tests::{Container, Host, Plugin, Value, conf, json};

use super::reach::apart;
use super::world::World;

/// Where an attachment's configuration is kept.
const FILES: &str = "/var/lib/cni/masquerade";

/// How many more are attached when calls are compared.
const FEW: usize = 200;
const MANY: usize = 5000;

/// What a call did, and what its children did.
#[derive(Debug, Default)]
struct Cost {
    calls: BTreeMap<String, usize>,
    bytes: usize,
}

impl Cost {
    fn add(&mut self, trace: &str) {
        for line in trace.lines() {
            let Some((name, rest)) = line.split_once('(') else {
                continue;
            };
            *self.calls.entry(name.to_owned()).or_default() += 1;
            let reads = ["recvfrom", "recvmsg", "read", "pread64", "getdents64"];
            let result = rest.rsplit_once(" = ").map(|(_, result)| result.trim());
            if let Some(result) = result.filter(|_| reads.contains(&name)) {
                self.bytes += result.parse::<usize>().unwrap_or(0);
            }
        }
    }

    fn count(&self) -> usize {
        self.calls.values().sum()
    }
}

fn traced(plugin: &Plugin, operation: &str, container: &Container, conf: &Value) -> (Cost, Value) {
    let directory = Path::new("/run/traces");
    fs::create_dir(directory).unwrap();
    // A file for each process: so every call has a line of its own.
    let strace = [
        "strace",
        "-ff",
        "-qq",
        "-e",
        "signal=none",
        "-o",
        "/run/traces/of",
    ];
    let plugin = plugin.clone().under(strace);
    let said = plugin.operation(operation, container, conf).succeeds();
    let mut cost = Cost::default();
    for file in fs::read_dir(directory).unwrap() {
        let trace = fs::read_to_string(file.unwrap().path()).unwrap();
        cost.add(&trace);
    }
    assert!(cost.bytes > 0, "{cost:?}");
    fs::remove_dir_all(directory).unwrap();
    (cost, said)
}

/// Adds elements to a set, in transactions that fit into the socket's buffer of an ordinary user.
fn add_elements(host: &Host, set: &str, count: usize, element: impl Fn(usize) -> String) {
    let all: Vec<String> = (0..count).map(element).collect();
    for some in all.chunks(500) {
        let line = format!("add element inet plumb {set} {{ {} }}", some.join(", "));
        host.feed(["nft", "-f", "-"], &line);
    }
}

/// Makes the firewall and the files what they would be with so many more attached to the only network, whose first is there.
fn attach_more(host: &Host, count: usize) {
    let listed = host.exec(["nft", "list", "sets", "table", "inet", "plumb"]);
    let sets = listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("set ")?.strip_suffix(" {"));
    for (family, set) in sets.enumerate() {
        add_elements(host, set, count, |number| {
            let (high, low) = (number / 250 + 10, number % 250 + 1);
            let address = match family {
                0 => format!("10.77.{high}.{low}"),
                _ => format!("fd77::{high}:{low}"),
            };
            format!("{address} comment \"plumb1 {number:016x} testnet/x{number}/eth0\"")
        });
    }
    if host.ruleset().contains("map published-ipv4 ") {
        add_elements(host, "published-ipv4", count, |number| {
            let port = number + 10_000;
            let comment = format!("plumb1 {number:016x} other/x{number}/eth0");
            format!("tcp . {port} comment \"{comment}\" : 10.78.0.2 . 80")
        });
    }
    let mut files = fs::read_dir(FILES).unwrap().flatten();
    let first = files.next().unwrap().path();
    let text = fs::read(&first).unwrap();
    let name = first.file_name().unwrap().to_str().unwrap();
    let parts: Vec<&str> = name.splitn(4, '-').collect();
    for number in 0..count {
        let name = format!("{}-{}-{number:016x}-{}", parts[0], parts[1], parts[3]);
        fs::write(format!("{FILES}/{name}"), &text).unwrap();
    }
}

/// What is asked of the plugins.
#[derive(Clone, Copy)]
enum Asked {
    Translation,
    PublishedPorts,
    IpMasq,
}

/// What the operations cost on a host with so many more.
fn costs(more: usize, asked: Asked) -> BTreeMap<&'static str, Cost> {
    let world = World::new();
    world
        .host
        .sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let (plugin, conf) = match asked {
        Asked::IpMasq => {
            let conf = |number: usize| {
                let addresses = json!([{ "address": format!("10.77.0.{number}/16") }, { "address": format!("fd77::{number}/64") }]);
                let ipam = json!({ "type": "static-ipam", "addresses": addresses });
                let keys = json!({ "bridge": "br1", "ipMasq": true, "ipam": ipam });
                conf("bridge-attach", keys)
            };
            let plugin = world.host.plugin("bridge-attach").ifname("eth1");
            plugin.add(&c1, conf(8)).succeeds();
            (plugin, conf(9))
        }
        Asked::Translation | Asked::PublishedPorts => {
            let ports = |ports: Value| match asked {
                Asked::PublishedPorts => json!({ "forward": "stateful", "publish": ports }),
                Asked::Translation | Asked::IpMasq => json!({}),
            };
            world.add(&c1, &first, ports(json!(["80:80"]))).succeeds();
            let keys = ports(json!(["8080:80", "8081:81/udp"]));
            (world.plugin().previous(&second), conf("masquerade", keys))
        }
    };
    attach_more(&world.host, more);
    let mut plugin = plugin;
    let mut costs = BTreeMap::new();
    for operation in ["ADD", "CHECK", "STATUS", "DEL"] {
        let (cost, said) = traced(&plugin, operation, &c2, &conf);
        if operation == "ADD" {
            plugin = plugin.previous(&said);
        }
        costs.insert(operation, cost);
    }
    costs
}

#[test]
fn a_call_costs_the_same_whether_a_hundred_or_thousands_are_attached() {
    for asked in [Asked::Translation, Asked::PublishedPorts, Asked::IpMasq] {
        let (mut few, mut many) = (BTreeMap::new(), BTreeMap::new());
        apart(|| few = costs(FEW, asked));
        apart(|| many = costs(MANY, asked));
        for (operation, few) in &few {
            let many = &many[operation];
            // A call may wait for a tick of the kernel's clock, and asks again meanwhile.
            let same = |few: usize, many: usize, waits: usize| many < few + few / 10 + waits;
            assert!(
                same(few.count(), many.count(), 60) && same(few.bytes, many.bytes, 20_000),
                "{operation}: {few:#?} became {many:#?}"
            );
        }
    }
}
