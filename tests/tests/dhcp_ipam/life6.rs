//! An IPv6 lease from its beginning to its end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use plumb_tests::{Container, Value, json, until};

use crate::family::V6;
use crate::world::{OnDemand, SOON, World, alone, bridged};
use crate::world6::{addresses, until_leases6, v6};

/// Seconds for which the kernel has a container's address.
pub(crate) fn valid(container: &Container, address: &str) -> Option<u64> {
    let bare = address.split('/').next()?;
    let all = container.addr_info("eth0");
    let found = all.iter().find(|one| one["local"] == bare)?;
    found["valid_life_time"].as_u64()
}

fn dhcp() -> Value {
    json!({ "ipv4": "off", "ipv6": "dhcp" })
}

#[test]
fn a_container_on_a_bridge_gets_an_ipv6_lease_and_gives_it_back() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = OnDemand;
    let c1 = world.host.container("c1");
    let conf = bridged(dhcp());
    let bridge = world.host.plugin("bridge-attach");

    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result);
    assert!(
        given.len() == 1 && given[0].starts_with("fd00:240::1") && given[0].ends_with("/128"),
        "{given:?}"
    );
    let gateway = result["ips"][0]["gateway"].as_str().unwrap();
    assert!(gateway.starts_with("fe80::"), "{result}");
    assert_eq!(
        result["routes"],
        json!([
            { "dst": "fd00:240::/64", "scope": 253 },
            { "dst": "::/0", "gw": gateway },
        ])
    );
    assert_eq!(
        result["dns"],
        json!({ "nameservers": ["fd00:240::53"], "search": ["lab.example"] })
    );
    assert_eq!(v6(&c1), given);
    // The router's own words keep the routes, and end them.
    let routes = c1.exec(["ip", "-6", "route"]);
    let default = routes.lines().find(|line| line.starts_with("default"));
    assert!(
        default.is_some_and(|line| line.contains("proto ra") && line.contains("expires")),
        "{routes}"
    );
    assert!(c1.reaches("fd00:240::1"));
    let check = || bridge.clone().previous(&result).check(&c1, &conf);
    check().succeeds();

    // What the plugin that attached gave for ever has the lease's time.
    let limited = || valid(&c1, &given[0]).is_some_and(|seconds| seconds <= 120);
    assert!(until(SOON, limited), "{:?}", valid(&c1, &given[0]));
    check().succeeds();

    // Nothing of the daemon's is open in the container.
    let open = || c1.sh("ss -Hanu; ss -Hanw");
    assert!(until(SOON, || open().is_empty()), "{}", open());
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let mut files = files.filter(|entry| entry.path().to_string_lossy().ends_with(".v6.json"));
    let mode = files
        .next()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    until_leases6(1);
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_leases6(0);
    dnsmasq.until_output_has("DHCPRELEASE", SOON);
    assert!(world.listed6("testnet/c1/eth0").is_null());
}

#[test]
fn a_repeated_add_has_the_same_lease() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(dhcp());
    let first = world.plugin().add(&c1, &conf).succeeds();
    assert_eq!(world.plugin().add(&c1, &conf).succeeds(), first);
    until_leases6(1);
}

#[test]
fn a_renewal_goes_to_all_servers_and_gives_the_address_more_time() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, bridged(dhcp())).succeeds();
    let given = addresses(&result).remove(0);
    // When the kernel takes the address away: at the earliest and at the latest, for a look takes as long as it takes and gives
    // whole seconds.
    let begun = Instant::now();
    let end = || {
        let before = begun.elapsed();
        let left = Duration::from_secs(valid(&c1, &given).unwrap());
        let after = begun.elapsed();
        (before + left, after + left + Duration::from_secs(1))
    };
    let mut latest = Duration::MAX;
    let limited = || {
        latest = latest.min(end().1);
        valid(&c1, &given).is_some_and(|seconds| seconds <= 116)
    };
    assert!(until(SOON, limited), "{:?}", valid(&c1, &given));
    world.command(&["renew", "testnet/c1/eth0"]);
    dnsmasq.until_output_has("DHCPRENEW", SOON);
    assert!(until(SOON, || end().0 > latest), "{latest:?} {:?}", end());
    assert_eq!(world.listed6("testnet/c1/eth0")["state"], "BOUND");
}

/// A kernel bug in the daemon's way (addrconf.c since 4.19, seen in 6.18): the route to an address's subnet ends at once
/// when an address that was there for ever gets a lifetime.
#[test]
fn the_route_to_the_subnet_stays_when_the_address_gets_the_times_of_its_lease() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, bridged((V6.keys)())).succeeds();
    let given = addresses(&result).remove(0);
    assert!(given.ends_with("/64"), "{given}");
    let limited = || valid(&c1, &given).is_some_and(|seconds| seconds <= 120);
    assert!(until(SOON, limited), "{:?}", valid(&c1, &given));
    let routes = c1.exec(["ip", "-6", "route", "show", "fd00:240::/64"]);
    assert!(c1.reaches("fd00:240::1"), "{routes}");
    assert!(!routes.contains("expires -"), "{routes}");
}

#[test]
fn a_daemon_that_was_killed_confirms_its_leases_and_goes_on() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = OnDemand;
    let c1 = world.host.container("c1");
    let conf = bridged(dhcp());
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result).remove(0);
    OnDemand::kill();
    let _next = world.daemon();
    assert_eq!(world.listed6("testnet/c1/eth0")["address"], given.as_str());
    dnsmasq.until_output_has("DHCPCONFIRM", SOON);
    let bound = || world.listed6("testnet/c1/eth0")["state"] == "BOUND";
    assert!(until(SOON, bound), "{}", world.listed6("testnet/c1/eth0"));
    assert_eq!(v6(&c1), [given]);
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_leases6(0);
}

#[test]
fn a_container_that_comes_back_elsewhere_asks_whether_its_lease_still_holds() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let conf = bridged(dhcp());
    let bridge = world.host.plugin("bridge-attach");
    let first = {
        let c1 = world.host.container("c1");
        let first = bridge.add(&c1, &conf).succeeds();
        world.vanish(&c1, &first);
        first
    };
    let c1 = world.host.container("c1");
    let again = bridge.add(&c1, &conf).succeeds();
    dnsmasq.until_output_has("DHCPCONFIRM", SOON);
    assert_eq!(addresses(&again), addresses(&first));
    assert!(c1.reaches("fd00:240::1"));
    until_leases6(1);
}

#[test]
fn without_a_daemon_del_leaves_word_and_the_next_one_gives_the_lease_back() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    let mut keys = dhcp();
    keys["startDaemon"] = json!(false);
    let conf = alone(keys);
    world.plugin().add(&c1, &conf).succeeds();
    drop(daemon);
    world.plugin().del(&c1, &conf).succeeds();
    until_leases6(1);
    let _daemon = world.daemon();
    until_leases6(0);
}
