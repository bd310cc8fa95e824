//! Published ports with real packets: who reaches the container by which address of the host.

use plumb_tests::{Container, Value, conf_for, json};

use super::reach::{Call, apart};
use super::world::{INTERNET, SECOND, SILENCE, SOON, UPLINK, World, nf_call};

/// As a container runtime passes them on, here with the names of the Go fields.
pub(crate) fn mappings(list: &Value) -> Value {
    json!({ "capabilities": { "portMappings": true }, "runtimeConfig": { "portMappings": list } })
}

pub(crate) const OWN: [&str; 2] = ["10.77.0.2", "fd77::2"];
pub(crate) const GATEWAY: [&str; 2] = ["10.77.0.1", "fd77::1"];

/// A host with a container `c1` that is attached with these keys.
fn published(keys: Value) -> (World, Container) {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, keys.clone()).succeeds();
    let check = world.plugin().previous(&result);
    check
        .check(&c1, plumb_tests::conf("masquerade", keys))
        .succeeds();
    (world, c1)
}

/// Port 80 of `c1`, reached by the address in `to`.
pub(crate) fn port_80<'a>(
    client: &'a plumb_tests::Node,
    to: (&'a str, u16),
    c1: &'a Container,
) -> Call<'a> {
    let own = OWN[usize::from(to.0.contains(':'))];
    Call {
        client,
        to,
        server: c1,
        at: (own, 80),
    }
}

#[test]
fn ports_are_reached_from_outside_over_both_families() {
    let list = json!([
        { "HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" },
        { "HostPort": 8080, "ContainerPort": 80, "Protocol": "UDP", "HostIP": "" },
    ]);
    let (world, c1) = published(mappings(&list));
    for (host, outside) in UPLINK.into_iter().zip(INTERNET) {
        port_80(&world.internet, (host, 8080), &c1).seen_as(outside);
        port_80(&world.internet, (host, 8081), &c1).in_vain();
    }
    for (second, outside) in SECOND.into_iter().zip(INTERNET) {
        port_80(&world.internet, (second, 8080), &c1).seen_as(outside);
    }
}

#[test]
fn ports_are_written_as_people_write_them_and_come_in_ranges() {
    let (world, c1) = published(json!({
        "publish": ["8080:80", "53:80/udp", "9000-9002:79-81"],
        "forward": "stateful",
    }));
    for (host, outside) in UPLINK.into_iter().zip(INTERNET) {
        for (port, own) in [(8080, 80), (9000, 79), (9001, 80), (9002, 81)] {
            let call = Call {
                at: (OWN[usize::from(host.contains(':'))], own),
                ..port_80(&world.internet, (host, port), &c1)
            };
            assert_eq!(call.tcp(SOON).as_deref(), Some(outside), "{port}");
            assert_eq!(call.udp(SILENCE), None, "{port}");
        }
        let call = port_80(&world.internet, (host, 53), &c1);
        assert_eq!(call.udp(SOON).as_deref(), Some(outside));
        assert_eq!(call.tcp(SILENCE), None);
    }
    // The container's own address stays closed.
    for own in OWN {
        port_80(&world.internet, (own, 80), &c1).in_vain();
    }
}

#[test]
fn a_port_at_one_address_is_reached_there_alone() {
    let (world, c1) = published(json!({ "publish": [
        format!("{}:8080:80", SECOND[0]),
        format!("[{}]:8080:80", SECOND[1]),
        format!("{}:8080:80/udp", SECOND[0]),
        format!("[{}]:8080:80/udp", SECOND[1]),
    ] }));
    for family in 0..2 {
        port_80(&world.internet, (SECOND[family], 8080), &c1).seen_as(INTERNET[family]);
        port_80(&world.internet, (UPLINK[family], 8080), &c1).in_vain();
    }
}

#[test]
fn the_unspecified_address_stands_for_its_family() {
    for (address, v4, v6) in [("0.0.0.0", true, false), ("::", false, true)] {
        apart(|| {
            let (world, c1) = published(mappings(&json!([
                { "hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": address },
            ])));
            for (family, reached) in [v4, v6].into_iter().enumerate() {
                let call = port_80(&world.internet, (UPLINK[family], 8080), &c1);
                let seen = call.tcp(if reached { SOON } else { SILENCE });
                assert_eq!(seen.is_some(), reached, "{address}");
            }
        });
    }
}

#[test]
fn the_host_and_its_containers_reach_ports_by_the_hosts_addresses() {
    for bridged_frames_pass_the_rules in [false, true] {
        apart(|| {
            let world = World::new();
            nf_call(&world.host, bridged_frames_pass_the_rules);
            by_the_hosts_addresses(&world);
        });
    }
}

pub(crate) fn by_the_hosts_addresses(world: &World) {
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    // Only by this a frame leaves by the port it came in by.
    world.host.sh("bridge link set dev eth0-c1 hairpin on");
    let keys = json!({ "publish": ["8080:80", "8080:80/udp"] });
    world.add(&c1, &first, keys).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    for family in 0..2 {
        let (uplink, gateway) = (UPLINK[family], GATEWAY[family]);
        for host in [uplink, gateway] {
            port_80(&c2, (host, 8080), &c1).seen_as(gateway);
            port_80(&c1, (host, 8080), &c1).seen_as(gateway);
        }
        port_80(&world.host, (uplink, 8080), &c1).seen_as(uplink);
        port_80(&world.host, (gateway, 8080), &c1).seen_as(gateway);
        // Who goes there directly keeps its address.
        let own = ["10.77.0.3", "fd77::3"][family];
        port_80(&c2, (OWN[family], 80), &c1).seen_as(own);
    }
    // The kernel forwards nothing that comes from ::1.
    port_80(&world.host, ("127.0.0.1", 8080), &c1).seen_as(GATEWAY[0]);
    let v6 = port_80(&world.host, ("::1", 8080), &c1);
    assert_eq!(v6.tcp(SILENCE), None);
}

#[test]
fn a_port_at_127_0_0_1_is_the_hosts_own() {
    let (world, c1) =
        published(json!({ "publish": ["127.0.0.1:8080:80", "127.0.0.1:8080:80/udp"] }));
    port_80(&world.host, ("127.0.0.1", 8080), &c1).seen_as(GATEWAY[0]);
    port_80(&world.internet, (UPLINK[0], 8080), &c1).in_vain();
    port_80(&world.host, (UPLINK[0], 8080), &c1).in_vain();
}

#[test]
fn localhost_is_not_opened_to_the_network_or_the_outside() {
    let (world, c1) = published(json!({ "publish": ["8080:80"] }));
    nobody_else_reaches_localhost(&world, &c1);
    let listed = world.host.ruleset();
    let dropped = listed
        .lines()
        .find(|line| line.contains("ip daddr 127.0.0.0/8"));
    let dropped = dropped.unwrap();
    assert!(!dropped.contains("packets 0 "), "{dropped}");
}

pub(crate) fn nobody_else_reaches_localhost(world: &World, c1: &Container) {
    // Somebody who has unlearnt that 127.0.0.1 is himself.
    let send_it_to = |node: &plumb_tests::Node, gateway: &str| {
        node.sh("ip route del table local local 127.0.0.0/8 dev lo || true");
        node.sh("ip route del table local local 127.0.0.1 dev lo || true");
        node.set_sysctl("net/ipv4/conf/all/route_localnet", "1");
        node.sh(&format!("ip route replace 127.0.0.1 via {gateway}"));
    };
    send_it_to(c1, GATEWAY[0]);
    send_it_to(&world.internet, UPLINK[0]);
    for node in [&**c1, &*world.internet] {
        Call {
            client: node,
            to: ("127.0.0.1", 25),
            server: &world.host,
            at: ("127.0.0.1", 25),
        }
        .in_vain();
    }
}

#[test]
fn ports_are_reached_where_iptables_drops_what_it_does_not_know() {
    let world = World::new();
    world
        .host
        .sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "publish": ["8080:80", "8080:80/udp"] });
    world.add(&c1, &result, keys).succeeds();
    for (host, outside) in UPLINK.into_iter().zip(INTERNET) {
        port_80(&world.internet, (host, 8080), &c1).seen_as(outside);
    }
    for own in OWN {
        port_80(&world.internet, (own, 80), &c1).in_vain();
    }
    let listed = world.host.exec(["iptables", "-S", "PLUMB-FORWARD"]);
    let rule = "-A PLUMB-FORWARD -d 10.77.0.0/16 -o br1 -m conntrack --ctstate DNAT";
    assert!(listed.contains(rule), "{listed}");
}

#[test]
fn networks_that_are_apart_meet_at_published_ports() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    world.bridge("br2", &["10.78.0.1/16", "fd78::1/64"]);
    let c2 = world.host.container("c2");
    let second = world.join(&c2, "eth0", "br2", &["10.78.0.2/16", "fd78::2/64"]);
    c2.sh("ip route add default via 10.78.0.1; ip -6 route add default via fd78::1");
    let keys = json!({ "forward": "isolated", "publish": ["8080:80", "8080:80/udp"] });
    world.add(&c1, &first, keys).succeeds();
    let other = conf_for("other", "masquerade", json!({ "forward": "isolated" }));
    world.plugin().previous(&second).add(&c2, other).succeeds();
    for family in 0..2 {
        // The other network's sources are translated wherever they leave it.
        port_80(&c2, (UPLINK[family], 8080), &c1).seen_as(GATEWAY[family]);
        port_80(&c2, (OWN[family], 80), &c1).in_vain();
    }
}

#[test]
fn sctp_ports_are_published() {
    let (world, _c1) = published(json!({ "publish": ["9:9/sctp"] }));
    for map in ["published-ipv4", "published-ipv6"] {
        let element = [
            "nft",
            "get",
            "element",
            "inet",
            "plumb",
            map,
            "{ sctp . 9 }",
        ];
        let found = world.host.exec(element);
        assert!(found.contains("sctp . 9 counter"), "{found}");
    }
}

#[test]
fn a_port_of_a_family_that_the_container_has_not_is_passed_over_and_said() {
    let world = World::new();
    let (c1, mut result) = world.with_container("c1");
    result["ips"].as_array_mut().unwrap().remove(1);
    let keys = json!({ "publish": ["8080:80", "[::]:8081:80"], "logLevel": "info" });
    let outcome = world.add(&c1, &result, keys);
    let said = outcome.stderr.clone();
    outcome.succeeds();
    assert!(
        said.contains("[::]:8081/tcp leads nowhere: the container has no IPv6 address"),
        "{said}"
    );
    assert_eq!(
        port_80(&world.internet, (UPLINK[0], 8080), &c1)
            .tcp(SOON)
            .as_deref(),
        Some(INTERNET[0])
    );
}

#[test]
fn impossible_ports_are_refused_before_anything_changes() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    for (keys, words) in [
        (
            json!({ "publish": ["80:80:80"] }),
            "publish[0]: \"80:80:80\" must be like",
        ),
        (
            json!({ "publish": ["0:80"] }),
            "publish[0]: \"0:80\" must be like",
        ),
        (json!({ "publish": ["80-90:80"] }), "must be like"),
        (
            json!({ "publish": ["1-2000"] }),
            "makes more than 1000 published ports",
        ),
        (
            json!({ "publish": ["80:80", "80:81"] }),
            "publishes 80/tcp, which leads to port 80 already",
        ),
        (
            json!({ "publish": [{ "hostPort": 80 }] }),
            "publish[0].containerPort: is missing",
        ),
        (
            mappings(&json!([{ "hostPort": 0, "containerPort": 80 }])),
            "runtimeConfig.portMappings[0].hostPort: 0 must be between 1 and 65535",
        ),
        (
            mappings(&json!([{ "hostPort": 80, "containerPort": 80, "protocol": "icmp" }])),
            "runtimeConfig.portMappings[0].protocol",
        ),
        (
            mappings(&json!([{ "hostPort": 80, "containerPort": 80, "hostIP": "nowhere" }])),
            "runtimeConfig.portMappings[0].hostIP",
        ),
    ] {
        world.add(&c1, &result, keys).fails_with(7, words);
    }
    world.host.assert_unchanged_since(&before);
}
