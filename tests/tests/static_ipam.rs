//! `static-ipam`, as a plugin that uses it executes it.
#![cfg(test)]

use plumb_tests::{Container, Host, Outcome, Plugin, Value, conf, json};

struct Net {
    host: Host,
    c1: Container,
}

impl Net {
    fn new() -> Self {
        let host = Host::new();
        let c1 = host.container("c1");
        Self { host, c1 }
    }

    fn plugin(&self) -> Plugin {
        self.host.plugin("static-ipam")
    }

    fn add(&self, plugin: &Plugin, conf: Value) -> Outcome {
        plugin.add(&self.c1, conf)
    }
}

fn with_ipam(ipam: Value) -> Value {
    let mut ipam = ipam;
    ipam["type"] = json!("static-ipam");
    conf("bridge-attach", json!({ "ipam": ipam }))
}

fn one_address() -> Value {
    with_ipam(json!({
        "addresses": [{ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }],
        "routes": [{ "dst": "0.0.0.0/0" }],
        "dns": { "nameservers": ["10.1.0.1"] },
    }))
}

#[test]
fn add_gives_addresses_routes_and_resolver_and_changes_nothing() {
    let net = Net::new();
    let before = (net.host.state(), net.c1.state());
    let result = net.add(&net.plugin(), one_address()).succeeds();
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.1.0",
            "ips": [{ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dns": { "nameservers": ["10.1.0.1"] },
        })
    );
    net.host.assert_unchanged_since(&before.0);
    net.c1.assert_unchanged_since(&before.1);
    let again = net.add(&net.plugin(), one_address()).succeeds();
    assert_eq!(again, result, "there is no state to clash with");
}

#[test]
fn the_result_has_the_form_of_each_version() {
    let net = Net::new();
    for (version, expected) in [
        (
            "0.1.0",
            json!({ "ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{ "dst": "0.0.0.0/0" }] }),
        ),
        (
            "0.2.0",
            json!({ "ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{ "dst": "0.0.0.0/0" }] }),
        ),
        (
            "0.3.0",
            json!({ "version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1" }),
        ),
        (
            "0.3.1",
            json!({ "version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1" }),
        ),
        (
            "0.4.0",
            json!({ "version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1" }),
        ),
        (
            "1.0.0",
            json!({ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }),
        ),
        (
            "1.1.0",
            json!({ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }),
        ),
    ] {
        let plugin = net.plugin().key("cniVersion", json!(version));
        let result = net.add(&plugin, one_address()).succeeds();
        assert_eq!(result["cniVersion"], version);
        let ip = if version < "0.3.0" {
            &result["ip4"]
        } else {
            &result["ips"][0]
        };
        assert_eq!(*ip, expected, "{version}");
    }
}

#[test]
fn two_addresses_of_a_family_need_version_0_3_0() {
    let net = Net::new();
    let two = with_ipam(json!({
        "addresses": [{ "address": "10.1.0.5/24" }, { "address": "10.2.0.5/24" }],
    }));
    let old = net.plugin().key("cniVersion", json!("0.2.0"));
    net.add(&old, two.clone()).fails_with(
        7,
        "CNI version 0.2.0 does not support more than 1 address per family",
    );
    let new = net.plugin().key("cniVersion", json!("0.3.0"));
    assert_eq!(
        net.add(&new, two).succeeds()["ips"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn no_address_is_an_empty_result() {
    let net = Net::new();
    let result = net.add(&net.plugin(), with_ipam(json!({}))).succeeds();
    assert_eq!(result, json!({ "cniVersion": "1.1.0" }));
}

#[test]
fn what_runtimes_ask_for_is_understood() {
    let net = Net::new();
    let subnets = with_ipam(
        json!({ "subnets": [{ "subnet": "10.1.0.0/24", "gateway": "10.1.0.1" }, "fd01::/64"] }),
    );
    let podman = "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.1.0.7";
    let nerdctl = "NERDCTL_CNI_DHCP_HOSTNAME=x;IP=10.1.0.7;IgnoreUnknown=1";
    for args in [podman, nerdctl] {
        let result = net
            .add(&net.plugin().args(args), subnets.clone())
            .succeeds();
        assert_eq!(
            result["ips"],
            json!([{ "address": "10.1.0.7/24", "gateway": "10.1.0.1" }])
        );
    }
    let multus = net
        .plugin()
        .key("runtimeConfig", json!({ "ips": ["10.9.0.9/24"] }));
    let result = net.add(&multus, subnets.clone()).succeeds();
    assert_eq!(result["ips"], json!([{ "address": "10.9.0.9/24" }]));
    let bare = net
        .plugin()
        .key("runtimeConfig", json!({ "IPs": ["10.1.0.8", "fd01::8"] }));
    let result = net.add(&bare, subnets).succeeds();
    assert_eq!(
        result["ips"],
        json!([{ "address": "10.1.0.8/24", "gateway": "10.1.0.1" }, { "address": "fd01::8/64" }])
    );
}

#[test]
fn one_configuration_serves_a_whole_network_by_name() {
    let net = Net::new();
    let conf = with_ipam(json!({
        "assignmentsOnly": true,
        "assignments": {
            "c1": { "address": "10.1.0.5/24" },
            "prod/web": { "addresses": ["10.1.0.6/24"], "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }] },
            "NODE=r1": ["10.1.0.7/24", "fd00::7/64"],
        },
    }));
    let by_id = net.add(&net.plugin(), conf.clone()).succeeds();
    assert_eq!(by_id["ips"][0]["address"], "10.1.0.5/24");
    let c2 = net.host.container("c2");
    let plugin = net.plugin().args("K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web");
    let by_pod = plugin.add(&c2, conf.clone()).succeeds();
    assert_eq!(by_pod["ips"][0]["address"], "10.1.0.6/24");
    assert_eq!(by_pod["routes"][0]["gw"], "10.1.0.1");
    let by_argument = net
        .plugin()
        .args("NODE=r1")
        .add(&c2, conf.clone())
        .succeeds();
    assert_eq!(by_argument["ips"].as_array().unwrap().len(), 2);
    net.plugin()
        .add(&c2, conf.clone())
        .fails_with(7, "ipam.assignmentsOnly");
    net.plugin()
        .args("NODE=r1")
        .add(&net.c1, conf)
        .fails_with(7, "ipam.assignments: both");
}

#[test]
fn bad_values_are_named_with_key_and_value() {
    let net = Net::new();
    for (ipam, code, words) in [
        (
            json!({ "addresses": [{ "address": "10.1.0.5" }] }),
            7,
            "ipam.addresses[0].address: \"10.1.0.5\"",
        ),
        (
            json!({ "addresses": "10.1.0.5/24" }),
            6,
            "ipam.addresses: \"10.1.0.5/24\" is a string",
        ),
        (
            json!({ "addresses": [{ "address": "10.1.0.5/24", "gateway": "zz" }] }),
            7,
            "ipam.addresses[0].gateway: \"zz\"",
        ),
        (json!({ "assignments": ["x"] }), 6, "ipam.assignments: "),
        (
            json!({ "assignments": { "c9": 5 } }),
            6,
            "ipam.assignments.c9: 5 is a number",
        ),
        (
            json!({ "routes": [{ "gw": "10.1.0.1" }] }),
            7,
            "ipam.routes[0].dst: is missing",
        ),
    ] {
        net.add(&net.plugin(), with_ipam(ipam))
            .fails_with(code, words);
    }
    let plugin = net.plugin().args("IP=10.1.0.5");
    net.add(&plugin, with_ipam(json!({})))
        .fails_with(4, "CNI_ARGS: IP: \"10.1.0.5\"");
    let plugin = net.plugin().args("ip=10.1.0.5/24");
    net.add(&plugin, with_ipam(json!({})))
        .fails_with(4, "\"ip\" is unknown");
    net.add(&net.plugin(), conf("bridge-attach", json!({})))
        .fails_with(7, "ipam: is missing");
}

#[test]
fn check_compares_with_the_previous_result() {
    let net = Net::new();
    let result = net.add(&net.plugin(), one_address()).succeeds();
    let check = |previous: &Value| {
        net.plugin()
            .previous(previous)
            .check(&net.c1, one_address())
    };
    check(&result).succeeds();
    let mut moved = result.clone();
    moved["ips"][0]["address"] = json!("10.1.0.6/24");
    check(&moved).fails_with(
        102,
        "expected 10.1.0.5/24 with gateway 10.1.0.1, found 10.1.0.6/24 with gateway 10.1.0.1",
    );
    let mut other_gateway = result.clone();
    other_gateway["ips"][0]["gateway"] = json!("10.1.0.2");
    check(&other_gateway).fails_with(102, "found 10.1.0.5/24 with gateway 10.1.0.2");
    check(&json!({ "cniVersion": "1.1.0" })).fails_with(102, "found no address");
    net.plugin()
        .check(&net.c1, one_address())
        .fails_with(7, "prevResult: is missing");
}

#[test]
fn del_and_gc_succeed_whatever_the_configuration_says() {
    let net = Net::new();
    for ipam in [
        json!({}),
        json!({ "addresses": 5 }),
        json!({ "addresses": [{ "address": "zz" }] }),
    ] {
        for _ in 0..2 {
            net.plugin()
                .del(&net.c1, with_ipam(ipam.clone()))
                .succeeds();
        }
        net.plugin().valid([]).gc(with_ipam(ipam)).succeeds();
    }
    net.plugin()
        .del(&net.c1, conf("bridge-attach", json!({})))
        .succeeds();
    net.plugin()
        .netns("")
        .args("rubbish")
        .del(&net.c1, one_address())
        .succeeds();
}

#[test]
fn status_says_whether_the_configuration_is_sound() {
    let net = Net::new();
    net.plugin().status(one_address()).succeeds();
    let faulty = with_ipam(json!({ "addresses": [{ "address": "zz" }] }));
    net.plugin()
        .status(faulty)
        .fails_with(7, "ipam.addresses[0].address");
}

#[test]
fn the_namespace_need_not_exist() {
    let net = Net::new();
    let plugin = net.plugin().netns("/some/where");
    net.add(&plugin, one_address()).succeeds();
}
