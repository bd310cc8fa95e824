//! DEL when namespace, master or interface are gone, or were never ours.

use plumb_tests::{Container, Value, at_once, json};

use super::{World, on_nic, shared, with, without};

fn direct() -> Value {
    on_nic(json!({ "vlanId": 5 }))
}

/// Each mode on a host of its own.
fn in_both_modes(case: impl Fn(&World, &Value) + Sync) {
    at_once(2, |number| {
        case(&World::new(), &[direct(), shared(5)][number]);
    });
}

#[test]
fn without_the_namespace_everything_on_the_host_goes() {
    in_both_modes(|world, conf| {
        let before = world.state();
        let (c1, _) = world.attached("c1", conf);
        c1.vanish();
        world.del(&c1, conf);
        world.del(&c1, conf);
        // The kernel may still be at work on the namespace, and the link for the VLAN with it.
        let (c2, _) = world.attached("c2", conf);
        c2.vanish();
        world.plugin().netns("").del(&c2, conf).succeeds();
        world.assert_unchanged_since(&before);
    });
}

#[test]
fn without_the_master_everything_goes_and_the_ipam_plugin_is_told() {
    in_both_modes(|world, conf| {
        let (c1, _) = world.attached("c1", conf);
        world.sh("ip link del nic");
        assert_eq!(c1.link("eth0"), None, "the kernel took it along");
        world.del(&c1, conf);
        assert_eq!(world.ipam.calls(), ["ADD c1 eth0", "DEL c1 eth0"]);
        assert!(world.others().is_empty());
    });
}

#[test]
fn a_configuration_that_lost_its_master_is_good_enough() {
    in_both_modes(|world, conf| {
        let before = world.state();
        let (c1, _) = world.attached("c1", conf);
        world.del(&c1, &with(conf.clone(), json!({ "master": "nowhere" })));
        assert_eq!(c1.link("eth0"), None);
        let (c2, _) = world.attached("c2", conf);
        world.del(&c2, &without(conf.clone(), "master"));
        assert_eq!(c2.link("eth0"), None);
        world.assert_unchanged_since(&before);
    });
}

#[test]
fn a_configuration_that_says_something_else_now_is_good_enough() {
    in_both_modes(|world, conf| {
        let before = world.state();
        let others = [
            json!({ "vlanId": 6 }),
            json!({ "protocol": "802.1ad" }),
            json!({ "mode": if conf["mode"] == "shared" { "direct" } else { "shared" } }),
        ];
        for (number, keys) in others.into_iter().enumerate() {
            let (container, _) = world.attached(&format!("c{}", number + 1), conf);
            world.del(&container, &with(conf.clone(), keys));
            assert_eq!(container.link("eth0"), None);
        }
        let (c9, _) = world.attached("c9", conf);
        c9.vanish();
        world.del(&c9, &with(conf.clone(), json!({ "vlanId": 6 })));
        world.assert_unchanged_since(&before);
    });
}

#[test]
fn a_link_that_the_go_plugin_made_is_removed() {
    let world = World::new();
    let c1 = world.container("c1");
    world.sh("ip link add link nic name eth0 netns c1 type vlan id 5");
    c1.sh("ip link set eth0 up");
    world.del(&c1, &direct());
    assert_eq!(c1.link("eth0"), None);
}

#[test]
fn what_is_not_the_attachments_stays() {
    let world = World::new();
    let stays = |container: &Container, conf: &Value| {
        world.del(container, conf);
        assert!(container.link("eth0").is_some());
        container.sh("ip link del eth0");
    };
    let c1 = world.container("c1");
    c1.sh("ip link add eth0 type dummy");
    stays(&c1, &direct());
    world.sh("ip link add link nic name eth0 netns c1 type vlan id 6");
    stays(&c1, &direct());
    world.sh("ip link add link nic name eth0 netns c1 type vlan id 5");
    c1.sh("ip link set eth0 alias somebodys");
    stays(&c1, &direct());
    // A namespace path that another container got.
    let (c2, _) = world.attached("c2", &direct());
    let late = world.plugin().container_id("c3");
    late.del(&c2, direct()).succeeds();
    assert!(c2.link("eth0").is_some());
    late.del(&c2, shared(5)).succeeds();
    assert!(c2.link("eth0").is_some());
}

#[test]
fn the_last_to_go_takes_along_what_still_stands_on_the_link() {
    let world = World::new();
    let (c1, result) = world.attached("c1", &shared(5));
    // No namespace, as some runtimes have it, but there it is.
    world.plugin().netns("").del(&c1, shared(5)).succeeds();
    assert!(world.others().is_empty());
    assert_eq!(c1.link("eth0"), None);
    world
        .plugin()
        .previous(&result)
        .del(&c1, shared(5))
        .succeeds();
}

#[test]
fn strict_del_waits_for_the_kernel_and_does_the_same() {
    let world = World::new();
    let conf = with(direct(), json!({ "strictDel": true }));
    let (c1, _) = world.attached("c1", &conf);
    world.del(&c1, &conf);
    assert_eq!(c1.link("eth0"), None);
}
