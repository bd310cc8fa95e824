//! Every plugin, and the chain, killed and failing at each of its system calls in turn.
#![cfg(test)]

mod bridge;
mod crowd;
mod daemon;
mod dhcp;
mod reload;
#[cfg(feature = "stock-kernel-faults")]
mod tagged;

#[cfg(feature = "stock-kernel-faults")]
use bridge::vlan_bridge_attach;
use bridge::{
    adopting_bridge_attach, bridge, bridge_attach, chained_bridge_attach, segment_bridge_attach,
    tidy_bridge_attach, uplinked_bridge_attach,
};
use dhcp::{bridged_dhcp_ipam, bridged_dhcp_ipam_for_ipv6};
use plumb_tests::faults::{Case, Fault, Leaves, Operation, try_all};
use plumb_tests::{Container, Firewalld, Host, Value, conf, json};
#[cfg(feature = "stock-kernel-faults")]
use tagged::{direct_vlan, shared_vlan};

fn nothing(_: &Host, _: &Container) {}

/// That the first packet gets through is tested elsewhere: here a machine that is busy may lose time.
fn reaches_its_gateway(_: &Host, container: &Container) {
    assert!(container.reaches("10.1.0.1") && container.reaches("fd01::1"));
}

/// On the NIC itself, which any kernel can do.
fn vlan() -> Case {
    let conf = bridge(&json!({
        "type": "vlan",
        "master": "nic",
        "mode": "shared",
    }));
    Case {
        name: "vlan",
        chain: vec![("vlan", conf)],
        prepare: |host, _| {
            host.sh(
                "ip link add nic type veth peer name end; ip link set end up; ip link set nic up",
            );
            // The gateway is at the other end of the cable.
            host.sh("ip link add br1 type bridge; ip link set end master br1; ip link set br1 up");
            host.sh("ip addr add 10.1.0.1/24 dev br1; ip addr add fd01::1/64 dev br1 nodad");
        },
        works: reaches_its_gateway,
        leaves: Leaves::NothingButToGc,
        repeatable: false,
    }
}

fn static_ipam() -> Case {
    Case {
        name: "static-ipam",
        chain: vec![("static-ipam", bridge(&json!({})))],
        prepare: nothing,
        works: nothing,
        leaves: Leaves::Nothing,
        repeatable: true,
    }
}

/// With all that it changes, beside an iptables that stops what it does not know.
fn masquerade() -> Case {
    let conf = conf(
        "masquerade",
        json!({
            "forward": "stateful",
            "sources": ["10.90.0.0/16"],
            "bridgeNfCall": false,
            "restoreSysctls": true,
            "prevResult": {
                "cniVersion": "1.1.0",
                "interfaces": [{ "name": "br1" }, { "name": "eth0", "sandbox": "/run/netns/c1" }],
                "ips": [
                    { "interface": 1, "address": "10.77.0.2/16" },
                    { "interface": 1, "address": "fd77::2/64" },
                ],
            },
        }),
    );
    Case {
        name: "masquerade",
        chain: vec![("masquerade", conf)],
        prepare: |host, _| {
            host.sh("ip link add br1 type bridge; echo 0 > /proc/sys/net/ipv6/conf/br1/accept_dad");
            host.sh("ip addr add 10.77.0.1/16 dev br1; ip addr add fd77::1/64 dev br1");
            host.sh("ip link set br1 up; iptables -P FORWARD DROP; mkdir -p /run/plumb");
        },
        works: nothing,
        leaves: Leaves::Nothing,
        repeatable: true,
    }
}

/// On a host whose firewall is legacy iptables, whose programs are tried at each of their points as well.
fn legacy_masquerade() -> Case {
    Case {
        name: "masquerade with legacy iptables",
        prepare: |host, container| {
            (masquerade().prepare)(host, container);
            host.sh("iptables-legacy -P FORWARD DROP");
        },
        ..masquerade()
    }
}

/// With ports, where the container is the only one that has any.
fn publishing_masquerade() -> Case {
    let [(name, mut conf)] = <[_; 1]>::try_from(masquerade().chain).unwrap();
    conf["forward"] = json!("isolated");
    conf["publish"] = json!(["8080:80", "53:53/udp", "127.0.0.1:9000:9000"]);
    conf["restoreSysctls"] = json!(false);
    conf["bridgeNfCall"] = Value::Null;
    conf["ipForward"] = json!(false);
    Case {
        name: "masquerade with published ports",
        chain: vec![(name, conf)],
        ..masquerade()
    }
}

/// On a host with firewalld, whose zone has been used before: it keeps the chains of one that has.
fn zoned_masquerade() -> Case {
    let [(name, mut conf)] = <[_; 1]>::try_from(masquerade().chain).unwrap();
    conf["backend"] = json!("firewalld");
    conf["restoreSysctls"] = json!(false);
    conf["bridgeNfCall"] = Value::Null;
    conf["ipForward"] = json!(false);
    Case {
        name: "masquerade with firewalld",
        chain: vec![(name, conf)],
        prepare: |host, container| {
            (masquerade().prepare)(host, container);
            // It ends with the thread of the test, as the host does.
            std::mem::forget(Firewalld::start(host));
            let [(name, conf)] = &zoned_masquerade().chain[..] else {
                panic!("one plugin")
            };
            host.plugin(name).add(container, conf).succeeds();
            host.plugin(name).del(container, conf).succeeds();
        },
        works: |host, _| {
            let listed = host.exec(["firewall-cmd", "--zone=trusted", "--list-sources"]);
            let mut listed: Vec<&str> = listed.split_whitespace().collect();
            listed.sort_unstable();
            assert_eq!(listed, ["10.77.0.2", "10.90.0.0/16", "fd77::2"]);
        },
        ..masquerade()
    }
}

fn chain() -> Case {
    let masquerade = conf("masquerade", json!({ "restoreSysctls": true }));
    let keys = json!({ "removeEmptyBridge": true, "ipForward": false });
    Case {
        name: "bridge-attach and masquerade",
        chain: vec![("bridge-attach", bridge(&keys)), ("masquerade", masquerade)],
        ..tidy_bridge_attach()
    }
}

/// One test for each case, operation and fault.
macro_rules! tests {
    ($($case:ident: $add_killed:ident $add_fails:ident $del_killed:ident $del_fails:ident;)*) => { $(
        #[test]
        fn $add_killed() {
            try_all(&$case(), Operation::Add, Fault::Killed);
        }
        #[test]
        fn $add_fails() {
            try_all(&$case(), Operation::Add, Fault::Fails);
        }
        #[test]
        fn $del_killed() {
            try_all(&$case(), Operation::Del, Fault::Killed);
        }
        #[test]
        fn $del_fails() {
            try_all(&$case(), Operation::Del, Fault::Fails);
        }
    )* };
}

tests! {
    bridge_attach:
        add_of_bridge_attach_is_killed
        add_of_bridge_attach_fails
        del_of_bridge_attach_is_killed
        del_of_bridge_attach_fails;
    tidy_bridge_attach:
        add_of_a_tidy_bridge_attach_is_killed
        add_of_a_tidy_bridge_attach_fails
        del_of_a_tidy_bridge_attach_is_killed
        del_of_a_tidy_bridge_attach_fails;
    uplinked_bridge_attach:
        add_of_a_bridge_attach_with_an_uplink_is_killed
        add_of_a_bridge_attach_with_an_uplink_fails
        del_of_a_bridge_attach_with_an_uplink_is_killed
        del_of_a_bridge_attach_with_an_uplink_fails;
    segment_bridge_attach:
        add_of_a_bridge_attach_with_a_segment_is_killed
        add_of_a_bridge_attach_with_a_segment_fails
        del_of_a_bridge_attach_with_a_segment_is_killed
        del_of_a_bridge_attach_with_a_segment_fails;
    chained_bridge_attach:
        add_of_a_chained_bridge_attach_is_killed
        add_of_a_chained_bridge_attach_fails
        del_of_a_chained_bridge_attach_is_killed
        del_of_a_chained_bridge_attach_fails;
    vlan:
        add_of_vlan_is_killed
        add_of_vlan_fails
        del_of_vlan_is_killed
        del_of_vlan_fails;
    adopting_bridge_attach:
        add_of_an_adopting_bridge_attach_is_killed
        add_of_an_adopting_bridge_attach_fails
        del_of_an_adopting_bridge_attach_is_killed
        del_of_an_adopting_bridge_attach_fails;
    bridged_dhcp_ipam:
        add_of_a_bridge_attach_with_dhcp_ipam_is_killed
        add_of_a_bridge_attach_with_dhcp_ipam_fails
        del_of_a_bridge_attach_with_dhcp_ipam_is_killed
        del_of_a_bridge_attach_with_dhcp_ipam_fails;
    bridged_dhcp_ipam_for_ipv6:
        add_of_a_bridge_attach_with_dhcp_ipam_for_ipv6_is_killed
        add_of_a_bridge_attach_with_dhcp_ipam_for_ipv6_fails
        del_of_a_bridge_attach_with_dhcp_ipam_for_ipv6_is_killed
        del_of_a_bridge_attach_with_dhcp_ipam_for_ipv6_fails;
    static_ipam:
        add_of_static_ipam_is_killed
        add_of_static_ipam_fails
        del_of_static_ipam_is_killed
        del_of_static_ipam_fails;
    masquerade:
        add_of_masquerade_is_killed
        add_of_masquerade_fails
        del_of_masquerade_is_killed
        del_of_masquerade_fails;
    legacy_masquerade:
        add_of_masquerade_with_legacy_iptables_is_killed
        add_of_masquerade_with_legacy_iptables_fails
        del_of_masquerade_with_legacy_iptables_is_killed
        del_of_masquerade_with_legacy_iptables_fails;
    publishing_masquerade:
        add_of_a_publishing_masquerade_is_killed
        add_of_a_publishing_masquerade_fails
        del_of_a_publishing_masquerade_is_killed
        del_of_a_publishing_masquerade_fails;
    zoned_masquerade:
        add_of_masquerade_with_firewalld_is_killed
        add_of_masquerade_with_firewalld_fails
        del_of_masquerade_with_firewalld_is_killed
        del_of_masquerade_with_firewalld_fails;
    chain:
        add_of_the_chain_is_killed
        add_of_the_chain_fails
        del_of_the_chain_is_killed
        del_of_the_chain_fails;
}

#[cfg(feature = "stock-kernel-faults")]
tests! {
    vlan_bridge_attach:
        add_of_a_bridge_attach_with_vlans_is_killed
        add_of_a_bridge_attach_with_vlans_fails
        del_of_a_bridge_attach_with_vlans_is_killed
        del_of_a_bridge_attach_with_vlans_fails;
    shared_vlan:
        add_of_a_shared_vlan_is_killed
        add_of_a_shared_vlan_fails
        del_of_a_shared_vlan_is_killed
        del_of_a_shared_vlan_fails;
    direct_vlan:
        add_of_a_direct_vlan_is_killed
        add_of_a_direct_vlan_fails
        del_of_a_direct_vlan_is_killed
        del_of_a_direct_vlan_fails;
}
