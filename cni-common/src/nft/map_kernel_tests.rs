//! Maps, counters and translation, read back with nft and iptables.

use core::net::IpAddr;

use super::*;
use crate::addr::Cidr;
use crate::testing::{private_netns, run};

const PREROUTING: BaseChain = BaseChain {
    name: "dstnat",
    kind: ChainKind::Nat,
    hook: Hook::Prerouting,
    priority: -100,
};

const OUTPUT: BaseChain = BaseChain {
    name: "output",
    kind: ChainKind::Nat,
    hook: Hook::Output,
    priority: -100,
};

const POSTROUTING: BaseChain = BaseChain {
    name: "postrouting",
    kind: ChainKind::Nat,
    hook: Hook::Postrouting,
    priority: 100,
};

fn table() -> Table {
    Table::new(TableFamily::Inet, "plumb")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn map(name: &str, keys: KeyKind, family: Family) -> Set {
    Set {
        table: table(),
        name: name.into(),
        keys,
        data: Some(KeyKind::Target(family)),
        counter: true,
        comment: "published ports".into(),
    }
}

/// An element of each kind of map: the map, its name for nft, the key, the value, and both as nft prints them.
fn mappings() -> [(Set, Key, Key, &'static str, &'static str); 4] {
    [
        (
            map("any4", KeyKind::Port, Family::V4),
            Key::Port(6, 8080),
            Key::Target(ip("10.0.0.2"), 80),
            "tcp . 8080",
            "10.0.0.2 . 80",
        ),
        (
            map("at4", KeyKind::AddressPort(Family::V4), Family::V4),
            Key::AddressPort(ip("192.0.2.1"), 17, 53),
            Key::Target(ip("10.0.0.2"), 5353),
            "192.0.2.1 . udp . 53",
            "10.0.0.2 . 5353",
        ),
        (
            map("any6", KeyKind::Port, Family::V6),
            Key::Port(132, 9),
            Key::Target(ip("fd00::2"), 9),
            "sctp . 9",
            "fd00::2 . 9",
        ),
        (
            map("at6", KeyKind::AddressPort(Family::V6), Family::V6),
            Key::AddressPort(ip("2001:db8::1"), 6, 443),
            Key::Target(ip("fd00::2"), 8443),
            "2001:db8::1 . tcp . 443",
            "fd00::2 . 8443",
        ),
    ]
}

/// Rules with the chains they go to.
fn rules() -> Vec<(&'static str, Vec<Statement>)> {
    let persistent = NatFlags {
        persistent: true,
        ..NatFlags::default()
    };
    let random = NatFlags {
        random: true,
        ..NatFlags::default()
    };
    let inside = Statement::Source(Is::Equal, Place::Net(cidr("10.8.0.0/17")));
    vec![
        (
            "publish",
            vec![Statement::DnatMap(Family::V4, By::Address, "at4".into())],
        ),
        (
            "publish",
            vec![Statement::DnatMap(Family::V4, By::Port, "any4".into())],
        ),
        (
            "publish",
            vec![Statement::DnatMap(Family::V6, By::Address, "at6".into())],
        ),
        (
            "publish",
            vec![Statement::DnatMap(Family::V6, By::Port, "any6".into())],
        ),
        (
            "dstnat",
            vec![Statement::ToThisHost, Statement::Jump("publish".into())],
        ),
        (
            "dstnat",
            vec![
                Statement::Destination(Is::Equal, Place::Net(cidr("2001:db8:5::/64"))),
                Statement::Dnat(NatTo::Prefix(cidr("fd00::/64"))),
            ],
        ),
        (
            "output",
            vec![Statement::ToThisHost, Statement::Jump("publish".into())],
        ),
        (
            "postrouting",
            vec![
                Statement::InInterface(Is::Not, "eth*".into()),
                Statement::OutInterface(Is::Equal, "br\\*".into()),
                Statement::Masquerade(random),
            ],
        ),
        (
            "postrouting",
            vec![
                inside.clone(),
                Statement::Snat(NatTo::Range(ip("192.0.2.1"), ip("192.0.2.9")), persistent),
            ],
        ),
        (
            "postrouting",
            vec![
                inside,
                Statement::Snat(NatTo::Prefix(cidr("10.9.0.0/17")), NatFlags::default()),
            ],
        ),
        (
            "publish",
            vec![
                Statement::Invalid,
                Statement::Redirected(Is::Not),
                Statement::OriginalDestination(cidr("192.0.2.0/25")),
                Statement::Port(6, 80, 80),
                Statement::Accept,
            ],
        ),
        (
            "publish",
            vec![
                Statement::Redirected(Is::Equal),
                Statement::OriginalDestination(cidr("2001:db8::/64")),
                Statement::Port(17, 1000, 2000),
                Statement::Drop,
            ],
        ),
        ("publish", vec![Statement::Transport(58), Statement::Accept]),
    ]
}

/// All of that in the kernel.
fn filled() -> Nft {
    private_netns();
    let mut nft = Nft::open().unwrap();
    let mut batch = Batch::new();
    batch.ensure_table(&table(), "made by a test");
    for (map, key, data, ..) in &mappings() {
        batch.add_set(map);
        batch.add_mapping(&table(), &map.name, key, data, "net/c1/eth0");
    }
    for chain in [PREROUTING, OUTPUT, POSTROUTING] {
        batch.ensure_chain(&table(), &chain);
    }
    batch.ensure_regular_chain(&table(), "publish");
    for (chain, statements) in &rules() {
        batch.add_rule(&table(), chain, Where::Last, statements, Some("net"));
    }
    nft.commit(batch).unwrap();
    nft
}

#[test]
fn nft_lists_maps_and_translation_as_they_were_meant() {
    let mut nft = filled();
    let listed = run("nft", &["list", "ruleset"]);
    for (map, _, _, key, data) in mappings() {
        let element = format!("{key} counter packets 0 bytes 0 comment \"net/c1/eth0\" : {data}");
        assert!(listed.contains(&element), "{element} in\n{listed}");
        assert!(listed.contains(&format!("map {} {{", map.name)), "{listed}");
    }
    assert!(
        listed.contains("type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service")
    );
    assert!(listed.contains("type nat hook output priority"));
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    for (_, statements) in &rules() {
        let expected = format!("{} comment \"net\"", line(statements));
        assert!(
            lines.contains(&expected.as_str()),
            "{expected} in\n{listed}"
        );
    }
    let found = nft.rules(&table(), None).unwrap();
    for (chain, statements) in rules() {
        let mut read = found.iter().filter(|rule| rule.chain == chain);
        let same = read.any(|rule| rule.statements.as_ref() == Some(&statements));
        assert!(same, "{}", line(&statements));
    }
    let path = std::env::temp_dir().join(format!("plumb-nft-map-{}", std::process::id()));
    std::fs::write(&path, format!("flush ruleset\n{listed}")).unwrap();
    run("nft", &["-f", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run("nft", &["list", "ruleset"]), listed);
}

#[test]
fn a_mapping_is_found_and_leaves_by_expiry() {
    let mut nft = filled();
    for (map, key, data, ..) in mappings() {
        let found = nft
            .element(&table(), &map.name, key.clone())
            .unwrap()
            .unwrap();
        assert_eq!((&found.key, found.data.as_ref()), (&key, Some(&data)));
        assert_eq!(found.comment.as_deref(), Some("net/c1/eth0"));
        let all = nft.elements(&table(), &map.name, map.keys).unwrap();
        assert_eq!(all, [found]);
        let mut again = Batch::new();
        again.add_mapping(&table(), &map.name, &key, &data, "another");
        assert!(nft.commit(again).unwrap_err().is_taken());

        let mut batch = Batch::new();
        batch.expire_mapping(&table(), &map.name, &key, &data);
        nft.commit(batch).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
        // A kernel before 6.12 ignores the new timeout: callers delete the element then.
        while let Some(element) = nft.element(&table(), &map.name, key.clone()).unwrap()
            && element.leaving
        {
            assert!(std::time::Instant::now() < deadline, "it stays");
            std::thread::yield_now();
        }
    }
}

#[test]
fn iptables_shows_what_lets_redirected_connections_pass() {
    private_netns();
    run("iptables", &["-P", "FORWARD", "DROP"]);
    let filter = Table::new(TableFamily::Ip(Family::V4), "filter");
    let mut nft = Nft::open().unwrap();
    let redirected = [
        Statement::OutInterface(Is::Equal, "br1".into()),
        Statement::XtRedirected,
        Statement::Counter,
        Statement::Accept,
    ];
    let mut batch = Batch::new();
    batch.add_rule(&filter, "FORWARD", Where::First, &redirected, None);
    nft.commit(batch).unwrap();
    let expected = "-A FORWARD -o br1 -m conntrack --ctstate DNAT -j ACCEPT";
    let listed = run("iptables", &["-S", "FORWARD"]);
    assert!(listed.contains(expected), "{listed}");
    run("sh", &["-c", "iptables-save | iptables-restore"]);
    let rules = nft.rules(&filter, Some("FORWARD")).unwrap();
    assert_eq!(rules[0].statements.as_deref(), Some(&redirected[..]));
}
