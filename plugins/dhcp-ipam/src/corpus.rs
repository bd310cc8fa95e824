//! What fuzz targets call, and a test with their corpora: everything that reads what others wrote.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::rc::Rc;

use cni_common::addr::{Cidr, Mac};
use cni_common::json::Json;
use cni_common::result::Attachment;

use crate::client::{Client, Identity, Policy};
use crate::client6::{self, Client6};
use crate::control::{Answer, Held, Request};
use crate::kept::Kept;
use crate::lease::{Lease, Terms, Wishes};
use crate::lease6::{Granted6, Lease6, Span, Terms6};
use crate::record::{Record, Settings};
use crate::record6::Record6;
use crate::time::Time;
use crate::wire::{self, Asked, frame, nd, v6};

/// Whose packets the corpus has.
const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
/// The same of IPv6.
const DUID: [u8; 4] = [0, 4, 1, 2];
const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5);
const SPAN: Span = Span {
    preferred: 100,
    valid: 200,
};

/// A frame from the network, at a client in every state.
///
/// # Panics
/// Where a promise does not hold.
pub fn packet(data: &[u8]) {
    // As a frame, and as what a frame has in it: its checksums would keep most inputs out.
    if let Some((_, _, message)) = frame::parse(data) {
        message_of_server(message);
    }
    let _ = frame::arp_conflicts(data, MAC, ADDRESS);
    message_of_server(data);
}

fn message_of_server(data: &[u8]) {
    let informed = Cidr::new(ADDRESS.into(), 24);
    for informed in [None, informed] {
        let asked = Asked {
            mac: MAC,
            request: &[1, 3, 6, 42, 66, 252],
            informed,
            largest: Some(1500),
        };
        let Ok(mut reply) = wire::read(data, &asked) else {
            continue;
        };
        if let Ok(terms) = &reply.terms {
            believed(terms);
        }
        for mut client in clients() {
            while client.poll().is_some() {}
            reply.xid = client.xid();
            let _ = client.handle_message(&reply, Time::from_millis(1000));
            while client.poll().is_some() {}
            assert!(
                client
                    .deadline()
                    .is_none_or(|at| at >= Time::from_millis(0))
            );
        }
    }
}

/// What is believed of a server can be attached, written and read again.
fn believed(terms: &Terms) {
    let attachment = terms.to_attachment(Wishes {
        priority: Some(1),
        no_default_route: true,
    });
    for ip in &attachment.ips {
        assert_eq!(ip.address.unusable(), None, "{}", ip.address);
    }
    assert!(terms.mtu.is_none_or(|mtu| (576..=1500).contains(&mtu)));
    assert!(terms.prefix >= 8 && terms.routes.len() <= 65 && terms.seconds > 0);
    let answer = Answer::Lease(Box::new(Held {
        ipv4: Some((terms.clone(), String::from("BOUND"))),
        ipv6: None,
    }));
    assert_eq!(
        Answer::parse(answer.to_line().as_bytes()).as_ref(),
        Ok(&answer)
    );
}

/// A client in each state that hears something.
fn clients() -> Vec<Client<fn() -> u32>> {
    let identity = || Identity {
        mac: MAC,
        settings: Rc::new(Settings {
            client_id: vec![0, 1],
            options: Vec::new(),
            request: vec![1, 3],
            probe_millis: 0,
            on_change: None,
            wishes: Wishes::default(),
        }),
        broadcast: false,
    };
    let (policy, time) = (Policy::default(), Time::from_millis(0));
    let random: fn() -> u32 = || 9;
    let lease = || {
        let terms = Terms {
            address: ADDRESS,
            prefix: 24,
            server: Ipv4Addr::new(10, 0, 0, 1),
            gateway: None,
            routes: Vec::new(),
            dns: Vec::new(),
            domain: None,
            search: Vec::new(),
            mtu: None,
            seconds: 100,
            t1: None,
            t2: None,
            others: Vec::new(),
        };
        Lease::new(terms, time)
    };
    let start = || Client::start(identity(), policy, random, time);
    let mut requesting = start();
    let offer = wire::Reply {
        kind: wire::Kind::Offer,
        xid: requesting.xid(),
        server: Some(lease().terms.server),
        terms: Ok(Terms::clone(&lease().terms)),
        words: None,
    };
    assert_eq!(requesting.handle_message(&offer, time), Ok(()));
    let resume = || Client::resume(identity(), policy, random, lease(), time);
    let mut renewing = resume();
    renewing.renew(time);
    let mut rebinding = resume();
    rebinding.renew(time);
    rebinding.handle_timeout(Time::from_millis(90_000));
    vec![
        start(),
        requesting,
        resume(),
        renewing,
        rebinding,
        Client::reboot(identity(), policy, random, &lease(), time),
        Client::inform(identity(), policy, random, ADDRESS, time),
    ]
}

/// A datagram of a DHCPv6 server at a client in every state, a router's advertisement, and a neighbour's word.
///
/// # Panics
/// Where a promise does not hold.
pub fn packet6(data: &[u8]) {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    if let Some(found) = nd::advertisement(router, data) {
        assert!(found.prefixes.len() <= 16 && found.dns.len() <= 16 && found.search.len() <= 16);
        assert!(found.mtu.is_none_or(|mtu| (1280..=65_535).contains(&mtu)));
        for prefix in &found.prefixes {
            assert_eq!(prefix.subnet, prefix.subnet.network());
            assert!(prefix.subnet.prefix() > 0 && prefix.preferred <= prefix.valid);
        }
    }
    let _ = nd::conflicts(router, data, ADDRESS6);
    let ours = v6::Ours {
        duid: &DUID,
        iaid: 7,
    };
    let Ok(mut reply) = v6::read(data, ours) else {
        return;
    };
    for mut client in clients6() {
        while client.poll().is_some() {}
        reply.xid = client.xid();
        let _ = client.handle_message(&reply, Time::from_millis(1000));
        while client.poll().is_some() {}
        if let Some(lease) = client.lease() {
            believed6(&lease.terms);
        }
        passes(client, Time::from_millis(2000));
    }
}

/// What a client does in time comes to an end, or goes on later.
fn passes(mut client: Client6<fn() -> u32>, mut time: Time) {
    for _ in 0..30 {
        client.handle_timeout(time);
        let happened = client.poll().is_some();
        while client.poll().is_some() {}
        let Some(deadline) = client.deadline() else {
            return;
        };
        assert!(happened || deadline > time, "{client:?}");
        time = time.max(deadline);
    }
}

/// What is believed of a server can be attached, written and read again.
fn believed6(terms: &Terms6) {
    let granted = Granted6 {
        terms: Some(terms.clone()),
        ..Granted6::default()
    };
    let mut attachment = Attachment::default();
    granted.add_to(&mut attachment, 64, Wishes::default());
    for ip in &attachment.ips {
        assert_eq!(ip.address.unusable(), None, "{}", ip.address);
    }
    assert!(terms.dns.len() <= 64 && terms.search.len() <= 64);
    let answer = Answer::Lease(Box::new(Held {
        ipv4: None,
        ipv6: Some((granted, String::from("BOUND"))),
    }));
    assert_eq!(
        Answer::parse(answer.to_line().as_bytes()).as_ref(),
        Ok(&answer)
    );
}

fn again6(lease: Lease6, held: bool, time: Time) -> Client6<fn() -> u32> {
    let policy = client6::Policy {
        delay: Duration::ZERO,
        ..client6::Policy::default()
    };
    Client6::confirm(identity6(), policy, || 9, lease, held, time)
}

fn identity6() -> client6::Identity {
    client6::Identity {
        duid: DUID.to_vec(),
        iaid: 7,
        prefix: Some(56),
        rapid_commit: true,
        request: vec![23, 24],
        options: Vec::new(),
    }
}

/// A DHCPv6 client in each state that hears something.
fn clients6() -> Vec<Client6<fn() -> u32>> {
    let policy = client6::Policy::default();
    let time = Time::from_millis(0);
    let random: fn() -> u32 = || 9;
    let lease = |delegated: bool| Lease6 {
        terms: Terms6 {
            server: vec![0, 1, 0, 1, 9, 9],
            address: Some((ADDRESS6, SPAN)),
            prefix: delegated.then_some((Cidr::host(ADDRESS6.into()), SPAN)),
            t1: 50,
            t2: 80,
            dns: Vec::new(),
            search: Vec::new(),
        },
        since: time,
    };
    let again = |delegated: bool, held: bool| {
        let mut client = again6(lease(delegated), held, time);
        client.handle_timeout(time);
        client
    };
    let offer = |client: &Client6<_>, kind| v6::Reply {
        preference: u8::MAX,
        rapid_commit: true,
        addresses: Some(v6::Association {
            t1: 50,
            t2: 80,
            status: None,
            given: vec![(ADDRESS6, SPAN)],
        }),
        ..v6::Reply::bare(kind, client.xid(), vec![0, 1, 0, 1, 9, 9])
    };
    let offered = |kind| {
        let mut client = Client6::start(identity6(), policy, random, time);
        let offer = offer(&client, kind);
        assert_eq!(client.handle_message(&offer, time), Ok(()));
        client
    };
    let mut declining = offered(v6::Kind::Reply);
    declining.address_in_use(time);
    let mut leaving = again(true, true);
    leaving.release(time);
    vec![
        leaving,
        declining,
        offered(v6::Kind::Advertise),
        Client6::start(identity6(), policy, random, time),
        Client6::inform(identity6(), policy, random, time),
        again(false, true),
        again(false, false),
        again(true, true),
        again(true, false),
    ]
}

/// A line on the control socket, from either side.
///
/// # Panics
/// Where a promise does not hold, as all of these do.
pub fn control(data: &[u8]) {
    if let Ok(request) = Request::parse(data) {
        let again = Request::parse(request.to_line().as_bytes());
        assert_eq!(again, Ok(request), "what was read can be written");
    }
    let _ = Answer::parse(data);
}

/// A state file, in its own boot and in another.
///
/// # Panics
/// Where a promise does not hold.
pub fn state(data: &[u8]) {
    let Ok(json) = Json::parse(data) else { return };
    if let Ok(record) = Record6::from_json(&json) {
        state6(&record);
    }
    let Ok(record) = Record::from_json(&json) else {
        return;
    };
    let again = Record::from_json(&Json::from(record.to_json()));
    assert_eq!(again.as_ref(), Ok(&record), "what was read can be written");
    for boot in [record.place.boot.clone(), String::from("another")] {
        for now in [0, 1, u64::MAX] {
            let mut record = record.clone();
            record.settle(&boot, Time::from_millis(now), now);
            let _ = (record.lease.t1(), record.lease.t2(), record.lease.expiry());
        }
    }
}

fn state6(record: &Record6) {
    let again = Record6::from_json(&Json::from(record.to_json()));
    assert_eq!(again.as_ref(), Ok(record), "what was read can be written");
    for boot in [record.place.boot.clone(), String::from("another")] {
        for now in [0, 1, u64::MAX] {
            let mut record = record.clone();
            record.settle(&boot, Time::from_millis(now), now);
            let _ = (record.lease.t1(), record.lease.t2(), record.lease.expiry());
            let _ = record.lease.left(Time::from_millis(now));
            let left = record.lease.prefix_left(Time::from_millis(now));
            assert!(left.is_none_or(|(_, span)| span.valid > 0));
            let end = record.lease.prefix_end();
            assert!(end.is_none_or(|end| end < record.lease.expiry()));
            for held in [true, false] {
                let time = Time::from_millis(now);
                passes(again6(record.lease.clone(), held, time), time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// What the fuzz targets start from, and every input that once broke something; in `found`, what a fuzzer made of them.
    #[test]
    fn every_corpus_is_read() {
        type Reads = fn(&[u8]);
        let surfaces: [(&str, Reads); 4] = [
            ("dhcp_packet", super::packet),
            ("dhcp6_packet", super::packet6),
            ("dhcp_control", super::control),
            ("dhcp_state", super::state),
        ];
        for (name, read) in surfaces {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fuzz/corpus")
                .join(name);
            let mut count = 0;
            let found = fs::read_dir(corpus.join("found")).unwrap();
            for entry in found {
                read(&fs::read(entry.unwrap().path()).unwrap());
            }
            let entries = fs::read_dir(&corpus).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            for path in paths.filter(|path| path.is_file()) {
                let data = fs::read(path).unwrap();
                // Whole, cut anywhere, and with any one byte another.
                read(&data);
                for place in 0..data.len() {
                    read(&data[..place]);
                    let mut other = data.clone();
                    other[place] ^= 0x81;
                    read(&other);
                }
                count += 1;
            }
            assert!(count > 0, "{} is empty", corpus.display());
        }
    }
}
