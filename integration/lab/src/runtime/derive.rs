//! The configuration a plugin is executed with, derived from its element in the list (specification section 4).

use serde_json::{Map, Value};

use super::{NetworkList, PluginConfig};

/// What the runtime adds to a plugin's own configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Injected<'a> {
    /// What the runtime offers by capability name; a plugin sees those it declares true.
    pub capabilities: Option<&'a Map<String, Value>>,
    /// The previous result.
    pub previous: Option<&'a Value>,
    /// GC: the attachments that are still valid.
    pub valid: Option<&'a Value>,
}

/// Keys that only the runtime writes, or that it takes out.
const RESERVED: [&str; 5] = [
    "cniVersion",
    "name",
    "capabilities",
    "runtimeConfig",
    "prevResult",
];

/// Derives the configuration for one execution of one plugin.
///
/// `name` and `cniVersion` come from the list; `runtimeConfig` is there only when something of it is left;
/// `capabilities` and keys under `cni.dev/` are taken out; every other key is passed on unchanged and in its order.
pub fn derive(list: &NetworkList, plugin: &PluginConfig, injected: Injected<'_>) -> Value {
    let mut derived = Map::new();
    derived.insert("cniVersion".into(), list.version.into());
    derived.insert("name".into(), list.name.as_str().into());
    for (key, value) in &plugin.object {
        if !RESERVED.contains(&key.as_str()) && !key.starts_with("cni.dev/") {
            derived.insert(key.clone(), value.clone());
        }
    }
    let offered: Map<String, Value> = injected
        .capabilities
        .into_iter()
        .flatten()
        .filter(|(name, _)| plugin.has_capability(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !offered.is_empty() {
        derived.insert("runtimeConfig".into(), offered.into());
    }
    if let Some(previous) = injected.previous {
        derived.insert("prevResult".into(), previous.clone());
    }
    if let Some(valid) = injected.valid {
        derived.insert("cni.dev/valid-attachments".into(), valid.clone());
        // libcni 1.3 sends the list under this name too.
        derived.insert("cni.dev/attachments".into(), valid.clone());
    }
    Value::Object(derived)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> NetworkList {
        NetworkList::parse(
            r#"{"cniVersion": "1.0.0", "cniVersions": ["1.1.0"], "name": "net", "plugins": [{
                "zeta": null, "type": "p", "cniVersion": "0.3.1", "name": "other",
                "capabilities": {"ips": true, "mac": false, "dns": true},
                "cni.dev/secret": 1, "prevResult": 1, "runtimeConfig": {"ips": 9},
                "ipam": {"type": "x", "capabilities": {"kept": true}}, "Alpha": [1, {"b": 2, "a": 1}]}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_the_runtime_owns_is_replaced_and_all_else_is_passed_on_in_its_order() {
        let list = list();
        let derived = derive(&list, &list.plugins[0], Injected::default());
        assert_eq!(
            serde_json::to_string(&derived).unwrap(),
            r#"{"cniVersion":"1.1.0","name":"net","zeta":null,"type":"p","ipam":{"type":"x","capabilities":{"kept":true}},"Alpha":[1,{"b":2,"a":1}]}"#
        );
    }

    #[test]
    fn a_plugin_sees_of_the_offered_capabilities_those_it_declares_true() {
        let list = list();
        let offered = json!({"ips": ["10.0.0.2/24"], "mac": "02:00:00:00:00:01", "bandwidth": {}});
        let injected = Injected {
            capabilities: offered.as_object(),
            ..Injected::default()
        };
        assert_eq!(
            derive(&list, &list.plugins[0], injected)["runtimeConfig"],
            json!({"ips": ["10.0.0.2/24"]})
        );
    }

    #[test]
    fn runtime_config_is_left_out_when_nothing_of_it_is_left() {
        let list = list();
        let offered = json!({"mac": "02:00:00:00:00:01"});
        let injected = Injected {
            capabilities: offered.as_object(),
            ..Injected::default()
        };
        assert_eq!(
            derive(&list, &list.plugins[0], injected).get("runtimeConfig"),
            None
        );
    }

    #[test]
    fn gc_names_the_valid_attachments_under_both_keys() {
        let list = list();
        let valid = json!([{"containerID": "c", "ifname": "eth0"}]);
        let derived = derive(
            &list,
            &list.plugins[0],
            Injected {
                valid: Some(&valid),
                ..Injected::default()
            },
        );
        assert_eq!(derived["cni.dev/valid-attachments"], valid);
        assert_eq!(derived["cni.dev/attachments"], valid);
    }
}
