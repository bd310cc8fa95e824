//! `--dry-run` and `--emit conflist`: a line shown instead of executed.

use plumb_tests::{Value, json};

use super::world::{World, until_settled};

#[test]
fn a_line_becomes_a_configuration_that_does_the_same() {
    let world = World::new();
    let c1 = world.container("c1");
    let line = "br1 -i eth2 -l hostapp1 c1 10.1.0.2/24@10.1.0.1 U:web";
    let before = world.state();
    let text = world.does(&format!("--emit conflist {line}"));
    // Neither is the guest looked for.
    assert_eq!(
        world.does(&format!("--emit conflist {}", line.replace("c1", "nobody"))),
        text
    );
    world.assert_unchanged_since(&before);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["name"], "pipework-br1");
    let mut conf = list["plugins"][0].clone();
    assert_eq!(conf["type"], "bridge-attach");
    conf["name"] = "lan".into();
    conf["cniVersion"] = "1.0.0".into();
    let plugin = world
        .plugin("bridge-attach")
        .path("/run/plugins")
        .ifname("eth2");
    let result = plugin.add(&c1, &conf).succeeds();
    assert_eq!(result["ips"][0]["address"], "10.1.0.2/24");
    assert_eq!(c1.routes()[0], "default via 10.1.0.1 dev eth2");
    assert_eq!(world.link("hostapp1").unwrap()["master"], "br1");
}

#[test]
fn the_configuration_of_a_nic_names_plugins_that_others_have_too() {
    let world = World::new();
    world.nic();
    for (line, plugin) in [
        (
            "eth2 c1 0/0 @10",
            json!({"type": "vlan", "master": "eth2", "mode": "shared", "vlanId": 10}),
        ),
        (
            "--direct-phys eth2 c1 0/0",
            json!({"type": "host-device", "device": "eth2"}),
        ),
        ("dummy c1 0/0", json!({"type": "dummy"})),
    ] {
        let text = world.does(&format!("--emit conflist {line}"));
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list["plugins"][0], plugin);
    }
}

#[test]
fn a_dry_run_prints_calls_that_a_shell_can_make() {
    let world = World::new();
    world.nic();
    for (line, guest) in [
        ("br1 c1 10.1.0.2/24@10.1.0.1", "c1"),
        ("eth2 c2 10.2.0.2/24", "c2"),
        ("--direct-phys eth2 c3 10.2.0.3/24", "c3"),
    ] {
        let c1 = world.container(guest);
        if world.link("br1").is_some() {
            until_settled(&world, "br1");
        }
        let (before, inside) = (world.state(), c1.state());
        let shown = world.does(&format!("--dry-run {line}"));
        world.assert_unchanged_since(&before);
        c1.assert_unchanged_since(&inside);
        assert!(
            shown.starts_with(&format!("# pipework {line}\n#   {{\n")),
            "{shown}"
        );
        world.feed(["sh", "-e"], &shown);
        let address = c1.addrs("eth1")[0].clone();
        assert!(line.contains(&address), "{address}");
        assert!(world.list().is_empty());
        if guest == "c2" {
            c1.sh("ip link del eth1");
        }
    }
}

#[test]
fn a_dry_run_says_what_would_not_be_done_or_is_refused() {
    let world = World::new();
    world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24");
    let shown = world.does("--dry-run br1 c1 10.1.0.2/24");
    assert!(
        shown.contains("# is attached already: nothing would be done"),
        "{shown}"
    );
    let said = world.fails("--dry-run br1 c1 10.1.0.3/24");
    assert!(said.contains("is attached already, by"), "{said}");
    assert!(
        world
            .fails("--dry-run br1 nobody 10.1.0.3/24")
            .contains("not found")
    );
}
