//! GC removes what is stale, and nothing else.

use std::time::Duration;

use plumb_tests::json;

use super::{attached, host, host_end, layer2, layer3, plugin};

#[test]
fn what_is_not_valid_goes_and_the_rest_stays() {
    let (host, ipam) = host();
    let conf = layer3(json!({ "hostRoutes": [{ "dst": "192.168.102.0/24" }] }));
    let (c1, kept) = attached(&host, "c1", &conf);
    let before = host.state();
    let mut stale = Vec::new();
    for (name, dst) in [
        ("c2", "192.168.2.0/24"),
        ("c3", "192.168.3.0/24"),
        ("c4", "192.168.4.0/24"),
    ] {
        let conf = layer3(json!({ "hostRoutes": [{ "dst": dst }] }));
        stale.push(attached(&host, name, &conf));
    }
    let other = layer2(json!({ "name": "othernet" }));
    let (c5, foreign) = attached(&host, "c5", &other);
    plugin(&host).valid([("c1", "eth0")]).gc(&conf).succeeds();
    for (container, result) in &stale {
        assert!(host.link(&host_end(result)).is_none() && container.link("eth0").is_none());
    }
    assert!(host.link(&host_end(&kept)).is_some() && host.link(&host_end(&foreign)).is_some());
    assert!(c1.ping("10.1.0.1"));
    plugin(&host).del(&c5, &other).succeeds();
    host.assert_unchanged_since(&before);
    assert!(ipam.calls().iter().any(|call| call.starts_with("GC")));
    plugin(&host).valid([("c1", "eth0")]).gc(&conf).succeeds();
    host.assert_unchanged_since(&before);
}

#[test]
fn without_a_list_nothing_is_touched_and_an_empty_list_takes_all() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "removeEmptyBridge": true }));
    let before = host.state();
    attached(&host, "c1", &conf);
    let during = host.state();
    plugin(&host).gc(&conf).succeeds();
    host.assert_unchanged_since(&during);
    plugin(&host).valid([]).gc(&conf).succeeds();
    host.assert_unchanged_since(&before);
}

#[test]
fn a_host_end_that_was_never_marked_goes_where_it_can_only_be_ours() {
    let (host, _ipam) = host();
    let conf = layer2(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    let before = host.state();
    // A crash between creation and mark; and somebody's links that look similar.
    let half_made = 0x706c_756d;
    for name in ["vethaaaaaaaaaaa", "r1-eth1"] {
        host.sh(&format!("ip link add {name} group {half_made} type veth peer name pa; ip link set {name} master br0"));
        plugin(&host).valid([("c1", "eth0")]).gc(&conf).succeeds();
        host.assert_unchanged_since(&before);
    }
    host.sh(&format!(
        "ip link add vethbbbbbbbbbbb group {half_made} type veth peer name pb"
    ));
    host.sh("ip link add vethccccccccccc type veth peer name pc; ip link set vethccccccccccc master br0");
    plugin(&host).valid([("c1", "eth0")]).gc(&conf).succeeds();
    assert!(host.link("vethbbbbbbbbbbb").is_some() && host.link("vethccccccccccc").is_some());
    assert!(host.link(&host_end(&result)).is_some() && c1.link("eth0").is_some());
}

#[test]
fn a_host_end_that_is_marked_late_is_one_in_the_making() {
    let (host, _ipam) = host();
    let conf = layer2(json!({}));
    let (_c1, _) = attached(&host, "c1", &conf);
    let half_made = 0x706c_756d;
    host.sh(&format!("ip link add vethaaaaaaaaaaa group {half_made} type veth peer name pa; ip link set vethaaaaaaaaaaa master br0"));
    let collector = plugin(&host).valid([("c1", "eth0")]);
    std::thread::scope(|scope| {
        let collected = scope.spawn(|| collector.gc(&conf));
        // Its ADD has to wait for its turn, not for as long as GC looks.
        std::thread::sleep(Duration::from_millis(150));
        host.sh("ip link set vethaaaaaaaaaaa alias somebodys group 0");
        collected.join().unwrap().succeeds();
    });
    assert!(host.link("vethaaaaaaaaaaa").is_some());
}

#[test]
fn host_routes_of_a_container_that_vanished_are_collected() {
    let (host, _ipam) = host();
    let conf = layer3(json!({ "hostRoutes": [{ "dst": "192.168.102.0/24" }] }));
    let (_c1, result) = attached(&host, "c1", &conf);
    host.sh(&format!("ip link del {}", host_end(&result)));
    assert!(
        host.routes()
            .iter()
            .any(|route| route.starts_with("192.168.102.0/24"))
    );
    plugin(&host).valid([]).gc(&conf).succeeds();
    assert!(
        !host
            .routes()
            .iter()
            .any(|route| route.starts_with("192.168.102.0/24"))
    );
}

#[test]
fn a_failing_ipam_plugin_does_not_stop_it() {
    let (host, ipam) = host();
    let conf = layer3(json!({}));
    let (_c1, result) = attached(&host, "c1", &conf);
    ipam.does("GC", r#"echo '{"code":9,"msg":"disk is full"}'; exit 1"#);
    plugin(&host)
        .valid([])
        .gc(&conf)
        .fails_with(9, "disk is full");
    assert!(host.link(&host_end(&result)).is_none());
}

#[test]
fn what_a_network_left_on_the_bridge_it_had_before_goes_too() {
    let (host, _ipam) = host();
    let keys = json!({ "hostRoutes": [{ "dst": "192.168.102.0/24" }], "removeEmptyBridge": true, "ipForward": false });
    let old = layer3(keys.clone());
    let before = host.state();
    attached(&host, "c1", &old);
    host.sh("ip link set br0 addrgenmode none");
    let mut new = layer3(keys);
    new["bridge"] = "br1".into();
    new["hostRoutes"] = json!([]);
    let (c2, _) = attached(&host, "c2", &new);
    assert!(host.link("br0").is_some());
    plugin(&host).valid([("c2", "eth0")]).gc(&new).succeeds();
    assert!(host.link("br0").is_none() && c2.link("eth0").is_some());
    plugin(&host).valid([]).gc(&new).succeeds();
    host.assert_unchanged_since(&before);
}
