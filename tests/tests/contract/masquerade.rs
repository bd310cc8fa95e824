//! `masquerade`, and what `bridge` with `ipMasq` and `firewall` do together.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use plumb_tests::{Container, Host, Plugin, Value, binaries, conf, json, until};

use super::{bridge_conf, kind, plugin, theirs};

const SOON: Duration = Duration::from_secs(20);

/// A host with an uplink, and somebody at 203.0.113.9 behind it who knows no way back but to the uplink's address.
fn host_with_uplink() -> (Host, Container) {
    let host = Host::new();
    let internet = host.container("internet");
    host.sh("ip link add wan0 type veth peer name eth0 netns internet; ip addr add 203.0.113.1/24 dev wan0");
    host.sh("ip link set wan0 up");
    internet.sh("ip addr add 203.0.113.9/24 dev eth0; ip link set eth0 up");
    (host, internet)
}

/// The bridge's configuration and the chained plugin's, which together translate addresses and let traffic pass.
fn chain(address: &str) -> [Value; 2] {
    let keys = json!({ "isDefaultGateway": true });
    let mut bridge = bridge_conf(address, keys);
    if binaries().are_reference() {
        bridge["ipMasq"] = true.into();
    }
    [bridge, conf(kind("masquerade"), json!({}))]
}

fn add(host: &Host, container: &Container, address: &str) -> Value {
    let [bridge, masquerade] = chain(address);
    let result = plugin(host, "bridge-attach")
        .add(container, bridge)
        .succeeds();
    plugin(host, "masquerade")
        .previous(&result)
        .add(container, masquerade)
        .succeeds()
}

fn del(
    host: &Host,
    container: &Container,
    address: &str,
    result: &Value,
    call: impl Fn(Plugin) -> Plugin,
) {
    let [bridge, masquerade] = chain(address);
    call(plugin(host, "masquerade"))
        .previous(result)
        .del(container, masquerade)
        .succeeds();
    call(plugin(host, "bridge-attach"))
        .previous(result)
        .del(container, bridge)
        .succeeds();
}

/// The source address that a TCP server at `address` sees when `client` connects.
fn source_seen(client: &Container, server: &Container, address: &str) -> String {
    let listener = server
        .run(|| TcpListener::bind(format!("{address}:7000")))
        .unwrap();
    let target = format!("{address}:7000").parse().unwrap();
    let stream = client
        .run(|| TcpStream::connect_timeout(&target, SOON))
        .unwrap();
    let (_, source) = listener.accept().unwrap();
    drop(stream);
    source.ip().to_string()
}

#[test]
fn what_leaves_the_subnet_has_the_hosts_address() {
    let (host, internet) = host_with_uplink();
    let c1 = host.container("c1");
    add(&host, &c1, "10.1.0.2/24");
    assert_eq!(source_seen(&c1, &internet, "203.0.113.9"), "203.0.113.1");
    assert!(c1.ping("203.0.113.9"));
}

#[test]
fn what_stays_in_the_subnet_keeps_its_address() {
    let (host, _internet) = host_with_uplink();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    add(&host, &c1, "10.1.0.2/24");
    add(&host, &c2, "10.1.0.3/24");
    assert_eq!(source_seen(&c1, &c2, "10.1.0.3"), "10.1.0.2");
}

#[test]
fn a_host_that_drops_what_it_forwards_lets_containers_through() {
    let (host, internet) = host_with_uplink();
    host.sh("iptables -P FORWARD DROP");
    let c1 = host.container("c1");
    add(&host, &c1, "10.1.0.2/24");
    assert_eq!(source_seen(&c1, &internet, "203.0.113.9"), "203.0.113.1");
}

#[test]
fn the_previous_result_is_passed_on() {
    let host = Host::new();
    let c1 = host.container("c1");
    let [bridge, masquerade] = chain("10.1.0.2/24");
    let before = plugin(&host, "bridge-attach").add(&c1, bridge).succeeds();
    let after = plugin(&host, "masquerade")
        .previous(&before)
        .add(&c1, masquerade)
        .succeeds();
    assert_eq!(after, before);
}

#[test]
fn without_a_previous_result_there_is_nothing_to_work_on() {
    let host = Host::new();
    let c1 = host.container("c1");
    let before = host.state();
    plugin(&host, "masquerade")
        .add(&c1, conf(kind("masquerade"), json!({})))
        .fails();
    host.assert_unchanged_since(&before);
}

#[test]
fn del_leaves_no_rule_about_the_container() {
    let (host, _internet) = host_with_uplink();
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let result = add(&host, &c1, "10.1.0.2/24");
    add(&host, &c2, "10.1.0.3/24");
    let rules = || host.ruleset() + &host.exec(["iptables-save"]);
    assert!(rules().contains("10.1.0.2"), "{}", rules());
    del(&host, &c1, "10.1.0.2/24", &result, |call| call);
    assert!(until(SOON, || !rules().contains("10.1.0.2")), "{}", rules());
    assert!(rules().contains("10.1.0.3"));
}

#[test]
fn del_may_be_repeated_and_come_late() {
    let (host, _internet) = host_with_uplink();
    let c1 = host.container("c1");
    let result = add(&host, &c1, "10.1.0.2/24");
    c1.vanish();
    del(&host, &c1, "10.1.0.2/24", &result, |call| call.netns(""));
    del(&host, &c1, "10.1.0.2/24", &result, |call| call.netns(""));
    if !theirs("without a namespace they leave the translation behind for ever") {
        assert!(
            until(SOON, || !host.ruleset().contains("10.1.0.2")),
            "{}",
            host.ruleset()
        );
    }
}

#[test]
fn check_finds_that_the_rules_are_gone() {
    let (host, _internet) = host_with_uplink();
    let c1 = host.container("c1");
    let result = add(&host, &c1, "10.1.0.2/24");
    let [_, masquerade] = chain("10.1.0.2/24");
    let check = || {
        plugin(&host, "masquerade")
            .previous(&result)
            .check(&c1, &masquerade)
    };
    check().succeeds();
    host.sh("nft flush ruleset");
    check().fails();
}
