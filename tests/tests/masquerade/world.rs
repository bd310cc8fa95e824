//! A host with an uplink, somebody on the other side of it, and containers attached by hand.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use plumb_tests::{Container, Host, Node, Outcome, Plugin, Value, conf, json, until};

use super::reach::bound;

pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long the test's own links may take on a busy machine.
const SETTLED: Duration = Duration::from_secs(15);
/// How long is waited for what must not happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// The host's own address on the uplink, and one more that it has.
pub(crate) const UPLINK: [&str; 2] = ["203.0.113.2", "2001:db8:113::2"];
pub(crate) const SECOND: [&str; 2] = ["203.0.113.77", "2001:db8:113::77"];
/// The Internet host's.
pub(crate) const INTERNET: [&str; 2] = ["203.0.113.9", "2001:db8:113::9"];

/// A host whose `eth0` leads to an Internet host that knows the way back to 10.0.0.0/8 and `fd00::/8` too: what
/// comes back does so because of the rules, not for lack of a route.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) internet: Container,
}

impl World {
    pub(crate) fn new() -> Self {
        let host = Host::new();
        let internet = host.container("internet");
        host.sh("ip link add eth0 type veth peer name eth0 netns internet");
        for node in [&*host, &*internet] {
            node.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad");
        }
        host.sh(
            "ip addr add 203.0.113.2/24 dev eth0; ip -6 addr add 2001:db8:113::2/64 dev eth0 nodad",
        );
        host.sh("ip addr add 203.0.113.77/32 dev lo; ip -6 addr add 2001:db8:113::77/128 dev lo");
        host.sh("ip link set eth0 up");
        internet.sh(
            "ip addr add 203.0.113.9/24 dev eth0; ip -6 addr add 2001:db8:113::9/64 dev eth0 nodad",
        );
        internet.sh("ip link set eth0 up");
        assert!(until(SETTLED, || [&*host, &*internet]
            .into_iter()
            .all(|node| node.link("eth0").unwrap()["operstate"] == "UP")));
        internet.sh(
            "ip route add 10.0.0.0/8 via 203.0.113.2; ip route add 192.168.0.0/16 via 203.0.113.2",
        );
        internet.sh("ip -6 route add fd00::/8 via 2001:db8:113::2");
        internet.sh("ip -6 route add 2001:db8:113::77/128 via 2001:db8:113::2");
        assert!(until(SETTLED, || host.ping(INTERNET[1])));
        Self { host, internet }
    }

    /// A bridge of the host with these addresses.
    pub(crate) fn bridge(&self, name: &str, addresses: &[&str]) {
        // As bridge-attach does: a bridge whose address is not set takes another one when ports come and go, and what is
        // sent to the former one is lost until the sender has looked for its gateway again.
        let mac = format!("02:00:00:00:00:{:02x}", self.host.links().len());
        self.host
            .sh(&format!("ip link add {name} address {mac} type bridge"));
        self.host.sh(&format!(
            "echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad"
        ));
        for address in addresses {
            self.host.sh(&format!("ip addr add {address} dev {name}"));
        }
        self.host.sh(&format!("ip link set {name} up"));
    }

    /// Joins a namespace to a bridge; gives the result that an attaching plugin would print.
    pub(crate) fn join(
        &self,
        container: &Container,
        ifname: &str,
        bridge: &str,
        addresses: &[&str],
    ) -> Value {
        let id = container.id();
        let port = format!("{ifname}-{id}");
        self.host.sh(&format!(
            "ip link add {port} type veth peer name {ifname} netns {id}; ip link set {port} master {bridge} up"
        ));
        container.sh(&format!(
            "echo 0 > /proc/sys/net/ipv6/conf/{ifname}/accept_dad"
        ));
        for address in addresses {
            container.sh(&format!("ip addr add {address} dev {ifname}"));
        }
        container.sh(&format!("ip link set {ifname} up"));
        // What is sent before the port forwards is lost, and only repeated after a second.
        let forwards = || {
            let link = self.host.link(&port).unwrap();
            link["linkinfo"]["info_slave_data"]["state"] == "forwarding"
                && container.link(ifname).unwrap()["operstate"] == "UP"
        };
        assert!(until(SETTLED, forwards), "{port} does not forward");
        let ips: Vec<Value> = addresses
            .iter()
            .map(|address| json!({ "interface": 2, "address": address }))
            .collect();
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": bridge },
                { "name": port },
                { "name": ifname, "sandbox": container.netns().to_str().unwrap() },
            ],
            "ips": ips,
        })
    }

    /// A bridge `br1` and one container on it, with both families and default routes.
    pub(crate) fn with_container(&self, name: &str) -> (Container, Value) {
        if self.host.link("br1").is_none() {
            self.bridge("br1", &["10.77.0.1/16", "fd77::1/64"]);
        }
        let container = self.host.container(name);
        let number: u8 = name.trim_start_matches('c').parse::<u8>().unwrap() + 1;
        let addresses = [format!("10.77.0.{number}/16"), format!("fd77::{number}/64")];
        let addresses = addresses.each_ref().map(String::as_str);
        let result = self.join(&container, "eth0", "br1", &addresses);
        container.sh("ip route add default via 10.77.0.1; ip -6 route add default via fd77::1");
        assert!(until(SETTLED, || container.ping("fd77::1")));
        (container, result)
    }

    pub(crate) fn plugin(&self) -> Plugin {
        self.host.plugin("masquerade")
    }

    /// ADD with these keys.
    #[track_caller]
    pub(crate) fn add(&self, container: &Container, result: &Value, keys: Value) -> Outcome {
        let plugin = self.plugin().previous(result);
        plugin.add(container, conf("masquerade", keys))
    }

    /// DEL with nothing but the names.
    #[track_caller]
    pub(crate) fn del(&self, container: &Container) -> Outcome {
        let plugin = self.plugin().netns("");
        plugin.del(container, conf("masquerade", json!({})))
    }
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// Who the TCP server at `address` on `server` sees when `client` connects, or nothing when it cannot.
#[track_caller]
pub(crate) fn seen(client: &Node, server: &Node, address: &str) -> Option<String> {
    seen_within(SOON, client, server, address)
}

#[track_caller]
pub(crate) fn seen_within(
    patience: Duration,
    client: &Node,
    server: &Node,
    address: &str,
) -> Option<String> {
    let listener = bound(|| server.run(|| TcpListener::bind(at(address, 80))));
    let stream = client.run(|| TcpStream::connect_timeout(&at(address, 80), patience));
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            let refused = [
                ErrorKind::TimedOut,
                ErrorKind::WouldBlock,
                ErrorKind::NetworkUnreachable,
                ErrorKind::HostUnreachable,
            ];
            assert!(refused.contains(&error.kind()), "{error}");
            return None;
        }
    };
    let (_, source) = listener.accept().unwrap();
    drop(stream);
    Some(source.ip().to_string())
}

/// Who the UDP server at `address` on `server` sees when `client` sends, provided that the answer comes back.
#[track_caller]
pub(crate) fn seen_by_datagram(client: &Node, server: &Node, address: &str) -> Option<String> {
    seen_by_datagram_within(SOON, client, server, address)
}

#[track_caller]
fn seen_by_datagram_within(
    patience: Duration,
    client: &Node,
    server: &Node,
    address: &str,
) -> Option<String> {
    let theirs = bound(|| server.run(|| UdpSocket::bind(at(address, 53))));
    let any: IpAddr = if address.contains(':') {
        "::".parse().unwrap()
    } else {
        "0.0.0.0".parse().unwrap()
    };
    let ours = client.run(|| UdpSocket::bind((any, 0))).unwrap();
    for socket in [&theirs, &ours] {
        socket.set_read_timeout(Some(patience)).unwrap();
    }
    ours.send_to(b"hello", at(address, 53)).ok()?;
    let mut buffer = [0; 64];
    let (_, source) = theirs.recv_from(&mut buffer).ok()?;
    theirs.send_to(b"hello yourself", source).unwrap();
    let (length, answering) = ours.recv_from(&mut buffer).ok()?;
    assert_eq!(&buffer[..length], b"hello yourself");
    assert_eq!(answering, at(address, 53));
    Some(source.ip().to_string())
}

/// Panics unless `client` can neither connect nor send to `address` on `server`.
#[track_caller]
pub(crate) fn kept_out(client: &Node, server: &Node, address: &str) {
    let tcp = seen_within(SILENCE, client, server, address);
    let udp = seen_by_datagram_within(SILENCE, client, server, address);
    assert_eq!((tcp, udp), (None, None), "{} to {address}", client.name());
}

/// Switches whether bridged frames pass the rules for IP.
pub(crate) fn nf_call(host: &Host, on: bool) {
    for name in ["iptables", "ip6tables"] {
        let name = format!("net/bridge/bridge-nf-call-{name}");
        host.set_sysctl(&name, if on { "1" } else { "0" });
    }
}

/// Waits until the ruleset no longer holds `words`: an element that was made to expire stays for a tick of the clock.
#[track_caller]
pub(crate) fn gone(host: &Host, words: &str) {
    assert!(
        until(SOON, || !host.ruleset().contains(words)),
        "{words:?} in\n{}",
        host.ruleset()
    );
}
