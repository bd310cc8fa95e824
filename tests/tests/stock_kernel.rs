//! What tests with the feature `stock-kernel` take for granted of the kernel they run on.

#![cfg(test)]
#![cfg(feature = "stock-kernel")]

use std::time::Duration;

use plumb_tests::{Container, Host, until};

const SOON: Duration = Duration::from_mins(1);

/// A container on a bridge that filters VLANs, in one VLAN, without tags at its own end.
fn member(host: &Host, name: &str, vlan: u16, address: &str) -> Container {
    let container = host.container(name);
    host.sh(&format!(
        "ip link add v{name} type veth peer name eth0 netns {name}
         ip link set v{name} master br0 up
         bridge vlan del dev v{name} vid 1
         bridge vlan add dev v{name} vid {vlan} pvid untagged"
    ));
    container.sh(&format!(
        "ip addr add {address} dev eth0; ip link set eth0 up"
    ));
    assert!(until(SOON, || {
        host.link(&format!("v{name}")).unwrap()["operstate"] == "UP"
    }));
    container
}

#[test]
fn vlan_links_have_their_id_and_protocol() {
    let host = Host::new();
    host.sh("ip link add low type dummy
         ip link add link low outer type vlan protocol 802.1ad id 7
         ip link add link outer inner type vlan id 5");
    let data = |link: &str| host.link(link).unwrap()["linkinfo"]["info_data"].clone();
    assert_eq!(data("outer")["protocol"], "802.1ad");
    assert_eq!(data("outer")["id"], 7);
    assert_eq!(data("inner")["protocol"], "802.1Q");
    assert_eq!(data("inner")["id"], 5);
}

#[test]
fn a_bridge_keeps_vlans_apart() {
    let host = Host::new();
    host.sh("ip link add br0 up type bridge vlan_filtering 1");
    let c1 = member(&host, "c1", 10, "10.9.0.1/24");
    let _c2 = member(&host, "c2", 10, "10.9.0.2/24");
    let _c3 = member(&host, "c3", 20, "10.9.0.3/24");
    let ping = |to: &str| {
        c1.try_exec(["ping", "-c", "1", "-W", "5", to])
            .status
            .success()
    };
    assert!(ping("10.9.0.2"));
    assert!(!ping("10.9.0.3"));
}

#[test]
fn a_vrf_has_routes_of_its_own_and_netem_delays() {
    let host = Host::new();
    host.sh("ip link add red up type vrf table 9
         ip link add d0 up type dummy
         ip link set d0 master red
         ip addr add 10.9.0.1/24 dev d0
         tc qdisc add dev lo root netem delay 50ms");
    assert!(!host.routes().iter().any(|route| route.contains("10.9.0.")));
    assert!(host.sh("ip route show vrf red").contains("10.9.0.0/24"));
    let ping = host.exec(["ping", "-c", "1", "127.0.0.1"]);
    let (_, after) = ping.split_once("time=").unwrap();
    let (milliseconds, _) = after.split_once(' ').unwrap();
    assert!(milliseconds.parse::<f64>().unwrap() >= 100.0, "{ping}");
}
