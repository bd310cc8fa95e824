//! Addresses that the kernel makes of what routers advertise.

use nix::sys::signal::Signal;
use plumb_tests::{Value, json, until};

use crate::life6::valid;
use crate::world::{OnDemand, SOON, World, bridged};
use crate::world6::{RA_ONLY, RA_STATELESS, addresses, leases6, v6};

#[test]
fn slaac_returns_the_kernels_address_which_goes_on_without_a_daemon() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6(&[RA_ONLY]);
    let daemon = OnDemand;
    let c1 = world.host.container("c1");
    let conf = bridged(json!({ "ipv4": "off", "slaac": true }));
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result);
    assert!(
        given.len() == 1 && given[0].starts_with("fd00:240::") && given[0].ends_with("/64"),
        "{given:?}"
    );
    // No temporary ones, and what the kernel made is as it was: it ends when routers say so.
    assert_eq!(v6(&c1), given);
    let seconds = valid(&c1, &given[0]).unwrap();
    assert!(seconds < u64::from(u32::MAX), "{seconds}");
    assert_eq!(result["dns"]["nameservers"], json!(["fd00:240::53"]));
    assert_eq!(result["dns"]["search"], json!(["lab.example"]));
    let gateway = result["ips"][0]["gateway"].as_str().unwrap();
    assert!(gateway.starts_with("fe80::"));
    let routes = c1.exec(["ip", "-6", "route"]);
    let default = routes.lines().find(|line| line.starts_with("default"));
    assert!(
        default.is_some_and(|line| line.contains(gateway) && line.contains("proto ra")),
        "{routes}"
    );
    assert!(c1.reaches("fd00:240::1"));
    assert!(
        world.listed6("testnet/c1/eth0").is_null(),
        "nothing to keep"
    );
    drop(daemon);
    let check = || bridge.clone().previous(&result).check(&c1, &conf);
    check().succeeds();
    let _daemon = OnDemand;
    // Its next word would have the kernel make the address anew.
    drop(dnsmasq);
    c1.sh(&format!("ip addr del {} dev eth0", given[0]));
    check().fails_with(102, "address on eth0: expected fd00:240::");
    bridge.previous(&result).del(&c1, &conf).succeeds();
}

#[test]
fn slaac_asks_for_what_routers_say_is_to_be_had() {
    let world = World::with_ipv6();
    let dnsmasq = world.dnsmasq6(&[RA_STATELESS]);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({ "ipv4": "off", "ipv6": "auto" }));
    let result = bridge.add(&c1, conf).succeeds();
    dnsmasq.until_output_has("DHCPINFORMATION-REQUEST", SOON);
    assert!(addresses(&result)[0].ends_with("/64"), "{result}");
    assert_eq!(result["dns"]["nameservers"], json!(["fd00:240::53"]));
    assert_eq!(leases6().len(), 0);
}

#[test]
fn what_servers_say_beside_addresses_is_kept_and_asked_for_again() {
    let world = World::with_ipv6();
    let first = world.dnsmasq6(&[
        RA_STATELESS,
        "--dhcp-option=option6:information-refresh-time,30m",
    ]);
    let daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({ "ipv4": "off", "ipv6": "auto" }));
    let result = bridge.add(&c1, &conf).succeeds();
    assert_eq!(result["dns"]["nameservers"], json!(["fd00:240::53"]));
    let listed = || world.listed6("testnet/c1/eth0");
    let seconds = |listed: &Value| {
        let text = listed["renewsIn"].as_str().unwrap();
        text.trim_end_matches('s').parse::<u32>().unwrap()
    };
    let before = listed();
    assert_eq!(
        (&before["state"], &before["expiresIn"]),
        (&json!("INFORMED"), &json!("never"))
    );
    assert!((1700..=1800).contains(&seconds(&before)), "{before}");
    assert_eq!(before["address"], Value::Null);
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();

    // Over a crash, without a question.
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    let capture = world.server.capture("eth0", "udp port 547");
    let _daemon = world.daemon();
    assert_eq!(listed()["state"], "INFORMED");
    assert_eq!(capture.packets(), Vec::<String>::new());

    // The time of the next question, or a person who does not wait for it.
    let mut watcher = world.host.spawn([
        world.plugin().file().as_os_str(),
        std::ffi::OsStr::new("watch"),
    ]);
    let listens = || world.metrics().contains("do=\"watch\"} 1");
    assert!(until(SOON, listens), "{}", world.metrics());
    drop(first);
    let _second = world.dnsmasq6(&[
        RA_STATELESS,
        "--dhcp-option=option6:dns-server,[fd00:240::54]",
    ]);
    world.command(&["renew", "testnet/c1/eth0"]);
    watcher.until_output_has("\"event\":\"changed\"", SOON);
    watcher.until_output_has("fd00:240::54", SOON);
    assert!(watcher.is_running());
    // This one says the ten minutes of its range.
    assert!((500..=600).contains(&seconds(&listed())), "{}", listed());

    bridge.previous(&result).del(&c1, &conf).succeeds();
    assert!(listed().is_null());
    assert!(
        !capture
            .packets()
            .iter()
            .any(|line| line.contains("release")),
        "there is nothing to give back: {:?}",
        capture.packets()
    );
}

#[test]
fn auto_takes_both_kinds_of_address_where_a_router_offers_both() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6(&[
        "--dhcp-authoritative",
        "--dhcp-range=fd00:240::100,fd00:240::1ff,slaac,64,10m",
    ]);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf =
        bridged(json!({ "ipv4": "off", "ipv6": { "mode": "auto", "privacyAddresses": true } }));
    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result);
    assert_eq!(given.len(), 2, "{given:?}");
    assert!(
        given[0].starts_with("fd00:240::1") && given[0].ends_with("/128"),
        "{given:?}"
    );
    assert!(given[1].ends_with("/64"), "{given:?}");
    // And temporary ones beside them, which come and go.
    let all = v6(&c1);
    assert!(given.iter().all(|one| all.contains(one)), "{all:?}");
    let temporary = || {
        c1.exec(["ip", "-6", "addr", "show", "dev", "eth0"])
            .contains("temporary")
    };
    assert!(until(SOON, temporary), "{all:?}");
    bridge.previous(&result).check(&c1, &conf).succeeds();
}

#[test]
fn a_secondary_interface_takes_no_default_route_from_routers() {
    let world = World::with_ipv6();
    let _dnsmasq = world.dnsmasq6(&[RA_ONLY]);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let conf = bridged(json!({ "ipv4": "off", "slaac": true, "noDefaultRoute": true }));
    let result = bridge.add(&c1, conf).succeeds();
    assert_eq!(
        result["routes"],
        json!([{ "dst": "fd00:240::/64", "scope": 253 }])
    );
    let routes = c1.exec(["ip", "-6", "route"]);
    assert!(!routes.contains("default"), "{routes}");
}

#[test]
fn without_a_router_slaac_fails_in_time_and_says_so() {
    let world = World::with_ipv6();
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let before = c1.state();
    let conf = bridged(json!({ "ipv4": "off", "slaac": true, "timeoutSecs": 2 }));
    let outcome = world.host.plugin("bridge-attach").add(&c1, conf);
    outcome.fails_with(103, "no router advertised itself on eth0 within 2 s");
    c1.assert_unchanged_since(&before);
}
