//! The testbed itself: a host is private, nothing leaks out of it, and what it reports is what the kernel has.

#![cfg(test)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use plumb_tests::{Binaries, Host, Plugin, at_once, conf, json, until};

const SOON: Duration = Duration::from_secs(10);

/// The machine's own view, from a thread that never entered a host.
fn on_the_machine(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn netns_of_this_thread() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

/// Two containers on a bridge made by hand.
fn bridged(host: &Host) -> [plumb_tests::Container; 2] {
    host.sh(
        "ip link add cni0 type bridge && ip addr add 10.9.0.1/24 dev cni0 && ip link set cni0 up",
    );
    [("c1", "10.9.0.2/24"), ("c2", "10.9.0.3/24")].map(|(name, address)| {
        let container = host.container(name);
        host.sh(&format!("ip link add v{name} type veth peer name eth0 netns {name}; ip link set v{name} master cni0 up"));
        container.sh(&format!("ip addr add {address} dev eth0; ip link set eth0 up"));
        assert!(until(SOON, || host.link(&format!("v{name}")).unwrap()["operstate"] == "UP"));
        container
    })
}

#[test]
fn a_host_leaves_the_machine_as_it_was() {
    let look = || {
        let names = |directory: &str| {
            let entries = fs::read_dir(directory)
                .map(Iterator::collect::<Vec<_>>)
                .unwrap_or_default();
            let mut names: Vec<_> = entries
                .into_iter()
                .flatten()
                .map(|entry| entry.file_name())
                .collect();
            names.sort();
            names
        };
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        (
            on_the_machine("ip", &["-o", "link"]),
            mounts,
            names("/run"),
            names("/run/netns"),
            names("/var/lib"),
        )
    };
    let before = look();
    let on_host = std::thread::spawn(|| {
        let host = Host::new();
        let [c1, _] = bridged(&host);
        host.sh("nft add table inet leak; echo leak > /run/leak; echo leak > /var/lib/cni/leak");
        host.set_sysctl("net/ipv4/ip_forward", "1");
        c1.reaches("10.9.0.3")
    });
    assert!(on_host.join().unwrap());
    assert_eq!(look(), before);
    assert!(!Path::new("/var/lib/cni/leak").exists());
}

#[test]
fn hosts_in_parallel_may_use_the_same_names() {
    let answers = at_once(4, |number| {
        let host = Host::new();
        let [c1, c2] = bridged(&host);
        c2.sh(&format!("ip addr add 10.9.1.{number}/32 dev eth0"));
        (
            c1.reaches("10.9.0.3"),
            c2.addrs("eth0").contains(&format!("10.9.1.{number}/32")),
            netns_of_this_thread(),
        )
    });
    assert!(answers.iter().all(|(pinged, own, _)| *pinged && *own));
    let mut namespaces: Vec<_> = answers.iter().map(|(_, _, netns)| *netns).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    assert_eq!(namespaces.len(), 4);
}

#[test]
fn a_container_is_a_namespace_of_its_own_with_only_loopback_up() {
    let host = Host::new();
    let c1 = host.container("c1");
    let names: Vec<_> = c1
        .links()
        .iter()
        .map(|link| link["ifname"].clone())
        .collect();
    // The kernel may be built with tunnel devices that every namespace has; what a runtime sets is lo.
    assert!(names.contains(&json!("lo")) && !names.contains(&json!("eth0")));
    assert_eq!(c1.addrs("lo"), ["127.0.0.1/8", "::1/128"]);
    assert_eq!(
        fs::metadata(c1.netns()).unwrap().ino(),
        c1.run(netns_of_this_thread)
    );
    assert_ne!(c1.run(netns_of_this_thread), netns_of_this_thread());
    assert_eq!(c1.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
    assert!(c1.link("eth0").is_none());
}

#[test]
fn a_vanished_container_is_gone_from_the_file_system() {
    let host = Host::new();
    let c1 = host.container("c1");
    c1.vanish();
    assert!(!c1.netns().exists());
    assert_eq!(host.exec(["ip", "netns", "list"]), "");
}

#[test]
fn threads_started_at_once_are_on_the_callers_host() {
    let host = Host::new();
    let here = netns_of_this_thread();
    let made = at_once(8, |number| {
        host.sh(&format!("ip link add b{number} type bridge"));
        netns_of_this_thread()
    });
    assert_eq!(made, [here; 8]);
    assert!((0..8).all(|number| host.link(&format!("b{number}")).is_some()));
}

#[test]
fn a_state_shows_each_kind_of_change_and_is_equal_without_one() {
    let host = Host::new();
    let [_c1, _c2] = bridged(&host);
    let changes = [
        (
            "ip link set cni0 mtu 1400",
            "ip link set cni0 mtu 1500",
            "links",
        ),
        (
            "ip addr add 10.8.0.1/24 dev lo",
            "ip addr del 10.8.0.1/24 dev lo",
            "addresses",
        ),
        (
            "ip route add 10.7.0.0/16 dev cni0",
            "ip route del 10.7.0.0/16",
            "IPv4 routes",
        ),
        (
            "ip -6 route add fd07::/64 dev cni0",
            "ip -6 route del fd07::/64",
            "IPv6 routes",
        ),
        (
            "ip rule add from 10.7.0.1 table 7",
            "ip rule del from 10.7.0.1 table 7",
            "IPv4 routing rules",
        ),
        (
            "nft add table inet mine",
            "nft delete table inet mine",
            "nftables",
        ),
        (
            "iptables -A FORWARD -j ACCEPT",
            "iptables -D FORWARD -j ACCEPT",
            "iptables",
        ),
        (
            "echo 1 > /proc/sys/net/ipv4/conf/cni0/proxy_arp",
            "echo 0 > /proc/sys/net/ipv4/conf/cni0/proxy_arp",
            "settings",
        ),
        (
            "bridge fdb add 02:00:00:00:00:07 dev vc1 master",
            "bridge fdb del 02:00:00:00:00:07 dev vc1 master",
            "forwarding database",
        ),
    ];
    // Their first use makes tables that stay.
    host.sh("iptables -A FORWARD -j ACCEPT; iptables -D FORWARD -j ACCEPT; iptables-save; ip6tables-save");
    let before = host.state();
    for (change, revert, section) in changes {
        host.sh(change);
        let differences = before.differences(&host.state());
        assert!(
            differences
                .iter()
                .any(|line| line.contains(&format!(" {section}: "))),
            "{change}: {differences:?}"
        );
        host.sh(revert);
        host.assert_unchanged_since(&before);
    }
}

#[test]
#[should_panic(expected = "+ links: ")]
fn an_unexpected_change_is_named() {
    let host = Host::new();
    let before = host.state();
    host.sh("ip link add cni0 type bridge");
    host.assert_unchanged_since(&before);
}

#[test]
#[should_panic(expected = "+ links: ")]
fn a_link_that_goes_a_moment_later_was_left() {
    let host = Host::new();
    let before = host.state();
    host.sh("ip link add cni0 type bridge; (sleep 1; ip link del cni0) > /dev/null 2>&1 &");
    host.assert_unchanged_since(&before);
}

#[test]
fn ping_tells_an_answer_from_silence_and_from_no_route() {
    let host = Host::new();
    let [c1, _c2] = bridged(&host);
    assert!(until(SOON, || c1.ping("10.9.0.3")));
    assert!(!c1.ping("10.9.0.77"));
    assert!(!c1.ping("192.0.2.1"));
}

#[test]
fn a_process_runs_in_its_container_and_ends_with_its_value() {
    let host = Host::new();
    let [c1, _c2] = bridged(&host);
    let mut process = c1.spawn(["sh", "-c", "readlink /proc/self/ns/net; exec sleep 1000"]);
    let netns = format!("net:[{}]", c1.run(netns_of_this_thread));
    process.until_output_has(&netns, SOON);
    assert!(process.is_running());
    let id = process.id();
    drop(process);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn a_capture_sees_what_passes_a_link() {
    let host = Host::new();
    let [c1, _c2] = bridged(&host);
    let on_bridge = host.capture("cni0", "icmp");
    assert!(c1.reaches("10.9.0.1"));
    on_bridge.until_seen("10.9.0.2 > 10.9.0.1: ICMP echo request", SOON);
}

#[test]
fn sockets_opened_in_a_container_stay_there() {
    let host = Host::new();
    let [c1, c2] = bridged(&host);
    let listener = c2.run(|| TcpListener::bind("10.9.0.3:7000")).unwrap();
    let stream = c1.run(|| TcpStream::connect("10.9.0.3:7000")).unwrap();
    assert_eq!(stream.local_addr().unwrap().ip().to_string(), "10.9.0.2");
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "10.9.0.2");
}

#[test]
fn a_tree_made_read_only_refuses_a_write() {
    let host = Host::new();
    host.make_read_only("/proc/sys/net");
    let wrote = fs::write("/proc/sys/net/ipv4/ip_forward", "1");
    assert_eq!(
        wrote.unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    assert_eq!(host.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
}

/// A plugin that is a line of shell.
fn fake(body: &str) -> Plugin {
    let file = Path::new("/run/testbed/fake");
    fs::write(file, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    Plugin::of(&Binaries::in_directory(Path::new("/run/testbed")), "fake")
}

#[test]
fn a_plugin_is_called_as_a_runtime_calls_it() {
    let host = Host::new();
    let c1 = host.container("c1");
    let plugin = fake(
        r#"printf '{"command":"%s","id":"%s","netns":"%s","ifname":"%s","args":"%s","path":"%s","conf":%s}' \
        "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_NETNS" "$CNI_IFNAME" "$CNI_ARGS" "$CNI_PATH" "$(cat)""#,
    );
    let conf = conf("fake", json!({ "mtu": 1400 }));
    let seen = plugin
        .ifname("eth7")
        .args("A=1")
        .previous(&json!({ "ips": [] }))
        .add(&c1, &conf)
        .succeeds();
    let expected = json!({
        "command": "ADD", "id": "c1", "netns": "/run/netns/c1", "ifname": "eth7", "args": "A=1", "path": "/run/testbed",
        "conf": { "cniVersion": "1.1.0", "name": "testnet", "type": "fake", "mtu": 1400, "prevResult": { "ips": [] } },
    });
    assert_eq!(seen, expected);
}

#[test]
fn an_error_result_is_compared_by_code_and_words() {
    let host = Host::new();
    let c1 = host.container("c1");
    let plugin = fake(
        r#"echo '{"code": 7, "msg": "mtu: 70000", "details": "allowed: 68 to 65535"}'; exit 1"#,
    );
    let conf = conf("fake", json!({}));
    plugin.add(&c1, &conf).fails_with(7, "mtu");
    plugin.add(&c1, &conf).fails_with(7, "68 to 65535");
}

#[test]
#[should_panic(expected = "more than one JSON document")]
fn two_documents_on_stdout_are_a_failure() {
    let host = Host::new();
    let c1 = host.container("c1");
    let _ = fake("echo '{}{}'").add(&c1, conf("fake", json!({})));
}

#[test]
#[should_panic(expected = "JSON documents on stdout")]
fn an_add_without_a_result_is_a_failure() {
    let host = Host::new();
    let c1 = host.container("c1");
    fake("true").add(&c1, conf("fake", json!({}))).succeeds();
}

#[test]
fn polling_ends_at_its_deadline() {
    let begun = Instant::now();
    assert!(!until(Duration::from_millis(20), || false));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert!(until(SOON, || true));
    // What has come true while nobody could ask counts.
    let (mut asked, stands_still) = (0, Duration::from_millis(30));
    assert!(until(Duration::from_millis(20), || {
        asked += 1;
        std::thread::sleep(stands_still);
        asked > 1
    }));
}
