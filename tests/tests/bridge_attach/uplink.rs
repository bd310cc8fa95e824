//! `uplink`: the bridge leads to the world outside the host.

use std::time::Duration;

use plumb_tests::{Container, Host, Value, json, until};

use super::ipam::Ipam;
use super::{attached, host, layer3, plugin, with};

const SOON: Duration = Duration::from_secs(15);

/// A host whose interface `up0` leads to somebody who has 10.1.0.77 and `fd01::77`.
fn connected() -> (Host, Ipam, Container) {
    let (host, ipam) = host();
    let world = host.container("world");
    host.sh("ip link add up0 address 02:00:00:00:00:50 type veth peer name up0 netns world");
    world.sh("ip addr add 10.1.0.77/24 dev up0; ip addr add fd01::77/64 dev up0 nodad; ip link set up0 up");
    // In one request some kernels set the link up first, and it has an address by then.
    host.sh("ip link set up0 addrgenmode none; ip link set up0 up");
    let settled = || host.link("up0").unwrap()["operstate"] == "UP";
    assert!(until(SOON, settled));
    (host, ipam, world)
}

/// A network without a gateway on the host, whose bridge goes with its last attachment.
fn flat(keys: Value) -> Value {
    let base = json!({ "isGateway": false, "removeEmptyBridge": true });
    with(layer3(base), keys)
}

#[test]
fn containers_are_on_the_uplinks_network_until_the_last_one_leaves() {
    let (host, _ipam, _world) = connected();
    let before = host.state();
    for (number, uplink) in [json!("up0"), json!(["up0"]), json!("mac:02:00:00:00:00:50")]
        .into_iter()
        .enumerate()
    {
        let conf = flat(json!({ "uplink": uplink }));
        let (first, second) = (
            format!("c{}", 2 * number + 1),
            format!("c{}", 2 * number + 2),
        );
        let (c1, _) = attached(&host, &first, &conf);
        let (c2, result) = attached(&host, &second, &conf);
        assert_eq!(host.link("up0").unwrap()["master"], "br0");
        assert!(until(SOON, || c1.ping("10.1.0.77") && c2.ping("fd01::77")));
        plugin(&host).previous(&result).check(&c2, &conf).succeeds();
        host.sh("ip link set up0 down");
        let checked = plugin(&host).previous(&result).check(&c2, &conf);
        checked.fails_with(102, "state of up0: expected up");
        host.sh("ip link set up0 up");
        plugin(&host).del(&c1, &conf).succeeds();
        assert!(until(SOON, || c2.ping("10.1.0.77")));
        c2.vanish();
        plugin(&host).netns("").del(&c2, &conf).succeeds();
        host.assert_unchanged_since(&before);
    }
}

#[test]
fn gc_gives_the_uplink_back_with_the_last_attachment() {
    let (host, _ipam, _world) = connected();
    let before = host.state();
    let conf = flat(json!({ "uplink": "up0" }));
    attached(&host, "c1", &conf);
    plugin(&host).valid([("c1", "eth0")]).gc(&conf).succeeds();
    assert_eq!(host.link("up0").unwrap()["master"], "br0");
    plugin(&host).valid([]).gc(&conf).succeeds();
    host.assert_unchanged_since(&before);
}

#[test]
fn an_uplink_that_cannot_be_one_is_refused_and_nothing_changes() {
    let (host, ipam, _world) = connected();
    host.sh("ip link add other0 type bridge; ip link add p0 type veth peer name p1; ip link set p0 master other0");
    host.sh("ip link set p1 address 02:00:00:00:00:50");
    let before = host.state();
    for (number, (uplink, code, words)) in [
        (json!("gone0"), 7, "the host has no interface gone0"),
        (json!("mac:02:00:00:00:00:51"), 7, "02:00:00:00:00:51"),
        (json!("mac:02:00:00:00:00:50"), 7, "several interfaces"),
        (json!("other0"), 7, "other0 cannot be a port"),
        (json!(["up0", "p0"]), 101, "p0 is a port of another bridge"),
        (json!(["up0", "up0"]), 7, "uplink[1]"),
        (json!("mac:02"), 7, "uplink"),
        (json!({ "vxlan": { "vni": 7 } }), 7, "remote"),
        (
            json!({ "vxlan": { "vni": 16_777_216, "remote": "192.0.2.1" } }),
            7,
            "vni",
        ),
        (
            json!({ "vxlan": { "vni": 7, "remote": "192.0.2.1", "device": "gone0" } }),
            7,
            "gone0",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let container = host.container(&format!("bad{number}"));
        let conf = flat(json!({ "uplink": uplink }));
        plugin(&host).add(&container, &conf).fails_with(code, words);
        host.assert_unchanged_since(&before);
    }
    assert!(ipam.calls().iter().all(|call| !call.starts_with("ADD c")));
}

/// Gives the uplink addresses and routes of its own.
fn addressed(host: &Host) {
    host.sh(
        "ip addr add 10.1.0.200/24 brd + dev up0; ip addr add 10.1.0.201/24 dev up0; ip addr add fd01::200/64 dev up0 nodad",
    );
    host.sh("ip route add default via 10.1.0.77 metric 7; ip route add 192.0.2.0/24 via 10.1.0.77 src 10.1.0.201 mtu 1400");
    host.sh("ip -6 route add default via fd01::77; ip route add 198.51.100.0/24 dev up0 table 100");
    assert!(until(SOON, || host.ping("10.1.0.77") && host.ping("fd01::77")));
}

#[test]
fn addresses_of_the_host_are_not_cut_off() {
    let (host, _ipam, _world) = connected();
    addressed(&host);
    let before = host.state();
    plugin(&host)
        .add(&host.container("c1"), flat(json!({ "uplink": "up0" })))
        .fails_with(101, "10.1.0.200/24, 10.1.0.201/24, fd01::200/64");
    host.assert_unchanged_since(&before);
}

#[test]
fn addresses_and_routes_move_to_the_bridge_and_back() {
    let (host, _ipam, _world) = connected();
    addressed(&host);
    let before = host.state();
    let conf = flat(json!({ "uplink": "up0", "moveAddresses": true }));
    let (c1, _) = attached(&host, "c1", &conf);
    assert!(host.addrs("up0").is_empty(), "{:?}", host.addrs("up0"));
    let moved = host.addrs("br0");
    for address in ["10.1.0.200/24", "10.1.0.201/24", "fd01::200/64"] {
        assert!(moved.contains(&address.to_owned()), "{moved:?}");
    }
    assert_eq!(host.link("br0").unwrap()["address"], "02:00:00:00:00:50");
    let routes = host.sh("ip route show table all; ip -6 route");
    for route in [
        "default via 10.1.0.77 dev br0 metric 7",
        "192.0.2.0/24 via 10.1.0.77 dev br0 src 10.1.0.201 mtu 1400",
        "198.51.100.0/24 dev br0 table 100",
        "default via fd01::77 dev br0",
    ] {
        assert!(routes.contains(route), "{route} in\n{routes}");
    }
    assert!(host.ping("10.1.0.77") && host.ping("fd01::77"));
    assert!(until(SOON, || c1.ping("10.1.0.77") && c1.ping("10.1.0.200")));
    let (c2, _) = attached(&host, "c2", &conf);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.ping("10.1.0.77"));
    plugin(&host).del(&c2, &conf).succeeds();
    host.assert_unchanged_since(&before);
    assert!(until(SOON, || host.ping("10.1.0.77") && host.ping("fd01::77")));
}

/// Addresses with a lifetime are what a DHCP client or router advertisements give.
#[test]
fn labels_lifetimes_and_several_next_hops_move_and_come_back() {
    let (host, _ipam, _world) = connected();
    host.sh("ip addr add 10.1.0.200/24 brd + dev up0 valid_lft 3600 preferred_lft 1800");
    host.sh("ip addr add 10.1.0.201/24 dev up0 label up0:1; ip addr add 10.1.0.202/24 dev up0 label odd");
    host.sh("ip -6 addr add fd01::200/64 dev up0 nodad valid_lft 7200 preferred_lft 3600");
    host.sh("ip route add 192.0.2.0/24 nexthop via 10.1.0.77 dev up0 weight 3 nexthop via 10.1.0.78 dev up0");
    host.sh(
        "ip -6 route add 2001:db8::/32 nexthop via fd01::77 dev up0 nexthop via fd01::78 dev up0",
    );
    let labels = |link: &str| -> Vec<String> {
        let all = host.addr_info(link).into_iter();
        all.filter_map(|it| it["label"].as_str().map(str::to_owned))
            .collect()
    };
    let routes = |link: &str| {
        let shown = host.sh(&format!("ip route; ip -6 route show dev {link}"));
        shown.replace(&format!("dev {link}"), "dev it")
    };
    let before = routes("up0");
    assert!(before.contains("nexthop via 10.1.0.77 dev it weight 3"));
    let conf = flat(json!({ "uplink": "up0", "moveAddresses": true }));
    let (c1, _) = attached(&host, "c1", &conf);
    assert_eq!(labels("br0"), ["br0", "br0:1", "odd"]);
    let left = host.sh("ip route show dev up0; ip -6 route show dev up0");
    assert_eq!(left, "", "it would compete with the bridge's");
    assert!(host.ping("10.1.0.77") && host.ping("fd01::77"));
    let moved = host.sh("ip route; ip -6 route");
    for hop in [
        "nexthop via 10.1.0.77 dev br0 weight 3",
        "nexthop via fd01::78 dev br0",
    ] {
        assert!(moved.contains(hop), "{hop} in\n{moved}");
    }
    plugin(&host).del(&c1, &conf).succeeds();
    assert_eq!(labels("up0"), ["up0", "up0:1", "odd"]);
    let without_time = |text: &str| {
        let lines = text.lines().map(|line| {
            let words = line.split_whitespace();
            let words: Vec<&str> = words.filter(|word| !word.ends_with("sec")).collect();
            words.join(" ")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(without_time(&routes("up0")), without_time(&before));
    let forever = |it: &Value| it["valid_life_time"].as_u64() == Some(u64::from(u32::MAX));
    let lasting = host
        .addr_info("up0")
        .iter()
        .filter(|it| forever(it))
        .count();
    assert_eq!(lasting, 2, "{:?}", host.addr_info("up0"));
    assert!(until(SOON, || host.ping("10.1.0.77") && host.ping("fd01::77")));
}

#[test]
fn a_failed_attachment_gives_the_uplink_back() {
    let (host, _ipam, _world) = connected();
    addressed(&host);
    let before = host.state();
    let conf = flat(json!({
        "uplink": "up0", "moveAddresses": true,
        "hostRoutes": [{ "dst": "10.9.0.0/16", "gw": "10.66.0.1" }],
    }));
    plugin(&host)
        .add(&host.container("c1"), &conf)
        .fails_with(100, "10.9.0.0/16");
    host.assert_unchanged_since(&before);
    assert!(until(SOON, || host.ping("10.1.0.77")));
}

#[test]
fn a_segment_over_two_hosts() {
    let (host, _ipam) = host();
    // A container stands for the second host.
    let second = host.container("second");
    host.sh("ip link add u0 type veth peer name u0 netns second");
    host.sh("ip addr add 192.0.2.1/24 dev u0; ip link set u0 up");
    second.sh("ip addr add 192.0.2.2/24 dev u0; ip link set u0 up");
    assert!(until(SOON, || host.ping("192.0.2.2")));
    let conf = |remote: &str| {
        flat(json!({ "uplink": { "vxlan": { "vni": 42, "remote": [remote], "device": "u0" } } }))
    };
    let (before, there) = (host.state(), second.state());
    let (c1, result) = attached(&host, "c1", &conf("192.0.2.2"));
    let c2 = host.container("c2");
    let call = plugin(&host);
    second.run(|| call.add(&c2, conf("192.0.2.1"))).succeeds();
    assert_eq!(result["interfaces"][2]["mtu"], 1450);
    let links = host.links();
    let vxlan = links
        .iter()
        .find(|link| link["linkinfo"]["info_kind"] == "vxlan")
        .unwrap();
    assert_eq!(vxlan["linkinfo"]["info_data"]["id"], 42);
    assert_eq!(vxlan["linkinfo"]["info_data"]["port"], 4789);
    assert!(until(SOON, || c1.ping("10.1.0.3") && c2.ping("fd01::2")));
    second.run(|| call.del(&c2, conf("192.0.2.1"))).succeeds();
    plugin(&host).del(&c1, conf("192.0.2.2")).succeeds();
    host.assert_unchanged_since(&before);
    second.assert_unchanged_since(&there);
}

/// Where the network between the hosts has multicast, nobody has to be named.
#[test]
fn a_segment_over_ipv6() {
    let (host, _ipam) = host();
    let second = host.container("second");
    host.sh("ip link add u0 type veth peer name u0 netns second");
    host.sh("ip addr add 2001:db8::1/64 dev u0 nodad; ip link set u0 up");
    second.sh("ip addr add 2001:db8::2/64 dev u0 nodad; ip link set u0 up");
    assert!(until(SOON, || host.ping("2001:db8::2")));
    for device in [json!("u0"), json!(null)] {
        let conf = |remote: &str| {
            let vxlan = json!({ "vni": 42, "remote": [remote, "2001:db8::9"], "device": device });
            flat(json!({ "uplink": { "vxlan": vxlan } }))
        };
        let (c1, result) = attached(&host, "c1", &conf("2001:db8::2"));
        let c2 = host.container("c2");
        let call = plugin(&host);
        second.run(|| call.add(&c2, conf("2001:db8::1"))).succeeds();
        assert_eq!(result["interfaces"][2]["mtu"], 1430);
        assert!(until(SOON, || c1.ping("10.1.0.3") && c2.ping("fd01::2")));
        let checked = plugin(&host).previous(&result);
        checked.check(&c1, conf("2001:db8::2")).succeeds();
        second.run(|| call.del(&c2, conf("2001:db8::1"))).succeeds();
        plugin(&host).del(&c1, conf("2001:db8::2")).succeeds();
        c1.vanish();
        c2.vanish();
    }
}

#[test]
fn a_segment_over_a_multicast_group() {
    let (host, _ipam) = host();
    let second = host.container("second");
    host.sh("ip link add u0 type veth peer name u0 netns second");
    host.sh("ip addr add 192.0.2.1/24 dev u0; ip link set u0 up");
    second.sh("ip addr add 192.0.2.2/24 dev u0; ip link set u0 up");
    assert!(until(SOON, || host.ping("192.0.2.2")));
    let segment = json!({ "vni": 43, "group": "239.1.1.43", "port": 8472, "device": "u0" });
    let conf = flat(json!({ "uplink": { "vxlan": segment } }));
    let (before, there) = (host.state(), second.state());
    let (c1, result) = attached(&host, "c1", &conf);
    let c2 = host.container("c2");
    let call = plugin(&host);
    second.run(|| call.add(&c2, &conf)).succeeds();
    let links = host.links();
    let is_vxlan = |link: &&Value| link["linkinfo"]["info_kind"] == "vxlan";
    let data = &links.iter().find(is_vxlan).unwrap()["linkinfo"]["info_data"];
    assert_eq!((&data["id"], &data["port"]), (&json!(43), &json!(8472)));
    assert_eq!(
        (&data["group"], &data["link"]),
        (&json!("239.1.1.43"), &json!("u0"))
    );
    assert!(until(SOON, || c1.ping("10.1.0.3") && c2.ping("fd01::2")));
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    second.run(|| call.del(&c2, &conf)).succeeds();
    plugin(&host).del(&c1, &conf).succeeds();
    host.assert_unchanged_since(&before);
    second.assert_unchanged_since(&there);
}
