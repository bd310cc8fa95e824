//! An attachment of a bridge after its ADD, and in each version of the specification.

use std::time::Duration;

use plumb_tests::{Host, Value, json, until};

use super::{attached, bridge_conf, plugin, theirs};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn del_takes_the_interface_and_may_be_repeated() {
    let host = Host::new();
    let (c1, result) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    let host_end = result["interfaces"][1]["name"].as_str().unwrap();
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    let call = plugin(&host, "bridge-attach").previous(&result);
    call.del(&c1, &conf).succeeds();
    assert!(c1.link("eth0").is_none() && host.link(host_end).is_none());
    assert!(host.link("br0").is_some());
    call.del(&c1, &conf).succeeds();
    plugin(&host, "bridge-attach").del(&c1, &conf).succeeds();
}

#[test]
fn del_succeeds_when_the_container_is_gone() {
    let host = Host::new();
    let (c1, result) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    c1.vanish();
    plugin(&host, "bridge-attach")
        .previous(&result)
        .del(&c1, &conf)
        .succeeds();
    plugin(&host, "bridge-attach")
        .netns("")
        .previous(&result)
        .del(&c1, &conf)
        .succeeds();
    let host_end = result["interfaces"][1]["name"].as_str().unwrap();
    assert!(until(SOON, || host.link(host_end).is_none()));
}

#[test]
fn del_with_no_namespace_given_succeeds() {
    let host = Host::new();
    let (c1, result) = attached(&host, "c1", "10.1.0.2/24", json!({}));
    let conf = bridge_conf("10.1.0.2/24", json!({}));
    plugin(&host, "bridge-attach")
        .netns("")
        .previous(&result)
        .del(&c1, &conf)
        .succeeds();
    let host_end = result["interfaces"][1]["name"].as_str().unwrap();
    if !theirs("they remove a veth only through its namespace") {
        assert!(host.link(host_end).is_none());
    }
}

#[test]
fn check_passes_after_add_and_finds_what_is_missing() {
    let host = Host::new();
    let (c1, result) = attached(
        &host,
        "c1",
        "10.1.0.2/24",
        json!({ "isDefaultGateway": true }),
    );
    let conf = bridge_conf("10.1.0.2/24", json!({ "isDefaultGateway": true }));
    let check = || {
        plugin(&host, "bridge-attach")
            .previous(&result)
            .check(&c1, &conf)
    };
    check().succeeds();
    for (drift, repair) in [
        (
            "ip addr del 10.1.0.2/24 dev eth0",
            "ip addr add 10.1.0.2/24 dev eth0; ip route add default via 10.1.0.1",
        ),
        ("ip route del default", "ip route add default via 10.1.0.1"),
    ] {
        c1.sh(drift);
        check().fails();
        c1.sh(repair);
        check().succeeds();
    }
    host.exec([
        "ip",
        "link",
        "set",
        result["interfaces"][1]["name"].as_str().unwrap(),
        "nomaster",
    ]);
    check().fails();
}

#[test]
fn status_is_that_of_the_ipam_plugin() {
    let host = Host::new();
    plugin(&host, "bridge-attach")
        .status(bridge_conf("10.1.0.2/24", json!({})))
        .succeeds();
    let missing = bridge_conf("", json!({ "ipam": { "type": "no-such-plugin" } }));
    plugin(&host, "bridge-attach").status(missing).fails();
}

#[test]
fn versions_from_the_oldest_on_are_served() {
    for version in [
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
    ] {
        let added = std::thread::spawn(move || {
            let host = Host::new();
            let c1 = host.container("c1");
            let call = plugin(&host, "bridge-attach").key("cniVersion", json!(version));
            let result: Value = call
                .add(&c1, bridge_conf("10.1.0.2/24", json!({})))
                .succeeds();
            assert!(c1.ping("10.1.0.1"));
            call.previous(&result)
                .del(&c1, bridge_conf("10.1.0.2/24", json!({})))
                .succeeds();
            result
        });
        let result = added.join().unwrap();
        assert_eq!(result["cniVersion"], version);
        let address = if version < "0.3.0" {
            &result["ip4"]["ip"]
        } else {
            &result["ips"][0]["address"]
        };
        assert_eq!(address, "10.1.0.2/24");
    }
}
