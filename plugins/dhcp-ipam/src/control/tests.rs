//! The forms on the socket and on disk: what is written can be read, and what cannot be is refused.

use core::net::Ipv4Addr;

use cni_common::addr::Mac;

use super::*;
use crate::kept::Kept;
use crate::lease::{Hop, Lease, Wishes};
use crate::record::{Place, Record, Standing};
use crate::record6::Mode;
use crate::time::Time;

fn owner() -> Owner {
    Owner {
        network: NetworkName::parse("lan").unwrap(),
        container: ContainerId::parse("c1").unwrap(),
        ifname: IfName::parse("eth0").unwrap(),
    }
}

fn settings() -> Settings {
    Settings {
        client_id: vec![0, 255],
        options: vec![(12, b"c1".to_vec())],
        request: vec![1, 3],
        probe_millis: 100,
        on_change: Some(String::from("/bin/true")),
        wishes: Wishes {
            priority: Some(7),
            no_default_route: true,
        },
    }
}

fn settings6() -> Settings6 {
    Settings6 {
        mode: Mode::Slaac,
        duid: vec![0, 4, 1],
        iaid: 77,
        delegation: None,
        rapid_commit: false,
        request: vec![23],
        routers: true,
        prefix: 128,
        probe_millis: 0,
        on_change: None,
        wishes: Wishes::default(),
    }
}

fn terms() -> Terms {
    let via = Ipv4Addr::new(10, 0, 0, 1);
    Terms {
        address: Ipv4Addr::new(10, 0, 0, 50),
        prefix: 24,
        server: via,
        gateway: Some(via),
        routes: vec![Hop {
            dst: "0.0.0.0/0".parse().unwrap(),
            via,
        }],
        dns: vec![via],
        domain: Some(String::from("lab")),
        search: vec![String::from("lab.example")],
        mtu: Some(1400),
        seconds: 100,
        t1: Some(40),
        t2: None,
        others: vec![(42, vec![10, 0, 0, 9])],
    }
}

fn record() -> Record {
    Record {
        owner: owner(),
        place: Place {
            netns: String::from("/run/netns/c1"),
            cookie: Some(u64::MAX),
            boot: String::from("a"),
            mac: Mac([2, 0, 0, 0, 0, 7]),
            mtu: Some(1500),
        },
        settings: settings().into(),
        lease: Lease {
            terms: terms().into(),
            since: Time::from_millis(5000),
        },
        wall: 1_800_000_000,
        server_mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        standing: Standing::Held,
    }
}

#[test]
fn requests_come_over_as_they_were() {
    let attachment = (owner().container, owner().ifname);
    for request in [
        Request::Add(Box::new(Add {
            owner: owner(),
            netns: String::from("/run/netns/c1"),
            settings: Some(settings()),
            ipv6: Some(settings6()),
            require: Require::Any,
            grace_secs: 3,
            timeout_secs: 30,
            inform: Some("10.0.0.5/24".parse().unwrap()),
        })),
        Request::Add(Box::new(Add {
            owner: owner(),
            netns: String::from("/run/netns/c1"),
            settings: None,
            ipv6: None,
            require: Require::All,
            grace_secs: 0,
            timeout_secs: 1,
            inform: None,
        })),
        Request::Del(owner()),
        Request::Show(owner()),
        Request::Renew(owner()),
        Request::List,
        Request::Describe(owner()),
        Request::Metrics,
        Request::Watch,
        Request::Gc {
            network: owner().network,
            valid: [attachment].into(),
        },
    ] {
        assert_eq!(Request::parse(request.to_line().as_bytes()), Ok(request));
    }
}

#[test]
fn a_request_that_cannot_be_is_refused_with_a_reason() {
    for (line, reason) in [
        ("", "not JSON"),
        ("[]", "an object is wanted"),
        ("{}", "different releases"),
        (r#"{"version":2,"do":"list"}"#, "version 1 is wanted"),
        (r#"{"version":1,"do":"dance"}"#, "not complete"),
        (
            r#"{"version":1,"do":"del","network":"lan"}"#,
            "not complete",
        ),
        (
            r#"{"version":1,"do":"del","network":"/","container":"c","ifname":"e"}"#,
            "network: ",
        ),
    ] {
        let refused = Request::parse(line.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(reason), "{line}: {refused}");
    }
}

#[test]
fn answers_come_over_as_they_were_and_failures_as_errors() {
    let state = String::from("BOUND");
    for answer in [
        Answer::Done,
        Answer::Lease(Box::new(Held {
            ipv4: Some((terms(), state.clone())),
            ipv6: None,
        })),
        Answer::Lease(Box::new(Held {
            ipv4: None,
            ipv6: Some((
                Granted6 {
                    slaac: vec!["fd00::5/64".parse().unwrap()],
                    ..Granted6::default()
                },
                state,
            )),
        })),
        Answer::List(vec![Json::from("x")]),
        Answer::Text(String::from("a\nb")),
    ] {
        assert_eq!(Answer::parse(answer.to_line().as_bytes()), Ok(answer));
    }
    let error = Error::new(Code::NoDhcp, "nobody answered");
    let line = Answer::failed(&error).to_line();
    assert_eq!(Answer::parse(line.as_bytes()), Err(error));
}

#[test]
fn what_another_program_says_is_no_answer() {
    let refused = Answer::parse(b"HTTP/1.1 400 Bad Request").unwrap_err();
    assert!(
        refused.to_string().contains("not the daemon of dhcp-ipam"),
        "{refused}"
    );
}

#[test]
fn a_file_is_read_as_it_was_written() {
    for standing in [Standing::Held, Standing::Lost, Standing::Released] {
        let record = Record {
            standing,
            ..record()
        };
        let text = Json::from(record.to_json()).to_pretty();
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(Record::from_json(&json), Ok(record));
    }
}

#[test]
fn a_file_of_another_version_or_in_part_is_refused() {
    for (text, reason) in [
        ("{}", "is of version none, and this release reads 1"),
        (
            r#"{"version":2}"#,
            "is of version 2, and this release reads 1",
        ),
        (r#"{"version":1,"network":"lan"}"#, "is not complete"),
    ] {
        let refused = Record::from_json(&Json::parse(text.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), reason);
    }
}

#[test]
fn after_a_reboot_a_lease_counts_by_the_calendar() {
    let now = Time::from_millis(50_000);
    let mut same = record();
    same.settle("a", now, 1_800_000_010);
    assert_eq!(same.lease.since, Time::from_millis(5000));

    // Twenty seconds old, fifty after boot.
    let mut other = record();
    other.settle("b", now, 1_800_000_020);
    assert_eq!(other.lease.since, Time::from_millis(30_000));

    // Eighty seconds old: thirty of its hundred passed before boot.
    let mut older = record();
    older.settle("b", now, 1_800_000_080);
    assert_eq!(older.lease.expiry(), Time::from_millis(70_000));
}
