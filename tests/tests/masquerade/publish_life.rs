//! Published ports over time: who holds one, how it is given back, and connections that knew it before.

use std::net::UdpSocket;

use plumb_tests::{Container, Value, at_once, conf, json, until};

use super::reach::{Call, apart};
use super::world::{INTERNET, SILENCE, SOON, UPLINK, World, gone};

fn keys() -> Value {
    json!({ "publish": ["8080:80", "8080:80/udp"] })
}

/// Port 8080 of the host's uplink, asked by the Internet host, expected at port 80 of the container.
fn call<'a>(world: &'a World, server: &'a Container, own: &'a str) -> Call<'a> {
    Call {
        client: &world.internet,
        to: (UPLINK[0], 8080),
        server,
        at: (own, 80),
    }
}

#[test]
fn a_port_is_held_by_one_container_until_it_goes() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, keys()).succeeds();
    let before = world.host.state();
    let refused = world.add(&c2, &second, keys());
    refused.fails_with(101, "publish: port 8080/tcp is held by testnet/c1/eth0");
    world.host.assert_unchanged_since(&before);
    // Again, and with no change.
    world.add(&c1, &first, keys()).succeeds();
    assert_eq!(
        call(&world, &c1, "10.77.0.2").tcp(SOON).as_deref(),
        Some(INTERNET[0])
    );
    world.del(&c1).succeeds();
    world.add(&c2, &second, keys()).succeeds();
    call(&world, &c2, "10.77.0.3").seen_as(INTERNET[0]);
}

#[test]
fn a_port_at_one_address_and_the_same_at_all_exclude_each_other() {
    let at = |address: &str| json!({ "publish": [format!("{address}8080:80")] });
    for (first, second, words) in [
        (
            "",
            "203.0.113.2:",
            "port 203.0.113.2:8080/tcp is held by testnet/c1/eth0 as tcp . 8080",
        ),
        (
            "203.0.113.2:",
            "",
            "port 8080/tcp is held by testnet/c1/eth0 as 203.0.113.2 . tcp . 8080",
        ),
        (
            "0.0.0.0:",
            "127.0.0.1:",
            "port 127.0.0.1:8080/tcp is held by testnet/c1/eth0",
        ),
        (
            "[2001:db8:113::2]:",
            "[::]:",
            "port [::]:8080/tcp is held by testnet/c1/eth0",
        ),
    ] {
        apart(|| {
            let world = World::new();
            let (c1, one) = world.with_container("c1");
            let (c2, two) = world.with_container("c2");
            world.add(&c1, &one, at(first)).succeeds();
            let before = world.host.state();
            world.add(&c2, &two, at(second)).fails_with(101, words);
            world.host.assert_unchanged_since(&before);
        });
    }
    let world = World::new();
    let (c1, one) = world.with_container("c1");
    let (c2, two) = world.with_container("c2");
    world.add(&c1, &one, at("203.0.113.2:")).succeeds();
    world.add(&c2, &two, at("203.0.113.77:")).succeeds();
}

#[test]
fn sixty_four_want_the_same_port_and_one_gets_it() {
    let world = World::new();
    world.bridge("br1", &["10.77.0.1/16", "fd77::1/64"]);
    let members: Vec<(Container, Value)> = (1..=64)
        .map(|number| {
            let container = world.host.container(&format!("c{number}"));
            let result = json!({
                "cniVersion": "1.1.0",
                "interfaces": [
                    { "name": "br1" },
                    { "name": "eth0", "sandbox": container.netns().to_str().unwrap() },
                ],
                "ips": [{ "interface": 1, "address": format!("10.77.1.{number}/16") }],
            });
            (container, result)
        })
        .collect();
    let outcomes = at_once(members.len(), |number| {
        let (container, result) = &members[number];
        world.add(container, result, keys())
    });
    let mut winners = Vec::new();
    for (outcome, (container, _)) in outcomes.into_iter().zip(&members) {
        if outcome.status.success() {
            winners.push(container.id());
        } else {
            // Of the two it is the first that was taken when it looked.
            outcome.clone().fails_with(101, "publish: port 8080/");
            outcome.fails_with(101, "p is held by testnet/c");
        }
    }
    let [winner] = winners[..] else {
        panic!("{winners:?}")
    };
    // What is left is the winner's: its address, and both of its ports.
    assert!(
        until(SOON, || world.host.ruleset().matches("\"plumb1 ").count()
            == 3),
        "{}",
        world.host.ruleset()
    );
    assert_eq!(
        world
            .host
            .ruleset()
            .matches(&format!("/{winner}/eth0\""))
            .count(),
        3
    );
    for (container, _) in &members {
        world.del(container).succeeds();
    }
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn nothing_is_left_by_the_last_one() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        world.host.set_sysctl(name, "1");
    }
    let before = world.host.state();
    let localnet = "net/ipv4/conf/br1/route_localnet";
    world.add(&c1, &first, keys()).succeeds();
    world
        .add(&c2, &second, json!({ "publish": ["8081:80"] }))
        .succeeds();
    assert_eq!(world.host.sysctl(localnet).as_deref(), Some("1"));
    // With the result and the ports, as a runtime does; then with nothing but the names.
    let plugin = world.plugin().previous(&first);
    plugin.del(&c1, conf("masquerade", keys())).succeeds();
    gone(&world.host, "/c1/");
    assert_eq!(world.host.sysctl(localnet).as_deref(), Some("1"));
    assert!(world.host.ruleset().contains("tcp . 8081"));
    world.del(&c2).succeeds();
    assert_eq!(world.host.ruleset(), "");
    assert_eq!(world.host.sysctl(localnet).as_deref(), Some("0"));
    let differences = before.differences(&world.host.state());
    assert!(differences.is_empty(), "{differences:#?}");
    world.del(&c2).succeeds();
}

#[test]
fn a_network_that_no_longer_publishes_closes_localhost() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, keys()).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    world.del(&c1).succeeds();
    let localnet = "net/ipv4/conf/br1/route_localnet";
    assert_eq!(world.host.sysctl(localnet).as_deref(), Some("0"));
    let (c3, third) = world.with_container("c3");
    world.add(&c3, &third, keys()).succeeds();
    call(&world, &c3, "10.77.0.4").seen_as(INTERNET[0]);
}

#[test]
fn gc_takes_back_the_ports_of_what_is_no_longer_valid() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let (c3, third) = world.with_container("c3");
    world.add(&c1, &first, keys()).succeeds();
    world
        .add(&c2, &second, json!({ "publish": ["8081:80"] }))
        .succeeds();
    let other = plumb_tests::conf_for("other", "masquerade", json!({ "publish": ["8082:80"] }));
    world.plugin().previous(&third).add(&c3, other).succeeds();
    let gc = world.plugin().valid([("c2", "eth0")]);
    gc.gc(conf("masquerade", json!({}))).succeeds();
    gone(&world.host, "tcp . 8080");
    let listed = world.host.ruleset();
    assert!(
        listed.contains("tcp . 8081") && listed.contains("tcp . 8082"),
        "{listed}"
    );
}

#[test]
fn what_a_repeated_add_does_not_publish_is_taken_back() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    world.add(&c1, &first, keys()).succeeds();
    let changed = json!({ "publish": ["8081:80", "8080:81/udp"] });
    world.add(&c1, &first, changed.clone()).succeeds();
    gone(&world.host, "tcp . 8080");
    let listed = world.host.ruleset();
    assert!(listed.contains(": 10.77.0.2 . 81"), "{listed}");
    let plugin = world.plugin().previous(&first);
    plugin
        .check(&c1, conf("masquerade", changed.clone()))
        .succeeds();
    plugin.del(&c1, conf("masquerade", changed)).succeeds();
    assert_eq!(world.host.ruleset(), "");
}

#[test]
fn what_somebody_took_away_is_missed_and_comes_back_with_the_next_add() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    world.add(&c1, &first, keys()).succeeds();
    let check = || {
        let plugin = world.plugin().previous(&first);
        plugin.check(&c1, conf("masquerade", keys()))
    };
    check().succeeds();
    let host = &world.host;
    host.sh("nft 'delete element inet plumb published-ipv4 { tcp . 8080 }'");
    check().fails_with(102, "tcp . 8080 is missing in map published-ipv4");
    world.add(&c1, &first, keys()).succeeds();
    check().succeeds();
    host.set_sysctl("net/ipv4/conf/br1/route_localnet", "0");
    check().fails_with(102, "net/ipv4/conf/br1/route_localnet: expected 1, found 0");
    world.add(&c1, &first, keys()).succeeds();
    check().succeeds();
    host.sh("nft flush chain inet plumb publish");
    check().fails_with(102, "inet plumb publish: rule \"dnat ip to meta l4proto . th dport map @published-ipv4\" is missing");
}

#[test]
fn a_client_that_goes_on_sending_follows_the_port() {
    for family in 0..2 {
        apart(|| the_port_is_followed(&World::new(), family));
    }
}

pub(crate) fn the_port_is_followed(world: &World, family: usize) {
    world.host.set_sysctl("net/ipv4/ip_forward", "1");
    world.host.set_sysctl("net/ipv6/conf/all/forwarding", "1");
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let (c3, third) = world.with_container("c3");
    // Somebody else has connections tracked, and publishes nothing.
    world.add(&c3, &third, json!({})).succeeds();
    let any = ["0.0.0.0:0", "[::]:0"][family];
    let client = world.internet.run(|| UdpSocket::bind(any)).unwrap();
    let source = Some(INTERNET[family]);
    let to = (UPLINK[family], 8080);
    let asked = |server, at| Call {
        client: &world.internet,
        to,
        server,
        at,
    };
    let host = asked(&world.host, to);
    assert_eq!(host.udp_from(&client, SOON).as_deref(), source);
    for (container, result, own) in [
        (&c1, &first, ["10.77.0.2", "fd77::2"]),
        (&c2, &second, ["10.77.0.3", "fd77::3"]),
    ] {
        world.add(container, result, keys()).succeeds();
        let call = asked(container, (own[family], 80));
        assert_eq!(call.udp_from(&client, SOON).as_deref(), source);
        world.del(container).succeeds();
        assert_eq!(call.udp_from(&client, SILENCE), None);
    }
    assert_eq!(host.udp_from(&client, SOON).as_deref(), source);
}

#[test]
fn a_del_lets_the_connections_of_others_be() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, keys()).succeeds();
    world
        .add(&c2, &second, json!({ "publish": ["8081:80"] }))
        .succeeds();
    let listener = c2.run(|| TcpListener::bind(("10.77.0.3", 80))).unwrap();
    let connect = || TcpStream::connect((UPLINK[0], 8081));
    let mut client = world.internet.run(connect).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    world.del(&c1).succeeds();
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    server.set_read_timeout(Some(SOON)).unwrap();
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}
