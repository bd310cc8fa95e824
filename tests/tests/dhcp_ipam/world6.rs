//! The same host with IPv6: the container `server` is `fd00:240::1/64`.

use std::fs;

use plumb_tests::{Container, Process, Value, until};

use crate::world::{SOON, World};

/// dnsmasq's option for a router advertisement alone, of which hosts make addresses.
pub(crate) const RA_ONLY: &str = "--dhcp-range=fd00:240::,ra-only,64,10m";
/// With DHCPv6 for what is no address.
pub(crate) const RA_STATELESS: &str = "--dhcp-range=fd00:240::,ra-stateless,64,10m";

impl World {
    /// A world with IPv6 in it.
    pub(crate) fn with_ipv6() -> Self {
        let world = Self::new();
        with_address6(&world.server);
        world
    }

    /// dnsmasq for IPv6, with these options; once it serves.
    #[track_caller]
    pub(crate) fn dnsmasq6(&self, options: &[&str]) -> Process {
        dnsmasq6_on(&self.server, options)
    }

    /// dnsmasq with addresses from `first` to `last`, of `fd00:240::`.
    #[track_caller]
    pub(crate) fn dnsmasq6_range(&self, first: &str, last: &str) -> Process {
        let range = format!("--dhcp-range=fd00:240::{first},fd00:240::{last},64,2m");
        self.dnsmasq6(&["--dhcp-authoritative", &range])
    }

    /// Has the server not hear the DHCPv6 messages of one type (RFC 8415, 7.3), or hear them all.
    pub(crate) fn deaf_to(&self, kind: Option<u8>) {
        let rule = kind.map(|kind| format!("@th,64,8 {kind} drop"));
        self.drop_at_the_server(rule.as_deref());
    }

    /// Has the server not hear the first message of a type.
    pub(crate) fn deaf_once_to(&self, kind: u8) {
        let rule = format!("@th,64,8 {kind} limit rate 1/day burst 1 packets drop");
        self.drop_at_the_server(Some(&rule));
    }

    /// Has a server that is deaf to something not hear anything more, with no moment between.
    pub(crate) fn deaf_to_the_rest(&self) {
        self.server
            .sh("nft add rule inet deaf in udp dport 547 drop");
    }

    fn drop_at_the_server(&self, rule: Option<&str>) {
        let base = "nft add table inet deaf; nft flush table inet deaf; \
            nft 'add chain inet deaf in { type filter hook input priority 0; }'";
        self.server.sh(base);
        if let Some(rule) = rule {
            let rule = format!("nft add rule inet deaf in udp dport 547 {rule}");
            self.server.sh(&rule);
        }
    }

    /// What the daemon says of an attachment's IPv6.
    #[track_caller]
    pub(crate) fn listed6(&self, attachment: &str) -> Value {
        let file = self.plugin().file().to_owned();
        let text = self
            .host
            .exec([file.as_os_str(), "list".as_ref(), "--json".as_ref()]);
        let list: Vec<Value> = serde_json::from_str(&text).unwrap();
        let found = list
            .into_iter()
            .find(|one| one["attachment"] == attachment && one["family"] == "ipv6");
        found.unwrap_or(Value::Null)
    }
}

/// Gives a server's `eth0` the address `fd00:240::1`; once it can be used.
#[track_caller]
pub(crate) fn with_address6(server: &Container) {
    server.sh("ip link set eth0 down");
    // Who advertises itself as a router and does not say so when it is asked as a neighbour is none any more: the
    // kernel takes its default route away (RFC 4861, 7.2.5).
    server.set_sysctl("net/ipv6/conf/all/forwarding", "1");
    // Its addresses are to be there when the server starts.
    server.set_sysctl("net/ipv6/conf/eth0/accept_dad", "0");
    server.sh("ip link set eth0 up && ip addr add fd00:240::1/64 dev eth0 nodad");
    // The kernel makes this address when it notices the carrier, and lets it be used a little later; Kea binds to it when
    // it starts or never.
    let has_link_local = || {
        let all = server.addr_info("eth0");
        let local = all.iter().find(|one| one["scope"] == "link");
        local.is_some_and(|one| one["tentative"].is_null())
    };
    assert!(until(SOON, has_link_local));
}

/// dnsmasq for IPv6 in a container whose `eth0` has an address of `fd00:240::/64`.
#[track_caller]
pub(crate) fn dnsmasq6_on(server: &Container, options: &[&str]) -> Process {
    let usual = [
        "--enable-ra",
        "--dhcp-leasefile=/run/dnsmasq6.leases",
        "--dhcp-option=option6:dns-server,[fd00:240::53]",
        "--dhcp-option=option6:domain-search,lab.example",
    ];
    let options = [&usual, options].concat();
    server.dnsmasq("eth0", &options, "router advertisement on")
}

/// The IPv6 addresses of an interface that are not link-local.
pub(crate) fn v6(container: &Container) -> Vec<String> {
    let all = container.addrs("eth0");
    let global = all.into_iter();
    global
        .filter(|each| each.contains(':') && !each.starts_with("fe80"))
        .collect()
}

/// What dnsmasq has in its lease file: `TIME IAID ADDRESS NAME DUID` each.
pub(crate) fn leases6() -> Vec<String> {
    let text = fs::read_to_string("/run/dnsmasq6.leases").unwrap_or_default();
    text.lines()
        .filter(|line| line.contains("fd00:240"))
        .map(str::to_owned)
        .collect()
}

/// Waits until dnsmasq has so many leases.
#[track_caller]
pub(crate) fn until_leases6(count: usize) {
    let right = until(SOON, || leases6().len() == count);
    assert!(right, "{count} leases expected: {:?}", leases6());
}

/// The addresses of a result.
#[track_caller]
pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap();
    let addresses = ips.iter().map(|ip| ip["address"].as_str().unwrap());
    addresses.map(str::to_owned).collect()
}
