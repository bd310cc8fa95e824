//! What the client says, as servers and tcpdump read it, and what it makes of options that dnsmasq gives.

use std::fs;

use plumb_tests::{Process, Value, json, until};

use crate::world::{SOON, World, address, alone, bridged, leases};

/// All that a server is told, as tcpdump reads it.
#[track_caller]
pub(crate) fn overheard(world: &World) -> Process {
    let line =
        "tcpdump -Z root -i eth0 -n -e -l -U --immediate-mode -vvv udp port 67 or udp port 547";
    let process = world.server.spawn(line.split(' '));
    process.until_output_has("listening on", SOON);
    process
}

#[test]
fn what_is_provided_is_what_others_read() {
    let world = World::new();
    let dnsmasq = world.dnsmasq(100, 110);
    let file = world.plugin().file().to_owned();
    let words = [
        file.to_str().unwrap(),
        "daemon",
        "-broadcast",
        "-pidfile",
        "/run/dhcp.pid",
    ];
    let daemon = world.host.spawn(words);
    daemon.until_output_has("listens at", SOON);
    let c1 = world.plugged("c1");
    let heard = overheard(&world);
    let keys = json!({
        "maxMessageSize": 600,
        "request": [{ "option": "ntp-servers" }, { "option": "router", "skipDefault": true }],
        "provide": [
            { "option": "host-name", "fromArg": "K8S_POD_NAME", "value": "nobody" },
            { "option": "fqdn", "value": "web-0.lab.example" },
            { "option": "user-class", "value": ["ab", "c"] },
            { "option": "vendor-class-identifier", "value": "plumb" },
        ],
    });
    world.plugin().add(&c1, alone(keys)).succeeds();
    let expected = [
        "Flags [Broadcast]",
        "Hostname (12), length 6: \"nobody\"",
        "Parameter-Request (55), length 2: \n\t      NTP (42), Default-Gateway (3)",
        "MSZ (57), length 2: 600",
        "Vendor-Class (60), length 5: \"plumb\"",
        "instance#1: \"ab\", length 2",
        "instance#2: \"c\", length 1",
        "FQDN (81), length 22: [SE] \"^Eweb-0^Clab^Gexample^@\"",
    ];
    for words in expected {
        heard.until_output_has(words, SOON);
    }
    for words in [
        "vendor class: plumb",
        "user class: abc",
        "client provides name: web-0.lab.example",
    ] {
        dnsmasq.until_output_has(words, SOON);
    }
    let pid = fs::read_to_string("/run/dhcp.pid").unwrap();
    assert_eq!(pid.trim(), daemon.id().to_string());
}

#[test]
fn a_client_is_called_what_the_configuration_says() {
    let world = World::new();
    let _dnsmasq = world.dnsmasq(100, 110);
    let _daemon = world.daemon();
    let identifier = |name: &str, kind: &str| {
        let container = world.plugged(name);
        let conf = alone(json!({ "clientId": kind }));
        let result = world.plugin().add(&container, &conf).succeeds();
        let given = address(&result);
        let bare = given.trim_end_matches("/24").to_owned();
        let of_it = |line: &String| line.split(' ').nth(2) == Some(&bare);
        assert!(until(SOON, || leases().iter().any(of_it)));
        let line = leases().into_iter().find(of_it).unwrap();
        let mac = container.link("eth0").unwrap()["address"].clone();
        (
            line.split(' ').nth(4).unwrap().to_owned(),
            mac.as_str().unwrap().to_owned(),
        )
    };
    let (hash, _) = identifier("c1", "hash");
    assert_eq!(hash.split(':').count(), 9, "{hash}");
    let (mac, expected) = identifier("c2", "mac");
    assert_eq!(mac, format!("01:{expected}"));
    // An IAID of four bytes, and a DUID-UUID (RFC 4361, 6.1; RFC 6355).
    let (duid, _) = identifier("c3", "duid");
    let parts: Vec<&str> = duid.split(':').collect();
    assert_eq!(
        (parts.len(), parts[0], &parts[5..7]),
        (23, "ff", &["00", "04"][..]),
        "{duid}"
    );
    // The type of what is no address (RFC 2132, 9.14), and the container's, the network's and the interface's name.
    let (legacy, _) = identifier("c4", "legacy");
    assert_eq!(legacy, in_hex(b"\0c4/testnet/eth0"));
    // The same, and the text.
    let (text, _) = identifier("c5", "printer");
    assert_eq!(text, in_hex(b"\0printer"));
}

/// Bytes as dnsmasq writes them.
fn in_hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(":")
}

/// The routes of a result for whom dnsmasq gives these options.
#[track_caller]
fn routes_of(options: &[&str]) -> Value {
    let world = World::new();
    let _dnsmasq = world.dnsmasq_with((100, 110), options);
    let _daemon = world.daemon();
    let c1 = world.host.container("c1");
    let bridge = world.host.plugin("bridge-attach");
    let result = bridge
        .add(&c1, bridged(json!({ "priority": 77 })))
        .succeeds();
    let routes = result["routes"].as_array().unwrap().clone();
    let known = c1.routes();
    for route in &routes {
        let to = route["dst"].as_str().unwrap();
        let to = to.replace("0.0.0.0/0", "default").replace("/32", "");
        let is_there = |line: &&String| line.starts_with(&to) && line.contains("metric 77");
        assert_eq!(known.iter().filter(is_there).count(), 1, "{to} {known:?}");
    }
    bridge
        .previous(&result)
        .check(&c1, bridged(json!({ "priority": 77 })))
        .succeeds();
    Value::Array(routes)
}

/// Option 121, or what Microsoft had before it was one.
#[track_caller]
fn classless(code: u8) {
    let option = format!("--dhcp-option={code},0.0.0.0/0,10.240.0.9,10.8.0.0/16,0.0.0.0");
    let routes = routes_of(&["--dhcp-option=33,192.0.2.7,10.240.0.8", &option]);
    assert_eq!(
        routes,
        json!([
            { "dst": "0.0.0.0/0", "gw": "10.240.0.9", "priority": 77 },
            { "dst": "10.8.0.0/16", "priority": 77, "scope": 253 },
        ])
    );
}

#[test]
fn classless_routes_stand_for_all_others_and_may_be_on_the_link() {
    classless(121);
}

#[test]
fn microsofts_classless_routes_are_as_good() {
    classless(249);
}

#[test]
fn static_routes_stand_beside_the_router() {
    let routes = routes_of(&["--dhcp-option=33,192.0.2.7,10.240.0.8"]);
    assert_eq!(
        routes,
        json!([
            { "dst": "192.0.2.7/32", "gw": "10.240.0.8", "priority": 77 },
            { "dst": "0.0.0.0/0", "gw": "10.240.0.1", "priority": 77 },
        ])
    );
}
