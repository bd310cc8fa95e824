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

mod addresses;
mod ports;

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
