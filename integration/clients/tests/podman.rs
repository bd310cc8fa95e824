//! podman 4 with its CNI backend.
#![cfg(test)]

use std::time::Duration;

use plumb_clients::{Machine, Podman, reference};
use plumb_tests::{Value, json, until};

/// The network NAME on the bridge NAME, with addresses of `10.NET.0.0/24` and `fdNET::/64` by host-local.
fn network(name: &str, net: u8) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": name,
        "plugins": [
            {
                "type": "bridge-attach", "bridge": name, "isGateway": true, "removeEmptyBridge": true, "hairpinMode": true,
                "capabilities": { "ips": true },
                "dns": { "nameservers": [format!("10.{net}.0.53")], "search": [format!("{name}.test")] },
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": format!("10.{net}.0.0/24") }], [{ "subnet": format!("fd{net}::/64") }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "masquerade" },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn machine() -> Machine {
    let machine = Machine::boot();
    for name in ["host-local", "portmap", "loopback"] {
        machine.install(&reference(), name);
    }
    for (name, net) in [("red", 71), ("blue", 72)] {
        machine.network(&format!("{name}.conflist"), &network(name, net));
    }
    machine
}

#[test]
fn a_container_on_two_networks_with_addresses_and_names_as_asked() {
    let machine = machine();
    let podman = Podman::set_up(&machine, "red");
    let links = machine.links().len();

    let red = "red:ip=10.71.0.77,mac=02:00:00:00:00:77,interface_name=eth5";
    podman.run([
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        red,
        "--network",
        "blue",
        "-p",
        "8085:80",
        "localhost/box:1",
        "httpd",
        "-f",
        "-p",
        "80",
        "-h",
        "/www",
    ]);

    let inside = podman.run(["exec", "web", "ip", "addr"]);
    for wanted in [
        "eth5",
        "inet 10.71.0.77/24",
        "02:00:00:00:00:77",
        "inet6 fd71::",
        "inet 10.72.0.2/24",
        "inet6 fd72::",
    ] {
        assert!(inside.contains(wanted), "{wanted}: {inside}");
    }
    let names = podman.run(["exec", "web", "cat", "/etc/resolv.conf"]);
    for wanted in ["10.71.0.53", "red.test", "10.72.0.53", "blue.test"] {
        assert!(names.contains(wanted), "{wanted}: {names}");
    }
    for host in [
        "10.71.0.1:8085",
        "[fd71::1]:8085",
        "10.71.0.77:80",
        "[fd71::2]:80",
    ] {
        let page = format!("timeout 5 busybox wget -q -O - http://{host}/");
        // The container may be there before its server listens.
        let answers = || machine.try_exec(["sh", "-c", &page]).stdout.trim() == "hello";
        assert!(until(Duration::from_secs(30), answers), "{host}");
    }

    podman.run(["rm", "-f", "-t", "0", "web"]);
    assert_eq!(machine.links().len(), links);
    let ruleset = machine.ruleset();
    assert!(!ruleset.contains("10.71.0.77"), "{ruleset}");
}

#[test]
fn networks_come_to_a_running_container_and_go_again() {
    let machine = machine();
    let podman = Podman::set_up(&machine, "red");
    podman.run([
        "run",
        "-d",
        "--name",
        "c1",
        "--network",
        "red",
        "localhost/box:1",
        "sleep",
        "1000",
    ]);

    podman.run(["network", "connect", "blue", "c1"]);
    let inside = podman.run(["exec", "c1", "ip", "-4", "addr"]);
    assert!(inside.contains("inet 10.72.0.2/24"), "{inside}");

    podman.run(["network", "disconnect", "blue", "c1"]);
    let inside = podman.run(["exec", "c1", "ip", "-4", "addr"]);
    assert!(!inside.contains("10.72.0."), "{inside}");
    assert!(inside.contains("inet 10.71.0.2/24"), "{inside}");
    assert_eq!(machine.link("blue"), None);
}

#[test]
fn the_containers_of_a_pod_share_its_interfaces() {
    let machine = machine();
    let podman = Podman::set_up(&machine, "red");
    podman.run([
        "pod",
        "create",
        "--name",
        "pod",
        "--infra-image",
        "localhost/box:1",
        "--infra-command",
        "/bin/sleep 1000",
        "--network",
        "red,blue",
    ]);

    let inside = podman.run([
        "run",
        "--rm",
        "--pod",
        "pod",
        "localhost/box:1",
        "ip",
        "-4",
        "addr",
    ]);

    assert!(inside.contains("inet 10.71.0.2/24"), "{inside}");
    assert!(inside.contains("inet 10.72.0.2/24"), "{inside}");
    podman.run(["pod", "rm", "-f", "-t", "0", "pod"]);
    assert_eq!(machine.link("red"), None);
}

#[test]
fn pipework_plumbs_a_container_that_has_no_network() {
    let machine = machine();
    let podman = Podman::set_up(&machine, "red");
    let links = machine.links().len();
    let words = "run -d --network none --name web localhost/box:1 sleep 1000";
    podman.run(words.split(' '));

    machine.pipework(&podman.variables(), "br1 podman:web 192.168.1.1/24");

    let seen = podman.run(["exec", "web", "ip", "addr", "show", "eth1"]);
    assert!(seen.contains("inet 192.168.1.1/24"), "{seen}");
    podman.run(["rm", "-f", "-t", "0", "web"]);
    machine.pipework(&podman.variables(), "--gc");
    assert_eq!(machine.links().len(), links, "{:?}", machine.links());
}
