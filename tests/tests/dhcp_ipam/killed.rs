//! The daemon killed at many moments of an ADD, and in every state that a lease may be in afterwards.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::until;

use crate::family::{Family, LEASES, V4, V6};
use crate::world::{SOON, alone, bridged};
use crate::world6::addresses;

/// From before the first packet to after the answer, in so many steps.
#[track_caller]
fn killed_in_add(family: &Family, pause: Duration, steps: u32) {
    let world = (family.world)();
    let _server = (family.serve)(&world);
    let c1 = world.plugged("c1");
    c1.set_sysctl("net/ipv6/conf/eth0/accept_dad", "0");
    c1.sh("ip link set eth0 up");
    let forwards = || {
        world
            .host
            .sh("bridge link show dev v-c1")
            .contains("forwarding")
    };
    assert!(until(SOON, forwards));
    // The plugin must not start a daemon of its own: the next one is the test's.
    let conf = alone((family.keys)());
    let plugin = world.plugin();
    let (mut failed, mut answered) = (0, 0);
    for step in 0..=steps {
        let daemon = world.daemon();
        let outcome = std::thread::scope(|scope| {
            let add = scope.spawn(|| plugin.add(&c1, &conf));
            // The moments are what is tested; the last is after the answer, however slow the machine is.
            if step < steps {
                std::thread::sleep(pause * step);
                daemon.signal(Signal::SIGKILL);
                return add.join().unwrap();
            }
            let outcome = add.join().unwrap();
            daemon.signal(Signal::SIGKILL);
            outcome
        });
        drop(daemon);
        let first = if outcome.status.success() {
            answered += 1;
            Some(outcome.succeeds())
        } else {
            failed += 1;
            outcome.fails_with(11, "");
            None
        };

        let _daemon = world.daemon();
        if let Some(first) = &first {
            // Whoever was told of a lease has it.
            let listed = (family.listed)(&world, "testnet/c1/eth0");
            assert_eq!(listed["address"], addresses(first)[0].as_str(), "{listed}");
        }
        let second = plugin.add(&c1, &conf).succeeds();
        assert!(
            first
                .as_ref()
                .is_none_or(|first| addresses(first) == addresses(&second)),
            "{first:?} {second}"
        );
        (family.until_leases)(1);
        plugin.del(&c1, &conf).succeeds();
        (family.until_leases)(0);
    }
    assert!(
        failed > 0 && answered > 0,
        "{failed} failed, {answered} were answered"
    );
}

#[test]
fn a_daemon_killed_at_any_moment_of_an_add_loses_no_lease_and_makes_no_second() {
    killed_in_add(&V4, Duration::from_millis(2), 24);
}

#[test]
fn a_daemon_killed_at_any_moment_of_an_add_loses_no_ipv6_lease_and_makes_no_second() {
    killed_in_add(&V6, Duration::from_millis(4), 12);
}

/// The daemon killed while it asks for more time, first its server and then every server: the next one goes on asking,
/// and meanwhile the container has its address.
#[track_caller]
fn killed_in_renewal(family: &Family, times: &str) {
    let world = (family.world)();
    let mut server = family.isc_dhcpd(&world, times);
    let mut daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf_of_plugin = bridged((family.keys)());
    let result = bridge.add(&c1, &conf_of_plugin).succeeds();
    let given = addresses(&result);
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    for state in ["RENEWING", "REBINDING"] {
        server.signal(Signal::SIGKILL);
        drop(server);
        assert!(until(SOON, || listed()["state"] == state), "{}", listed());
        daemon.signal(Signal::SIGKILL);
        drop(daemon);
        assert_eq!((family.found)(&c1), given);

        daemon = world.daemon();
        assert_eq!(listed()["address"], given[0].as_str(), "{}", listed());
        server = family.isc_dhcpd(&world, times);
        let renewed = || {
            let listed = listed();
            listed["state"] == "BOUND" && listed["lastError"].is_null()
        };
        assert!(until(SOON, renewed), "{} {}", listed(), server.output());
        assert_eq!((family.found)(&c1), given);
    }
    let text = fs::read_to_string(LEASES).unwrap();
    let address = given[0].split('/').next().unwrap();
    for line in text.lines().map(str::trim) {
        // A lease of either family is a block that begins so.
        let begins = line.starts_with("lease ") || line.starts_with("iaaddr ");
        assert!(
            !begins || line.contains(&format!(" {address} ")),
            "a second lease: {text}"
        );
    }
    bridge
        .previous(&result)
        .del(&c1, &conf_of_plugin)
        .succeeds();
    let released = if family.dhcpd == "-4" {
        "DHCPRELEASE of"
    } else {
        "Release message from"
    };
    server.until_output_has(released, SOON);
}

#[test]
fn a_daemon_killed_while_it_renews_or_rebinds_goes_on_with_the_lease() {
    killed_in_renewal(
        &V4,
        "default-lease-time 40; max-lease-time 40; option dhcp-renewal-time 2; option dhcp-rebinding-time 8;",
    );
}

#[test]
fn a_daemon_killed_while_it_renews_or_rebinds_goes_on_with_the_ipv6_lease() {
    killed_in_renewal(
        &V6,
        "default-lease-time 40; preferred-lifetime 30; option dhcp-renewal-time 2; option dhcp-rebinding-time 8;",
    );
}
