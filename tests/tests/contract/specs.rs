//! What the specs of the reference plugin `bridge` look at, for each version of the specification.

use std::time::Duration;

use plumb_tests::{Container, Host, Outcome, Plugin, Value, conf, json, until};

use super::{kind, plugin, static_ipam, theirs};

const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

const MTU: u64 = 5000;

/// A subnet's first container, and its gateway.
type Row = [&'static str; 2];

const V4: Row = ["10.1.2.2/24", "10.1.2.1"];
const V6: Row = ["2001:db8::2/64", "2001:db8::1"];
const ALSO_V6: Row = ["fd00::2/64", "fd00::1"];

/// Runs one case for each version, each on a host of its own.
fn for_each_version(case: impl Fn(&Host, &str) + Sync) {
    for version in VERSIONS {
        std::thread::scope(|scope| {
            let run = scope.spawn(|| case(&Host::new(), version));
            assert!(run.join().is_ok(), "version {version}");
        });
    }
}

fn has_interfaces(version: &str) -> bool {
    version >= "0.3.0"
}

fn layer2(version: &str, keys: Value) -> Value {
    let base = json!({ "cniVersion": version, "bridge": "bridge0", "mtu": MTU, "ipam": {} });
    with(conf(kind("bridge-attach"), base), keys)
}

fn layer3(version: &str, rows: &[Row], keys: Value) -> Value {
    let addresses: Vec<Value> = rows
        .iter()
        .map(|[address, gateway]| json!({ "address": address, "gateway": gateway }))
        .collect();
    let ipam = static_ipam(&json!(addresses), &json!([]));
    with(
        layer2(version, json!({ "isDefaultGateway": true, "ipam": ipam })),
        keys,
    )
}

fn with(mut conf: Value, keys: Value) -> Value {
    let Value::Object(keys) = keys else {
        panic!("keys are an object")
    };
    conf.as_object_mut().unwrap().extend(keys);
    conf
}

fn add(host: &Host, conf: &Value) -> (Container, Plugin, Outcome) {
    let container = host.container("c1");
    let plugin = plugin(host, "bridge-attach");
    let outcome = plugin.add(&container, conf);
    (container, plugin, outcome)
}

/// The addresses of an interface, link-local ones aside, and how many link-local ones there are.
fn addresses(infos: &[Value]) -> (Vec<String>, usize) {
    let shown = |info: &Value| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]);
    let (own, others): (Vec<&Value>, Vec<&Value>) = infos
        .iter()
        .partition(|info| info["family"] == "inet6" && info["scope"] == "link");
    (others.into_iter().map(shown).collect(), own.len())
}

/// The three interfaces of an attachment, as the result and the kernel have them; gives the name of the host's end.
fn assert_interfaces(host: &Host, c1: &Container, version: &str, result: &Value) -> String {
    let interfaces = result["interfaces"].as_array().unwrap();
    let bridge = host.link("bridge0").unwrap();
    assert_eq!(interfaces[0]["name"], "bridge0");
    assert_eq!(interfaces[0]["mac"], bridge["address"]);
    let near = interfaces[1]["name"].as_str().unwrap();
    assert!(near.starts_with("veth"), "{near}");
    let link = host.link(near).unwrap();
    assert_eq!(link["linkinfo"]["info_kind"], "veth");
    if !theirs("a bridge without gateway takes its ports' addresses over") {
        assert_ne!(link["address"], bridge["address"]);
    }
    assert_eq!(interfaces[1]["mac"], link["address"]);
    let inner = c1.link("eth0").unwrap();
    assert_eq!(interfaces[2]["name"], "eth0");
    assert_eq!(interfaces[2]["mac"], inner["address"]);
    assert_eq!(interfaces[2]["sandbox"], "/run/netns/c1");
    assert_eq!((&inner["mtu"], &bridge["mtu"]), (&json!(MTU), &json!(MTU)));
    if version == "1.1.0" && !theirs("they tell no MTU") {
        assert!(
            interfaces.iter().take(3).all(|each| each["mtu"] == MTU),
            "{interfaces:?}"
        );
    }
    near.to_owned()
}

/// Addresses and default routes of the container.
fn assert_configured(c1: &Container, rows: &[Row]) {
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    let (mut found, link_local) = addresses(&c1.addr_info("eth0"));
    let mut expected: Vec<&str> = rows.iter().map(|[address, _]| *address).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(link_local, 1);
    let routes = c1.routes();
    for is_v6 in [false, true] {
        let mut gateways = rows
            .iter()
            .map(|[_, gateway]| gateway)
            .filter(|it| it.contains(':') == is_v6);
        if let Some(first) = gateways.next() {
            let default = format!("default via {first} dev eth0");
            assert!(
                routes.iter().any(|route| route.starts_with(&default)),
                "{routes:?}"
            );
        }
    }
}

fn assert_gateways(host: &Host, carrier: &str, rows: &[Row]) {
    let on_carrier = host.addrs(carrier);
    for [address, gateway] in rows {
        let prefix = address.split_once('/').unwrap().1;
        let gateway = format!("{gateway}/{prefix}");
        assert!(on_carrier.contains(&gateway), "{gateway}: {on_carrier:?}");
    }
}

/// DEL as the specs have it: without the result, then everything of the attachment is gone at once.
fn assert_deleted(host: &Host, c1: &Container, plugin: &Plugin, conf: &Value, near: Option<&str>) {
    plugin.del(c1, conf).succeeds();
    assert!(c1.link("eth0").is_none());
    assert!(near.is_none_or(|near| host.link(near).is_none()));
    assert!(host.link("bridge0").is_some());
    if conf["cniVersion"] == "1.1.0" {
        plugin.gc(conf).succeeds();
    }
}

#[test]
fn a_gateway_for_each_family_and_for_several() {
    for rows in [&[V4][..], &[V6], &[V4, V6], &[V4, ALSO_V6, V6]] {
        for_each_version(|host, version| {
            let conf = layer3(version, rows, json!({}));
            if version == "1.1.0" {
                plugin(host, "bridge-attach").status(&conf).succeeds();
            }
            let (c1, plugin, added) = add(host, &conf);
            if rows.len() == 3 && !has_interfaces(version) {
                let words = "does not support more than 1 address per family";
                added.fails_saying(&format!("CNI version {version} {words}"));
                return;
            }
            let result = added.succeeds();
            let near =
                has_interfaces(version).then(|| assert_interfaces(host, &c1, version, &result));
            // The loopback, the bridge, the host's end.
            assert_eq!(host.links().len(), 3);
            assert_configured(&c1, rows);
            assert_gateways(host, "bridge0", rows);
            if version >= "0.4.0" {
                let check = plugin.clone().previous(&result);
                check.check(&c1, &conf).succeeds();
                // Their specs check with no more than this.
                let bare = with(
                    layer2(version, json!({})),
                    json!({ "mtu": null, "ipam": conf["ipam"], "dns": {} }),
                );
                check.check(&c1, bare).succeeds();
            }
            assert_deleted(host, &c1, &plugin, &conf, near.as_deref());
        });
    }
}

#[test]
fn layer_2_and_its_options() {
    for keys in [
        json!({}),
        json!({ "portIsolation": true }),
        json!({ "portIsolation": false }),
        json!({ "disableContainerInterface": true }),
        json!({ "vlan": 100 }),
        json!({ "vlan": 100, "vlanTrunk": [{ "id": 101 }, { "minID": 200, "maxID": 210 }] }),
    ] {
        for_each_version(|host, version| {
            let in_vlans = keys.get("vlan").is_some();
            if in_vlans && (has_interfaces(version) || theirs("their kernel has to have VLANs")) {
                return;
            }
            let conf = layer2(version, keys.clone());
            let (c1, plugin, added) = add(host, &conf);
            if !has_interfaces(version) {
                added.fails_saying("cannot convert: no valid IP addresses");
                if !theirs("they leave what they made") {
                    assert!(host.link("bridge0").is_none() && c1.link("eth0").is_none());
                }
                return;
            }
            let result = added.succeeds();
            let near = assert_interfaces(host, &c1, version, &result);
            assert_eq!(host.links().len(), 3);
            let isolated = keys["portIsolation"] == true;
            let port = &host.link(&near).unwrap()["linkinfo"]["info_slave_data"];
            assert_eq!(port["isolated"], isolated);
            if keys["disableContainerInterface"] == true {
                assert_ne!(c1.link("eth0").unwrap()["operstate"], "UP");
                assert!(c1.addr_info("eth0").is_empty());
            } else {
                assert_configured(&c1, &[]);
            }
            // The kernel makes it once it has noticed that there is a port.
            let has_own = || !host.addr_info("bridge0").is_empty();
            assert!(until(Duration::from_secs(20), has_own));
            assert_deleted(host, &c1, &plugin, &conf, Some(&near));
        });
    }
}

#[test]
fn the_container_gets_its_address_from_the_strongest_source() {
    const MAC: &str = "02:00:00:00:00:00";
    let args = |mac: &str| json!({ "cni": { "mac": mac } });
    for (argument, keys) in [
        (MAC, json!({})),
        ("02:00:00:00:04:56", json!({ "args": args(MAC) })),
        (
            "02:00:00:00:04:56",
            json!({ "args": args("02:00:00:00:07:89"), "RuntimeConfig": { "mac": MAC } }),
        ),
    ] {
        for_each_version(|host, version| {
            let conf = layer3(version, &[V4], keys.clone());
            let c1 = host.container("c1");
            let told = if theirs("their IPAM plugins refuse a key of bridge's") {
                "IgnoreUnknown=1;"
            } else {
                ""
            };
            let plugin = plugin(host, "bridge-attach").args(&format!("{told}MAC={argument}"));
            plugin.add(&c1, &conf).succeeds();
            assert_eq!(c1.link("eth0").unwrap()["address"], MAC);
            assert_deleted(host, &c1, &plugin, &conf, None);
        });
    }
}

#[test]
fn a_bridge_that_was_there_keeps_its_address() {
    for rows in [[V4], [V6]] {
        for_each_version(|host, version| {
            host.sh(&format!(
                "ip link add bridge0 mtu {MTU} type bridge; ip link set bridge0 up"
            ));
            let before = host.link("bridge0").unwrap();
            let conf = layer3(version, &rows, json!({}));
            let (c1, plugin, added) = add(host, &conf);
            added.succeeds();
            assert_configured(&c1, &rows);
            assert_deleted(host, &c1, &plugin, &conf, None);
            let after = host.link("bridge0").unwrap();
            assert_eq!(after["address"], before["address"]);
            assert_eq!(after["ifindex"], before["ifindex"]);
        });
    }
}

#[test]
fn del_of_what_was_never_added_succeeds() {
    for_each_version(|host, version| {
        let c1 = host.container("c1");
        let conf = layer3(version, &[V4], json!({}));
        plugin(host, "bridge-attach").del(&c1, &conf).succeeds();
    });
}

#[test]
fn what_cannot_be_is_refused() {
    for_each_version(|host, version| {
        for (conf, words) in [
            (
                layer3(version, &[V4], json!({ "disableContainerInterface": true })),
                "isableContainerInterface",
            ),
            (
                layer2(version, json!({ "hairpinMode": true, "promiscMode": true })),
                "hairpin",
            ),
            (layer2(version, json!({ "vlan": -100 })), "-100"),
            (layer2(version, json!({ "vlan": 5000 })), "5000"),
            (
                layer2(version, json!({ "vlanTrunk": [{ "minID": 100 }] })),
                "maxID",
            ),
            (
                layer2(version, json!({ "vlanTrunk": [{ "maxID": 100 }] })),
                "minID",
            ),
            (
                layer2(
                    version,
                    json!({ "vlanTrunk": [{ "minID": -1, "maxID": 100 }] }),
                ),
                "minID",
            ),
            (
                layer2(
                    version,
                    json!({ "vlanTrunk": [{ "minID": 5000, "maxID": 100 }] }),
                ),
                "minID",
            ),
            (
                layer2(
                    version,
                    json!({ "vlanTrunk": [{ "minID": 100, "maxID": 5000 }] }),
                ),
                "maxID",
            ),
            (
                layer2(version, json!({ "vlanTrunk": [{ "id": 5000 }] })),
                "id",
            ),
            (
                layer2(version, json!({ "vlanTrunk": [{ "id": -1 }] })),
                "id",
            ),
            (
                layer2(
                    version,
                    json!({ "vlanTrunk": [{ "minID": 1000, "maxID": 100 }] }),
                ),
                "greater than",
            ),
        ] {
            let c1 = host.container("c1");
            plugin(host, "bridge-attach")
                .add(&c1, conf)
                .fails_with_words(words);
            assert!(c1.link("eth0").is_none());
            c1.vanish();
        }
    });
}

#[cfg(feature = "stock-kernel")]
mod stock;
