//! The specs of VLANs, which a stock kernel has.

use plumb_tests::{Host, Value, json};

use super::{
    ALSO_V6, V4, V6, add, assert_configured, assert_deleted, assert_gateways, assert_interfaces,
    for_each_version, has_interfaces, layer2, layer3,
};

/// The VLANs of a port, and how many links the host has.
fn vlans(host: &Host, port: &str) -> Vec<u64> {
    let text = host.exec(["bridge", "-j", "vlan", "show", "dev", port]);
    let all: Value = serde_json::from_str(&text).unwrap();
    let list = all[0]["vlans"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|vlan| vlan["vlan"].as_u64().unwrap())
        .collect()
}

#[test]
fn layer_2_in_vlans() {
    let trunk = json!([{ "id": 101 }, { "minID": 200, "maxID": 202 }]);
    for (keys, expected) in [
        (json!({ "vlan": 100 }), vec![100]),
        (
            json!({ "vlan": 100, "preserveDefaultVlan": false }),
            vec![100],
        ),
        (
            json!({ "vlan": 100, "preserveDefaultVlan": true }),
            vec![1, 100],
        ),
        (json!({ "vlanTrunk": trunk }), vec![1, 101, 200, 201, 202]),
        (
            json!({ "vlan": 100, "vlanTrunk": trunk }),
            vec![100, 101, 200, 201, 202],
        ),
    ] {
        for_each_version(|host, version| {
            if ![&"0.4.0", &"1.1.0"].contains(&&version) {
                return;
            }
            let conf = layer2(version, keys.clone());
            let (c1, plugin, added) = add(host, &conf);
            let near = assert_interfaces(host, &c1, version, &added.succeeds());
            let bridge = host.link("bridge0").unwrap();
            assert_eq!(bridge["linkinfo"]["info_data"]["vlan_filtering"], 1);
            assert_eq!(vlans(host, &near), expected);
            assert_configured(&c1, &[]);
            assert_deleted(host, &c1, &plugin, &conf, Some(&near));
        });
    }
}

#[test]
fn the_gateway_of_a_vlan() {
    for rows in [&[V4][..], &[V4, ALSO_V6, V6]] {
        for_each_version(|host, version| {
            if ![&"0.2.0", &"1.1.0"].contains(&&version) || rows.len() == 3 && version == "0.2.0" {
                return;
            }
            let conf = layer3(version, rows, json!({ "vlan": 100 }));
            let (c1, plugin, added) = add(host, &conf);
            let result = added.succeeds();
            let near =
                has_interfaces(version).then(|| assert_interfaces(host, &c1, version, &result));
            // The loopback, the bridge, the host's end, and a veth for the gateway.
            assert_eq!(host.links().len(), 5);
            let gateway = host.link("bridge0.100").unwrap();
            assert_eq!(gateway["linkinfo"]["info_kind"], "veth");
            if has_interfaces(version) {
                assert_eq!(result["interfaces"][3]["name"], "bridge0.100");
            }
            let port = host.link(gateway["link"].as_str().unwrap()).unwrap();
            assert_eq!(port["master"], "bridge0");
            assert_eq!(port["link"], "bridge0.100");
            assert_eq!(vlans(host, port["ifname"].as_str().unwrap()), [100]);
            assert_gateways(host, "bridge0.100", rows);
            assert_configured(&c1, rows);
            assert_deleted(host, &c1, &plugin, &conf, near.as_deref());
        });
    }
}
