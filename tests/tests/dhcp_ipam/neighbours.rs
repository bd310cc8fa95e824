//! Where neighbours find an address that had another interface before.

use nix::sys::signal::Signal;
use plumb_tests::{Value, json, until};

use crate::family::{Family, V4, V6};
use crate::world::{SOON, alone, bridged};
use crate::world6::addresses;

/// An address that the daemon gives to an interface, after a lease ended, while the server still knows it of somebody else.
#[track_caller]
fn found_at_once(family: &Family, short: &str, long: &str) {
    let world = (family.world)();
    let server = family.isc_dhcpd(&world, short);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let given = addresses(&world.plugin().add(&c1, alone((family.keys)())).succeeds()).remove(0);
    let address = given.split('/').next().unwrap();
    c1.sh(&format!("ip addr add {given} dev eth0"));
    server.signal(Signal::SIGKILL);
    drop(server);
    assert!(until(SOON * 2, || (family.found)(&c1).is_empty()));

    let neighbour = format!("{address} dev eth0");
    world.server.sh(&format!(
        "ip neigh replace {neighbour} lladdr 02:00:00:00:00:66 nud reachable"
    ));
    // Renewals would ask for the server's Ethernet address, and so tell their own.
    let _server = family.isc_dhcpd(&world, long);
    assert!(until(SOON * 2, || (family.found)(&c1) == [given.clone()]));
    let mac = c1.link("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let known = || world.server.sh(&format!("ip neigh show {neighbour}"));
    assert!(until(SOON, || known().contains(&mac)), "{mac}: {}", known());
    assert!(world.server.reaches(address));
}

#[test]
fn an_address_that_the_daemon_gives_an_interface_is_announced() {
    found_at_once(
        &V4,
        "default-lease-time 6; max-lease-time 6;",
        "default-lease-time 600; max-lease-time 600;",
    );
}

#[test]
fn an_ipv6_address_that_the_daemon_gives_an_interface_is_announced() {
    found_at_once(
        &V6,
        "default-lease-time 6; preferred-lifetime 5; option dhcp-renewal-time 2; option dhcp-rebinding-time 4;",
        "default-lease-time 600; preferred-lifetime 500;",
    );
}

/// A container that dies without a DEL, and another that gets its address while a neighbour still has the first in its cache.
#[track_caller]
fn passed_on(family: &Family, keys: &Value, peer_address: &str) {
    let world = (family.world)();
    let _server = (family.serve)(&world);
    let _daemon = world.daemon();
    let peer = world.plugged("peer");
    let nodad = if peer_address.contains(':') {
        "nodad"
    } else {
        ""
    };
    peer.sh(&format!(
        "ip link set eth0 up && ip addr add {peer_address} dev eth0 {nodad}"
    ));
    let bridge = world.host.plugin("bridge-attach");
    let mut all = (family.keys)();
    for (key, value) in keys.as_object().unwrap() {
        match all.get_mut(key).and_then(Value::as_object_mut) {
            Some(inner) => inner.extend(value.as_object().unwrap().clone()),
            None => all[key] = value.clone(),
        }
    }
    let conf = bridged(all);
    let c1 = world.host.container("c1");
    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result).remove(0);
    let address = given.split('/').next().unwrap();
    assert!(peer.reaches(address));
    world.vanish(&c1, &result);
    let c2 = world.host.container("c2");
    let again = addresses(&bridge.add(&c2, &conf).succeeds()).remove(0);
    assert_eq!(again, given, "the same client to the server");
    // Without word of it the old entry would be good for a quarter of a minute at least.
    let entry = || peer.sh(&format!("ip neigh show {address} dev eth0"));
    let mac = c2.link("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        until(SOON / 4, || entry().contains(&mac)),
        "{mac}: {}",
        entry()
    );
    assert!(peer.reaches(address));
}

#[test]
fn neighbours_find_the_next_container_with_an_address() {
    passed_on(&V4, &json!({ "clientId": "printer" }), "10.240.0.9/24");
}

#[test]
fn neighbours_find_the_next_container_with_an_ipv6_address() {
    let keys = json!({ "ipv6": { "duid": "hex:00:03:00:01:02:00:00:00:00:09" } });
    passed_on(&V6, &keys, "fd00:240::9/64");
}
