//! A host with a bridge, and a DHCP server beside it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plumb_tests::{Container, Host, Plugin, Process, Value, conf, json, until};

/// How long anything may take on a machine that has other things to do.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The host: `br0`, on which the container `server` is 10.240.0.1/24.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) server: Container,
}

/// The daemon that a plugin started, ended with the test.
pub(crate) struct OnDemand;

impl OnDemand {
    /// Its process id, where there is one.
    pub(crate) fn pid() -> Option<i32> {
        let text = fs::read_to_string("/run/cni/dhcp.sock.lock").ok()?;
        text.trim().parse().ok()
    }

    /// Ends it as nothing can be prepared for.
    #[track_caller]
    pub(crate) fn kill() {
        let pid = Self::pid().expect("a daemon");
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        // Its lock goes with it. Asked by another process: a lock of this one would be held by what other threads fork at this
        // moment.
        let free = || {
            let ask = ["-n", "/run/cni/dhcp.sock.lock", "true"];
            Command::new("flock").args(ask).status().unwrap().success()
        };
        assert!(until(SOON, free), "the daemon {pid} does not end");
    }
}

impl Drop for OnDemand {
    fn drop(&mut self) {
        let is_ours = |pid: &i32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            command.contains("daemon\0--detach")
        };
        if let Some(pid) = Self::pid().filter(is_ours) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let host = Host::new();
        host.sh("ip link add br0 type bridge && ip link set br0 up");
        let server = host.container("server");
        host.sh("ip link add srv type veth peer name eth0 netns server && ip link set srv master br0 up");
        server.sh("ip addr add 10.240.0.1/24 dev eth0 && ip link set eth0 up");
        Self { host, server }
    }

    /// dnsmasq with addresses from `first` to `last`, and all that a lease may have; once it serves.
    #[track_caller]
    pub(crate) fn dnsmasq(&self, first: u8, last: u8) -> Process {
        let options = [
            "--dhcp-option=option:dns-server,10.240.0.53",
            "--dhcp-option=option:domain-name,lab.example",
            "--dhcp-option=119,lab.example,example",
            "--dhcp-option=26,1400",
        ];
        self.dnsmasq_with((first, last), &options)
    }

    /// dnsmasq with these options and no others.
    #[track_caller]
    pub(crate) fn dnsmasq_with(&self, range: (u8, u8), options: &[&str]) -> Process {
        dnsmasq_on(&self.server, range, options)
    }

    /// A container with an interface `eth0` on the bridge, down and without an address.
    pub(crate) fn plugged(&self, name: &str) -> Container {
        let container = self.host.container(name);
        self.host.sh(&format!(
            "ip link add v-{name} type veth peer name eth0 netns {name} && ip link set v-{name} master br0 up"
        ));
        container
    }

    /// Takes a container's namespace away that bridge-attach attached with `result`, and waits for the kernel to be done with
    /// it: until then its interface answers whoever asks for its addresses.
    #[track_caller]
    pub(crate) fn vanish(&self, container: &Container, result: &Value) {
        let host_end = result["interfaces"][1]["name"].as_str().unwrap();
        assert!(self.host.link(host_end).is_some(), "{result}");
        container.vanish();
        assert!(until(SOON, || self.host.link(host_end).is_none()));
    }

    pub(crate) fn plugin(&self) -> Plugin {
        self.host.plugin("dhcp-ipam")
    }

    /// The daemon in the foreground, as an administrator runs it.
    #[track_caller]
    pub(crate) fn daemon(&self) -> Process {
        let file = self.plugin().file().to_owned();
        let process = self.host.spawn([file.as_os_str(), "daemon".as_ref()]);
        process.until_output_has("listens at", SOON);
        process
    }

    /// What the daemon says of an attachment.
    #[track_caller]
    pub(crate) fn listed(&self, attachment: &str) -> Value {
        let file = self.plugin().file().to_owned();
        let text = self
            .host
            .exec([file.as_os_str(), "list".as_ref(), "--json".as_ref()]);
        let list: Vec<Value> = serde_json::from_str(&text).unwrap();
        let found = list.into_iter().find(|one| one["attachment"] == attachment);
        found.unwrap_or(Value::Null)
    }

    #[track_caller]
    pub(crate) fn command(&self, words: &[&str]) {
        self.said(words);
    }

    /// What a command of the plugin's prints.
    #[track_caller]
    pub(crate) fn said(&self, words: &[&str]) -> String {
        let file = self.plugin().file().to_owned();
        let words = words.iter().map(std::convert::AsRef::as_ref);
        let all: Vec<&std::ffi::OsStr> = std::iter::once(file.as_os_str()).chain(words).collect();
        self.host.exec(all)
    }

    /// The daemon's counters.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        self.said(&["metrics"])
    }
}

/// dnsmasq in a container whose `eth0` has an address of 10.240.0.0/24.
#[track_caller]
pub(crate) fn dnsmasq_on(server: &Container, (first, last): (u8, u8), options: &[&str]) -> Process {
    let range = format!("--dhcp-range=10.240.0.{first},10.240.0.{last},255.255.255.0,2m");
    let usual = [
        "--dhcp-authoritative",
        "--dhcp-leasefile=/run/dnsmasq.leases",
        &range,
    ];
    let options = [&usual, options].concat();
    server.dnsmasq("eth0", &options, "sockets bound exclusively")
}

/// A configuration for the plugin alone.
pub(crate) fn alone(keys: Value) -> Value {
    conf("dhcp-ipam", json!({ "ipam": ipam(keys) }))
}

/// A configuration for bridge-attach with it.
pub(crate) fn bridged(keys: Value) -> Value {
    conf(
        "bridge-attach",
        json!({ "bridge": "br0", "ipam": ipam(keys) }),
    )
}

fn ipam(keys: Value) -> Value {
    let mut ipam = json!({ "type": "dhcp-ipam", "arpProbeMs": 20 });
    let Value::Object(keys) = keys else {
        panic!("keys are an object")
    };
    ipam.as_object_mut().unwrap().extend(keys);
    ipam
}

/// The one address of a result.
#[track_caller]
pub(crate) fn address(result: &Value) -> String {
    let ips = result["ips"].as_array().unwrap();
    assert_eq!(ips.len(), 1, "{result}");
    ips[0]["address"].as_str().unwrap().to_owned()
}

/// The IPv4 addresses of an interface.
pub(crate) fn v4(container: &Container) -> Vec<String> {
    let all = container.addrs("eth0");
    all.into_iter().filter(|each| each.contains('.')).collect()
}

/// What dnsmasq has in its lease file: `TIME MAC ADDRESS NAME CLIENT-ID` each.
pub(crate) fn leases() -> Vec<String> {
    let text = fs::read_to_string("/run/dnsmasq.leases").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until dnsmasq has so many leases.
#[track_caller]
pub(crate) fn until_leases(count: usize) {
    let right = until(SOON, || leases().len() == count);
    assert!(right, "{count} leases expected: {:?}", leases());
}

/// Asserts that a client asked with `question` and not with `other`, in what a server printed meanwhile. One whose question
/// has no answer for half a second may give it up; so it must have asked before, and waited as long.
#[track_caller]
pub(crate) fn assert_asked_alone(printed: &str, question: &str, other: &str, took: Duration) {
    let asked = printed.find(question).expect("the question");
    let given_up = |other: usize| asked < other && took > Duration::from_millis(500);
    assert!(
        printed.find(other).is_none_or(given_up),
        "{took:?}: {printed}"
    );
}
