//! What is wrong with a line is said before anything is changed.

use plumb_tests::until;

use super::world::{SOON, World};

#[test]
fn the_syntax_is_printed_where_words_are_missing() {
    let world = World::new();
    for line in [
        "",
        "br1",
        "br1 c1",
        "br1 -i eth1 c1",
        "--direct-phys eth2 c1",
        "route c1",
    ] {
        let ran = world.pipework(line);
        assert_eq!(ran.status.code(), Some(1), "{line}");
        for words in [
            "Syntax:",
            "<hostinterface> [-i containerinterface] [-l localinterfacename]",
            "pipework --wait",
        ] {
            assert!(ran.stdout.contains(words), "{line}: {}", ran.stdout);
        }
    }
    assert!(world.does("--help").contains("pipework --gc"));
    assert!(world.does("--version").starts_with("pipework of Plumb "));
}

#[test]
fn what_cannot_be_is_said_and_nothing_is_changed() {
    let world = World::new();
    world.nic();
    world.sh("ip link add some type veth peer name other");
    let c1 = world.container("c1");
    let (before, inside) = (world.state(), c1.state());
    for (line, words) in [
        (
            "br1 c1 10.1.0.2",
            "The IP address should include a netmask.\nMaybe you meant 10.1.0.2/24 ?",
        ),
        (
            "eth9 c1 10.1.0.2/24",
            "I do not know how to setup interface eth9.",
        ),
        (
            "mac:02:00:00:00:00:99 c1 0/0",
            "no interface of this host has that Ethernet address",
        ),
        ("mac:zz c1 0/0", "mac:zz"),
        (
            "ovsbr0 c1 dhcp @10",
            "use the CNI plugin ovs-cni, or a Linux bridge",
        ),
        (
            "br1 c1 0/0 @4095",
            "@4095: a VLAN must be a number from 1 to 4094",
        ),
        ("dummy c1 0/0 @7", "@7: a dummy interface has no VLANs"),
        ("--direct-phys br1 c1 0/0", "br1 is a bridge"),
        (
            "--direct-phys lo c1 0/0",
            "lo leads nowhere and cannot be given away",
        ),
        ("br1 c1 224.0.0.1/24", "224.0.0.1"),
        ("br1 c1 10.1.0.2/24@10.1.0.2", "10.1.0.2"),
        ("br1 c1 10.1.0.2/24@fe80::1", "another family"),
        ("br1 c1 0/0 01:00:00:00:00:01", "01:00:00:00:00:01"),
        ("br1 c1 0/0 @10 more", "\"more\": nothing more is expected"),
        ("--frob br1 c1 0/0", "--frob: no such option"),
        ("br1 -i eth1/x c1 0/0", "-i: \"eth1/x\""),
    ] {
        let said = world.fails(line);
        assert!(said.contains(words), "{line}: {said}");
    }
    world.assert_unchanged_since(&before);
    c1.assert_unchanged_since(&inside);
    assert!(world.list().is_empty());
}

#[test]
fn a_name_that_the_guest_has_already_is_refused() {
    let world = World::new();
    let c1 = world.container("c1");
    world.sh("ip link add some type veth peer name eth1 netns c1");
    world.sh("ip link set some up");
    // The kernel notices a moment later that nobody is at the other end.
    assert!(until(SOON, || world.link("some").unwrap()["operstate"] == "DOWN"));
    let (before, inside) = (world.state(), c1.state());
    for host in ["br1", "some", "--direct-phys some"] {
        let said = world.fails(&format!("{host} c1 10.1.0.2/24"));
        assert!(said.contains("eth1"), "{said}");
        c1.assert_unchanged_since(&inside);
        world.assert_unchanged_since(&before);
    }
    assert!(world.list().is_empty());
}
