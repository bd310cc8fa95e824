//! The daemon: started, killed, started again, and in others' way.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::{json, until};

use crate::world::{
    OnDemand, SOON, World, address, alone, assert_asked_alone, bridged, until_leases,
};

#[test]
fn a_daemon_that_was_killed_resumes_its_leases_without_a_packet() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({}));
    let result = bridge.add(&c1, &conf).succeeds();
    daemon.signal(Signal::SIGKILL);
    drop(daemon);

    let capture = world.server.capture("eth0", "udp port 67");
    let _daemon = world.daemon();
    let listed = world.listed("testnet/c1/eth0");
    assert_eq!(
        (&listed["state"], &listed["address"]),
        (&json!("BOUND"), &json!(address(&result)))
    );
    assert_eq!(capture.packets(), Vec::<String>::new());
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_leases(0);
}

#[test]
fn one_that_a_plugin_started_and_somebody_killed_is_started_again() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = OnDemand;
    let c1 = world.plugged("c1");
    let conf = alone(json!({}));
    let result = world.plugin().add(&c1, &conf).succeeds();
    let first = OnDemand::pid();
    OnDemand::kill();
    assert_eq!(world.plugin().add(&c1, &conf).succeeds(), result);
    assert_ne!(OnDemand::pid(), first);
    // Neither of its caller's session nor with its caller's streams.
    let pid = OnDemand::pid().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.split(' ').nth(5).unwrap().to_owned();
    assert_eq!(session, pid.to_string(), "{stat}");
    let input = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    assert_eq!(input.to_str(), Some("/dev/null"));
    let log = fs::read_to_string("/var/lib/cni/dhcp-ipam/daemon.log").unwrap();
    assert!(log.contains("testnet/c1/eth0: has 10.240.0."), "{log}");
}

#[test]
fn a_long_log_is_put_aside_when_a_daemon_starts() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = OnDemand;
    fs::create_dir_all("/var/lib/cni/dhcp-ipam").unwrap();
    fs::write("/var/lib/cni/dhcp-ipam/daemon.log", vec![b'x'; 2 << 20]).unwrap();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, alone(json!({}))).succeeds();
    let length = |name: &str| {
        fs::metadata(format!("/var/lib/cni/dhcp-ipam/{name}"))
            .unwrap()
            .len()
    };
    assert_eq!(length("daemon.log.old"), 2 << 20);
    assert!(length("daemon.log") < 10_000);
}

#[test]
fn a_lease_of_a_container_deleted_while_no_daemon_ran_is_given_back_by_the_next() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "startDaemon": false }));
    let result = world.plugin().add(&c1, &conf).succeeds();
    // The address that the runtime's plugin would give it.
    c1.sh(&format!("ip addr add {} dev eth0", address(&result)));
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    let outcome = world.plugin().del(&c1, &conf);
    assert!(
        outcome.stderr.contains("startDaemon is false"),
        "{}",
        outcome.stderr
    );
    outcome.succeeds();
    until_leases(1);
    let _daemon = world.daemon();
    until_leases(0);
    assert!(world.listed("testnet/c1/eth0").is_null());
}

#[test]
fn del_starts_a_daemon_to_give_a_lease_back() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = OnDemand;
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({}));
    let result = bridge.add(&c1, &conf).succeeds();
    OnDemand::kill();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_leases(0);
}

#[test]
fn a_container_that_comes_back_after_its_namespace_was_lost_has_its_address_again() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({}));
    let first = world.plugin().add(&c1, &conf).succeeds();
    world.host.sh("ip link del v-c1");
    c1.vanish();
    drop(c1);

    let c1 = world.plugged("c1");
    let capture = world.server.capture("eth0", "udp port 67");
    let before = dnsmasq.output().len();
    let again = world.plugin().add(&c1, &conf);
    let took = again.elapsed;
    assert_eq!(address(&again.succeeds()), address(&first));
    // INIT-REBOOT: one question and one answer, where that does not take so long that the question is repeated.
    assert_asked_alone(
        &dnsmasq.output()[before..],
        "DHCPREQUEST(",
        "DHCPDISCOVER(",
        took,
    );
    assert!(
        capture.packets().len() <= 2 || took > Duration::from_millis(150),
        "{took:?} {:?}",
        capture.packets()
    );
}

#[test]
fn a_quiet_lease_does_not_keep_a_namespace_alive() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, alone(json!({}))).succeeds();
    let open = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap();
        let targets = descriptors
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        targets
            .map(|target| target.display().to_string())
            .collect::<Vec<_>>()
    };
    let sockets = || {
        open()
            .iter()
            .filter(|link| link.starts_with("socket:"))
            .count()
    };
    let namespaces = || open().iter().any(|link| link.starts_with("net:"));
    // The one it listens with.
    let is_quiet = || sockets() == 1 && !namespaces();
    assert!(until(SOON, is_quiet), "{:?}", open());
    c1.vanish();
    // The namespace takes its half of the pair with it.
    assert!(until(SOON, || world.host.link("v-c1").is_none()));
}

#[test]
fn the_daemon_has_the_privileges_it_needs_and_no_more() {
    let world = World::new();
    let daemon = world.daemon();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    // CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE, CAP_SYS_ADMIN.
    let needed: u64 = [10, 12, 13, 19, 21].iter().map(|bit| 1 << bit).sum();
    for set in ["CapPrm", "CapEff"] {
        let line = format!("{set}:\t{needed:016x}\n");
        assert!(status.contains(&line), "{line:?} {status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn the_daemon_outlives_the_runtime_that_caused_it_and_leaves_its_mounts() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let c1 = world.plugged("c1");
    // A machine with a first process of its own; and a runtime on it, with mounts of its own, as services have.
    let machine = world.host.spawn([
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sleep",
        "1000",
    ]);
    let children = format!("/proc/{0}/task/{0}/children", machine.id());
    let first = || fs::read_to_string(&children).unwrap().trim().to_owned();
    let is_sleeping = || {
        let command = fs::read(format!("/proc/{}/cmdline", first())).unwrap_or_default();
        command.starts_with(b"sleep")
    };
    assert!(until(SOON, is_sleeping));
    let first = first();
    let runtime = [
        "setsid",
        "nsenter",
        "--pid",
        "--mount",
        "--target",
        &first,
        "unshare",
        "--mount",
        "--propagation",
        "private",
    ];
    let conf = alone(json!({}));
    let result = world.plugin().under(runtime).add(&c1, &conf).succeeds();

    let namespace = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let daemon = pids
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|pid| namespace(pid, "pid").is_some_and(|ns| Some(ns) == namespace(&first, "pid")))
        .find(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("daemon\0--detach")
        })
        .expect("a daemon on that machine");
    // Nobody else of the runtime is left, and the daemon is not in its mount namespace.
    assert_eq!(namespace(&daemon, "mnt"), namespace(&first, "mnt"));
    let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(
        (fields[1], fields[3]),
        (&first[..], &daemon[..]),
        "parent and session: {stat}"
    );
    let listed = world.listed("testnet/c1/eth0");
    assert_eq!(listed["address"], address(&result));
    world.plugin().del(&c1, &conf).succeeds();
    until_leases(0);
}

#[test]
fn a_daemon_whose_files_are_in_the_runtimes_mounts_alone_stays_there() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = OnDemand;
    // The test's own mounts are not those of the machine's first process.
    let c1 = world.plugged("c1");
    world.plugin().add(&c1, alone(json!({}))).succeeds();
    let pid = OnDemand::pid().unwrap();
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    assert_eq!(of(&pid.to_string()), of("thread-self"));
}

#[test]
fn the_hosts_files_may_be_under_another_root() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let c1 = world.plugged("c1");
    // As a container has the host's.
    world
        .host
        .sh("mkdir -p /run/host/run/netns && mount --rbind /run/netns /run/host/run/netns");
    let file = world.plugin().file().display().to_string();
    let daemon = world.host.spawn([
        &file[..],
        "daemon",
        "--hostprefix",
        "/run/host",
        "--pidfile",
        "/run/host/pid",
    ]);
    daemon.until_output_has("listens at /run/host/run/cni/dhcp.sock", SOON);
    let conf =
        alone(json!({ "daemonSocketPath": "/run/host/run/cni/dhcp.sock", "startDaemon": false }));
    world.plugin().add(&c1, &conf).succeeds();
    world.plugin().del(&c1, &conf).succeeds();
    until_leases(0);
    let pid = fs::read_to_string("/run/host/pid").unwrap();
    assert_eq!(pid.trim(), daemon.id().to_string());
}
