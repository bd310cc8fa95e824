//! A failed ADD leaves the host and the container as they were, and tells the IPAM plugin.

use std::time::Duration;

use plumb_tests::{Container, Host, Value, binaries, json, until};

use super::ipam::{CAREFUL, Ipam};
use super::{attached, host, host_end, layer2, layer3, plugin};

/// ADD of c1 fails so, and changes nothing.
#[track_caller]
pub(crate) fn fails_without_a_trace(host: &Host, conf: &Value, code: u32, words: &str) {
    let c1 = host.container("c1");
    let (before, inside) = (host.state(), c1.state());
    plugin(host).add(&c1, conf).fails_with(code, words);
    host.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&inside);
}

#[track_caller]
pub(crate) fn was_told(ipam: &Ipam) {
    assert_eq!(ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
}

#[test]
fn a_taken_interface_name_leaves_the_first_attachment_intact() {
    let (host, ipam) = host();
    let conf = layer3(json!({}));
    let (c1, _) = attached(&host, "c1", &conf);
    let (before, inside) = (host.state(), c1.state());
    let calls = ipam.calls();
    plugin(&host)
        .add(&c1, &conf)
        .fails_with(101, "an interface eth0 already");
    host.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&inside);
    assert_eq!(
        ipam.calls(),
        calls,
        "the address of the first is not given back"
    );
    assert!(c1.ping("10.1.0.1"));
}

#[test]
fn a_taken_host_name() {
    let (host, ipam) = host();
    host.sh("ip link add mine type bridge; ip link set mine alias somebodys");
    let conf = layer3(json!({ "hostInterfaceName": "mine" }));
    fails_without_a_trace(&host, &conf, 101, "an interface mine already, of somebodys");
    was_told(&ipam);
}

/// Duplicate address detection found the bridge's own gateway address with somebody else: it would never answer.
#[test]
fn a_gateway_that_does_not_work_is_not_called_usable() {
    let (host, ipam) = host();
    let other = host.container("other");
    host.sh("ip link add br0 type bridge; ip link set br0 addrgenmode none");
    host.sh("ip link add port master br0 type veth peer name eth0 netns other");
    host.sh("ip link set br0 up; ip link set port addrgenmode none up");
    other.sh("ip link set eth0 up; ip addr add fd01::1/64 dev eth0 nodad");
    host.sh("ip addr add fd01::1/64 dev br0");
    let is_found = || host.sh("ip -6 addr show br0").contains("dadfailed");
    assert!(until(Duration::from_secs(20), is_found));
    ipam.gives("c1", json!({ "ips": [{ "address": "fd01::2/64" }] }));
    let conf = layer3(json!({ "ipForward": false }));
    fails_without_a_trace(&host, &conf, 11, "fd01::1 on br0 does not work after 10s");
    was_told(&ipam);
}

#[test]
fn a_host_that_may_not_forward() {
    let (host, ipam) = host();
    host.make_read_only("/proc/sys/net/ipv4");
    ipam.gives("c1", json!({ "ips": [{ "address": "10.1.0.2/24" }] }));
    fails_without_a_trace(&host, &layer3(json!({})), 100, "net/ipv4/ip_forward is 0");
    was_told(&ipam);
}

#[test]
fn a_host_that_forwards_already_may_be_read_only() {
    let (host, _ipam) = host();
    host.set_sysctl("net/ipv4/ip_forward", "1");
    host.set_sysctl("net/ipv6/conf/all/forwarding", "1");
    let c1 = host.container("c1");
    host.make_read_only("/proc/sys");
    plugin(&host).add(&c1, layer3(json!({}))).succeeds();
    assert!(c1.ping("10.1.0.1") && c1.ping("fd01::1"));
}

#[test]
fn an_ipv6_address_where_ipv6_cannot_be_switched_on() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    c1.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    host.make_read_only("/proc/sys");
    let (before, inside) = (host.state(), c1.state());
    plugin(&host)
        .add(&c1, layer3(json!({ "isGateway": false })))
        .fails_with(100, "net/ipv6/conf/eth0/disable_ipv6 is 1");
    host.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&inside);
    was_told(&ipam);
}

#[test]
fn an_ipv6_address_on_a_link_too_small_for_it() {
    let (host, ipam) = host();
    let words =
        "mtu: 1200 is too small for eth0, which is to have an IPv6 address: IPv6 needs 1280";
    fails_without_a_trace(&host, &layer3(json!({ "mtu": 1200 })), 7, words);
    was_told(&ipam);
}

#[test]
fn an_interface_that_is_deleted_under_our_hands() {
    let (host, ipam) = host();
    ipam.does("ADD", "nsenter --net=$CNI_NETNS ip link del eth0");
    let conf = layer3(json!({ "ipam": { "type": CAREFUL } }));
    fails_without_a_trace(
        &host,
        &conf,
        11,
        "eth0 vanished while the IPAM plugin had it",
    );
    was_told(&ipam);
}

#[test]
fn a_namespace_that_vanishes_has_a_code_of_its_own() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    let before = host.state();
    ipam.does("ADD", "umount -l $CNI_NETNS; rm $CNI_NETNS");
    plugin(&host)
        .add(&c1, layer3(json!({ "ipam": { "type": CAREFUL } })))
        .fails_with(3, "/run/netns/c1");
    host.assert_unchanged_since(&before);
    assert_eq!(ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
}

#[test]
fn a_bridge_that_is_deleted_under_our_hands_is_made_again() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    ipam.does("ADD", "rm do.ADD; ip link del br0");
    plugin(&host)
        .add(&c1, layer3(json!({ "ipam": { "type": CAREFUL } })))
        .succeeds();
    assert!(c1.ping("10.1.0.1") && c1.ping("fd01::1"));
    assert_eq!(
        ipam.calls(),
        ["ADD c1 eth0", "DEL c1 eth0", "ADD c1 eth0"],
        "a lease belongs to the link that is gone"
    );
}

/// Calls the plugin outside the testbed's vocabulary: there, a plugin that dies of a signal is a failure.
#[track_caller]
fn crash_in(host: &Host, container: &Container, conf: &Value) {
    let file = binaries().find("bridge-attach");
    let ran = host.try_exec([
        "env",
        "CNI_COMMAND=ADD",
        &format!("CNI_CONTAINERID={}", container.id()),
        &format!("CNI_NETNS={}", container.netns().display()),
        "CNI_IFNAME=eth0",
        "CNI_PATH=/run/ipam",
        "sh",
        "-c",
        &format!("printf '%s' '{conf}' | {}", file.display()),
    ]);
    assert_eq!(ran.status.code(), Some(128 + 9), "{ran:?}");
}

#[test]
fn a_crash_half_way_stands_in_nobodys_way() {
    let (host, ipam) = host();
    let conf = layer3(json!({ "ipam": { "type": CAREFUL } }));
    let c1 = host.container("c1");
    let crash = "rm -f do.ADD; kill -9 $PPID; exit 1";
    ipam.does("ADD", crash);
    crash_in(&host, &c1, &conf);
    assert_eq!(
        host.links().len(),
        3,
        "lo, the bridge, and half an attachment"
    );
    // The runtime's DEL cleans up.
    plugin(&host).del(&c1, &conf).succeeds();
    assert_eq!(host.links().len(), 2);
    assert!(c1.link("eth0").is_none());
    // Without it, the same attachment made anew in a new namespace replaces what was left.
    ipam.does("ADD", crash);
    crash_in(&host, &c1, &conf);
    // Before Linux 6.2 a link must be down to be renamed.
    c1.sh("ip link set eth0 down; ip link set eth0 name gone up");
    plugin(&host).add(&c1, &conf).succeeds();
    assert!(c1.link("gone").is_none() && c1.ping("10.1.0.1"));
}

/// What an ADD leaves that crashed when it had made the bridge.
const HALF_A_BRIDGE: &str = "ip link add br0 group 1886156141 type bridge";

#[test]
fn a_bridge_without_its_mark_is_finished_by_the_next() {
    let (host, _ipam) = host();
    let conf = layer3(json!({ "removeEmptyBridge": true }));
    let before = host.state();
    host.sh(HALF_A_BRIDGE);
    let (c1, _) = attached(&host, "c1", &conf);
    assert!(c1.ping("10.1.0.1"));
    let bridge = host.link("br0").unwrap();
    assert_eq!(
        (&bridge["group"], &bridge["ifalias"]),
        (&json!("default"), &json!("plumb1-bridge"))
    );
    plugin(&host).del(&c1, &conf).succeeds();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.set_sysctl("net/ipv6/conf/all/forwarding", "0");
    host.assert_unchanged_since(&before);
}

#[test]
fn a_bridge_without_its_mark_goes_when_it_is_empty_and_nobodys_else_does() {
    let (host, _ipam) = host();
    let conf = layer3(json!({ "removeEmptyBridge": true }));
    let c1 = host.container("c1");
    host.sh(HALF_A_BRIDGE);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("br0").is_none());
    host.sh(HALF_A_BRIDGE);
    plugin(&host).valid([]).gc(&conf).succeeds();
    assert!(host.link("br0").is_none());
    host.sh("ip link add br0 group 7 type bridge");
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("br0").is_some());
}

#[test]
fn a_host_end_without_its_mark_is_replaced() {
    let (host, _ipam) = host();
    let conf = layer2(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    let name = host_end(&result);
    plugin(&host).del(&c1, &conf).succeeds();
    host.sh(&format!(
        "ip link add {name} type veth peer name half; ip link set {name} master br0"
    ));
    plugin(&host).add(&c1, &conf).succeeds();
    assert!(host.link("half").is_none());
    plugin(&host).del(&c1, &conf).succeeds();
    // DEL finds such a one too.
    host.sh(&format!("ip link add {name} type veth peer name half"));
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link(&name).is_none());
}

#[test]
fn a_named_host_end_without_its_mark_is_replaced_where_it_is_half_made() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "hostInterfaceName": "r1" }));
    host.sh("ip link add br0 type bridge; ip link set br0 up");
    // The group in which the plugin makes it, until it is marked.
    let half =
        "ip link add r1 group 1886156141 type veth peer name half; ip link set r1 master br0";
    host.sh(half);
    let (c1, _) = attached(&host, "c1", &conf);
    assert!(host.link("half").is_none());
    assert_eq!(host.link("r1").unwrap()["group"], "default");
    plugin(&host).del(&c1, &conf).succeeds();
    host.sh(half);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("r1").is_none());
    host.sh(&format!("{half}; ip link set r1 group 0"));
    plugin(&host).add(&c1, &conf).fails_with(101, "r1");
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("r1").is_some(), "it is somebody's");
}

#[test]
fn a_host_end_that_somebody_else_marked_is_not_replaced() {
    let (host, _ipam) = host();
    let conf = layer2(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    let name = host_end(&result);
    plugin(&host).del(&c1, &conf).succeeds();
    host.sh(&format!(
        "ip link add {name} type veth peer name half; ip link set {name} alias theirs"
    ));
    plugin(&host).add(&c1, &conf).fails_with(101, "of theirs");
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link(&name).is_some());
}

#[test]
fn bad_keys_are_found_out_first() {
    let (host, ipam) = host();
    for (keys, code, words) in [
        (json!({ "mtu": 12 }), 7, "mtu: 12"),
        (json!({ "bridge": "no/slash" }), 7, "bridge"),
        (json!({ "vlan": 4095 }), 7, "vlan: 4095"),
        (json!({ "ipMasqBackend": "pf" }), 7, "ipMasqBackend: \"pf\""),
        (
            json!({ "hairpinMode": true, "promiscMode": true }),
            7,
            "hairpinMode",
        ),
        (json!({ "isGateway": "yes" }), 6, "isGateway"),
        (
            json!({ "runtimeConfig": { "mac": "01:00:00:00:00:00" } }),
            7,
            "runtimeConfig.mac",
        ),
    ] {
        let before = host.state();
        let container = host.container(&format!("bad{code}{}", words.len()));
        plugin(&host)
            .add(&container, layer3(keys))
            .fails_with(code, words);
        host.assert_unchanged_since(&before);
    }
    assert!(ipam.calls().is_empty());
}
