//! The daemon killed at many moments of an ADD of IPv6.

use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::{json, until};

use crate::world::{SOON, World, alone};
use crate::world6::{addresses, leases6, until_leases6};

const LAST: u32 = 12;

/// From before the first packet to after the answer.
#[test]
fn a_daemon_killed_at_any_moment_of_an_add_loses_no_ipv6_lease_and_makes_no_second() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
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
    // The plugin must not start one of its own: the next daemon is the test's.
    let keys =
        json!({ "ipv4": "off", "ipv6": { "mode": "dhcp", "dadMs": 20 }, "startDaemon": false });
    let conf = alone(keys);
    let plugin = world.plugin();
    let (mut failed, mut answered) = (0, 0);
    for step in 0..=LAST {
        let daemon = world.daemon();
        let outcome = std::thread::scope(|scope| {
            let add = scope.spawn(|| plugin.add(&c1, &conf));
            // The moments are what is tested; the last is after the answer, however slow the machine is.
            if step < LAST {
                std::thread::sleep(Duration::from_millis(4) * step);
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
        let listed = world.listed6("testnet/c1/eth0");
        if let Some(first) = &first {
            // Whoever was told of a lease has it.
            assert_eq!(listed["address"], addresses(first)[0].as_str());
        }
        let second = plugin.add(&c1, &conf).succeeds();
        assert!(
            first
                .as_ref()
                .is_none_or(|first| addresses(first) == addresses(&second)),
            "{first:?} {second}"
        );
        assert_eq!(leases6().len(), 1, "{:?}", leases6());
        plugin.del(&c1, &conf).succeeds();
        until_leases6(0);
    }
    assert!(
        failed > 0 && answered > 0,
        "{failed} failed, {answered} were answered"
    );
}
