//! Topology files, good and bad.

use super::super::model::ProbeKind;
use super::*;

const GOOD: &str = r#"
name = "small"
description = "two containers on one bridge"
phases = ["first", "second"]

[[needs]]
program = "ping"
package = "iputils-ping"

[nodes.host]
kind = "host"
sysctl = { "net.ipv4.ip_forward" = "0" }
[nodes.c1]
files = { "/etc/motd" = "motd" }
[nodes.a-later-one]
[nodes.outside]
kind = "internet"

[[uplinks]]
node = "host"
interface = "eth0"
address = "203.0.113.5/24"
gateway = "203.0.113.1"
peer = "outside"
peer-address = "203.0.113.1/24"
peer-routes = ["10.0.0.0/8"]

[networks.lan]
conflist = "lan.conflist"

[[attachments]]
node = "c1"
network = "lan"
interface = "eth0"
address = ["10.0.0.2/24", "2001:db8::2/64"]
gateway = "10.0.0.1"
mac = "02:00:00:00:00:01"
args = { K8S_POD_NAME = "c1" }
capabilities = { portMappings = [{ hostPort = 80, containerPort = 8080, protocol = "tcp" }] }

[[processes]]
node = "c1"
command = ["/usr/bin/sleep", "100"]
phase = "second"
ready = ["true"]

[[checks]]
title = "c1 reaches the host"
phase = "first"
probes = [{ node = "c1", ping = "10.0.0.1" }]

[[checks]]
title = "all kinds"
within = 5
probes = [
  { node = "c1", ping = "10.0.0.9", answers = false },
  { node = "c1", connect = "203.0.113.1:80", listener = "outside", seen-as = "203.0.113.5" },
  { node = "c1", routes = ["default via 10.0.0.1 dev eth0", "10.0.0.0/24 dev eth0"], show = true },
  { node = "c1", command = ["vtysh"], contains = "x", json = { "/0.0.0.0~10/0/metric" = 10 } },
  { node = "host", capture = "ospf", seen-on = ["br2"], silent-on = ["br1"], to = "224.0.0.0/4" },
]

[[groups]]
label = "all"
nodes = ["c1", "host"]

[[pipework]]
lines = "pipework br1 c1 10.1.0.2/24"
[[pipework]]
host = "host"
file = "small.pipework"
"#;

fn read(text: &str) -> Result<Topology, Vec<Problem>> {
    parse(text, Path::new("/labs"), "file-name")
}

/// The good file with one place changed: its problems, as text.
fn problems(place: &str, instead: &str) -> String {
    assert!(GOOD.contains(place), "{place}");
    let problems = read(&GOOD.replacen(place, instead, 1)).expect_err(instead);
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(
            "
",
        )
}

#[test]
fn a_good_file_is_read_whole() {
    let topology = read(GOOD).unwrap();
    assert_eq!(topology.name, "small");
    let names: Vec<_> = topology
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["host", "c1", "a-later-one", "outside"]);
    assert_eq!(topology.networks[0].host, "host");
    assert_eq!(topology.uplinks[0].peer_interface, "eth0");
    assert_eq!(
        topology.attachments[0].addresses[1].to_string(),
        "2001:db8::2/64"
    );
    assert_eq!(
        topology.attachments[0].capabilities["portMappings"][0]["hostPort"],
        80
    );
    assert_eq!(
        (
            topology.processes[0].name.as_str(),
            topology.processes[0].phase
        ),
        ("sleep", 1)
    );
    assert_eq!(topology.attachments[0].phase, 0);
    assert_eq!((topology.checks[0].phase, topology.checks[1].phase), (0, 1));
    assert_eq!(topology.checks[1].probes.len(), 5);
    let lines = [
        Text::Here("pipework br1 c1 10.1.0.2/24".into()),
        Text::File("small.pipework".into()),
    ];
    assert_eq!(
        topology
            .lines
            .iter()
            .map(|lines| &lines.text)
            .collect::<Vec<_>>(),
        lines.iter().collect::<Vec<_>>()
    );
    let ProbeKind::Command { json, .. } = &topology.checks[1].probes[3].kind else {
        panic!("not a command")
    };
    assert_eq!(json[0], ("/0.0.0.0~10/0/metric".to_owned(), 10.into()));
}

#[test]
fn a_file_that_names_no_lab_is_named_after_itself() {
    assert_eq!(read("[nodes.a]\n").unwrap().name, "file-name");
}

/// A place of the good file, what stands there instead, and the line and words of the problem.
const BAD: &[(&str, &str, usize, &str)] = &[
    (
        "kind = \"host\"",
        "kind = \"router\"",
        11,
        "nodes.host.kind = \"router\": must be one of: host, container, internet",
    ),
    (
        "[nodes.c1]",
        "[nodes.\"c 1\"]",
        13,
        "nodes.c 1: must be a letter or digit",
    ),
    (
        "name = \"small\"",
        "name = 7",
        2,
        "name = 7: must be a string",
    ),
    (
        "ip_forward\" = \"0\"",
        "ip_forward\" = 0",
        12,
        "net.ipv4.ip_forward = 0: must be a string",
    ),
    ("\"/etc/motd\" =", "\"etc/motd\" =", 14, "absolute path"),
    (
        "203.0.113.5/24",
        "203.0.113.5/33",
        22,
        "uplinks[0].address = \"203.0.113.5/33\": must be an address with a prefix",
    ),
    (
        "peer = \"outside\"",
        "peer = \"c1\"",
        24,
        "must be a node of kind \"internet\" or \"host\"; there are: host, outside",
    ),
    (
        "peer = \"outside\"",
        "peer = \"host\"",
        24,
        "is the node itself",
    ),
    (
        "conflist = \"lan.conflist\"",
        "confilst = \"x\"",
        29,
        "networks.lan.confilst: no such key; allowed: conflist, host",
    ),
    (
        "network = \"lan\"",
        "network = \"wan\"",
        33,
        "no such network; there are: lan",
    ),
    (
        "node = \"c1\"\nnetwork",
        "node = \"host\"\nnetwork",
        33,
        "not attached to its own network",
    ),
    (
        "interface = \"eth0\"\naddress = [",
        "interface = \"a/b\"\naddress = [",
        34,
        "1 to 15 characters",
    ),
    (
        "interface = \"eth0\"\naddress = [",
        "interface = \"eth%d\"\naddress = [",
        34,
        "'%'",
    ),
    (
        "net.ipv4.ip_forward",
        "kernel.panic",
        12,
        "is a setting of the whole machine",
    ),
    (
        "02:00:00:00:00:01",
        "03:00:00:00:00:01",
        37,
        "hardware address of one station",
    ),
    (
        "K8S_POD_NAME = \"c1\"",
        "K8S_POD_NAME = \"a;b\"",
        38,
        "cannot hold ';'",
    ),
    (
        "phase = \"second\"",
        "phase = \"third\"",
        44,
        "no such phase; there are: first, second",
    ),
    (
        "file = \"small.pipework\"",
        "",
        69,
        "must have one of: lines, file",
    ),
    (
        "ready = [\"true\"]",
        "ready = []",
        45,
        "must be a list: the program and its arguments",
    ),
    (
        "within = 5",
        "within = 1000",
        54,
        "must be a whole number from 0 to 600",
    ),
    (
        "ping = \"10.0.0.9\", ",
        "",
        56,
        "must have one of: ping, connect",
    ),
    (
        "203.0.113.1:80",
        "203.0.113.1",
        57,
        "must be an address and a port",
    ),
    (
        "default via 10.0.0.1 dev eth0",
        "default gateway 10.0.0.1",
        58,
        "pairs of: via, dev",
    ),
    (
        "capture = \"ospf\"",
        "capture = \"sopf\"",
        60,
        "must be one of: icmp, igmp, tcp, udp, ospf",
    ),
    ("seen-on = [\"br2\"], ", "", 60, "needs the key `seen-on`"),
    (
        "nodes = [\"c1\", \"host\"]",
        "nodes = [\"c1\", \"h1\"]",
        65,
        "groups[0].nodes[1] = \"h1\": no such node",
    ),
];

#[test]
fn a_bad_value_is_named_with_its_line_key_value_and_what_is_allowed() {
    for &(place, instead, line, expected) in BAD {
        let found = problems(place, instead);
        assert!(
            found.contains(&format!("line {line}: ")),
            "line {line} for {instead}:\n{found}"
        );
        assert!(
            found.contains(expected),
            "{expected}\nfor {instead}:\n{found}"
        );
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_lines() {
    let text = GOOD
        .replacen("kind = \"host\"", "kind = \"hots\"", 1)
        .replacen("10.0.0.9", "10.0.0", 1);
    let lines: Vec<_> = read(&text)
        .unwrap_err()
        .iter()
        .map(|problem| problem.line)
        .collect();
    assert!(lines.contains(&11) && lines.contains(&56), "{lines:?}");
    assert!(lines.is_sorted());
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let problems = read("name = \"x\"\nnodes = [\n").unwrap_err();
    assert!(
        problems[0].line >= 2 && problems[0].text.starts_with("not TOML"),
        "{}",
        problems[0]
    );
}

#[test]
fn one_interface_name_or_one_address_twice_is_refused() {
    let second = "\n[[attachments]]\nnode = \"a-later-one\"\nnetwork = \"lan\"\ninterface = \"eth0\"\naddress = \"10.0.0.2/24\"\n";
    let found = problems("\n[[processes]]", &format!("{second}\n[[processes]]"));
    assert!(
        found.contains("another attachment to this network has this address"),
        "{found}"
    );
    let second = second
        .replace("a-later-one", "c1")
        .replace("10.0.0.2/", "10.0.0.3/");
    let found = problems("\n[[processes]]", &format!("{second}\n[[processes]]"));
    assert!(
        found.contains("c1 has an interface of this name already"),
        "{found}"
    );
}

#[test]
fn with_two_hosts_each_network_must_name_its_own() {
    let found = problems("[nodes.c1]", "[nodes.other]\nkind = \"host\"\n[nodes.c1]");
    assert!(
        found.contains("networks.lan: needs the key `host`"),
        "{found}"
    );
}

#[test]
fn a_node_joins_one_namespace_only() {
    let found = problems(
        "[nodes.a-later-one]",
        "[nodes.a-later-one]\njoin = { pid = 1, netns = \"x\" }",
    );
    assert!(
        found.contains("must have one of: pid, netns, path"),
        "{found}"
    );
}
