//! IPv6 servers that are silent, change their mind, or give away what others have.

use std::fs;

use nix::sys::signal::Signal;
use plumb_tests::{json, until};

use crate::world::{SOON, World, alone, bridged};
use crate::world6::{addresses, leases6, v6};

#[test]
fn an_ipv6_address_that_another_host_has_is_declined() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "101");
    let _daemon = world.daemon();
    // One of the two addresses is taken by somebody who did not ask; which is dnsmasq's to choose first.
    let squatter = world.plugged("squatter");
    squatter.sh("ip link set eth0 up && ip addr add fd00:240::100/64 dev eth0 nodad");
    let keys =
        json!({ "ipv4": "off", "ipv6": { "mode": "dhcp", "dadMs": 500 }, "timeoutSecs": 60 });
    let (c1, c2) = (world.plugged("c1"), world.plugged("c2"));
    let first = world.plugin().add(&c1, alone(keys.clone())).succeeds();
    assert_eq!(addresses(&first), ["fd00:240::101/128"]);
    // There is no second one.
    let mut keys = keys;
    keys["timeoutSecs"] = json!(8);
    world
        .plugin()
        .add(&c2, alone(keys))
        .fails_with_words("within 8 s");
    dnsmasq.until_output_has("DHCPDECLINE", SOON);
}

#[test]
fn a_server_that_forgot_the_lease_makes_it_anew() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({ "ipv4": "off", "ipv6": "dhcp" }));
    let result = bridge.add(&c1, &conf).succeeds();
    dnsmasq.signal(Signal::SIGKILL);
    drop(dnsmasq);
    // The same server: its DUID is what is left.
    let text = fs::read_to_string("/run/dnsmasq6.leases").unwrap();
    let duid = text.lines().filter(|line| line.starts_with("duid"));
    fs::write("/run/dnsmasq6.leases", duid.collect::<String>() + "\n").unwrap();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    world.command(&["renew", "testnet/c1/eth0"]);
    dnsmasq.until_output_has("DHCPRENEW", SOON);
    let known = || leases6().len() == 1 && world.listed6("testnet/c1/eth0")["state"] == "BOUND";
    assert!(until(SOON, known), "{}", world.listed6("testnet/c1/eth0"));
    assert_eq!(v6(&c1), addresses(&result));
    bridge.previous(&result).check(&c1, conf).succeeds();
}

#[test]
fn a_lease_of_another_link_is_given_up_after_a_restart() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6_range("100", "1ff");
    let daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({ "ipv4": "off", "ipv6": "dhcp" }));
    let old = addresses(&bridge.add(&c1, &conf).succeeds());
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    dnsmasq.signal(Signal::SIGKILL);
    drop(dnsmasq);
    fs::remove_file("/run/dnsmasq6.leases").unwrap();
    world
        .server
        .sh("ip addr del fd00:240::1/64 dev eth0 && ip addr add fd00:241::1/64 dev eth0 nodad");
    let _dnsmasq = world.dnsmasq6(&[
        "--dhcp-authoritative",
        "--dhcp-range=fd00:241::100,fd00:241::1ff,64,2m",
    ]);
    let _daemon = world.daemon();
    let moved = || matches!(&v6(&c1)[..], [one] if one.starts_with("fd00:241::1"));
    assert!(until(SOON, moved), "{old:?} {:?}", v6(&c1));
    assert!(c1.reaches("fd00:241::1"));
}

#[test]
fn a_name_server_of_ipv4_in_the_form_of_ipv6_is_left_out() {
    let world = World::with_ipv6();
    let range = "--dhcp-range=fd00:240::100,fd00:240::1ff,64,2m";
    let servers = "--dhcp-option=option6:dns-server,[::ffff:192.0.2.1],[fd00:240::54]";
    let _dnsmasq = world.dnsmasq6(&["--dhcp-authoritative", range, servers]);
    let daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "ipv4": "off", "ipv6": "dhcp", "startDaemon": false }));
    let result = world.plugin().add(&c1, &conf).succeeds();
    assert_eq!(result["dns"]["nameservers"], json!(["fd00:240::54"]));
    // What was written is read again.
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    let _daemon = world.daemon();
    let listed = world.listed6("testnet/c1/eth0");
    assert_eq!(
        listed["address"],
        addresses(&result)[0].as_str(),
        "{listed}"
    );
}
