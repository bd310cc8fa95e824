//! What pipework never had: lines said twice, `--list`, `--del`, `--gc`.

use plumb_tests::json;

use super::world::{World, until_settled};

#[test]
fn the_same_line_twice_is_fine_and_a_contradicting_one_is_not() {
    let world = World::new();
    let c1 = world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24");
    until_settled(&world, "br1");
    until_settled(&c1, "eth1");
    let (before, inside) = (world.state(), c1.state());
    world.attaches("br1 c1 10.1.0.2/24");
    // The same said in other words.
    world.attaches("br1 -i eth1 -a 4 c1 10.1.0.2/255.255.255.0");
    for line in [
        "br1 c1 10.1.0.3/24",
        "br2 c1 10.1.0.2/24",
        "br1 c1 10.1.0.2/24 02:00:00:00:00:01",
    ] {
        let said = world.fails(line);
        for words in [
            "eth1 of c1 is attached already, by: pipework br1 c1 10.1.0.2/24",
            "--del c1 eth1",
        ] {
            assert!(said.contains(words), "{line}: {said}");
        }
    }
    world.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&inside);
}

#[test]
fn a_guest_that_was_started_anew_is_attached_anew() {
    let world = World::new();
    world.container("c1").vanish();
    let c1 = world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24");
    world.sh("ip addr add 10.1.0.1/24 dev br1");
    c1.vanish();
    let c1 = world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24");
    assert!(c1.ping("10.1.0.1"), "the bridge kept its address");
    assert_eq!(world.list().len(), 1);
    // An interface that was taken away by hand, and a line that is another one this time.
    c1.sh("ip link del eth1");
    world.attaches("br1 c1 10.1.0.3/24");
    assert_eq!(c1.addrs("eth1")[0], "10.1.0.3/24");
}

#[test]
fn the_list_tells_what_is_attached() {
    let world = World::new();
    assert_eq!(world.does("--list"), "");
    assert_eq!(world.list(), Vec::<plumb_tests::Value>::new());
    let c1 = world.container("c1");
    world.container("c2");
    world.attaches("br1 -i eth7 c1 10.1.0.2/24@10.1.0.1");
    world.attaches("br1 c2 0/0");
    let mac = c1.link("eth7").unwrap()["address"].clone();
    let one = json!({
        "guest": "c1", "container": "c1", "interface": "eth7", "on": "br1", "addresses": ["10.1.0.2/24"], "mac": mac,
        "netns": "/run/netns/c1", "state": "attached", "line": "br1 -i eth7 c1 10.1.0.2/24@10.1.0.1",
    });
    assert_eq!(world.list()[0], one);
    c1.vanish();
    assert_eq!(
        world.does("--list"),
        "GUEST  INTERFACE  ON   ADDRESS      STATE     LINE\n\
         c1     eth7       br1  10.1.0.2/24  gone      br1 -i eth7 c1 10.1.0.2/24@10.1.0.1\n\
         c2     eth1       br1  -            attached  br1 c2 0/0\n"
    );
}

#[test]
fn del_takes_one_interface_or_all_of_a_guest() {
    let world = World::new();
    let before = world.state();
    let c1 = world.container("c1");
    let inside = c1.state();
    for line in [
        "br1 c1 10.1.0.2/24",
        "br2 -i eth2 c1 10.2.0.2/24",
        "br3 -i eth3 c1 10.3.0.2/24@10.3.0.1",
    ] {
        world.attaches(line);
    }
    world.does("--del c1 eth2");
    assert_eq!(c1.link("eth2"), None);
    assert_eq!(
        world.link("br2"),
        None,
        "its bridge went with its last guest"
    );
    assert_eq!(world.list().len(), 2);
    world.does("--del c1");
    c1.assert_unchanged_since(&inside);
    world.assert_unchanged_since(&before);
    // Again, and of a guest that never was: said, and no error.
    for line in ["--del c1", "--del c1 eth2", "--del nobody"] {
        let ran = world.pipework(line);
        assert!(ran.status.success(), "{line}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("nothing of it is attached"),
            "{line}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_bridge_that_was_there_or_that_somebody_uses_stays() {
    let world = World::new();
    world.container("c1");
    world.sh("ip link add br1 type bridge && ip link set br1 up");
    world.attaches("br1 c1 10.1.0.2/24");
    world.attaches("br2 -i eth2 c1 10.2.0.2/24");
    world.sh("ip addr add 10.2.0.1/24 dev br2");
    world.does("--del c1");
    assert!(world.link("br1").is_some() && world.link("br2").is_some());
    assert_eq!(world.addrs("br2")[0], "10.2.0.1/24");
}

#[test]
fn del_works_when_the_guest_is_gone() {
    let world = World::new();
    let before = world.state();
    let c1 = world.container("c1");
    world.attaches("br1 c1 10.1.0.2/24");
    c1.vanish();
    world.does("--del c1");
    world.assert_unchanged_since(&before);
    assert!(world.list().is_empty());
}

#[test]
fn gc_detaches_what_belongs_to_guests_that_are_gone_and_nothing_else() {
    let world = World::new();
    let [c1, c2, c3] = ["c1", "c2", "c3"].map(|name| world.container(name));
    for line in [
        "br1 c1 10.1.0.2/24",
        "br1 c2 10.1.0.3/24",
        "br1 c3 10.1.0.4/24",
        "br2 -i eth2 c1 10.2.0.2/24",
    ] {
        world.attaches(line);
    }
    assert_eq!(world.does("--gc"), "");
    c1.vanish();
    // Another namespace under the same name is another guest.
    let c1 = world.container("c1");
    let said = world.does("--gc");
    assert!(
        said.contains("c1 eth1\n") && said.contains("c1 eth2\n"),
        "{said}"
    );
    assert!(c2.ping("10.1.0.4") && c3.ping("10.1.0.3"));
    assert_eq!(world.link("br2"), None);
    assert_eq!(world.list().len(), 2);
    assert_eq!(c1.links().len(), 1, "the new guest was left alone");
    assert_eq!(world.does("--gc"), "");
}

#[test]
fn sixteen_at_once_and_each_twice() {
    let world = World::new();
    let names: Vec<_> = (0..16).map(|number| format!("c{number}")).collect();
    let guests: Vec<_> = names.iter().map(|name| world.container(name)).collect();
    let outcomes = plumb_tests::at_once(36, |number| {
        // And in between somebody tidies.
        if number >= 32 {
            return world.pipework("--gc");
        }
        let number = number % 16;
        world.pipework(&format!("br1 c{number} 10.1.0.{}/24", number + 2))
    });
    for ran in outcomes {
        assert!(ran.status.success(), "{}", ran.stderr);
    }
    assert_eq!(world.list().len(), 16);
    assert!(guests[0].ping("10.1.0.17") && guests[15].ping("10.1.0.2"));
}
