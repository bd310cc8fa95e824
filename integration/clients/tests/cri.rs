//! Pods, as a kubelet asks containerd for them.
#![cfg(test)]

use plumb_clients::{Cri, Machine, reference};
use plumb_tests::{Value, json};

/// A network that gives each pod the address its name stands for.
fn network() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge-attach", "bridge": "cni0", "isDefaultGateway": true, "removeEmptyBridge": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "static-ipam", "assignmentsOnly": true,
                    "assignments": {
                        "web": [{ "address": "10.89.0.10/24", "gateway": "10.89.0.1" }, { "address": "fd89::10/64" }],
                        "default/caller": [{ "address": "10.89.0.11/24", "gateway": "10.89.0.1" }],
                    },
                },
            },
            { "type": "masquerade" },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn machine() -> Machine {
    let machine = Machine::boot();
    machine.install(&reference(), "portmap");
    machine.install(&reference(), "loopback");
    machine.network("10-pods.conflist", &network());
    machine
}

#[test]
fn pods_reach_each_other_and_a_port_of_the_host_leads_into_one() {
    let machine = machine();
    let cri = Cri::start(&machine);
    assert_eq!(cri.network_fault(), None);
    let links = machine.links().len();

    let web = cri.run_pod("web", &["8099:80/tcp"]);
    let server = cri.run(&web, "server", &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let caller = cri.run_pod("caller", &[]);
    let client = cri.run(&caller, "client", &["sleep", "1000"]);

    let seen = cri.pod(&web);
    assert_eq!(seen["ips"], json!(["10.89.0.10", "fd89::10"]), "{seen}");
    let inside = cri.exec(&server, &["ip", "addr", "show", "eth0"]);
    assert!(inside.contains("inet 10.89.0.10/24"), "{inside}");
    assert!(inside.contains("inet6 fd89::10/64"), "{inside}");
    let page = cri.exec(&client, &["wget", "-q", "-O", "-", "http://10.89.0.10/"]);
    assert_eq!(page, "hello");
    let by_port = machine.exec(["busybox", "wget", "-q", "-O", "-", "http://10.89.0.1:8099/"]);
    assert_eq!(by_port.trim(), "hello");
    let names = cri.exec(&server, &["cat", "/etc/resolv.conf"]);
    assert!(names.contains("10.0.0.53"), "{names}");

    for pod in [&web, &caller] {
        // DEL comes twice: with the namespace, and when the pod is removed with none.
        cri.stop_pod(pod);
        cri.remove_pod(pod);
    }
    assert_eq!(machine.links().len(), links);
    let ruleset = machine.ruleset();
    assert!(!ruleset.contains("10.89.0.1"), "{ruleset}");
}

#[test]
fn a_pod_that_cannot_be_attached_says_why_and_leaves_nothing() {
    let machine = machine();
    let cri = Cri::start(&machine);
    let before = machine.state();

    let error = cri.run_pod_fails("stranger");

    assert!(error.contains("assignments"), "{error}");
    machine.assert_unchanged_since(&before);
}
