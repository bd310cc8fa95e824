//! What `docs/vlan.md` says is so.

const PAGE: &str = include_str!("../../../docs/vlan.md");

#[test]
fn every_key_has_a_row() {
    let config = include_str!("../../../plugins/vlan/src/config.rs");
    let (code, _) = config.split_once("#[cfg(test)]").unwrap();
    let calls = code.split(['.', ':']).filter_map(|call| {
        let (method, rest) = call.trim().split_once('(')?;
        let rest = rest.strip_prefix("object, ").unwrap_or(rest);
        let key = rest.strip_prefix('"')?.split('"').next()?;
        let reads = [
            "flag",
            "get",
            "text",
            "parse_with",
            "object",
            "switch",
            "qos_map",
        ];
        reads.contains(&method).then_some(key)
    });
    let keys: Vec<&str> = calls.collect();
    assert!(keys.len() > 13, "{keys:?}");
    for key in keys {
        assert!(PAGE.contains(&format!("| `{key}` |")), "{key}");
    }
}

/// The example on the page, on a host whose NIC is the link number 2 as there.
#[cfg(feature = "stock-kernel")]
#[test]
fn the_example_leads_to_the_names_on_the_page() {
    use plumb_tests::{Host, Value};

    let host = Host::new();
    host.sh("ip link add eth0 index 2 type dummy && ip link set eth0 up");
    let (_, rest) = PAGE.split_once("```json").unwrap();
    let list: Value = serde_json::from_str(rest.split_once("```").unwrap().0).unwrap();
    let mut conf = list["plugins"][0].clone();
    for key in ["name", "cniVersion"] {
        conf[key] = list[key].clone();
    }
    let containers = ["c1", "c2"].map(|name| host.container(name));
    for container in &containers {
        host.plugin("vlan").add(container, &conf).succeeds();
    }
    let inside = containers[0].link("eth0").unwrap();
    let shared = host.links();
    let shared = shared
        .iter()
        .find(|link| link["ifname"] != "lo" && link["ifname"] != "eth0");
    let shared = shared.unwrap();
    for words in [
        &inside["ifalias"],
        &shared["ifname"],
        &shared["ifalias"],
        &shared["altnames"][0],
        &shared["altnames"][1],
    ] {
        let words = words.as_str().unwrap();
        assert!(PAGE.contains(words), "{words}");
    }
}
