//! What holds whatever comes: a lease is on the disk before anybody hears of it, and an outage does not end in a storm.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::{at_once, until};

use crate::family::{Family, V4, V6};
use crate::world::{SOON, alone};
use crate::world6::addresses;

/// The daemon's calls in their order, as strace saw them.
#[track_caller]
fn written_before_it_is_told(family: &Family) {
    let world = (family.world)();
    let _server = (family.serve)(&world);
    let file = world.plugin().file().display().to_string();
    let traced = "strace -f -y -q -s 4096 -o /run/strace -e trace=open,openat,fsync,rename,write,sendto,sendmsg";
    let daemon = world
        .host
        .spawn(traced.split(' ').chain([&file[..], "daemon"]));
    daemon.until_output_has("listens at", SOON);
    let c1 = world.plugged("c1");
    let result = world.plugin().add(&c1, alone((family.keys)())).succeeds();
    let address = addresses(&result).remove(0);
    let address = address.split('/').next().unwrap();
    let told = |line: &str| line.contains("\\\"held\\\"") && line.contains(address);
    let calls = || fs::read_to_string("/run/strace").unwrap();
    assert!(until(SOON, || calls().lines().any(told)), "{}", calls());
    let calls = calls();
    let mut rest = calls.lines();
    let mut next = |what: &str, is_it: &dyn Fn(&str) -> bool| {
        assert!(rest.any(is_it), "{what} is not where it belongs:\n{calls}");
    };
    next("the file", &|line| {
        line.contains(".new\"") && line.contains("O_CREAT") && line.contains("0600)")
    });
    next("what is in it", &|line| {
        line.contains("write(") && line.contains(".new>") && line.contains(address)
    });
    next("fsync of the file", &|line| {
        line.contains("fsync(") && line.contains(".new>")
    });
    next("its name", &|line| line.contains("rename("));
    next("fsync of the directory", &|line| {
        line.contains("fsync(") && line.contains("dhcp-ipam>")
    });
    next("the answer", &told);
}

#[test]
fn a_lease_is_on_the_disk_before_the_plugin_hears_of_it() {
    written_before_it_is_told(&V4);
}

#[test]
fn an_ipv6_lease_is_on_the_disk_before_the_plugin_hears_of_it() {
    written_before_it_is_told(&V6);
}

/// Seconds of the day at which each address asked its server for more time, for the first time.
fn renewals(packets: &[String]) -> Vec<f64> {
    let mut seen = Vec::new();
    let mut times = Vec::new();
    for line in packets {
        let words: Vec<&str> = line.split(' ').collect();
        let from = words
            .iter()
            .find(|word| word.starts_with("10.240.0.") && word.ends_with(".68"));
        let Some(from) = from.filter(|_| line.contains("> 10.240.0.1.67")) else {
            continue;
        };
        if !seen.contains(from) {
            seen.push(*from);
            let clock = words[0].split(':').map(|part| part.parse::<f64>().unwrap());
            times.push(clock.fold(0.0, |sum, part| sum * 60.0 + part));
        }
    }
    times
}

#[test]
fn renewals_that_are_overdue_are_not_all_made_at_once() {
    let world = (V4.world)();
    let _server = V4.isc_dhcpd(
        &world,
        "default-lease-time 600; max-lease-time 600; option dhcp-renewal-time 2; option dhcp-rebinding-time 40;",
    );
    let daemon = world.daemon();
    let containers: Vec<_> = (0..10)
        .map(|number| world.plugged(&format!("c{number}")))
        .collect();
    let (conf, plugin) = (alone((V4.keys)()), world.plugin());
    at_once(10, |number| {
        plugin.add(&containers[number], &conf).succeeds()
    });
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    // An outage: there is nothing to look at but the clock.
    std::thread::sleep(Duration::from_secs(3));
    let capture = world.server.capture("eth0", "udp port 67");
    let _daemon = world.daemon();
    let all = || renewals(&capture.packets()).len() == 10;
    assert!(until(SOON, all), "{:?}", capture.packets());
    let times = renewals(&capture.packets());
    // By chance within a quarter of what is left until any server is asked: nine seconds.
    let span = times[9] - times[0];
    assert!(span > 2.0, "{times:?}");
}
