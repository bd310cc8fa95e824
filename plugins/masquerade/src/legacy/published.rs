//! Published ports: a rule for each in a chain that what is for this host goes through first.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use cni_common::addr::Cidr;
use cni_common::nft::{Element, Key};
use cni_common::owner::Tag;

use super::saved::{Place, Saved, comment, commented, target};
use super::words::{host, protocol, transport};
use crate::accepts::JUMP;
use crate::publish::Published;

const TABLE: &str = "nat";
const CHAIN: &str = "PLUMB-PUBLISH";
/// What comes in, and what the host itself sends.
const FROM: [&str; 2] = ["PREROUTING", "OUTPUT"];

fn jump() -> String {
    format!(
        "-m addrtype --dst-type LOCAL {} -j {CHAIN}",
        commented(JUMP)
    )
}

fn written(published: &Published, tag: &str) -> Option<String> {
    let (at, number, port) = match &published.key {
        Key::AddressPort(address, number, port) => {
            (format!("-d {} ", host(*address)), number, port)
        }
        Key::Port(number, port) => (String::new(), number, port),
        Key::Address(_)
        | Key::Interface(_)
        | Key::InterfaceMac(..)
        | Key::InterfaceAddress(..)
        | Key::Target(..) => return None,
    };
    let Key::Target(address, to) = published.target else {
        return None;
    };
    let (name, tag, to) = (
        transport(*number),
        commented(tag),
        SocketAddr::new(address, to),
    );
    Some(format!(
        "{at}-p {name} -m {name} --dport {port} {tag} -j DNAT --to-destination {to}"
    ))
}

/// A rule as the element of a map that would stand for it.
fn parse(rule: &str) -> Option<Element> {
    let after = |option: &str| {
        let mut words = rule.split(' ').skip_while(|word| *word != option);
        words.nth(1)
    };
    let number = protocol(after("-p")?)?;
    let port: u16 = after("--dport")?.parse().ok()?;
    let to: SocketAddr = after("--to-destination")?.parse().ok()?;
    let key = match after("-d") {
        Some(at) => Key::AddressPort(at.parse::<Cidr>().ok()?.address(), number, port),
        None => Key::Port(number, port),
    };
    Some(Element {
        key,
        data: Some(Key::Target(to.ip(), to.port())),
        comment: comment(rule),
        leaving: false,
    })
}

/// The ports that are published.
fn all(saved: &Saved) -> Vec<Element> {
    let rules = saved.rules(TABLE, CHAIN).iter();
    rules.filter_map(|rule| parse(rule)).collect()
}

/// Whether some packet is for both.
fn meet(one: &Key, other: &Key) -> bool {
    match (one, other) {
        (Key::Port(protocol, port), Key::AddressPort(_, p, n) | Key::Port(p, n))
        | (Key::AddressPort(_, p, n), Key::Port(protocol, port)) => (protocol, port) == (p, n),
        _ => one == other,
    }
}

/// Somebody else's port that is in the way.
pub(super) fn held<'a>(
    saved: &Saved,
    wanted: impl IntoIterator<Item = &'a Published>,
    tag: &str,
) -> Option<(&'a Published, Element)> {
    let mut others = all(saved);
    others.retain(|element| element.comment.as_deref() != Some(tag));
    wanted.into_iter().find_map(|published| {
        let mut others = others.iter();
        let other = others.find(|other| meet(&published.key, &other.key))?;
        Some((published, other.clone()))
    })
}

/// Publishes these, and nothing else of the attachment; tells what was published beside them.
pub(super) fn attach(saved: &mut Saved, wanted: &[&Published], tag: &str) -> Vec<Element> {
    let wanted: Vec<_> = wanted
        .iter()
        .filter_map(|published| Some((*published, written(published, tag)?)))
        .collect();
    let goes = |rule: &str| {
        comment(rule).as_deref() == Some(tag) && !wanted.iter().any(|(_, text)| text == rule)
    };
    let rules = saved.rules(TABLE, CHAIN).iter();
    let gone = rules
        .filter(|rule| goes(rule))
        .filter_map(|rule| parse(rule));
    let gone = gone.collect();
    saved.delete_rules(TABLE, CHAIN, goes);
    if wanted.is_empty() {
        sweep(saved);
        return gone;
    }
    saved.ensure_chain(TABLE, CHAIN);
    for (_, text) in &wanted {
        saved.ensure_rule(TABLE, CHAIN, text, Place::Last);
    }
    for from in FROM {
        saved.ensure_rule(TABLE, from, &jump(), Place::First);
    }
    gone
}

/// Takes back the ports whose comment `goes`; tells which those were.
pub(super) fn detach(saved: &mut Saved, goes: impl Fn(&Tag, &str) -> bool) -> Vec<Element> {
    let going = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        Tag::parse(text).is_some_and(|tag| goes(&tag, text))
    };
    let mut gone = all(saved);
    gone.retain(|element| going(&element.comment));
    saved.delete_rules(TABLE, CHAIN, |rule| going(&comment(rule)));
    sweep(saved);
    gone
}

fn sweep(saved: &mut Saved) {
    if saved.chain(TABLE, CHAIN).is_none() || !saved.rules(TABLE, CHAIN).is_empty() {
        return;
    }
    let jump = jump();
    for from in FROM {
        saved.delete_rules(TABLE, from, |rule| rule == jump);
    }
    saved.delete_chain(TABLE, CHAIN);
}

/// Whether ports are published.
pub(super) fn is_there(saved: &Saved) -> bool {
    saved.chain(TABLE, CHAIN).is_some()
}

/// The interfaces to networks with published ports, as the rules say that keep 127.0.0.0/8 from them.
pub(super) fn opened(saved: &Saved) -> BTreeSet<String> {
    let rules = saved.rules("raw", "PLUMB-NOTRACK").iter();
    let ours = rules.filter(|rule| target(rule) == Some("DROP"));
    ours.filter_map(|rule| {
        let behind = rule.strip_prefix("-s 127.0.0.0/8 -i ")?;
        behind.split(' ').next().map(str::to_owned)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
*nat
:PLUMB-PUBLISH - [0:0]
-A PLUMB-PUBLISH -d 192.0.2.1/32 -p udp -m udp --dport 53 -m comment --comment \"plumb1 0000000000000001 n/c1/eth0\" -j DNAT --to-destination 10.0.0.2:5353
-A PLUMB-PUBLISH -p sctp -m sctp --dport 9 -m comment --comment \"plumb1 0000000000000002 n/c2/eth0\" -j DNAT --to-destination [fd00::2]:9
COMMIT
";

    #[test]
    fn a_rule_is_read_as_the_element_that_would_stand_for_it() {
        let saved = Saved::parse(TEXT);
        let shown: Vec<String> = all(&saved)
            .iter()
            .map(|element| format!("{} : {}", element.key, element.data.as_ref().unwrap()))
            .collect();
        assert_eq!(
            shown,
            [
                "192.0.2.1 . udp . 53 : 10.0.0.2 . 5353",
                "sctp . 9 : fd00::2 . 9"
            ]
        );
    }

    #[test]
    fn ports_meet_where_a_packet_is_for_both() {
        let at = |address: &str, port| Key::AddressPort(address.parse().unwrap(), 6, port);
        assert!(meet(&Key::Port(6, 80), &at("192.0.2.1", 80)));
        assert!(meet(&at("192.0.2.1", 80), &Key::Port(6, 80)));
        assert!(meet(&Key::Port(6, 80), &Key::Port(6, 80)));
        assert!(!meet(&Key::Port(6, 80), &Key::Port(17, 80)));
        assert!(!meet(&at("192.0.2.1", 80), &at("192.0.2.2", 80)));
        assert!(!meet(&at("192.0.2.1", 80), &Key::Port(6, 81)));
    }

    #[test]
    fn the_chain_goes_with_its_last_rule() {
        let mut saved = Saved::parse(TEXT);
        let gone = detach(&mut saved, |tag, _| tag.hash == 1);
        assert_eq!(gone.len(), 1);
        assert!(is_there(&saved));
        let gone = attach(&mut saved, &[], "plumb1 0000000000000002 n/c2/eth0");
        assert_eq!(gone.len(), 1);
        assert!(!is_there(&saved));
    }
}
