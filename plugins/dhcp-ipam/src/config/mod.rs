//! The keys under `ipam`, those of the Go plugin among them.

mod address;
pub(crate) mod ipv6;
mod options;
mod registry;

use std::path::PathBuf;

use cni_common::addr::{Cidr, Mac};
use cni_common::config::{Configuration, Input};
use cni_common::env::Command;
use cni_common::ident::Invalid;
use cni_common::json::{Object, Value};
use cni_common::owner::Owner;

use crate::duid;
use crate::lease::Wishes;
use crate::record::{Settings, program, unhex};
use crate::store;
use crate::wire::code;
use ipv6::Families;

/// Where the daemon listens when the configuration does not say.
pub(crate) const SOCKET: &str = "/run/cni/dhcp.sock";
/// How long an ADD waits for a server.
const PATIENCE: u32 = 30;
/// How long other hosts are asked whether they have an address.
const PROBE: u32 = 100;
/// What is asked for. Classless routes stand before routers, as RFC 3442 wants it.
const REQUEST: [u8; 9] = [
    code::SUBNET_MASK,
    code::CLASSLESS_ROUTES,
    code::CLASSLESS_ROUTES_MICROSOFT,
    code::ROUTERS,
    code::STATIC_ROUTES,
    code::DNS,
    code::DOMAIN,
    code::SEARCH,
    code::MTU,
];

/// How the client calls itself to servers (option 61).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientId {
    /// Nine bytes made from network, container and interface.
    Hash,
    /// The interface's Ethernet address.
    Mac,
    /// The DHCP unique identifier of the container, as `DHCPv6` has it (RFC 4361).
    Duid,
    /// What the Go plugin sends: network, container and interface in full.
    Legacy,
    /// These bytes.
    Literal(Vec<u8>),
}

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) socket: PathBuf,
    pub(crate) state: PathBuf,
    /// Whether a daemon is started where none listens.
    pub(crate) start: bool,
    pub(crate) timeout_secs: u32,
    /// The address that the container has by other means, and asks only for the rest.
    pub(crate) inform: Option<Cidr>,
    client_id: ClientId,
    options: Vec<(u8, Vec<u8>)>,
    request: Vec<u8>,
    probe_millis: u32,
    pub(crate) on_change: Option<String>,
    pub(crate) wishes: Wishes,
    pub(crate) families: Families,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(SOCKET),
            state: PathBuf::from(store::DIRECTORY),
            start: true,
            timeout_secs: PATIENCE,
            inform: None,
            client_id: ClientId::Hash,
            options: Vec::new(),
            request: REQUEST.to_vec(),
            probe_millis: PROBE,
            on_change: None,
            wishes: Wishes::default(),
            families: Families::default(),
        }
    }
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        let Some(ipam) = object.object("ipam") else {
            let needed = !matches!(input.command, Command::Del | Command::Gc);
            if needed && object.get("ipam").is_none() {
                object.refuse("ipam", "is missing");
            }
            return Self::default();
        };
        let usual = Self::default();
        let mut config = Self {
            socket: path(&ipam, "daemonSocketPath").unwrap_or(usual.socket),
            state: path(&ipam, "stateDir").unwrap_or(usual.state),
            start: ipam
                .get("startDaemon")
                .and_then(|value| value.bool())
                .unwrap_or(true),
            timeout_secs: within(&ipam, "timeoutSecs", 1..=600).unwrap_or(PATIENCE),
            inform: address::of_its_own(input, &ipam),
            client_id: ipam
                .parse_with("clientId", ClientId::parse)
                .unwrap_or(ClientId::Hash),
            options: options::provided(&ipam, input.args),
            request: options::requested(&ipam, &REQUEST),
            probe_millis: within(&ipam, "arpProbeMs", 0..=10_000).unwrap_or(PROBE),
            on_change: ipam.parse_with("onChange", program),
            wishes: Wishes {
                // 0 is what the Go plugin takes for none.
                priority: ipam
                    .unsigned("priority", u32::MAX)
                    .filter(|metric| *metric != 0),
                no_default_route: ipam.flag("noDefaultRoute"),
            },
            families: Families::read(&ipam),
        };
        config.take_client_id();
        // The largest that an Ethernet frame holds, less IP's and UDP's headers.
        if let Some(size) = within(&ipam, "maxMessageSize", 576..=1472) {
            let size = u16::try_from(size).unwrap_or(u16::MAX);
            config
                .options
                .push((code::MAX_SIZE, size.to_be_bytes().to_vec()));
        }
        config
    }
}

impl Config {
    /// An identifier under `provide` is the identifier of every message, releases included.
    fn take_client_id(&mut self) {
        let place = self
            .options
            .iter()
            .position(|(code, _)| *code == code::CLIENT_ID);
        if let Some(place) = place {
            let (_, id) = self.options.remove(place);
            self.client_id = ClientId::Literal(id);
        }
    }

    /// What the daemon needs to know.
    pub(crate) fn settings(&self, owner: &Owner, mac: Mac) -> Settings {
        Settings {
            client_id: self.client_id.bytes(owner, mac),
            options: self.options.clone(),
            request: self.request.clone(),
            probe_millis: self.probe_millis,
            on_change: self.on_change.clone(),
            wishes: self.wishes,
        }
    }
}

impl ClientId {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let id = match text {
            "hash" => Self::Hash,
            "mac" => Self::Mac,
            "duid" => Self::Duid,
            "legacy" => Self::Legacy,
            _ => Self::Literal(match text.strip_prefix("hex:") {
                Some(digits) => unhex(digits)?,
                None => [&[0], text.as_bytes()].concat(),
            }),
        };
        match &id {
            Self::Literal(bytes) if !(2..=255).contains(&bytes.len()) => Err(Invalid {
                reason: format!("{text:?} must have 2 to 255 bytes (RFC 2132, 9.14)"),
            }),
            Self::Literal(_) | Self::Hash | Self::Mac | Self::Duid | Self::Legacy => Ok(id),
        }
    }

    fn bytes(&self, owner: &Owner, mac: Mac) -> Vec<u8> {
        match self {
            // Type 0: no address of hardware.
            Self::Hash => [&[0], &owner.hash().to_be_bytes()[..]].concat(),
            Self::Mac => [&[1], &mac.0[..]].concat(),
            // Type 255: an IAID and a DUID (RFC 4361, 6.1).
            Self::Duid => [&[255], &duid::iaid(owner)[..], &duid::of(owner)].concat(),
            Self::Legacy => {
                let Owner {
                    network,
                    container,
                    ifname,
                } = owner;
                let text = format!("{container}/{network}/{ifname}");
                let text: Vec<u8> = text.into_bytes().into_iter().take(254).collect();
                [&[0], &text[..]].concat()
            }
            Self::Literal(bytes) => bytes.clone(),
        }
    }
}

fn path(object: &Object<'_>, key: &str) -> Option<PathBuf> {
    let value: Value<'_> = object.get(key)?;
    let text = value.string().filter(|text| !text.is_empty())?;
    if !text.starts_with('/') {
        value.refuse("must be an absolute path");
        return None;
    }
    Some(PathBuf::from(text))
}

fn within(object: &Object<'_>, key: &str, allowed: core::ops::RangeInclusive<i64>) -> Option<u32> {
    let number = object.get(key)?.integer(allowed)?;
    u32::try_from(number).ok()
}

#[cfg(test)]
mod tests;
