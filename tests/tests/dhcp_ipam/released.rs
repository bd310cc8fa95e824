//! A Release that is not heard: DHCPv6 has an answer to it, so DEL knows.

use std::fs;

use nix::sys::signal::Signal;
use plumb_tests::{Capture, Container, Value, json, until};

use crate::family::V6;
use crate::world::{SOON, World, alone};
use crate::world6::{addresses, until_leases6};

/// Release (RFC 8415, 7.3).
const RELEASE: u8 = 8;

/// Files of leases.
fn files() -> usize {
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    files.filter(|file| file.file_name() != "lock").count()
}

/// How many Releases the server's link has seen.
fn releases(heard: &Capture) -> usize {
    let packets = heard.packets();
    packets
        .iter()
        .filter(|line| line.contains("release"))
        .count()
}

fn wanted() -> Value {
    alone((V6.keys)())
}

#[test]
fn a_release_that_is_lost_is_sent_again_before_del_returns() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, wanted()).succeeds();
    until_leases6(1);
    let heard = world.server.capture("eth0", "udp port 547");
    world.deaf_once_to(RELEASE);
    world.plugin().del(&c1, wanted()).succeeds();
    until_leases6(0);
    // Where the answer to the second takes long there is a third.
    let twice = || [2, 3].contains(&releases(&heard));
    assert!(until(SOON, twice), "{:?}", heard.packets());
    assert_eq!(files(), 0);
}

#[test]
fn without_a_server_del_and_gc_go_on_after_three_releases() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let (c1, c2) = (world.plugged("c1"), world.plugged("c2"));
    for container in [&c1, &c2] {
        world.plugin().add(container, wanted()).succeeds();
    }
    dnsmasq.signal(Signal::SIGKILL);
    drop(dnsmasq);
    let heard = world.server.capture("eth0", "udp port 547");
    let outcome = world.plugin().del(&c1, wanted());
    let elapsed = outcome.elapsed;
    outcome.succeeds();
    assert!(elapsed < SOON, "{elapsed:?}");
    assert_eq!(files(), 1);
    world.plugin().valid([]).gc(wanted()).succeeds();
    assert_eq!(files(), 0);
    assert!(world.listed6("testnet/c2/eth0").is_null());
    let all = || releases(&heard) >= 6;
    assert!(until(SOON, all), "{:?}", heard.packets());
    assert_eq!(releases(&heard), 6, "{:?}", heard.packets());
}

#[test]
fn a_namespace_that_is_gone_is_not_waited_for() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, wanted()).succeeds();
    world.deaf_to(Some(RELEASE));
    c1.vanish();
    world.command(&["release", "testnet/c1/eth0"]);
    assert_eq!(files(), 0);
    assert!(
        !world.metrics().contains("RELEASING"),
        "{}",
        world.metrics()
    );
}

/// What `act` gives while a DEL waits for the answer to its Release, which takes two seconds. Where the machine was too
/// slow to see that, or for `act`, the container is attached once more.
#[track_caller]
fn during_del<T>(world: &World, c1: &Container, mut act: impl FnMut() -> Option<T>) -> T {
    let plugin = world.plugin();
    let releases = || world.listed6("testnet/c1/eth0")["state"] == "RELEASING";
    for _ in 0..5 {
        world.deaf_to(None);
        plugin.add(c1, wanted()).succeeds();
        until_leases6(1);
        world.deaf_to(Some(RELEASE));
        let done = std::thread::scope(|scope| {
            let del = scope.spawn(|| plugin.del(c1, wanted()));
            let mut seen = false;
            until(SOON, || {
                seen = releases();
                seen || del.is_finished()
            });
            let done = if seen { act() } else { None };
            del.join().unwrap().succeeds();
            done
        });
        if let Some(done) = done {
            return done;
        }
    }
    panic!("no DEL was seen to wait");
}

/// A killed daemon left a lease with the server, and word of it on disk.
#[track_caller]
fn given_back_by_the_next(world: &World) {
    until_leases6(1);
    world.deaf_to(None);
    let _daemon = world.daemon();
    until_leases6(0);
    assert!(until(SOON, || files() == 0));
}

#[test]
fn a_daemon_killed_while_a_release_has_no_answer_gives_the_lease_back_after_all() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    during_del(&world, &c1, || {
        daemon.signal(Signal::SIGKILL);
        Some(())
    });
    drop(daemon);
    given_back_by_the_next(&world);
}

#[test]
fn an_attachment_that_is_wanted_again_while_it_is_given_back_has_a_lease() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let plugin = world.plugin();
    let result = during_del(&world, &c1, || Some(plugin.add(&c1, wanted()).succeeds()));
    let listed = world.listed6("testnet/c1/eth0");
    let held = (&listed["state"], listed["address"].as_str());
    assert_eq!(held, (&json!("BOUND"), Some(&addresses(&result)[0][..])));
    until_leases6(1);
    world.deaf_to(None);
    plugin.del(&c1, wanted()).succeeds();
    until_leases6(0);
}

#[test]
fn a_daemon_killed_while_what_is_given_back_is_wanted_again_gives_it_back_after_all() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    let plugin = world.plugin();
    during_del(&world, &c1, || {
        world.deaf_to_the_rest();
        std::thread::scope(|scope| {
            let add = scope.spawn(|| plugin.add(&c1, wanted()));
            let listed = || world.listed6("testnet/c1/eth0");
            assert!(until(SOON, || listed()["state"] == "SOLICITING"));
            let in_time = files() == 1;
            if in_time {
                daemon.signal(Signal::SIGKILL);
                add.join().unwrap().fails_with(11, "");
            } else {
                world.deaf_to(None);
                add.join().unwrap().succeeds();
            }
            in_time.then_some(())
        })
    });
    drop(daemon);
    given_back_by_the_next(&world);
}

#[test]
fn del_leaves_word_also_where_no_daemon_could_listen() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, wanted()).succeeds();
    until_leases6(1);
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    // Neither a socket nor its lock can be in what is no directory.
    fs::rename("/run/cni", "/run/was-cni").unwrap();
    fs::write("/run/cni", "").unwrap();
    world.plugin().del(&c1, wanted()).succeeds();
    assert_eq!(files(), 1);
    fs::remove_file("/run/cni").unwrap();
    fs::rename("/run/was-cni", "/run/cni").unwrap();
    let _daemon = world.daemon();
    until_leases6(0);
}
