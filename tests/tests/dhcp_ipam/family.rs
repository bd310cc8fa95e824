//! What differs between tests that are the same for IPv4 and IPv6.

use plumb_tests::{Container, Process, Value, json};

use crate::world::{self, World};
use crate::world6;

/// One family: its server, and how it is seen.
pub(crate) struct Family {
    pub(crate) world: fn() -> World,
    /// dnsmasq with a range of addresses.
    pub(crate) serve: fn(&World) -> Process,
    /// Keys of the plugin.
    pub(crate) keys: fn() -> Value,
    /// What the daemon says of an attachment.
    pub(crate) listed: fn(&World, &str) -> Value,
    /// The addresses of `eth0` that are of this family and more than the link's.
    pub(crate) found: fn(&Container) -> Vec<String>,
    /// Waits until dnsmasq has so many leases.
    pub(crate) until_leases: fn(usize),
    /// The address of the container `server`.
    pub(crate) server: &'static str,
    /// The option that has ISC dhcpd serve it.
    pub(crate) dhcpd: &'static str,
    /// Its configuration beside the times: what it gives out of, alone on the link.
    pub(crate) subnet: &'static str,
    /// dnsmasq with [`Family::two`] addresses and no others.
    pub(crate) serve_two: fn(&World) -> Process,
    /// These, as they would be given to an interface by hand.
    pub(crate) two: [&'static str; 2],
    /// What nft calls the messages with which dnsmasq grants: ACK, and Reply (RFC 8415, 7.3).
    pub(crate) grants: &'static str,
    /// The key that says how long neighbours are asked.
    pub(crate) patience: fn(&mut Value, u32),
}

pub(crate) const V4: Family = Family {
    world: World::new,
    serve: |world| world.dnsmasq(100, 150),
    keys: || json!({ "startDaemon": false }),
    listed: World::listed,
    found: world::v4,
    until_leases: world::until_leases,
    server: "10.240.0.1",
    dhcpd: "-4",
    subnet: "min-lease-time 1; ping-check false; authoritative;
        subnet 10.240.0.0 netmask 255.255.255.0 { range 10.240.0.100 10.240.0.110; }",
    serve_two: |world| world.dnsmasq(100, 101),
    two: ["10.240.0.100/24", "10.240.0.101/24"],
    // Option 53 is the first after the 240 bytes of RFC 2131, 2.
    grants: "udp sport 67 @th,1984,24 0x350105",
    patience: |keys, millis| keys["arpProbeMs"] = json!(millis),
};

pub(crate) const V6: Family = Family {
    world: World::with_ipv6,
    serve: |world| world.dnsmasq6_range("100", "1ff"),
    // With the length that no router says.
    keys: || {
        let ipv6 = json!({ "mode": "dhcp", "dadMs": 20, "routerAdvertisements": false, "prefixLength": 64 });
        json!({ "ipv4": "off", "ipv6": ipv6, "startDaemon": false })
    },
    listed: World::listed6,
    found: world6::v6,
    until_leases: world6::until_leases6,
    server: "fd00:240::1",
    dhcpd: "-6",
    subnet: "authoritative; subnet6 fd00:240::/64 { range6 fd00:240::100 fd00:240::1ff; }",
    serve_two: |world| world.dnsmasq6_range("100", "101"),
    two: ["fd00:240::100/64", "fd00:240::101/64"],
    grants: "udp sport 547 @th,64,8 7",
    patience: |keys, millis| keys["ipv6"]["dadMs"] = json!(millis),
};

impl Family {
    /// ISC dhcpd with these times and options in its configuration, and the leases that it had when it ran before; once it serves.
    #[track_caller]
    pub(crate) fn isc_dhcpd(&self, world: &World, options: &str) -> Process {
        std::fs::write("/run/dhcpd.conf", format!("{options}\n{}", self.subnet)).unwrap();
        let mut leases = std::fs::OpenOptions::new();
        drop(leases.create(true).append(true).open(LEASES).unwrap());
        let family = self.dhcpd;
        let line = format!(
            "dhcpd -f -d {family} -cf /run/dhcpd.conf -lf {LEASES} -pf /run/dhcpd.pid eth0"
        );
        let server = world.server.spawn(line.split(' ').collect::<Vec<_>>());
        server.until_output_has("Server starting service", world::SOON);
        server
    }
}

/// Where ISC dhcpd has its leases.
pub(crate) const LEASES: &str = "/run/dhcpd.leases";
