//! Published ports where the host's firewall is legacy iptables.

use plumb_tests::{Value, conf, conf_for, json};

use super::legacy::{rules, saved, world};
use super::publish::{
    GATEWAY, OWN, by_the_hosts_addresses, mappings, nobody_else_reaches_localhost, port_80,
};
use super::publish_life::the_port_is_followed;
use super::reach::apart;
use super::world::{INTERNET, SECOND, SOON, UPLINK};

const LOCALNET: &str = "net/ipv4/conf/br1/route_localnet";

fn keys() -> Value {
    json!({ "publish": ["8080:80", "8080:80/udp"] })
}

#[test]
fn ports_are_reached_from_outside_and_the_container_is_not() {
    for forward in ["open", "stateful", "isolated"] {
        apart(|| {
            let world = world();
            let (c1, result) = world.with_container("c1");
            let mut keys = mappings(&json!([
                { "HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" },
                { "HostPort": 8080, "ContainerPort": 80, "Protocol": "UDP", "HostIP": "" },
            ]));
            keys["forward"] = json!(forward);
            world.add(&c1, &result, keys.clone()).succeeds();
            let check = world.plugin().previous(&result);
            check.check(&c1, conf("masquerade", keys)).succeeds();
            assert_eq!(world.host.ruleset(), "");
            for family in 0..2 {
                let (host, outside) = (UPLINK[family], INTERNET[family]);
                port_80(&world.internet, (host, 8080), &c1).seen_as(outside);
                port_80(&world.internet, (host, 8081), &c1).in_vain();
                port_80(&world.internet, (OWN[family], 80), &c1).in_vain();
            }
        });
    }
}

#[test]
fn a_port_at_one_address_is_reached_there_alone() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "publish": [
        format!("{}:8080:80", SECOND[0]),
        format!("[{}]:8080:80", SECOND[1]),
        format!("{}:8080:80/udp", SECOND[0]),
        format!("[{}]:8080:80/udp", SECOND[1]),
    ] });
    world.add(&c1, &result, keys.clone()).succeeds();
    let check = world.plugin().previous(&result);
    check.check(&c1, conf("masquerade", keys)).succeeds();
    for family in 0..2 {
        port_80(&world.internet, (SECOND[family], 8080), &c1).seen_as(INTERNET[family]);
        port_80(&world.internet, (UPLINK[family], 8080), &c1).in_vain();
    }
}

#[test]
fn the_host_and_its_containers_reach_ports_by_the_hosts_addresses() {
    by_the_hosts_addresses(&world());
}

#[test]
fn localhost_is_open_to_the_host_alone_and_as_long_as_something_is_published() {
    let world = world();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let local = json!({ "publish": ["127.0.0.1:8080:80", "127.0.0.1:8080:80/udp"] });
    world.add(&c1, &first, local).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    port_80(&world.host, ("127.0.0.1", 8080), &c1).seen_as(GATEWAY[0]);
    port_80(&world.host, (UPLINK[0], 8080), &c1).in_vain();
    nobody_else_reaches_localhost(&world, &c1);
    assert_eq!(world.host.sysctl(LOCALNET).as_deref(), Some("1"));
    world.del(&c1).succeeds();
    assert_eq!(world.host.sysctl(LOCALNET).as_deref(), Some("0"));
    world.del(&c2).succeeds();
    assert_eq!(rules(&world.host), Vec::<String>::new());
}

#[test]
fn a_port_is_held_by_one_container_in_whatever_firewall() {
    let nftables = || json!({ "backend": "nftables", "publish": ["8080:80"] });
    for (first, second, words) in [
        (
            keys(),
            keys(),
            "publish: port 8080/tcp is held by testnet/c1/eth0",
        ),
        (
            json!({ "publish": ["203.0.113.2:8080:80"] }),
            keys(),
            "publish: port 8080/tcp is held by testnet/c1/eth0 as 203.0.113.2 . tcp . 8080",
        ),
        (
            json!({ "publish": ["[::]:8080:80"] }),
            json!({ "publish": ["[2001:db8:113::2]:8080:80"] }),
            "publish: port [2001:db8:113::2]:8080/tcp is held by testnet/c1/eth0 as tcp . 8080",
        ),
        (
            keys(),
            nftables(),
            "publish: port 8080/tcp is held by testnet/c1/eth0",
        ),
        (
            nftables(),
            keys(),
            "publish: port 8080/tcp is held by testnet/c1/eth0",
        ),
    ] {
        apart(|| {
            let world = world();
            let (c1, one) = world.with_container("c1");
            let (c2, two) = world.with_container("c2");
            world.add(&c1, &one, first).succeeds();
            let before = (world.host.state(), saved(&world.host));
            world.add(&c2, &two, second.clone()).fails_with(101, words);
            world.host.assert_unchanged_since(&before.0);
            assert_eq!(saved(&world.host), before.1);
            world.del(&c1).succeeds();
            world.add(&c2, &two, second).succeeds();
        });
    }
}

#[test]
fn a_client_that_goes_on_sending_follows_the_port() {
    for family in 0..2 {
        apart(|| the_port_is_followed(&world(), family));
    }
}

#[test]
fn a_repeated_add_publishes_what_it_says_and_nothing_else() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, keys()).succeeds();
    let changed = json!({ "publish": ["8081:80", "8080:81/udp"] });
    world.add(&c1, &result, changed.clone()).succeeds();
    let check = world.plugin().previous(&result);
    check
        .check(&c1, conf("masquerade", changed.clone()))
        .succeeds();
    for program in ["iptables-legacy-save", "ip6tables-legacy-save"] {
        let listed = world.host.exec([program]);
        let ports: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.split_once("--dport ")?.1.split(' ').next())
            .collect();
        assert_eq!(ports, ["8081", "8080"], "{listed}");
    }
    let tcp = port_80(&world.internet, (UPLINK[0], 8081), &c1).tcp(SOON);
    assert_eq!(tcp.as_deref(), Some(INTERNET[0]));
    // Without any, the chain and the way to it go too.
    world.add(&c1, &result, json!({})).succeeds();
    let left = rules(&world.host);
    assert!(
        left.iter().all(|rule| !rule.contains("PLUMB-PUBLISH")),
        "{left:#?}"
    );
    check.del(&c1, conf("masquerade", changed)).succeeds();
    assert_eq!(rules(&world.host), Vec::<String>::new());
}

#[test]
fn what_somebody_took_away_is_missed_and_comes_back() {
    let world = world();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, keys()).succeeds();
    let before = saved(&world.host);
    let check = || {
        let plugin = world.plugin().previous(&result);
        plugin.check(&c1, conf("masquerade", keys()))
    };
    world.host.sh("iptables-legacy -t nat -F PLUMB-PUBLISH");
    check().fails_with(102, "nat -A PLUMB-PUBLISH -p tcp -m tcp --dport 8080");
    world.add(&c1, &result, keys()).succeeds();
    check().succeeds();
    world.host.sh("iptables-legacy -t nat -F OUTPUT");
    check().fails_with(102, "nat -I OUTPUT -m addrtype --dst-type LOCAL");
    world.host.set_sysctl(LOCALNET, "0");
    check().fails_with(102, "net/ipv4/conf/br1/route_localnet: expected 1, found 0");
    world.add(&c1, &result, keys()).succeeds();
    check().succeeds();
    assert_eq!(saved(&world.host), before);
}

#[test]
fn gc_takes_back_the_ports_of_what_is_no_longer_valid() {
    let world = world();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let (c3, third) = world.with_container("c3");
    world.add(&c1, &first, keys()).succeeds();
    world
        .add(&c2, &second, json!({ "publish": ["8081:80"] }))
        .succeeds();
    let other = conf_for("other", "masquerade", json!({ "publish": ["8082:80"] }));
    world.plugin().previous(&third).add(&c3, &other).succeeds();
    let gc = world.plugin().valid([("c2", "eth0")]);
    gc.gc(conf("masquerade", json!({}))).succeeds();
    let left = rules(&world.host).join("\n");
    assert!(!left.contains("--dport 8080"), "{left}");
    assert!(
        left.contains("--dport 8081") && left.contains("--dport 8082"),
        "{left}"
    );
    world.del(&c2).succeeds();
    world.plugin().netns("").del(&c3, other).succeeds();
    assert_eq!(rules(&world.host), Vec::<String>::new());
    assert_eq!(world.host.sysctl(LOCALNET).as_deref(), Some("0"));
}
