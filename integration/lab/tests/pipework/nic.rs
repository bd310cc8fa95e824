//! Guests on a NIC of the host: a share of it, or the NIC itself.

use super::world::World;

#[test]
fn guests_share_a_nic() {
    let world = World::new();
    let switch = world.nic();
    let [c1, c2] = ["c1", "c2"].map(|name| world.container(name));
    world.attaches("eth2 c1 10.2.0.2/24@10.2.0.100");
    let mac = world.link("eth2").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    world.attaches(&format!(
        "mac:{mac} -i eth0 c2 10.2.0.3/24 26:2e:71:98:60:8f"
    ));
    assert!(c1.ping("10.2.0.3") && c1.ping("10.2.0.100") && switch.ping("10.2.0.3"));
    assert_eq!(
        c1.link("eth1").unwrap()["linkinfo"]["info_data"]["mode"],
        "bridge"
    );
    assert_eq!(c2.link("eth0").unwrap()["address"], "26:2e:71:98:60:8f");
    assert_eq!(c1.routes()[0], "default via 10.2.0.100 dev eth1");
    world.does("--del c1");
    assert_eq!(c1.link("eth1"), None);
}

#[test]
fn a_nic_that_is_down_is_raised() {
    let world = World::new();
    let switch = world.nic();
    world.sh("ip link set eth2 down");
    let c1 = world.container("c1");
    world.attaches("eth2 c1 10.2.0.2/24");
    // At the switch's end the kernel takes a moment to notice that there is a carrier again.
    assert!(switch.reaches("10.2.0.2"));
    assert!(c1.link("eth1").is_some());
}

#[test]
fn a_nic_that_is_given_away_comes_back_as_it_was() {
    let world = World::new();
    let switch = world.nic();
    world.sh(
        "ip link set eth2 down; ip link set eth2 mtu 1400 address 02:00:00:00:00:22 alias uplink; ip link set eth2 up
         ip addr add 10.2.0.9/24 brd + dev eth2; ip route add 198.51.100.0/24 via 10.2.0.100; ip route add default via 10.2.0.100 metric 50",
    );
    switch.sh("ip link set port mtu 1400");
    world.until_nic_runs();
    let before = world.state();
    let c1 = world.container("c1");
    let inside = c1.state();
    let line = "--direct-phys eth2 c1 10.2.0.2/24@10.2.0.100 26:2e:71:98:60:8f";
    world.attaches(line);
    assert_eq!(world.link("eth2"), None);
    let nic = c1.link("eth1").unwrap();
    assert_eq!(
        (nic["address"].as_str(), nic["mtu"].as_u64()),
        (Some("26:2e:71:98:60:8f"), Some(1400))
    );
    assert!(c1.reaches("10.2.0.100"));
    // Once more, though the host has no such NIC now.
    world.attaches(line);
    let said = world.fails("--direct-phys eth2 c1 10.2.0.3/24");
    assert!(said.contains("eth2"), "{said}");
    world.does("--del c1");
    c1.assert_unchanged_since(&inside);
    world.until_nic_runs();
    world.assert_unchanged_since(&before);
}

/// The kernel puts a NIC whose namespace has died back to the host, under whatever name is free. A veth would die with it, so
/// here somebody takes it out before.
#[test]
fn a_nic_whose_guest_died_is_found_on_the_host_by_its_mark() {
    let world = World::new();
    world.nic();
    world.sh("ip addr add 10.2.0.9/24 brd + dev eth2");
    let before = world.state();
    let c1 = world.container("c1");
    world.attaches("--direct-phys eth2 c1 10.2.0.2/24");
    let on_host = world.spawn(["sleep", "1000"]);
    c1.sh(&format!(
        "ip link set eth1 netns {} name dev7",
        on_host.id()
    ));
    drop(on_host);
    c1.vanish();
    assert!(world.link("dev7").is_some());
    assert_eq!(world.does("--gc"), "c1 eth1\n");
    world.until_nic_runs();
    world.assert_unchanged_since(&before);
}

#[test]
fn giving_a_nic_away_by_its_address_leaves_out_what_has_no_effect() {
    let world = World::new();
    world.nic();
    let mac = world.link("eth2").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let c1 = world.container("c1");
    let ran = world.pipework(&format!(
        "--direct-phys mac:{mac} -i eth0 -l ens4 c1 10.2.0.2/24"
    ));
    assert!(ran.status.success(), "{}", ran.stderr);
    assert!(ran.stderr.contains("-l has no effect"), "{}", ran.stderr);
    assert!(c1.reaches("10.2.0.100"));
}

#[test]
fn a_nic_stays_where_it_is_when_the_guest_cannot_have_it() {
    let world = World::new();
    world.nic();
    world.sh("ip addr add 10.2.0.9/24 brd + dev eth2");
    let c1 = world.container("c1");
    let (before, inside) = (world.state(), c1.state());
    // Fails when the NIC is in the guest already: the gateway is the guest's own address.
    let said = world.fails("--direct-phys eth2 -i eth7 c1 10.2.0.2/24@10.2.0.2");
    assert!(said.contains("10.2.0.2"), "{said}");
    c1.assert_unchanged_since(&inside);
    world.until_nic_runs();
    world.assert_unchanged_since(&before);
    world.sh("ip link add br0 type bridge && ip link set eth2 master br0");
    let said = world.fails("--direct-phys eth2 -i eth7 c1 10.2.0.2/24");
    assert!(said.contains("eth2 is a port of br0"), "{said}");
    assert!(world.list().is_empty());
}

#[test]
fn an_address_that_fails_late_gives_the_nic_back() {
    let world = World::new();
    world.nic();
    let c1 = world.container("c1");
    let (before, inside) = (world.state(), c1.state());
    // The plugin is there and breaks.
    std::fs::remove_file("/run/plugins/dhcp-ipam").unwrap();
    world.feed(["tee", "/run/plugins/dhcp-ipam"], "#!/bin/sh\nexit 3\n");
    world.sh("chmod +x /run/plugins/dhcp-ipam");
    let said = world.fails("--direct-phys eth2 c1 dhcp");
    assert!(said.contains("dhcp-ipam"), "{said}");
    c1.assert_unchanged_since(&inside);
    // Down and up again, it takes a moment to have its carrier.
    world.until_nic_runs();
    world.assert_unchanged_since(&before);
}
