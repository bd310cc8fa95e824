//! What both the reference Go plugins and ours do for a configuration that both know.
//!
//! Without `PLUGIN_DIR` these test our plugins; with it pointing at the Go plugins (`make test-reference`) the same
//! cases show that we test what they do. Where theirs differ by intention of ours, the case says so with [`theirs`].

#![cfg(test)]

mod bridge;
mod bridge_life;
mod dhcp;
mod dhcp_client;
mod masquerade;
mod protocol;
mod specs;
mod static_ipam;
#[cfg(feature = "stock-kernel")]
mod vlan;

use plumb_tests::{Container, Host, Plugin, Value, binaries, conf, json};

/// True for the reference plugins; `why` says in what they differ.
fn theirs(why: &str) -> bool {
    assert!(!why.is_empty());
    binaries().are_reference()
}

/// The name of the plugin in the suite under test.
fn kind(ours: &str) -> &str {
    if !binaries().are_reference() {
        return ours;
    }
    match ours {
        "bridge-attach" => "bridge",
        "static-ipam" => "static",
        "masquerade" => "firewall",
        "vlan" => "vlan",
        "dhcp-ipam" => "dhcp",
        _ => panic!("the reference plugins have nothing for {ours}"),
    }
}

fn plugin(host: &Host, ours: &str) -> Plugin {
    host.plugin(kind(ours))
}

/// An `ipam` section with these addresses and routes.
fn static_ipam(addresses: &Value, routes: &Value) -> Value {
    json!({ "type": kind("static-ipam"), "addresses": addresses, "routes": routes })
}

/// A configuration for the bridge `br0` with one IPv4 address in 10.1.0.0/24, and keys that are added and win.
fn bridge_conf(address: &str, keys: Value) -> Value {
    let ipam = static_ipam(
        &json!([{ "address": address, "gateway": "10.1.0.1" }]),
        &json!([]),
    );
    let mut conf = conf(
        kind("bridge-attach"),
        json!({ "bridge": "br0", "isGateway": true, "ipam": ipam }),
    );
    let Value::Object(keys) = keys else {
        panic!("keys are an object")
    };
    conf.as_object_mut().unwrap().extend(keys);
    conf
}

/// The configuration without one of its keys.
fn without(mut conf: Value, key: &str) -> Value {
    conf.as_object_mut().unwrap().remove(key);
    conf
}

/// A container attached to `br0`.
fn attached(host: &Host, name: &str, address: &str, keys: Value) -> (Container, Value) {
    let container = host.container(name);
    let result = plugin(host, "bridge-attach")
        .add(&container, bridge_conf(address, keys))
        .succeeds();
    (container, result)
}
