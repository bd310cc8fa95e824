//! Other IPv6 servers than dnsmasq, with leases of a few seconds.

use std::fs;

use nix::sys::signal::Signal;
use plumb_tests::{Process, Value, json, until};

use crate::family::{LEASES, V6};
use crate::servers::a_whole_life;
use crate::world::{SOON, World, alone, bridged};
use crate::world6::{addresses, v6};

/// Whether the server was asked for more time, twice.
fn asked_twice(server: &Process, words: &str) -> bool {
    server.output().matches(words).count() >= 2
}

#[test]
fn isc_dhcpd6() {
    let world = World::with_ipv6();
    let options = "default-lease-time 20; preferred-lifetime 18; option dhcp-renewal-time 2;
        option dhcp-rebinding-time 15;";
    let server = V6.isc_dhcpd(&world, options);
    a_whole_life(
        &V6,
        &world,
        &server,
        |_, _| asked_twice(&server, "Renew message from"),
        "Release message from",
    );
    let leases = || fs::read_to_string(LEASES).unwrap();
    let released = || leases().contains("binding state released");
    assert!(until(SOON, released), "{}", leases());
}

/// Kea, which keeps its files in a directory of that name, and calls itself by a number, with these keys of its subnet.
#[track_caller]
pub(crate) fn kea6(world: &World, name: &str, number: &str, more: &Value) -> Process {
    let seconds = 4;
    let mut conf = json!({ "Dhcp6": {
        "interfaces-config": { "interfaces": ["eth0"] },
        "lease-database": { "type": "memfile", "persist": true, "name": format!("/run/{name}/leases.csv") },
        "server-id": { "type": "EN", "persist": false, "enterprise-id": 1, "identifier": number },
        "preferred-lifetime": seconds, "valid-lifetime": seconds * 2,
        "renew-timer": seconds / 2, "rebind-timer": seconds * 3 / 4,
        "option-data": [{ "name": "dns-servers", "data": "fd00:240::53" }],
        "subnet6": [{
            "id": 1, "subnet": "fd00:240::/64", "interface": "eth0", "rapid-commit": true,
            "pools": [{ "pool": "fd00:240::100 - fd00:240::1ff" }],
        }],
        "loggers": [{ "name": "kea-dhcp6", "output_options": [{ "output": "stdout" }], "severity": "DEBUG", "debuglevel": 50 }],
    } });
    let subnet = conf["Dhcp6"]["subnet6"][0].as_object_mut().unwrap();
    subnet.extend(more.as_object().unwrap().clone());
    fs::create_dir_all(format!("/run/{name}")).unwrap();
    fs::write(format!("/run/{name}/kea.json"), conf.to_string()).unwrap();
    let line = format!(
        "KEA_PIDFILE_DIR=/run/{name} KEA_LOCKFILE_DIR=/run/{name} exec kea-dhcp6 -c /run/{name}/kea.json"
    );
    let server = world.server.spawn(["sh", "-c", &line]);
    server.until_output_has("DHCP6_STARTED", SOON);
    server
}

#[test]
fn kea6_with_rapid_commit_and_a_delegated_prefix() {
    let world = World::with_ipv6();
    let pool =
        json!({ "pd-pools": [{ "prefix": "fd00:dd::", "prefix-len": 48, "delegated-len": 60 }] });
    let server = kea6(&world, "kea", "01", &pool);
    {
        let _daemon = world.daemon();
        let c0 = world.plugged("c0");
        let mut keys = (V6.keys)();
        keys["ipv6"]["prefixDelegation"] = json!(60);
        let conf = alone(keys);
        let result = world.plugin().add(&c0, &conf).succeeds();
        assert_eq!(result["dns"]["nameservers"], json!(["fd00:240::53"]));
        let listed = world.listed6("testnet/c0/eth0");
        let delegated = listed["delegated"].as_str().unwrap();
        assert!(
            delegated.starts_with("fd00:dd:") && delegated.ends_with("/60"),
            "{listed}"
        );
        let lease = || {
            let text = fs::read_to_string("/run/kea/leases.csv").unwrap_or_default();
            text.contains(delegated.trim_end_matches("/60"))
        };
        assert!(until(SOON, lease));
        // Asked for with a Solicit and a Reply alone.
        assert!(!server.output().contains("REQUEST (type 3)"));
        world.plugin().del(&c0, &conf).succeeds();
        server.until_output_has("DHCP6_RELEASE_PD", SOON);
    }
    a_whole_life(
        &V6,
        &world,
        &server,
        |_, _| asked_twice(&server, "RENEW (type 5)"),
        "DHCP6_RELEASE_NA",
    );
}

#[test]
fn a_second_server_takes_over_and_without_any_the_address_goes() {
    let world = World::with_ipv6();
    let first = kea6(&world, "first", "01", &json!({}));
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, bridged((V6.keys)())).succeeds();
    let server = world.listed6("testnet/c1/eth0")["server"].clone();
    first.signal(Signal::SIGKILL);
    drop(first);
    let second = kea6(&world, "second", "02", &json!({}));
    let taken_over = || {
        let listed = world.listed6("testnet/c1/eth0");
        listed["server"] != server && listed["state"] == "BOUND"
    };
    assert!(until(SOON, taken_over), "{}", second.output());
    assert_eq!(v6(&c1), addresses(&result));

    second.signal(Signal::SIGKILL);
    drop(second);
    assert!(until(SOON, || v6(&c1).is_empty()), "{:?}", v6(&c1));
    assert_eq!(c1.link("eth0").unwrap()["operstate"], "UP");
    let said = || world.listed6("testnet/c1/eth0")["lastError"] == "nobody renewed it";
    assert!(until(SOON, said), "{}", world.listed6("testnet/c1/eth0"));
    let _third = kea6(&world, "second", "02", &json!({}));
    let back = || !v6(&c1).is_empty();
    assert!(
        until(SOON * 2, back),
        "{}",
        world.listed6("testnet/c1/eth0")
    );
    assert!(c1.reaches("fd00:240::1"));
}
