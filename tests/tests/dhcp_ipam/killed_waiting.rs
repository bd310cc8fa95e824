//! The daemon killed while a client waits: after it declined an address, after it lost one, and while nobody answers what
//! it asks beside addresses.

use nix::sys::signal::Signal;
use plumb_tests::{Outcome, Plugin, Process, Value, json, until};

use crate::family::{Family, V4, V6};
use crate::world::{SOON, World, address, alone, bridged, v4};
use crate::world6::{RA_STATELESS, addresses, v6};

/// Kills the daemon in the middle of an ADD, once `listed` says that the attachment is in `state`.
#[track_caller]
fn killed_in(
    state: &str,
    listed: impl Fn() -> Value,
    daemon: Process,
    add: impl FnOnce() -> Outcome + Send,
) {
    let outcome = std::thread::scope(|scope| {
        let add = scope.spawn(add);
        assert!(until(SOON, || listed()["state"] == state), "{}", listed());
        daemon.signal(Signal::SIGKILL);
        add.join().unwrap()
    });
    drop(daemon);
    outcome.fails_with(11, "");
}

/// Neighbours have both addresses that there are, until the daemon is killed in `state`; then one of them is free.
#[track_caller]
fn killed_after_a_decline(family: &Family, state: &str, unheard: Option<u8>) {
    let world = (family.world)();
    let _server = (family.serve_two)(&world);
    world.deaf_to(unheard);
    let squatter = world.plugged("squatter");
    squatter.sh("ip link set eth0 up");
    for each in family.two {
        let nodad = if each.contains(':') { "nodad" } else { "" };
        squatter.sh(&format!("ip addr add {each} dev eth0 {nodad}"));
    }
    let mut keys = (family.keys)();
    keys["timeoutSecs"] = json!(60);
    (family.patience)(&mut keys, 500);
    let conf = alone(keys);
    let (c1, plugin) = (world.plugged("c1"), world.plugin());
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    killed_in(state, listed, world.daemon(), || plugin.add(&c1, &conf));

    let [taken, free] = family.two;
    squatter.sh(&format!("ip addr del {free} dev eth0"));
    world.deaf_to(None);
    let _daemon = world.daemon();
    assert!(listed().is_null(), "{}", listed());
    let given = addresses(&plugin.add(&c1, &conf).succeeds());
    assert_eq!(given, [free], "{taken} is somebody else's");
    (family.until_leases)(1);
    plugin.del(&c1, &conf).succeeds();
    (family.until_leases)(0);
}

#[test]
fn a_daemon_killed_after_a_decline_does_not_use_the_address() {
    killed_after_a_decline(&V4, "INIT", None);
}

#[test]
fn a_daemon_killed_while_it_declines_an_ipv6_address_does_not_use_it() {
    // Decline is message 9 (RFC 8415, 7.3).
    killed_after_a_decline(&V6, "DECLINING", Some(9));
}

#[test]
fn a_daemon_killed_after_it_declined_an_ipv6_address_does_not_use_it() {
    killed_after_a_decline(&V6, "WAITING", None);
}

/// A lease has ended and the client asks for another when the daemon is killed.
#[track_caller]
fn killed_after_the_end(family: &Family, state: &str, times: &str) {
    let world = (family.world)();
    let server = family.isc_dhcpd(&world, times);
    let daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged((family.keys)());
    let result = bridge.add(&c1, &conf).succeeds();
    server.signal(Signal::SIGKILL);
    drop(server);
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    let ended = || (family.found)(&c1).is_empty() && listed()["state"] == state;
    assert!(until(SOON * 2, ended), "{}", listed());
    daemon.signal(Signal::SIGKILL);
    drop(daemon);

    let _daemon = world.daemon();
    assert_eq!(listed()["state"], state, "{}", listed());
    assert_eq!((family.found)(&c1), Vec::<String>::new());
    let _server = family.isc_dhcpd(&world, times);
    let back = || (family.found)(&c1) == addresses(&result);
    assert!(until(SOON * 2, back), "{}", listed());
    assert!(c1.reaches(family.server));
    bridge.previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn a_daemon_killed_after_a_lease_ended_goes_on_asking_for_another() {
    killed_after_the_end(&V4, "SELECTING", "default-lease-time 6; max-lease-time 6;");
}

#[test]
fn a_daemon_killed_after_an_ipv6_lease_ended_goes_on_asking_for_another() {
    killed_after_the_end(
        &V6,
        "SOLICITING",
        "default-lease-time 6; preferred-lifetime 5; option dhcp-renewal-time 2; option dhcp-rebinding-time 4;",
    );
}

#[test]
fn a_daemon_killed_while_it_confirms_keeps_the_lease_and_confirms_again() {
    let world = World::with_ipv6();
    let server = world.dnsmasq6_range("100", "1ff");
    let daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged((V6.keys)());
    let result = bridge.add(&c1, &conf).succeeds();
    daemon.signal(Signal::SIGKILL);
    drop((daemon, server));
    let listed = || world.listed6("testnet/c1/eth0");
    for _ in 0..2 {
        let daemon = world.daemon();
        assert_eq!(listed()["state"], "CONFIRMING", "{}", listed());
        daemon.signal(Signal::SIGKILL);
        drop(daemon);
        assert_eq!(v6(&c1), addresses(&result));
    }
    let _server = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    assert!(until(SOON, || listed()["state"] == "BOUND"), "{}", listed());
    assert_eq!(v6(&c1), addresses(&result));
    bridge.previous(&result).del(&c1, &conf).succeeds();
    (V6.until_leases)(0);
}

#[test]
fn a_daemon_killed_while_it_informs_leaves_the_next_add_to_do_it() {
    let world = World::new();
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    c1.sh("ip link set eth0 up");
    let mut keys = (V4.keys)();
    keys["inform"] = json!(true);
    let conf = alone(keys);
    let plugin: Plugin = world.plugin().args("IP=10.240.0.200/24");
    let listed = || world.listed("testnet/c1/eth0");
    killed_in("INFORMING", listed, daemon, || plugin.add(&c1, &conf));

    let _server = world.dnsmasq(100, 110);
    let _daemon = world.daemon();
    assert!(listed().is_null(), "{}", listed());
    let result = plugin.add(&c1, &conf).succeeds();
    assert_eq!(address(&result), "10.240.0.200/24");
    assert_eq!(result["dns"]["nameservers"], json!(["10.240.0.53"]));
    assert!(v4(&c1).len() <= 1, "{:?}", v4(&c1));
    (V4.until_leases)(0);
    plugin.del(&c1, &conf).succeeds();
}

#[test]
fn a_daemon_killed_while_it_asks_for_what_is_beside_addresses_leaves_the_next_add_to_do_it() {
    let world = World::with_ipv6();
    let _server = world.dnsmasq6(&[RA_STATELESS]);
    // Information-request is message 11.
    world.deaf_to(Some(11));
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "ipv4": "off", "ipv6": "slaac", "startDaemon": false }));
    let plugin = world.plugin();
    let listed = || world.listed6("testnet/c1/eth0");
    killed_in("INFORMING", listed, daemon, || plugin.add(&c1, &conf));

    world.deaf_to(None);
    let _daemon = world.daemon();
    assert!(listed().is_null(), "{}", listed());
    let result = plugin.add(&c1, &conf).succeeds();
    assert_eq!(result["dns"]["nameservers"], json!(["fd00:240::53"]));
    assert_eq!(listed()["state"], "INFORMED", "{}", listed());
    assert_eq!(v6(&c1), addresses(&result));
}
