//! The verbs against the kernel, read back with `ip -j`.

use std::time::{Duration, Instant};

use super::addr::Detection;
use super::bridge::{Ensured, NewBridge, Options};
use super::link::{Link, PortState};
use super::route::Route;
use super::veth::NewVeth;
use super::{Rtnl, addr, route};
use crate::addr::{Cidr, Mac};
use crate::announce::announce;
use crate::ident::IfName;
use crate::netns::Netns;
use crate::testing::{private_netns, run};

fn name(text: &str) -> IfName {
    IfName::parse(text).unwrap()
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// What `ip -j` says, as JSON.
#[track_caller]
fn ip(arguments: &[&str]) -> serde_json::Value {
    let mut all = vec!["-j", "-d"];
    all.extend(arguments);
    let text = run("ip", &all);
    if text.trim().is_empty() {
        return serde_json::Value::Array(Vec::new());
    }
    serde_json::from_str(&text).unwrap()
}

fn find(rtnl: &mut Rtnl, link: &str) -> Link {
    rtnl.link_by_name(&name(link)).unwrap().unwrap()
}

/// A namespace with a bridge and a namespace for a container, joined by a veth, which goes when the latter is dropped.
fn joined() -> (Rtnl, Link, Link, Netns, Link) {
    private_netns();
    let inside = Netns::current().unwrap();
    private_netns();
    let mut rtnl = Rtnl::open().unwrap();
    let new = NewBridge {
        name: &name("br0"),
        mac: mac(9),
        mtu: None,
        group: None,
        options: Options::default(),
    };
    let Ensured::Created(bridge) = rtnl.ensure_bridge(&new).unwrap() else {
        panic!("a bridge in an empty namespace");
    };
    rtnl.execute(bridge.change().up().request()).unwrap();
    rtnl.add_veth(&NewVeth {
        name: &name("veth.host"),
        mac: mac(1),
        master: Some(bridge.index),
        peer: &name("eth0"),
        peer_mac: mac(2),
        peer_netns: &inside,
        mtu: Some(1400),
        group: None,
    })
    .unwrap();
    let host = find(&mut rtnl, "veth.host");
    let eth0 = inside
        .run(|| find(&mut Rtnl::open().unwrap(), "eth0"))
        .unwrap();
    (rtnl, bridge, host, inside, eth0)
}

#[test]
fn a_bridge_is_made_once_and_keeps_its_address() {
    let (mut rtnl, bridge, _, _inside, _) = joined();
    assert!(bridge.is_bridge());
    let again = rtnl.ensure_bridge(&NewBridge {
        name: &name("br0"),
        mac: mac(77),
        mtu: Some(1300),
        group: None,
        options: Options::default(),
    });
    assert!(matches!(again, Ok(Ensured::Found(_))), "{again:?}");
    let shown = ip(&["link", "show", "br0"]);
    assert_eq!(shown[0]["address"], "02:00:00:00:00:09");
    assert_eq!(shown[0]["linkinfo"]["info_kind"], "bridge");
}

#[test]
fn a_link_that_is_no_bridge_is_found_and_not_changed() {
    private_netns();
    run(
        "ip",
        &["link", "add", "br0", "type", "veth", "peer", "name", "x"],
    );
    let mut rtnl = Rtnl::open().unwrap();
    let new = NewBridge {
        name: &name("br0"),
        mac: mac(9),
        mtu: None,
        group: None,
        options: Options::default(),
    };
    let Ensured::Found(link) = rtnl.ensure_bridge(&new).unwrap() else {
        panic!("the name was taken");
    };
    assert!(!link.is_bridge());
}

#[test]
fn a_bridge_is_in_its_group_from_the_beginning_and_leaves_it() {
    private_netns();
    let mut rtnl = Rtnl::open().unwrap();
    let new = NewBridge {
        name: &name("br0"),
        mac: mac(9),
        mtu: None,
        group: Some(77),
        options: Options::default(),
    };
    let Ensured::Created(bridge) = rtnl.ensure_bridge(&new).unwrap() else {
        panic!("a bridge in an empty namespace");
    };
    assert_eq!(bridge.group, 77);
    assert_eq!(ip(&["link", "show", "br0"])[0]["group"], "77");
    rtnl.execute(bridge.change().group(0).request()).unwrap();
    assert_eq!(find(&mut rtnl, "br0").group, 0);
    assert_eq!(ip(&["link", "show", "br0"])[0]["group"], "default");
}

#[test]
fn many_at_once_make_one_bridge() {
    private_netns();
    let here = Netns::current().unwrap();
    let created: usize = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..16)
            .map(|number| {
                let here = &here;
                scope.spawn(move || {
                    let ensured = here.run(|| {
                        Rtnl::open().unwrap().ensure_bridge(&NewBridge {
                            name: &name("br0"),
                            mac: mac(number),
                            mtu: None,
                            group: None,
                            options: Options::default(),
                        })
                    });
                    usize::from(matches!(ensured.unwrap().unwrap(), Ensured::Created(_)))
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).sum()
    });
    assert_eq!(created, 1);
}

#[test]
fn a_veth_is_complete_in_one_message() {
    let (_, bridge, host, inside, eth0) = joined();
    let outer = ip(&["link", "show", "veth.host"]);
    assert_eq!(outer[0]["address"], "02:00:00:00:00:01");
    assert_eq!(outer[0]["mtu"], 1400);
    assert_eq!(outer[0]["master"], "br0");
    assert_eq!(outer[0]["num_tx_queues"], 1);
    assert_eq!(outer[0]["num_rx_queues"], 1);
    assert_eq!(host.master, Some(bridge.index));
    assert_eq!(host.peer, Some(eth0.index));
    assert!(host.peer_netns_id.is_some());
    let inner = inside.run(|| ip(&["link", "show", "eth0"])).unwrap();
    assert_eq!(inner[0]["address"], "02:00:00:00:00:02");
    assert_eq!(inner[0]["mtu"], 1400);
    assert!(eth0.is_veth() && !eth0.up);
}

#[test]
fn a_taken_name_at_either_end_adds_nothing() {
    let (mut rtnl, _, _, inside, _) = joined();
    for (outer, inner) in [("veth.host", "eth1"), ("veth.2", "eth0")] {
        let taken = rtnl.add_veth(&NewVeth {
            name: &name(outer),
            mac: mac(3),
            master: None,
            peer: &name(inner),
            peer_mac: mac(4),
            peer_netns: &inside,
            mtu: None,
            group: None,
        });
        let error = taken.unwrap_err();
        assert!(error.is_taken(), "{error}");
    }
    assert_eq!(rtnl.links().unwrap().len(), 3);
    assert_eq!(
        inside
            .run(|| Rtnl::open().unwrap().links().unwrap().len())
            .unwrap(),
        2
    );
}

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
            assert!(begin.elapsed() < Duration::from_secs(5), "{sent}");
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
fn a_link_without_link_local_gets_none() {
    let (mut rtnl, _, host, inside, eth0) = joined();
    let mut container = inside.run(|| Rtnl::open().unwrap()).unwrap();
    container.execute(eth0.change().up().request()).unwrap();
    rtnl.batch(vec![
        host.without_link_local(),
        host.change().up().request(),
    ])
    .unwrap();
    rtnl.settled(host.index, Duration::from_secs(2)).unwrap();
    assert_eq!(rtnl.addresses(&host).unwrap(), []);
}

#[test]
fn changes_of_a_link_take_effect() {
    let (mut rtnl, _, host, _inside, _) = joined();
    let change = host
        .change()
        .alias("plumb1 of somebody")
        .mac(mac(5))
        .mtu(1380)
        .promisc(true);
    rtnl.execute(change.request()).unwrap();
    let ports = host.change().hairpin(true).isolated(true);
    rtnl.execute(ports.request()).unwrap();
    let shown = ip(&["link", "show", "veth.host"]);
    assert_eq!(shown[0]["ifalias"], "plumb1 of somebody");
    assert_eq!(shown[0]["address"], "02:00:00:00:00:05");
    assert_eq!(shown[0]["mtu"], 1380);
    assert!(shown[0]["flags"].to_string().contains("PROMISC"));
    let data = &shown[0]["linkinfo"]["info_slave_data"];
    assert_eq!(
        (&data["hairpin"], &data["isolated"]),
        (&true.into(), &true.into())
    );
    let link = find(&mut rtnl, "veth.host");
    let port = link.port.unwrap();
    assert!(link.promisc && port.hairpin && port.isolated);
    assert_eq!(link.alias.as_deref(), Some("plumb1 of somebody"));

    rtnl.execute(
        host.change()
            .alias("")
            .no_master()
            .name(&name("other"))
            .request(),
    )
    .unwrap();
    let shown = ip(&["link", "show", "other"]);
    assert!(shown[0]["ifalias"].is_null() && shown[0]["master"].is_null());
}

#[test]
fn an_absent_link_is_none_and_a_change_of_it_an_error() {
    let (mut rtnl, _, host, _inside, _) = joined();
    rtnl.delete_link(&host).unwrap();
    assert_eq!(rtnl.link_by_name(&name("veth.host")).unwrap(), None);
    assert_eq!(rtnl.link_by_index(host.index).unwrap(), None);
    let error = rtnl.execute(host.change().up().request()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "change link veth.host: no such device (ENODEV)"
    );
    let patience = Duration::from_secs(1);
    assert_eq!(rtnl.settled(host.index, patience).unwrap(), None);
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

#[test]
fn addresses_are_usable_at_once() {
    let (_, _, _, inside, eth0) = joined();
    let mut container = inside.run(|| Rtnl::open().unwrap()).unwrap();
    container
        .batch(vec![
            eth0.change().up().request(),
            addr::add(&eth0, cidr("10.1.2.3/24")),
            addr::add(&eth0, cidr("fd00::3/64")),
            addr::add_with(&eth0, cidr("fd01::3/64"), Detection::Probe),
        ])
        .unwrap();
    let shown = inside.run(|| ip(&["addr", "show", "eth0"])).unwrap();
    let text = shown.to_string();
    assert!(text.contains("\"broadcast\":\"10.1.2.255\""), "{text}");
    let found = container.addresses(&eth0).unwrap();
    let of = |wanted: &str| found.iter().find(|a| a.cidr == cidr(wanted)).unwrap();
    assert!(!of("10.1.2.3/24").tentative && of("10.1.2.3/24").permanent);
    assert!(!of("fd00::3/64").tentative);
    assert!(of("fd01::3/64").tentative);

    container
        .execute(addr::lease(&eth0, cidr("fd02::3/128"), 300, 600))
        .unwrap();
    container
        .execute(addr::lease(&eth0, cidr("fd02::3/128"), 1000, u32::MAX))
        .unwrap();
    let shown = inside.run(|| ip(&["-6", "addr", "show", "eth0"])).unwrap();
    let text = shown.to_string();
    // `ip` counts down.
    let leased = text.split("fd02::3").nth(1).unwrap();
    assert!(leased.contains("\"valid_life_time\":4294967295"), "{text}");
    assert!(
        leased.contains("\"preferred_life_time\":1000")
            || leased.contains("\"preferred_life_time\":99"),
        "{text}"
    );

    let twice = container.execute(addr::add(&eth0, cidr("10.1.2.3/24")));
    assert!(twice.unwrap_err().is_taken());
    let tolerated = addr::add(&eth0, cidr("10.1.2.3/24")).tolerate(libc::EEXIST);
    container.execute(tolerated).unwrap();
    container
        .execute(addr::delete(&eth0, cidr("10.1.2.3/24")))
        .unwrap();
    let gone = container.execute(addr::delete(&eth0, cidr("10.1.2.3/24")));
    assert!(gone.unwrap_err().is_absent());
}

#[test]
fn an_ipv6_address_that_was_waited_for_is_local() {
    let (mut rtnl, bridge, _, _inside, _) = joined();
    rtnl.execute(bridge.change().up().request()).unwrap();
    for address in ["fd01::1/64", "fe80::77/64"] {
        let ours = cidr(address);
        rtnl.execute(addr::add(&bridge, ours)).unwrap();
        let ours = ours.address();
        assert!(
            // The kernel's worker takes as long as others keep it busy.
            rtnl.taken_in(&bridge, ours, Duration::from_mins(1))
                .unwrap()
        );
        let shown = ours.to_string();
        let shown = run("ip", &["-6", "route", "show", "table", "local", &shown]);
        assert!(shown.starts_with(&format!("local {ours}")), "{shown}");
    }
    for nobodys in ["fd01::9", "fd77::1", "fe80::78"] {
        let nobodys = nobodys.parse().unwrap();
        let soon = Duration::from_millis(20);
        assert!(!rtnl.taken_in(&bridge, nobodys, soon).unwrap(), "{nobodys}");
    }
}

#[test]
fn routes_are_installed_with_all_they_carry() {
    let (mut rtnl, _, host, inside, eth0) = joined();
    rtnl.execute(host.change().up().request()).unwrap();
    let mut container = inside.run(|| Rtnl::open().unwrap()).unwrap();
    let gw = Some("10.1.2.1".parse().unwrap());
    let gw6 = Some("fd00::1".parse().unwrap());
    let default = Route::new(cidr("0.0.0.0/0"), gw);
    let special = Route {
        table: 1000,
        priority: Some(50),
        mtu: Some(1300),
        advmss: Some(1200),
        ..Route::new(cidr("10.9.0.0/16"), gw)
    };
    let onlink = Route {
        onlink: true,
        ..Route::new(cidr("10.7.0.0/16"), Some("192.0.2.1".parse().unwrap()))
    };
    let local = Route::new(cidr("10.8.0.0/16"), None);
    let default6 = Route::new(cidr("::/0"), gw6);
    let local6 = Route {
        scope: Some(253),
        ..Route::new(cidr("fd08::/64"), None)
    };
    let all = [default, special, onlink, local, default6, local6];
    let mut batch = vec![
        eth0.change().up().request(),
        addr::add(&eth0, cidr("10.1.2.3/24")),
        addr::add(&eth0, cidr("fd00::3/64")),
    ];
    batch.extend(all.iter().map(|each| route::add(&eth0, each)));
    container.batch(batch).unwrap();

    let shown = |arguments: &[&str]| inside.run(|| run("ip", arguments)).unwrap();
    let main = shown(&["route"]);
    assert!(main.contains("default via 10.1.2.1 dev eth0"), "{main}");
    assert!(
        main.contains("10.7.0.0/16 via 192.0.2.1 dev eth0"),
        "{main}"
    );
    assert!(main.contains("10.8.0.0/16 dev eth0 scope link"), "{main}");
    let table = shown(&["route", "show", "table", "1000"]);
    assert!(
        table.contains("10.9.0.0/16 via 10.1.2.1 dev eth0 metric 50 mtu 1300 advmss 1200"),
        "{table}"
    );
    let six = shown(&["-6", "route"]);
    assert!(six.contains("default via fd00::1 dev eth0"), "{six}");
    assert!(six.contains("fd08::/64 dev eth0"), "{six}");

    let found = container.routes(&eth0).unwrap();
    for each in &all {
        let same = |other: &&Route| {
            (other.dst, other.gw, other.table, other.mtu, other.advmss)
                == (each.dst, each.gw, each.table, each.mtu, each.advmss)
        };
        assert!(
            found.iter().any(|other| same(&other)),
            "{each:?} in {found:?}"
        );
        container.execute(route::delete(&eth0, each)).unwrap();
    }
    let gone = container
        .execute(route::delete(&eth0, &default))
        .unwrap_err();
    assert!(gone.is_absent(), "{gone}");
}

#[test]
fn a_route_the_kernel_refuses_is_named() {
    let (_, _, _, inside, eth0) = joined();
    let mut container = inside.run(|| Rtnl::open().unwrap()).unwrap();
    let unreachable = Route::new(cidr("0.0.0.0/0"), Some("10.5.5.1".parse().unwrap()));
    let error = container
        .batch(vec![
            eth0.change().up().request(),
            route::add(&eth0, &unreachable),
        ])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "add route default via 10.5.5.1 dev eth0: Nexthop has invalid gateway (ENETUNREACH)"
    );
}

#[test]
fn neighbours_are_read() {
    let (mut rtnl, bridge, _, _inside, _) = joined();
    run(
        "ip",
        &[
            "neigh",
            "add",
            "10.0.0.7",
            "lladdr",
            "02:00:00:00:00:07",
            "dev",
            "br0",
        ],
    );
    let found = rtnl.neighbours(&bridge).unwrap();
    assert!(
        found
            .iter()
            .any(|n| n.address.to_string() == "10.0.0.7" && n.mac == mac(7))
    );
}
