//! What `docs/bridge-attach.md` shows is what happens.

use plumb_tests::{Host, Value};

const PAGE: &str = include_str!("../../../docs/bridge-attach.md");

/// The first block of the page behind these words.
fn block(words: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(words).unwrap();
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_example_leads_to_the_routes_on_the_page() {
    let host = Host::new();
    let r1 = host.container("R1");
    let list: Value = serde_json::from_str(block("# bridge-attach")).unwrap();
    let mut conf = list["plugins"][0].clone();
    for key in ["name", "cniVersion"] {
        conf[key] = list[key].clone();
    }
    let result = host
        .plugin("bridge-attach")
        .ifname("eth1")
        .add(&r1, &conf)
        .succeeds();
    let routes = [host.routes(), r1.routes()].concat();
    let shown: Vec<&str> = block("## What it changes")
        .lines()
        .filter(|line| line.contains(" dev "))
        .collect();
    assert_eq!(shown.len(), 4);
    for line in shown {
        assert!(
            routes.iter().any(|route| route == line),
            "{line}: {routes:?}"
        );
    }
    let name = result["interfaces"][1]["name"].as_str().unwrap();
    let link = host.link(name).unwrap();
    for words in [name, link["ifalias"].as_str().unwrap()] {
        assert!(PAGE.contains(words), "{words}");
    }
    assert_eq!(host.link("br1").unwrap()["ifalias"], "plumb1-bridge");
}

#[test]
fn every_key_has_a_row() {
    let code = concat!(
        include_str!("../../../plugins/bridge-attach/src/config.rs"),
        include_str!("../../../plugins/bridge-attach/src/config/options.rs"),
        include_str!("../../../plugins/bridge-attach/src/config/rules.rs"),
        include_str!("../../../plugins/bridge-attach/src/config/uplink.rs"),
        include_str!("../../../plugins/bridge-attach/src/config/vlan.rs"),
    );
    let keys: Vec<&str> = code
        .split("object.")
        .filter_map(|call| {
            let (method, rest) = call.split_once('(')?;
            let key = rest.strip_prefix('"')?.split('"').next()?;
            (method != "refuse").then_some(key)
        })
        .collect();
    assert!(keys.len() > 30, "{keys:?}");
    // Those of a rule and of a trunk stand in the text.
    let inner =
        |key: &str| PAGE.contains(&format!("`{key}`")) || ["minID", "maxID", "id"].contains(&key);
    for key in keys
        .into_iter()
        .filter(|key| !["args", "runtimeConfig"].contains(key))
    {
        assert!(
            PAGE.contains(&format!("| `{key}` |")) || inner(key),
            "{key}"
        );
    }
}
