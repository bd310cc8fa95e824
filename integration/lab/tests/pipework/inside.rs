//! `route`, `rule`, `tc` and `--wait`.

use std::os::unix::process::ExitStatusExt;

use super::world::{SOON, World, routes, words};

#[test]
fn routes_and_rules_are_those_of_ip_in_the_guest() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 192.168.2.7/24");
    world.does("route c1 add 10.0.5.0/24 via 192.168.2.1");
    world.does("route c1 replace default via 192.168.2.1");
    world.does("route c1 add 10.0.6.0/24 via 192.168.2.1 table 100");
    world.does("rule c1 add from 192.168.2.7 table 100");
    let inside = c1.routes().join("\n");
    assert!(
        inside.contains("10.0.5.0/24 via 192.168.2.1 dev eth1"),
        "{inside}"
    );
    assert!(inside.contains("default via 192.168.2.1"), "{inside}");
    assert!(
        c1.exec(["ip", "rule"])
            .contains("from 192.168.2.7 lookup 100")
    );
    assert!(
        world
            .does("route c1 show table 100")
            .contains("10.0.6.0/24")
    );
    assert!(routes(&world).is_empty(), "the host's are as they were");
}

#[test]
fn traffic_is_shaped_by_tc_in_the_guest() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 192.168.2.7/24");
    world.does("tc c1 qdisc add dev eth1 root pfifo limit 7");
    let shown = c1.exec(["tc", "qdisc", "show", "dev", "eth1"]);
    assert!(
        shown.contains("pfifo") && shown.contains("limit 7p"),
        "{shown}"
    );
}

#[test]
fn the_commands_own_exit_status_is_given() {
    let world = World::new();
    world.container("c1");
    let ran = world.pipework("route c1 add 10.0.5.0/24 via 192.168.2.1");
    assert_eq!(ran.status.into_raw() >> 8, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("Network is unreachable") || ran.stderr.contains("invalid gateway"),
        "{}",
        ran.stderr
    );
    assert!(
        world
            .fails("route nobody show")
            .contains("Container nobody not found")
    );
}

#[test]
fn waiting_ends_when_the_interface_has_a_carrier() {
    let world = World::new();
    let c1 = world.container("c1");
    let mut waits: Vec<_> = [&["--wait"][..], &["--wait", "-i", "eth2"]]
        .map(|line| c1.spawn(words(line)))
        .into();
    world.attaches("br1 c1 10.1.0.2/24");
    assert!(waits[0].wait(SOON).success());
    // An interface that is there and has no carrier is not enough.
    world.sh("ip link add other type veth peer name eth2 netns c1");
    c1.sh("ip link set eth2 up");
    assert!(waits[1].is_running());
    world.sh("ip link set other up");
    assert!(waits[1].wait(SOON).success());
}
