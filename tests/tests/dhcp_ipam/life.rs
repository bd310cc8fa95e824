//! A lease from its beginning to its end.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use plumb_tests::{Node, at_once, json, until};

use crate::asked::overheard;
use crate::world::{OnDemand, SOON, World, address, alone, bridged, leases, until_leases, v4};

#[test]
fn a_container_on_a_bridge_gets_a_lease_and_gives_it_back() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = OnDemand;
    let c1 = world.host.container("c1");
    let conf = bridged(json!({}));
    let bridge = world.host.plugin("bridge-attach");

    let result = bridge.add(&c1, &conf).succeeds();
    let given = address(&result);
    assert!(
        given.starts_with("10.240.0.1") && given.ends_with("/24"),
        "{given}"
    );
    assert_eq!(result["ips"][0]["gateway"], "10.240.0.1");
    assert_eq!(
        result["dns"],
        json!({ "nameservers": ["10.240.0.53"], "domain": "lab.example", "search": ["lab.example", "example"] })
    );
    assert_eq!(v4(&c1), [&given[..]]);
    let bare = given.trim_end_matches("/24");
    let default = c1
        .routes()
        .into_iter()
        .find(|route| route.starts_with("default"));
    let default = default.unwrap();
    assert!(
        default.starts_with("default via 10.240.0.1 dev eth0"),
        "{default}"
    );
    assert!(default.contains("mtu 1400"), "{default}");
    assert!(c1.reaches("10.240.0.1"));
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();

    let file = fs::read_dir("/var/lib/cni/dhcp-ipam").unwrap().flatten();
    let mut leases = file.filter(|entry| entry.path().extension().is_some_and(|end| end == "json"));
    let mode = leases
        .next()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    until_leases(1);
    let mac = |node: &Node| node.link("eth0").unwrap()["address"].clone();
    let (from, to) = (mac(&c1), mac(&world.server));
    let heard = overheard(&world);
    bridge.previous(&result).del(&c1, &conf).succeeds();
    until_leases(0);
    // From the address to the server alone, and not on the link of everybody.
    heard.until_output_has("DHCP-Message (53), length 1: Release", SOON);
    let ends = format!("{bare}.68 > 10.240.0.1.67");
    let link = format!("{} > {}", from.as_str().unwrap(), to.as_str().unwrap());
    let heard = heard.output();
    assert!(heard.contains(&ends) && heard.contains(&link), "{heard}");
    assert!(world.listed("testnet/c1/eth0").is_null());
}

#[test]
fn a_repeated_add_has_the_same_lease() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({}));
    let first = world.plugin().add(&c1, &conf).succeeds();
    assert_eq!(world.plugin().add(&c1, &conf).succeeds(), first);
    until_leases(1);
}

#[test]
fn two_adds_at_once_have_one_lease() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let conf = alone(json!({}));
    let plugin = world.plugin();
    let results = at_once(4, |_| plugin.add(&c1, &conf).succeeds());
    assert!(
        results.iter().all(|result| *result == results[0]),
        "{results:?}"
    );
    until_leases(1);
}

#[test]
fn thirty_two_containers_at_once_without_a_daemon_have_a_lease_each() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 199);
    let _daemon = OnDemand;
    let containers: Vec<_> = (0..32)
        .map(|number| world.plugged(&format!("c{number}")))
        .collect();
    let conf = alone(json!({}));
    let plugin = world.plugin();
    let results = at_once(32, |number| {
        plugin.add(&containers[number], &conf).succeeds()
    });
    let mut given: Vec<_> = results.iter().map(address).collect();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 32);
    until_leases(32);
    // One daemon, with one thread.
    let status = fs::read_to_string(format!("/proc/{}/status", OnDemand::pid().unwrap())).unwrap();
    assert!(status.contains("Threads:\t1\n"), "{status}");
    plugin.valid([("c3", "eth0")]).gc(&conf).succeeds();
    until_leases(1);
}

#[test]
fn a_renewal_goes_from_the_address_to_the_server_alone() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, bridged(json!({}))).succeeds();
    let given = address(&result);
    let given = given.trim_end_matches("/24");
    let capture = world.server.capture("eth0", "udp port 67");
    world.command(&["renew", "testnet/c1/eth0"]);
    capture.until_seen(&format!("{given}.68 > 10.240.0.1.67"), SOON);
    capture.until_seen(&format!("10.240.0.1.67 > {given}.68"), SOON);
    assert!(
        !capture
            .packets()
            .iter()
            .any(|line| line.contains("255.255.255.255"))
    );
    let bound = || world.listed("testnet/c1/eth0")["state"] == "BOUND";
    assert!(until(SOON, bound), "{}", world.listed("testnet/c1/eth0"));
    assert_eq!(c1.sh("ss -Hanu"), "");

    // The kernel sends it, which knows the way to every server; not who writes to the link.
    dnsmasq.signal(Signal::SIGKILL);
    drop(dnsmasq);
    world.command(&["renew", "testnet/c1/eth0"]);
    let asks = || world.listed("testnet/c1/eth0")["state"] == "RENEWING";
    assert!(until(SOON, asks), "{}", world.listed("testnet/c1/eth0"));
    let open = c1.sh("ss -Hanu");
    assert!(open.contains(&format!("{given}%eth0:68")), "{open}");
}

#[test]
fn what_is_provided_reaches_the_server() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 150);
    let _daemon = world.daemon();
    let c1 = world.plugged("c1");
    let keys = json!({
        "clientId": "hex:ff:01:02",
        "provide": [
            { "option": "host-name", "fromArg": "K8S_POD_NAME" },
            { "option": "vendor-class-identifier", "value": "plumb" },
        ],
        "priority": 77,
        "noDefaultRoute": true,
    });
    let result = world
        .plugin()
        .args("K8S_POD_NAME=web-0")
        .add(&c1, alone(keys))
        .succeeds();
    assert!(result.get("routes").is_none(), "{result}");
    dnsmasq.until_output_has("vendor class: plumb", SOON);
    until_leases(1);
    let lease = leases().remove(0);
    assert!(
        lease.contains(" web-0 ") && lease.contains("ff:01:02"),
        "{lease}"
    );
}
