//! bridge-attach in the ways in which it leaves different things behind.

use std::time::Duration;

use plumb_tests::faults::{Case, Leaves};
use plumb_tests::{Value, conf, json, until};

use super::{nothing, reaches_its_gateway};

pub(super) fn bridge(keys: &Value) -> Value {
    let mut conf = conf(
        "bridge-attach",
        json!({
            "bridge": "br0",
            "isGateway": true,
            "hairpinMode": true,
            "mtu": 1400,
            "hostRoutes": [{ "dst": "10.9.0.0/16" }],
            "ipam": {
                "type": "static-ipam",
                "addresses": [
                    { "address": "10.1.0.2/24", "gateway": "10.1.0.1" },
                    { "address": "fd01::2/64", "gateway": "fd01::1" },
                ],
                "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            },
        }),
    );
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

/// With all the nftables rules that bridge-attach makes.
pub(super) fn guarded(keys: &Value) -> Value {
    let mut all = json!({ "ipMasq": true, "macspoofchk": true, "ipspoofchk": true });
    let keys = keys.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(keys);
    bridge(&all)
}

pub(super) fn bridge_attach() -> Case {
    Case {
        name: "bridge-attach",
        chain: vec![("bridge-attach", guarded(&json!({})))],
        prepare: nothing,
        works: reaches_its_gateway,
        leaves: Leaves::Bridge("br0"),
        repeatable: false,
    }
}

/// With all that makes it leave nothing behind.
pub(super) fn tidy_bridge_attach() -> Case {
    let conf = guarded(&json!({ "removeEmptyBridge": true, "ipForward": false }));
    Case {
        name: "bridge-attach with removeEmptyBridge",
        chain: vec![("bridge-attach", conf)],
        leaves: Leaves::Nothing,
        ..bridge_attach()
    }
}

/// On a bridge that is somebody else's, and has been used before: so it has its gateway addresses already.
pub(super) fn adopting_bridge_attach() -> Case {
    Case {
        name: "bridge-attach on a bridge of somebody else's",
        prepare: |host, container| {
            host.sh("ip link add br0 address 02:00:00:00:00:09 type bridge");
            host.sh("echo 0 > /proc/sys/net/ipv6/conf/br0/accept_dad");
            host.sh("ip link set br0 up");
            let [(name, conf)] = &tidy_bridge_attach().chain[..] else {
                panic!("one plugin")
            };
            host.plugin(name).add(container, conf).succeeds();
            host.plugin(name).del(container, conf).succeeds();
            // The kernel notices a moment later that it has no port any more.
            let is_down = || host.link("br0").unwrap()["operstate"] == "DOWN";
            assert!(until(Duration::from_secs(20), is_down));
        },
        ..tidy_bridge_attach()
    }
}

/// On the network of a NIC of the host, whose addresses move to the bridge, with routing rules in the container.
pub(super) fn uplinked_bridge_attach() -> Case {
    let conf = bridge(&json!({
        "isGateway": false,
        "uplink": "nic",
        "moveAddresses": true,
        "removeEmptyBridge": true,
        "replaceDefaultRoute": true,
        "rules": [{ "from": "self", "table": 100 }],
    }));
    Case {
        name: "bridge-attach with an uplink and rules",
        chain: vec![("bridge-attach", conf)],
        prepare: |host, container| {
            host.sh("ip link add nic type veth peer name end; ip link add br1 type bridge");
            for link in ["nic", "end", "br1"] {
                host.sh(&format!(
                    "ip link set {link} addrgenmode none; ip link set {link} up"
                ));
            }
            host.sh("ip addr add 10.1.0.200/24 dev nic");
            host.sh("ip addr add fd01::200/64 dev nic nodad");
            // The gateway is at the other end of the cable.
            host.sh("ip link set end master br1");
            host.sh("ip addr add 10.1.0.1/24 dev br1; ip addr add fd01::1/64 dev br1 nodad");
            container.sh("ip link add br9 type bridge; ip link set br9 addrgenmode none");
            container.sh("ip link set br9 up; ip addr add 10.99.0.2/24 dev br9; ip route add default via 10.99.0.1");
        },
        leaves: Leaves::NothingButToGc,
        ..tidy_bridge_attach()
    }
}

/// In a segment over several hosts.
pub(super) fn segment_bridge_attach() -> Case {
    let conf = bridge(&json!({
        "uplink": { "vxlan": { "vni": 7, "remote": ["10.70.0.2", "10.70.0.3"] } },
        "removeEmptyBridge": true,
        "ipForward": false,
    }));
    Case {
        name: "bridge-attach with a VXLAN segment",
        chain: vec![("bridge-attach", conf)],
        ..tidy_bridge_attach()
    }
}

/// In a VLAN, with a trunk, a gateway interface and a segment that carries the VLANs.
#[cfg(feature = "stock-kernel-faults")]
pub(super) fn vlan_bridge_attach() -> Case {
    let conf = bridge(&json!({
        "vlan": 7,
        "vlanTrunk": [{ "minID": 100, "maxID": 200 }, { "id": 300 }],
        "uplink": { "vxlan": { "vni": 7, "remote": "10.70.0.2" } },
        "removeEmptyBridge": true,
        "ipForward": false,
    }));
    Case {
        name: "bridge-attach with VLANs",
        chain: vec![("bridge-attach", conf)],
        ..tidy_bridge_attach()
    }
}

/// Chained, with an interface that the plugin before made.
pub(super) fn chained_bridge_attach() -> Case {
    let conf = conf(
        "bridge-attach",
        json!({
            "bridge": "br0",
            "adopt": true,
            "isGateway": true,
            "ipForward": false,
            "hairpinMode": true,
            "ipspoofchk": true,
            "prevResult": {
                "cniVersion": "1.1.0",
                "interfaces": [
                    { "name": "tap0" },
                    { "name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1" },
                ],
                "ips": [{ "interface": 1, "address": "10.1.0.2/24", "gateway": "10.1.0.1" }],
            },
        }),
    );
    Case {
        name: "bridge-attach with adopt",
        chain: vec![("bridge-attach", conf)],
        prepare: |host, container| {
            host.sh("ip link add tap0 type veth peer name eth0 address 02:00:00:00:00:01 netns c1");
            host.sh("ip link set tap0 addrgenmode none; ip link set tap0 up");
            container.sh("ip link set eth0 addrgenmode none; ip link set eth0 up");
            container.sh("ip addr add 10.1.0.2/24 dev eth0");
            let settled = || host.link("tap0").unwrap()["operstate"] == "UP";
            assert!(until(Duration::from_secs(20), settled));
        },
        // No ping: the container keeps its interface, and remembers the address of a bridge that has gone.
        works: |host, _| assert_eq!(host.link("tap0").unwrap()["master"], "br0"),
        leaves: Leaves::Bridge("br0"),
        repeatable: true,
    }
}
