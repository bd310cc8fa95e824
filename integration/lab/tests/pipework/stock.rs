//! Lines that need a stock kernel: VLANs and dummy interfaces.

use super::world::World;

#[test]
fn vlans_on_bridges_and_nics_and_dummies() {
    let world = World::new();
    let switch = world.nic();
    switch.sh("ip link add link port name far type vlan id 10 && ip addr add 10.10.0.100/24 dev far && ip link set far up");
    let guests = ["c1", "c2", "c3", "c4", "c5"].map(|name| world.container(name));
    // A bridge keeps VLANs apart, which pipework could not do.
    world.attaches("br1 c1 10.1.0.2/24 @10");
    world.attaches("br1 c2 10.1.0.3/24 @10");
    world.attaches("br1 c3 10.1.0.4/24 02:00:00:00:00:01@20");
    assert!(guests[0].ping("10.1.0.3") && !guests[0].ping("10.1.0.4"));
    // A VLAN of a NIC, shared, and one for a guest alone.
    world.attaches("eth2 -i eth2 c1 10.10.0.2/24 @10");
    world.attaches("eth2 -i eth2 c2 10.10.0.3/24 @10");
    assert!(guests[0].ping("10.10.0.100") && guests[1].ping("10.10.0.2"));
    world.attaches("--direct-phys eth2 c4 10.20.0.2/24 @20");
    assert_eq!(
        guests[3].link("eth1").unwrap()["linkinfo"]["info_data"]["id"],
        20
    );
    world.attaches("dummy c5 192.168.21.101/24@192.168.21.1 02:00:00:00:00:05");
    let link = guests[4].link("eth1").unwrap();
    assert_eq!(
        (
            link["linkinfo"]["info_kind"].as_str(),
            link["address"].as_str()
        ),
        (Some("dummy"), Some("02:00:00:00:00:05"))
    );
    assert_eq!(guests[4].routes()[0], "default via 192.168.21.1 dev eth1");
    for guest in ["c1", "c2", "c3", "c4", "c5"] {
        world.does(&format!("--del {guest}"));
    }
    for guest in &guests {
        assert_eq!(guest.links().len(), 1, "only lo");
    }
    assert_eq!(world.links().len(), 2, "lo and eth2");
}
