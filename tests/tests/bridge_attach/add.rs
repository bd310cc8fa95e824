//! What an attachment has.

use std::time::{Duration, Instant};

use plumb_tests::{at_once, json};

use super::{attached, host, host_end, layer2, layer3, plugin};

#[test]
fn an_attachment_is_complete_and_as_the_result_says() {
    let (host, _ipam) = host();
    let (c1, result) = attached(&host, "c1", &layer3(json!({ "isDefaultGateway": true })));
    let names: Vec<_> = (0..3)
        .map(|n| result["interfaces"][n]["name"].clone())
        .collect();
    assert_eq!(names[0], "br0");
    assert_eq!(names[2], "eth0");
    let near = host.link(&host_end(&result)).unwrap();
    let far = c1.link("eth0").unwrap();
    for (place, link) in [(0, &host.link("br0").unwrap()), (1, &near), (2, &far)] {
        assert_eq!(result["interfaces"][place]["mac"], link["address"]);
        assert_eq!(result["interfaces"][place]["mtu"], link["mtu"]);
    }
    assert_eq!(result["interfaces"][2]["sandbox"], "/run/netns/c1");
    assert_eq!(near["master"], "br0");
    assert_eq!(near["num_tx_queues"], 1);
    let alias = near["ifalias"].as_str().unwrap();
    assert!(
        alias.starts_with("plumb1 ") && alias.ends_with(" testnet/c1/eth0"),
        "{alias}"
    );
    assert_eq!(
        result["ips"],
        json!([
            { "interface": 2, "address": "10.1.0.2/24", "gateway": "10.1.0.1" },
            { "interface": 2, "address": "fd01::2/64", "gateway": "fd01::1" }
        ])
    );
    let routes = c1.routes();
    for wanted in [
        "default via 10.1.0.1 dev eth0",
        "default via fd01::1 dev eth0",
    ] {
        assert!(
            routes.iter().any(|route| route.starts_with(wanted)),
            "{routes:?}"
        );
    }
    let names = host.addrs("br0");
    assert!(names.contains(&"10.1.0.1/24".to_owned()) && names.contains(&"fd01::1/64".to_owned()));
    assert_eq!(host.sysctl("net/ipv4/ip_forward").as_deref(), Some("1"));
    assert_eq!(
        host.sysctl("net/ipv6/conf/all/forwarding").as_deref(),
        Some("1")
    );
}

#[test]
fn both_families_answer_at_once_and_nothing_is_tentative() {
    let (host, _ipam) = host();
    for name in ["c1", "c2", "c3"] {
        let (container, _) = attached(&host, name, &layer3(json!({})));
        assert!(container.ping("10.1.0.1"), "{name}");
        assert!(container.ping("fd01::1"), "{name}");
        for (node, link) in [(&*container, "eth0"), (&*host, "br0")] {
            for info in node.addr_info(link) {
                let global = info["scope"] == "global";
                assert!(!global || info.get("tentative").is_none(), "{info}");
            }
        }
    }
}

/// A bridge gets its carrier with its first port; one lost ARP reply costs the container a second.
#[test]
fn the_first_attachment_of_a_bridge_is_answered_at_once() {
    let slow = at_once(4, |_| {
        let (host, _ipam) = host();
        let c1 = host.container("c1");
        let attempt = |_: &usize| {
            let result = plugin(&host).add(&c1, layer3(json!({}))).succeeds();
            let answered = c1.ping("10.1.0.1");
            let call = plugin(&host).previous(&result);
            call.del(&c1, layer3(json!({}))).succeeds();
            host.sh("ip link delete br0");
            !answered
        };
        (0..15).filter(attempt).count()
    });
    assert_eq!(slow, [0; 4], "of 15 attachments on each of 4 hosts");
}

#[test]
fn the_port_forwards_when_add_returns() {
    let (host, _ipam) = host();
    for name in ["c1", "c2", "c3", "c4", "c5"] {
        let (_, result) = attached(&host, name, &layer3(json!({})));
        let near = host.link(&host_end(&result)).unwrap();
        assert_eq!(near["linkinfo"]["info_slave_data"]["state"], "forwarding");
        assert_eq!(near["operstate"], "UP");
    }
}

#[test]
fn forwarding_is_left_alone_where_the_configuration_says_so() {
    let (host, _ipam) = host();
    attached(&host, "c1", &layer3(json!({ "ipForward": false })));
    assert_eq!(
        host.addrs("br0").first().map(String::as_str),
        Some("10.1.0.1/24")
    );
    assert_eq!(host.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
    assert_eq!(
        host.sysctl("net/ipv6/conf/all/forwarding").as_deref(),
        Some("0")
    );
}

#[test]
fn without_ipam_the_attachment_is_a_cable() {
    let (host, ipam) = host();
    let (c1, result) = attached(&host, "c1", &layer2(json!({})));
    assert!(result.get("ips").is_none());
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    assert!(
        !host
            .addrs("br0")
            .iter()
            .any(|address| !address.starts_with("fe80"))
    );
    assert_eq!(host.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
    assert!(ipam.calls().is_empty());
}

#[test]
fn a_result_of_an_old_version_has_its_form() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    let result = plugin(&host)
        .key("cniVersion", json!("0.2.0"))
        .add(&c1, layer3(json!({})))
        .succeeds();
    assert_eq!(result["ip4"]["ip"], "10.1.0.2/24");
    assert_eq!(result["ip6"]["gateway"], "fd01::1");
    let c2 = host.container("c2");
    let before = (host.state(), c2.state());
    plugin(&host)
        .key("cniVersion", json!("0.1.0"))
        .add(&c2, layer2(json!({})))
        .fails_with(7, "cannot convert: no valid IP addresses");
    host.assert_unchanged_since(&before.0);
    c2.assert_unchanged_since(&before.1);
}

#[test]
fn the_strongest_mac_wins() {
    let (host, _ipam) = host();
    let asked = plugin(&host).args("MAC=02:00:00:00:00:01;IgnoreUnknown=1");
    let cni = asked
        .clone()
        .key("args", json!({ "cni": { "mac": "02:00:00:00:00:02" } }));
    let runtime = cni
        .clone()
        .key("runtimeConfig", json!({ "mac": "02:00:00:00:00:03" }));
    for (number, asked) in [(1, asked), (2, cni), (3, runtime)] {
        let container = host.container(&format!("c{number}"));
        let mac = format!("02:00:00:00:00:0{number}");
        let result = asked.add(&container, layer2(json!({}))).succeeds();
        assert_eq!(container.link("eth0").unwrap()["address"], mac);
        assert_eq!(result["interfaces"][2]["mac"], mac);
    }
}

#[test]
fn arguments_that_only_the_ipam_plugin_knows_are_left_to_it() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    let ipam = json!({ "type": "static-ipam", "assignments": { "NODE=r1": "10.1.0.7/24" } });
    let layer3 = layer3(json!({ "ipam": ipam }));
    let asked = host.plugin("bridge-attach").args("NODE=r1");
    let result = asked.add(&c1, layer3).succeeds();
    assert_eq!(result["ips"][0]["address"], "10.1.0.7/24");
    let c2 = host.container("c2");
    let before = (host.state(), c2.state());
    asked
        .add(&c2, layer2(json!({})))
        .fails_with(4, "key \"NODE\" is unknown");
    host.assert_unchanged_since(&before.0);
    c2.assert_unchanged_since(&before.1);
}

#[test]
fn an_ipam_plugin_that_knows_no_mac_does_not_stumble_over_it() {
    let (host, ipam) = host();
    for command in ["ADD", "DEL"] {
        ipam.does(command, "echo \"$CNI_ARGS\" >> args");
    }
    let c1 = host.container("c1");
    let asked = plugin(&host).args("MAC=02:00:00:00:00:01");
    asked.add(&c1, layer3(json!({}))).succeeds();
    assert_eq!(c1.link("eth0").unwrap()["address"], "02:00:00:00:00:01");
    asked.del(&c1, layer3(json!({}))).succeeds();
    let typo = plugin(&host).args("MAC=02:00:00:00:00:01;CLOUR=red");
    typo.add(&c1, layer3(json!({}))).succeeds();
    let seen = std::fs::read_to_string("/run/ipam/args").unwrap();
    let told = "IgnoreUnknown=1;MAC=02:00:00:00:00:01\n";
    let judges = "MAC=02:00:00:00:00:01;CLOUR=red\n";
    assert_eq!(seen, [told, told, judges].concat());
}

#[test]
fn the_hosts_end_takes_the_name_it_is_given() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "hostInterfaceName": "r1-eth1" }));
    let (c1, result) = attached(&host, "c1", &conf);
    assert_eq!(host_end(&result), "r1-eth1");
    assert_eq!(host.link("r1-eth1").unwrap()["master"], "br0");
    let before = host.state();
    let c2 = host.container("c2");
    plugin(&host).add(&c2, &conf).fails_with(101, "r1-eth1");
    host.assert_unchanged_since(&before);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("r1-eth1").is_none());
}

#[test]
fn port_options_reach_the_port() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "hairpinMode": true, "portIsolation": true }));
    let (_c1, result) = attached(&host, "c1", &conf);
    let near = host.link(&host_end(&result)).unwrap();
    let port = &near["linkinfo"]["info_slave_data"];
    assert_eq!(
        (&port["hairpin"], &port["isolated"]),
        (&json!(true), &json!(true))
    );
    let (_c2, _) = attached(&host, "c2", &layer2(json!({ "promiscMode": true })));
    assert!(
        host.link("br0").unwrap()["flags"]
            .to_string()
            .contains("PROMISC")
    );
}

#[test]
fn an_interface_may_stay_down() {
    let (host, _ipam) = host();
    let begin = Instant::now();
    let conf = layer2(json!({ "disableContainerInterface": true }));
    let (c1, result) = attached(&host, "c1", &conf);
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "a carrier that does not come is waited for, for 10 s: {:?}",
        begin.elapsed()
    );
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "DOWN");
    assert_eq!(host.link(&host_end(&result)).unwrap()["master"], "br0");
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn ipv6_works_where_the_container_has_it_switched_off() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    c1.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    host.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    plugin(&host).add(&c1, layer3(json!({}))).succeeds();
    assert!(c1.ping("fd01::1"));
    let of_link = |key: &str| c1.sysctl(&format!("net/ipv6/conf/eth0/{key}"));
    assert_eq!(of_link("accept_ra").as_deref(), Some("0"));
    assert_eq!(of_link("keep_addr_on_down").as_deref(), Some("1"));
}

#[test]
fn duplicate_detection_is_done_when_asked_for() {
    let (host, _ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({ "enabledad": true })));
    assert_eq!(
        c1.sysctl("net/ipv6/conf/eth0/accept_dad").as_deref(),
        Some("1")
    );
    let (c2, _) = attached(&host, "c2", &layer3(json!({})));
    assert_eq!(
        c2.sysctl("net/ipv6/conf/eth0/accept_dad").as_deref(),
        Some("0")
    );
}

#[test]
fn a_container_may_have_two_attachments() {
    let (host, _ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({})));
    let second = layer2(json!({ "bridge": "br1", "name": "other" }));
    plugin(&host).ifname("eth1").add(&c1, &second).succeeds();
    plugin(&host).ifname("eth2").add(&c1, &second).succeeds();
    plugin(&host).ifname("eth1").del(&c1, &second).succeeds();
    assert!(c1.link("eth0").is_some() && c1.link("eth1").is_none() && c1.link("eth2").is_some());
    assert!(c1.ping("10.1.0.1"));
}

#[test]
fn an_ipam_plugin_that_may_need_the_link_finds_it_up() {
    let (host, ipam) = host();
    let c1 = host.container("c1");
    ipam.does(
        "ADD",
        "nsenter --net=$CNI_NETNS ip -br link show $CNI_IFNAME > /run/ipam/link",
    );
    let conf = layer3(json!({ "ipam": { "type": super::ipam::CAREFUL } }));
    plugin(&host).add(&c1, conf).succeeds();
    let seen = std::fs::read_to_string("/run/ipam/link").unwrap();
    assert!(seen.contains("eth0") && seen.contains("UP"), "{seen}");
    assert!(c1.ping("10.1.0.1") && c1.ping("fd01::1"));
}

#[test]
fn dns_of_the_configuration_stands_in_the_result() {
    let (host, _ipam) = host();
    let dns = json!({ "nameservers": ["10.1.0.1"], "search": ["example.org"] });
    let (_c1, result) = attached(&host, "c1", &layer3(json!({ "dns": dns })));
    assert_eq!(result["dns"], dns);
}

#[test]
fn a_link_local_gateway_stands_beside_the_bridges_own_address() {
    let (host, ipam) = host();
    for (name, address) in [("c1", "fd01::2/64"), ("c2", "fd01::3/64")] {
        ipam.gives(
            name,
            json!({ "ips": [{ "address": address, "gateway": "fe80::1" }] }),
        );
        let (container, _) = attached(
            &host,
            name,
            &layer3(json!({ "isDefaultGateway": true, "forceAddress": true })),
        );
        assert!(container.ping("fe80::1%eth0"));
        let default = "default via fe80::1 dev eth0";
        let routes = container.sh("ip -6 route");
        assert!(routes.contains(default), "{routes}");
    }
    let addresses = host.addrs("br0");
    assert_eq!(addresses.len(), 2, "the kernel's own stays: {addresses:?}");
}
