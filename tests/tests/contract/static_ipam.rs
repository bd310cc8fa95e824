//! `static-ipam`, and `static`.

use plumb_tests::{Host, Value, json};

use super::{plugin, theirs};

/// The whole configuration a bridge would pass on.
fn network(ipam: Value) -> Value {
    let mut ipam = ipam;
    ipam["type"] = super::kind("static-ipam").into();
    json!({ "cniVersion": "1.1.0", "name": "testnet", "type": super::kind("bridge-attach"), "ipam": ipam })
}

fn addresses(result: &Value) -> Vec<&str> {
    result["ips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ip| ip["address"].as_str().unwrap())
        .collect()
}

#[test]
fn what_is_configured_is_the_result() {
    let host = Host::new();
    let c1 = host.container("c1");
    let ipam = json!({
        "addresses": [{ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }, { "address": "fd01::5/64" }],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "192.168.0.0/16", "gw": "10.1.0.9", "mtu": 1400, "priority": 50 }],
        "dns": { "nameservers": ["10.1.0.1"], "domain": "example", "search": ["a", "b"], "options": ["ndots:5"] },
    });
    let result = plugin(&host, "static-ipam")
        .add(&c1, network(ipam.clone()))
        .succeeds();
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["ips"], ipam["addresses"]);
    assert_eq!(result["routes"], ipam["routes"]);
    assert_eq!(result["dns"], ipam["dns"]);
    assert!(result.get("interfaces").is_none());
}

#[test]
fn addresses_from_the_arguments_are_added_to_those_configured() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({ "addresses": [{ "address": "10.1.0.5/24" }] }));
    let call = plugin(&host, "static-ipam")
        .args("IgnoreUnknown=1;IP=10.1.0.6/24,fd01::6/64;GATEWAY=10.1.0.1");
    let result = call.add(&c1, conf).succeeds();
    assert_eq!(
        addresses(&result),
        ["10.1.0.5/24", "10.1.0.6/24", "fd01::6/64"]
    );
    assert_eq!(result["ips"][1]["gateway"], "10.1.0.1");
}

#[test]
fn addresses_from_args_cni_replace_those_configured() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({ "addresses": [{ "address": "10.1.0.5/24" }] }));
    let call =
        plugin(&host, "static-ipam").key("args", json!({ "cni": { "ips": ["10.1.0.7/24"] } }));
    assert_eq!(
        addresses(&call.args("IP=10.1.0.6/24").add(&c1, conf).succeeds()),
        ["10.1.0.7/24"]
    );
}

#[test]
fn addresses_from_the_runtime_win_over_all() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({ "addresses": [{ "address": "10.1.0.5/24" }] }));
    let call = plugin(&host, "static-ipam")
        .key("args", json!({ "cni": { "ips": ["10.1.0.7/24"] } }))
        .key(
            "runtimeConfig",
            json!({ "ips": ["10.1.0.8/24", "fd01::8/64"] }),
        );
    assert_eq!(
        addresses(&call.add(&c1, conf).succeeds()),
        ["10.1.0.8/24", "fd01::8/64"]
    );
}

#[test]
fn older_versions_get_results_of_their_own_shape() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({
        "addresses": [{ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }, { "address": "fd01::5/64" }],
        "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }],
    }));
    let add = |version: &str| {
        plugin(&host, "static-ipam")
            .key("cniVersion", json!(version))
            .add(&c1, &conf)
            .succeeds()
    };
    let result = add("0.4.0");
    assert_eq!(result["cniVersion"], "0.4.0");
    assert_eq!(
        result["ips"][0],
        json!({ "version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1" })
    );
    assert_eq!(result["ips"][1]["version"], "6");
    let result = add("0.2.0");
    assert_eq!(result["cniVersion"], "0.2.0");
    assert_eq!(result["ip4"]["ip"], "10.1.0.5/24");
    assert_eq!(result["ip4"]["gateway"], "10.1.0.1");
    assert_eq!(
        result["ip4"]["routes"],
        json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }])
    );
    assert_eq!(result["ip6"]["ip"], "fd01::5/64");
    assert_eq!(
        add("1.0.0")["ips"][0],
        json!({ "address": "10.1.0.5/24", "gateway": "10.1.0.1" })
    );
}

#[test]
fn an_address_needs_its_prefix_length() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({ "addresses": [{ "address": "10.1.0.5" }] }));
    let error = plugin(&host, "static-ipam").add(&c1, conf).fails();
    let code = if theirs("every error of a plugin is 999") {
        999
    } else {
        7
    };
    assert_eq!(error["code"], code, "{error}");
    assert!(
        error["msg"].as_str().unwrap().contains("10.1.0.5"),
        "{error}"
    );
}

#[test]
fn an_unknown_argument_is_an_error_unless_it_may_be_ignored() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({ "addresses": [{ "address": "10.1.0.5/24" }] }));
    plugin(&host, "static-ipam")
        .args("COLOUR=red")
        .add(&c1, &conf)
        .fails();
    plugin(&host, "static-ipam")
        .args("COLOUR=red;IgnoreUnknown=true")
        .add(&c1, &conf)
        .succeeds();
}

#[test]
fn del_succeeds_whatever_there_is() {
    let host = Host::new();
    let c1 = host.container("c1");
    let conf = network(json!({ "addresses": [{ "address": "10.1.0.5/24" }] }));
    plugin(&host, "static-ipam").del(&c1, &conf).succeeds();
    plugin(&host, "static-ipam").del(&c1, &conf).succeeds();
    plugin(&host, "static-ipam")
        .netns("")
        .del(&c1, &conf)
        .succeeds();
}
