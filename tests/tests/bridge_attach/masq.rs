//! `ipMasq`: what leaves the network gets an address of the host.

use std::time::Duration;

use plumb_tests::{Container, Host, Value, json, until};

use super::ipam::Ipam;
use super::{attached, host, layer3, plugin, with};

const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8:113::9"];

/// A host with an uplink to somebody who knows no way back to the containers.
fn connected() -> (Host, Ipam, Container) {
    let (host, ipam) = host();
    let internet = host.container("internet");
    host.sh("ip link add up0 type veth peer name up0 netns internet");
    for (node, v4, v6) in [
        (&*host, "203.0.113.2/24", "2001:db8:113::2/64"),
        (&*internet, "203.0.113.9/24", "2001:db8:113::9/64"),
    ] {
        node.sh(&format!(
            "ip addr add {v4} dev up0; ip addr add {v6} dev up0 nodad; ip link set up0 up"
        ));
    }
    let answers = || INTERNET.iter().all(|address| host.ping(address));
    assert!(until(Duration::from_secs(15), answers));
    (host, ipam, internet)
}

/// Waits until the ruleset no longer holds `words`: an element that was made to expire stays for a tick of the clock.
#[track_caller]
pub(crate) fn gone(host: &Host, words: &str) {
    let gone = || !host.ruleset().contains(words);
    assert!(until(Duration::from_secs(10), gone), "{}", host.ruleset());
}

fn masquerading() -> Value {
    layer3(json!({ "isDefaultGateway": true, "ipMasq": true }))
}

#[test]
fn the_outside_answers_only_where_addresses_are_translated() {
    let (host, _ipam, _internet) = connected();
    let (c1, _) = attached(&host, "c1", &layer3(json!({ "isDefaultGateway": true })));
    assert!(!c1.ping(INTERNET[0]));
    for backend in ["iptables", "nftables"] {
        let name = if backend == "iptables" { "c2" } else { "c3" };
        let mut conf = masquerading();
        conf["ipMasqBackend"] = backend.into();
        let (container, result) = attached(&host, name, &conf);
        for address in INTERNET {
            assert!(container.ping(address), "{address} with {backend}");
        }
        // Within the subnet everybody keeps his address.
        assert!(container.ping("10.1.0.2"));
        let checked = plugin(&host).previous(&result);
        checked.check(&container, &conf).succeeds();
    }
}

#[test]
fn del_leaves_no_rule_with_or_without_namespace_and_result() {
    let (host, _ipam) = host();
    let conf = masquerading();
    let before = host.ruleset();
    let (c1, result) = attached(&host, "c1", &conf);
    let (c2, _) = attached(&host, "c2", &conf);
    assert!(host.ruleset().contains("testnet/c1/eth0"));
    plugin(&host).previous(&result).del(&c1, &conf).succeeds();
    gone(&host, "testnet/c1/eth0");
    assert!(host.ruleset().contains("testnet/c2/eth0"));
    c2.vanish();
    for _ in 0..2 {
        plugin(&host).netns("").del(&c2, &conf).succeeds();
    }
    assert_eq!(host.ruleset(), before);
}

#[test]
fn del_leaves_no_rule_when_the_configuration_has_lost_the_key() {
    let (host, _ipam) = host();
    let before = host.ruleset();
    let (c1, result) = attached(&host, "c1", &masquerading());
    let (c2, _) = attached(&host, "c2", &masquerading());
    let open = layer3(json!({}));
    plugin(&host).previous(&result).del(&c1, &open).succeeds();
    gone(&host, "testnet/c1/eth0");
    assert!(host.ruleset().contains("testnet/c2/eth0"));
    c2.vanish();
    plugin(&host).netns("").del(&c2, &open).succeeds();
    assert_eq!(host.ruleset(), before);
}

/// With the Go plugin they share a chain, which the DEL of the first flushes and then cannot delete.
#[test]
fn two_interfaces_of_a_container_on_one_network_keep_their_own_rules() {
    let (host, ipam, _internet) = connected();
    let before = host.state();
    let conf = with(
        masquerading(),
        json!({ "ipForward": false, "removeEmptyBridge": true, "macspoofchk": true }),
    );
    let (c1, _) = attached(&host, "c1", &conf);
    ipam.gives("c1", json!({ "ips": [{ "address": "10.1.0.77/24" }] }));
    let second = plugin(&host).ifname("eth1");
    let mut more = conf.clone();
    more["isDefaultGateway"] = false.into();
    let result = second.add(&c1, &more).succeeds();
    plugin(&host).del(&c1, &conf).succeeds();
    gone(&host, "testnet/c1/eth0");
    second
        .clone()
        .previous(&result)
        .check(&c1, &more)
        .succeeds();
    host.set_sysctl("net/ipv4/ip_forward", "1");
    c1.sh("ip route add default via 10.1.0.1");
    assert!(c1.ping(INTERNET[0]));
    host.set_sysctl("net/ipv4/ip_forward", "0");
    second.del(&c1, &more).succeeds();
    until(Duration::from_secs(10), || host.ruleset().is_empty());
    host.assert_unchanged_since(&before);
}

#[test]
fn gc_removes_the_rules_of_what_is_stale() {
    let (host, _ipam) = host();
    let conf = masquerading();
    let before = host.ruleset();
    attached(&host, "c1", &conf);
    attached(&host, "c2", &conf).0.vanish();
    plugin(&host).valid([("c1", "eth0")]).gc(&conf).succeeds();
    assert!(host.ruleset().contains("testnet/c1/eth0"));
    gone(&host, "testnet/c2/eth0");
    // Also where the configuration has lost the key.
    plugin(&host).valid([]).gc(layer3(json!({}))).succeeds();
    assert_eq!(host.ruleset(), before);
}

#[test]
fn a_lost_rule_is_drift() {
    let (host, _ipam) = host();
    let conf = masquerading();
    let (c1, result) = attached(&host, "c1", &conf);
    host.sh("nft flush chain inet plumb postrouting");
    let checked = plugin(&host).previous(&result).check(&c1, &conf);
    checked.fails_with(102, "masquerade");
}

#[test]
fn rules_that_cannot_be_made_undo_the_attachment() {
    let (host, ipam) = host();
    // Not a base chain, so nothing can be translated in it.
    host.sh("nft add table inet plumb; nft add chain inet plumb postrouting");
    let before = host.state();
    let c1 = host.container("c1");
    plugin(&host)
        .add(&c1, masquerading())
        .fails_with(100, "ipMasq");
    host.assert_unchanged_since(&before);
    assert!(c1.link("eth0").is_none());
    assert_eq!(ipam.calls().last().unwrap(), "DEL c1 eth0");
}

#[test]
fn rules_that_were_flushed_come_back_with_masquerade_reload() {
    let (host, _ipam, _internet) = connected();
    let (c1, result) = attached(&host, "c1", &masquerading());
    let before = host.state();
    host.sh("nft flush ruleset");
    assert!(!c1.ping(INTERNET[0]));
    let reload = plumb_tests::binaries().find("masquerade");
    host.exec([reload.as_os_str(), "reload".as_ref()]);
    host.assert_unchanged_since(&before);
    assert!(c1.ping(INTERNET[0]));
    let checked = plugin(&host).previous(&result);
    checked.check(&c1, masquerading()).succeeds();
    plugin(&host).del(&c1, masquerading()).succeeds();
    host.exec([reload.as_os_str(), "reload".as_ref()]);
    assert_eq!(host.ruleset(), "");
}
