//! `bridge-attach` from outside: the binary, the kernel, and an IPAM plugin that does what a test tells it.

#![cfg(test)]

mod add;
mod adopt;
mod announced;
mod chained;
mod check;
mod check_each;
mod concurrent;
mod del;
mod documentation;
mod examples;
mod failing_ipam;
mod failure;
mod gc;
mod ipam;
mod masq;
mod names;
mod options;
mod policy;
mod reference;
mod routes;
mod rules;
mod spoof;
mod uplink;
mod vlan;

use plumb_tests::{Container, Host, Plugin, Value, conf, json};

use ipam::Ipam;

/// The name of the host end, as the result has it.
fn host_end(result: &Value) -> String {
    result["interfaces"][1]["name"].as_str().unwrap().to_owned()
}

/// A configuration for the bridge `br0` without IPAM, and keys that are added and win.
fn layer2(keys: Value) -> Value {
    with(conf("bridge-attach", json!({ "bridge": "br0" })), keys)
}

/// A configuration for the bridge `br0` as gateway, with addresses from [`Ipam`].
fn layer3(keys: Value) -> Value {
    let base = json!({ "bridge": "br0", "isGateway": true, "ipam": { "type": ipam::QUICK } });
    with(conf("bridge-attach", base), keys)
}

fn with(mut conf: Value, keys: Value) -> Value {
    let Value::Object(keys) = keys else {
        panic!("keys are an object")
    };
    conf.as_object_mut().unwrap().extend(keys);
    conf
}

/// The plugin, with the test's IPAM plugins in its `CNI_PATH`.
fn plugin(host: &Host) -> Plugin {
    host.plugin("bridge-attach").path(ipam::DIRECTORY)
}

/// A host with an IPAM plugin that gives 10.1.0.2/24 and `fd01::2/64` to c1, .3 to c2, and so on.
fn host() -> (Host, Ipam) {
    let host = Host::new();
    let ipam = Ipam::install();
    for number in 1..10 {
        let last = number + 1;
        let v4 = format!("10.1.0.{last}/24");
        let v6 = format!("fd01::{last}/64");
        ipam.gives(
            &format!("c{number}"),
            json!({ "ips": [{ "address": v4 }, { "address": v6 }] }),
        );
    }
    (host, ipam)
}

/// A container attached to `br0` with its result.
#[track_caller]
fn attached(host: &Host, name: &str, conf: &Value) -> (Container, Value) {
    let container = host.container(name);
    let result = plugin(host).add(&container, conf).succeeds();
    (container, result)
}
