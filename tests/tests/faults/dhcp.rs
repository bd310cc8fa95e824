//! dhcp-ipam, with its daemon and a server on the host's bridge.

use std::fs;
use std::mem;
use std::time::Duration;

use plumb_tests::faults::{Case, Leaves};
use plumb_tests::{Container, Host, Process, Value, conf, json, until};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Which family is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) fn ipam(family: Family) -> Value {
    let mut ipam =
        json!({ "type": "dhcp-ipam", "startDaemon": false, "arpProbeMs": 0, "timeoutSecs": 10 });
    if family == Family::V6 {
        ipam["ipv4"] = json!("off");
        // Nobody is there who advertises, which the kernel would follow in its own time.
        ipam["ipv6"] = json!({
            "mode": "dhcp", "routerAdvertisements": false, "prefixLength": 64, "dadMs": 0,
        });
    }
    ipam
}

/// `br0` with dnsmasq, which ends with the test's thread.
pub(crate) fn serve(host: &Host, family: Family) {
    host.sh("ip link add br0 type bridge; ip link set br0 addrgenmode none; ip link set br0 up");
    host.sh("ip addr add 10.1.0.1/24 dev br0");
    if family == Family::V6 {
        host.sh("ip addr add fe80::1/64 dev br0 nodad; ip addr add fd01::1/64 dev br0 nodad");
    }
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
        --bind-interfaces --no-ping --pid-file= --dhcp-authoritative --dhcp-leasefile=/run/testbed/dnsmasq.leases";
    let (range, serves) = match family {
        Family::V4 => (
            "--dhcp-range=10.1.0.100,10.1.0.150,255.255.255.0,2m",
            "sockets bound exclusively",
        ),
        Family::V6 => ("--dhcp-range=fd01::100,fd01::1ff,64,2m", "DHCPv6, IP range"),
    };
    let words = line.split_whitespace().filter(|word| *word != "\\");
    let dnsmasq = host.spawn(words.chain([range]));
    dnsmasq.until_output_has(serves, SOON);
    let is_up = || host.link("br0").unwrap()["operstate"] == "UP";
    assert!(until(SOON, is_up), "the kernel knows that br0 has a port");
    mem::forget(dnsmasq);
}

/// The container's `eth0` on `br0`, up and heard.
pub(crate) fn plug(host: &Host, container: &Container, family: Family) {
    host.sh("ip link add v1 type veth peer name eth0 netns c1; ip link set v1 addrgenmode none");
    host.sh("ip link set v1 master br0 up");
    container.sh("ip link set eth0 addrgenmode none; ip link set eth0 up");
    if family == Family::V6 {
        container.sh("ip addr add fe80::2/64 dev eth0 nodad");
    }
    let forwards = || host.sh("bridge link show dev v1").contains("forwarding");
    assert!(until(SOON, forwards));
}

/// The daemon under another program, such as strace that lets it fail; once it listens, or has ended.
pub(crate) fn daemon(host: &Host, under: &[String]) -> Process {
    let file = host.plugin("dhcp-ipam").file().display().to_string();
    let argv = under.iter().cloned().chain([file, "daemon".to_owned()]);
    let mut process = host.spawn(argv);
    let ready = || process.output().contains("listens at") || !process.is_running();
    // What it says may be what fails.
    let patience = if under.iter().any(|word| word.starts_with("inject=")) {
        Duration::from_secs(3)
    } else {
        SOON
    };
    until(patience, ready);
    process
}

/// What dnsmasq has given away.
pub(crate) fn leases() -> Vec<String> {
    let text = fs::read_to_string("/run/testbed/dnsmasq.leases").unwrap_or_default();
    // A line of the server's own DUID stands among those of IPv6.
    let leases = text.lines().filter(|line| !line.starts_with("duid "));
    leases.map(str::to_owned).collect()
}

/// What the daemon has: `list --json`.
pub(crate) fn listed(host: &Host) -> Vec<Value> {
    let file = host.plugin("dhcp-ipam").file().display().to_string();
    serde_json::from_str(&host.exec([&file, "list", "--json"])).unwrap()
}

fn has_one_lease(host: &Host) {
    let listed = listed(host);
    assert!(
        listed.len() == 1 && listed[0]["state"] == "BOUND",
        "{listed:?}"
    );
    assert!(until(SOON, || leases().len() == 1), "{:?}", leases());
}

fn bridged(family: Family) -> Value {
    conf(
        "bridge-attach",
        json!({ "bridge": "br0", "ipForward": false, "ipam": ipam(family) }),
    )
}

/// Executed by bridge-attach.
pub(crate) fn bridged_dhcp_ipam() -> Case {
    Case {
        name: "bridge-attach with dhcp-ipam",
        chain: vec![("bridge-attach", bridged(Family::V4))],
        prepare: |host, _| {
            serve(host, Family::V4);
            mem::forget(daemon(host, &[]));
        },
        works: |host, container| {
            has_one_lease(host);
            assert!(container.reaches("10.1.0.1"));
        },
        leaves: Leaves::Nothing,
        repeatable: false,
    }
}

/// The same with an IPv6 lease.
pub(crate) fn bridged_dhcp_ipam_for_ipv6() -> Case {
    Case {
        name: "bridge-attach with dhcp-ipam for IPv6",
        chain: vec![("bridge-attach", bridged(Family::V6))],
        prepare: |host, _| {
            serve(host, Family::V6);
            mem::forget(daemon(host, &[]));
        },
        works: |host, container| {
            has_one_lease(host);
            assert!(container.reaches("fd01::1"));
        },
        ..bridged_dhcp_ipam()
    }
}
