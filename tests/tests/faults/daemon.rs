//! The daemon of dhcp-ipam killed, and failing, at each of its system calls: no lease is lost, and none is there twice.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use nix::sys::signal::Signal;
use plumb_tests::faults::{
    Fault, Operation, RECORDS, SERVICE_RECORD, ServicePoint, recording, service_calls,
    service_points, service_was_hit,
};
use plumb_tests::{Container, Host, Process, Value, conf, json, until};

use crate::dhcp::{self, Family, SOON, leases, listed};

struct World {
    host: Host,
    c1: Container,
    conf: Value,
}

impl World {
    fn new(family: Family) -> Self {
        let host = Host::new();
        let c1 = host.container("c1");
        dhcp::serve(&host, family);
        dhcp::plug(&host, &c1, family);
        let conf = conf("dhcp-ipam", json!({ "ipam": dhcp::ipam(family) }));
        Self { host, c1, conf }
    }

    /// ADD, and DEL where that is meant; how many calls the daemon had made before the operation that is tried.
    fn record(&self, operation: Operation) -> (String, usize) {
        let mut daemon = dhcp::daemon(&self.host, &recording());
        let plugin = self.host.plugin("dhcp-ipam");
        plugin.add(&self.c1, &self.conf).succeeds();
        let before = match operation {
            Operation::Add => 0,
            Operation::Del => service_calls(&fs::read_to_string(SERVICE_RECORD).unwrap()),
        };
        if operation == Operation::Del {
            plugin.del(&self.c1, &self.conf).succeeds();
        }
        let record = fs::read_to_string(SERVICE_RECORD).unwrap();
        end(&mut daemon);
        self.clean();
        (record, before)
    }

    /// A daemon that nothing happens to gives back what there is.
    fn clean(&self) {
        let mut daemon = dhcp::daemon(&self.host, &[]);
        let plugin = self.host.plugin("dhcp-ipam");
        plugin.del(&self.c1, &self.conf).succeeds();
        assert!(
            until(SOON, || leases().is_empty()),
            "{:?} {}",
            leases(),
            daemon.output()
        );
        assert!(listed(&self.host).is_empty());
        end(&mut daemon);
    }

    /// Tries one point; whether the fault came.
    #[track_caller]
    fn try_point(&self, operation: Operation, point: &ServicePoint, fault: Fault) -> bool {
        let plugin = self.host.plugin("dhcp-ipam");
        let mut daemon = dhcp::daemon(&self.host, &point.argv(fault));
        let added = plugin.add(&self.c1, &self.conf);
        added.assert_one_document();
        let first = added.status.success().then(|| added.succeeds());
        let mut deleted = false;
        if operation == Operation::Del && first.is_some() {
            // It always succeeds.
            plugin.del(&self.c1, &self.conf).succeeds();
            deleted = true;
        }
        end(&mut daemon);
        let hit = service_was_hit(&fs::read_to_string(SERVICE_RECORD).unwrap_or_default());

        let mut daemon = dhcp::daemon(&self.host, &[]);
        let known = listed(&self.host);
        if let Some(first) = first.as_ref().filter(|_| !deleted) {
            // Whoever was told of a lease has it.
            let address = &first["ips"][0]["address"];
            let held = ["BOUND", "CONFIRMING"].map(Value::from);
            assert!(
                known.len() == 1 && held.contains(&known[0]["state"]),
                "{known:?}"
            );
            assert_eq!(&known[0]["address"], address);
            assert_eq!(&plugin.add(&self.c1, &self.conf).succeeds(), first);
        } else if deleted && fault == Fault::Killed {
            let gone = || listed(&self.host).is_empty() && leases().is_empty();
            assert!(until(SOON, gone), "{known:?} {:?}", leases());
        }
        plugin.add(&self.c1, &self.conf).succeeds();
        // dnsmasq writes its file a moment after it has answered.
        let counts = || (leases().len(), listed(&self.host).len());
        assert!(until(SOON, || counts() == (1, 1)), "{:?}", counts());
        end(&mut daemon);
        self.clean();
        hit
    }
}

/// Its tracer may be gone before it is.
#[track_caller]
fn end(daemon: &mut Process) {
    if daemon.is_running() {
        daemon.signal(Signal::SIGKILL);
        daemon.wait(SOON);
    }
    // By another process: a lock of this one would be held by what other threads fork at this moment.
    let free = |lock: &str| {
        let line = format!("[ ! -e {lock} ] || flock -n {lock} true");
        let status = Command::new("sh").args(["-c", &line]).status();
        status.unwrap().success()
    };
    let locks = ["/run/cni/dhcp.sock.lock", "/var/lib/cni/dhcp-ipam/lock"];
    let free = || locks.into_iter().all(free);
    assert!(until(SOON, free), "the daemon does not end");
}

#[track_caller]
fn try_all(family: Family, operation: Operation, fault: Fault) {
    let world = World::new(family);
    // The first to be served waits for what the server and the kernel do once: what a daemon does at least, it does each time.
    let records = (0..RECORDS).map(|_| world.record(operation));
    let (record, before) = records
        .min_by_key(|(record, _)| service_calls(record))
        .unwrap();
    let points = service_points(&record, before, fault);
    let mut hit = 0;
    for point in &points {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.try_point(operation, point, fault)
        }));
        match tried {
            Ok(came) => hit += usize::from(came),
            Err(panicked) => {
                eprintln!("the daemon in {operation:?} of {family:?}: {fault:?} at {point}");
                std::panic::resume_unwind(panicked);
            }
        }
    }
    let line = format!(
        "faults: the daemon of dhcp-ipam, {family:?} {operation:?} {fault:?}: {} points tried, {hit} came\n",
        points.len()
    );
    io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(
        hit > 0 && hit * 2 >= points.len(),
        "{line}too few came to mean anything"
    );
}

#[test]
fn a_daemon_is_killed_in_add() {
    try_all(Family::V4, Operation::Add, Fault::Killed);
}

#[test]
fn a_daemon_fails_in_add() {
    try_all(Family::V4, Operation::Add, Fault::Fails);
}

#[test]
fn a_daemon_is_killed_in_del() {
    try_all(Family::V4, Operation::Del, Fault::Killed);
}

#[test]
fn a_daemon_fails_in_del() {
    try_all(Family::V4, Operation::Del, Fault::Fails);
}

#[test]
fn a_daemon_for_ipv6_is_killed_in_add() {
    try_all(Family::V6, Operation::Add, Fault::Killed);
}

#[test]
fn a_daemon_for_ipv6_fails_in_add() {
    try_all(Family::V6, Operation::Add, Fault::Fails);
}

#[test]
fn a_daemon_for_ipv6_is_killed_in_del() {
    try_all(Family::V6, Operation::Del, Fault::Killed);
}

#[test]
fn a_daemon_for_ipv6_fails_in_del() {
    try_all(Family::V6, Operation::Del, Fault::Fails);
}
