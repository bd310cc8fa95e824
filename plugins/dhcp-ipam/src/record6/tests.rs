use cni_common::addr::Mac;
use cni_common::ident::{ContainerId, IfName, NetworkName};

use super::*;

pub(crate) fn record() -> Record6 {
    let span = |preferred, valid| Span { preferred, valid };
    let owner = Owner {
        network: NetworkName::parse("lan").unwrap(),
        container: ContainerId::parse("c1").unwrap(),
        ifname: IfName::parse("eth0").unwrap(),
    };
    let settings = Settings6 {
        mode: Mode::Auto,
        duid: vec![0, 4, 1],
        iaid: 77,
        delegation: Some(56),
        rapid_commit: true,
        request: vec![23, 24],
        routers: true,
        prefix: 64,
        probe_millis: 100,
        on_change: Some(String::from("/bin/true")),
        wishes: Wishes {
            priority: Some(5),
            no_default_route: false,
        },
    };
    let terms = Terms6 {
        server: vec![0, 1, 2],
        address: Some(("fd00::5".parse().unwrap(), span(100, 200))),
        prefix: Some(("fd00:ab::/56".parse().unwrap(), span(300, u32::MAX))),
        t1: 50,
        t2: 80,
        dns: vec!["fd00::53".parse().unwrap()],
        search: vec![String::from("lab.example")],
    };
    Record6 {
        owner,
        place: Place {
            netns: String::from("/run/netns/c1"),
            cookie: Some(u64::MAX),
            boot: String::from("a"),
            mac: Mac([2, 0, 0, 0, 0, 7]),
            mtu: Some(1500),
        },
        settings: Rc::new(settings),
        lease: Lease6 {
            terms,
            since: Time::from_millis(5000),
        },
        wall: 1_800_000_000,
        advertised: Advertised {
            gateway: Some("fe80::1".parse().unwrap()),
            on_link: vec!["fd00::/64".parse().unwrap()],
            dns: Vec::new(),
            search: Vec::new(),
        },
        slaac: vec!["fd00::1:2/64".parse().unwrap()],
        standing: Standing::Held,
    }
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let record = record();
    let text = Json::from(record.to_json()).to_pretty();
    let json = Json::parse(text.as_bytes()).unwrap();
    assert_eq!(Record6::from_json(&json).unwrap(), record, "{text}");
}

#[test]
fn a_record_with_a_piece_missing_is_refused() {
    let whole = Json::from(record().to_json()).to_line();
    for key in [
        "lease", "settings", "standing", "boot", "since", "owner", "version",
    ] {
        let broken = whole.replace(&format!("\"{key}\""), "\"x\"");
        if broken != whole {
            let json = Json::parse(broken.as_bytes()).unwrap();
            assert!(Record6::from_json(&json).is_err(), "{key}");
        }
    }
}

#[test]
fn after_a_boot_what_is_left_counts() {
    let mut record = record();
    // Granted 150 s ago, and the machine is up for 50 s.
    record.settle("b", Time::from_millis(50_000), record.wall + 150);
    let (_, left) = record.lease.left(Time::from_millis(50_000)).unwrap();
    assert_eq!((left.preferred, left.valid), (0, 50));
    assert_eq!(record.lease.terms.prefix.unwrap().1.valid, u32::MAX);
}
