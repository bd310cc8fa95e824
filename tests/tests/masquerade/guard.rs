//! `forward`: who may open a connection.

use plumb_tests::json;

use super::world::{INTERNET, World, kept_out, nf_call, seen};

#[test]
fn open_means_that_the_outside_can_connect() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, json!({})).succeeds();
    for (own, outside) in [("10.77.0.2", INTERNET[0]), ("fd77::2", INTERNET[1])] {
        assert_eq!(seen(&world.internet, &c1, own).as_deref(), Some(outside));
    }
}

#[test]
fn stateful_means_that_only_the_inside_can_connect() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "forward": "stateful" });
    world.add(&c1, &result, keys).succeeds();
    for (own, outside) in [("10.77.0.2", INTERNET[0]), ("fd77::2", INTERNET[1])] {
        kept_out(&world.internet, &c1, own);
        assert!(!world.internet.ping(own));
        assert!(seen(&c1, &world.internet, outside).is_some());
        assert!(c1.ping(outside));
    }
}

#[test]
fn stateful_guards_the_whole_subnet_and_nothing_else() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, _) = world.with_container("c2");
    let keys = json!({ "forward": "stateful" });
    world.add(&c1, &first, keys).succeeds();
    kept_out(&world.internet, &c2, "10.77.0.3");
    world.bridge("br2", &["10.78.0.1/16"]);
    let neighbour = world.host.container("neighbour");
    world.join(&neighbour, "eth0", "br2", &["10.78.0.2/16"]);
    neighbour.sh("ip route add default via 10.78.0.1");
    assert!(seen(&world.internet, &neighbour, "10.78.0.2").is_some());
    kept_out(&neighbour, &c1, "10.77.0.2");
    assert!(seen(&c1, &neighbour, "10.78.0.2").is_some());
}

#[test]
fn inside_everybody_can_connect_whether_or_not_bridged_frames_pass_the_rules() {
    for bridged_frames_pass_the_rules in [false, true] {
        std::thread::spawn(move || {
            let world = World::new();
            nf_call(&world.host, bridged_frames_pass_the_rules);
            let (c1, first) = world.with_container("c1");
            let (c2, second) = world.with_container("c2");
            for (container, result) in [(&c1, &first), (&c2, &second)] {
                let keys = json!({ "forward": "stateful" });
                world.add(container, result, keys).succeeds();
            }
            for (one, other) in [("10.77.0.2", "10.77.0.3"), ("fd77::2", "fd77::3")] {
                assert_eq!(seen(&c1, &c2, other).as_deref(), Some(one));
                assert_eq!(seen(&c2, &c1, one).as_deref(), Some(other));
                assert!(seen(&world.host, &c1, one).is_some());
            }
            assert!(seen(&c1, &world.host, "10.77.0.1").is_some());
        })
        .join()
        .unwrap();
    }
}

#[test]
fn no_chain_of_ours_drops_by_policy() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let keys = json!({ "forward": "stateful", "sources": ["10.79.0.0/16"] });
    world.add(&c1, &result, keys).succeeds();
    let objects = world.host.ruleset_json();
    let chains: Vec<_> = objects
        .iter()
        .filter_map(|object| object.get("chain"))
        .collect();
    let hooked = chains.iter().filter(|chain| chain.get("hook").is_some());
    assert!(hooked.clone().count() >= 3);
    assert!(hooked.into_iter().all(|chain| chain["policy"] == "accept"));
}
