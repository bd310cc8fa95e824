//! More leases than anybody would look at.

use std::fs;

use plumb_tests::{Process, Value, json};

use crate::world::{World, alone};

/// How many are simulated.
const MANY: usize = 10_000;

/// What a process has of the machine's memory, in bytes, and its threads.
#[track_caller]
fn footprint(daemon: &Process) -> (usize, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let number = |key: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("VmRSS:") * 1024, number("Threads:"))
}

/// One lease that a server gave, and its file ten thousand times under the names of other containers: a daemon that
/// resumes them finds the interface of each in place, as after a real start.
#[test]
fn ten_thousand_leases_take_at_most_four_kibibytes_each_and_one_thread() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let mut daemon = world.daemon();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, alone(json!({}))).succeeds();
    let (with_one, _) = footprint(&daemon);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.wait(crate::world::SOON);

    let directory = "/var/lib/cni/dhcp-ipam";
    let files = fs::read_dir(directory).unwrap().flatten();
    let mut files = files.filter(|file| file.path().extension().is_some_and(|end| end == "json"));
    let text = fs::read_to_string(files.next().unwrap().path()).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    for number in 0..MANY {
        let mut other = record.clone();
        other["container"] = json!(format!("{number:064x}"));
        fs::write(format!("{directory}/{number}.json"), other.to_string()).unwrap();
    }
    let daemon = world.daemon();
    daemon.until_output_has(&format!("with {} leases", MANY + 1), crate::world::SOON);
    let (with_many, threads) = footprint(&daemon);
    let each = with_many.saturating_sub(with_one) / MANY;
    println!("{each} bytes a lease");
    assert!(each <= 4096, "{each} bytes a lease");
    assert_eq!(threads, 1);
    assert_eq!(world.listed("testnet/c1/eth0")["state"], "BOUND");
}
