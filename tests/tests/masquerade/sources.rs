//! Which sources, interfaces and families are translated, and to what.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpListener, TcpStream};

use plumb_tests::{Value, json};

use super::reach::{Call, apart};
use super::world::{INTERNET, SECOND, UPLINK, World, nf_call, seen};

/// What the Internet host sees of a container that is attached with these keys, by family.
fn outside_sees(keys: Value) -> [Option<String>; 2] {
    let attempt = || {
        let world = World::new();
        let (c1, result) = world.with_container("c1");
        world.add(&c1, &result, keys).succeeds();
        INTERNET.map(|outside| seen(&c1, &world.internet, outside))
    };
    // A thread has one host.
    std::thread::scope(|scope| scope.spawn(attempt).join().unwrap())
}

#[test]
fn one_family_alone_is_translated_on_request() {
    let seen = outside_sees(json!({ "masquerade": "ipv6" }));
    assert_eq!(seen.map(Option::unwrap), ["10.77.0.2", UPLINK[1]]);
    let seen = outside_sees(json!({ "masquerade": ["ipv4"] }));
    assert_eq!(seen.map(Option::unwrap), [UPLINK[0], "fd77::2"]);
}

#[test]
fn a_range_of_sources_is_used() {
    let world = World::new();
    world.host.sh("ip addr add 203.0.113.78/32 dev lo");
    world.host.sh("ip -6 addr add 2001:db8:113::78/128 dev lo");
    world
        .internet
        .sh("ip -6 route add 2001:db8:113::78/128 via 2001:db8:113::2");
    let (c1, result) = world.with_container("c1");
    let keys = json!({
        "toSource": ["203.0.113.77-203.0.113.78", "2001:db8:113::77-2001:db8:113::78"],
        "natFlags": ["fully-random", "persistent"],
    });
    world.add(&c1, &result, keys.clone()).succeeds();
    for (outside, range) in INTERNET.into_iter().zip([
        ["203.0.113.77", "203.0.113.78"],
        ["2001:db8:113::77", "2001:db8:113::78"],
    ]) {
        // The same for each of a client's connections.
        let sources: BTreeSet<String> = (0..4)
            .map(|_| seen(&c1, &world.internet, outside).unwrap())
            .collect();
        assert_eq!(sources.len(), 1);
        assert!(
            sources
                .iter()
                .all(|source| range.contains(&source.as_str())),
            "{sources:?}"
        );
    }
    let listed = world.host.ruleset();
    let rule = "snat ip to 203.0.113.77-203.0.113.78 fully-random,persistent";
    assert!(listed.contains(rule), "{listed}");
    let check = world.plugin().previous(&result);
    check
        .check(&c1, plumb_tests::conf("masquerade", keys))
        .succeeds();
}

#[test]
fn the_interfaces_may_be_many() {
    let seen = outside_sees(json!({ "outInterface": "eth*" }));
    assert_eq!(seen.map(Option::unwrap), UPLINK);
    let seen = outside_sees(json!({ "outInterface": "ppp*" }));
    assert_eq!(seen.map(Option::unwrap), ["10.77.0.2", "fd77::2"]);
    let seen = outside_sees(json!({ "inInterface": "br*", "toSource": SECOND }));
    assert_eq!(seen.map(Option::unwrap), SECOND);
    let seen = outside_sees(json!({ "inInterface": "br2" }));
    assert_eq!(seen.map(Option::unwrap), ["10.77.0.2", "fd77::2"]);
}

#[test]
fn what_stays_within_the_subnet_is_translated_on_request() {
    let world = World::new();
    nf_call(&world.host, true);
    let (c1, first) = world.with_container("c1");
    let (c2, _) = world.with_container("c2");
    world
        .add(&c1, &first, json!({ "withinSubnet": true }))
        .succeeds();
    assert_eq!(seen(&c1, &c2, "10.77.0.3").as_deref(), Some("10.77.0.1"));
    assert_eq!(seen(&c1, &c2, "fd77::3").as_deref(), Some("fd77::1"));
    assert_eq!(
        seen(&c1, &world.internet, INTERNET[0]).as_deref(),
        Some(UPLINK[0])
    );
    // Only this network's sources.
    assert_eq!(seen(&c2, &c1, "10.77.0.2").as_deref(), Some("10.77.0.3"));
}

#[test]
fn what_is_tracked_by_nobody_does_not_leave_untranslated() {
    for (drops, arrives) in [(true, false), (false, true)] {
        apart(|| an_untracked_packet(drops, arrives));
    }
}

fn an_untracked_packet(drops: bool, arrives: bool) {
    let world = World::new();
    world.host.set_sysctl("net/ipv4/ip_forward", "1");
    let (c1, result) = world.with_container("c1");
    let address = (INTERNET[0], 80);
    let listener = world.internet.run(|| TcpListener::bind(address)).unwrap();
    let mut stream = c1.run(|| TcpStream::connect(address)).unwrap();
    let _accepted = listener.accept().unwrap();
    // From here on the host tracks, and takes up no connection in the middle.
    world
        .add(&c1, &result, json!({ "dropInvalid": drops }))
        .succeeds();
    world
        .host
        .set_sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
    let capture = world.internet.capture("eth0", "src host 10.77.0.2 or icmp");
    stream.write_all(b"untranslated").unwrap();
    // What was sent before it arrives before it, as a rule.
    assert!(c1.ping(INTERNET[0]));
    capture.until_seen("ICMP echo request", super::world::SOON);
    if arrives {
        capture.until_seen("10.77.0.2.", super::world::SOON);
    }
    let heard = capture.packets().join("\n");
    assert_eq!(heard.contains("10.77.0.2."), arrives, "{drops}: {heard}");
    let listed = world.host.ruleset();
    let dropped = listed
        .lines()
        .find(|line| line.contains("ct state invalid oifname"));
    match dropped {
        Some(line) => assert!(drops && !line.contains("packets 0"), "{line}"),
        None => assert!(!drops, "{listed}"),
    }
    // What is tracked is not concerned.
    let outwards = Call {
        client: &c1,
        to: (INTERNET[0], 81),
        server: &world.internet,
        at: (INTERNET[0], 81),
    };
    outwards.seen_as(UPLINK[0]);
}

#[test]
fn impossible_sources_are_refused_before_anything_changes() {
    let world = World::new();
    let (c1, result) = world.with_container("c1");
    let before = world.host.state();
    for (keys, words) in [
        (
            json!({ "toSource": "10.0.0.9-10.0.0.1" }),
            "must go from an address to a higher one",
        ),
        (
            json!({ "toSource": "10.0.0.1-fd00::1" }),
            "must go from an address to a higher one",
        ),
        (
            json!({ "toSource": ["10.0.0.1", "10.0.0.2"] }),
            "toSource[1]: \"10.0.0.2\" is a second IPv4 address",
        ),
        (
            json!({ "natFlags": "stubborn" }),
            "natFlags: \"stubborn\" must be",
        ),
        (
            json!({ "masquerade": "ipx" }),
            "masquerade: \"ipx\" must be",
        ),
        (json!({ "outInterface": "*" }), "outInterface"),
        (
            json!({ "outInterface": "br1" }),
            "outInterface: br1 is the interface to the containers",
        ),
        (
            json!({ "toPrefix": "2001:db8::/80" }),
            "toPrefix: 2001:db8::/80 cannot stand for fd77::/64, which is larger",
        ),
        (
            json!({ "toPrefix": "192.0.2.0/16", "toSource": "192.0.2.1" }),
            "has a toSource as well",
        ),
        (json!({ "toPrefix": "::/0" }), "must be a prefix with room"),
    ] {
        let error = world.add(&c1, &result, keys).fails_with(7, words);
        assert!(error["msg"].is_string());
    }
    world.host.assert_unchanged_since(&before);
}
