//! Ports of a bridge, and when they pass frames.

use super::*;

#[test]
fn a_port_forwards_when_it_has_settled() {
    for _ in 0..20 {
        let (mut rtnl, _, host, inside, eth0) = joined();
        let mut container = inside.run(|| Rtnl::open().unwrap()).unwrap();
        container.execute(eth0.change().up().request()).unwrap();
        let up = vec![host.without_link_local(), host.change().up().request()];
        rtnl.batch(up).unwrap();
        let port = rtnl
            .settled(host.index, Duration::from_secs(2))
            .unwrap()
            .unwrap();
        assert!(port.running);
        assert_eq!(port.port.unwrap().state, PortState::Forwarding);
        let shown = run("bridge", &["-j", "link", "show", "dev", "veth.host"]);
        assert!(shown.contains("\"state\":\"forwarding\""), "{shown}");
    }
}

#[test]
fn an_end_that_has_settled_loses_no_frame() {
    for _ in 0..20 {
        let (mut rtnl, _, host, inside, eth0) = joined();
        let mut container = inside.run(|| Rtnl::open().unwrap()).unwrap();
        let up = vec![
            eth0.change().up().request(),
            addr::add(&eth0, cidr("10.1.2.3/24")),
        ];
        container.batch(up).unwrap();
        rtnl.execute(host.change().up().request()).unwrap();
        for (end, of) in [(&host, &mut rtnl), (&eth0, &mut container)] {
            let settled = of.settled(end.index, Duration::from_secs(2)).unwrap();
            assert!(settled.unwrap().running);
        }
        let ip = "10.1.2.3".parse().unwrap();
        announce(&inside, &mut container, &eth0, &[ip]).unwrap();
        let begin = Instant::now();
        loop {
            let shown = || run("ip", &["-s", "-j", "link", "show", "eth0"]);
            let shown: serde_json::Value =
                serde_json::from_str(&inside.run(shown).unwrap()).unwrap();
            let sent = &shown[0]["stats64"]["tx"];
            assert_eq!(sent["dropped"], 0);
            if sent["packets"].as_u64().unwrap() > 0 {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{sent}");
        }
    }
}

#[test]
fn a_bridge_that_was_up_before_it_had_a_port_is_not_waited_for() {
    private_netns();
    let mut rtnl = Rtnl::open().unwrap();
    run("ip", &["link", "add", "br0", "type", "bridge"]);
    run("ip", &["link", "set", "br0", "up"]);
    let bridge = find(&mut rtnl, "br0");
    assert!(!bridge.running && bridge.steady);
    let begun = std::time::Instant::now();
    rtnl.settled(bridge.index, Duration::from_secs(50)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    run("ip", &["link", "set", "br0", "down"]);
    assert!(!find(&mut rtnl, "br0").steady);
}

#[test]
fn a_port_whose_far_end_is_down_is_given_as_it_is() {
    let (mut rtnl, _, host, _inside, _) = joined();
    rtnl.execute(host.change().up().request()).unwrap();
    let patience = Duration::from_millis(50);
    let port = rtnl.settled(host.index, patience).unwrap().unwrap();
    assert!(!port.running);
    assert_eq!(port.port.unwrap().state, PortState::Disabled);
}

#[test]
fn ports_are_listed_and_deleted_together() {
    let (mut rtnl, bridge, _, _inside, _) = joined();
    run("ip", &["link", "add", "elsewhere", "type", "bridge"]);
    for port in ["pa", "pb", "pc"] {
        let peer = format!("{port}-peer");
        run(
            "ip",
            &["link", "add", port, "type", "veth", "peer", "name", &peer],
        );
        run("ip", &["link", "set", port, "master", "br0"]);
    }
    let ports = rtnl.ports_of(&bridge).unwrap();
    let mut names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["pa", "pb", "pc", "veth.host"]);
    rtnl.delete_links(&ports).unwrap();
    let mut left: Vec<_> = rtnl.links().unwrap().into_iter().map(|l| l.name).collect();
    left.sort_unstable();
    assert_eq!(left, ["br0", "elsewhere", "lo"]);
    rtnl.delete_links(&ports).unwrap();
}
