//! A kernel that has no nftables: legacy iptables is all there is. It has a machine to itself while it runs.

#![cfg(test)]
#![cfg(feature = "stock-kernel")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use plumb_tests::{Container, Host, Node, conf, json, until};

const SOON: Duration = Duration::from_secs(30);

/// The kernel cannot load nftables as long as this exists.
struct Without;

const FOLDER: &str = "/run/modprobe.d";
const FILE: &str = "/run/modprobe.d/without-nftables.conf";

impl Without {
    fn new() -> Self {
        fs::create_dir_all(FOLDER).unwrap();
        fs::write(FILE, "install nf_tables /bin/false\n").unwrap();
        Self
    }
}

impl Drop for Without {
    fn drop(&mut self) {
        fs::remove_file(FILE).unwrap();
    }
}

/// Takes out what other tests had loaded, whose namespaces end a moment after them.
fn unload(host: &Host) {
    let unloaded = || {
        host.try_exec([
            "sh",
            "-c",
            "modprobe -r $(sed -n 's/^\\(nft_[a-z0-9_]*\\|nf_tables\\) .*/\\1/p' /proc/modules)",
        ]);
        let modules = fs::read_to_string("/proc/modules").unwrap();
        !modules.contains("nf_tables")
    };
    assert!(until(SOON, unloaded), "{}", host.sh("cat /proc/modules"));
    assert!(!host.try_exec(["nft", "list", "tables"]).status.success());
}

/// Whom the server sees, where the client is let through.
fn seen(client: &Node, to: (&str, u16), server: &Node, at: (&str, u16)) -> Option<String> {
    let listener = server.run(|| TcpListener::bind(at)).unwrap();
    let to = format!("{}:{}", to.0, to.1).parse().unwrap();
    let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5));
    let _stream = client.run(connect).ok()?;
    let (_, source) = listener.accept().unwrap();
    Some(source.ip().to_string())
}

fn saved(host: &Host) -> String {
    let text = host.sh("iptables-legacy-save; ip6tables-legacy-save");
    let rules = text
        .lines()
        .filter(|line| line.starts_with("-A") || line.contains("PLUMB"));
    rules.collect::<Vec<_>>().join("\n")
}

fn attached(host: &Host) -> (Container, plumb_tests::Value) {
    let c1 = host.container("c1");
    let bridge = conf(
        "bridge-attach",
        json!({
            "bridge": "br1",
            "isDefaultGateway": true,
            "ipam": { "type": "static-ipam", "addresses": [{ "address": "10.77.0.2/16", "gateway": "10.77.0.1" }] },
        }),
    );
    let result = host.plugin("bridge-attach").add(&c1, bridge).succeeds();
    (c1, result)
}

#[test]
fn legacy_iptables_does_all_of_it() {
    let _without = Without::new();
    // A host has a /run of its own, and belongs to its thread.
    std::thread::scope(|scope| scope.spawn(all_of_it).join()).expect("see above");
}

fn all_of_it() {
    let host = Host::new();
    unload(&host);
    let outside = host.container("outside");
    host.sh("ip link add eth0 type veth peer name eth0 netns outside");
    host.sh("ip addr add 203.0.113.2/24 dev eth0; ip link set eth0 up");
    outside.sh("ip addr add 203.0.113.9/24 dev eth0; ip link set eth0 up; ip route add 10.0.0.0/8 via 203.0.113.2");
    host.sh("iptables-legacy -P FORWARD DROP");
    let (c1, result) = attached(&host);
    let (there, here) = (("203.0.113.9", 80), ("10.77.0.2", 80));
    assert_eq!(seen(&c1, there, &outside, there), None);

    let keys = conf(
        "masquerade",
        json!({ "forward": "stateful", "publish": ["8080:80"] }),
    );
    let plugin = host.plugin("masquerade").previous(&result);
    plugin.add(&c1, &keys).succeeds();
    plugin.check(&c1, &keys).succeeds();
    plugin.status(&keys).succeeds();
    assert_eq!(
        seen(&c1, there, &outside, there).as_deref(),
        Some("203.0.113.2")
    );
    assert_eq!(seen(&outside, here, &c1, here), None);
    let port = ("203.0.113.2", 8080);
    assert_eq!(
        seen(&outside, port, &c1, here).as_deref(),
        Some("203.0.113.9")
    );
    assert_eq!(
        seen(&host, ("127.0.0.1", 8080), &c1, here).as_deref(),
        Some("10.77.0.1")
    );
    plugin.del(&c1, &keys).succeeds();
    assert_eq!(saved(&host), "");
    plugin.del(&c1, &keys).succeeds();
    plugin.valid([]).gc(&keys).succeeds();
    // Nobody has loaded it meanwhile.
    assert!(!host.try_exec(["nft", "list", "tables"]).status.success());
}
