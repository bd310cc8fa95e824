//! `masquerade reload` killed, and failing, at its system calls: the next one finishes what it began, and an attachment that
//! went meanwhile stays gone.

use std::fs;
use std::io::{self, Write};

use plumb_tests::faults::{
    Fault, SERVICE_RECORD, ServicePoint, recording, service_points, service_was_hit,
};
use plumb_tests::{Container, Host, Ran, Value, binaries, conf, json};

struct World {
    host: Host,
    containers: [Container; 2],
}

fn configuration(number: usize) -> Value {
    conf(
        "masquerade",
        json!({
            "forward": "stateful",
            "sources": ["10.90.0.0/16"],
            "publish": [format!("808{number}:80")],
            "prevResult": {
                "cniVersion": "1.1.0",
                "interfaces": [{ "name": "br1" }, { "name": "eth0", "sandbox": "/run/netns/c" }],
                "ips": [
                    { "interface": 1, "address": format!("10.77.0.{}/16", number + 2) },
                    { "interface": 1, "address": format!("fd77::{}/64", number + 2) },
                ],
            },
        }),
    )
}

impl World {
    fn new() -> Self {
        let host = Host::new();
        host.sh("ip link add br1 type bridge; echo 0 > /proc/sys/net/ipv6/conf/br1/accept_dad");
        host.sh(
            "ip addr add 10.77.0.1/16 dev br1; ip addr add fd77::1/64 dev br1; ip link set br1 up",
        );
        host.sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
        let containers = ["c0", "c1"].map(|name| host.container(name));
        let world = Self { host, containers };
        for number in 0..2 {
            let plugin = world.host.plugin("masquerade");
            let container = &world.containers[number];
            plugin.add(container, configuration(number)).succeeds();
        }
        world
    }

    /// As a reload of the host's firewall does.
    fn flush(&self) {
        self.host.sh(
            "nft flush ruleset; iptables -P FORWARD DROP; ip6tables -P FORWARD DROP; \
             echo 0 > /proc/sys/net/ipv4/conf/br1/route_localnet; echo 0 > /proc/sys/net/ipv4/ip_forward",
        );
    }

    fn reload(&self, before: &[String]) -> Ran {
        let plugin = binaries().find("masquerade");
        let own = [plugin.to_str().unwrap(), "reload"].map(str::to_owned);
        self.host.try_exec(before.iter().chain(&own))
    }

    fn check(&self, number: usize) {
        let plugin = self.host.plugin("masquerade");
        let container = &self.containers[number];
        plugin.check(container, configuration(number)).succeeds();
    }

    /// The calls of a reload: the fewest of three, as one that had to wait for the kernel made calls that others do not make.
    fn record(&self) -> String {
        let records = (0..3).map(|_| {
            self.flush();
            let ran = self.reload(&recording());
            assert!(ran.stdout.contains("in place: 2;"), "{}", ran.stdout);
            fs::read_to_string(SERVICE_RECORD).unwrap()
        });
        records.min_by_key(|record| record.lines().count()).unwrap()
    }

    /// Whether the fault came.
    fn try_point(&self, point: &ServicePoint, fault: Fault, number: usize) -> bool {
        self.flush();
        let ran = self.reload(&point.argv(fault));
        let hit = service_was_hit(&fs::read_to_string(SERVICE_RECORD).unwrap_or_default());
        if fault == Fault::Fails && hit && ran.status.success() {
            // What it says is in place is.
            assert!(
                ran.stdout.contains("in place: 2;"),
                "{point}: {}",
                ran.stdout
            );
            self.check(0);
            self.check(1);
        }
        if number % 3 == 2 {
            // One of the two goes before anybody reloads again, and comes back after.
            let plugin = self.host.plugin("masquerade");
            plugin.del(&self.containers[0], configuration(0)).succeeds();
            let again = self.reload(&[]);
            assert!(
                again.stdout.contains("in place: 1;"),
                "{point}: {}{}",
                again.stdout,
                again.stderr
            );
            let listed = self.host.ruleset();
            assert!(!listed.contains("testnet/c0/"), "{point}: {listed}");
            self.check(1);
            plugin.add(&self.containers[0], configuration(0)).succeeds();
        }
        let again = self.reload(&[]);
        assert!(
            again.stdout.contains("in place: 2;"),
            "{point}: {}{}",
            again.stdout,
            again.stderr
        );
        self.check(0);
        self.check(1);
        hit
    }
}

fn try_all(fault: Fault) {
    let world = World::new();
    let whole = sorted(&world.host.ruleset());
    let points = service_points(&world.record(), 0, fault);
    let mut hits = 0;
    for (number, point) in points.iter().enumerate() {
        hits += usize::from(world.try_point(point, fault, number));
        let rules = sorted(&world.host.ruleset());
        assert_eq!(rules, whole, "{point}");
    }
    let line = format!(
        "faults: masquerade reload {fault:?}: {} points tried, {hits} came\n",
        points.len()
    );
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(hits > 0 && hits * 2 >= points.len(), "{line}");
    // And nothing is left of any of it.
    for number in 0..2 {
        let plugin = world.host.plugin("masquerade");
        plugin
            .del(&world.containers[number], configuration(number))
            .succeeds();
    }
    assert!(
        !world.host.ruleset().contains("plumb"),
        "{}",
        world.host.ruleset()
    );
    let left: Vec<_> = fs::read_dir("/var/lib/cni/masquerade").unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The rules, without their order: who is restored first is first.
fn sorted(ruleset: &str) -> Vec<String> {
    let mut lines: Vec<String> = ruleset.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn reload_is_killed() {
    try_all(Fault::Killed);
}

#[test]
fn reload_fails() {
    try_all(Fault::Fails);
}
