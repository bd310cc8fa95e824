//! Published ports: destination NAT by maps that all networks share.
//!
//! A map has the container's address and port for a protocol and a port of the host, another one for a port at a single
//! address. So a packet costs one look into each map of its family, however many ports are published, and an element
//! exists once: whoever comes second learns who holds the port. Elements carry their owner, as those of the sets do.

use core::time::Duration;

use cni_common::addr::{Cidr, Family};
use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::log;
use cni_common::nft::{By, Element, Key, KeyKind};
use cni_common::owner::Tag;

use crate::config::Config;
use crate::config::publish::{At, Mapping};

mod add;
pub mod localhost;
mod release;
pub(crate) mod stale;

pub use add::{add, check_free, compare};
pub use release::{Unpublished, release};

/// The chain that looks into the maps.
const CHAIN: &str = "publish";

/// Longer than an element takes to leave: the kernel's clock ticks every 1 to 10 ms.
const TICKS: Duration = Duration::from_millis(50);

/// How long is waited before looking again.
const PAUSE: Duration = Duration::from_micros(300);

/// The maps: by which family, and by what a destination is found.
const MAPS: [(Family, By, &str); 4] = [
    (Family::V4, By::Address, "published-ipv4-at"),
    (Family::V4, By::Port, "published-ipv4"),
    (Family::V6, By::Address, "published-ipv6-at"),
    (Family::V6, By::Port, "published-ipv6"),
];

fn name_of(family: Family, by: By) -> &'static str {
    match (family, by) {
        (Family::V4, By::Address) => "published-ipv4-at",
        (Family::V4, By::Port) => "published-ipv4",
        (Family::V6, By::Address) => "published-ipv6-at",
        (Family::V6, By::Port) => "published-ipv6",
    }
}

fn keys_of(family: Family, by: By) -> KeyKind {
    match by {
        By::Address => KeyKind::AddressPort(family),
        By::Port => KeyKind::Port,
    }
}

/// What is to be in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    family: Family,
    by: By,
    pub(crate) key: Key,
    pub(crate) target: Key,
    /// As people write it.
    shown: String,
}

impl Published {
    /// Of which family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it is for IPv4.
    pub fn is_v4(&self) -> bool {
        self.family == Family::V4
    }

    fn map(&self) -> &'static str {
        name_of(self.family, self.by)
    }

    fn port(&self) -> Option<(u8, u16)> {
        if let Key::Port(protocol, port) | Key::AddressPort(_, protocol, port) = &self.key {
            return Some((*protocol, *port));
        }
        None
    }
}

/// What a configuration publishes for a container with these addresses: the first of each family.
pub fn wanted(config: &Config, addresses: &[Cidr]) -> Vec<Published> {
    let mut published = Vec::new();
    for family in [Family::V4, Family::V6] {
        let mut of_family = addresses.iter().filter(|a| a.family() == family);
        let Some(container) = of_family.next() else {
            continue;
        };
        for mapping in config.publish.iter().filter(|m| m.at.is_for(family)) {
            let (by, key) = match mapping.at {
                At::One(ip) => (
                    By::Address,
                    Key::AddressPort(ip, mapping.protocol, mapping.host_port),
                ),
                At::Any | At::AnyOf(_) => {
                    (By::Port, Key::Port(mapping.protocol, mapping.host_port))
                }
            };
            published.push(Published {
                family,
                by,
                key,
                target: Key::Target(container.address(), mapping.container_port),
                shown: mapping.to_string(),
            });
        }
    }
    published
}

/// Says what cannot be: a port at an address of a family that the container has not, and `[::1]`.
pub fn warn(config: &Config, addresses: &[Cidr]) {
    let has = |family| addresses.iter().any(|a| a.family() == family);
    for mapping in &config.publish {
        let family = match mapping.at {
            At::Any => continue,
            At::AnyOf(family) => family,
            At::One(ip) => Family::of(ip),
        };
        if !has(family) {
            log::warning(format_args!(
                "publish: {mapping} leads nowhere: the container has no {family} address"
            ));
        }
    }
    let by_loopback = |mapping: &&Mapping| match mapping.at {
        At::Any | At::AnyOf(Family::V6) => has(Family::V6),
        At::AnyOf(Family::V4) => false,
        At::One(ip) => ip.is_loopback() && ip.is_ipv6(),
    };
    if let Some(mapping) = config.publish.iter().find(by_loopback) {
        log::info(format_args!(
            "publish: {mapping} is not reached at [::1]: the kernel forwards nothing that comes from it"
        ));
    }
}

/// Why a port cannot be had.
pub(crate) fn held(published: &Published, element: &Element) -> Error {
    let comment = element.comment.as_deref().unwrap_or_default();
    let holder = match Tag::parse(comment) {
        Some(tag) => tag.to_string(),
        None if comment.is_empty() => "somebody else".to_owned(),
        None => format!("somebody else ({comment})"),
    };
    let shown = &published.shown;
    let held = match &element.key {
        key if *key == published.key => String::new(),
        key => format!(" as {key}"),
    };
    Error::new(
        Code::Taken,
        format!("publish: port {shown} is held by {holder}{held}"),
    )
}
