//! The key `allow`: what passes although `forward` would stop it.

use cni_common::addr::{Cidr, Family, parse_ip};
use cni_common::json::{Json, Object, Value};
use cni_common::nft::TRANSPORTS;

use super::{Interface, one_or_many};

/// An exception: connections towards the network that may be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `ports`: from the first to the last.
    pub ports: Vec<(u16, u16)>,
    /// `from`: who opens them; empty for anybody.
    pub from: Vec<Cidr>,
    /// `to`: whom they reach; empty for the whole network.
    pub to: Vec<Cidr>,
    /// `inInterface`: by which interface they come in.
    pub in_interface: Option<Interface>,
}

/// What connections are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One with ports, by its number.
    Ports(u8),
    /// ICMP, of whatever family the packet is.
    Icmp,
}

impl Protocol {
    /// Its number (`IPPROTO_*`, linux/in.h).
    pub fn number(self, family: Family) -> u8 {
        match (self, family) {
            (Self::Ports(number), _) => number,
            (Self::Icmp, Family::V4) => 1,
            (Self::Icmp, Family::V6) => 58,
        }
    }

    /// A protocol with ports by its name.
    pub fn with_ports(name: &str) -> Option<u8> {
        let known = TRANSPORTS.iter().filter(|(_, name)| !name.contains("icmp"));
        let mut same = known.filter(|(_, known)| known.eq_ignore_ascii_case(name));
        same.next().map(|(number, _)| *number)
    }
}

impl Allow {
    /// Whether packets of the family can be meant.
    pub fn is_for(&self, family: Family) -> bool {
        let mut all = self.from.iter().chain(&self.to).peekable();
        all.peek().is_none() || all.any(|cidr| cidr.family() == family)
    }
}

pub(super) fn read(object: &Object<'_>) -> Vec<Allow> {
    let items = object.items("allow");
    let exceptions: Vec<Allow> = items.iter().filter_map(read_one).collect();
    if !exceptions.is_empty() && matches!(object.string("forward"), None | Some("open" | "")) {
        object.refuse(
            "allow",
            "has a meaning only where \"forward\" is \"stateful\" or \"isolated\"",
        );
    }
    exceptions
}

fn read_one(item: &Value<'_>) -> Option<Allow> {
    let object = item.object()?;
    let subnets = |key: &str| -> Vec<Cidr> {
        let values = object.get(key);
        let values = values.as_ref().map(one_or_many).unwrap_or_default();
        values.iter().filter_map(read_subnet).collect()
    };
    let protocol = object.get("protocol").as_ref().and_then(read_protocol);
    let ports = object.get("ports");
    let ports: Vec<(u16, u16)> = ports
        .as_ref()
        .map(one_or_many)
        .unwrap_or_default()
        .iter()
        .filter_map(read_ports)
        .collect();
    if !ports.is_empty() && !matches!(protocol, Some(Protocol::Ports(_))) {
        object.refuse("ports", "needs \"protocol\": \"tcp\", \"udp\" or \"sctp\"");
    }
    let allow = Allow {
        protocol,
        ports,
        from: subnets("from"),
        to: subnets("to"),
        in_interface: object.parse_with("inInterface", Interface::parse),
    };
    let families = |list: &[Cidr]| -> Vec<Family> { list.iter().map(|c| c.family()).collect() };
    let (from, to) = (families(&allow.from), families(&allow.to));
    if !from.is_empty() && !to.is_empty() && !from.iter().any(|family| to.contains(family)) {
        item.refuse("has addresses of different families in \"from\" and \"to\"");
    }
    let says_something = allow.protocol.is_some()
        || allow.in_interface.is_some()
        || !(allow.from.is_empty() && allow.to.is_empty());
    if !says_something {
        item.refuse(
            "allows everything: name a \"protocol\", \"ports\", \"from\", \"to\" or \"inInterface\"",
        );
    }
    Some(allow)
}

/// A subnet, or an address alone.
fn read_subnet(value: &Value<'_>) -> Option<Cidr> {
    if value.string()?.contains('/') {
        return value.parse::<Cidr>().map(Cidr::network);
    }
    value.parse_with(parse_ip).map(Cidr::host)
}

fn read_protocol(value: &Value<'_>) -> Option<Protocol> {
    let name = value.string()?;
    if name.eq_ignore_ascii_case("icmp") {
        return Some(Protocol::Icmp);
    }
    let found = Protocol::with_ports(name).map(Protocol::Ports);
    if found.is_none() {
        value.refuse("must be \"tcp\", \"udp\", \"sctp\" or \"icmp\"");
    }
    found
}

/// A number, or `"8000-8010"`.
fn read_ports(value: &Value<'_>) -> Option<(u16, u16)> {
    if let Json::String(text) = value.json() {
        let range = parse_range(text);
        if range.is_none() {
            value.refuse(
                "must be a port from 1 to 65535, or a first and a last one with '-' between them",
            );
        }
        return range;
    }
    let port = u16::try_from(value.integer(1..=65535)?).ok()?;
    Some((port, port))
}

/// `80`, or `8000-8010`.
pub(super) fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}
