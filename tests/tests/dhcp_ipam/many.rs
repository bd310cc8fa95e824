//! More leases than anybody would look at.

use std::fs;

use plumb_tests::{Process, Value, at_once, json, until};

use crate::family::{Family, V4, V6};
use crate::servers::kea;
use crate::world::{SOON, World, alone};

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
#[track_caller]
fn ten_thousand(family: &Family, suffix: &str) {
    let world = (family.world)();
    let _server = (family.serve)(&world);
    let mut daemon = world.daemon();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, alone((family.keys)())).succeeds();
    let (with_one, _) = footprint(&daemon);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.wait(SOON);

    let directory = "/var/lib/cni/dhcp-ipam";
    let files = fs::read_dir(directory).unwrap().flatten();
    let mut files = files.filter(|file| file.path().extension().is_some_and(|end| end == "json"));
    let text = fs::read_to_string(files.next().unwrap().path()).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    for number in 0..MANY {
        let mut other = record.clone();
        other["container"] = json!(format!("{number:064x}"));
        fs::write(format!("{directory}/{number}{suffix}"), other.to_string()).unwrap();
    }
    let file = world.plugin().file().to_owned();
    let daemon = world.host.spawn([file.as_os_str(), "daemon".as_ref()]);
    // It looks at each interface first: two milliseconds each, where it is not optimized and the machine is busy.
    daemon.until_output_has(&format!("with {} leases", MANY + 1), SOON * 4);
    let (with_many, threads) = footprint(&daemon);
    let each = with_many.saturating_sub(with_one) / MANY;
    println!("{each} bytes a lease");
    assert!(each <= 4096, "{each} bytes a lease");
    assert_eq!(threads, 1);
    let held = ["BOUND", "CONFIRMING"].map(Value::from);
    let listed = (family.listed)(&world, "testnet/c1/eth0");
    assert!(held.contains(&listed["state"]), "{listed}");
}

#[test]
fn ten_thousand_leases_take_at_most_four_kibibytes_each_and_one_thread() {
    ten_thousand(&V4, ".json");
}

/// Each of these has a question on its way, for a daemon confirms IPv6 leases when it starts.
#[test]
fn ten_thousand_ipv6_leases_take_at_most_four_kibibytes_each_and_one_thread() {
    ten_thousand(&V6, ".v6.json");
}

/// Real attachments: so many as `CROWD` says (`make test-dhcp`: a thousand, which is what a bridge has ports for), on
/// interfaces of ten containers.
#[test]
fn a_crowd_against_one_kea_has_a_lease_each_and_keeps_them_over_a_crash() {
    let crowd = std::env::var("CROWD").map_or(100, |text| text.parse().expect("a number"));
    let world = World::new();
    world.server.sh("ip addr add 10.250.0.1/20 dev eth0");
    let server = kea(
        &world,
        &json!({
            "valid-lifetime": 2400, "renew-timer": 1200, "rebind-timer": 1800,
            "subnet4": [{ "id": 1, "interface": "eth0", "subnet": "10.250.0.0/20", "pools": [{ "pool": "10.250.1.0 - 10.250.8.255" }] }],
        }),
    );
    let mut daemon = world.daemon();
    let containers: Vec<_> = (0..10)
        .map(|number| world.host.container(&format!("c{number}")))
        .collect();
    let line = |number: usize| {
        let place = number % 10;
        format!("link add v{number} up master br0 type veth peer name eth{number} netns c{place}\n")
    };
    fs::write("/run/batch", (0..crowd).map(line).collect::<String>()).unwrap();
    world.host.sh("ip -batch /run/batch");
    let (idle, _) = footprint(&daemon);
    let conf = alone(json!({ "arpProbeMs": 0, "startDaemon": false, "timeoutSecs": 50 }));
    let plugin = world.plugin();
    let given = at_once(10, |place| {
        let own = (place..crowd).step_by(10);
        own.map(|number| {
            let plugin = plugin.clone().ifname(format!("eth{number}"));
            crate::world::address(&plugin.add(&containers[place], &conf).succeeds())
        })
        .collect::<Vec<_>>()
    });
    let mut given = given.concat();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), crowd, "an address each");
    let bound = || {
        world
            .metrics()
            .contains(&format!("leases{{state=\"BOUND\"}} {crowd}"))
    };
    assert!(until(SOON, bound), "{}", world.metrics());
    let (busy, threads) = footprint(&daemon);
    let each = busy.saturating_sub(idle) / crowd;
    println!("{crowd} attachments: {each} bytes each, {threads} thread");
    // With a few the allocator's own pages count.
    assert!(
        threads == 1 && (crowd < 1000 || each <= 4096),
        "{each} bytes, {threads}"
    );

    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait(SOON);
    let sent = world.server.capture("eth0", "udp port 67");
    let daemon = world.daemon();
    daemon.until_output_has(&format!("with {crowd} leases"), SOON);
    assert!(bound(), "{}", world.metrics());
    assert_eq!(
        sent.packets().len(),
        0,
        "a daemon that starts has nothing to ask"
    );
    plugin.valid([]).gc(&conf).succeeds();
    let released = || server.output().matches("DHCP4_RELEASE ").count() == crowd;
    assert!(
        until(SOON, released),
        "{}",
        server.output().matches("DHCP4_RELEASE ").count()
    );
    assert!(
        world.metrics().contains(&format!("released\"}} {crowd}")),
        "{}",
        world.metrics()
    );
}
