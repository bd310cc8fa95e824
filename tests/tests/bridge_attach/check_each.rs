//! CHECK, comparison by comparison: what is changed is named with what was expected and what was found, and is fine again
//! when it is put back.

use plumb_tests::{Container, Host, Value, json};

use super::ipam::Ipam;
use super::{attached, host, host_end, layer3, plugin};

/// An attachment that has everything that a kernel without VLANs compares.
struct Whole {
    host: Host,
    _ipam: Ipam,
    c1: Container,
    conf: Value,
    result: Value,
}

impl Whole {
    fn new() -> Self {
        let (host, ipam) = host();
        host.sh("ip link add nic type veth peer name end; ip link set end up; ip link set nic up");
        let route = |dst: &str, more: Value| {
            let mut route = json!({ "dst": dst });
            route
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            route
        };
        ipam.gives(
            "c1",
            json!({
                "ips": [
                    { "address": "10.1.0.2/24", "gateway": "10.1.0.1" },
                    { "address": "fd01::2/64", "gateway": "fd01::1" },
                ],
                "routes": [
                    route("192.0.2.0/24", json!({ "mtu": 1300, "advmss": 1200, "priority": 7 })),
                    route("198.51.100.0/24", json!({ "table": 55 })),
                    route("203.0.113.7/32", json!({ "scope": 253 })),
                ],
            }),
        );
        // Its ports do not forward before the test is over: from then on the kernel would, for a while, go by another
        // ageing time.
        let conf = layer3(json!({
            "isDefaultGateway": true,
            "stp": true,
            "forwardDelay": 30,
            "ageingTime": 60,
            "multicastSnooping": false,
            "promiscMode": true,
            "portIsolation": true,
            "uplink": "nic",
            "hostRoutes": [{ "dst": "10.9.0.0/16" }],
            "rules": [{ "from": "self", "table": 100 }],
            "ipspoofchk": true,
            "ipMasq": true,
        }));
        let (c1, result) = attached(&host, "c1", &conf);
        Self {
            host,
            _ipam: ipam,
            c1,
            conf,
            result,
        }
    }

    fn check(&self) -> plumb_tests::Outcome {
        plugin(&self.host)
            .previous(&self.result)
            .check(&self.c1, &self.conf)
    }

    /// Changes something on the host, and puts it back.
    #[track_caller]
    fn on_host(&self, change: &str, words: &str, back: &str) {
        self.host.sh(change);
        self.check().fails_with(102, words);
        self.host.sh(back);
        self.check().succeeds();
    }

    /// Changes something in the container, and puts it back.
    #[track_caller]
    fn inside(&self, change: &str, words: &str, back: &str) {
        self.c1.sh(change);
        self.check().fails_with(102, words);
        self.c1.sh(back);
        self.check().succeeds();
    }
}

#[test]
fn of_the_bridge() {
    let whole = Whole::new();
    whole.check().succeeds();
    let bridge = "ip link set br0 type bridge";
    for (option, other, own, words) in [
        (
            "stp_state",
            "0",
            "1",
            "stp of br0: expected true, found false",
        ),
        (
            "forward_delay",
            "400",
            "3000",
            "forwardDelay of br0: expected 30, found 4",
        ),
        (
            "ageing_time",
            "30000",
            "6000",
            "ageingTime of br0: expected 60, found 300",
        ),
        (
            "mcast_snooping",
            "1",
            "0",
            "multicastSnooping of br0: expected false, found true",
        ),
    ] {
        let set = |value| format!("{bridge} {option} {value}");
        whole.on_host(&set(other), words, &set(own));
    }
    whole.on_host(
        "ip link set br0 promisc off",
        "promiscuous mode of br0: expected on, found off",
        "ip link set br0 promisc on",
    );
    let mac = whole.host.link("br0").unwrap()["address"].clone();
    let mac = mac.as_str().unwrap();
    whole.on_host(
        "ip link set br0 address 02:00:00:00:00:99",
        &format!("address of br0: expected {mac}, found 02:00:00:00:00:99"),
        &format!("ip link set br0 address {mac}"),
    );
    whole.on_host(
        "ip addr del fd01::1/64 dev br0",
        "address on br0: expected fd01::1/64",
        "ip addr add fd01::1/64 dev br0 nodad",
    );
    whole.on_host(
        "ip route del 10.9.0.0/16",
        "host route to 10.9.0.0/16: expected gateway 10.1.0.2, found none",
        "ip route add 10.9.0.0/16 via 10.1.0.2 dev br0 proto 80",
    );
    whole.on_host(
        "ip link set nic nomaster",
        "uplink[0]: expected port of br0, found none",
        "ip link set nic master br0",
    );
    whole.on_host(
        "ip link set nic down",
        "state of nic: expected up, found down",
        "ip link set nic up",
    );
    whole.host.sh("ip link set br0 down");
    whole
        .check()
        .fails_with(102, "state of br0: expected up, found down");
    whole.host.sh("ip link del br0");
    whole
        .check()
        .fails_with(102, "bridge: expected br0, found nothing");
    whole.host.sh("ip link add br0 type veth peer name br1");
    whole
        .check()
        .fails_with(102, "kind of br0: expected bridge, found veth");
}

#[test]
fn of_the_hosts_end() {
    let whole = Whole::new();
    let near = host_end(&whole.result);
    let link = whole.host.link(&near).unwrap();
    let (mac, mtu) = (link["address"].as_str().unwrap(), &link["mtu"]);
    let alias = link["ifalias"].as_str().unwrap();
    for (change, words, back) in [
        (
            format!("bridge link set dev {near} isolated off"),
            format!("isolation of {near}: expected true, found false"),
            format!("bridge link set dev {near} isolated on"),
        ),
        (
            format!("bridge link set dev {near} hairpin on"),
            format!("hairpin mode of {near}: expected false, found true"),
            format!("bridge link set dev {near} hairpin off"),
        ),
        (
            format!("ip link set {near} address 02:00:00:00:00:98"),
            format!("address of {near}: expected {mac}, found 02:00:00:00:00:98"),
            format!("ip link set {near} address {mac}"),
        ),
        (
            format!("ip link set {near} mtu 1400"),
            format!("mtu of {near}: expected {mtu}, found 1400"),
            format!("ip link set {near} mtu {mtu}"),
        ),
        (
            format!("ip link set {near} down"),
            format!("state of {near}: expected up, found down"),
            format!("ip link set {near} up"),
        ),
        (
            format!("ip link set {near} alias other"),
            format!("owner of {near}: expected testnet/c1/eth0, found other"),
            format!("ip link set {near} alias '{alias}'"),
        ),
    ] {
        whole.on_host(&change, &words, &back);
    }
    whole.host.sh(&format!("ip link set {near} nomaster"));
    let words = format!("bridge of {near}: expected br0, found another or none");
    whole.check().fails_with(102, &words);
    whole.host.sh(&format!("ip link del {near}"));
    whole.check().fails_with(
        102,
        "interface in the container: expected eth0, found nothing",
    );
    whole.c1.sh("ip link add eth0 type bridge");
    let words = format!("host interface: expected veth {near}, found none");
    whole.check().fails_with(102, &words);
}

#[test]
fn of_the_container() {
    let whole = Whole::new();
    for (change, words, back) in [
        (
            "ip -6 route replace default via fd01::77 dev eth0",
            "route to ::/0: expected gateway fd01::1, found gateway fd01::77",
            "ip -6 route replace default via fd01::1 dev eth0",
        ),
        (
            "ip route replace 192.0.2.0/24 via 10.1.0.1 metric 7 mtu 1280 advmss 1200",
            "mtu of the route to 192.0.2.0/24: expected 1300, found 1280",
            "ip route replace 192.0.2.0/24 via 10.1.0.1 metric 7 mtu 1300 advmss 1200",
        ),
        (
            "ip route del 192.0.2.0/24; ip route add 192.0.2.0/24 via 10.1.0.1 metric 8 mtu 1300 advmss 1200",
            "route to 192.0.2.0/24: expected metric 7, found none",
            "ip route del 192.0.2.0/24; ip route add 192.0.2.0/24 via 10.1.0.1 metric 7 mtu 1300 advmss 1200",
        ),
        (
            "ip route del 198.51.100.0/24 table 55; ip route add 198.51.100.0/24 via 10.1.0.1",
            "route to 198.51.100.0/24: expected table 55, found none",
            "ip route del 198.51.100.0/24; ip route add 198.51.100.0/24 via 10.1.0.1 table 55",
        ),
        (
            "ip route replace 203.0.113.7 dev eth0 scope global",
            "scope of the route to 203.0.113.7/32: expected 253, found 0",
            "ip route del 203.0.113.7 scope global; ip route add 203.0.113.7 dev eth0 scope link",
        ),
        (
            "ip rule del from 10.1.0.2 table 100",
            "routing rule: expected from 10.1.0.2/32 lookup 100, found none",
            "ip rule add from 10.1.0.2 table 100 protocol 80",
        ),
        (
            "ip route del default table 100",
            "route to 0.0.0.0/0: expected gateway 10.1.0.1 table 100, found none",
            "ip route add default via 10.1.0.1 table 100",
        ),
    ] {
        whole.inside(change, words, back);
    }
    // Another veth under the same name.
    whole
        .c1
        .sh("ip link set eth0 down; ip link set eth0 name old");
    whole
        .c1
        .sh("ip link add eth0 type veth peer name eth9; ip link set eth0 up");
    whole.check().fails_with(102, "other end of eth0");
}

#[test]
fn of_the_firewall() {
    let whole = Whole::new();
    let near = host_end(&whole.result);
    let link = whole.host.link(&near).unwrap();
    let alias = link["ifalias"].as_str().unwrap();
    let (tag, _) = alias.split_once(" guarded").unwrap();
    for (set, element) in [
        ("guarded", near.clone()),
        ("guarded-ip", near.clone()),
        ("ipv4", format!("{near} . 10.1.0.2")),
        ("ipv6", format!("{near} . fd01::2")),
    ] {
        let words = format!("in set bridge plumb {set}: expected {tag}, found none");
        let element = |more: &str| {
            let (port, rest) = element.split_at(near.len());
            format!("element bridge plumb {set} '{{ \"{port}\"{rest} {more} }}'")
        };
        whole.on_host(
            &format!("nft delete {}", element("")),
            &words,
            &format!("nft add {}", element(&format!("comment \"{tag}\""))),
        );
    }
    whole.host.sh("nft delete table inet plumb");
    whole
        .check()
        .fails_with(102, "inet plumb: set net-testnet-");
}

/// What others did is none of its business.
#[test]
fn and_nothing_else() {
    let whole = Whole::new();
    whole.c1.sh("ip link set eth0 promisc on; ip addr add 10.1.0.99/24 dev eth0; ip -6 addr add fd01::99/64 dev eth0 nodad");
    whole.c1.sh("ip route add 203.0.113.0/24 via 10.1.0.1; ip rule add from 10.1.0.99 table 77; sysctl -qw net.ipv4.conf.eth0.rp_filter=1");
    whole.host.sh("ip addr add 10.2.0.1/24 dev br0; ip route add 10.8.0.0/16 via 10.1.0.2; nft add table inet mine");
    let near = host_end(&whole.result);
    whole.host.sh(&format!(
        "bridge link set dev {near} learning off; ip link set {near} promisc on"
    ));
    whole.check().succeeds();
}
