//! dhcp-ipam, with its daemon and a server on the host's bridge.

use std::fs;
use std::mem;
use std::time::Duration;

use plumb_tests::faults::{Case, Leaves};
use plumb_tests::{Container, Host, Process, Value, conf, json, until};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn ipam() -> Value {
    json!({ "type": "dhcp-ipam", "startDaemon": false, "arpProbeMs": 0, "timeoutSecs": 10 })
}

/// `br0` with dnsmasq, which ends with the test's thread.
pub(crate) fn serve(host: &Host) {
    host.sh("ip link add br0 type bridge; ip link set br0 addrgenmode none; ip link set br0 up");
    host.sh("ip addr add 10.1.0.1/24 dev br0");
    // A port of its own, so that it has its carrier and its address whoever comes and goes.
    host.sh("ip link add port type veth peer name end");
    for link in ["port", "end"] {
        host.sh(&format!(
            "ip link set {link} addrgenmode none; ip link set {link} up"
        ));
    }
    host.sh("ip link set port master br0");
    host.sh("ip link set br0 address $(cat /sys/class/net/br0/address)");
    let line = "dnsmasq --no-daemon --conf-file=/dev/null --user=root --group=root --port=0 --interface=br0 \
        --bind-interfaces --no-ping --pid-file= --dhcp-authoritative --dhcp-leasefile=/run/testbed/dnsmasq.leases \
        --dhcp-range=10.1.0.100,10.1.0.150,255.255.255.0,2m";
    let dnsmasq = host.spawn(line.split_whitespace().filter(|word| *word != "\\"));
    dnsmasq.until_output_has("sockets bound exclusively", SOON);
    mem::forget(dnsmasq);
}

/// The container's `eth0` on `br0`, up and heard.
pub(crate) fn plug(host: &Host, container: &Container) {
    host.sh("ip link add v1 type veth peer name eth0 netns c1; ip link set v1 addrgenmode none");
    host.sh("ip link set v1 master br0 up");
    container.sh("ip link set eth0 addrgenmode none; ip link set eth0 up");
    let forwards = || host.sh("bridge link show dev v1").contains("forwarding");
    assert!(until(SOON, forwards));
}

/// The daemon under another program, such as strace; once it listens, or has ended.
pub(crate) fn daemon(host: &Host, under: &[String]) -> Process {
    let file = host.plugin("dhcp-ipam").file().display().to_string();
    let argv = under.iter().cloned().chain([file, "daemon".to_owned()]);
    let mut process = host.spawn(argv);
    let ready = || process.output().contains("listens at") || !process.is_running();
    // What it says may be what fails.
    until(Duration::from_secs(3), ready);
    process
}

/// What dnsmasq has given away.
pub(crate) fn leases() -> Vec<String> {
    let text = fs::read_to_string("/run/testbed/dnsmasq.leases").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What the daemon has: `list --json`.
pub(crate) fn listed(host: &Host) -> Vec<Value> {
    let file = host.plugin("dhcp-ipam").file().display().to_string();
    serde_json::from_str(&host.exec([&file, "list", "--json"])).unwrap()
}

fn has_one_lease(host: &Host, _: &Container) {
    let listed = listed(host);
    assert!(
        listed.len() == 1 && listed[0]["state"] == "BOUND",
        "{listed:?}"
    );
    assert_eq!(leases().len(), 1, "{:?}", leases());
}

/// Executed by bridge-attach.
pub(crate) fn bridged_dhcp_ipam() -> Case {
    let conf = conf(
        "bridge-attach",
        json!({ "bridge": "br0", "ipForward": false, "ipam": ipam() }),
    );
    Case {
        name: "bridge-attach with dhcp-ipam",
        chain: vec![("bridge-attach", conf)],
        prepare: |host, _| {
            serve(host);
            mem::forget(daemon(host, &[]));
        },
        works: |host, container| {
            has_one_lease(host, container);
            assert!(container.ping("10.1.0.1"));
        },
        leaves: Leaves::Nothing,
        repeatable: false,
    }
}
