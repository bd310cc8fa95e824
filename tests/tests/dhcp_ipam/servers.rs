//! Other servers than dnsmasq, with leases of a few seconds: each is asked in time, and gets back what it gave.

use std::fs;

use plumb_tests::{Process, Value, json, until};

use crate::world::{SOON, World, address, bridged, v4};

/// A container attached, its lease renewed at least twice by unicast, and given back.
#[track_caller]
fn a_whole_life(world: &World, server: &Process, released: &str) {
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged(json!({}));
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    let given = address(&result);
    let capture = world.server.capture("eth0", "udp port 67");
    let renewal = format!("{}.68 > 10.240.0.1.67", given.trim_end_matches("/24"));
    let twice = || {
        capture
            .packets()
            .iter()
            .filter(|line| line.contains(&renewal))
            .count()
            >= 2
    };
    assert!(until(SOON, twice), "{:?}", capture.packets());
    assert_eq!(v4(&c1), [given]);
    assert!(c1.ping("10.240.0.1"));
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    server.until_output_has(released, SOON);
}

#[test]
fn isc_dhcpd() {
    let world = World::new();
    let options = "option rfc3442-classless-static-routes code 121 = array of integer 8;
        default-lease-time 6; min-lease-time 1; max-lease-time 6; ping-check false; authoritative;
        subnet 10.240.0.0 netmask 255.255.255.0 { range 10.240.0.100 10.240.0.110; option routers 10.240.0.1;
        option rfc3442-classless-static-routes 24, 10,99,0, 10,240,0,1; }";
    fs::write("/run/dhcpd.conf", options).unwrap();
    fs::write("/run/dhcpd.leases", "").unwrap();
    let mut words: Vec<&str> =
        "dhcpd -f -d -4 -cf /run/dhcpd.conf -lf /run/dhcpd.leases -pf /run/dhcpd.pid"
            .split(' ')
            .collect();
    words.push("eth0");
    let server = world.server.spawn(words);
    server.until_output_has("Server starting service", SOON);
    let c0 = world.plugged("c0");
    a_whole_life(&world, &server, "DHCPRELEASE of 10.240.0.");
    // Classless routes stand for the router.
    let _daemon = world.daemon();
    let result = world
        .plugin()
        .add(&c0, crate::world::alone(json!({})))
        .succeeds();
    assert_eq!(
        result["routes"],
        json!([{ "dst": "10.99.0.0/24", "gw": "10.240.0.1" }])
    );
}

/// Kea with these keys under `Dhcp4`, once it serves.
#[track_caller]
pub(crate) fn kea(world: &World, keys: &Value) -> Process {
    let mut conf = json!({
        "interfaces-config": { "interfaces": ["eth0"], "dhcp-socket-type": "raw" },
        "lease-database": { "type": "memfile", "persist": false },
        "option-data": [{ "name": "routers", "data": "10.240.0.1" }],
        "loggers": [{ "name": "kea-dhcp4", "output_options": [{ "output": "stdout" }], "severity": "INFO" }],
    });
    let keys = keys.as_object().unwrap().clone();
    conf.as_object_mut().unwrap().extend(keys);
    fs::write("/run/kea.json", json!({ "Dhcp4": conf }).to_string()).unwrap();
    fs::create_dir_all("/run/kea-files").unwrap();
    let line = "KEA_PIDFILE_DIR=/run/kea-files KEA_LOCKFILE_DIR=/run/kea-files exec kea-dhcp4 -c /run/kea.json";
    let server = world.server.spawn(["sh", "-c", line]);
    server.until_output_has("DHCP4_STARTED", SOON);
    server
}

#[test]
fn kea_dhcp4() {
    let world = World::new();
    let server = kea(
        &world,
        &json!({
            "valid-lifetime": 4, "min-valid-lifetime": 2, "max-valid-lifetime": 6, "renew-timer": 2, "rebind-timer": 3,
            "subnet4": [{ "id": 1, "subnet": "10.240.0.0/24", "pools": [{ "pool": "10.240.0.100 - 10.240.0.110" }] }],
        }),
    );
    a_whole_life(&world, &server, "DHCP4_RELEASE ");
}
