//! Networks behind the containers: the routers of the tutorial, all on bridges of one host.

use plumb_tests::{Container, Node, json};

use super::world::{INTERNET, UPLINK, World, kept_out, nf_call, seen, seen_by_datagram};

/// host br1 101.1 - 101.2 R1 102.1 - br2 - 102.2 R2 103.1 - br3 - 103.2 H1, routes as OSPF would make them.
struct Routers {
    world: World,
    family: Family,
    r1: Container,
    r2: Container,
    h1: Container,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn address(self, network: u8, host: u8) -> String {
        match self {
            Self::V4 => format!("192.168.{network}.{host}"),
            Self::V6 => format!("fd00:{network}::{host}"),
        }
    }

    fn subnet(self, network: u8) -> String {
        match self {
            Self::V4 => format!("192.168.{network}.0/24"),
            Self::V6 => format!("fd00:{network}::/64"),
        }
    }

    /// An address with its prefix length, as an interface has it.
    fn interface(self, network: u8, host: u8) -> String {
        let length = if self == Self::V4 { 24 } else { 64 };
        format!("{}/{length}", self.address(network, host))
    }

    fn uplink(self) -> &'static str {
        UPLINK[usize::from(self == Self::V6)]
    }

    fn internet(self) -> &'static str {
        INTERNET[usize::from(self == Self::V6)]
    }

    fn forward(self, node: &Node) {
        match self {
            Self::V4 => node.set_sysctl("net/ipv4/ip_forward", "1"),
            Self::V6 => node.set_sysctl("net/ipv6/conf/all/forwarding", "1"),
        }
    }
}

impl Routers {
    fn new(family: Family) -> Self {
        let world = World::new();
        let at = |network, host| family.interface(network, host);
        world.bridge("br1", &[&at(101, 1)]);
        world.bridge("br2", &[]);
        world.bridge("br3", &[]);
        let [r1, r2, h1] = ["r1", "r2", "h1"].map(|name| world.host.container(name));
        let result = world.join(&r1, "eth1", "br1", &[&at(101, 2)]);
        world.join(&r1, "eth2", "br2", &[&at(102, 1)]);
        world.join(&r2, "eth1", "br2", &[&at(102, 2)]);
        world.join(&r2, "eth2", "br3", &[&at(103, 1)]);
        world.join(&h1, "eth1", "br3", &[&at(103, 2)]);
        family.forward(&r1);
        family.forward(&r2);
        let route = |node: &Node, to: &str, network, host| {
            let gateway = family.address(network, host);
            node.sh(&format!("ip route add {to} via {gateway}"));
        };
        let default = if family == Family::V4 {
            "0.0.0.0/0"
        } else {
            "::/0"
        };
        route(&r1, default, 101, 1);
        route(&r1, &family.subnet(103), 102, 2);
        route(&r2, default, 102, 1);
        route(&h1, default, 103, 1);
        route(&world.host, &family.subnet(102), 101, 2);
        route(&world.host, &family.subnet(103), 101, 2);
        let keys = json!({
            "sources": [family.subnet(101), family.subnet(102), family.subnet(103)],
            "outInterface": "eth0",
            "forward": "stateful",
        });
        let call = world.plugin().ifname("eth1").previous(&result);
        call.add(&r1, plumb_tests::conf("masquerade", keys))
            .succeeds();
        Self {
            world,
            family,
            r1,
            r2,
            h1,
        }
    }

    #[track_caller]
    fn prove(&self) {
        let (host, internet) = (&self.world.host, &self.world.internet);
        let address = |network, host| self.family.address(network, host);
        let outside = self.family.internet();
        for (name, inside) in [("r1", &self.r1), ("r2", &self.r2), ("h1", &self.h1)] {
            let tcp = seen(inside, internet, outside);
            assert_eq!(
                tcp.as_deref(),
                Some(self.family.uplink()),
                "TCP from {name}"
            );
            let udp = seen_by_datagram(inside, internet, outside);
            assert_eq!(
                udp.as_deref(),
                Some(self.family.uplink()),
                "UDP from {name}"
            );
            assert!(inside.ping(outside), "ping from {name}");
        }
        let from_host = Some(address(101, 1));
        for (inside, address) in [
            (&self.r1, address(101, 2)),
            (&self.r1, address(102, 1)),
            (&self.r2, address(103, 1)),
            (&self.h1, address(103, 2)),
        ] {
            kept_out(internet, inside, &address);
            // Within, everybody reaches everybody under their own address.
            assert_eq!(seen(host, inside, &address), from_host);
            assert_eq!(seen_by_datagram(host, inside, &address), from_host);
        }
        assert!(!internet.ping(&address(103, 2)));
        let to_host = seen(&self.h1, host, &address(101, 1));
        assert_eq!(to_host, Some(address(103, 2)));
        for (from, to, target, own) in [
            (&self.r1, &self.h1, address(103, 2), address(102, 1)),
            (&self.h1, &self.r1, address(101, 2), address(103, 2)),
            (&self.r2, &self.r1, address(101, 2), address(102, 2)),
        ] {
            let own = Some(own);
            assert_eq!(seen(from, to, &target), own);
            assert_eq!(seen_by_datagram(from, to, &target), own);
        }
    }
}

#[test]
fn a_host_two_routers_deep_reaches_the_internet_and_is_not_reached() {
    for family in [Family::V4, Family::V6] {
        std::thread::spawn(move || {
            let routers = Routers::new(family);
            nf_call(&routers.world.host, false);
            routers.prove();
        })
        .join()
        .unwrap();
    }
}

#[test]
fn the_same_holds_when_bridged_frames_pass_the_rules() {
    for family in [Family::V4, Family::V6] {
        std::thread::spawn(move || {
            let routers = Routers::new(family);
            nf_call(&routers.world.host, true);
            routers.prove();
            // Once more, over whatever connection tracking remembers of the first time.
            routers.prove();
        })
        .join()
        .unwrap();
    }
}

#[test]
fn another_network_of_the_host_and_the_networks_behind_get_on() {
    let routers = Routers::new(Family::V4);
    let world = &routers.world;
    nf_call(&world.host, true);
    world.bridge("br9", &["10.99.0.1/24"]);
    let other = world.host.container("other");
    let result = world.join(&other, "eth0", "br9", &["10.99.0.2/24"]);
    other.sh("ip route add default via 10.99.0.1");
    let conf = plumb_tests::conf_for("other", "masquerade", json!({}));
    world
        .plugin()
        .previous(&result)
        .add(&other, conf)
        .succeeds();
    // The network behind the routers opens the connection: the answers come in by another bridge.
    let address = seen(&routers.h1, &other, "10.99.0.2");
    assert_eq!(address.as_deref(), Some("192.168.103.2"));
    assert_eq!(
        seen_by_datagram(&routers.h1, &other, "10.99.0.2").as_deref(),
        Some("192.168.103.2")
    );
    kept_out(&other, &routers.h1, "192.168.103.2");
    let outside = seen(&other, &world.internet, INTERNET[0]);
    assert_eq!(outside.as_deref(), Some(UPLINK[0]));
}
