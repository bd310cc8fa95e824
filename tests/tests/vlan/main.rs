//! `vlan` from outside: the binary, the kernel, a switch at the other end of the master, and an IPAM plugin that does
//! what a test tells it.

#![cfg(test)]

mod documentation;
#[path = "../bridge_attach/ipam.rs"]
mod ipam;
mod settings;
mod untagged;

#[cfg(feature = "stock-kernel")]
mod chain;
#[cfg(feature = "stock-kernel")]
mod check;
#[cfg(feature = "stock-kernel")]
mod crash;
#[cfg(feature = "stock-kernel")]
mod direct;
#[cfg(feature = "stock-kernel")]
mod failure;
#[cfg(feature = "stock-kernel")]
mod gone;
#[cfg(feature = "stock-kernel")]
mod shared;
#[cfg(feature = "stock-kernel")]
mod tags;
#[cfg(feature = "stock-kernel")]
mod upstream;

use std::ops::Deref;
use std::time::Duration;

use plumb_tests::{Container, Host, Node, Outcome, Plugin, Value, conf, json, until};

use ipam::Ipam;

/// A host with a NIC, `nic`, and at the other end of its cable a switch, which sees every frame at its `port`.
struct World {
    host: Host,
    switch: Container,
    ipam: Ipam,
}

impl Deref for World {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl World {
    /// The IPAM plugin gives 10.1.0.2/24 and `fd01::2/64` to c1, .3 to c2, and so on.
    fn new() -> Self {
        let host = Host::new();
        let ipam = Ipam::install();
        for number in 1..40 {
            let last = number + 1;
            let ips = json!([{ "address": format!("10.1.0.{last}/24") }, { "address": format!("fd01::{last:x}/64") }]);
            ipam.gives(&format!("c{number}"), json!({ "ips": ips }));
        }
        let switch = host.container("switch");
        host.sh("ip link add nic type veth peer name port netns switch && ip link set nic up");
        switch.sh("ip link set port up");
        runs(&host);
        Self { host, switch, ipam }
    }

    /// Moves the NIC into a container, where it runs as well.
    #[cfg(feature = "stock-kernel")]
    #[track_caller]
    fn move_nic(&self, container: &Container) {
        self.sh(&format!("ip link set nic netns {}", container.name()));
        container.sh("ip link set nic up");
        runs(container);
    }

    /// What the switch has at the other end of a VLAN, 10.1.0.100, in a namespace of its own.
    #[cfg(feature = "stock-kernel")]
    #[track_caller]
    fn far_end(&self, id: u16) -> Container {
        let end = self.container(&format!("v{id}"));
        let link = format!("ip link add link port name end netns v{id} type vlan id {id}");
        self.switch.sh(&link);
        end.sh("ip addr add 10.1.0.100/24 dev end && ip link set end up");
        end
    }

    fn plugin(&self) -> Plugin {
        self.host.plugin("vlan").path(ipam::DIRECTORY)
    }

    /// A container attached, with its result.
    #[track_caller]
    fn attached(&self, name: &str, conf: &Value) -> (Container, Value) {
        let container = self.container(name);
        let result = self.plugin().add(&container, conf).succeeds();
        (container, result)
    }

    /// ADD of `name` fails so, and changes nothing.
    #[track_caller]
    fn fails_without_a_trace(&self, name: &str, conf: &Value, code: u32, words: &str) {
        let container = self.container(name);
        let (before, inside) = (self.state(), container.state());
        self.plugin().add(&container, conf).fails_with(code, words);
        self.assert_unchanged_since(&before);
        container.assert_unchanged_since(&inside);
    }

    /// ADD of `name` fails so, and no link is left: the cheap look, for an emulated machine.
    #[cfg(feature = "stock-kernel")]
    #[track_caller]
    fn refused(&self, name: &str, conf: &Value, code: u32, words: &str) {
        let container = self.container(name);
        let links = self.others();
        self.plugin().add(&container, conf).fails_with(code, words);
        assert_eq!(self.others(), links);
        assert_eq!(container.links().len(), 1, "only lo");
    }

    #[track_caller]
    fn del(&self, container: &Container, conf: &Value) {
        self.plugin().del(container, conf).succeeds();
    }

    #[track_caller]
    fn check(&self, container: &Container, conf: &Value, result: &Value) -> Outcome {
        self.plugin().previous(result).check(container, conf)
    }

    /// The names of the host's links, without `lo` and `nic`.
    fn others(&self) -> Vec<String> {
        let names = self.links().into_iter();
        let names = names.map(|link| link["ifname"].as_str().unwrap().to_owned());
        names.filter(|name| name != "lo" && name != "nic").collect()
    }
}

/// Waits for the NIC's carrier, which the kernel reports a while after the link went up.
#[track_caller]
fn runs(node: &Node) {
    let is_up = || node.link("nic").unwrap()["operstate"] == "UP";
    assert!(until(Duration::from_secs(10), is_up), "nic has no carrier");
}

/// A configuration on `nic`, with addresses from [`Ipam`].
fn on_nic(keys: Value) -> Value {
    let base = json!({ "master": "nic", "ipam": { "type": ipam::QUICK } });
    with(conf("vlan", base), keys)
}

/// A configuration for a VLAN link that containers share.
#[cfg(feature = "stock-kernel")]
fn shared(id: u16) -> Value {
    on_nic(json!({ "mode": "shared", "vlanId": id }))
}

fn with(mut conf: Value, keys: Value) -> Value {
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
