//! An IPAM plugin that fails, or gives what cannot be: the ADD fails without a trace, and the plugin gets its DEL.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use plumb_tests::json;

use super::failure::{fails_without_a_trace, was_told};
use super::ipam::{CAREFUL, DIRECTORY, QUICK};
use super::{host, layer3, plugin};

#[test]
fn an_ipam_plugin_that_refuses() {
    let (host, ipam) = host();
    ipam.does(
        "ADD",
        r#"echo '{"code":123,"msg":"no address left"}'; exit 1"#,
    );
    fails_without_a_trace(&host, &layer3(json!({})), 123, "no address left");
    was_told(&ipam);
    // The result has its words and no others; the log says whose they are, and when.
    let refused = plugin(&host).add(&host.container("c2"), layer3(json!({})));
    refused.clone().fails_saying("no address left");
    let line = "attach c2/eth0 to br0: host-local: no address left";
    assert!(refused.stderr.contains(line), "{}", refused.stderr);
}

#[test]
fn an_ipam_plugin_that_dies() {
    let (host, ipam) = host();
    ipam.does("ADD", "echo broken >&2; kill -9 $$");
    fails_without_a_trace(&host, &layer3(json!({})), 5, "broken");
    was_told(&ipam);
}

#[test]
fn an_ipam_plugin_that_answers_nonsense() {
    let (host, ipam) = host();
    ipam.does("ADD", "echo not JSON; exit 0");
    fails_without_a_trace(&host, &layer3(json!({})), 6, "host-local");
    was_told(&ipam);
}

#[test]
fn an_ipam_plugin_that_gives_nothing() {
    let (host, ipam) = host();
    ipam.gives("c1", json!({}));
    fails_without_a_trace(
        &host,
        &layer3(json!({})),
        7,
        "host-local returned no address",
    );
    was_told(&ipam);
}

#[test]
fn an_ipam_plugin_that_gives_what_no_interface_can_have() {
    let (host, ipam) = host();
    for (name, address, words) in [
        (
            "c1",
            "0.0.0.0/0",
            "0.0.0.0/0, which is the unspecified address",
        ),
        (
            "c2",
            "10.1.0.255/24",
            "10.1.0.255/24, which is the broadcast address of its subnet",
        ),
        (
            "c3",
            "ff02::5/64",
            "ff02::5/64, which is a multicast address",
        ),
        (
            "c4",
            "127.0.0.9/8",
            "127.0.0.9/8, which is a loopback address",
        ),
    ] {
        ipam.gives(name, json!({ "ips": [{ "address": address }] }));
        let container = host.container(name);
        let before = host.state();
        plugin(&host)
            .add(&container, layer3(json!({})))
            .fails_with(7, words);
        host.assert_unchanged_since(&before);
        assert!(ipam.calls().contains(&format!("DEL {name} eth0")));
    }
}

#[test]
fn an_ipam_plugin_that_is_not_there_is_found_out_first() {
    let (host, ipam) = host();
    let conf = layer3(json!({ "ipam": { "type": "nowhere" } }));
    fails_without_a_trace(&host, &conf, 7, "nowhere");
    assert!(ipam.calls().is_empty());
}

#[test]
fn an_ipam_plugin_that_cannot_be_executed() {
    let (host, ipam) = host();
    let file = Path::new(DIRECTORY).join(QUICK);
    let c1 = host.container("c1");
    let (before, inside) = (host.state(), c1.state());
    for (content, mode, words) in [
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("#!/no/such/interpreter\n", 0o755, "No such file"),
        ("not a program", 0o755, "Exec format error"),
    ] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let words = format!("execute /run/ipam/host-local: {words}");
        plugin(&host)
            .add(&c1, layer3(json!({})))
            .fails_with(5, &words);
        host.assert_unchanged_since(&before);
        c1.assert_unchanged_since(&inside);
    }
    assert!(ipam.calls().is_empty());
}

#[test]
fn an_address_that_comes_twice() {
    let (host, ipam) = host();
    ipam.gives(
        "c1",
        json!({ "ips": [{ "address": "10.1.0.2/24" }, { "address": "10.1.0.2/24" }] }),
    );
    fails_without_a_trace(
        &host,
        &layer3(json!({})),
        100,
        "add address 10.1.0.2/24 to eth0",
    );
    was_told(&ipam);
}

#[test]
fn a_route_to_nowhere() {
    let (host, ipam) = host();
    ipam.gives(
        "c1",
        json!({ "ips": [{ "address": "10.1.0.2/24" }, { "address": "fd01::2/64" }],
                "routes": [{ "dst": "10.7.0.0/16", "gw": "10.66.0.1" }] }),
    );
    fails_without_a_trace(
        &host,
        &layer3(json!({})),
        100,
        "add route 10.7.0.0/16 via 10.66.0.1 dev eth0: Nexthop has invalid gateway (ENETUNREACH)",
    );
    was_told(&ipam);
}

#[test]
fn a_route_that_cannot_be() {
    let (host, ipam) = host();
    ipam.gives(
        "c1",
        json!({ "ips": [{ "address": "10.1.0.2/24" }], "routes": [{ "dst": "10.7.1.2/16" }] }),
    );
    fails_without_a_trace(
        &host,
        &layer3(json!({})),
        7,
        "10.7.1.2/16 has host bits set",
    );
    was_told(&ipam);
}

#[test]
fn a_gateway_that_cannot_be_derived() {
    let (host, ipam) = host();
    ipam.gives("c1", json!({ "ips": [{ "address": "10.1.0.2/32" }] }));
    fails_without_a_trace(&host, &layer3(json!({})), 7, "the gateway of 10.1.0.2/32");
    was_told(&ipam);
}

#[test]
fn the_ipam_plugin_takes_its_address_back_while_the_link_is_there() {
    let (host, ipam) = host();
    host.sh("ip route add blackhole 192.168.9.0/24");
    ipam.does(
        "DEL",
        "nsenter --net=$CNI_NETNS ip -br link show eth0 > /run/ipam/link",
    );
    let conf =
        layer3(json!({ "ipam": { "type": CAREFUL }, "hostRoutes": [{ "dst": "192.168.9.0/24" }] }));
    fails_without_a_trace(&host, &conf, 101, "another route to 192.168.9.0/24");
    was_told(&ipam);
    let seen = std::fs::read_to_string("/run/ipam/link").unwrap();
    assert!(
        seen.contains("UP"),
        "a DHCP client releases over it: {seen}"
    );
}
