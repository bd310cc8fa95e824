//! `dhcp-ipam` and the Go `dhcp`, each with its own daemon, against the same servers. What is said of the Go plugin here is
//! what the table in docs/dhcp-ipam.md says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use plumb_tests::{Container, Host, Process, Value, at_once, conf, json, until};

use super::dhcp::{SOON, dnsmasq, leases, server};
use super::{kind, plugin, theirs};

/// How long something has to stay away to be taken for absent.
const LONG: Duration = Duration::from_secs(12);

/// The daemon, which both start with the same words.
fn daemon(host: &Host) -> Process {
    let file = plugin(host, "dhcp-ipam").file().to_owned();
    fs::create_dir_all("/run/cni").unwrap();
    let daemon = host.spawn([file.as_os_str(), "daemon".as_ref()]);
    if theirs("it does not say that it listens, nor starts where the socket of a dead one is") {
        assert!(until(SOON, || fs::exists("/run/cni/dhcp.sock").unwrap()));
    } else {
        daemon.until_output_has("listens at", SOON);
    }
    daemon
}

fn wanted() -> Value {
    let mut ipam = json!({ "type": kind("dhcp-ipam") });
    if !theirs("it does not know the key, and asks nobody") {
        ipam["arpProbeMs"] = json!(0);
        ipam["startDaemon"] = json!(false);
    }
    conf(kind("dhcp-ipam"), json!({ "ipam": ipam }))
}

/// A container with `eth0` on `br0`, up.
fn plugged(host: &Host, name: &str) -> Container {
    let container = host.container(name);
    host.sh(&format!(
        "ip link add v-{name} type veth peer name eth0 netns {name} && ip link set v-{name} master br0 up"
    ));
    container.sh("ip link set eth0 up");
    container
}

/// The lease is with the server again.
#[track_caller]
fn assert_given_back() {
    if theirs("it gives back in a broadcast from no address, which dnsmasq ignores") {
        assert!(!until(Duration::from_secs(2), || leases() == 0));
    } else {
        assert!(until(SOON, || leases() == 0));
    }
}

/// ISC dhcpd with leases of six seconds.
fn dhcpd(server: &Container) -> Process {
    let options =
        "default-lease-time 6; min-lease-time 1; max-lease-time 6; ping-check false; authoritative;
        subnet 10.240.0.0 netmask 255.255.255.0 { range 10.240.0.100 10.240.0.110; }";
    fs::write("/run/dhcpd.conf", options).unwrap();
    fs::write("/run/dhcpd.leases", "").unwrap();
    let line = "dhcpd -f -d -4 -cf /run/dhcpd.conf -lf /run/dhcpd.leases -pf /run/dhcpd.pid eth0";
    let dhcpd = server.spawn(line.split(' '));
    dhcpd.until_output_has("Server starting service", SOON);
    dhcpd
}

#[test]
fn a_lease_is_taken_repeated_and_given_back() {
    let host = Host::new();
    let _server = server(&host);
    let _daemon = daemon(&host);
    let c1 = plugged(&host, "c1");
    let plugin = plugin(&host, "dhcp-ipam");
    let result = plugin.add(&c1, wanted()).succeeds();
    let address = result["ips"][0]["address"].as_str().unwrap();
    assert!(
        address.starts_with("10.240.0.1") && address.ends_with("/24"),
        "{result}"
    );
    assert_eq!(result["ips"][0]["gateway"], "10.240.0.1");
    assert_eq!(plugin.add(&c1, wanted()).succeeds(), result);
    assert!(until(SOON, || leases() == 1));
    c1.sh(&format!("ip addr add {address} dev eth0"));
    plugin
        .clone()
        .previous(&result)
        .check(&c1, wanted())
        .succeeds();
    plugin.del(&c1, wanted()).succeeds();
    assert_given_back();
}

#[test]
fn name_servers_and_the_mtu_are_in_the_result_and_the_identifier_is_short() {
    let host = Host::new();
    let (_server, dnsmasq) = server(&host);
    let _daemon = daemon(&host);
    let c1 = plugged(&host, "c1");
    let result = plugin(&host, "dhcp-ipam").add(&c1, wanted()).succeeds();
    assert!(until(SOON, || leases() == 1));
    let lease = fs::read_to_string("/run/dnsmasq.leases").unwrap();
    let identifier = lease.split_whitespace().nth(4).unwrap().to_owned();
    if theirs("it asks for neither, and names network, container and interface in full") {
        assert!(
            result.get("dns").is_none_or(|dns| *dns == json!({})),
            "{result}"
        );
        assert!(identifier.split(':').count() > 15, "{identifier}");
    } else {
        assert_eq!(
            result["dns"]["nameservers"],
            json!(["10.240.0.1"]),
            "{}",
            dnsmasq.output()
        );
        assert_eq!(identifier.split(':').count(), 9, "{identifier}");
    }
}

#[test]
fn a_daemon_that_was_killed_goes_on_with_its_leases() {
    let host = Host::new();
    let (server, _dnsmasq) = server(&host);
    let mut first = daemon(&host);
    let c1 = plugged(&host, "c1");
    let plugin = plugin(&host, "dhcp-ipam");
    let result = plugin.add(&c1, wanted()).succeeds();
    c1.sh(&format!(
        "ip addr add {} dev eth0",
        result["ips"][0]["address"].as_str().unwrap()
    ));
    first.signal(Signal::SIGKILL);
    first.wait(SOON);
    if theirs("it does not start where the socket of a dead one is") {
        let file = plugin.file().to_owned();
        let second = host.try_exec([file.as_os_str(), "daemon".as_ref()]);
        assert!(
            second.stderr.contains("address already in use"),
            "{second:?}"
        );
        fs::remove_file("/run/cni/dhcp.sock").unwrap();
    }
    let _second = daemon(&host);
    let capture = server.capture("eth0", "udp port 67");
    plugin
        .clone()
        .previous(&result)
        .check(&c1, wanted())
        .succeeds();
    if theirs("it has forgotten the lease, and CHECK takes a new one") {
        assert!(until(SOON, || !capture.packets().is_empty()));
    } else {
        assert_eq!(capture.packets(), Vec::<String>::new());
    }
    plugin.del(&c1, wanted()).succeeds();
    assert_given_back();
}

#[test]
fn without_a_daemon() {
    let host = Host::new();
    let (_server, _dnsmasq) = server(&host);
    let c1 = plugged(&host, "c1");
    let plugin = plugin(&host, "dhcp-ipam");
    if theirs("nothing works, and STATUS says that it is ready") {
        plugin.status(wanted()).succeeds();
        plugin.add(&c1, wanted()).fails();
        plugin.del(&c1, wanted()).fails();
    } else {
        plugin.status(wanted()).fails_with(50, "no daemon listens");
        plugin
            .add(&c1, wanted())
            .fails_with(11, "no daemon listens");
        plugin.del(&c1, wanted()).succeeds();
    }
}

#[test]
fn two_adds_at_once_have_one_lease() {
    let host = Host::new();
    let (_server, dnsmasq) = server(&host);
    let _daemon = daemon(&host);
    let c1 = plugged(&host, "c1");
    let plugin = plugin(&host, "dhcp-ipam");
    let results = at_once(4, |_| plugin.add(&c1, wanted()).succeeds());
    assert!(
        results.iter().all(|result| *result == results[0]),
        "{results:?}"
    );
    assert!(until(SOON, || leases() == 1));
    // A question that a slow server is asked again has the number of the first.
    let said = dnsmasq.output();
    let asked = said.lines().filter(|line| line.contains("DHCPDISCOVER("));
    let exchanges: BTreeSet<_> = asked.map(|line| line.split(' ').nth(1)).collect();
    if theirs("each asks the server, and the lease of all but one is nobody's") {
        assert!(exchanges.len() > 1, "{said}");
    } else {
        assert_eq!(exchanges.len(), 1, "{said}");
    }
}

#[test]
fn a_lease_is_renewed_from_its_address() {
    let host = Host::new();
    let (server, first) = server(&host);
    drop(first);
    let _dhcpd = dhcpd(&server);
    let _daemon = daemon(&host);
    let c1 = plugged(&host, "c1");
    let result = plugin(&host, "dhcp-ipam").add(&c1, wanted()).succeeds();
    let address = result["ips"][0]["address"].as_str().unwrap();
    // A slow machine may have had its first renewal, and so the address, by now.
    c1.sh(&format!("ip addr replace {address} dev eth0"));
    let capture = server.capture("eth0", "udp dst port 67");
    let from = if theirs("by broadcast from no address, which some servers refuse") {
        "0.0.0.0.68 > 255.255.255.255.67".to_owned()
    } else {
        format!("{}.68 > 10.240.0.1.67", address.trim_end_matches("/24"))
    };
    capture.until_seen(&from, SOON);
}

#[test]
fn an_address_that_the_server_takes_back_leaves_the_interface() {
    let host = Host::new();
    let (server, first) = server(&host);
    drop(first);
    let first = dhcpd(&server);
    let _daemon = daemon(&host);
    let c1 = plugged(&host, "c1");
    let result = plugin(&host, "dhcp-ipam").add(&c1, wanted()).succeeds();
    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
    c1.sh(&format!("ip addr replace {address} dev eth0"));
    first.signal(Signal::SIGKILL);
    drop(first);
    // The network was renumbered.
    server.sh("ip addr flush dev eth0 && ip addr add 10.241.0.1/24 dev eth0");
    let second = dnsmasq(&server, "10.241.0");
    // Refused, or where that took longer than the lease, taken anew.
    let heard = ["DHCPNAK(", "DHCPACK(eth0) 10.241."];
    let is_heard = || heard.iter().any(|words| second.output().contains(words));
    assert!(until(SOON, is_heard), "{}", second.output());
    let v4 = || -> Vec<String> {
        let all = c1.addrs("eth0").into_iter();
        all.filter(|each| each.contains('.')).collect()
    };
    if theirs("it asks again and again, and the container keeps the address") {
        assert!(!until(LONG, || v4() != [address.clone()]), "{:?}", v4());
    } else {
        assert!(
            until(SOON, || v4().len() == 1
                && v4()[0].starts_with("10.241.0.1")),
            "{:?}",
            v4()
        );
    }
}

#[test]
fn a_daemon_has_one_thread() {
    let host = Host::new();
    let (_server, _dnsmasq) = server(&host);
    let daemon = daemon(&host);
    let plugin = plugin(&host, "dhcp-ipam");
    let containers: Vec<_> = (0..20)
        .map(|number| plugged(&host, &format!("c{number}")))
        .collect();
    at_once(20, |number| {
        plugin.add(&containers[number], wanted()).succeeds()
    });
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    let threads: u32 = threads.unwrap().trim().parse().unwrap();
    if theirs("it has one for each lease, and keeps the namespace of each alive") {
        assert!(threads > 20, "{threads}");
    } else {
        assert_eq!(threads, 1);
    }
}

#[test]
fn a_dead_containers_namespace_goes() {
    let host = Host::new();
    let (_server, _dnsmasq) = server(&host);
    let _daemon = daemon(&host);
    let c1 = plugged(&host, "c1");
    plugin(&host, "dhcp-ipam").add(&c1, wanted()).succeeds();
    c1.vanish();
    // The namespace takes its half of the pair with it.
    if theirs("it stays for as long as the daemon has its lease") {
        assert!(!until(Duration::from_secs(3), || host
            .link("v-c1")
            .is_none()));
    } else {
        assert!(until(SOON, || host.link("v-c1").is_none()));
    }
}

#[test]
fn another_programs_socket_is_left_alone() {
    let host = Host::new();
    fs::create_dir_all("/run/cni").unwrap();
    let _listener = UnixListener::bind("/run/cni/dhcp.sock").unwrap();
    let file = plugin(&host, "dhcp-ipam").file().to_owned();
    let daemon = host.try_exec([file.as_os_str(), "daemon".as_ref()]);
    assert!(!daemon.status.success(), "{daemon:?}");
    assert!(fs::exists("/run/cni/dhcp.sock").unwrap());
}
