//! `ctr run --cni` and `--with-ns`.
#![cfg(test)]

use plumb_clients::{Containerd, Machine};
use plumb_tests::{Value, json};

/// The network of the containers of `ctr`, which takes the first list of `/etc/cni/net.d` and speaks 1.0.0 at most.
fn network(address: &str) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "ctr",
        "plugins": [
            {
                "type": "bridge-attach", "bridge": "ctr0", "isDefaultGateway": true, "removeEmptyBridge": true,
                "ipForward": false,
                "ipam": { "type": "static-ipam", "addresses": [{ "address": address, "gateway": "10.88.0.1" }] },
            },
            { "type": "masquerade", "restoreSysctls": true },
        ],
    })
}

#[test]
fn a_container_is_on_the_network_from_its_first_instruction_and_leaves_nothing() {
    let machine = Machine::boot();
    machine.network("10-ctr.conflist", &network("10.88.0.2/24"));
    let containerd = Containerd::start(&machine);
    let before = machine.state();

    let look = "ip -4 addr show eth0; ip route; ping -c 1 -W 1 10.88.0.1";
    let seen = containerd.ctr([
        "run",
        "--rm",
        "--cni",
        "localhost/box:1",
        "c1",
        "sh",
        "-c",
        look,
    ]);

    assert!(seen.contains("inet 10.88.0.2/24"), "{seen}");
    assert!(seen.contains("default via 10.88.0.1 dev eth0"), "{seen}");
    assert!(seen.contains("1 packets received"), "{seen}");
    // DEL came with an empty CNI_NETNS: the task had ended.
    machine.assert_unchanged_since(&before);
}

#[test]
fn an_add_that_fails_leaves_nothing_and_says_why() {
    let machine = Machine::boot();
    // A gateway outside of the subnet.
    machine.network("10-ctr.conflist", &network("10.99.0.2/24"));
    let containerd = Containerd::start(&machine);
    let before = machine.state();

    let ran = containerd.try_ctr(["run", "--rm", "--cni", "localhost/box:1", "c1", "true"]);

    assert!(!ran.status.success());
    assert!(ran.stderr.contains("10.88.0.1"), "{}", ran.stderr);
    machine.assert_unchanged_since(&before);
}

#[test]
fn a_container_in_a_namespace_made_before_has_what_was_attached_there() {
    let machine = Machine::boot();
    let containerd = Containerd::start(&machine);
    let c1 = machine.container("c1");
    let mut conf = network("10.88.0.2/24")["plugins"][0].clone();
    conf["cniVersion"] = json!("1.1.0");
    conf["name"] = json!("ctr");
    machine.plugin("bridge-attach").add(&c1, &conf).succeeds();

    let namespace = format!("network:{}", c1.netns().display());
    let seen = containerd.ctr([
        "run",
        "--rm",
        "--with-ns",
        &namespace,
        "localhost/box:1",
        "c1",
        "ip",
        "-4",
        "addr",
    ]);

    assert!(seen.contains("inet 10.88.0.2/24"), "{seen}");
    machine.plugin("bridge-attach").del(&c1, &conf).succeeds();
    assert_eq!(machine.link("ctr0"), None);
}

#[test]
fn pipework_plumbs_a_container_that_ctr_started_without_a_network() {
    let machine = Machine::boot();
    let containerd = Containerd::start(&machine);
    let links = machine.links().len();
    containerd.ctr(["run", "-d", "localhost/box:1", "c1", "sleep", "1000"]);
    let variables = format!("CONTAINERD_ADDRESS={}", containerd.socket());

    machine.pipework(&variables, "br1 containerd:c1 192.168.1.1/24");

    let inside = [
        "task",
        "exec",
        "--exec-id",
        "look",
        "c1",
        "ip",
        "addr",
        "show",
        "eth1",
    ];
    let seen = containerd.ctr(inside);
    assert!(seen.contains("inet 192.168.1.1/24"), "{seen}");
    containerd.ctr(["task", "kill", "--signal", "KILL", "c1"]);
    machine.pipework(&variables, "--del containerd:c1");
    assert_eq!(machine.links().len(), links, "{:?}", machine.links());
}
