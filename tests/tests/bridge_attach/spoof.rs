//! `macspoofchk` and `ipspoofchk`: a container sends under its own addresses only.

use std::time::Duration;

use plumb_tests::{Container, Host, Value, json, until};

use super::ipam::{CAREFUL, Ipam};
use super::masq::gone;
use super::{attached, host, layer2, layer3, plugin};

const SOON: Duration = Duration::from_secs(15);
const OWN: &str = "020000000001";
const FOREIGN: &str = "020000000099";

/// A guarded container c1, and c2 on the same bridge, which is not guarded.
struct Guarded {
    host: Host,
    _ipam: Ipam,
    c1: Container,
    c2: Container,
    conf: Value,
    result: Value,
}

fn guarded(keys: Value) -> Guarded {
    let (host, ipam) = host();
    let conf = layer3(keys);
    let c1 = host.container("c1");
    let args = plugin(&host).args("MAC=02:00:00:00:00:01");
    let result = args.add(&c1, &conf).succeeds();
    let (c2, _) = attached(&host, "c2", &layer3(json!({})));
    assert!(until(SOON, || c1.ping("10.1.0.3") && c1.ping("fd01::3")));
    Guarded {
        host,
        _ipam: ipam,
        c1,
        c2,
        conf,
        result,
    }
}

impl Guarded {
    /// Panics unless c2 gets, or does not get, a broadcast that c1 sends: source address, ether type and payload, in
    /// hexadecimal.
    #[track_caller]
    fn passes(&self, what: &str, source: &str, rest: &str, expected: bool) {
        // c1 may still be announcing its own address, by a request for it.
        let own = self.c2.capture(
            "eth0",
            "ether broadcast and (ether src 02:00:00:00:00:01 or ether src 02:00:00:00:00:99) \
             and not (arp and arp[24:4] = 0x0a010002)",
        );
        send(&self.c1, &format!("ffffffffffff{source}{rest}"));
        // Behind it comes one that passes in any case; two processors may swap them.
        send(
            &self.c1,
            &format!("ffffffffffff{OWN}{}", arp(OWN, "00000000", "0a010009")),
        );
        own.until_seen("who-has 10.1.0.9", SOON);
        let both_came = || own.packets().len() > 1;
        let passed = if expected {
            until(SOON, both_came)
        } else {
            both_came()
        };
        assert_eq!(passed, expected, "{what}: {:#?}", own.packets());
    }
}

/// Sends a frame by the container's eth0.
fn send(container: &Container, frame: &str) {
    let index = container.link("eth0").unwrap()["ifindex"].to_string();
    // struct sockaddr_ll (linux/if_packet.h)
    let script = "socket(S, 17, 3, 0) or die $!; \
        send(S, pack('H*', $ARGV[1]), 0, pack('SnlSCCa8', 17, 0, $ARGV[0], 0, 0, 6, '')) or die $!";
    container.exec(["perl", "-e", script, &index, frame]);
}

/// An ARP request with its ether type.
fn arp(sender: &str, ip: &str, target: &str) -> String {
    format!("0806000108000604{:04}{sender}{ip}000000000000{target}", 1)
}

/// An IPv4 packet to everybody, with its ether type.
fn packet(protocol: u8, source: &str, payload: &str) -> String {
    let length = 20 + payload.len() / 2;
    let header = |checksum: u16| {
        format!("4500{length:04x}00000000ff{protocol:02x}{checksum:04x}{source}ffffffff")
    };
    let words = header(0);
    let words =
        (0..words.len() / 4).map(|n| u32::from_str_radix(&words[4 * n..4 * n + 4], 16).unwrap());
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    format!("0800{}{payload}", header(!u16::try_from(sum).unwrap()))
}

/// One without payload; protocol 253 is for experiments (RFC 3692).
fn ipv4(source: &str) -> String {
    packet(253, source, "")
}

/// An IPv6 packet without payload, with its ether type, to all nodes.
fn ipv6(source: &str) -> String {
    format!("86dd600000000000fdff{source}ff020000000000000000000000000001")
}

#[test]
fn a_container_sends_under_its_own_ethernet_address_only() {
    let it = guarded(json!({ "macspoofchk": true }));
    let foreign_ip = ipv4("0a01004d");
    it.passes("another's IPv4", OWN, &foreign_ip, true);
    it.passes("another link's", FOREIGN, &foreign_ip, false);
    let foreign_arp = arp(FOREIGN, "0a01004d", "0a010001");
    it.passes("another link's in ARP", OWN, &foreign_arp, true);
    // Those that are not guarded are left alone.
    it.c2.sh("ip link set eth0 address 02:00:00:00:00:77");
    assert!(until(SOON, || it.c2.ping("10.1.0.1")));
    it.c1.sh("ip link set eth0 address 02:00:00:00:00:77");
    assert!(!it.c1.ping("10.1.0.1"));
}

#[test]
fn a_container_sends_under_its_own_ip_addresses_only() {
    let it = guarded(json!({ "ipspoofchk": true }));
    it.passes("another link's", FOREIGN, &ipv4("0a010002"), false);
    for (what, rest, passes) in [
        ("its IPv4 address", ipv4("0a010002"), true),
        ("another's", ipv4("0a010003"), false),
        ("none", ipv4("00000000"), false),
        ("a probe", arp(OWN, "00000000", "0a01004d"), true),
        ("its own in ARP", arp(OWN, "0a010002", "0a010001"), true),
        ("another's in ARP", arp(OWN, "0a010001", "0a010001"), false),
        (
            "another link's in ARP",
            arp(FOREIGN, "0a010002", "0a010001"),
            false,
        ),
        (
            "its IPv6 address",
            ipv6("fd010000000000000000000000000002"),
            true,
        ),
        (
            "its link-local one",
            ipv6("fe80000000000000000000fffe000001"),
            true,
        ),
        (
            "another's IPv6",
            ipv6("fd010000000000000000000000000003"),
            false,
        ),
        (
            "a router's",
            ipv6("fe800000000000000000000000000001"),
            false,
        ),
        (
            "two VLAN tags",
            format!("81000001810000{:02}{}", 2, ipv4("0a010002")),
            false,
        ),
        ("another protocol", "88b50000".to_owned(), false),
    ] {
        it.passes(what, OWN, &rest, passes);
    }
}

#[test]
fn a_container_answers_for_its_own_ipv6_addresses_only() {
    let it = guarded(json!({ "ipspoofchk": true }));
    it.c1.sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    it.c1.sh("echo 1 > /proc/sys/net/ipv6/conf/eth0/proxy_ndp");
    it.c1
        .sh("ip neigh add proxy fd01::88 dev eth0; ip -6 addr add fd01::99/64 dev eth0 nodad");
    let capture = it.c2.capture("eth0", "icmp6");
    assert!(!it.c2.ping("fd01::88") && !it.c2.ping("fd01::99"));
    let advertised = capture.packets().join("\n");
    assert!(!advertised.contains("tgt is fd01::88"), "{advertised}");
    assert!(!advertised.contains("tgt is fd01::99"), "{advertised}");
    // Without the guard it answers for both.
    it.host.sh("nft delete table bridge plumb");
    it.c2.ping("fd01::88");
    capture.until_seen("tgt is fd01::88", SOON);
    assert!(until(SOON, || it.c2.ping("fd01::99")));
}

#[test]
fn a_dhcp_client_of_a_guarded_port_reaches_its_server() {
    let (host, ipam) = host();
    let conf = layer3(json!({ "ipspoofchk": true, "ipam": { "type": CAREFUL } }));
    let (c2, _) = attached(&host, "c2", &layer3(json!({})));
    // What an IPAM plugin does while the link is up and has no address.
    ipam.does("ADD", "nft list ruleset > during");
    let (c1, result) = attached(&host, "c1", &conf);
    let during = std::fs::read_to_string("/run/ipam/during").unwrap();
    assert!(during.contains("testnet/c1/eth0"), "{during}");
    assert!(!during.contains("10.1.0.2"), "{during}");
    assert!(host.ruleset().contains("10.1.0.2"));
    assert!(until(SOON, || c1.ping("10.1.0.3")));
    let capture = c2.capture("eth0", "udp");
    let mac = result["interfaces"][2]["mac"]
        .as_str()
        .unwrap()
        .replace(':', "");
    // UDP from 68 to 67, without a checksum.
    let discover = packet(17, "00000000", "0044004300080000");
    send(&c1, &format!("ffffffffffff{mac}{discover}"));
    capture.until_seen("0.0.0.0.68 > 255.255.255.255.67", SOON);
    plugin(&host).netns("").del(&c1, &conf).succeeds();
    assert_eq!(host.ruleset(), "");
}

#[test]
fn del_leaves_nothing_with_or_without_namespace_and_result() {
    for keys in [
        json!({ "macspoofchk": true }),
        json!({ "ipspoofchk": true }),
    ] {
        let script = |host: &Host| {
            let conf = layer3(keys.clone());
            let (c1, result) = attached(host, "c1", &conf);
            let (c2, _) = attached(host, "c2", &conf);
            let (c3, _) = attached(host, "c3", &conf);
            plugin(host).previous(&result).del(&c1, &conf).succeeds();
            gone(host, "testnet/c1/eth0");
            c2.vanish();
            for _ in 0..2 {
                plugin(host).netns("").del(&c2, &conf).succeeds();
            }
            gone(host, "testnet/c2/eth0");
            assert!(host.ruleset().contains("testnet/c3/eth0"));
            plugin(host).del(&c3, &conf).succeeds();
            assert_eq!(host.ruleset(), "");
        };
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let (host, _ipam) = host();
                    script(&host);
                })
                .join()
                .unwrap();
        });
    }
}

#[test]
fn no_guard_stays_when_the_configuration_has_lost_the_key() {
    let it = guarded(json!({ "ipspoofchk": true }));
    let open = layer3(json!({}));
    let plugin = plugin(&it.host);
    attached(&it.host, "c3", &it.conf);
    for config in [&it.conf, &open] {
        let result = plugin.add(&it.c1, config);
        result.fails_with(101, "eth0");
        plugin.del(&it.c1, &open).succeeds();
        gone(&it.host, "testnet/c1/eth0");
        plugin.add(&it.c1, &open).succeeds();
        assert!(until(SOON, || it.c1.ping("10.1.0.3")));
        plugin.del(&it.c1, &open).succeeds();
        plugin.add(&it.c1, &it.conf).succeeds();
    }
    assert!(it.host.ruleset().contains("testnet/c3/eth0"));
    // An ADD that crashed late, and another configuration afterwards.
    let port = it.result["interfaces"][1]["name"].as_str().unwrap();
    let alias = it.host.link(port).unwrap()["ifalias"].clone();
    let alias = alias.as_str().unwrap();
    it.c1.sh("ip link del eth0");
    it.host.sh(&format!(
        "ip link add {port} type veth peer name end; ip link set {port} alias '{alias}'"
    ));
    plugin.add(&it.c1, &open).succeeds();
    assert!(until(SOON, || it.c1.ping("10.1.0.3")));
    assert!(!it.host.ruleset().contains("testnet/c1/eth0"));
}

#[test]
fn an_attachment_can_come_back_at_once() {
    let it = guarded(json!({ "ipspoofchk": true }));
    let args = plugin(&it.host).args("MAC=02:00:00:00:00:01");
    attached(&it.host, "c3", &it.conf);
    for _ in 0..3 {
        args.del(&it.c1, &it.conf).succeeds();
        let result = args.add(&it.c1, &it.conf).succeeds();
        assert!(until(SOON, || it.c1.ping("10.1.0.3")));
        let checked = plugin(&it.host).previous(&result);
        checked.check(&it.c1, &it.conf).succeeds();
    }
}

#[test]
fn gc_removes_the_guards_of_what_is_stale() {
    let it = guarded(json!({ "ipspoofchk": true }));
    attached(&it.host, "c3", &it.conf).0.vanish();
    let other = plumb_tests::conf_for(
        "other",
        "bridge-attach",
        json!({ "bridge": "br0", "macspoofchk": true }),
    );
    plugin(&it.host)
        .add(&it.host.container("c4"), &other)
        .succeeds();
    let gc = |valid| {
        plugin(&it.host)
            .valid(valid)
            .gc(layer2(json!({})))
            .succeeds()
    };
    gc([("c1", "eth0")]);
    gone(&it.host, "testnet/c3/eth0");
    assert!(it.host.ruleset().contains("testnet/c1/eth0"));
    assert!(it.host.ruleset().contains("other/c4/eth0"));
}

#[test]
fn a_port_is_not_guarded_for_a_vanished_container_that_had_its_name() {
    let it = guarded(json!({ "ipspoofchk": true }));
    let named = |keys: Value| {
        let mut conf = layer3(json!({ "hostInterfaceName": "port9" }));
        conf.as_object_mut()
            .unwrap()
            .extend(keys.as_object().unwrap().clone());
        conf
    };
    let vanishing = |name: &str| {
        let (gone, _) = attached(&it.host, name, &named(json!({ "ipspoofchk": true })));
        assert!(it.host.ruleset().contains(&format!("testnet/{name}/eth0")));
        gone.vanish();
        assert!(until(SOON, || it.host.link("port9").is_none()));
    };
    vanishing("c3");
    let open = named(json!({}));
    let (c4, _) = attached(&it.host, "c4", &open);
    gone(&it.host, "testnet/c3/eth0");
    assert!(until(SOON, || c4.ping("10.1.0.2")));
    assert!(it.host.ruleset().contains("testnet/c1/eth0"));
    plugin(&it.host).del(&c4, &open).succeeds();

    // Nor may a guarded one send as that one.
    vanishing("c5");
    let (c6, _) = attached(&it.host, "c6", &named(json!({ "macspoofchk": true })));
    gone(&it.host, "testnet/c5/eth0");
    assert!(it.host.ruleset().contains("testnet/c6/eth0"));
    assert!(until(SOON, || c6.ping("10.1.0.2")));
}

#[test]
fn a_guard_that_is_not_whole_is_drift() {
    let it = guarded(json!({ "ipspoofchk": true }));
    let check = || {
        plugin(&it.host)
            .previous(&it.result)
            .check(&it.c1, &it.conf)
    };
    check().succeeds();
    let port = it.result["interfaces"][1]["name"].as_str().unwrap();
    it.host.sh(&format!(
        "nft delete element bridge plumb ipv4 '{{ \"{port}\" . 10.1.0.2 }}'"
    ));
    check().fails_with(102, "10.1.0.2 in set bridge plumb ipv4");
    it.host.sh("nft flush chain bridge plumb spoof");
    check().fails_with(102, "missing");
}

#[test]
fn a_guard_that_cannot_be_made_undoes_the_attachment() {
    let (host, ipam) = host();
    host.sh("nft add table bridge plumb; nft add chain bridge plumb spoof");
    let before = host.state();
    let c1 = host.container("c1");
    let conf = layer3(json!({ "macspoofchk": true }));
    plugin(&host)
        .add(&c1, conf)
        .fails_with(100, "guard port veth");
    host.assert_unchanged_since(&before);
    assert_eq!(ipam.calls().last().unwrap(), "DEL c1 eth0");
}
