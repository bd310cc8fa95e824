//! Networks behind the containers: the routers of the tutorial, all on bridges of one host.

use plumb_tests::{Container, json};

use super::world::{INTERNET, UPLINK, World, kept_out, nf_call, seen, seen_by_datagram};

/// host br1 101.1 - 101.2 R1 102.1 - br2 - 102.2 R2 103.1 - br3 - 103.2 H1, routes as OSPF would make them.
struct Routers {
    world: World,
    r1: Container,
    r2: Container,
    h1: Container,
}

impl Routers {
    fn new() -> Self {
        let world = World::new();
        world.bridge("br1", &["192.168.101.1/24"]);
        world.bridge("br2", &[]);
        world.bridge("br3", &[]);
        let [r1, r2, h1] = ["r1", "r2", "h1"].map(|name| world.host.container(name));
        let result = world.join(&r1, "eth1", "br1", &["192.168.101.2/24"]);
        world.join(&r1, "eth2", "br2", &["192.168.102.1/24"]);
        world.join(&r2, "eth1", "br2", &["192.168.102.2/24"]);
        world.join(&r2, "eth2", "br3", &["192.168.103.1/24"]);
        world.join(&h1, "eth1", "br3", &["192.168.103.2/24"]);
        for router in [&r1, &r2] {
            router.set_sysctl("net/ipv4/ip_forward", "1");
        }
        r1.sh("ip route add default via 192.168.101.1; ip route add 192.168.103.0/24 via 192.168.102.2");
        r2.sh("ip route add default via 192.168.102.1");
        h1.sh("ip route add default via 192.168.103.1");
        world.host.sh(
            "ip route add 192.168.102.0/24 via 192.168.101.2; ip route add 192.168.103.0/24 via 192.168.101.2",
        );
        let keys = json!({
            "sources": ["192.168.101.0/24", "192.168.102.0/24", "192.168.103.0/24"],
            "outInterface": "eth0",
            "forward": "stateful",
        });
        let call = world.plugin().ifname("eth1").previous(&result);
        call.add(&r1, plumb_tests::conf("masquerade", keys))
            .succeeds();
        Self { world, r1, r2, h1 }
    }

    #[track_caller]
    fn prove(&self) {
        let (host, internet) = (&self.world.host, &self.world.internet);
        for (name, inside) in [("r1", &self.r1), ("r2", &self.r2), ("h1", &self.h1)] {
            let tcp = seen(inside, internet, INTERNET[0]);
            assert_eq!(tcp.as_deref(), Some(UPLINK[0]), "TCP from {name}");
            let udp = seen_by_datagram(inside, internet, INTERNET[0]);
            assert_eq!(udp.as_deref(), Some(UPLINK[0]), "UDP from {name}");
            assert!(inside.ping(INTERNET[0]), "ping from {name}");
        }
        for (inside, address) in [
            (&self.r1, "192.168.101.2"),
            (&self.r1, "192.168.102.1"),
            (&self.r2, "192.168.103.1"),
            (&self.h1, "192.168.103.2"),
        ] {
            kept_out(internet, inside, address);
            // Within, everybody reaches everybody under their own address.
            assert_eq!(
                seen(host, inside, address).as_deref(),
                Some("192.168.101.1")
            );
            assert_eq!(
                seen_by_datagram(host, inside, address).as_deref(),
                Some("192.168.101.1")
            );
        }
        assert!(!internet.ping("192.168.103.2"));
        let to_host = seen(&self.h1, host, "192.168.101.1");
        assert_eq!(to_host.as_deref(), Some("192.168.103.2"));
        for (from, to, address, own) in [
            (&self.r1, &self.h1, "192.168.103.2", "192.168.102.1"),
            (&self.h1, &self.r1, "192.168.101.2", "192.168.103.2"),
            (&self.r2, &self.r1, "192.168.101.2", "192.168.102.2"),
        ] {
            assert_eq!(seen(from, to, address).as_deref(), Some(own));
            assert_eq!(seen_by_datagram(from, to, address).as_deref(), Some(own));
        }
    }
}

#[test]
fn a_host_two_routers_deep_reaches_the_internet_and_is_not_reached() {
    let routers = Routers::new();
    nf_call(&routers.world.host, false);
    routers.prove();
}

#[test]
fn the_same_holds_when_bridged_frames_pass_the_rules() {
    let routers = Routers::new();
    nf_call(&routers.world.host, true);
    routers.prove();
    // Once more, over whatever connection tracking remembers of the first time.
    routers.prove();
}

#[test]
fn another_network_of_the_host_and_the_networks_behind_get_on() {
    let routers = Routers::new();
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
