//! Our `dhcp-ipam` against the Go plugin `dhcp`, with the same server (dnsmasq) and the same work: how long an ADD takes,
//! and what the daemon needs for `LEASES` leases (1000).
//!
//! `PLUGIN_DIR` has our plugins, `REFERENCE_DIR` the Go plugins; `SAMPLES` says how many ADDs are timed. On a machine that
//! does other things only the ratios mean something.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints figures, and ends at the first thing that goes wrong"
)]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use plumb_tests::{Binaries, Container, Host, Plugin, Process, Value, at_once, conf, json, until};

/// Where each daemon listens.
const SOCKET: &str = "/run/cni/dhcp.sock";
const SOON: Duration = Duration::from_secs(30);
/// More interfaces than a bridge has ports for are not to be had.
const CONTAINERS: usize = 10;

/// One of the two.
#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    directory: &'static str,
    plugin: &'static str,
    daemon: &'static [&'static str],
    probe: Option<u32>,
}

/// As the Go plugin works: without asking whether somebody else has the address.
const OURS: Suite = Suite {
    name: "plumb",
    directory: "PLUGIN_DIR",
    plugin: "dhcp-ipam",
    daemon: &["daemon", "--socketpath", SOCKET],
    probe: Some(0),
};
/// As it comes, with an ARP probe of a tenth of a second.
const CAREFUL: Suite = Suite {
    name: "plumb, probing",
    probe: None,
    ..OURS
};
const GO: Suite = Suite {
    name: "go",
    directory: "REFERENCE_DIR",
    plugin: "dhcp",
    daemon: &["daemon", "-socketpath", SOCKET],
    probe: None,
};

/// What was seen of one.
struct Figures {
    add: Duration,
    del: Duration,
    /// Of the daemon, beyond what it had before the first lease, in bytes for each.
    memory: usize,
    threads: usize,
}

impl Suite {
    fn conf(self) -> Value {
        let mut ipam = json!({ "type": self.plugin });
        if let Some(millis) = self.probe {
            ipam["arpProbeMs"] = millis.into();
        }
        conf(self.plugin, json!({ "ipam": ipam }))
    }

    fn run(self, samples: usize, leases: usize) -> Figures {
        let host = Host::new();
        let directory = PathBuf::from(env::var_os(self.directory).expect("a directory of plugins"));
        let plugin = Plugin::of(&Binaries::in_directory(&directory), self.plugin);
        host.sh("ip link add br0 type bridge; ip link set br0 up; ip addr add 10.1.0.1/20 dev br0");
        let _server = serve(&host);
        let file = plugin.file().display().to_string();
        fs::create_dir_all("/run/cni").expect("a directory");
        let argv = [&[file.as_str()], self.daemon].concat();
        let daemon = host.spawn(argv);
        assert!(
            until(SOON, || fs::exists(SOCKET).unwrap_or(false)),
            "{}",
            daemon.output()
        );
        let containers: Vec<_> = (0..CONTAINERS)
            .map(|n| host.container(&format!("c{n}")))
            .collect();
        plug(&host, leases + 1);

        let conf = self.conf();
        let (mut adds, mut dels) = (Vec::new(), Vec::new());
        let first = plugin.clone().ifname(format!("eth{leases}"));
        for _ in 0..=samples {
            let added = first.add(&containers[leases % CONTAINERS], &conf);
            adds.push(added.elapsed);
            added.succeeds();
            let deleted = first.del(&containers[leases % CONTAINERS], &conf);
            dels.push(deleted.elapsed);
            deleted.succeeds();
        }
        let (before, _) = footprint(&daemon);
        at_once(CONTAINERS, |place| {
            attach(&plugin, &containers[place], &conf, place, leases);
        });
        let (after, threads) = footprint(&daemon);
        // The first of each finds everything cold.
        Figures {
            add: median(&mut adds[1..]),
            del: median(&mut dels[1..]),
            memory: after.saturating_sub(before) / leases,
            threads,
        }
    }
}

fn attach(plugin: &Plugin, container: &Container, conf: &Value, place: usize, leases: usize) {
    for number in (place..leases).step_by(CONTAINERS) {
        let plugin = plugin.clone().ifname(format!("eth{number}"));
        plugin.add(container, conf).succeeds();
    }
}

fn serve(host: &Host) -> Process {
    let line = "dnsmasq --no-daemon --conf-file=/dev/null --user=root --group=root --port=0 --interface=br0 --bind-interfaces \
        --no-ping --pid-file= --dhcp-authoritative --dhcp-lease-max=5000 --dhcp-leasefile=/run/leases \
        --dhcp-range=10.1.1.0,10.1.8.255,255.255.240.0,12h";
    let server = host.spawn(line.split_whitespace());
    server.until_output_has("sockets bound exclusively", SOON);
    server
}

/// Interfaces on the bridge, spread over the containers, and up, as a plugin that delegates has them.
fn plug(host: &Host, count: usize) {
    let link = |n: usize| {
        let place = n % CONTAINERS;
        format!("link add v{n} up master br0 type veth peer name eth{n} netns c{place}\n")
    };
    fs::write("/run/batch", (0..count).map(link).collect::<String>()).expect("a batch");
    host.sh("ip -batch /run/batch");
    for place in 0..CONTAINERS {
        let up = (place..count).step_by(CONTAINERS);
        let up = up.map(|n| format!("link set eth{n} up\n"));
        fs::write("/run/batch", up.collect::<String>()).expect("a batch");
        host.sh(&format!("ip -n c{place} -batch /run/batch"));
    }
}

/// The daemon's resident memory in bytes, and its threads.
fn footprint(daemon: &Process) -> (usize, usize) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("a daemon");
    let number = |key: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(key));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        word.expect("a value").parse().expect("a number")
    };
    (number("VmRSS:") * 1024, number("Threads:"))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let number = |name, usual| env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (samples, leases) = (number("SAMPLES", 20), number("LEASES", 1000));
    let mut all = Vec::new();
    for (suite, leases) in [(OURS, leases), (CAREFUL, CONTAINERS), (GO, leases)] {
        // A host stays with the thread that made it.
        let ran = thread::spawn(move || suite.run(samples, leases)).join();
        all.push((suite.name, leases, ran.expect("figures")));
    }
    let go = &all[2].2;
    println!(
        "dhcp: median of {samples} ADDs, the daemon at {leases} leases, and how many times more the Go plugin needs"
    );
    for (name, leases, figures) in &all {
        let times = |go: f64, ours: f64| go / ours;
        let quicker = times(go.add.as_secs_f64(), figures.add.as_secs_f64());
        let quicker_del = times(go.del.as_secs_f64(), figures.del.as_secs_f64());
        print!(
            "{name:<15} ADD {:>9.2?} {quicker:>6.1}x   DEL {:>9.2?} {quicker_del:>6.1}x",
            figures.add, figures.del
        );
        if *leases > CONTAINERS {
            let (memory, threads) = (figures.memory, figures.threads);
            let less = go.memory / memory.max(1);
            print!("   {memory:>7} bytes a lease {less:>4}x   {threads:>5} threads");
        }
        println!();
    }
}
