//! Other servers than dnsmasq, with leases that are renewed after two seconds: each is asked in time, and gets back what it gave.

use std::fs;

use plumb_tests::{Process, Value, json, until};

use crate::family::{Family, V4};
use crate::world::{SOON, World, bridged};
use crate::world6::addresses;

/// A container attached, its lease renewed until `renewed` holds of the server and what it hears, and given back.
#[track_caller]
pub(crate) fn a_whole_life(
    family: &Family,
    world: &World,
    server: &Process,
    renewed: impl Fn(&str, &[String]) -> bool,
    released: &str,
) {
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let conf = bridged((family.keys)());
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge.add(&c1, &conf).succeeds();
    let given = addresses(&result);
    let capture = world.server.capture("eth0", "udp port 67 or udp port 547");
    let in_time = || renewed(&given[0], &capture.packets());
    assert!(
        until(SOON, in_time),
        "{:?} {}",
        capture.packets(),
        server.output()
    );
    assert_eq!((family.found)(&c1), given);
    assert!(c1.reaches(family.server));
    bridge
        .clone()
        .previous(&result)
        .check(&c1, &conf)
        .succeeds();
    bridge.previous(&result).del(&c1, &conf).succeeds();
    server.until_output_has(released, SOON);
}

/// Whether an address asked its server alone for more time, twice.
fn by_unicast(address: &str, packets: &[String]) -> bool {
    let address = address.split('/').next().unwrap();
    let renewal = format!("{address}.68 > 10.240.0.1.67");
    let renewals = packets.iter().filter(|line| line.contains(&renewal));
    renewals.count() >= 2
}

#[test]
fn isc_dhcpd() {
    let world = World::new();
    let options = "option rfc3442-classless-static-routes code 121 = array of integer 8;
        default-lease-time 20; max-lease-time 20; option routers 10.240.0.1;
        option dhcp-renewal-time 2; option dhcp-rebinding-time 15;
        option rfc3442-classless-static-routes 24, 10,99,0, 10,240,0,1;";
    let server = V4.isc_dhcpd(&world, options);
    let c0 = world.plugged("c0");
    a_whole_life(&V4, &world, &server, by_unicast, "DHCPRELEASE of 10.240.0.");
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
            "valid-lifetime": 20, "renew-timer": 2, "rebind-timer": 15,
            "subnet4": [{ "id": 1, "subnet": "10.240.0.0/24", "pools": [{ "pool": "10.240.0.100 - 10.240.0.110" }] }],
        }),
    );
    a_whole_life(&V4, &world, &server, by_unicast, "DHCP4_RELEASE ");
}
