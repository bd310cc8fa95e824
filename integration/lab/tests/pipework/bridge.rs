//! Guests on a bridge.

use plumb_tests::Container;

use super::world::{World, routes, until_settled};

/// The five lines of the slides, and the two commands behind them, as typed there.
#[test]
fn the_lines_of_the_slides_make_their_network() {
    let world = World::new();
    let [r1, r2, h1] = ["R1", "R2", "H1"].map(|name| world.container(name));
    for line in [
        "br1 -i eth1 R1 192.168.101.2/24@192.168.101.1",
        "br2 -i eth2 R1 192.168.102.1/24",
        "br2 -i eth1 R2 192.168.102.2/24",
        "br3 -i eth2 R2 192.168.103.1/24",
        "br3 -i eth1 H1 192.168.103.2/24@192.168.103.1",
    ] {
        world.attaches(line);
    }
    world.sh("ip addr add 192.168.101.1/24 dev br1");
    world.sh("ip route add 192.168.102.0/24 via 192.168.101.2 && ip route add 192.168.103.0/24 via 192.168.101.2");
    assert_eq!(
        routes(&r1),
        [
            "default via 192.168.101.1 dev eth1",
            "192.168.101.0/24 dev eth1 proto kernel scope link src 192.168.101.2",
            "192.168.102.0/24 dev eth2 proto kernel scope link src 192.168.102.1",
        ]
    );
    assert!(r1.ping("192.168.101.1") && r1.ping("192.168.102.2") && r2.ping("192.168.103.2"));
    assert!(h1.ping("192.168.103.1") && !h1.ping("192.168.101.1"));
    for bridge in ["br1", "br2", "br3"] {
        assert_eq!(world.link(bridge).unwrap()["operstate"], "UP");
    }
    assert_eq!(world.list().len(), 5);
    // The slides' own clean-up finds its bridges.
    for guest in ["R1", "R2", "H1"] {
        world.sh(&format!("ip netns del {guest}"));
    }
    for bridge in ["br1", "br2", "br3"] {
        world.sh(&format!("ip link delete {bridge} type bridge"));
    }
    world.does("--gc");
    assert_eq!(world.links().len(), 1, "only lo");
    assert!(world.list().is_empty());
}

#[test]
fn the_interface_is_eth1_unless_it_is_named() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24");
    world.attaches("br1 -i ext0 c1 10.1.1.2/24");
    assert_eq!(c1.addrs("eth1")[0], "10.1.0.2/24");
    assert_eq!(c1.addrs("ext0")[0], "10.1.1.2/24");
}

#[test]
fn a_gateway_takes_the_place_of_the_default_route_until_the_interface_goes() {
    let world = World::new();
    let c1 = world.container("c1");
    world.sh("ip link add first type veth peer name eth0 netns c1 && ip link set first up");
    c1.sh("ip addr add 10.66.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.66.0.1");
    until_settled(&c1, "eth0");
    let before = c1.state();
    let by = |address: &str| c1.exec(["ip", "route", "get", address]);
    world.attaches("br1 c1 10.1.0.2/24@10.1.0.1");
    assert!(
        by("192.0.2.1").contains("via 10.1.0.1 dev eth1"),
        "{}",
        by("192.0.2.1")
    );
    world.attaches("br1 -i eth2 c1 10.9.0.2/32@10.1.0.254");
    assert!(
        by("192.0.2.1").contains("via 10.1.0.254 dev eth2"),
        "{}",
        by("192.0.2.1")
    );
    world.does("--del c1");
    c1.assert_unchanged_since(&before);
}

#[test]
fn a_gateway_beyond_the_subnet_is_reached_on_the_link() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 192.0.2.2/32@198.51.100.1");
    assert_eq!(
        routes(&c1),
        [
            "default via 198.51.100.1 dev eth1",
            "198.51.100.1 dev eth1 scope link"
        ]
    );
}

/// Whether an echo is answered and no neighbour solicitation got lost on the way: that one would be sent again after a
/// second, in which a busy machine may well leave an answer.
fn answers_at_once(from: &Container, to: &Container, address: &str) -> bool {
    let count = |guest: &Container, name: &str| {
        let text = guest.exec(["cat", "/proc/net/snmp6"]);
        let mut lines = text.lines().map(str::split_whitespace);
        let mut found = lines.find_map(|mut words| (words.next()? == name).then_some(words));
        let value = found.as_mut().and_then(Iterator::next).unwrap();
        value.parse::<u64>().unwrap()
    };
    let answered = from.try_exec(["ping", "-n", "-q", "-c", "1", "-W", "20", address]);
    let sent = count(from, "Icmp6OutNeighborSolicits");
    let came = count(to, "Icmp6InNeighborSolicits");
    assert!(came >= sent, "{came} of {sent} solicitations came");
    answered.status.success()
}

#[test]
fn ipv6_is_an_address_like_another() {
    let world = World::new();
    let [c1, c2] = ["c1", "c2"].map(|name| world.container(name));
    world.attaches("br1 -i eth0 -a 6 c1 2001:db8::2/64@2001:db8::1");
    world.attaches("br1 c2 2001:db8::3/64@fe80::1");
    assert!(answers_at_once(&c1, &c2, "2001:db8::3"));
    assert!(answers_at_once(&c2, &c1, "2001:db8::2"));
    let default = |routes: Vec<String>| {
        routes
            .into_iter()
            .find(|route| route.starts_with("default"))
    };
    let route = default(c1.routes()).unwrap();
    assert!(
        route.starts_with("default via 2001:db8::1 dev eth0"),
        "{route}"
    );
    let route = default(c2.routes()).unwrap();
    assert!(route.starts_with("default via fe80::1 dev eth1"), "{route}");
}

#[test]
fn without_an_address_the_interface_is_a_cable() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 0/0");
    assert_eq!(c1.link("eth1").unwrap()["operstate"], "UP");
    let addresses = c1.addrs("eth1");
    assert!(
        addresses.iter().all(|address| address.starts_with("fe80")),
        "{addresses:?}"
    );
}

#[test]
fn the_ethernet_address_is_what_the_line_says_or_made_from_a_string() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24 26:2e:71:98:60:8f");
    world.attaches("br1 -i eth2 c1 10.1.0.3/24 U:myhost.foo.com");
    assert_eq!(c1.link("eth1").unwrap()["address"], "26:2e:71:98:60:8f");
    assert_eq!(c1.link("eth2").unwrap()["address"], "02:72:6c:cd:9b:8d");
    assert_eq!(world.list()[0]["mac"], "26:2e:71:98:60:8f");
}

#[test]
fn the_hosts_end_has_the_name_that_is_given() {
    let world = World::new();
    world.container("c1");
    world.attaches("br1 -i eth2 -l hostapp1 c1 10.1.0.2/24");
    assert_eq!(world.link("hostapp1").unwrap()["master"], "br1");
    world.container("c2");
    assert_eq!(
        world.fails("br1 -l hostapp1 c2 10.1.0.3/24"),
        "Link hostapp1 exists and is up\n"
    );
    // One that is down is a leftover; a port or another kind of link is not.
    world.sh("ip link add left type veth peer name over");
    world.attaches("br1 -l left c2 10.1.0.3/24");
    assert_eq!(world.link("left").unwrap()["master"], "br1");
    assert_eq!(world.link("over"), None);
    world.sh("ip link add some type bridge");
    let said = world.fails("br1 -i eth2 -l some c2 10.1.0.4/24");
    assert!(said.contains("Link some exists and is not"), "{said}");
}

#[test]
fn a_guest_has_the_mtu_of_the_bridge() {
    let world = World::new();
    let c1 = world.container("c1");
    world.sh("ip link add br1 mtu 9000 type bridge && ip link set br1 up");
    world.attaches("br1 c1 10.1.0.2/24");
    assert_eq!(c1.link("eth1").unwrap()["mtu"], 9000);
}

#[test]
fn a_bridge_of_any_name_is_one_when_it_is_there() {
    let world = World::new();
    let c1 = world.container("c1");
    world.sh("ip link add lan type bridge && ip link set lan up");
    world.attaches("lan c1 10.1.0.2/24");
    assert_eq!(c1.addrs("eth1")[0], "10.1.0.2/24");
    let mac = world.link("lan").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let c2 = world.container("c2");
    world.attaches(&format!("mac:{mac} c2 10.1.0.3/24"));
    assert!(c2.ping("10.1.0.2"));
}
