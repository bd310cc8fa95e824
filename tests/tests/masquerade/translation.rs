//! Which source address others see.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use plumb_tests::{json, until};

use super::world::{
    INTERNET, SECOND, SOON, UPLINK, World, kept_out, nf_call, seen, seen_by_datagram,
};

#[test]
fn what_leaves_the_subnet_has_the_hosts_address_in_both_families() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    for outside in INTERNET {
        kept_out(&c1, &world.internet, outside);
    }
    let passed_on = world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(passed_on, result);
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        let tcp = seen(&c1, &world.internet, outside);
        assert_eq!(tcp.as_deref(), Some(uplink));
        let udp = seen_by_datagram(&c1, &world.internet, outside);
        assert_eq!(udp.as_deref(), Some(uplink));
        assert!(c1.ping(outside));
    }
}

#[test]
fn containers_on_the_bridge_and_the_host_see_the_containers_own_address() {
    for bridged_frames_pass_the_rules in [false, true] {
        std::thread::spawn(move || {
            let world = World::new();
            nf_call(&world.host, bridged_frames_pass_the_rules);
            let (c1, first) = world.with_container("c1");
            let (c2, second) = world.with_container("c2");
            world.add(&c1, &first, json!({})).succeeds();
            world.add(&c2, &second, json!({})).succeeds();
            for (own, other, gateway) in [
                ("10.77.0.2", "10.77.0.3", "10.77.0.1"),
                ("fd77::2", "fd77::3", "fd77::1"),
            ] {
                assert_eq!(seen(&c1, &c2, other).as_deref(), Some(own));
                assert_eq!(seen(&c1, &world.host, gateway).as_deref(), Some(own));
                assert_eq!(seen(&world.host, &c1, own).as_deref(), Some(gateway));
            }
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_fixed_source_is_what_the_outside_sees() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "toSource": SECOND });
    world.add(&c1, &result, keys).succeeds();
    for (outside, second) in INTERNET.into_iter().zip(SECOND) {
        let seen = seen(&c1, &world.internet, outside);
        assert_eq!(seen.as_deref(), Some(second));
    }
}

#[test]
fn a_fixed_source_of_one_family_leaves_the_other_masqueraded() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world
        .add(&c1, &result, json!({ "toSource": SECOND[0] }))
        .succeeds();
    let seen = |outside| seen(&c1, &world.internet, outside);
    assert_eq!(seen(INTERNET[0]).as_deref(), Some(SECOND[0]));
    assert_eq!(seen(INTERNET[1]).as_deref(), Some(UPLINK[1]));
}

#[test]
fn with_an_out_interface_only_what_leaves_by_it_is_translated() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let office = world.host.container("office");
    world.host.sh(
        "ip link add eth9 type veth peer name eth0 netns office; ip addr add 10.99.0.1/24 dev eth9; ip link set eth9 up",
    );
    office.sh("ip addr add 10.99.0.9/24 dev eth0; ip link set eth0 up; ip route add 10.77.0.0/16 via 10.99.0.1");
    world
        .add(&c1, &result, json!({ "outInterface": "eth0" }))
        .succeeds();
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    assert_eq!(
        seen(&c1, &office, "10.99.0.9").as_deref(),
        Some("10.77.0.2")
    );
}

#[test]
fn multicast_keeps_its_source() {
    // A source of the network on another bridge, where nothing but the destination speaks against translating.
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    world.bridge("br9", &["10.99.0.1/24"]);
    let [speaker, listener] = ["speaker", "listener"].map(|name| world.host.container(name));
    world.join(&speaker, "eth9", "br9", &["10.77.0.2/32"]);
    world.join(&listener, "eth9", "br9", &["10.99.0.3/24"]);
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let ears = listener.run(|| {
        let socket = UdpSocket::bind((IpAddr::from(group), 5000)).unwrap();
        let own = Ipv4Addr::new(10, 99, 0, 3);
        socket.join_multicast_v4(&group, &own).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    let mouth = speaker.run(|| UdpSocket::bind("10.77.0.2:0")).unwrap();
    let mut source = None;
    // A port of a bridge forwards a moment after it went up.
    let heard = until(SOON, || {
        mouth.send_to(b"hello", (group, 5000)).unwrap();
        source = ears.recv_from(&mut [0; 16]).ok().map(|(_, from)| from.ip());
        source.is_some()
    });
    assert!(heard);
    assert_eq!(source.unwrap().to_string(), "10.77.0.2");
}

#[test]
fn a_container_that_is_not_behind_a_bridge_is_known_by_its_address() {
    let world = World::new();
    let c1 = world.host.container("c1");
    world.host.sh(
        "ip link add p1 type veth peer name eth0 netns c1; ip addr add 10.88.0.1/32 dev p1; ip link set p1 up; ip route add 10.88.0.2 dev p1",
    );
    c1.sh("ip addr add 10.88.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.88.0.1");
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "eth0", "sandbox": c1.netns().to_str().unwrap() }],
        "ips": [{ "interface": 0, "address": "10.88.0.2/24" }],
    });
    let keys = json!({ "forward": "stateful" });
    world.add(&c1, &result, keys).succeeds();
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    kept_out(&world.internet, &c1, "10.88.0.2");
    assert!(!world.host.ruleset().contains("oifname"));
}

/// The interface that the translating rule takes for the network's; nothing where it goes by addresses.
fn inside(world: &World) -> Option<String> {
    let listed = world.host.ruleset();
    let rule = listed
        .lines()
        .find(|line| line.contains("masquerade comment"));
    assert!(rule.is_some(), "{listed}");
    let (_, name) = rule?.split_once("oifname != \"")?;
    name.split('"').next().map(str::to_owned)
}

#[test]
fn the_bridge_is_the_one_that_the_route_leads_to_though_the_result_names_none() {
    let world = World::new();
    let (c1, mut result) = world.with_container("c1");
    let ours = result["interfaces"][2].clone();
    result["interfaces"] = json!([ours]);
    for ip in result["ips"].as_array_mut().unwrap() {
        ip["interface"] = json!(0);
    }
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(inside(&world).as_deref(), Some("br1"));
    let outside = seen(&c1, &world.internet, INTERNET[0]);
    assert_eq!(outside.as_deref(), Some(UPLINK[0]));
}

#[test]
fn the_bridge_is_the_one_that_the_result_names_where_no_route_leads_to_it() {
    // The host's default route leads over a bridge too: it is not the containers'.
    let world = World::new();
    world.bridge("br-lan", &["198.51.100.2/24"]);
    world.host.sh("ip route add default via 198.51.100.1");
    world.bridge("br1", &[]);
    let c1 = world.host.container("c1");
    let mut result = world.join(&c1, "eth0", "br1", &["10.77.0.2/16"]);
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(inside(&world).as_deref(), Some("br1"));
    world.del(&c1).succeeds();

    result["interfaces"][0] = json!({ "name": "not-there" });
    world.add(&c1, &result, json!({})).succeeds();
    assert_eq!(inside(&world), None);
}

#[test]
fn excluded_destinations_see_the_container() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "exclude": ["203.0.113.0/24"] });
    world.add(&c1, &result, keys).succeeds();
    let seen_as = |address| seen(&c1, &world.internet, address);
    assert_eq!(seen_as(INTERNET[0]).as_deref(), Some("10.77.0.2"));
    assert_eq!(seen_as(INTERNET[1]).as_deref(), Some(UPLINK[1]));
}
