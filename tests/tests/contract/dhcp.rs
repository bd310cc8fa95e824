//! The bridge plugin under test with `dhcp-ipam`, which is ours in both runs: the Go `dhcp` needs a daemon of its own.

use std::fs;
use std::time::Duration;

use plumb_tests::{Container, Host, Process, Value, conf, json, our_binaries, until};

use crate::{kind, plugin, theirs};

pub(super) const SOON: Duration = Duration::from_secs(20);

/// dnsmasq beside `br0`, in a container of its own.
pub(super) fn server(host: &Host) -> (Container, Process) {
    host.sh("ip link add br0 type bridge && ip link set br0 up");
    let server = host.container("server");
    host.sh(
        "ip link add srv type veth peer name eth0 netns server && ip link set srv master br0 up",
    );
    server.sh("ip addr add 10.240.0.1/24 dev eth0 && ip link set eth0 up");
    let dnsmasq = dnsmasq(&server, "10.240.0");
    (server, dnsmasq)
}

/// dnsmasq for one network, once it serves.
pub(super) fn dnsmasq(server: &Container, network: &str) -> Process {
    let range = format!("--dhcp-range={network}.100,{network}.150,255.255.255.0,2m");
    let options = [
        "--dhcp-authoritative",
        "--dhcp-option=option:dns-server,10.240.0.1",
        "--dhcp-leasefile=/run/dnsmasq.leases",
        &range,
    ];
    server.dnsmasq("eth0", &options, "sockets bound exclusively")
}

pub(super) fn leases() -> usize {
    let text = fs::read_to_string("/run/dnsmasq.leases").unwrap_or_default();
    text.lines().count()
}

#[test]
fn a_bridge_plugin_gives_a_container_what_dhcp_ipam_leased() {
    let host = Host::new();
    let _server = server(&host);
    let file = our_binaries().find("dhcp-ipam");
    let daemon = host.spawn([file.as_os_str(), "daemon".as_ref()]);
    daemon.until_output_has("listens at", SOON);
    let c1 = host.container("c1");
    let conf: Value = conf(
        kind("bridge-attach"),
        json!({ "bridge": "br0", "ipam": { "type": "dhcp-ipam" } }),
    );
    let bridge = plugin(&host, "bridge-attach").path(file.parent().unwrap());

    let result = bridge.add(&c1, &conf).succeeds();
    let address = result["ips"][0]["address"].as_str().unwrap();
    assert!(c1.addrs("eth0").contains(&address.to_owned()), "{result}");
    assert!(
        c1.routes()
            .iter()
            .any(|route| route.starts_with("default via 10.240.0.1"))
    );
    assert!(c1.reaches("10.240.0.1"));
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();

    assert!(until(SOON, || leases() == 1));
    bridge.previous(&result).del(&c1, &conf).succeeds();
    if theirs("its DEL removes the link before the IPAM plugin has its turn") {
        return;
    }
    assert!(until(SOON, || leases() == 0));
}
