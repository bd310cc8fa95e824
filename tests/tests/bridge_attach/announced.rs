//! What others on the bridge hear of a new attachment.

use std::time::Duration;

use plumb_tests::{json, until};

use super::{attached, host, layer3, plugin};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn other_ports_hear_where_the_addresses_are() {
    let (host, _ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({})));
    let (c2, result) = attached(&host, "c2", &layer3(json!({})));
    plugin(&host)
        .previous(&result)
        .del(&c2, layer3(json!({})))
        .succeeds();
    let heard = c1.capture("eth0", "arp or icmp6");
    let result = plugin(&host).add(&c2, layer3(json!({}))).succeeds();
    let mac = result["interfaces"][2]["mac"].as_str().unwrap();
    heard.until_seen(
        &format!("{mac} > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 10.1.0.3 tell 10.1.0.3"),
        SOON,
    );
    heard.until_seen("neighbor advertisement, tgt is fd01::3", SOON);
    let count = |words: &str| {
        let packets = heard.packets();
        packets.iter().filter(|line| line.contains(words)).count()
    };
    // Each of them goes to every port of the bridge.
    assert_eq!(count("who-has 10.1.0.3 tell 10.1.0.3"), 1);
    assert_eq!(count("tgt is fd01::3"), 1);
}

#[test]
fn addresses_are_announced_where_packet_sockets_are_not_allowed() {
    let (host, _ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({})));
    let c2 = host.container("c2");
    let heard = c1.capture("eth0", "arp or icmp6");
    let unable = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    let plugin = plugin(&host).under(unable);
    plugin.add(&c2, layer3(json!({}))).succeeds();
    heard.until_seen("Request who-has 10.1.0.3 tell 10.1.0.3", SOON);
    heard.until_seen("neighbor advertisement, tgt is fd01::3", SOON);
}

#[test]
fn addresses_are_announced_where_parameters_cannot_be_written() {
    let (host, _ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({})));
    let c2 = host.container("c2");
    let heard = c1.capture("eth0", "arp or icmp6");
    host.make_read_only("/proc/sys");
    plugin(&host).add(&c2, layer3(json!({}))).succeeds();
    heard.until_seen("Request who-has 10.1.0.3 tell 10.1.0.3", SOON);
    heard.until_seen("neighbor advertisement, tgt is fd01::3", SOON);
}

#[test]
fn containers_reach_each_other_and_hear_where_an_address_moved() {
    let (host, ipam) = host();
    let (c1, _) = attached(&host, "c1", &layer3(json!({})));
    let (c2, result) = attached(&host, "c2", &layer3(json!({})));
    assert!(c1.ping("10.1.0.3") && c1.ping("fd01::3"));
    plugin(&host)
        .previous(&result)
        .del(&c2, layer3(json!({})))
        .succeeds();
    // c3 takes the addresses of c2: the stale neighbour entries of c1 must not stand in the way.
    ipam.gives(
        "c3",
        json!({ "ips": [{ "address": "10.1.0.3/24" }, { "address": "fd01::3/64" }] }),
    );
    let (_c3, result) = attached(&host, "c3", &layer3(json!({})));
    // A child tells, without anybody asking; how soon it runs is the machine's affair.
    let mac = result["interfaces"][2]["mac"].as_str().unwrap();
    let knows = |address: &str| {
        let known = c1.sh("ip neigh; ip -6 neigh");
        let mut lines = known.lines();
        lines.any(|line| line.starts_with(&format!("{address} ")) && line.contains(mac))
    };
    assert!(until(SOON, || knows("10.1.0.3") && knows("fd01::3")));
    assert!(c1.ping("10.1.0.3") && c1.ping("fd01::3"));
}
