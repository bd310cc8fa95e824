//! A bridge that exists, and how a bridge keeps its properties.

use std::time::Duration;

use plumb_tests::{Host, json, until};

use super::{attached, host, layer2, layer3, plugin};

fn address(host: &Host) -> String {
    host.link("br0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn mtu(host: &Host) -> u64 {
    host.link("br0").unwrap()["mtu"].as_u64().unwrap()
}

/// Makes the bridge with an address that is in the way, and a port that keeps its carrier.
pub(crate) fn occupied(host: &Host) {
    host.sh(
        "ip link add br0 type bridge; ip link set br0 up; ip addr add 10.9.0.1/24 brd + dev br0",
    );
    host.sh(
        "ip link add p0 type veth peer name p1; ip link set p1 up; ip link set p0 master br0 up",
    );
    let settled = || host.link("br0").unwrap()["operstate"] == "UP";
    assert!(until(Duration::from_secs(15), settled));
}

/// Lets a link with a very low address join and leave the bridge.
fn disturb(host: &Host) {
    host.sh("ip link add low address 00:00:00:00:00:02 type veth peer name low-peer");
    host.sh("ip link set low master br0");
    host.sh("ip link del low");
}

#[test]
fn the_bridges_address_never_changes() {
    let (host, _ipam) = host();
    for (number, keys) in [json!({}), json!({ "isGateway": false })]
        .iter()
        .enumerate()
    {
        let conf = layer3(keys.clone());
        let (container, result) = attached(&host, &format!("c{}", number + 1), &conf);
        let before = address(&host);
        disturb(&host);
        plugin(&host)
            .previous(&result)
            .del(&container, &conf)
            .succeeds();
        assert_eq!(address(&host), before);
        host.sh("ip link del br0");
    }
}

#[test]
fn an_adopted_bridge_keeps_the_address_it_has() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge; ip link set br0 up");
    host.sh("ip link add p0 address 02:aa:00:00:00:09 type veth peer name p1; ip link set p0 master br0");
    let before = address(&host);
    assert_eq!(before, "02:aa:00:00:00:09");
    let low = plugin(&host).args("MAC=02:00:00:00:00:01");
    low.add(&host.container("c1"), layer2(json!({}))).succeeds();
    disturb(&host);
    host.sh("ip link del p0");
    assert_eq!(address(&host), before);
}

#[test]
fn an_adopted_bridge_is_set_up_and_otherwise_left_alone() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 mtu 1400 type bridge stp_state 0 ageing_time 12300; ip link set br0 alias mine");
    attached(&host, "c1", &layer3(json!({})));
    let bridge = host.link("br0").unwrap();
    assert!(bridge["flags"].to_string().contains("\"UP\""));
    assert_eq!(bridge["ifalias"], "mine");
    assert_eq!(bridge["linkinfo"]["info_data"]["ageing_time"], 12300);
}

#[test]
fn the_mtu_is_that_of_the_bridge() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge; ip link set br0 mtu 9000 up");
    let (c1, result) = attached(&host, "c1", &layer2(json!({})));
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 9000);
    assert_eq!(result["interfaces"][2]["mtu"], 9000);
    assert_eq!(mtu(&host), 9000);
}

#[test]
fn a_jumbo_bridge_of_ours_stays_one() {
    let (host, _ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer2(json!({ "mtu": 9000 })));
    assert_eq!(
        (mtu(&host), &c1.link("eth0").unwrap()["mtu"]),
        (9000, &json!(9000))
    );
    let (c2, _) = attached(&host, "c2", &layer2(json!({})));
    assert_eq!(
        (mtu(&host), &c2.link("eth0").unwrap()["mtu"]),
        (9000, &json!(9000))
    );
}

#[test]
fn a_network_with_a_larger_mtu_does_not_raise_the_bridge() {
    let (host, _ipam) = host();
    let jumbo = layer2(json!({ "mtu": 9000 }));
    let (c1, _) = attached(&host, "c1", &layer2(json!({})));
    let (c2, _) = attached(&host, "c2", &jumbo);
    assert_eq!(mtu(&host), 1500);
    plugin(&host).del(&c1, layer2(json!({}))).succeeds();
    assert_eq!(mtu(&host), 1500, "only a jumbo port is left");
    plugin(&host).del(&c2, &jumbo).succeeds();
    attached(&host, "c3", &jumbo);
    assert_eq!(mtu(&host), 1500, "a jumbo port is the first");
    let (c4, _) = attached(&host, "c4", &layer2(json!({})));
    assert_eq!(c4.link("eth0").unwrap()["mtu"], 1500);
    host.sh("ip link add br1 type bridge; ip link set br1 up");
    attached(
        &host,
        "c5",
        &layer2(json!({ "bridge": "br1", "mtu": 9000 })),
    );
    assert_eq!(host.link("br1").unwrap()["mtu"], 1500);
}

#[test]
fn an_existing_bridge_with_another_mtu_is_kept() {
    let (host, _ipam) = host();
    // Never set by hand, so the kernel would make it follow its smallest port.
    host.sh("ip link add br0 type bridge; ip link set br0 up");
    let (c1, _) = attached(&host, "c1", &layer2(json!({ "mtu": 1400 })));
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 1400);
    assert_eq!(mtu(&host), 1500);
}

#[test]
fn spanning_tree_does_not_hold_add_up() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge stp_state 1; ip link set br0 up");
    let c1 = host.container("c1");
    let added = plugin(&host).add(&c1, layer2(json!({})));
    assert!(added.stderr.contains("spanning tree"), "{}", added.stderr);
    // The bridge lets frames through after 30 s, and ADD would wait for 10 s.
    assert!(
        added.elapsed < Duration::from_secs(8),
        "{:?}",
        added.elapsed
    );
    let result = added.succeeds();
    plugin(&host)
        .previous(&result)
        .check(&c1, layer2(json!({})))
        .succeeds();
}

#[test]
fn a_link_that_is_no_bridge_is_not_taken_for_one() {
    let (host, ipam) = host();
    host.sh("ip link add br0 type veth peer name other");
    let before = host.state();
    let c1 = host.container("c1");
    plugin(&host)
        .add(&c1, layer3(json!({})))
        .fails_with(101, "not a bridge but a link of kind veth");
    host.assert_unchanged_since(&before);
    assert_eq!(ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
    plugin(&host)
        .status(layer2(json!({})))
        .fails_with(50, "br0");
}

#[test]
fn another_address_on_the_bridge_is_replaced_only_by_force() {
    let (host, ipam) = host();
    occupied(&host);
    let before = host.state();
    let c1 = host.container("c1");
    plugin(&host)
        .add(&c1, layer3(json!({})))
        .fails_with(101, "10.9.0.1/24");
    host.assert_unchanged_since(&before);
    assert_eq!(ipam.calls().last().unwrap(), "DEL c1 eth0");
    let forced = layer3(json!({ "forceAddress": true }));
    plugin(&host).add(&c1, forced).succeeds();
    let addresses = host.addrs("br0");
    assert!(
        addresses.contains(&"10.1.0.1/24".to_owned()),
        "{addresses:?}"
    );
    assert!(
        !addresses.contains(&"10.9.0.1/24".to_owned()),
        "{addresses:?}"
    );
}

#[test]
fn an_address_that_force_took_away_comes_back_when_add_fails() {
    let (host, _ipam) = host();
    occupied(&host);
    let before = host.state();
    plugin(&host)
        .add(
            &host.container("c1"),
            layer3(json!({ "forceAddress": true, "hostRoutes": [{ "dst": "10.8.0.0/16", "gw": "10.66.0.1" }] })),
        )
        .fails_with(100, "add route 10.8.0.0/16 via 10.66.0.1 dev br0");
    host.assert_unchanged_since(&before);
}
