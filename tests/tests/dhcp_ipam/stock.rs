//! What needs a stock kernel: a VLAN under the interface, and control groups of one's own.

use std::fs;
use std::process::Command;

use plumb_tests::{Container, Host, Value, conf, json, until};

use crate::family::V6;
use crate::world::{OnDemand, SOON, World, address, alone, dnsmasq_on, until_leases, v4};
use crate::world6::{addresses, dnsmasq6_on, until_leases6, v6, with_address6};

/// The container `server`, whose `eth0` is in VLAN 10 of the network beyond the host's `nic`.
fn in_vlan_10(host: &Host) -> Container {
    let server = host.container("server");
    host.sh("ip link add nic type veth peer name trunk netns server && ip link set nic up");
    server.sh("ip link set trunk up && ip link add link trunk name eth0 type vlan id 10");
    server
}

fn of_vlan_10(ipam: &Value) -> Value {
    conf(
        "vlan",
        json!({ "master": "nic", "vlanId": 10, "ipam": ipam }),
    )
}

#[test]
fn a_vlan_interface_gets_a_lease_of_its_vlan_and_gives_it_back() {
    let host = Host::new();
    let server = in_vlan_10(&host);
    server.sh("ip addr add 10.240.0.1/24 dev eth0 && ip link set eth0 up");
    let _dnsmasq = dnsmasq_on(&server, (100, 110), &["--dhcp-option=26,1400"]);
    let _daemon = OnDemand;
    let c1 = host.container("c1");
    let conf = of_vlan_10(&json!({ "type": "dhcp-ipam", "arpProbeMs": 20 }));
    let vlan = host.plugin("vlan");
    let result = vlan.add(&c1, &conf).succeeds();
    assert_eq!(v4(&c1), [address(&result)]);
    assert_eq!(c1.link("eth0").unwrap()["mtu"], 1400);
    assert!(c1.reaches("10.240.0.1"));
    vlan.clone().previous(&result).check(&c1, &conf).succeeds();
    until_leases(1);
    vlan.previous(&result).del(&c1, &conf).succeeds();
    until_leases(0);
}

#[test]
fn a_vlan_interface_gets_an_ipv6_lease_of_its_vlan_and_gives_it_back() {
    let host = Host::new();
    let server = in_vlan_10(&host);
    with_address6(&server);
    let range = "--dhcp-range=fd00:240::100,fd00:240::1ff,64,2m";
    let dnsmasq = dnsmasq6_on(&server, &["--dhcp-authoritative", range]);
    let _daemon = OnDemand;
    let before = host.sh("ip -br link");
    let c1 = host.container("c1");
    let mut ipam = (V6.keys)();
    ipam["type"] = json!("dhcp-ipam");
    ipam["startDaemon"] = json!(true);
    let conf = of_vlan_10(&ipam);
    let vlan = host.plugin("vlan");
    let result = vlan.add(&c1, &conf).succeeds();
    assert_eq!(v6(&c1), addresses(&result));
    assert!(c1.reaches("fd00:240::1"));
    vlan.clone().previous(&result).check(&c1, &conf).succeeds();
    until_leases6(1);
    vlan.previous(&result).del(&c1, &conf).succeeds();
    until_leases6(0);
    dnsmasq.until_output_has("DHCPRELEASE", SOON);
    assert!(c1.link("eth0").is_none());
    assert_eq!(host.sh("ip -br link"), before);
    let files = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let mut leases = files.filter(|file| file.file_name().to_string_lossy().ends_with(".json"));
    assert!(leases.next().is_none());
}

#[test]
fn a_daemon_survives_the_end_of_the_control_group_it_was_started_in() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = OnDemand;
    let c1 = world.plugged("c1");
    world
        .host
        .sh("mount -t cgroup2 none /sys/fs/cgroup && mkdir /sys/fs/cgroup/runtime");
    let conf = alone(json!({}));
    let join = "echo $$ > /sys/fs/cgroup/runtime/cgroup.procs && exec \"$@\"";
    let plugin = world.plugin().under(["sh", "-c", join, "sh"]);
    let result = plugin.add(&c1, &conf).succeeds();
    let pid = OnDemand::pid().unwrap();
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(group.lines().any(|line| line == "0::/"), "{group}");
    // As systemd ends a service.
    fs::write("/sys/fs/cgroup/runtime/cgroup.kill", "1").unwrap();
    let gone = || fs::remove_dir("/sys/fs/cgroup/runtime").is_ok();
    assert!(until(SOON, gone));
    assert_eq!(world.plugin().add(&c1, &conf).succeeds(), result);
    assert_eq!(OnDemand::pid(), Some(pid));
    let alive = Command::new("kill").args(["-0", &pid.to_string()]).status();
    assert!(alive.unwrap().success());
}
