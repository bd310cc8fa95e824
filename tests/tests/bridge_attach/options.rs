//! Options of the bridge itself, and bridges that are somebody else's.

use std::time::Duration;

use plumb_tests::{Host, Value, json, until};

use super::{attached, host, layer2, layer3, plugin};

fn info(host: &Host) -> Value {
    host.link("br0").unwrap()["linkinfo"]["info_data"].clone()
}

#[test]
fn a_bridge_that_is_made_has_the_options() {
    let (host, _ipam) = host();
    let conf = layer2(json!({
        "stp": true, "forwardDelay": 2, "ageingTime": 60, "multicastSnooping": false, "removeEmptyBridge": true,
    }));
    let before = host.state();
    let (c1, result) = attached(&host, "c1", &conf);
    let info = info(&host);
    assert_eq!(
        (&info["stp_state"], &info["forward_delay"]),
        (&json!(1), &json!(200))
    );
    assert_eq!(
        (&info["ageing_time"], &info["mcast_snooping"]),
        (&json!(6000), &json!(0))
    );
    let check = || plugin(&host).previous(&result).check(&c1, &conf);
    check().succeeds();
    host.sh("ip link set br0 type bridge mcast_snooping 1");
    check().fails_with(102, "multicastSnooping of br0: expected false, found true");
    plugin(&host).del(&c1, &conf).succeeds();
    host.assert_unchanged_since(&before);
}

#[test]
fn while_spanning_tree_settles_the_ageing_time_is_no_matter() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "stp": true, "forwardDelay": 2, "ageingTime": 60 }));
    let (c1, result) = attached(&host, "c1", &conf);
    assert!(until(
        Duration::from_secs(20),
        || info(&host)["topology_change"] == 1
    ));
    assert_eq!(
        info(&host)["ageing_time"],
        400,
        "the kernel goes by twice the delay now"
    );
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    attached(&host, "c2", &conf);
    let other = layer2(json!({ "stp": true, "forwardDelay": 3, "ageingTime": 60 }));
    plugin(&host)
        .add(&host.container("c3"), &other)
        .fails_with(101, "forwardDelay: wanted 3, the bridge has 2");
}

#[test]
fn under_another_root_the_forward_delay_is_no_matter() {
    let (host, _ipam) = host();
    host.sh("ip link add far type bridge stp_state 1 priority 1 forward_delay 500");
    host.sh("ip link add up0 type veth peer name end; ip link set end master far");
    host.sh("ip link set far up; ip link set end up");
    let conf = layer2(json!({ "stp": true, "forwardDelay": 2, "ageingTime": 60, "uplink": "up0" }));
    let (c1, result) = attached(&host, "c1", &conf);
    let has = |delay: u32| info(&host)["forward_delay"] == delay;
    assert!(
        until(Duration::from_secs(30), || has(500)),
        "the kernel goes by the root's delay now"
    );
    plugin(&host).previous(&result).check(&c1, &conf).succeeds();
    attached(&host, "c2", &conf);
    plugin(&host).status(&conf).succeeds();
    host.sh("ip link set end down; ip link set up0 down");
    assert!(
        until(Duration::from_secs(30), || has(200)),
        "without its root the bridge is the root"
    );
    host.sh("ip link set br0 type bridge forward_delay 300; ip link set up0 up");
    plugin(&host)
        .previous(&result)
        .check(&c1, &conf)
        .fails_with(102, "forwardDelay of br0: expected 2, found 3");
}

#[test]
fn a_bridge_that_is_there_must_have_the_options_and_is_not_changed() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge forward_delay 400; ip link set br0 addrgenmode none up");
    let before = host.state();
    let conf = layer2(json!({ "stp": true, "forwardDelay": 15, "ageingTime": 300 }));
    plugin(&host).add(&host.container("c1"), &conf).fails_with(
        101,
        "stp: wanted true, the bridge has false; forwardDelay: wanted 15, the bridge has 4",
    );
    host.assert_unchanged_since(&before);
    attached(
        &host,
        "c2",
        &layer2(json!({ "forwardDelay": 4, "stp": false })),
    );
}

#[test]
fn a_bridge_that_is_not_to_be_managed_must_exist_and_is_left_alone() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "manageBridge": false }));
    let empty = host.state();
    let add = |name: &str, conf: &Value| plugin(&host).add(&host.container(name), conf);
    add("c1", &conf).fails_with(7, "bridge br0 does not exist");
    host.assert_unchanged_since(&empty);
    host.sh("ip link add br0 type bridge");
    add("c2", &conf).fails_with(7, "bridge br0 is down");
    host.sh("ip link set br0 address 02:00:00:00:00:07 up");
    host.sh(
        "ip link add p0 type veth peer name p1; ip link set p1 up; ip link set p0 master br0 up",
    );
    let settled = || host.link("br0").unwrap()["operstate"] == "UP";
    assert!(until(Duration::from_secs(15), settled));
    let before = host.state();
    let gateway = layer3(json!({ "manageBridge": false }));
    add("c3", &gateway).fails_with(7, "bridge br0 has no address 10.1.0.1/24");
    host.assert_unchanged_since(&before);
    let (c4, _) = attached(&host, "c4", &conf);
    plugin(&host).del(&c4, &conf).succeeds();
    host.assert_unchanged_since(&before);
    host.sh("ip addr add 10.1.0.1/24 dev br0; ip addr add fd01::1/64 dev br0 nodad");
    let (c5, result) = attached(&host, "c5", &gateway);
    assert!(c5.ping("10.1.0.1"));
    plugin(&host)
        .previous(&result)
        .check(&c5, &gateway)
        .succeeds();
}
