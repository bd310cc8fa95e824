//! What becomes of leases over a reboot, of questions that a crash interrupts, and of namespaces that go meanwhile.

use std::fs;

use nix::sys::signal::Signal;
use plumb_tests::{Value, json, until};

use crate::family::{Family, V4, V6};
use crate::world::{SOON, alone, assert_asked_alone, bridged};
use crate::world6::addresses;

/// The files of leases, with another boot in them: what a machine that was booted meanwhile finds.
fn reboot() {
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let files = files.map(|file| file.path());
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        record["boot"] = json!("00000000-0000-0000-0000-000000000000");
        fs::write(&path, record.to_string()).unwrap();
    }
}

#[track_caller]
fn rebooted(family: &Family, question: &str, other: &str) {
    let world = (family.world)();
    let server = (family.serve)(&world);
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone((family.keys)());
    let first = world.plugin().add(&c1, &conf).succeeds();
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    world.host.sh("ip link del v-c1");
    c1.vanish();
    drop(c1);
    reboot();

    let _daemon = world.daemon();
    let listed = (family.listed)(&world, "testnet/c1/eth0");
    assert_eq!(
        (&listed["state"], listed["address"].as_str()),
        (&json!("GONE"), Some(&addresses(&first)[0][..]))
    );
    let c1 = world.plugged("c1");
    let before = server.output().len();
    let again = world.plugin().add(&c1, &conf);
    let took = again.elapsed;
    assert_eq!(addresses(&again.succeeds()), addresses(&first));
    // It asked for what it had, and not for anything.
    assert_asked_alone(&server.output()[before..], question, other, took);
    (family.until_leases)(1);
}

#[test]
fn after_a_reboot_a_container_asks_for_the_address_it_had() {
    rebooted(&V4, "DHCPREQUEST(", "DHCPDISCOVER(");
}

#[test]
fn after_a_reboot_a_container_asks_for_the_ipv6_address_it_had() {
    rebooted(&V6, "DHCPCONFIRM(", "DHCPSOLICIT(");
}

/// The daemon killed while nobody answers: at first there is no lease, then one of another place that is asked for.
#[track_caller]
fn killed_while_it_asks(family: &Family, states: [&[&str]; 2]) {
    let world = (family.world)();
    let conf = alone((family.keys)());
    let plugin = world.plugin();
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    let mut first = None;
    for expected in states {
        let c1 = world.plugged("c1");
        let daemon = world.daemon();
        let outcome = std::thread::scope(|scope| {
            let add = scope.spawn(|| plugin.add(&c1, &conf));
            let asks = || {
                let state = listed()["state"].clone();
                expected.iter().any(|one| state == *one)
            };
            assert!(until(SOON, asks), "{}", listed());
            daemon.signal(Signal::SIGKILL);
            add.join().unwrap()
        });
        outcome.fails_with(11, "");
        drop(daemon);

        let server = (family.serve)(&world);
        let daemon = world.daemon();
        let result = plugin.add(&c1, &conf).succeeds();
        (family.until_leases)(1);
        if let Some(first) = first.replace(addresses(&result)) {
            assert_eq!(first, addresses(&result));
        }
        drop((daemon, server));
        world.host.sh("ip link del v-c1");
        c1.vanish();
    }
}

#[test]
fn a_daemon_killed_while_nobody_answers_goes_on_with_the_next_add() {
    // A reboot's question is given up after the second: what follows it is the same to the next daemon.
    killed_while_it_asks(&V4, [&["SELECTING"], &["REBOOTING", "SELECTING"]]);
}

#[test]
fn a_daemon_killed_while_nobody_answers_for_ipv6_goes_on_with_the_next_add() {
    killed_while_it_asks(&V6, [&["SOLICITING"], &["CONFIRMING", "SOLICITING"]]);
}

/// A namespace that goes while its lease is quietly held: when it is time to renew it, nobody does.
#[track_caller]
fn gone_while_it_is_held(family: &Family, times: &str) {
    let world = (family.world)();
    let _server = family.isc_dhcpd(&world, times);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone((family.keys)());
    let result = world.plugin().add(&c1, &conf).succeeds();
    c1.vanish();
    let capture = world.server.capture("eth0", "udp port 67 or udp port 547");
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    let state = |state: &str| listed()["state"] == state;
    assert!(until(SOON, || state("GONE")), "{}", listed());
    assert_eq!(listed()["address"], addresses(&result)[0].as_str());
    // It ends, and is not taken back by anybody.
    assert!(until(SOON, || listed().is_null()), "{}", listed());
    assert_eq!(capture.packets(), Vec::<String>::new());
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let files = files.filter(|file| file.file_name() != "lock").count();
    assert_eq!(files, 0);
}

#[test]
fn a_lease_whose_namespace_is_gone_is_not_renewed_and_is_forgotten_at_its_end() {
    gone_while_it_is_held(
        &V4,
        "default-lease-time 14; max-lease-time 14; option dhcp-renewal-time 6; option dhcp-rebinding-time 12;",
    );
}

#[test]
fn an_ipv6_lease_whose_namespace_is_gone_is_not_renewed_and_is_forgotten_at_its_end() {
    gone_while_it_is_held(
        &V6,
        "default-lease-time 14; preferred-lifetime 13; option dhcp-renewal-time 6; option dhcp-rebinding-time 12;",
    );
}

/// A namespace that goes while its lease is being renewed, for which sockets are open in it.
#[track_caller]
fn gone_while_it_asks(family: &Family, times: &str) {
    let world = (family.world)();
    let server = family.isc_dhcpd(&world, times);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone((family.keys)());
    let result = world.plugin().add(&c1, &conf).succeeds();
    // What the plugin that attaches would do.
    c1.sh(&format!("ip addr add {} dev eth0", addresses(&result)[0]));
    server.signal(Signal::SIGKILL);
    drop(server);
    let listed = || (family.listed)(&world, "testnet/c1/eth0");
    assert!(
        until(SOON, || listed()["state"] == "RENEWING"),
        "{}",
        listed()
    );
    c1.vanish();
    // It has its half of the pair until the daemon looks, long before there is something to send again.
    assert!(
        until(SOON * 3, || world.host.link("v-c1").is_none()),
        "{}",
        listed()
    );
    assert_eq!(listed()["state"], "GONE");
}

#[test]
fn a_namespace_that_goes_during_a_renewal_is_let_go() {
    gone_while_it_asks(
        &V4,
        "default-lease-time 4000; max-lease-time 4000; option dhcp-renewal-time 2; option dhcp-rebinding-time 3500;",
    );
}

#[test]
fn a_namespace_that_goes_during_an_ipv6_renewal_is_let_go() {
    gone_while_it_asks(
        &V6,
        "default-lease-time 4000; preferred-lifetime 3900; option dhcp-renewal-time 2; option dhcp-rebinding-time 3500;",
    );
}

/// A lease that goes back while the container lives: its address may be somebody else's from then on.
#[track_caller]
fn given_back_by_a_person(family: &Family) {
    let world = (family.world)();
    let _server = (family.serve)(&world);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged((family.keys)());
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    assert_eq!((family.found)(&c1), addresses(&result));
    (family.until_leases)(1);
    world.command(&["release", "testnet/c1/eth0"]);
    assert_eq!((family.found)(&c1), Vec::<String>::new());
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    (family.until_leases)(0);
    assert!((family.listed)(&world, "testnet/c1/eth0").is_null());
    bridge.previous(&result).del(&c1, &conf).succeeds();
}

#[test]
fn a_lease_that_a_person_gives_back_is_not_used_any_more() {
    given_back_by_a_person(&V4);
}

#[test]
fn an_ipv6_lease_that_a_person_gives_back_is_not_used_any_more() {
    given_back_by_a_person(&V6);
}
