//! The keys of the configuration.

mod admin;
pub mod allow;
mod interface;
pub mod publish;
mod translation;

use std::path::PathBuf;

use cni_common::addr::{Cidr, Family};
use cni_common::config::{Configuration, Input};
use cni_common::json::{Json, Value};
use cni_common::nft::{NatFlags, NatTo};

pub use self::admin::{Admin, Make};
use self::allow::Allow;
pub use self::interface::Interface;
use self::publish::Mapping;

use crate::forwarding::Forwarding;
use crate::state::DIRECTORY;

/// Which connections may be opened through the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// Any: the plugin drops nothing.
    #[default]
    Open,
    /// Those that the network opens; towards it only replies pass.
    Stateful,
    /// As [`Forward::Stateful`]; and what the network opens to other networks of this plugin is dropped.
    Isolated,
}

/// Which other networks of the host reach the network (`ingressPolicy` of the reference plugin `firewall`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingress {
    /// All.
    #[default]
    Open,
    /// None that has a policy other than `open`.
    SameBridge,
    /// As [`Ingress::SameBridge`]; and what the host forwards from one container of the network to another is dropped too.
    Isolated,
}

/// To what the maximal segment size is lowered that TCP connections through the host agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mss {
    /// To what the MTU of the route leaves.
    OfRoute,
    /// To so many bytes.
    Bytes(u16),
}

/// The zone of firewalld whose sources may do anything.
const ZONE: &str = "trusted";

/// Into which of the host's firewalls the rules go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Legacy iptables where the host uses it, or has nothing else; nftables elsewhere, and beside firewalld its zone.
    #[default]
    Auto,
    /// nftables.
    Nftables,
    /// Legacy iptables.
    Legacy,
    /// nftables, and a zone of firewalld.
    Firewalld,
}

/// The keys.
#[expect(clippy::struct_excessive_bools, reason = "each of them is a key")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether it stands in for the reference plugin `firewall`, by whose name it is called.
    pub stands_in: bool,
    /// `masquerade`: of which families sources are translated.
    pub masquerade: Vec<Family>,
    /// `sources`: networks behind the containers, translated and guarded like the containers' own addresses.
    pub sources: Vec<Cidr>,
    /// `exclude`: destinations that see the true source.
    pub exclude: Vec<Cidr>,
    /// `outInterface`: only what leaves by this interface is translated.
    pub out_interface: Option<Interface>,
    /// `inInterface`: only what came in by this interface is translated.
    pub in_interface: Option<Interface>,
    /// `toSource`: the addresses that the outside sees, at most one entry of a family; without one, that of the
    /// interface by which a packet leaves.
    pub to_source: Vec<NatTo>,
    /// `toPrefix`: the prefix that the outside sees in place of the containers' own, at most one of a family.
    pub to_prefix: Vec<Cidr>,
    /// `natFlags`: how an address and a port are chosen.
    pub nat_flags: NatFlags,
    /// `withinSubnet`: whether what stays within the network is translated too.
    pub within_subnet: bool,
    /// `dropInvalid`: whether what connection tracking can make nothing of, and so would leave untranslated, is dropped.
    pub drop_invalid: bool,
    /// `counters`: whether the network and each attachment count what passes.
    pub counters: bool,
    /// `forward`.
    pub forward: Forward,
    /// `allow`: what passes although `forward` would stop it.
    pub allow: Vec<Allow>,
    /// `isolateContainers`: whether what the host forwards from one container of the network to another is dropped.
    pub isolate_containers: bool,
    /// `publish` and `runtimeConfig.portMappings`: ports of the host that lead to the container.
    pub publish: Vec<Mapping>,
    /// `clampMss`.
    pub clamp_mss: Option<Mss>,
    /// `ingressPolicy`.
    pub ingress: Ingress,
    /// `backend`.
    pub backend: Backend,
    /// `firewalldZone`: the zone of firewalld that containers become sources of; `None` leaves firewalld alone.
    pub firewalld_zone: Option<String>,
    /// `iptablesAdminChainName`.
    pub admin: Admin,
    /// `ipForward`: for what forwarding is switched on, for each family in use.
    pub ip_forward: Forwarding,
    /// `bridgeNfCall`: whether bridged frames are to pass the host's IP rules; `None` leaves it as it is.
    pub bridge_nf_call: Option<bool>,
    /// `restoreSysctls`: whether what was switched is remembered and put back with the last attachment.
    pub restore_sysctls: bool,
    /// `dataDir`: where an attachment's configuration is kept for `masquerade reload`; `None` keeps none.
    pub data_dir: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stands_in: false,
            masquerade: vec![Family::V4, Family::V6],
            sources: Vec::new(),
            exclude: Vec::new(),
            out_interface: None,
            in_interface: None,
            to_source: Vec::new(),
            to_prefix: Vec::new(),
            nat_flags: NatFlags::default(),
            within_subnet: false,
            drop_invalid: true,
            counters: true,
            forward: Forward::Open,
            allow: Vec::new(),
            isolate_containers: false,
            publish: Vec::new(),
            clamp_mss: None,
            ingress: Ingress::Open,
            backend: Backend::default(),
            firewalld_zone: Some(ZONE.to_owned()),
            admin: Admin::default(),
            ip_forward: Forwarding::default(),
            bridge_nf_call: None,
            restore_sysctls: false,
            data_dir: Some(PathBuf::from(DIRECTORY)),
        }
    }
}

impl Config {
    /// Whether sources of a family are translated.
    pub fn translates(&self, family: Family) -> bool {
        self.masquerade.contains(&family)
    }

    /// What the outside sees in place of sources of a family, if something fixed is configured.
    pub fn to_source(&self, family: Family) -> Option<NatTo> {
        let prefixes = self.to_prefix.iter().copied().map(NatTo::Prefix);
        let mut all = self.to_source.iter().copied().chain(prefixes);
        all.find(|to| to.family() == family)
    }

    /// Whether ports are published at addresses of a family.
    pub fn publishes(&self, family: Family) -> bool {
        self.publish.iter().any(|mapping| mapping.at.is_for(family))
    }

    /// The prefix that the outside sees in place of those of a family.
    pub fn to_prefix(&self, family: Family) -> Option<Cidr> {
        let mut prefixes = self.to_prefix.iter().copied();
        prefixes.find(|prefix| prefix.family() == family)
    }

    /// The destinations of a family that see the true source.
    pub fn excluded(&self, family: Family) -> impl Iterator<Item = Cidr> {
        let of_family = move |excluded: &Cidr| excluded.family() == family;
        self.exclude.iter().copied().filter(of_family)
    }

    /// The networks behind the containers that are of a family.
    pub fn sources(&self, family: Family) -> impl Iterator<Item = Cidr> {
        let of_family = move |source: &Cidr| source.family() == family;
        self.sources.iter().copied().filter(of_family)
    }
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        let mut sources = Vec::new();
        for item in object.items("sources") {
            sources.extend(read_source(&item).filter(|source| !sources.contains(source)));
        }
        let flag = |key| object.get(key).and_then(|value| value.bool());
        let of_families = |key: &str, read: fn(&Value<'_>) -> Option<NatTo>| {
            translation::one_a_family(object.get(key).as_ref(), read)
        };
        // What the reference plugin of that name does not do is done only on request.
        let is_firewall = object
            .get("type")
            .is_some_and(|kind| kind.string() == Some("firewall"));
        let masquerade = match object.get("masquerade") {
            Some(value) => translation::families(&value),
            None if is_firewall => Vec::new(),
            None => vec![Family::V4, Family::V6],
        };
        let to_prefix = of_families("toPrefix", translation::prefix);
        Self {
            stands_in: is_firewall,
            drop_invalid: flag("dropInvalid").unwrap_or(!masquerade.is_empty()),
            masquerade,
            sources,
            exclude: object
                .items("exclude")
                .iter()
                .filter_map(Value::parse::<Cidr>)
                .map(Cidr::network)
                .collect(),
            clamp_mss: object.get("clampMss").as_ref().and_then(read_mss),
            out_interface: object.parse_with("outInterface", Interface::parse),
            in_interface: object.parse_with("inInterface", Interface::parse),
            to_source: of_families("toSource", translation::source),
            to_prefix: to_prefix
                .iter()
                .filter_map(translation::as_prefix)
                .collect(),
            nat_flags: object
                .get("natFlags")
                .as_ref()
                .map(translation::flags)
                .unwrap_or_default(),
            within_subnet: object.flag("withinSubnet"),
            counters: flag("counters").unwrap_or(true),
            allow: allow::read(object),
            isolate_containers: object.flag("isolateContainers"),
            publish: publish::read(input),
            forward: object
                .get("forward")
                .as_ref()
                .map(read_forward)
                .unwrap_or_default(),
            ingress: object
                .get("ingressPolicy")
                .as_ref()
                .map(read_ingress)
                .unwrap_or_default(),
            backend: object
                .get("backend")
                .as_ref()
                .map(read_backend)
                .unwrap_or_default(),
            firewalld_zone: Some(object.text("firewalldZone").unwrap_or(ZONE).to_owned()),
            admin: admin::read(object.get("iptablesAdminChainName").as_ref(), is_firewall),
            ip_forward: match object.get("ipForward") {
                Some(value) => Forwarding::read(&value),
                None if is_firewall => Forwarding::LEAVE,
                None => Forwarding::default(),
            },
            bridge_nf_call: flag("bridgeNfCall"),
            restore_sysctls: object.flag("restoreSysctls"),
            data_dir: match object.get("dataDir") {
                Some(value) => read_directory(&value),
                None => Some(PathBuf::from(DIRECTORY)),
            },
        }
    }
}

/// A list, or a single value as a list of one; the empty string is none.
fn one_or_many<'a>(value: &Value<'a>) -> Vec<Value<'a>> {
    if let Json::String(text) = value.json()
        && text.is_empty()
    {
        return Vec::new();
    }
    if let Json::Array(_) | Json::Null = value.json() {
        return value.items();
    }
    vec![value.clone()]
}

fn read_source(item: &Value<'_>) -> Option<Cidr> {
    let source = item.parse::<Cidr>()?.network();
    if source.is_default_route() {
        item.refuse("is everything: name the networks behind the containers");
        return None;
    }
    let address = source.address();
    if address.is_multicast() || address.is_loopback() || address.is_unspecified() {
        item.refuse("cannot be the source of a packet that is forwarded");
        return None;
    }
    Some(source)
}

fn read_forward(value: &Value<'_>) -> Forward {
    match value.string() {
        Some("open" | "") | None => Forward::Open,
        Some("stateful") => Forward::Stateful,
        Some("isolated") => Forward::Isolated,
        Some(_) => {
            value.refuse("must be \"open\", \"stateful\" or \"isolated\"");
            Forward::Open
        }
    }
}

fn read_mss(value: &Value<'_>) -> Option<Mss> {
    if let Json::Bool(on) = value.json() {
        return on.then_some(Mss::OfRoute);
    }
    // From what every host must take in (RFC 9293, 3.7.1) to what fits into a packet.
    let size = u16::try_from(value.integer(536..=65495)?).ok()?;
    Some(Mss::Bytes(size))
}

fn read_ingress(value: &Value<'_>) -> Ingress {
    match value.string() {
        Some("open" | "") | None => Ingress::Open,
        Some("same-bridge") => Ingress::SameBridge,
        Some("isolated") => Ingress::Isolated,
        Some(_) => {
            value.refuse("must be \"open\", \"same-bridge\" or \"isolated\"");
            Ingress::Open
        }
    }
}

fn read_directory(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.string().filter(|path| !path.is_empty())?;
    if !path.starts_with('/') {
        value.refuse("must be an absolute path, or \"\" to keep nothing");
    }
    Some(PathBuf::from(path))
}

fn read_backend(value: &Value<'_>) -> Backend {
    match value.string() {
        // What the reference plugin calls iptables is either.
        Some("auto" | "iptables" | "") | None => Backend::Auto,
        Some("nftables") => Backend::Nftables,
        Some("iptables-legacy") => Backend::Legacy,
        Some("firewalld") => Backend::Firewalld,
        Some(_) => {
            value.refuse("must be \"auto\", \"nftables\", \"iptables\", \"iptables-legacy\" or \"firewalld\"");
            Backend::Auto
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
