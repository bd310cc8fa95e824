//! What DEL removes, and what it does not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plumb_tests::{json, until};

use super::{attached, host, host_end, layer2, layer3, plugin};

#[test]
fn del_leaves_the_bridge_and_nothing_else_and_may_be_repeated() {
    let (host, ipam) = host();
    let conf = layer3(json!({}));
    let (c0, _) = attached(&host, "c9", &conf);
    let before = host.state();
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).previous(&result).del(&c1, &conf).succeeds();
    host.assert_unchanged_since(&before);
    assert!(c1.link("eth0").is_none());
    plugin(&host).previous(&result).del(&c1, &conf).succeeds();
    plugin(&host).del(&c1, &conf).succeeds();
    host.assert_unchanged_since(&before);
    assert_eq!(
        ipam.calls()
            .iter()
            .filter(|call| *call == "DEL c1 eth0")
            .count(),
        3
    );
    assert!(c0.ping("10.1.0.1"));
    plugin(&host).add(&c1, &conf).succeeds();
    assert!(c1.ping("10.1.0.1"));
}

#[test]
fn del_of_what_never_was_is_a_success() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    let before = host.state();
    plugin(&host).del(&c1, layer3(json!({}))).succeeds();
    plugin(&host)
        .netns("")
        .del(&c1, layer2(json!({})))
        .succeeds();
    host.assert_unchanged_since(&before);
}

#[test]
fn del_works_without_a_namespace_and_without_a_previous_result() {
    let (host, _ipam) = host();
    let conf = layer3(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host).netns("").del(&c1, &conf).succeeds();
    assert!(host.link(&host_end(&result)).is_none() && c1.link("eth0").is_none());
    let (c2, result) = attached(&host, "c2", &conf);
    c2.vanish();
    plugin(&host).del(&c2, &conf).succeeds();
    assert!(host.link(&host_end(&result)).is_none());
}

#[test]
fn del_with_our_own_namespace_removes_the_attachment_and_no_eth0_of_the_host() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge; ip link add eth0 type veth peer name far; ip link set eth0 master br0");
    let conf = layer2(json!({}));
    let (c1, result) = attached(&host, "c1", &conf);
    plugin(&host)
        .netns("/proc/self/ns/net")
        .del(&c1, &conf)
        .succeeds();
    assert!(host.link("eth0").is_some() && host.link("far").is_some());
    assert!(host.link(&host_end(&result)).is_none());
}

#[test]
fn an_interface_of_that_name_alone_is_not_deleted() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    c1.sh("ip link add eth0 type veth peer name other");
    plugin(&host).del(&c1, layer2(json!({}))).succeeds();
    assert!(c1.link("eth0").is_some());
}

#[test]
fn an_attachment_of_another_network_is_not_deleted() {
    let (host, _ipam) = host();
    let (c1, result) = attached(&host, "c1", &layer2(json!({})));
    let other = layer2(json!({ "name": "othernet" }));
    plugin(&host).del(&c1, &other).succeeds();
    plugin(&host).previous(&result).del(&c1, &other).succeeds();
    assert!(c1.link("eth0").is_some());
}

#[test]
fn a_veth_that_the_reference_plugin_made_is_deleted() {
    let (host, _ipam) = host();
    let c1 = host.container("c1");
    host.sh("ip link add br0 type bridge; ip link set br0 up");
    c1.sh("ip link add eth0 type veth peer name veth12345678");
    let netns = format!(
        "/proc/{}/task/{}/ns/net",
        std::process::id(),
        nix::unistd::gettid()
    );
    fs::write("/run/netns/host", "").unwrap();
    host.exec(["mount", "--bind", &netns, "/run/netns/host"]);
    c1.sh("ip link set veth12345678 netns host");
    host.sh("ip link set veth12345678 master br0 up");
    plugin(&host).del(&c1, layer2(json!({}))).succeeds();
    assert!(host.link("veth12345678").is_none() && c1.link("eth0").is_none());
}

#[test]
fn the_ipam_plugin_has_its_turn_while_the_link_is_there() {
    let (host, ipam) = host();
    let conf = layer3(json!({ "ipam": { "type": super::ipam::CAREFUL } }));
    let (c1, _) = attached(&host, "c1", &conf);
    ipam.does(
        "DEL",
        "nsenter --net=$CNI_NETNS ip -br link show eth0 > /run/ipam/link",
    );
    plugin(&host).del(&c1, &conf).succeeds();
    let seen = fs::read_to_string("/run/ipam/link").unwrap();
    assert!(seen.contains("UP"), "{seen}");
}

#[test]
fn a_failing_ipam_plugin_does_not_keep_the_link_alive() {
    let (host, ipam) = host();
    for kind in [super::ipam::QUICK, super::ipam::CAREFUL] {
        let conf = layer3(json!({ "ipam": { "type": kind } }));
        let container = host.container(if kind == super::ipam::QUICK {
            "c1"
        } else {
            "c2"
        });
        let result = plugin(&host).add(&container, &conf).succeeds();
        ipam.does(
            "DEL",
            r#"echo '{"code":77,"msg":"lease file is locked"}'; exit 1"#,
        );
        plugin(&host)
            .del(&container, &conf)
            .fails_with(77, "lease file is locked");
        assert!(host.link(&host_end(&result)).is_none());
    }
}

#[test]
fn a_bridge_that_the_plugin_made_goes_with_its_last_attachment() {
    let (host, _ipam) = host();
    let before = host.state();
    let conf = layer2(json!({ "removeEmptyBridge": true }));
    let (c1, _) = attached(&host, "c1", &conf);
    let (c2, _) = attached(&host, "c2", &conf);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("br0").is_some());
    plugin(&host).del(&c2, &conf).succeeds();
    host.assert_unchanged_since(&before);
    plugin(&host).del(&c2, &conf).succeeds();
}

#[test]
fn a_bridge_that_was_there_stays() {
    let (host, _ipam) = host();
    host.sh("ip link add br0 type bridge");
    let conf = layer2(json!({ "removeEmptyBridge": true }));
    let (c1, _) = attached(&host, "c1", &conf);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(host.link("br0").is_some());
}

#[test]
fn what_the_attachment_had_goes_when_the_configuration_names_another_bridge_by_now() {
    let (host, _ipam) = host();
    host.sh("ip link add other type bridge");
    let conf = |bridge: &str| {
        layer3(
            json!({ "bridge": bridge, "removeEmptyBridge": true, "hostRoutes": [{ "dst": "192.168.9.0/24" }] }),
        )
    };
    let (c2, _) = attached(&host, "c2", &layer3(json!({ "bridge": "br0" })));
    let (c1, _) = attached(&host, "c1", &conf("br0"));
    let has_route = || {
        host.routes()
            .iter()
            .any(|route| route.starts_with("192.168.9.0/24"))
    };
    assert!(has_route());
    plugin(&host).del(&c1, conf("other")).succeeds();
    assert!(!has_route(), "{:?}", host.routes());
    assert!(c2.ping("10.1.0.1"));
    plugin(&host).del(&c2, conf("other")).succeeds();
    assert!(host.link("br0").is_none(), "the bridge it was on, and ours");
    assert!(host.link("other").is_some());
}

/// The processes of the plugin on this test's host.
fn processes() -> usize {
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let is_here = |process: &Path| {
        fs::read_link(process.join("ns/net")).is_ok_and(|netns| netns == own)
            && fs::read_to_string(process.join("comm"))
                .is_ok_and(|name| name.trim() == "bridge-attach")
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|entry| is_here(&entry.path())).count()
}

#[test]
fn what_waits_for_the_kernel_after_del_ends_by_itself() {
    let (host, _ipam) = host();
    let conf = layer2(json!({}));
    let (c1, _) = attached(&host, "c1", &conf);
    plugin(&host).del(&c1, &conf).succeeds();
    assert!(c1.link("eth0").is_none());
    assert!(until(Duration::from_secs(10), || processes() == 0));
}

#[test]
fn a_strict_del_leaves_no_process_at_all() {
    let (host, _ipam) = host();
    let conf = layer2(json!({ "strictDel": true }));
    let (c1, _) = attached(&host, "c1", &conf);
    plugin(&host).del(&c1, &conf).succeeds();
    assert_eq!(processes(), 0);
    assert!(c1.link("eth0").is_none());
}

#[test]
fn a_faulty_configuration_does_not_keep_an_attachment_alive() {
    let (host, _ipam) = host();
    let (c1, result) = attached(&host, "c1", &layer2(json!({})));
    plugin(&host)
        .del(&c1, layer2(json!({ "mtu": 1, "vlan": 7 })))
        .succeeds();
    assert!(host.link(&host_end(&result)).is_none());
}
