//! What the Go plugin's own test-suite pins down, row by row: for a master on the host and for one in the container,
//! and for every version of the specification.

use plumb_tests::{Container, Value, json};

use super::{World, on_nic, with, without};

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// A host, the container whose interface is `ethX`, and the configuration for a master in the one or the other.
fn place(in_container: bool) -> (World, Container, Value) {
    let world = World::new();
    let ips = json!([{ "address": "10.1.0.2/24" }]);
    world.ipam.gives("c1", json!({ "ips": ips }));
    let c1 = world.container("c1");
    if in_container {
        world.move_nic(&c1);
    }
    let keys = json!({ "vlanId": 1234, "linkInContainer": in_container });
    (world, c1, on_nic(keys))
}

#[track_caller]
fn comes_is_checked_and_goes_in_every_version(in_container: bool) {
    let (world, c1, conf) = place(in_container);
    let plugin = world.plugin().ifname("ethX");
    for version in VERSIONS {
        let conf = with(conf.clone(), json!({ "cniVersion": version }));
        let result = plugin.add(&c1, &conf).succeeds();
        assert_eq!(result["cniVersion"], version);
        let link = c1.link("ethX").unwrap();
        let addresses = c1.addrs("ethX");
        let is_ipv4 = |address: &&String| address.contains('.');
        assert_eq!(addresses.iter().filter(is_ipv4).count(), 1);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.1.0.2/24");
            assert_eq!(result.get("ip6"), None);
        } else {
            let [interface] = result["interfaces"].as_array().unwrap().as_slice() else {
                panic!("{version}: one interface, and not {result}")
            };
            assert_eq!(interface["name"], "ethX");
            assert_eq!(interface["mac"], link["address"]);
            assert_eq!(result["ips"].as_array().unwrap().len(), 1);
        }
        let check = plugin.clone().previous(&result).check(&c1, &conf);
        if version < "0.4.0" {
            check.fails_with_words("config version does not allow CHECK");
        } else {
            check.succeeds();
        }
        // The second finds nothing any more.
        for _ in 0..2 {
            plugin.del(&c1, &conf).succeeds();
            assert_eq!(c1.link("ethX"), None, "{version}");
        }
    }
}

#[test]
fn an_attachment_comes_is_checked_and_goes_in_every_version() {
    comes_is_checked_and_goes_in_every_version(false);
}

#[test]
fn also_on_a_master_in_the_container() {
    comes_is_checked_and_goes_in_every_version(true);
}

#[track_caller]
fn the_mtu_is_given_or_the_masters_and_fits(in_container: bool) {
    let (world, c1, conf) = place(in_container);
    let plugin = world.plugin().ifname("ethX");
    let untagged = without(conf.clone(), "vlanId");
    for version in VERSIONS {
        for (mtu, words) in [
            (1600, "mtu: 1600 must be at most 1500: nic has the MTU 1500"),
            (-100, "mtu: -100 must be"),
        ] {
            let keys = json!({ "mtu": mtu, "cniVersion": version });
            let refused = plugin.add(&c1, with(untagged.clone(), keys));
            refused.fails_with_words(words);
            assert_eq!(c1.link("ethX"), None, "{version}");
        }
    }
    assert!(world.ipam.calls().is_empty());
    plugin
        .add(&c1, with(conf.clone(), json!({ "mtu": 1500 })))
        .succeeds();
    assert_eq!(c1.link("ethX").unwrap()["mtu"], 1500);
    plugin.del(&c1, &conf).succeeds();
    let smaller = "ip link set nic mtu 1200";
    if in_container {
        c1.sh(smaller);
    } else {
        world.sh(smaller);
    }
    plugin.add(&c1, &conf).succeeds();
    assert_eq!(c1.link("ethX").unwrap()["mtu"], 1200);
}

#[test]
fn the_mtu_is_given_or_that_of_the_master_and_fits() {
    the_mtu_is_given_or_the_masters_and_fits(false);
}

#[test]
fn also_that_of_a_master_in_the_container() {
    the_mtu_is_given_or_the_masters_and_fits(true);
}
