//! The daemon killed at many moments of an ADD.

use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::{json, until};

use crate::world::{SOON, World, address, alone, leases, until_leases};

const LAST: u64 = 24;

/// From before the first packet to after the answer, which comes some thirty milliseconds later.
#[test]
fn a_daemon_killed_at_any_moment_of_an_add_loses_no_lease_and_makes_no_second() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let c1 = world.plugged("c1");
    c1.sh("ip link set eth0 up");
    let forwards = || {
        world
            .host
            .sh("bridge link show dev v-c1")
            .contains("forwarding")
    };
    assert!(until(SOON, forwards));
    // The plugin must not start one of its own: the next daemon is the test's.
    let conf = alone(json!({ "startDaemon": false }));
    let plugin = world.plugin();
    let (mut failed, mut answered) = (0, 0);
    for step in 0..=LAST {
        let daemon = world.daemon();
        let outcome = std::thread::scope(|scope| {
            let add = scope.spawn(|| plugin.add(&c1, &conf));
            // The moments are what is tested; the last is after the answer, however slow the machine is.
            if step < LAST {
                std::thread::sleep(Duration::from_millis(2 * step));
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
        let listed = world.listed("testnet/c1/eth0");
        if let Some(first) = &first {
            // Whoever was told of a lease has it.
            assert_eq!(
                (&listed["state"], &listed["address"]),
                (&json!("BOUND"), &json!(address(first)))
            );
        }
        let second = plugin.add(&c1, &conf).succeeds();
        assert!(first.is_none_or(|first| first == second));
        assert_eq!(leases().len(), 1, "{:?}", leases());
        plugin.del(&c1, &conf).succeeds();
        until_leases(0);
    }
    assert!(
        failed > 0 && answered > 0,
        "{failed} failed, {answered} were answered"
    );
}
