//! `clampMss`, as the outside sees it on the wire.

use plumb_tests::{Value, json};

use super::world::{INTERNET, SOON, World, seen};

/// The maximal segment sizes that the first packets of a connection from a container to the Internet host announce, its
/// own and the answer's, with an uplink whose MTU is 1400.
fn announced(keys: Value, address: &str) -> Vec<String> {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    world.add(&c1, &result, keys).succeeds();
    world.host.sh("ip link set eth0 mtu 1400");
    // The flags of TCP where the header has no options before it, over IPv4 and IPv6.
    let syn = "tcp[tcpflags] & tcp-syn != 0 or (ip6 and ip6[6] == 6 and ip6[53] & 2 != 0)";
    let outside = world.internet.capture("eth0", syn);
    let inside = c1.capture("eth0", syn);
    assert!(seen(&c1, &world.internet, address).is_some());
    // The request leaves at the one end, the answer arrives at the other.
    [(&outside, "Flags [S],"), (&inside, "Flags [S.],")]
        .into_iter()
        .map(|(capture, flags)| {
            capture.until_seen(flags, SOON);
            let packets = capture.packets();
            let line = packets.iter().find(|line| line.contains(flags)).unwrap();
            let (_, size) = line.split_once("options [mss ").expect("a segment size");
            size.split([',', ']']).next().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn without_the_key_what_the_ends_say_stays() {
    assert_eq!(announced(json!({}), INTERNET[0]), ["1460", "1460"]);
}

#[test]
fn connections_fit_through_the_uplink() {
    let keys = json!({ "clampMss": true });
    assert_eq!(announced(keys, INTERNET[0]), ["1360", "1360"]);
}

#[test]
fn connections_over_ipv6_fit_through_the_uplink() {
    let keys = json!({ "clampMss": true });
    assert_eq!(announced(keys, INTERNET[1]), ["1340", "1340"]);
}

#[test]
fn a_number_lowers_both_ways() {
    let keys = json!({ "clampMss": 1200 });
    assert_eq!(announced(keys, INTERNET[0]), ["1200", "1200"]);
}

#[test]
fn a_number_above_what_the_ends_say_changes_nothing() {
    let keys = json!({ "clampMss": 9000 });
    assert_eq!(announced(keys, INTERNET[0]), ["1460", "1460"]);
}
