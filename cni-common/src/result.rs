//! The result of an ADD, in the form of every version of the specification.

use core::net::IpAddr;

use crate::addr::{Cidr, Family, Mac, parse_ip};
use crate::json::{Json, Object, ObjectWriter, Value};
use crate::version::SpecVersion;

/// What an ADD made: the specification's result, free of any version's form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The links, those on the host included.
    pub interfaces: Vec<Interface>,
    /// The addresses.
    pub ips: Vec<IpConfig>,
    /// The routes in the container.
    pub routes: Vec<Route>,
    /// What the container's resolver should know.
    pub dns: Dns,
}

/// A link of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The link's name.
    pub name: String,
    /// The link's Ethernet address.
    pub mac: Option<Mac>,
    /// The link's MTU in bytes (from 1.1.0 on).
    pub mtu: Option<u32>,
    /// `CNI_NETNS` as given for a link in the container; `None` on the host.
    pub sandbox: Option<String>,
    /// A socket that stands for the link (from 1.1.0 on).
    pub socket_path: Option<String>,
    /// A PCI device (from 1.1.0 on).
    pub pci_id: Option<String>,
}

/// An address of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// The place of its link in `interfaces`; none in results of IPAM plugins.
    pub interface: Option<usize>,
    /// The address and its prefix length.
    pub address: Cidr,
    /// The gateway of the address's subnet.
    pub gateway: Option<IpAddr>,
}

/// A route of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub dst: Cidr,
    /// The gateway; without one the first gateway of the family is meant.
    pub gw: Option<IpAddr>,
    /// The route's MTU in bytes.
    pub mtu: Option<u32>,
    /// The TCP maximum segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// The metric.
    pub priority: Option<u32>,
    /// The routing table.
    pub table: Option<u32>,
    /// The scope (`rt_scope_t`, linux/rtnetlink.h): 0 universe, 253 link, 254 host.
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing but a destination and perhaps a gateway.
    pub fn new(dst: Cidr, gw: Option<IpAddr>) -> Self {
        Self {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }
    }
}

/// Name resolution for the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses of name servers, as given.
    pub nameservers: Vec<String>,
    /// The local domain.
    pub domain: Option<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads a `dns` object.
    pub fn read(object: &Object<'_>) -> Self {
        Self {
            nameservers: object.strings("nameservers"),
            domain: object.text("domain").map(str::to_owned),
            search: object.strings("search"),
            options: object.strings("options"),
        }
    }

    fn to_json(&self) -> Json {
        let list = |items: &[String]| items.iter().map(|item| item.as_str().into()).collect();
        ObjectWriter::default()
            .with_list("nameservers", list(&self.nameservers))
            .with_some("domain", self.domain.as_deref())
            .with_list("search", list(&self.search))
            .with_list("options", list(&self.options))
            .into()
    }
}

impl Attachment {
    /// Reads a result of any version: `ip4` and `ip6` (0.1.0, 0.2.0) or lists (from 0.3.0 on) are told by
    /// their keys, so that a result and the configuration that holds it may differ in version.
    pub fn read(object: &Object<'_>) -> Self {
        let interfaces: Vec<Interface> = object
            .items("interfaces")
            .iter()
            .filter_map(Value::object)
            .map(|item| Interface::read(&item))
            .collect();
        let mut ips: Vec<IpConfig> = object
            .items("ips")
            .iter()
            .filter_map(Value::object)
            .filter_map(|item| IpConfig::read(&item, interfaces.len()))
            .collect();
        let mut routes = read_routes(object);
        for key in ["ip4", "ip6"] {
            let Some(old) = object.object(key) else {
                continue;
            };
            if let Some(address) = required_cidr(&old, "ip") {
                ips.push(IpConfig {
                    interface: None,
                    address,
                    gateway: old.parse_with("gateway", parse_ip),
                });
            }
            routes.extend(read_routes(&old));
        }
        Self {
            interfaces,
            ips,
            routes,
            dns: object
                .object("dns")
                .map(|dns| Dns::read(&dns))
                .unwrap_or_default(),
        }
    }

    /// Writes the result in the form of `version`.
    ///
    /// Before 0.3.0 there is room for the first address of each family and for the routes of these families
    /// only; the rest is left out. Two addresses of one family must have been refused before (see
    /// [`Attachment::fits`]).
    pub fn to_json(&self, version: SpecVersion) -> Json {
        let result = ObjectWriter::default().with("cniVersion", version.as_str());
        let result = if version.has_lists() {
            result
                .with_list(
                    "interfaces",
                    self.interfaces.iter().map(|i| i.to_json(version)).collect(),
                )
                .with_list(
                    "ips",
                    self.ips.iter().map(|ip| ip.to_json(version)).collect(),
                )
                .with_list("routes", self.routes.iter().map(Route::to_json).collect())
        } else {
            result
                .with_some("ip4", self.old_form(Family::V4))
                .with_some("ip6", self.old_form(Family::V6))
        };
        // The reference library prints an empty `dns` in results before 1.0.0, and readers came to expect it.
        let dns = (!version.has_details() || !self.dns.is_empty()).then(|| self.dns.to_json());
        result.with_some("dns", dns).into()
    }

    /// Whether a result of `version` says what there is: before 0.3.0 one address of each family, and no less than one.
    ///
    /// # Errors
    /// Why it does not, in the words of the reference library.
    pub fn fits(&self, version: SpecVersion) -> Result<(), String> {
        if version.has_lists() {
            return Ok(());
        }
        if self.ips.is_empty() {
            return Err(String::from("cannot convert: no valid IP addresses"));
        }
        let count = |family| {
            self.ips
                .iter()
                .filter(|ip| ip.address.family() == family)
                .count()
        };
        if count(Family::V4) > 1 || count(Family::V6) > 1 {
            return Err(format!(
                "CNI version {version} does not support more than 1 address per family"
            ));
        }
        Ok(())
    }

    /// The `ip4` or `ip6` of a result before 0.3.0.
    fn old_form(&self, family: Family) -> Option<Json> {
        let ip = self.ips.iter().find(|ip| ip.address.family() == family)?;
        let routes = self
            .routes
            .iter()
            .filter(|route| route.dst.family() == family)
            .map(|route| Route::new(route.dst, route.gw).to_json())
            .collect();
        let json = ObjectWriter::default()
            .with("ip", ip.address.to_string())
            .with_some("gateway", ip.gateway.map(|gateway| gateway.to_string()))
            .with_list("routes", routes);
        Some(json.into())
    }
}

/// Reads the `routes` of a result or of an IPAM configuration.
pub fn read_routes(object: &Object<'_>) -> Vec<Route> {
    object
        .items("routes")
        .iter()
        .filter_map(Value::object)
        .filter_map(|item| Route::read(&item))
        .collect()
}

fn required_cidr(object: &Object<'_>, key: &str) -> Option<Cidr> {
    if object.text(key).is_none() {
        object.refuse(key, "is missing; an address with a prefix length is wanted");
        return None;
    }
    object.parse(key)
}

impl Interface {
    fn read(object: &Object<'_>) -> Self {
        Self {
            name: object.string("name").unwrap_or_default().to_owned(),
            // A link may have an address that is not Ethernet's: then it is not ours to judge.
            mac: object.text("mac").and_then(|text| text.parse().ok()),
            mtu: object.unsigned("mtu", u32::MAX).filter(|mtu| *mtu > 0),
            sandbox: object.text("sandbox").map(str::to_owned),
            socket_path: object.text("socketPath").map(str::to_owned),
            pci_id: object.text("pciID").map(str::to_owned),
        }
    }

    fn to_json(&self, version: SpecVersion) -> Json {
        let json = ObjectWriter::default()
            .with("name", self.name.as_str())
            .with_some("mac", self.mac.map(|mac| mac.to_string()));
        let json = if version.has_details() {
            json.with_some("mtu", self.mtu)
        } else {
            json
        };
        let json = json.with_some("sandbox", self.sandbox.as_deref());
        if version.has_details() {
            json.with_some("socketPath", self.socket_path.as_deref())
                .with_some("pciID", self.pci_id.as_deref())
                .into()
        } else {
            json.into()
        }
    }
}

impl IpConfig {
    fn read(object: &Object<'_>, interfaces: usize) -> Option<Self> {
        let interface = object.get("interface").and_then(|value| {
            let place = value.unsigned(u32::MAX)?;
            let place = usize::try_from(place)
                .ok()
                .filter(|place| *place < interfaces);
            if place.is_none() {
                value.refuse(format_args!(
                    "must be the place of one of the {interfaces} interfaces"
                ));
            }
            place
        });
        Some(Self {
            interface,
            address: required_cidr(object, "address")?,
            gateway: object.parse_with("gateway", parse_ip),
        })
    }

    fn to_json(&self, version: SpecVersion) -> Json {
        let ip_version = match self.address.family() {
            Family::V4 => "4",
            Family::V6 => "6",
        };
        ObjectWriter::default()
            .with_some("version", version.has_ip_version().then_some(ip_version))
            .with_some(
                "interface",
                self.interface.and_then(|place| u32::try_from(place).ok()),
            )
            .with("address", self.address.to_string())
            .with_some("gateway", self.gateway.map(|gateway| gateway.to_string()))
            .into()
    }
}

impl Route {
    /// Reads a route of a result or of an IPAM configuration.
    fn read(object: &Object<'_>) -> Option<Self> {
        let dst = required_cidr(object, "dst")?;
        let gw = object.parse_with("gw", parse_ip);
        if gw.is_some_and(|gw| Family::of(gw) != dst.family()) {
            let value = object.get("gw")?;
            value.refuse(format_args!(
                "must be of the family of dst, {}",
                dst.family()
            ));
        }
        Some(Self {
            dst,
            gw,
            mtu: object.unsigned("mtu", u32::MAX).filter(|mtu| *mtu > 0),
            advmss: object.unsigned("advmss", u32::MAX).filter(|mss| *mss > 0),
            priority: object.unsigned("priority", u32::MAX).filter(|it| *it > 0),
            table: object.unsigned("table", u32::MAX).filter(|it| *it > 0),
            scope: object
                .unsigned("scope", 255)
                .and_then(|scope| u8::try_from(scope).ok()),
        })
    }

    fn to_json(&self) -> Json {
        ObjectWriter::default()
            .with("dst", self.dst.to_string())
            .with_some("gw", self.gw.map(|gw| gw.to_string()))
            .with_some("mtu", self.mtu)
            .with_some("advmss", self.advmss)
            .with_some("priority", self.priority)
            .with_some("table", self.table)
            .with_some("scope", self.scope.map(u32::from))
            .into()
    }
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
