//! What passes is counted, for each network and for each attachment.

use plumb_tests::{conf, json};

use super::publish::port_80;
use super::world::{INTERNET, SOON, UPLINK, World, kept_out};

/// The line of the ruleset that has all these words.
fn line(listed: &str, words: &[&str]) -> String {
    let mut lines = listed.lines().map(str::trim);
    let found = lines.find(|line| words.iter().all(|word| line.contains(word)));
    found
        .unwrap_or_else(|| panic!("{words:?} in\n{listed}"))
        .to_owned()
}

/// The number after `packets`.
fn packets(line: &str) -> u64 {
    let after = line.split("packets ").nth(1).unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn networks_and_attachments_count_what_they_send_and_receive() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let (c2, second) = world.with_container("c2");
    world.add(&c1, &first, json!({})).succeeds();
    world.add(&c2, &second, json!({})).succeeds();
    c1.sh("ping -q -c 5 -i 0.02 203.0.113.9");
    c2.sh("ping -q -c 2 -i 0.02 2001:db8:113::9");
    let listed = world.host.exec(["nft", "list", "table", "inet", "plumb"]);
    let network = "comment \"net-testnet-";
    for (words, expected) in [
        (["iifname \"br1\" ip saddr @", network], 5),
        (["oifname \"br1\" ip daddr @", network], 5),
        (["iifname \"br1\" ip6 saddr @", network], 2),
    ] {
        let line = line(&listed, &words);
        assert_eq!(packets(&line), expected, "{line}");
    }
    // Both directions, and the first packet again where it was translated.
    for (element, expected) in [("10.77.0.2", 11), ("10.77.0.3", 0), ("fd77::3", 5)] {
        let element = format!("{element} counter ");
        let from = listed.find(&element).unwrap_or_else(|| panic!("{listed}"));
        assert_eq!(packets(&listed[from..]), expected, "{element} in {listed}");
    }
    assert!(listed.contains("/c1/eth0\""), "{listed}");
    assert!(c1.ping(INTERNET[0]));
}

#[test]
fn plain_nft_tells_networks_containers_interfaces_and_what_they_sent() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let keys = json!({ "publish": ["8080:80"], "forward": "stateful" });
    world.add(&c1, &first, keys).succeeds();
    let call = port_80(&world.internet, (UPLINK[0], 8080), &c1);
    assert_eq!(call.tcp(SOON).as_deref(), Some(INTERNET[0]));
    kept_out(&world.internet, &c1, "10.77.0.2");
    let listed = world.host.exec(["nft", "list", "table", "inet", "plumb"]);
    // The network with its subnet, the attachment as network, container and interface, the port as whose it is.
    line(
        &listed,
        &["comment \"network testnet, subnet 10.77.0.0/16\""],
    );
    let attachment = line(&listed, &["10.77.0.2 counter packets", "testnet/c1/eth0\""]);
    let port = line(
        &listed,
        &[
            "tcp . 8080 counter packets",
            "testnet/c1/eth0\" : 10.77.0.2 . 80",
        ],
    );
    let dropped = line(
        &listed,
        &[
            "ct state ! established,related",
            "drop comment \"net-testnet-",
        ],
    );
    for counted in [attachment, port, dropped] {
        assert!(packets(&counted) > 0, "{counted}");
    }
    // Every rule says whose it is.
    let rules = listed.lines().map(str::trim).filter(|line| {
        ["iifname", "oifname", "ip ", "ip6 ", "dnat", "fib", "ct "]
            .iter()
            .any(|start| line.starts_with(start))
    });
    for rule in rules {
        let marked =
            rule.contains("comment \"net-testnet-") || rule.contains("comment \"published ports\"");
        assert!(marked, "{rule}");
    }
}

#[test]
fn nothing_is_counted_on_request() {
    let world = World::new();
    let (c1, first) = world.with_container("c1");
    let keys = json!({ "counters": false });
    world.add(&c1, &first, keys.clone()).succeeds();
    let listed = world.host.ruleset();
    assert!(!listed.contains("mangle"), "{listed}");
    assert!(listed.contains("10.77.0.2 comment "), "{listed}");
    let check = world.plugin().previous(&first);
    check.check(&c1, conf("masquerade", keys)).succeeds();
}
