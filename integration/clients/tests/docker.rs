//! Containers of docker without network, plumbed by `pipework`.
#![cfg(test)]

use std::path::Path;

use plumb_clients::{Docker, Machine};
use plumb_tests::Container;

#[test]
fn pipework_finds_containers_by_name_and_plumbs_them_anew_when_they_are_started_anew() {
    let machine = Machine::boot();
    let docker = Docker::start(&machine);
    // As pipework's users do on a host whose FORWARD policy is Docker's: frames between ports are no packets to forward.
    machine.set_sysctl("net/bridge/bridge-nf-call-iptables", "0");
    let links = machine.links().len();
    let box_of = |name: &str| {
        docker.run([
            "docker",
            "run",
            "-d",
            "--net=none",
            "--name",
            name,
            "localhost/box:1",
            "sleep",
            "1000",
        ]);
    };
    box_of("web");
    box_of("db");
    let line = [
        "pipework",
        "br1",
        "-i",
        "eth1",
        "web",
        "192.168.1.1/24",
        "26:2e:71:98:60:8f",
    ];

    docker.run(line);
    docker.run(["pipework", "br1", "db", "192.168.1.2/24@192.168.1.1"]);

    let inside = docker.run(["docker", "exec", "web", "ip", "addr", "show", "eth1"]);
    assert!(inside.contains("inet 192.168.1.1/24"), "{inside}");
    assert!(inside.contains("26:2e:71:98:60:8f"), "{inside}");
    docker.run([
        "docker",
        "exec",
        "db",
        "ping",
        "-c",
        "1",
        "-W",
        "20",
        "192.168.1.1",
    ]);
    let routes = docker.run(["docker", "exec", "db", "ip", "route"]);
    assert!(
        routes.contains("default via 192.168.1.1 dev eth1"),
        "{routes}"
    );

    docker.run(["docker", "restart", "-t", "0", "web"]);
    docker.run(line);
    docker.run([
        "docker",
        "exec",
        "db",
        "ping",
        "-c",
        "1",
        "-W",
        "20",
        "192.168.1.1",
    ]);

    docker.run(["docker", "rm", "-f", "web"]);
    docker.run(["pipework", "--gc"]);
    docker.run(["pipework", "--del", "db"]);
    assert_eq!(machine.links().len(), links, "{:?}", machine.links());
}

/// A world beyond `eth0`, which knows the way to the networks inside, so that it is the firewall that keeps it out.
fn world(machine: &Machine) -> Container {
    let world = machine.container("internet");
    machine.sh("ip link add eth0 type veth peer name eth0 netns internet
         ip addr add 203.0.113.5/24 dev eth0; ip link set eth0 up");
    world.sh("ip addr add 203.0.113.1/24 dev eth0; ip link set eth0 up");
    machine.sh("ip route add default via 203.0.113.1");
    for net in [101, 102, 103] {
        world.sh(&format!("ip route add 192.168.{net}.0/24 via 203.0.113.5"));
    }
    world
}

#[test]
fn the_tutorial_with_real_containers() {
    let machine = Machine::boot();
    let world = world(&machine);
    let docker = Docker::start(&machine);
    let links = machine.links().len();
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf-examples/tutorial-docker");
    let script = |name: &str| docker.run([lab.join(name)]);

    script("up");
    let checked = script("check");

    assert_eq!(checked.matches("ok    ").count(), 6, "{checked}");
    // H1 is seen as the host.
    let capture = world.capture("eth0", "icmp");
    docker.run([
        "docker",
        "exec",
        "H1",
        "ping",
        "-c",
        "1",
        "-W",
        "20",
        "203.0.113.1",
    ]);
    capture.until_seen(
        "203.0.113.5 > 203.0.113.1",
        std::time::Duration::from_secs(20),
    );
    // Nobody gets in: not because the way is unknown.
    assert!(!world.ping("192.168.103.2"));
    let ospf = machine.capture("br1", "proto ospf");
    let backbone = machine.capture("br2", "proto ospf");
    backbone.until_seen("224.0.0.5", std::time::Duration::from_secs(30));
    assert!(ospf.packets().is_empty(), "{:?}", ospf.packets());

    script("down");
    assert_eq!(machine.links().len(), links, "{:?}", machine.links());
    let rules = machine.exec(["iptables-save"]);
    assert!(!rules.contains("br1") && !rules.contains("SNAT"), "{rules}");
}
