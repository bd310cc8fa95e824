//! The keys `publish` and `runtimeConfig.portMappings`: ports of the host that lead to the container.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_common::addr::{Family, parse_ip};
use cni_common::config::Input;
use cni_common::json::{Json, Object, Value};
use cni_common::nft::TRANSPORTS;

use super::allow::{Protocol, parse_range};

/// How many ports one attachment may publish: they are changed in one transaction, which has to fit into a socket's
/// buffer.
const MOST: usize = 1000;

/// The addresses of the host at which a port is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// All.
    Any,
    /// All of a family.
    AnyOf(Family),
    /// This one.
    One(IpAddr),
}

impl At {
    fn of(address: Option<IpAddr>) -> Self {
        match address {
            None => Self::Any,
            Some(ip) if ip.is_unspecified() => Self::AnyOf(Family::of(ip)),
            Some(ip) => Self::One(ip),
        }
    }

    /// Whether an address of the family can be meant.
    pub fn is_for(self, family: Family) -> bool {
        match self {
            Self::Any => true,
            Self::AnyOf(of) => of == family,
            Self::One(ip) => Family::of(ip) == family,
        }
    }

    /// Whether some address is meant by both.
    fn meets(self, other: Self) -> bool {
        [Family::V4, Family::V6]
            .into_iter()
            .any(|family| match (self, other) {
                (Self::One(one), Self::One(other)) => one == other,
                _ => self.is_for(family) && other.is_for(family),
            })
    }
}

/// A port of the host that leads to one of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// At which addresses.
    pub at: At,
    /// The transport protocol (`IPPROTO_*`, linux/in.h).
    pub protocol: u8,
    /// The host's port.
    pub host_port: u16,
    /// The container's.
    pub container_port: u16,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            At::Any => {}
            At::AnyOf(Family::V4) => write!(f, "{}:", Ipv4Addr::UNSPECIFIED)?,
            At::AnyOf(Family::V6) => write!(f, "[{}]:", Ipv6Addr::UNSPECIFIED)?,
            At::One(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            At::One(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
        }
        let known = TRANSPORTS
            .iter()
            .find(|(number, _)| *number == self.protocol);
        let protocol = known.map_or("?", |(_, name)| name);
        write!(f, "{}/{protocol}", self.host_port)
    }
}

pub(super) fn read(input: &Input<'_>) -> Vec<Mapping> {
    let object = &input.object;
    let mut found = Found::default();
    for item in object.items("publish") {
        found.add(&item);
    }
    if let Some(runtime) = object.object("runtimeConfig") {
        for item in runtime.items("portMappings") {
            found.add(&item);
        }
    }
    found.mappings
}

#[derive(Default)]
struct Found {
    mappings: Vec<Mapping>,
}

impl Found {
    fn add(&mut self, item: &Value<'_>) {
        let read = if let Json::String(text) = item.json() {
            let read = parse(text);
            if read.is_none() {
                item.refuse(
                    "must be like \"8080:80\", \"192.0.2.1:8000-8010:9000-9010/udp\" or \"[2001:db8::1]:53:53/udp\"",
                );
            }
            read
        } else {
            item.object().and_then(|object| read_object(&object))
        };
        let Some((first, last)) = read else { return };
        let ports = first.host_port..=last;
        if self.mappings.len().saturating_add(ports.len()) > MOST {
            item.refuse(format_args!("makes more than {MOST} published ports"));
            return;
        }
        for (offset, host_port) in (0..).zip(ports) {
            let mapping = Mapping {
                host_port,
                container_port: first.container_port.saturating_add(offset),
                ..first
            };
            let mut others = self.mappings.iter();
            let same = others.find(|other| {
                other.protocol == mapping.protocol
                    && other.host_port == host_port
                    && other.at.meets(mapping.at)
            });
            match same {
                None => self.mappings.push(mapping),
                Some(same) if same.container_port == mapping.container_port => {
                    if same.at != mapping.at {
                        self.mappings.push(mapping);
                    }
                }
                Some(same) => {
                    let other = same.container_port;
                    item.refuse(format_args!(
                        "publishes {mapping}, which leads to port {other} already"
                    ));
                    return;
                }
            }
        }
    }
}

/// The first port, and the last one of the host.
type Range = (Mapping, u16);

fn read_object(object: &Object<'_>) -> Option<Range> {
    let port = |key: &str| -> Option<u16> {
        let Some(value) = object.get(key) else {
            object.refuse(key, "is missing");
            return None;
        };
        u16::try_from(value.integer(1..=65535)?).ok()
    };
    let (host, container) = (port("hostPort"), port("containerPort"));
    let protocol = match object.string("protocol") {
        None | Some("") => Some(6),
        Some(name) => {
            let known = Protocol::with_ports(name);
            if known.is_none() {
                object.refuse("protocol", "must be \"tcp\", \"udp\" or \"sctp\"");
            }
            known
        }
    };
    let address = object.parse_with("hostIP", parse_ip);
    let more = match object.get("range") {
        None => 0,
        // How many ports, as podman counts them.
        Some(value) => u16::try_from(value.integer(1..=65535)?)
            .ok()?
            .checked_sub(1)?,
    };
    let first = Mapping {
        at: At::of(address),
        protocol: protocol?,
        host_port: host?,
        container_port: container?,
    };
    let last = first.host_port.checked_add(more);
    if last.is_none() || first.container_port.checked_add(more).is_none() {
        object.refuse("range", "goes beyond port 65535");
    }
    Some((first, last?))
}

/// `[HOSTIP:]HOSTPORT[-LAST][:CONTAINERPORT[-LAST]][/PROTOCOL]`, an IPv6 address in brackets.
fn parse(text: &str) -> Option<Range> {
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, name)) => (rest, Protocol::with_ports(name)?),
        None => (text, 6),
    };
    let (address, ports) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (address, ports) = bracketed.split_once("]:")?;
        (Some(parse_ip(address).ok()?), ports)
    } else {
        match rest.split_once(':') {
            Some((address, ports)) if address.contains('.') => {
                (Some(parse_ip(address).ok()?), ports)
            }
            _ => (None, rest),
        }
    };
    let (host, container) = ports.split_once(':').unwrap_or((ports, ports));
    let (host, container) = (parse_range(host)?, parse_range(container)?);
    if host.1.checked_sub(host.0) != container.1.checked_sub(container.0) {
        return None;
    }
    let first = Mapping {
        at: At::of(address),
        protocol,
        host_port: host.0,
        container_port: container.0,
    };
    Some((first, host.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_people_write_them() {
        let shown = |text: &str| {
            parse(text).map(|(first, last)| format!("{first} to {last}: {}", first.container_port))
        };
        for (text, expected) in [
            ("8080", "8080/tcp to 8080: 8080"),
            ("8080:80", "8080/tcp to 8080: 80"),
            ("53:5353/UDP", "53/udp to 53: 5353"),
            ("192.0.2.1:53:5353/udp", "192.0.2.1:53/udp to 53: 5353"),
            ("0.0.0.0:80", "0.0.0.0:80/tcp to 80: 80"),
            ("[::]:80:81/sctp", "[::]:80/sctp to 80: 81"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80/tcp to 80: 80"),
            ("8000-8010:9000-9010", "8000/tcp to 8010: 9000"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "",
            ":",
            "80:",
            ":80",
            "0",
            "65536",
            "80/icmp",
            "80-79",
            "8000-8010:9000",
            "a",
            "80:80:80",
            "1.2.3:80:80",
            "[::1:80",
            "::1:80",
            "+80",
            "80-",
            "-80",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_meet_where_a_socket_could_be_bound_once() {
        let one = |text: &str| At::One(text.parse().unwrap());
        assert!(At::Any.meets(one("192.0.2.1")) && one("192.0.2.1").meets(At::Any));
        assert!(At::AnyOf(Family::V4).meets(one("192.0.2.1")));
        assert!(!At::AnyOf(Family::V6).meets(one("192.0.2.1")));
        assert!(!At::AnyOf(Family::V6).meets(At::AnyOf(Family::V4)));
        assert!(!one("192.0.2.2").meets(one("192.0.2.1")));
    }
}
