//! Mode `direct`: the VLAN link itself, as the Go plugin makes it.

use std::time::Duration;

use plumb_tests::{json, until};

use super::{World, on_nic, with, without};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_attachment_is_a_vlan_link_that_the_host_never_sees() {
    let world = World::new();
    let before = world.state();
    let conf = on_nic(json!({ "vlanId": 33 }));
    let (c1, result) = world.attached("c1", &conf);
    let link = c1.link("eth0").unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "vlan");
    let data = &link["linkinfo"]["info_data"];
    assert_eq!(data["id"], 33);
    assert_eq!(data["protocol"], "802.1Q");
    assert_eq!(data["flags"], json!(["REORDER_HDR"]));
    let nic = world.link("nic").unwrap();
    assert_eq!(link["link_index"], nic["ifindex"]);
    assert_eq!(link["address"], nic["address"]);
    assert_eq!(
        link["ifalias"].as_str().unwrap().split(' ').nth(2),
        Some("testnet/c1/eth0")
    );
    let interface =
        json!({ "name": "eth0", "mac": link["address"], "mtu": 1500, "sandbox": "/run/netns/c1" });
    assert_eq!(result["interfaces"], json!([interface]));
    let ips = json!([
        { "interface": 0, "address": "10.1.0.2/24" },
        { "interface": 0, "address": "fd01::2/64" }
    ]);
    assert_eq!(result["ips"], ips);
    assert!(world.others().is_empty());
    world.check(&c1, &conf, &result).succeeds();
    world.del(&c1, &conf);
    assert_eq!(c1.link("eth0"), None);
    world.assert_unchanged_since(&before);
    world.del(&c1, &conf);
}

#[test]
fn frames_carry_the_tag_and_other_vlans_do_not_see_them() {
    let world = World::new();
    let _end = world.far_end(5);
    let _other = world.far_end(6);
    let (c1, _) = world.attached("c1", &on_nic(json!({ "vlanId": 5 })));
    let (c2, _) = world.attached("c2", &on_nic(json!({ "vlanId": 6 })));
    let capture = world.capture("nic", "vlan and icmp");
    assert!(c1.ping("10.1.0.100") && c2.ping("10.1.0.100"));
    capture.until_seen("ethertype 802.1Q (0x8100), length 102: vlan 5, p 0, ethertype IPv4 (0x0800), 10.1.0.2 > 10.1.0.100", SOON);
    capture.until_seen(
        "vlan 6, p 0, ethertype IPv4 (0x0800), 10.1.0.3 > 10.1.0.100",
        SOON,
    );
    assert!(!c1.ping("10.1.0.3"), "VLAN 6 is another network");
}

#[test]
fn without_an_id_frames_carry_a_tag_with_a_priority_alone() {
    let world = World::new();
    let (c1, _) = world.attached("c1", &on_nic(json!({})));
    assert_eq!(c1.link("eth0").unwrap()["linkinfo"]["info_data"]["id"], 0);
}

#[test]
fn an_attachment_is_usable_and_announced_when_add_returns() {
    let world = World::new();
    let capture = world.switch.capture("port", "vlan 5 and (arp or icmp6)");
    let (c1, _) = world.attached("c1", &on_nic(json!({ "vlanId": 5 })));
    for info in c1.addr_info("eth0") {
        assert!(
            info["scope"] == "link" || info.get("tentative").is_none(),
            "{info}"
        );
    }
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    for key in ["accept_ra", "accept_dad"] {
        let value = c1.sysctl(&format!("net/ipv6/conf/eth0/{key}"));
        assert_eq!(value.as_deref(), Some("0"));
    }
    capture.until_seen("10.1.0.2 tell 10.1.0.2", SOON);
    capture.until_seen("neighbor advertisement, tgt is fd01::2", SOON);
}

#[test]
fn the_mtu_is_the_masters_unless_it_is_given() {
    let world = World::new();
    world.sh("ip link set nic mtu 9000");
    let (c1, _) = world.attached("c1", &on_nic(json!({ "vlanId": 1 })));
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 9000);
    let (c2, result) = world.attached("c2", &on_nic(json!({ "vlanId": 2, "mtu": 1400 })));
    assert_eq!(c2.link("eth0").unwrap()["mtu"], 1400);
    assert_eq!(result["interfaces"][0]["mtu"], 1400);
    let large = on_nic(json!({ "vlanId": 3, "mtu": 9001 }));
    world.refused(
        "c3",
        &large,
        7,
        "mtu: 9001 must be at most 9000: nic has the MTU 9000",
    );
}

#[test]
fn the_address_is_the_masters_unless_the_runtime_gives_one() {
    let world = World::new();
    let c1 = world.container("c1");
    let conf = on_nic(json!({ "vlanId": 5, "runtimeConfig": { "mac": "02:00:00:00:00:03" } }));
    let result = world
        .plugin()
        .args("MAC=02:00:00:00:00:01")
        .add(&c1, &conf)
        .succeeds();
    assert_eq!(c1.link("eth0").unwrap()["address"], "02:00:00:00:00:03");
    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:03");
    let _end = world.far_end(5);
    assert!(c1.ping("10.1.0.100"), "the master takes frames for it");
}

#[test]
fn one_vlan_of_a_master_serves_one_container() {
    let world = World::new();
    let conf = on_nic(json!({ "vlanId": 5 }));
    let (c1, result) = world.attached("c1", &conf);
    world.refused(
        "c2",
        &conf,
        101,
        "nic has a link for 802.1Q id 5 already; mode \"shared\"",
    );
    world.check(&c1, &conf, &result).succeeds();
    // The tag of another protocol is another VLAN.
    world.attached("c3", &with(conf, json!({ "protocol": "802.1ad" })));
}

#[test]
fn the_master_may_be_in_the_container() {
    let world = World::new();
    let c1 = world.container("c1");
    world.move_nic(&c1);
    let conf = on_nic(json!({ "vlanId": 5, "linkInContainer": true }));
    let plugin = world.plugin().ifname("net1");
    let result = plugin.add(&c1, &conf).succeeds();
    let link = c1.link("net1").unwrap();
    assert_eq!(link["link"], "nic");
    assert_eq!(link["linkinfo"]["info_data"]["id"], 5);
    let check = plugin.clone().previous(&result);
    check.check(&c1, &conf).succeeds();
    let on_host = without(conf.clone(), "linkInContainer");
    check.check(&c1, &on_host).fails_with(102, "master");
    plugin.del(&c1, &conf).succeeds();
    assert_eq!(c1.link("net1"), None);
    assert!(c1.link("nic").is_some());
    // Upstream's DEL fails for ever without a namespace.
    plugin.clone().netns("").del(&c1, &conf).succeeds();
    plugin
        .clone()
        .netns("/run/netns/gone")
        .del(&c1, &conf)
        .succeeds();
    let missing = with(conf, json!({ "master": "nowhere" }));
    plugin
        .add(&c1, &missing)
        .fails_with(7, "there is no link \"nowhere\"");
}

#[test]
fn a_name_of_the_host_is_no_obstacle_and_one_of_the_container_is() {
    let world = World::new();
    world.sh("ip link add eth0 type dummy");
    let conf = on_nic(json!({ "vlanId": 5 }));
    let (c1, _) = world.attached("c1", &conf);
    assert_eq!(c1.link("eth0").unwrap()["linkinfo"]["info_kind"], "vlan");
    let inside = c1.state();
    let calls = world.ipam.calls();
    let second = on_nic(json!({ "vlanId": 6 }));
    let again = world.plugin().add(&c1, &second);
    again.fails_with(101, "an interface eth0 already, of kind vlan");
    c1.assert_unchanged_since(&inside);
    assert_eq!(world.ipam.calls(), calls);
}

#[test]
fn without_ipam_it_is_a_cable() {
    let world = World::new();
    let conf = without(on_nic(json!({ "vlanId": 5 })), "ipam");
    let (c1, result) = world.attached("c1", &conf);
    assert_eq!(result.get("ips"), None);
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    world.check(&c1, &conf, &result).succeeds();
    world.plugin().status(&conf).succeeds();
    world.del(&c1, &conf);
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn dns_replaces_what_the_ipam_plugin_says_only_where_it_is_given() {
    let world = World::new();
    let ips = json!([{ "address": "10.1.0.2/24" }]);
    world.ipam.gives(
        "c1",
        json!({ "ips": ips, "dns": { "nameservers": ["10.1.0.53"] } }),
    );
    let conf = on_nic(json!({ "vlanId": 5 }));
    let (c1, result) = world.attached("c1", &conf);
    assert_eq!(result["dns"], json!({ "nameservers": ["10.1.0.53"] }));
    world.del(&c1, &conf);
    let own = with(conf, json!({ "dns": { "search": ["example.com"] } }));
    let result = world.plugin().add(&c1, &own).succeeds();
    assert_eq!(result["dns"], json!({ "search": ["example.com"] }));
}

#[test]
fn a_master_without_carrier_is_good_enough() {
    let world = World::new();
    world.switch.sh("ip link set port down");
    let conf = on_nic(json!({ "vlanId": 5 }));
    let (c1, _) = world.attached("c1", &conf);
    assert_ne!(c1.link("eth0").unwrap()["operstate"], "UP");
    world.switch.sh("ip link set port up");
    let up = || c1.link("eth0").unwrap()["operstate"] == "UP";
    assert!(until(SOON, up), "it follows its master");
}
