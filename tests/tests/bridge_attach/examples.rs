//! The networks of `conf-examples/bridge`, each attached and proven.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plumb_tests::{Container, Host, Node, Outcome, Plugin, Value, until};

const SOON: Duration = Duration::from_secs(20);

/// The only plugin of an example's list, as a runtime hands it over.
fn example(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf-examples/bridge");
    let text = fs::read_to_string(folder.join(format!("{name}.conflist"))).unwrap();
    let list: Value = text.parse().unwrap();
    assert_eq!(list["plugins"].as_array().unwrap().len(), 1, "{name}");
    let mut conf = list["plugins"][0].clone();
    for key in ["name", "cniVersion"] {
        conf[key] = list[key].clone();
    }
    conf
}

struct Network {
    plugin: Plugin,
    conf: Value,
}

impl Network {
    fn of(host: &Host, name: &str) -> Self {
        Self {
            plugin: host.plugin("bridge-attach"),
            conf: example(name),
        }
    }

    /// Attaches a container and compares it at once.
    #[track_caller]
    fn add(&self, container: &Container) -> Value {
        let result = self.plugin.add(container, &self.conf).succeeds();
        let check = self.plugin.clone().previous(&result);
        check.check(container, &self.conf).succeeds();
        result
    }

    #[track_caller]
    fn pair(&self, host: &Host) -> (Container, Container) {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        self.add(&c1);
        self.add(&c2);
        (c1, c2)
    }

    fn del(&self, container: &Container) -> Outcome {
        self.plugin.del(container, &self.conf)
    }
}

/// Connects the host with somebody who knows no way to containers.
fn neighbour(host: &Host, link: &str, own: &str, address: &str) -> Container {
    let world = host.container("world");
    host.sh(&format!(
        "ip link add {link} type veth peer name {link} netns world"
    ));
    for (node, address) in [(&**host, own), (&*world, address)] {
        node.sh(&format!(
            "ip addr add {address} dev {link}; ip link set {link} up"
        ));
    }
    world
}

#[test]
fn every_example_is_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf-examples/bridge");
    let source = include_str!("examples.rs");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".conflist") {
            assert!(source.contains(&format!("\"{name}\"")), "{name}");
            assert!(readme.contains(&format!("({name}.conflist)")), "{name}");
        }
    }
}

#[test]
fn a_cable() {
    let host = Host::new();
    let before = host.state();
    let network = Network::of(&host, "layer2");
    let (c1, c2) = network.pair(&host);
    for (container, last) in [(&c1, 1), (&c2, 2)] {
        container.sh(&format!(
            "ip addr add 192.168.7.{last}/24 dev eth0; ip link set eth0 up"
        ));
    }
    assert!(until(SOON, || c1.ping("192.168.7.2")));
    for container in [&c1, &c2] {
        network.del(container).succeeds();
    }
    host.assert_unchanged_since(&before);
}

#[test]
fn a_gateway_and_the_hosts_address_for_what_leaves() {
    let host = Host::new();
    let _world = neighbour(&host, "wan0", "203.0.113.2/24", "203.0.113.9/24");
    let network = Network::of(&host, "gateway");
    let (c1, c2) = network.pair(&host);
    assert!(until(SOON, || c1.ping("203.0.113.9")));
    assert!(c1.ping("10.10.1.12") && c2.ping("10.10.1.1"));
    for container in [&c1, &c2] {
        network.del(container).succeeds();
    }
    assert_eq!(host.ruleset(), "");
}

#[test]
fn a_container_may_be_named_by_its_pod() {
    let host = Host::new();
    let network = Network::of(&host, "gateway");
    let plugin = network.plugin.clone().args("K8S_POD_NAME=c1");
    let result = plugin
        .add(&host.container("4711"), &network.conf)
        .succeeds();
    assert_eq!(result["ips"][0]["address"], "10.10.1.11/24");
}

#[test]
fn both_families() {
    let host = Host::new();
    let network = Network::of(&host, "dual-stack");
    let (c1, _c2) = network.pair(&host);
    for address in ["10.10.2.1", "10.10.2.12", "fd10:2::1", "fd10:2::12"] {
        assert!(c1.ping(address), "{address}");
    }
}

#[test]
fn containers_that_do_not_trust_each_other() {
    let host = Host::new();
    let network = Network::of(&host, "spoof-proof");
    let (c1, _c2) = network.pair(&host);
    assert!(c1.ping("10.10.3.1"));
    assert!(!c1.ping("10.10.3.12"));
    c1.sh("ip addr add 10.10.3.99/24 dev eth0; ip route replace 10.10.3.1 dev eth0 src 10.10.3.99");
    assert!(!c1.ping("10.10.3.1"));
}

#[test]
fn the_network_of_a_nic() {
    let host = Host::new();
    let world = neighbour(&host, "lan0", "10.10.4.2/24", "10.10.4.254/24");
    host.sh("ip route add default via 10.10.4.254");
    world.sh("ip addr add 203.0.113.9/32 dev lo");
    assert!(until(SOON, || host.ping("203.0.113.9")));
    host.sh("ip link set lan0 addrgenmode none");
    let before = host.state();
    let network = Network::of(&host, "uplink");
    let (c1, c2) = network.pair(&host);
    assert!(until(SOON, || c1.ping("203.0.113.9") && c2.ping("10.10.4.2")));
    assert!(until(SOON, || host.ping("203.0.113.9")));
    for container in [&c1, &c2] {
        network.del(container).succeeds();
    }
    let addresses = ["10.10.4.2/24"];
    assert!(
        host.addrs("lan0")
            .iter()
            .any(|found| addresses.contains(&found.as_str()))
    );
    host.assert_unchanged_since(&before);
}

#[test]
fn one_segment_over_two_hosts() {
    let host = Host::new();
    // A container stands for the second host.
    let second = neighbour(&host, "wan0", "192.0.2.1/24", "192.0.2.2/24");
    assert!(until(SOON, || host.ping("192.0.2.2")));
    let (here, there) = (
        Network::of(&host, "overlay-a"),
        Network::of(&host, "overlay-b"),
    );
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    here.add(&c1);
    let second: &Node = &second;
    second.run(|| there.add(&c2));
    assert!(until(SOON, || c1.ping("10.10.5.12")));
    second.run(|| there.del(&c2).succeeds());
    here.del(&c1).succeeds();
}

#[test]
fn one_more_interface() {
    let host = Host::new();
    let (first, network) = (
        Network::of(&host, "gateway"),
        Network::of(&host, "second-interface"),
    );
    let c1 = host.container("c1");
    first.add(&c1);
    let plugin = network.plugin.clone().ifname("eth1");
    plugin.add(&c1, &network.conf).succeeds();
    let by = |from: &str| c1.sh(&format!("ip route get 203.0.113.9 from {from}"));
    assert!(by("10.10.7.11").contains("dev eth1"));
    assert!(by("10.10.1.11").contains("dev eth0"));
    plugin.del(&c1, &network.conf).succeeds();
    assert!(!c1.sh("ip rule").contains("lookup 100"));
}

#[cfg(feature = "stock-kernel")]
#[test]
fn vlans_of_a_trunk_and_of_others() {
    let host = Host::new();
    let before = host.state();
    let access = Network::of(&host, "vlan-access");
    let (c1, c2) = access.pair(&host);
    let trunk = Network::of(&host, "vlan-trunk");
    let router = host.container("router");
    trunk.add(&router);
    router.sh("ip link add link eth0 name eth0.101 type vlan id 101; ip link set eth0 up");
    router.sh("ip addr add 10.10.6.99/24 dev eth0.101; ip link set eth0.101 up");
    assert!(until(SOON, || router.ping("10.10.6.11") && c2.ping("10.10.6.1")));
    for container in [&c1, &c2] {
        access.del(container).succeeds();
    }
    trunk.del(&router).succeeds();
    host.set_sysctl("net/ipv4/ip_forward", "0");
    host.assert_unchanged_since(&before);
}
