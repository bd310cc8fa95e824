//! Where neighbours find an address that had another interface before.

use nix::sys::signal::Signal;
use plumb_tests::until;

use crate::family::{Family, V4, V6};
use crate::world::{SOON, alone};
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
