//! Guests with addresses of a DHCP server, whatever client pipework would have run.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plumb_tests::{Container, Process, until};

use super::world::{SOON, World, words};

/// The daemon that dhcp-ipam starts by itself ends with the test.
pub(crate) struct Daemon;

impl Drop for Daemon {
    fn drop(&mut self) {
        let text = fs::read_to_string("/run/cni/dhcp.sock.lock").unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// dnsmasq in a container on the NIC's cable or on a bridge.
pub(crate) fn dnsmasq(server: &Container, link: &str) -> Process {
    server.sh(&format!(
        "ip addr add 10.240.0.1/24 dev {link}; ip link set {link} up"
    ));
    let options = [
        "--dhcp-authoritative",
        "--dhcp-leasefile=/run/dnsmasq.leases",
        "--dhcp-range=10.240.0.10,10.240.0.30,255.255.255.0,2m",
    ];
    server.dnsmasq(link, &options, "sockets bound exclusively")
}

fn leases() -> String {
    fs::read_to_string("/run/dnsmasq.leases").unwrap_or_default()
}

fn address(guest: &Container, interface: &str) -> String {
    let addresses = guest.addrs(interface);
    addresses
        .into_iter()
        .find(|address| address.starts_with("10.240.0."))
        .unwrap()
}

#[test]
fn every_client_of_pipework_gets_a_lease_that_is_kept_and_given_back() {
    let world = World::new();
    let _daemon = Daemon;
    world.sh("ip link add br0 type bridge && ip link set br0 up");
    let server = world.container("server");
    world.sh(
        "ip link add srv type veth peer name eth0 netns server && ip link set srv master br0 up",
    );
    let server = dnsmasq(&server, "eth0");
    let web1 = world.container("web1");
    let clients = [
        "dhcp",
        "dhcp:-f",
        "udhcpc",
        "udhcpc-f",
        "dhclient",
        "dhclient-f",
        "dhcpcd",
    ];
    for (number, client) in clients.iter().enumerate() {
        world.attaches(&format!("br0 -i e{number} web1 {client}"));
        let address = address(&web1, &format!("e{number}"));
        assert!(address.ends_with("/24"), "{client}: {address}");
    }
    // The guest's name is its host name.
    assert!(leases().contains(" web1 "), "{}", leases());
    server.until_output_has("client provides name: web1", SOON);
    let route = web1
        .routes()
        .into_iter()
        .find(|route| route.starts_with("default"))
        .unwrap();
    assert!(route.contains("via 10.240.0.1 dev e6"), "{route}");
    world.does("--del web1");
    until_no_leases();
}

/// Waits until the server has every lease back.
#[track_caller]
pub(crate) fn until_no_leases() {
    let gone = until(SOON, || leases().is_empty());
    assert!(gone, "{}", leases());
}

#[test]
fn options_of_the_client_reach_the_server() {
    let world = World::new();
    let _daemon = Daemon;
    let switch = world.nic();
    let server = dnsmasq(&switch, "port");
    let c1 = world.container("c1");
    // One word, as a shell passes a quoted one.
    let line = words(&[
        "eth2",
        "c1",
        "udhcpc:-x hostname:cache -V acme",
        "fa:de:b0:99:52:1c",
    ]);
    world.exec(line);
    assert!(address(&c1, "eth1").starts_with("10.240.0."));
    assert!(leases().contains("fa:de:b0:99:52:1c"), "{}", leases());
    server.until_output_has("client provides name: cache", SOON);
    server.until_output_has("vendor class: acme", SOON);
    let said = world.try_exec(words(&[
        "eth2",
        "-i",
        "eth3",
        "c1",
        "udhcpc:-r 10.240.0.77",
    ]));
    assert!(
        said.stderr.contains("-r: dhcp-ipam does the client's work"),
        "{}",
        said.stderr
    );
    world.does("--del c1");
}
