//! `toPrefix`: one prefix for another, both ways.

use plumb_tests::{Container, Value, json};

use super::legacy::rules;
use super::reach::{Call, apart};
use super::world::{INTERNET, World, gone};

const BACKENDS: [&str; 2] = ["nftables", "iptables-legacy"];

const SEEN: [&str; 2] = ["198.51.100.0/24", "2001:db8:5::/64"];

fn world() -> (World, Container, Value) {
    let world = World::new();
    world
        .internet
        .sh("ip route add 198.51.100.0/24 via 203.0.113.2");
    world
        .internet
        .sh("ip -6 route add 2001:db8:5::/64 via 2001:db8:113::2");
    world.bridge("br1", &["10.77.0.1/24", "fd77::1/64"]);
    let c1 = world.host.container("c1");
    let result = world.join(&c1, "eth0", "br1", &["10.77.0.2/24", "fd77::2/64"]);
    c1.sh("ip route add default via 10.77.0.1; ip -6 route add default via fd77::1");
    (world, c1, result)
}

#[test]
fn the_outside_sees_the_prefix_and_reaches_what_is_behind_it() {
    for backend in BACKENDS {
        apart(|| both_ways(backend));
    }
}

fn both_ways(backend: &str) {
    let (world, c1, result) = world();
    let keys = json!({ "backend": backend, "toPrefix": SEEN, "outInterface": "eth0" });
    world.add(&c1, &result, keys.clone()).succeeds();
    for (outside, own, seen) in [
        (INTERNET[0], "10.77.0.2", "198.51.100.2"),
        (INTERNET[1], "fd77::2", "2001:db8:5::2"),
    ] {
        let outwards = Call {
            client: &c1,
            to: (outside, 80),
            server: &world.internet,
            at: (outside, 80),
        };
        outwards.seen_as(seen);
        let inwards = Call {
            client: &world.internet,
            to: (seen, 8080),
            server: &c1,
            at: (own, 8080),
        };
        inwards.seen_as(outside);
    }
    let check = world.plugin().previous(&result);
    check
        .check(&c1, plumb_tests::conf("masquerade", keys))
        .succeeds();
    world.del(&c1).succeeds();
    assert_eq!(world.host.ruleset(), "");
    assert_eq!(rules(&world.host), Vec::<String>::new());
}

#[test]
fn with_stateful_nobody_comes_in_by_the_prefix() {
    for backend in BACKENDS {
        apart(|| nobody_comes_in(backend));
    }
}

fn nobody_comes_in(backend: &str) {
    let (world, c1, result) = world();
    let keys = json!({ "backend": backend, "toPrefix": SEEN, "forward": "stateful" });
    world.add(&c1, &result, keys).succeeds();
    for (outside, own, seen) in [
        (INTERNET[0], "10.77.0.2", "198.51.100.2"),
        (INTERNET[1], "fd77::2", "2001:db8:5::2"),
    ] {
        let outwards = Call {
            client: &c1,
            to: (outside, 80),
            server: &world.internet,
            at: (outside, 80),
        };
        outwards.seen_as(seen);
        for to in [seen, own] {
            let inwards = Call {
                client: &world.internet,
                to: (to, 8080),
                server: &c1,
                at: (own, 8080),
            };
            inwards.in_vain();
        }
    }
}

#[test]
fn containers_reach_each_other_by_the_prefix_too() {
    for backend in BACKENDS {
        apart(|| around(backend));
    }
}

fn around(backend: &str) {
    let (world, c1, first) = world();
    let c2 = world.host.container("c2");
    let second = world.join(&c2, "eth0", "br1", &["10.77.0.3/24", "fd77::3/64"]);
    c2.sh("ip route add default via 10.77.0.1; ip -6 route add default via fd77::1");
    let keys = json!({ "backend": backend, "toPrefix": SEEN });
    world.add(&c1, &first, keys.clone()).succeeds();
    world.add(&c2, &second, keys).succeeds();
    for (to, own, seen) in [
        ("198.51.100.3", "10.77.0.3", "198.51.100.2"),
        ("2001:db8:5::3", "fd77::3", "2001:db8:5::2"),
    ] {
        let around = Call {
            client: &c1,
            to: (to, 8080),
            server: &c2,
            at: (own, 8080),
        };
        around.seen_as(seen);
    }
    world.del(&c2).succeeds();
    gone(&world.host, "/c2/");
}
