//! Addresses, routes and neighbours.

use super::*;

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
