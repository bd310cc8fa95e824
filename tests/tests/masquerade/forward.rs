//! `forward`: isolated networks, exceptions, isolated containers.

use plumb_tests::{Container, Value, conf_for, json};

use super::reach::{Call, apart};
use super::world::{INTERNET, UPLINK, World, nf_call};

/// A network on a bridge of its own with one container, both families.
struct Net {
    container: Container,
    result: Value,
    number: u8,
}

impl Net {
    fn new(world: &World, number: u8) -> Self {
        let bridge = format!("br{number}");
        let gateways = [format!("10.{number}.0.1/16"), format!("fd{number}::1/64")];
        let own = [format!("10.{number}.0.2/16"), format!("fd{number}::2/64")];
        world.bridge(&bridge, &gateways.each_ref().map(String::as_str));
        let container = world.host.container(&format!("c{number}"));
        let own = own.each_ref().map(String::as_str);
        let result = world.join(&container, "eth0", &bridge, &own);
        container.sh(&format!(
            "ip route add default via 10.{number}.0.1; ip -6 route add default via fd{number}::1"
        ));
        Self {
            container,
            result,
            number,
        }
    }

    fn attach(&self, world: &World, keys: Value) {
        let plugin = world.plugin().previous(&self.result);
        let network = format!("net{}", self.number);
        let added = plugin.add(
            &self.container,
            conf_for(&network, "masquerade", keys.clone()),
        );
        added.succeeds();
        plugin
            .check(&self.container, conf_for(&network, "masquerade", keys))
            .succeeds();
    }

    fn addresses(&self) -> [String; 2] {
        let number = self.number;
        [format!("10.{number}.0.2"), format!("fd{number}::2")]
    }
}

/// Panics if one network's container reaches another's, over either family.
fn does_not_reach(from: &Net, to: &Net) {
    for address in to.addresses() {
        let call = Call {
            client: &from.container,
            to: (&address, 80),
            server: &to.container,
            at: (&address, 80),
        };
        call.in_vain();
    }
}

/// Panics unless the container reaches the outside, translated.
fn goes_out(world: &World, net: &Net) {
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        let call = Call {
            client: &net.container,
            to: (outside, 80),
            server: &world.internet,
            at: (outside, 80),
        };
        call.seen_as(uplink);
    }
}

#[test]
fn an_isolated_network_reaches_the_outside_and_no_other_network() {
    let world = World::new();
    let (one, two) = (Net::new(&world, 71), Net::new(&world, 72));
    one.attach(&world, json!({ "forward": "isolated" }));
    two.attach(&world, json!({ "exclude": ["10.71.0.0/16", "fd71::/64"] }));
    goes_out(&world, &one);
    goes_out(&world, &two);
    does_not_reach(&one, &two);
    does_not_reach(&two, &one);
    for address in one.addresses() {
        Call {
            client: &world.internet,
            to: (&address, 80),
            server: &one.container,
            at: (&address, 80),
        }
        .in_vain();
    }
    assert!(one.container.ping("10.71.0.1"), "its gateway");
}

#[test]
fn exceptions_let_in_what_they_name_and_nothing_else() {
    for policy in ["ACCEPT", "DROP"] {
        apart(|| exceptions_hold(policy));
    }
}

fn exceptions_hold(policy: &str) {
    let world = World::new();
    world.host.sh(&format!(
        "iptables -P FORWARD {policy}; ip6tables -P FORWARD {policy}"
    ));
    let (one, two) = (Net::new(&world, 71), Net::new(&world, 72));
    one.attach(
        &world,
        json!({
            "forward": "isolated",
            "allow": [
                { "protocol": "tcp", "ports": [80, "8000-8010"], "inInterface": "br7*" },
                { "protocol": "udp", "ports": 53, "from": ["203.0.113.0/24", "2001:db8:113::/64"] },
                { "protocol": "icmp", "from": "203.0.113.9", "to": "10.71.0.2" },
            ],
        }),
    );
    two.attach(
        &world,
        json!({ "forward": "isolated", "masquerade": false }),
    );
    let [v4, v6] = two.addresses();
    for (port, passes) in [
        (80, true),
        (8000, true),
        (8010, true),
        (8011, false),
        (81, false),
    ] {
        for (address, source) in one.addresses().iter().zip([&v4, &v6]) {
            let call = Call {
                client: &two.container,
                to: (address, port),
                server: &one.container,
                at: (address, port),
            };
            let patience = if passes {
                super::world::SOON
            } else {
                super::world::SILENCE
            };
            let expected = passes.then_some(source.as_str());
            assert_eq!(
                call.tcp(patience).as_deref(),
                expected,
                "{policy} {port} {address}"
            );
            assert_eq!(call.udp(super::world::SILENCE), None, "{port}");
        }
    }
    // The other way there is no exception.
    does_not_reach(&one, &two);
    for (address, source) in one.addresses().iter().zip(INTERNET) {
        let call = |port| Call {
            client: &world.internet,
            to: (address, port),
            server: &one.container,
            at: (address, port),
        };
        let heard = call(53).udp(super::world::SOON);
        assert_eq!(heard.as_deref(), Some(source), "{policy} {address}");
        assert_eq!(call(53).tcp(super::world::SILENCE), None);
        call(80).in_vain();
    }
    assert!(world.internet.ping("10.71.0.2"));
    assert!(!world.internet.ping("fd71::2"));
}

#[test]
fn containers_are_kept_apart_on_request() {
    let world = World::new();
    nf_call(&world.host, true);
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let keys = json!({
        "forward": "isolated",
        "isolateContainers": true,
        "allow": [{ "protocol": "tcp", "ports": 443, "to": ["10.77.0.3", "fd77::3"] }],
    });
    world.add(&c1, &first, keys.clone()).succeeds();
    world.add(&c2, &second, keys).succeeds();
    for (own, other) in [("10.77.0.2", "10.77.0.3"), ("fd77::2", "fd77::3")] {
        let call = |port| Call {
            client: &c1,
            to: (other, port),
            server: &c2,
            at: (other, port),
        };
        call(80).in_vain();
        let heard = call(443).tcp(super::world::SOON);
        assert_eq!(heard.as_deref(), Some(own));
        let back = Call {
            client: &c2,
            to: (own, 443),
            server: &c1,
            at: (own, 443),
        };
        back.in_vain();
    }
    assert!(c1.ping("10.77.0.1") && c1.ping(INTERNET[0]) && c1.ping(INTERNET[1]));
}

#[test]
fn an_exception_that_means_nothing_is_refused() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    let with = |allow: Value| json!({ "forward": "stateful", "allow": [allow] });
    for (keys, words) in [
        (
            json!({ "allow": [{ "protocol": "tcp" }] }),
            "allow: has a meaning only where",
        ),
        (with(json!({})), "allow[0]: {} allows everything"),
        (
            with(json!({ "protocol": "gre" })),
            "allow[0].protocol: \"gre\" must be",
        ),
        (
            with(json!({ "ports": 80 })),
            "allow[0].ports: needs \"protocol\"",
        ),
        (
            with(json!({ "protocol": "icmp", "ports": 80 })),
            "allow[0].ports: needs \"protocol\"",
        ),
        (
            with(json!({ "protocol": "tcp", "ports": "80-70" })),
            "allow[0].ports: \"80-70\" must be",
        ),
        (
            with(json!({ "protocol": "tcp", "ports": 0 })),
            "allow[0].ports: 0 must be between 1 and 65535",
        ),
        (
            with(json!({ "from": "10.0.0.0/8", "to": "fd00::/8" })),
            "different families",
        ),
        (
            with(json!({ "inInterface": "a b" })),
            "allow[0].inInterface",
        ),
    ] {
        world.add(&c1, &result, keys).fails_with(7, words);
    }
    world.host.assert_unchanged_since(&before);
}
