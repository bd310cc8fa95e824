//! What others hear of leases: programs, watchers, people and monitoring.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use plumb_tests::{Value, json, until};

use crate::world::{SOON, World, address, alone, bridged};

/// A program that appends what it is told to /run/told, and its environment to /run/environment.
pub(crate) fn program(path: &str, more: &str) {
    let script = format!("#!/bin/sh\ncat >> /run/told\nenv >> /run/environment\n{more}\n");
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The events that the program was told of.
pub(crate) fn told() -> Vec<Value> {
    let text = fs::read_to_string("/run/told").unwrap_or_default();
    // The last line may not be complete yet.
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits until the program was told of these events.
#[track_caller]
pub(crate) fn until_told(events: &[&str]) {
    let words = || -> Vec<String> {
        told()
            .iter()
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(until(SOON, || words() == events), "{:?}", words());
}

#[test]
fn a_program_and_a_watcher_are_told_of_every_change() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 110);
    let daemon = world.daemon();
    let file = world.plugin().file().to_owned();
    let watcher = world.host.spawn([file.as_os_str(), "watch".as_ref()]);
    let is_heard = || world.metrics().contains("requests_total{do=\"watch\"} 1");
    assert!(until(SOON, is_heard));
    program("/run/hook", "");
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "onChange": "/run/hook" }));
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    until_told(&["bound"]);

    // A server that gives other addresses.
    dnsmasq.signal(Signal::SIGKILL);
    drop(dnsmasq);
    fs::remove_file("/run/dnsmasq.leases").unwrap();
    let _dnsmasq = world.dnsmasq(200, 210);
    world.command(&["renew", "testnet/c1/eth0"]);
    until_told(&["bound", "refused", "bound"]);
    // Neither a renewal that changes nothing nor a daemon that starts again is an event.
    world.command(&["renew", "testnet/c1/eth0"]);
    let renewed = || {
        world
            .metrics()
            .contains("lease_events_total{event=\"renewed\"} 1")
    };
    assert!(until(SOON, renewed), "{}", world.metrics());
    let seen = || watcher.output();
    let is_all = || seen().ends_with('\n') && seen().lines().count() == 3;
    assert!(until(SOON, is_all), "{}", seen());
    let seen = seen();
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    let _daemon = world.daemon();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_told(&["bound", "refused", "bound", "released"]);

    let all = told();
    assert_eq!(all[0]["lease"]["address"], address(&result));
    assert_eq!(all[0]["container"], "c1");
    assert_eq!(all[1]["previous"], all[0]["lease"]);
    assert!(all[1]["lease"].is_null());
    assert_eq!(all[3]["previous"]["address"], all[2]["lease"]["address"]);
    let lines: Vec<Value> = seen
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, all[..3]);
    let environment = fs::read_to_string("/run/environment").unwrap();
    for line in [
        "DHCP_EVENT=refused",
        "CNI_CONTAINERID=c1",
        "CNI_IFNAME=eth0",
        "DHCP_NETWORK=testnet",
    ] {
        assert!(
            environment.lines().any(|found| found == line),
            "{line}: {environment}"
        );
    }
}

#[test]
fn a_program_that_fails_or_never_ends_holds_nobody_up() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 110);
    let daemon = world.daemon();
    program("/run/slow", "exec sleep 20");
    program("/run/bad", "exit 3");
    let (c1, c2) = (world.plugged("c1"), world.plugged("c2"));
    let slow = alone(json!({ "onChange": "/run/slow" }));
    world.plugin().add(&c1, &slow).succeeds();
    let of_c1 = || {
        let told = told();
        let of_c1 = told.iter().filter(|event| event["container"] == "c1");
        of_c1.count()
    };
    assert!(until(SOON, || of_c1() == 1), "{:?}", told());
    let bad = alone(json!({ "onChange": "/run/bad" }));
    world.plugin().add(&c2, &bad).succeeds();
    daemon.until_output_has(
        "testnet/c2/eth0: onChange: /run/bad for bound: exit status: 3",
        SOON,
    );
    world.plugin().del(&c2, &bad).succeeds();
    // The events of one attachment come one after another: the first still runs.
    world.plugin().del(&c1, &slow).succeeds();
    assert_eq!(of_c1(), 1);
    assert!(
        world.metrics().contains("failures_total{of=\"program\"}"),
        "{}",
        world.metrics()
    );
}

#[test]
fn a_program_that_cannot_be_executed_is_refused_before_anything_is_asked() {
    let world = World::new();
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "onChange": "/run/none" }));
    world.plugin().add(&c1, &conf).fails_with(
        7,
        "ipam.onChange: /run/none cannot be executed: No such file",
    );
    let conf = alone(json!({ "onChange": "hook" }));
    world
        .plugin()
        .add(&c1, &conf)
        .fails_with(7, "ipam.onChange: \"hook\" must be an absolute path");
    assert!(world.listed("testnet/c1/eth0").is_null());
}

#[test]
fn people_and_monitoring_see_what_there_is() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 110);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let result = world.plugin().add(&c1, alone(json!({}))).succeeds();
    let text = world.said(&["show", "testnet/c1/eth0"]);
    let given = address(&result);
    for words in [
        &given,
        "BOUND",
        "lease.dns",
        "10.240.0.53",
        "lease.domain",
        "lab.example",
        "expiresIn",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let json: Value =
        serde_json::from_str(&world.said(&["show", "--json", "testnet/c1/eth0"])).unwrap();
    assert_eq!(json["lease"]["address"], given);
    let table = world.said(&["list"]);
    assert!(
        table.lines().count() == 2 && table.contains(&given),
        "{table}"
    );

    // A packet of somebody who answers what nobody asked.
    let text = world.metrics();
    for line in [
        "# TYPE dhcp_ipam_messages_sent_total counter",
        "dhcp_ipam_messages_sent_total{type=\"request\"}",
        "dhcp_ipam_messages_received_total{type=\"ack\"} 1",
        "dhcp_ipam_lease_events_total{event=\"bound\"} 1",
        "dhcp_ipam_leases{state=\"BOUND\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for words in [
        &["show"][..],
        &["show", "a/b"],
        &["list", "x"],
        &["renew", "a/b/c", "d/e/f"],
        &["metrics", "x"],
    ] {
        let file = world.plugin().file().to_owned();
        let all =
            std::iter::once(file.as_os_str()).chain(words.iter().map(std::convert::AsRef::as_ref));
        let said = world.host.try_exec(all.collect::<Vec<&std::ffi::OsStr>>());
        assert!(!said.status.success(), "{words:?}: {said:?}");
    }
}

#[test]
fn a_watcher_who_does_not_read_and_a_client_who_does_not_take_his_answer_harm_nobody() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 200);
    let daemon = world.daemon();
    let ask = |line: &str| {
        let mut stream = UnixStream::connect("/run/cni/dhcp.sock").unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream
    };
    let mut watcher = ask("{\"version\":1,\"do\":\"watch\"}\n");
    let slow: Vec<_> = (0..200)
        .map(|_| ask("{\"version\":1,\"do\":\"list\"}\n"))
        .collect();
    let _half = ask("{\"version\":1,");
    let c1 = world.plugged("c1");
    let conf = alone(json!({}));
    world.plugin().add(&c1, &conf).succeeds();
    // Within the five seconds that somebody has for a question.
    let mut drip = ask("{\"version\":1,");
    world.metrics();
    drip.write_all(b"\"do\":\"list\"}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(drip).read_line(&mut answer).unwrap();
    assert!(answer.contains("testnet/c1/eth0"), "{answer}");
    drop(slow);
    world.plugin().del(&c1, &conf).succeeds();
    // The watcher has all of it when he reads at last.
    drop(daemon);
    let mut all = String::new();
    watcher.read_to_string(&mut all).unwrap();
    let words: Vec<&str> = all.lines().collect();
    assert_eq!(words.len(), 3, "{all}");
    assert!(
        words[1].contains("\"bound\"") && words[2].contains("\"released\""),
        "{all}"
    );
}

#[test]
fn a_program_is_told_of_ipv6_as_well() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    program("/run/hook", "");
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "ipv4": "off", "ipv6": "dhcp", "onChange": "/run/hook" }));
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    until_told(&["bound"]);
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_told(&["bound", "released"]);
    let events = told();
    let given = result["ips"][0]["address"].as_str().unwrap();
    assert_eq!(events[0]["family"], "ipv6");
    assert_eq!(events[0]["lease"]["address"]["prefix"], given);
    assert_eq!(events[1]["previous"]["address"]["prefix"], given);
    let metrics = world.metrics();
    for counted in [
        "messages_sent_total{type=\"v6-solicit\"} ",
        // One or more: a server that takes its time is told again.
        "messages_sent_total{type=\"v6-release\"} ",
        "lease_events_total{event=\"bound\"} 1",
    ] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
}
