//! What the kernel makes of our transactions, read back with nft and iptables.

use core::net::IpAddr;

use super::*;
use crate::testing::{private_netns, run};

const POSTROUTING: BaseChain = BaseChain {
    name: "postrouting",
    kind: ChainKind::Nat,
    hook: Hook::Postrouting,
    priority: 100,
};

const FORWARD: BaseChain = BaseChain {
    name: "forward",
    kind: ChainKind::Filter,
    hook: Hook::Forward,
    priority: 0,
};

const PREROUTING: BaseChain = BaseChain {
    name: "prerouting",
    kind: ChainKind::Filter,
    hook: Hook::Prerouting,
    priority: -300,
};

const V4: KeyKind = KeyKind::Address(Family::V4);

fn table() -> Table {
    Table::new(TableFamily::Inet, "plumb")
}

fn set(family: Family, name: &str) -> Set {
    Set {
        table: table(),
        name: name.into(),
        keys: KeyKind::Address(family),
        data: None,
        counter: false,
        comment: format!("addresses of {name}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> Place {
    Place::Net(text.parse().unwrap())
}

/// A set named `a4` with nothing in it, and an empty chain `apart`.
fn with_a_set() -> Nft {
    private_netns();
    let mut nft = Nft::open().unwrap();
    let mut batch = Batch::new();
    batch.ensure_table(&table(), "made by a test");
    batch.add_set(&set(Family::V4, "a4"));
    batch.ensure_regular_chain(&table(), "apart");
    nft.commit(batch).unwrap();
    nft
}

/// Rules with the chains they go to.
fn a_rule_of_each_kind() -> Vec<(&'static str, Vec<Statement>)> {
    vec![
        (
            "prerouting",
            vec![
                Statement::InInterface(Is::Not, "br1".into()),
                Statement::InKind(Is::Equal, "bridge".into()),
                Statement::Source(Is::Equal, net("192.168.103.0/24")),
                Statement::NoRouteBack,
                Statement::Notrack,
            ],
        ),
        (
            "forward",
            vec![
                Statement::InInterface(Is::Not, "br1".into()),
                Statement::OutInterface(Is::Equal, "br1".into()),
                Statement::Destination(Is::Equal, net("10.77.0.0/16")),
                Statement::Established(Is::Not),
                Statement::Drop,
            ],
        ),
        (
            "forward",
            vec![Statement::TcpSyn, Statement::ClampMss(None)],
        ),
        (
            "forward",
            vec![Statement::TcpSyn, Statement::ClampMss(Some(1360))],
        ),
        (
            "forward",
            vec![
                Statement::OutInterface(Is::Not, "br1".into()),
                Statement::Jump("apart".into()),
            ],
        ),
        (
            "forward",
            vec![
                Statement::Destination(Is::Equal, net("fd00::/61")),
                Statement::Established(Is::Equal),
                Statement::Accept,
            ],
        ),
        (
            "postrouting",
            vec![
                Statement::OutInterface(Is::Not, "br1".into()),
                Statement::Source(Is::Equal, Place::Set(Family::V4, "a4".into())),
                Statement::Destination(Is::Not, net("10.77.0.0/17")),
                Statement::Destination(Is::Not, net("224.0.0.0/4")),
                Statement::Masquerade(NatFlags::default()),
            ],
        ),
        (
            "postrouting",
            vec![
                Statement::Source(Is::Not, Place::Set(Family::V6, "a6".into())),
                Statement::Source(Is::Equal, net("fd00::7/128")),
                Statement::Destination(Is::Not, net("ff00::/8")),
                Statement::Snat(NatTo::Address(ip("2001:db8::1")), NatFlags::default()),
            ],
        ),
    ]
}

#[test]
fn nft_lists_exactly_what_was_meant() {
    private_netns();
    let mut nft = Nft::open().unwrap();
    let rules = a_rule_of_each_kind();
    let mut batch = Batch::new();
    batch.ensure_table(&table(), "made by a test");
    batch.add_set(&set(Family::V4, "a4"));
    batch.add_set(&set(Family::V6, "a6"));
    batch.add_element(&table(), "a4", ip("10.77.0.8"), "net/c1/eth0");
    batch.add_element(&table(), "a6", ip("fd00::8"), "net/c1/eth0");
    for chain in [PREROUTING, FORWARD, POSTROUTING] {
        batch.ensure_chain(&table(), &chain);
    }
    batch.ensure_regular_chain(&table(), "apart");
    for (chain, statements) in &rules {
        batch.add_rule(&table(), chain, Where::Last, statements, Some("net"));
    }
    nft.commit(batch).unwrap();

    let listed = run("nft", &["list", "ruleset"]);
    for expected in [
        "comment \"made by a test\"",
        "type ipv4_addr",
        "type ipv6_addr",
        "flags timeout",
        "comment \"addresses of a4\"",
        "elements = { 10.77.0.8 comment \"net/c1/eth0\" }",
        "elements = { fd00::8 comment \"net/c1/eth0\" }",
        "type filter hook prerouting priority raw; policy accept;",
        "type filter hook forward priority filter; policy accept;",
        "type nat hook postrouting priority srcnat; policy accept;",
    ] {
        assert!(listed.contains(expected), "{expected:?} in\n{listed}");
    }
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    for (_, statements) in &rules {
        let expected = format!("{} comment \"net\"", line(statements));
        assert!(
            lines.contains(&expected.as_str()),
            "{expected} in\n{listed}"
        );
    }

    let found = nft.rules(&table(), None).unwrap();
    let read: Vec<_> = found
        .iter()
        .map(|rule| (rule.chain.as_str(), rule.statements.clone().unwrap()))
        .collect();
    assert_eq!(read, rules);
    assert!(
        found
            .iter()
            .all(|rule| rule.comment.as_deref() == Some("net"))
    );
    let forward = nft.chain(&table(), "forward").unwrap().unwrap();
    assert!(forward.is(&FORWARD), "{forward:?}");
    assert!(!forward.is(&POSTROUTING));

    // What nft prints can be fed back to it and stays the same.
    let again = format!("flush ruleset\n{listed}");
    let path = std::env::temp_dir().join(format!("plumb-nft-{}", std::process::id()));
    std::fs::write(&path, again).unwrap();
    run("nft", &["-f", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run("nft", &["list", "ruleset"]), listed);
}

#[test]
fn a_refused_transaction_names_the_object_and_changes_nothing() {
    let mut nft = with_a_set();
    let before = run("nft", &["list", "ruleset"]);
    let mut batch = Batch::new();
    batch.add_element(&table(), "a4", ip("10.0.0.1"), "x");
    batch.add_element(&table(), "absent", ip("10.0.0.2"), "x");
    batch.add_element(&table(), "a4", ip("10.0.0.3"), "x");
    let failed = nft.commit(batch).unwrap_err();
    assert_eq!(
        failed.to_string(),
        "add 10.0.0.2 to set inet plumb absent: no such file or directory (ENOENT)"
    );
    assert_eq!(run("nft", &["list", "ruleset"]), before);
    // The connection is still in step.
    assert!(nft.set(&table(), "a4").unwrap().is_some());
}

#[test]
fn a_transaction_for_an_older_generation_is_refused_and_can_be_tried_again() {
    let mut nft = with_a_set();
    let generation = nft.generation().unwrap();
    run("nft", &["add", "table", "ip", "someone-else"]);
    let add = |generation| {
        let mut batch = Batch::only_after(generation);
        batch.add_element(&table(), "a4", ip("10.0.0.1"), "x");
        batch
    };
    let refused = nft.commit(add(generation)).unwrap_err();
    assert!(is_stale(&refused), "{refused}");
    assert_eq!(nft.element(&table(), "a4", ip("10.0.0.1")).unwrap(), None);
    let generation = nft.generation().unwrap();
    nft.commit(add(generation)).unwrap();
    assert!(
        nft.element(&table(), "a4", ip("10.0.0.1"))
            .unwrap()
            .is_some()
    );
}

#[test]
fn an_element_keeps_its_comment_and_leaves_by_expiry() {
    let mut nft = with_a_set();
    let mut batch = Batch::new();
    batch.add_element(&table(), "a4", ip("10.0.0.1"), "first");
    batch.add_element(&table(), "a4", ip("10.0.0.2"), "second");
    nft.commit(batch).unwrap();
    let mut again = Batch::new();
    again.add_element(&table(), "a4", ip("10.0.0.1"), "another");
    assert!(nft.commit(again).unwrap_err().is_taken());
    let found = nft
        .element(&table(), "a4", ip("10.0.0.1"))
        .unwrap()
        .unwrap();
    assert_eq!(found.comment.as_deref(), Some("first"));
    assert!(!found.leaving);

    let mut batch = Batch::new();
    batch.expire_element(&table(), "a4", ip("10.0.0.1"));
    nft.commit(batch).unwrap();
    match nft.element(&table(), "a4", ip("10.0.0.1")).unwrap() {
        None => {}
        Some(element) if element.leaving => {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(1);
            while nft
                .element(&table(), "a4", ip("10.0.0.1"))
                .unwrap()
                .is_some()
            {
                assert!(std::time::Instant::now() < deadline, "it stays");
                std::thread::yield_now();
            }
        }
        // A kernel before 6.12 ignores the new timeout: callers delete the element then.
        Some(element) => assert!(!element.leaving),
    }
    let others = nft.elements(&table(), "a4", V4).unwrap();
    assert!(
        others
            .iter()
            .any(|e| e.comment.as_deref() == Some("second"))
    );
}

#[test]
fn a_glimpse_into_a_large_set_shows_some() {
    let mut nft = with_a_set();
    assert_eq!(Nft::some_elements(&table(), "a4", V4).unwrap(), []);
    assert_eq!(Nft::some_elements(&table(), "absent", V4).unwrap(), []);
    let mut batch = Batch::new();
    for host in 0..2000_u32 {
        let address = IpAddr::from((0x0a00_0000 + host).to_be_bytes());
        batch.add_element(&table(), "a4", address, "many");
    }
    nft.commit(batch).unwrap();
    let some = Nft::some_elements(&table(), "a4", V4).unwrap();
    assert!(!some.is_empty() && some.len() < 2000, "{}", some.len());
    assert_eq!(nft.elements(&table(), "a4", V4).unwrap().len(), 2000);
}

#[test]
fn what_is_absent_is_none_and_not_an_error() {
    private_netns();
    let mut nft = Nft::open().unwrap();
    assert_eq!(nft.chain(&table(), "forward").unwrap(), None);
    assert_eq!(nft.set(&table(), "a4").unwrap(), None);
    assert_eq!(nft.sets(&table()).unwrap(), []);
    assert_eq!(nft.rules(&table(), None).unwrap(), []);
    assert_eq!(nft.element(&table(), "a4", ip("10.0.0.1")).unwrap(), None);
    assert_eq!(nft.elements(&table(), "a4", V4).unwrap(), []);
    nft.commit(Batch::new()).unwrap();
}

#[test]
fn a_rule_for_iptables_is_listed_by_it_and_known_after_save_and_restore() {
    private_netns();
    run("iptables", &["-P", "FORWARD", "DROP"]);
    let filter = Table::new(TableFamily::Ip(Family::V4), "filter");
    let mut nft = Nft::open().unwrap();
    assert!(nft.chain(&filter, "FORWARD").unwrap().unwrap().drops);
    let replies = [
        Statement::OutInterface(Is::Equal, "br1".into()),
        Statement::XtEstablished,
        Statement::Counter,
        Statement::Accept,
    ];
    let mut batch = Batch::new();
    batch.add_rule(&filter, "FORWARD", Where::First, &replies, Some("ours br1"));
    nft.commit(batch).unwrap();
    let expected = "-A FORWARD -o br1 -m conntrack --ctstate RELATED,ESTABLISHED \
                    -m comment --comment \"ours br1\" -j ACCEPT";
    let listed = run("iptables", &["-S", "FORWARD"]);
    assert!(listed.contains(expected), "{listed}");
    let known = |nft: &mut Nft| {
        let rules = nft.rules(&filter, Some("FORWARD")).unwrap();
        assert_eq!(rules.len(), 1);
        let statements: Vec<_> = rules[0]
            .statements
            .clone()
            .unwrap()
            .into_iter()
            .filter(|statement| !matches!(statement, Statement::XtComment(_)))
            .collect();
        assert_eq!(statements, replies);
        assert_eq!(rules[0].comment.as_deref(), Some("ours br1"));
    };
    known(&mut nft);
    run("sh", &["-c", "iptables-save | iptables-restore"]);
    assert!(run("iptables", &["-S", "FORWARD"]).contains(expected));
    known(&mut nft);
}
