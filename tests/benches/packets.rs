//! What the rules of many attachments cost a packet: ours against those of the Go plugins, on one machine in one run.
//!
//! A container sends datagrams to the other side of the host, beside so many others that are attached (`ATTACHED`, 1000 unless
//! given). `PLUGIN_DIR` has our plugins, `REFERENCE_DIR` the Go plugins. Only the ratios mean something.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints figures, and ends at the first thing that goes wrong"
)]

use std::env;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use plumb_tests::{Binaries, Container, Host, Plugin, Value, conf, json, until};

/// How long one figure is measured.
const WINDOW: Duration = Duration::from_secs(2);

/// A host between a container and the outside.
struct World {
    host: Host,
    outside: Container,
    inside: Container,
}

impl World {
    fn new() -> Self {
        let host = Host::new();
        let [outside, inside] = ["outside", "inside"].map(|name| host.container(name));
        host.sh(
            "ip link add br1 type bridge; ip addr add 10.77.0.1/16 dev br1; ip link set br1 up",
        );
        host.sh("ip link add eth0 type veth peer name eth0 netns outside");
        host.sh("ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up");
        host.sh("ip link add port type veth peer name eth0 netns inside; ip link set port master br1 up");
        host.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
        outside.sh("ip addr add 192.0.2.9/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1");
        inside.sh("ip addr add 10.77.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 10.77.0.1");
        assert!(until(Duration::from_secs(5), || inside.ping("192.0.2.9")));
        Self {
            host,
            outside,
            inside,
        }
    }

    /// The result of attaching container number `number`; number 1 is the one that sends.
    fn result(&self, number: usize) -> Value {
        let number = number + 1;
        let address = format!("10.77.{}.{}/16", number / 256, number % 256);
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                { "name": "br1" },
                { "name": "eth0", "sandbox": self.inside.netns().to_str().expect("a path") },
            ],
            "ips": [{ "interface": 1, "address": address }],
        })
    }

    fn attach(&self, plugin: &Plugin, keys: &Value, count: usize) {
        // The one that sends comes last: the rules of all others stand before or behind its own.
        for number in (1..=count).rev() {
            let id = format!("c{number}");
            let plugin = plugin.clone().container_id(&id);
            let mut conf = conf("masquerade", keys.clone());
            conf["cniVersion"] = "1.0.0".into();
            conf["prevResult"] = self.result(number);
            plugin.add(&self.inside, &conf).succeeds();
        }
    }

    /// Datagrams of one connection that arrive in a second.
    fn rate(&self) -> f64 {
        let arrived = || {
            let path = "cat /sys/class/net/eth0/statistics/rx_packets";
            let text = self.outside.sh(path);
            text.trim().parse::<u32>().expect("a number")
        };
        let sender = self.inside.run(|| UdpSocket::bind("0.0.0.0:0"));
        let sender = sender.expect("a socket");
        let before = arrived();
        let begun = Instant::now();
        while begun.elapsed() < WINDOW {
            for _ in 0..100 {
                sender.send_to(b"x", "192.0.2.9:9").unwrap_or_default();
            }
        }
        let count = arrived().wrapping_sub(before);
        f64::from(count) / begun.elapsed().as_secs_f64()
    }
}

fn plugin(directory: &str, name: &str) -> Plugin {
    let directory = PathBuf::from(env::var_os(directory).expect("a directory of plugins"));
    Plugin::of(&Binaries::in_directory(&directory), name)
}

fn main() {
    let attached = env::var("ATTACHED").map_or(1000, |text| text.parse().expect("a number"));
    let suites: [(&str, Option<(Plugin, Value)>); 5] = [
        ("no rules", None),
        (
            "masquerade, as firewall",
            Some((
                plugin("PLUGIN_DIR", "masquerade"),
                json!({ "masquerade": false, "counters": false, "dataDir": "" }),
            )),
        ),
        (
            "masquerade, without counters",
            Some((
                plugin("PLUGIN_DIR", "masquerade"),
                json!({ "counters": false, "dataDir": "" }),
            )),
        ),
        (
            "masquerade, all it does by default",
            Some((plugin("PLUGIN_DIR", "masquerade"), json!({ "dataDir": "" }))),
        ),
        (
            "firewall of the Go plugins",
            Some((
                plugin("REFERENCE_DIR", "firewall"),
                json!({ "backend": "iptables" }),
            )),
        ),
    ];
    println!("datagrams a second with {attached} attached, against those without any rule");
    let mut without = None;
    for (name, suite) in suites {
        let rate = std::thread::scope(|scope| {
            let measured = scope.spawn(|| {
                let world = World::new();
                world
                    .host
                    .sh("iptables -P FORWARD DROP && iptables -P FORWARD ACCEPT");
                if let Some((plugin, keys)) = &suite {
                    world.attach(plugin, keys, attached);
                } else {
                    world
                        .host
                        .sh("iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP");
                }
                world.rate()
            });
            measured.join().expect("a figure")
        });
        let all = *without.get_or_insert(rate);
        println!("{name:<36} {:>5.2}", rate / all);
    }
}
