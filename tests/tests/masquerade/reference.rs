//! Containers that the Go plugin `firewall` attached, and that we take down under its name.

use plumb_tests::{Value, conf_for, json};

use super::world::{INTERNET, World, seen};

/// As firewall 1.9.1 leaves iptables for two containers.
fn left_behind(world: &World, suffix: &str) {
    for (tables, addresses) in [
        ("iptables", ["10.77.0.2/32", "10.77.0.3/32"]),
        ("ip6tables", ["fd77::2/128", "fd77::3/128"]),
    ] {
        let tables = format!("{tables}-{suffix}");
        world.host.sh(&format!(
            "{tables} -P FORWARD DROP; {tables} -N CNI-FORWARD; {tables} -N CNI-ADMIN
             {tables} -I FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD
             {tables} -I CNI-FORWARD -m comment --comment 'CNI firewall plugin admin overrides' -j CNI-ADMIN"
        ));
        for address in addresses {
            world.host.sh(&format!(
                "{tables} -A CNI-FORWARD -d {address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                 {tables} -A CNI-FORWARD -s {address} -j ACCEPT"
            ));
        }
    }
}

fn firewall(keys: Value) -> Value {
    conf_for("testnet", "firewall", keys)
}

#[test]
fn del_takes_the_rules_for_the_containers_addresses() {
    for suffix in ["nft", "legacy"] {
        std::thread::spawn(move || {
            let world = World::new();
            left_behind(&world, suffix);
            let (c1, first) = world.with_container("c1");
            let (c2, second) = world.with_container("c2");
            let plugin = world.plugin().previous(&first);
            for _ in 0..2 {
                plugin.del(&c1, firewall(json!({}))).succeeds();
            }
            let left = world
                .host
                .sh(&format!("iptables-{suffix}-save; ip6tables-{suffix}-save"));
            assert!(
                !left.contains("10.77.0.2") && !left.contains("fd77::2"),
                "{left}"
            );
            assert_eq!(left.matches("10.77.0.3/32").count(), 2, "{left}");
            assert_eq!(left.matches("fd77::3/128").count(), 2, "{left}");
            assert!(left.contains("-j CNI-ADMIN"), "{left}");
            // One that ours has attached since keeps its way, also when the other is taken down late.
            let ours = world.plugin().previous(&second);
            ours.add(
                &c2,
                firewall(json!({ "masquerade": true, "ipForward": true })),
            )
            .succeeds();
            let heir = world.plugin().container_id("theirs").previous(&second);
            heir.del(&c2, firewall(json!({}))).succeeds();
            assert!(seen(&c2, &world.internet, INTERNET[0]).is_some());
            ours.check(
                &c2,
                firewall(json!({ "masquerade": true, "ipForward": true })),
            )
            .succeeds();
            ours.del(&c2, firewall(json!({}))).succeeds();
            let left = world
                .host
                .sh(&format!("iptables-{suffix}-save; ip6tables-{suffix}-save"));
            assert!(
                !left.contains("10.77.0.3") && !left.contains("PLUMB"),
                "{left}"
            );
        })
        .join()
        .unwrap();
    }
}
