//! `vlan` with a tag, which needs a kernel with 802.1Q.

use plumb_tests::faults::Case;
use plumb_tests::{Container, Host, json};

use super::{bridge, vlan};

fn prepare(host: &Host, _: &Container) {
    // The gateway is at the other end of the cable, and in the VLAN.
    host.sh(
        "ip link add nic type veth peer name end; ip link set end up; ip link set nic up
         ip link add link end name end.5 type vlan id 5; ip link set end.5 up
         ip addr add 10.1.0.1/24 dev end.5; ip addr add fd01::1/64 dev end.5 nodad",
    );
}

/// The first and last container on a link that it shares.
pub(super) fn shared_vlan() -> Case {
    let conf = bridge(&json!({ "type": "vlan", "master": "nic", "mode": "shared", "vlanId": 5 }));
    Case {
        name: "vlan with a shared link",
        chain: vec![("vlan", conf)],
        prepare,
        ..vlan()
    }
}

/// A container with the VLAN link itself. The host has a link of the interface's name, for which kernels before 6.14 want
/// a passing name.
pub(super) fn direct_vlan() -> Case {
    let conf = bridge(&json!({ "type": "vlan", "master": "nic", "vlanId": 5 }));
    Case {
        name: "vlan in mode direct",
        chain: vec![("vlan", conf)],
        prepare: |host, container| {
            prepare(host, container);
            host.sh("ip link add eth0 type dummy");
        },
        ..vlan()
    }
}
