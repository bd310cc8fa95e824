//! `vlan`, `vlanTrunk`, `preserveDefaultVlan`, and the gateway interface of a VLAN.

use plumb_tests::{Host, json};

use super::{attached, host, layer2, plugin};

/// Whether this kernel's bridges filter VLANs: those that cannot say all the same that they do not.
fn filters(host: &Host) -> bool {
    host.sh("ip link add probe0 type bridge");
    let set = "ip link set probe0 type bridge vlan_filtering 1";
    let filters = host.try_exec(["sh", "-c", set]).status.success();
    host.sh("ip link del probe0");
    filters
}

#[test]
fn a_kernel_whose_bridges_know_no_vlans_is_found_out() {
    let (host, _ipam) = host();
    if filters(&host) {
        return;
    }
    for (name, key, value) in [
        ("c1", "vlan", json!(7)),
        ("c2", "vlanTrunk", json!([{ "id": 7 }])),
        ("c3", "vlanFiltering", json!(true)),
    ] {
        let before = host.state();
        let words = format!("{key}: this kernel's bridges cannot have it (VLANs)");
        plugin(&host)
            .add(&host.container(name), layer2(json!({ key: value })))
            .fails_with(2, &words);
        host.assert_unchanged_since(&before);
    }
    attached(&host, "c4", &layer2(json!({ "vlanFiltering": false })));
    let before = host.state();
    plugin(&host)
        .add(
            &host.container("c5"),
            layer2(json!({ "vlanFiltering": true })),
        )
        .fails_with(2, "vlanFiltering: this kernel's bridges cannot have it");
    host.assert_unchanged_since(&before);
}

#[cfg(feature = "stock-kernel")]
mod stock {
    use std::time::Duration;

    use plumb_tests::{Container, Value, until};

    use super::*;
    use crate::{host_end, layer3, with};

    const SOON: Duration = Duration::from_secs(20);

    /// What `bridge vlan show` says of a port.
    fn members(host: &Host, port: &str) -> Vec<String> {
        let text = host.exec([
            "bridge",
            "-j",
            "-compressvlans",
            "vlan",
            "show",
            "dev",
            port,
        ]);
        let all: Value = serde_json(&text);
        let list = all[0]["vlans"].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|vlan| {
                let mut text = vlan["vlan"].to_string();
                if vlan["vlanEnd"].is_number() {
                    text = format!("{text}-{}", vlan["vlanEnd"]);
                }
                for flag in vlan["flags"].as_array().into_iter().flatten() {
                    text = format!("{text} {}", flag.as_str().unwrap());
                }
                text
            })
            .collect()
    }

    fn serde_json(text: &str) -> Value {
        text.parse().unwrap()
    }

    fn in_vlan(host: &Host, name: &str, vlan: u16, keys: Value) -> (Container, Value, Value) {
        let conf = with(layer3(json!({ "vlan": vlan })), keys);
        let (container, result) = attached(host, name, &conf);
        (container, result, conf)
    }

    #[test]
    fn ports_of_different_vlans_do_not_hear_each_other() {
        let (host, _ipam) = host();
        let flat = json!({ "isGateway": false });
        let (c1, result, conf) = in_vlan(&host, "c1", 7, flat.clone());
        let (c2, ..) = in_vlan(&host, "c2", 7, flat.clone());
        let (c3, ..) = in_vlan(&host, "c3", 8, flat);
        assert_eq!(
            members(&host, &host_end(&result)),
            ["7 PVID Egress Untagged"]
        );
        assert!(until(SOON, || c1.ping("10.1.0.3")));
        assert!(!c1.ping("10.1.0.4") && !c3.ping("10.1.0.3"));
        let check = || plugin(&host).previous(&result).check(&c1, &conf);
        check().succeeds();
        let port = host_end(&result);
        host.sh(&format!("bridge vlan add vid 1 dev {port}"));
        check().fails_with(102, "expected not 1, found 1, 7 PVID Egress Untagged");
        host.sh(&format!(
            "bridge vlan del vid 1 dev {port}; bridge vlan add vid 9 dev {port}"
        ));
        check().succeeds();
        host.sh(&format!("bridge vlan del vid 7 dev {port}"));
        check().fails_with(102, "expected 7 PVID Egress Untagged, found 9");
        drop(c2);
    }

    #[test]
    fn a_bridge_knows_the_tags_of_its_protocol() {
        let (host, _ipam) = host();
        let conf = |protocol: &str| layer2(json!({ "vlan": 7, "vlanProtocol": protocol }));
        let (c1, result) = attached(&host, "c1", &conf("802.1ad"));
        let bridge = host.link("br0").unwrap();
        assert_eq!(bridge["linkinfo"]["info_data"]["vlan_protocol"], "802.1ad");
        let check = |conf: Value| plugin(&host).previous(&result).check(&c1, conf);
        check(conf("802.1ad")).succeeds();
        check(conf("802.1Q")).fails_with(102, "vlanProtocol of br0: expected 802.1Q");
    }

    #[test]
    fn a_trunk_has_ranges_and_an_untagged_vlan() {
        let (host, _ipam) = host();
        let trunk =
            json!([{ "minID": 100, "maxID": 4094 }, { "id": 20 }, { "minID": 21, "maxID": 23 }]);
        for (name, vlan, preserve, expected) in [
            (
                "c1",
                0,
                false,
                vec!["1 PVID Egress Untagged", "20-23", "100-4094"],
            ),
            (
                "c2",
                7,
                false,
                vec!["7 PVID Egress Untagged", "20-23", "100-4094"],
            ),
            (
                "c3",
                22,
                false,
                vec!["20-21", "22 PVID Egress Untagged", "23", "100-4094"],
            ),
            (
                "c4",
                7,
                true,
                vec![
                    "1 Egress Untagged",
                    "7 PVID Egress Untagged",
                    "20-23",
                    "100-4094",
                ],
            ),
        ] {
            let conf = layer2(
                json!({ "vlan": vlan, "vlanTrunk": trunk, "preserveDefaultVlan": preserve }),
            );
            let (container, result) = attached(&host, name, &conf);
            assert_eq!(members(&host, &host_end(&result)), expected, "{name}");
            let checked = plugin(&host).previous(&result);
            checked.check(&container, &conf).succeeds();
        }
    }

    #[test]
    fn tagged_frames_of_a_trunk_reach_the_vlan() {
        let (host, _ipam) = host();
        let (c1, ..) = in_vlan(&host, "c1", 7, json!({ "isGateway": false }));
        let conf = layer2(json!({ "vlanTrunk": [{ "id": 7 }] }));
        let (router, _) = attached(&host, "router", &conf);
        router.sh("ip link add link eth0 name eth0.7 type vlan id 7; ip addr add 10.1.0.77/24 dev eth0.7; ip link set eth0.7 up");
        assert!(until(SOON, || c1.ping("10.1.0.77")));
    }

    #[test]
    fn an_empty_trunk_makes_the_bridge_filter_and_nothing_else() {
        let (host, _ipam) = host();
        let (_, result) = attached(&host, "c1", &layer2(json!({ "vlanTrunk": [] })));
        let bridge = host.link("br0").unwrap();
        assert_eq!(bridge["linkinfo"]["info_data"]["vlan_filtering"], 1);
        assert_eq!(
            members(&host, &host_end(&result)),
            ["1 PVID Egress Untagged"]
        );
    }

    #[test]
    fn a_bridge_that_is_there_filters_only_when_asked() {
        let (host, _ipam) = host();
        crate::adopt::occupied(&host);
        let before = host.state();
        let conf = layer2(json!({ "vlan": 7 }));
        plugin(&host)
            .add(&host.container("c1"), &conf)
            .fails_with(101, "vlan: the bridge does not filter VLANs");
        host.assert_unchanged_since(&before);
        let asked = with(conf.clone(), json!({ "vlanFiltering": true }));
        // Taken back when the attachment fails.
        let c2 = host.container("c2");
        c2.sh("ip link add eth0 type dummy");
        let taken = with(
            asked.clone(),
            json!({ "ipam": { "type": "host-local" }, "hostRoutes": [{ "dst": "10.9.0.0/16", "gw": "10.66.0.1" }] }),
        );
        plugin(&host).ifname("eth1").add(&c2, &taken).fails();
        host.assert_unchanged_since(&before);
        let (_, result) = attached(&host, "c3", &asked);
        assert_eq!(
            members(&host, &host_end(&result)),
            ["7 PVID Egress Untagged"]
        );
        attached(&host, "c4", &conf);
    }

    #[test]
    fn the_gateway_of_a_vlan_has_an_interface_of_its_own() {
        let (host, _ipam) = host();
        let keys = json!({ "isDefaultGateway": true, "ipMasq": true });
        let (c1, result, conf) = in_vlan(&host, "c1", 7, keys.clone());
        assert_eq!(result["interfaces"][3]["name"], "br0.7");
        let link = host.link("br0.7").unwrap();
        assert_eq!(result["interfaces"][3]["mac"], link["address"]);
        assert_eq!(link["linkinfo"]["info_kind"], "veth");
        assert!(
            host.addrs("br0")
                .iter()
                .all(|address| !address.starts_with("10."))
        );
        assert_eq!(host.addrs("br0.7")[0], "10.1.0.1/24");
        let port = link["link"].as_str().unwrap();
        assert_eq!(members(&host, port), ["7 PVID Egress Untagged"]);
        assert!(c1.ping("10.1.0.1") && c1.ping("fd01::1"));
        assert!(host.ruleset().contains("oifname != \"br0.7\""));
        plugin(&host).previous(&result).check(&c1, &conf).succeeds();
        host.sh("ip addr del 10.1.0.1/24 dev br0.7");
        plugin(&host)
            .previous(&result)
            .check(&c1, &conf)
            .fails_with(102, "address on br0.7: expected 10.1.0.1/24");
    }

    #[test]
    fn the_gateway_interface_goes_with_its_last_user() {
        let (host, _ipam) = host();
        let before = host.state();
        let keys = json!({ "removeEmptyBridge": true, "ipForward": false });
        let (c1, _, conf) = in_vlan(&host, "c1", 7, keys.clone());
        let (c2, ..) = in_vlan(&host, "c2", 7, keys.clone());
        let (c3, _, other) = in_vlan(&host, "c3", 8, keys);
        let named = |name: &str| host.link(name).is_some();
        plugin(&host).del(&c1, &conf).succeeds();
        assert!(named("br0.7") && named("br0.8"));
        c2.vanish();
        plugin(&host).netns("").del(&c2, &conf).succeeds();
        assert!(!named("br0.7") && named("br0.8"));
        plugin(&host).del(&c2, &conf).succeeds();
        plugin(&host).valid([]).gc(&other).succeeds();
        assert!(!named("br0.8"));
        host.assert_unchanged_since(&before);
        drop(c3);
    }

    #[test]
    fn check_sees_a_gateway_that_left_its_vlan() {
        let (host, _ipam) = host();
        let (c1, result, conf) = in_vlan(&host, "c1", 7, json!({}));
        let check = || plugin(&host).previous(&result).check(&c1, &conf);
        check().succeeds();
        let gateway = host.link("br0.7").unwrap();
        let port = gateway["link"].as_str().unwrap();
        host.sh(&format!("bridge vlan del vid 7 dev {port}"));
        check().fails_with(102, &format!("VLANs of {port}: expected 7"));
        host.sh(&format!("bridge vlan add vid 7 pvid untagged dev {port}"));
        check().succeeds();
        host.sh(&format!("ip link set {port} nomaster"));
        check().fails_with(102, &format!("bridge of {port}"));
    }

    #[test]
    fn a_gateway_interface_that_was_there_is_used_and_stays() {
        let (host, _ipam) = host();
        host.sh("ip link add br0 type bridge vlan_filtering 1; ip link set br0 up; bridge vlan add vid 7 dev br0 self");
        host.sh("ip link add link br0 name br0.7 type vlan id 7; ip link set br0.7 up");
        let (c1, _, conf) = in_vlan(&host, "c1", 7, json!({}));
        assert!(until(SOON, || c1.ping("10.1.0.1")));
        plugin(&host).del(&c1, &conf).succeeds();
        assert!(host.link("br0.7").is_some());
    }

    #[test]
    fn host_routes_of_a_vlan_lead_through_its_gateway_interface() {
        let (host, _ipam) = host();
        let keys = json!({ "hostRoutes": [{ "dst": "10.8.0.0/16" }] });
        let (c1, result, conf) = in_vlan(&host, "c1", 7, keys);
        let has = || {
            host.routes()
                .iter()
                .any(|route| route.contains("10.8.0.0/16 via 10.1.0.2 dev br0.7"))
        };
        assert!(has());
        plugin(&host).previous(&result).check(&c1, &conf).succeeds();
        let (_c2, ..) = in_vlan(&host, "c2", 7, json!({}));
        plugin(&host).del(&c1, &conf).succeeds();
        assert!(!has() && host.link("br0.7").is_some());
    }

    #[test]
    fn an_uplink_carries_the_vlans_of_the_containers_with_tags() {
        let (host, _ipam) = host();
        let world = host.container("world");
        host.sh("ip link add up0 type veth peer name up0 netns world; ip link set up0 up");
        world.sh("ip link set up0 up; ip link add link up0 name up0.7 type vlan id 7; ip addr add 10.1.0.77/24 dev up0.7; ip link set up0.7 up");
        let keys = json!({ "isGateway": false, "uplink": "up0" });
        let (c1, ..) = in_vlan(&host, "c1", 7, keys.clone());
        assert_eq!(members(&host, "up0"), ["1 PVID Egress Untagged", "7"]);
        let (c2, ..) = in_vlan(&host, "c2", 8, keys);
        assert_eq!(members(&host, "up0"), ["1 PVID Egress Untagged", "7-8"]);
        assert!(until(SOON, || c1.ping("10.1.0.77")));
        assert!(!c2.ping("10.1.0.77"));
        // What it has without a tag is the network's own VLAN, and stays so.
        let trunk = layer2(json!({ "uplink": "up0", "vlanTrunk": [{ "minID": 1, "maxID": 10 }] }));
        let (c3, result) = attached(&host, "c3", &trunk);
        assert_eq!(members(&host, "up0"), ["1 PVID Egress Untagged", "2-10"]);
        let check = || plugin(&host).previous(&result).check(&c3, &trunk);
        check().succeeds();
        host.sh("bridge vlan del dev up0 vid 7");
        check().fails_with(
            102,
            "VLANs of up0: expected 7, found 1 PVID Egress Untagged, 2-6, 8-10",
        );
    }

    #[test]
    fn eight_at_once_share_one_gateway_interface() {
        let (host, _ipam) = host();
        let conf = layer3(json!({ "vlan": 7, "removeEmptyBridge": true }));
        let containers: Vec<Container> = (1..9).map(|n| host.container(&format!("c{n}"))).collect();
        for _ in 0..2 {
            let results = plumb_tests::at_once(containers.len(), |n| {
                plugin(&host).add(&containers[n], &conf).succeeds()
            });
            assert!(
                results
                    .iter()
                    .all(|result| result["interfaces"][3] == results[0]["interfaces"][3])
            );
            assert!(containers.iter().all(|each| each.ping("10.1.0.1")));
            plumb_tests::at_once(containers.len(), |n| {
                plugin(&host).del(&containers[n], &conf).succeeds()
            });
            assert!(host.link("br0.7").is_none() && host.link("br0").is_none());
        }
    }
}
