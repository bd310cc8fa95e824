//! What a lease brings beside the address, and when it changes.

use nix::sys::signal::Signal;
use plumb_tests::{Container, Process, json, until};

use crate::events::{program, told, until_told};
use crate::family::V4;
use crate::world::{SOON, World, address, alone, bridged, dnsmasq_on, leases, v4};

fn mtu(container: &Container) -> u64 {
    container.link("eth0").unwrap()["mtu"].as_u64().unwrap()
}

fn default_route(container: &Container) -> String {
    let routes = container.routes();
    let found = routes
        .into_iter()
        .find(|route| route.starts_with("default"));
    found.unwrap_or_default()
}

/// Another dnsmasq in the place of one, that knows its leases.
#[track_caller]
fn replaced(world: &World, old: Process, options: &[&str]) -> Process {
    old.signal(Signal::SIGKILL);
    drop(old);
    world.dnsmasq_with((100, 110), options)
}

#[test]
fn the_mtu_of_a_lease_is_that_of_the_interface_and_follows_it() {
    let world = World::new();
    let dnsmasq = world.dnsmasq_with((100, 110), &["--dhcp-option=26,1400"]);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let mut conf = bridged(json!({}));
    conf["cniVersion"] = json!("1.1.0");
    let result = bridge.add(&c1, &conf).succeeds();
    assert_eq!(mtu(&c1), 1400);
    let inside = &result["interfaces"][2];
    assert_eq!(
        (&inside["name"], &inside["mtu"]),
        (&json!("eth0"), &json!(1400))
    );
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();

    // Less than IPv6 needs is for the routes alone; so is nothing that the link cannot carry.
    let dnsmasq = replaced(
        &world,
        dnsmasq,
        &["--dhcp-option=26,1000", "--dhcp-option=3,10.240.0.9"],
    );
    world.command(&["renew", "testnet/c1/eth0"]);
    let changed = || default_route(&c1).starts_with("default via 10.240.0.9 dev eth0 mtu 1000");
    assert!(until(SOON, changed), "{}", default_route(&c1));
    // Which comes after the routes.
    assert!(until(SOON, || mtu(&c1) == 1500), "{}", mtu(&c1));
    let dnsmasq = replaced(
        &world,
        dnsmasq,
        &["--dhcp-option=26,9000", "--dhcp-option=3,10.240.0.9"],
    );
    world.command(&["renew", "testnet/c1/eth0"]);
    let changed = || default_route(&c1).ends_with("mtu 1500");
    assert!(until(SOON, changed), "{}", default_route(&c1));
    let _dnsmasq = replaced(&world, dnsmasq, &["--dhcp-option=26,1300"]);
    world.command(&["renew", "testnet/c1/eth0"]);
    assert!(until(SOON, || mtu(&c1) == 1300), "{}", mtu(&c1));
    assert_eq!(
        v4(&c1),
        [address(&result)],
        "the address stays all the time"
    );
    bridge.previous(&result).del(&c1, &conf).succeeds();
}

/// What the kernel says of addresses and routes, from now on.
#[track_caller]
fn monitored(container: &Container) -> Process {
    let monitor = container.spawn(["ip", "-4", "-o", "monitor", "address", "route"]);
    // It does not say when it has begun to listen: something for it to see, until it does. Of a route that is replaced by the
    // same one the kernel says nothing.
    let listening = || {
        container.sh("ip route add 192.0.2.0/24 dev eth0; ip route del 192.0.2.0/24 dev eth0");
        monitor.output().contains("192.0.2.0/24")
    };
    assert!(until(SOON, listening), "{}", monitor.output());
    monitor
}

#[test]
fn a_route_whose_mtu_changes_is_replaced_without_a_moment_between() {
    let world = World::new();
    let dnsmasq = world.dnsmasq_with((100, 110), &["--dhcp-option=26,1400"]);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridged(json!({})))
        .succeeds();
    let monitor = monitored(&c1);
    let _dnsmasq = replaced(&world, dnsmasq, &["--dhcp-option=26,1350"]);
    world.command(&["renew", "testnet/c1/eth0"]);
    monitor.until_output_has("mtu 1350", SOON);
    let seen = monitor.output();
    assert!(!seen.contains("Deleted default"), "{seen}");
}

#[test]
fn a_mask_routes_and_name_servers_that_a_renewal_brings_are_in_the_place_of_the_old() {
    let world = World::new();
    let before = [
        "--dhcp-option=121,10.8.0.0/16,10.240.0.1,10.7.0.0/16,10.240.0.1",
        "--dhcp-option=6,10.240.0.53",
    ];
    let dnsmasq = world.dnsmasq_with((100, 110), &before);
    let _daemon = world.daemon();
    program("/run/hook", "");
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "onChange": "/run/hook" }));
    let bridge = world.host.plugin("bridge-attach");
    let given = address(&bridge.add(&c1, &conf).succeeds());
    let bare = given.strip_suffix("/24").unwrap();
    let wide = format!("{bare}/16");
    let monitor = monitored(&c1);

    let after = [
        "--dhcp-option=1,255.255.0.0",
        "--dhcp-option=121,10.8.0.0/16,10.240.0.1,10.9.0.0/16,10.240.0.9",
        "--dhcp-option=6,10.240.0.54",
    ];
    let _dnsmasq = replaced(&world, dnsmasq, &after);
    world.command(&["renew", "testnet/c1/eth0"]);
    // After the address, the routes and the program's word of them.
    until_told(&["bound", "changed"]);
    assert_eq!(v4(&c1), [&wide[..]]);
    let mut routes = c1.routes();
    routes.retain(|route| route.starts_with("10."));
    routes.sort();
    let expected = [
        format!("10.240.0.0/16 dev eth0 proto kernel scope link src {bare}"),
        "10.8.0.0/16 via 10.240.0.1 dev eth0".to_owned(),
        "10.9.0.0/16 via 10.240.0.9 dev eth0".to_owned(),
    ];
    assert_eq!(routes, expected);
    let told = told();
    for (which, address, dns) in [
        ("previous", &given, "10.240.0.53"),
        ("lease", &wide, "10.240.0.54"),
    ] {
        let lease = &told[1][which];
        assert_eq!(lease["address"], *address, "{which}");
        assert_eq!(lease["dns"], json!([dns]), "{which}");
    }

    // There was an address all the time, and the way that stayed was there as well.
    let seen = monitor.output();
    let line = |words: &str, is_gone: bool| {
        let is_it = |line: &str| line.contains(words) && line.contains("Deleted") == is_gone;
        seen.lines().position(is_it)
    };
    let (came, went) = (line(&wide, false), line(&given, true));
    assert!(came.is_some() && came < went, "{seen}");
    assert_eq!(line("10.8.0.0/16", true), None, "{seen}");
}

#[test]
fn when_its_server_is_gone_another_prolongs_the_lease() {
    let world = World::new();
    let c9 = world.plugged("c9");
    c9.sh("ip addr add 10.240.0.2/24 dev eth0 && ip link set eth0 up");
    let first = V4.isc_dhcpd(&world, "default-lease-time 30; max-lease-time 30; option dhcp-renewal-time 2; option dhcp-rebinding-time 6;");
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let result = world
        .host
        .plugin("bridge-attach")
        .add(&c1, bridged(json!({})))
        .succeeds();
    first.signal(Signal::SIGKILL);
    drop(first);
    let _second = dnsmasq_on(&c9, (100, 110), &[]);
    let taken = || world.listed("testnet/c1/eth0")["server"] == "10.240.0.2";
    assert!(until(SOON, taken), "{}", world.listed("testnet/c1/eth0"));
    assert_eq!(v4(&c1), [address(&result)]);
    assert!(!world.metrics().contains("expired"), "{}", world.metrics());
}

#[test]
fn an_address_given_by_other_means_is_kept_and_a_server_is_asked_for_the_rest() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 110);
    let daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "inform": true, "address": "10.240.0.200/24" }));
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    assert_eq!(address(&result), "10.240.0.200/24");
    assert_eq!(result["dns"]["nameservers"], json!(["10.240.0.53"]));
    assert_eq!(result["ips"][0]["gateway"], "10.240.0.1");
    assert_eq!(v4(&c1), ["10.240.0.200/24"]);
    assert!(c1.reaches("10.240.0.1"));
    dnsmasq.until_output_has("DHCPINFORM", SOON);
    assert_eq!(leases(), Vec::<String>::new());
    // There is nothing to keep, so a daemon is not even needed.
    assert!(world.listed("testnet/c1/eth0").is_null());
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    let check = bridge.clone().previous(&result);
    check.check(&c1, &conf).succeeds();
    c1.sh("ip addr del 10.240.0.200/24 dev eth0");
    check.check(&c1, &conf).fails_with(102, "10.240.0.200/24");
    bridge.previous(&result).del(&c1, &conf).succeeds();
}

#[test]
fn an_inform_that_nobody_answers_fails_and_leaves_no_address() {
    let world = World::new();
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    c1.sh("ip link set eth0 up");
    let conf = alone(json!({ "inform": true, "timeoutSecs": 1 }));
    let plugin = world.plugin().args("IP=10.240.0.200/24");
    let outcome = plugin.add(&c1, &conf);
    outcome.fails_with(103, "no DHCP server answered on eth0 within 1 s");
    assert_eq!(v4(&c1), Vec::<String>::new());
    assert!(world.listed("testnet/c1/eth0").is_null());
    // One that was there before is not ours to take.
    c1.sh("ip addr add 10.240.0.200/24 dev eth0");
    plugin.add(&c1, &conf).fails_with_words("within 1 s");
    assert_eq!(v4(&c1), ["10.240.0.200/24"]);
}

#[test]
fn what_a_rogue_server_says_is_not_done() {
    let world = World::new();
    // Half the Internet, twice, and an MTU of nothing.
    let options = [
        "--dhcp-option=121,0.0.0.0/1,10.240.0.1,128.0.0.0/1,10.240.0.1,10.9.0.0/16,10.240.0.1",
        "--dhcp-option=26,68",
        "--dhcp-option=15,a;b $(reboot)",
        "--dhcp-option=6,127.0.0.1",
    ];
    let _dnsmasq = world.dnsmasq_with((100, 110), &options);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let result = world
        .plugin()
        .add(&c1, alone(json!({ "noDefaultRoute": true })))
        .succeeds();
    assert_eq!(
        result["routes"],
        json!([{ "dst": "10.9.0.0/16", "gw": "10.240.0.1" }])
    );
    assert!(
        result.get("dns").is_none_or(|dns| *dns == json!({})),
        "{result}"
    );
    assert_eq!(mtu(&c1), 1500);
}

#[test]
fn options_that_were_asked_for_are_shown() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq_with((100, 110), &["--dhcp-option=42,10.240.0.123"]);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({ "request": [{ "option": "ntp-servers" }] }));
    world.plugin().add(&c1, &conf).succeeds();
    let shown = world.said(&["show", "--json", "testnet/c1/eth0"]);
    let shown: plumb_tests::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown["lease"]["options"],
        json!([{ "code": 42, "hex": "0af0007b" }])
    );
}
