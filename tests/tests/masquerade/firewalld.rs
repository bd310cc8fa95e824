//! A host with Debian's firewalld, on a message bus of its own.

use std::time::Duration;

use plumb_tests::{Firewalld, binaries, conf, conf_for, json, until};

use super::world::{INTERNET, SILENCE, UPLINK, World, kept_out, seen, seen_within};

struct Zones {
    world: World,
    daemon: Firewalld,
}

impl Zones {
    fn new() -> Self {
        let world = World::new();
        let daemon = Firewalld::start(&world.host);
        Self { world, daemon }
    }

    fn sources(&self, zone: &str) -> String {
        let host = &self.world.host;
        let zone = format!("--zone={zone}");
        let listed = host.exec(["firewall-cmd", &zone, "--list-sources"]);
        let mut listed: Vec<&str> = listed.split_whitespace().collect();
        listed.sort_unstable();
        listed.join(" ")
    }
}

#[test]
fn containers_are_sources_of_a_zone_as_long_as_they_live() {
    let firewalld = Zones::new();
    let world = &firewalld.world;
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    let check = || {
        let plugin = world.plugin().previous(&first);
        plugin.check(&c1, conf("masquerade", json!({})))
    };
    // What the zone does without us.
    world
        .add(&c1, &first, json!({ "backend": "nftables" }))
        .succeeds();
    assert_eq!(
        seen_within(SILENCE, &c1, &world.internet, INTERNET[0]),
        None
    );
    assert_eq!(firewalld.sources("trusted"), "");
    world.add(&c1, &first, json!({})).succeeds();
    world
        .add(&c2, &second, json!({ "backend": "firewalld" }))
        .succeeds();
    for (outside, uplink) in INTERNET.into_iter().zip(UPLINK) {
        for container in [&c1, &c2] {
            let seen = seen(container, &world.internet, outside);
            assert_eq!(seen.as_deref(), Some(uplink));
        }
    }
    kept_out(&world.internet, &c1, "10.77.0.2");
    assert_eq!(
        firewalld.sources("trusted"),
        "10.77.0.2 10.77.0.3 fd77::2 fd77::3"
    );
    check().succeeds();

    // A reload of firewalld forgets them.
    // It has 25 s for an answer, which a busy machine may need for that.
    let reload = || {
        let answer = world.host.try_exec(["firewall-cmd", "--reload"]);
        answer.status.success()
    };
    assert!(until(Duration::from_secs(90), reload));
    assert_eq!(firewalld.sources("trusted"), "");
    check().fails_with(102, "firewalld: 10.77.0.2 is no source of zone trusted");
    world
        .plugin()
        .status(conf("masquerade", json!({})))
        .fails_with(51, "firewalld");
    let plugin = binaries().find("masquerade");
    let said = world.host.exec([plugin.as_os_str(), "reload".as_ref()]);
    assert!(said.contains("in place: 2;"), "{said}");
    check().succeeds();
    assert!(seen(&c1, &world.internet, INTERNET[0]).is_some());

    // The address belongs to somebody else by now.
    let heir = world.host.container("heir");
    world.add(&heir, &first, json!({})).succeeds();
    world.del(&c1).succeeds();
    assert_eq!(
        firewalld.sources("trusted"),
        "10.77.0.2 10.77.0.3 fd77::2 fd77::3"
    );
    world.del(&heir).succeeds();
    assert_eq!(firewalld.sources("trusted"), "10.77.0.3 fd77::3");
    world
        .plugin()
        .valid([])
        .gc(conf("masquerade", json!({})))
        .succeeds();
    assert_eq!(firewalld.sources("trusted"), "");
}

#[test]
fn a_zone_that_cannot_be_had_undoes_the_attachment() {
    let mut firewalld = Zones::new();
    let world = &firewalld.world;
    let (c1, result) = world.with_container("c1");
    // Once a zone has been used firewalld keeps its chains.
    world.add(&c1, &result, json!({})).succeeds();
    world.del(&c1).succeeds();
    let before = world.host.state();
    let keys = json!({ "firewalldZone": "nowhere" });
    world.add(&c1, &result, keys).fails_with(7, "INVALID_ZONE");
    world.host.assert_unchanged_since(&before);
    // The administrator's word about an address counts.
    world
        .host
        .exec(["firewall-cmd", "--zone=work", "--add-source=fd77::2"]);
    let before = world.host.state();
    world
        .add(&c1, &result, json!({}))
        .fails_with(101, "fd77::2");
    world.host.assert_unchanged_since(&before);
    assert_eq!(firewalld.sources("work"), "fd77::2");
    world
        .host
        .exec(["firewall-cmd", "--zone=work", "--remove-source=fd77::2"]);
    world
        .add(&c1, &result, json!({ "firewalldZone": "home" }))
        .succeeds();
    assert_eq!(firewalld.sources("home"), "10.77.0.2 fd77::2");
    let del = world.plugin();
    del.del(&c1, conf("masquerade", json!({ "firewalldZone": "home" })))
        .succeeds();
    assert_eq!(firewalld.sources("home"), "");
    // A firewalld that does not answer holds up what needs it, and no DEL.
    world.add(&c1, &result, json!({})).succeeds();
    firewalld.daemon.stop();
    let world = &firewalld.world;
    world
        .plugin()
        .netns("")
        .del(&c1, conf("masquerade", json!({})))
        .succeeds();
    let refused = world.add(&c1, &result, json!({ "backend": "firewalld" }));
    refused.fails_with(11, "firewalld");
}

#[test]
fn networks_behind_the_containers_are_sources_as_long_as_somebody_is_in_front() {
    let firewalld = Zones::new();
    let world = &firewalld.world;
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    c1.sh("ip addr add 10.90.0.2/16 dev lo; ip -6 addr add fd90::2/64 dev lo nodad");
    world
        .host
        .sh("ip route add 10.90.0.0/16 via 10.77.0.2; ip -6 route add fd90::/64 via fd77::2");
    let keys = json!({ "sources": ["10.90.0.0/16", "fd90::/64"] });
    let check = || {
        let plugin = world.plugin().previous(&first);
        plugin.check(&c1, conf("masquerade", keys.clone()))
    };
    let del = |container, network: &str| {
        let plugin = world.plugin().netns("");
        plugin
            .del(container, conf_for(network, "masquerade", keys.clone()))
            .succeeds();
    };
    world.add(&c1, &first, keys.clone()).succeeds();
    world.add(&c2, &second, keys.clone()).succeeds();
    let other = conf_for("other", "masquerade", keys.clone());
    world.plugin().previous(&second).add(&c2, other).succeeds();
    for (number, (outside, uplink)) in INTERNET.into_iter().zip(UPLINK).enumerate() {
        let behind = ["10.90.0.2", "fd90::2"][number];
        c1.sh(&format!(
            "ip route replace default via {} src {behind}",
            ["10.77.0.1", "fd77::1"][number]
        ));
        let seen = seen(&c1, &world.internet, outside);
        assert_eq!(seen.as_deref(), Some(uplink));
    }
    let all = "10.77.0.2 10.77.0.3 10.90.0.0/16 fd77::2 fd77::3 fd90::/64";
    assert_eq!(firewalld.sources("trusted"), all);
    check().succeeds();
    world.host.exec([
        "firewall-cmd",
        "--zone=trusted",
        "--remove-source=fd90::/64",
    ]);
    check().fails_with(102, "firewalld: fd90::/64 is no source of zone trusted");
    world.add(&c1, &first, keys.clone()).succeeds();
    check().succeeds();

    let left = "10.77.0.3 10.90.0.0/16 fd77::3 fd90::/64";
    // The first of the network, its last one, and the other network's.
    del(&c1, "testnet");
    assert_eq!(firewalld.sources("trusted"), left);
    del(&c2, "testnet");
    assert_eq!(firewalld.sources("trusted"), left);
    del(&c2, "other");
    assert_eq!(firewalld.sources("trusted"), "");
}
