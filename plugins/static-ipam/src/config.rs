//! The keys under `ipam`, and what else asks for addresses.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family, parse_ip};
use cni_common::args::CniArgs;
use cni_common::code::Code;
use cni_common::config::{Configuration, Input};
use cni_common::env::Command;
use cni_common::ident::Invalid;
use cni_common::json::{Json, Object, Value};
use cni_common::result::{Attachment, Dns, Route, read_routes};

use crate::assign;

/// An address as somebody asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where it stands: a key's path, or `CNI_ARGS: IP`.
    pub(crate) place: String,
    /// The address.
    pub(crate) address: IpAddr,
    /// Its prefix length; `None` when it was given bare.
    pub(crate) prefix: Option<u8>,
    /// Its gateway.
    pub(crate) gateway: Option<IpAddr>,
}

/// A subnet and perhaps its gateway: what makes an address of a bare one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// The subnet.
    pub(crate) subnet: Cidr,
    /// Its gateway.
    pub(crate) gateway: Option<IpAddr>,
}

/// One entry of `assignments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// A container id, a pod's name (with `namespace/` or without), or `KEY=value` of `CNI_ARGS`.
    pub(crate) key: String,
    /// The addresses.
    pub(crate) addresses: Vec<Wanted>,
    /// Routes beside those of the network.
    pub(crate) routes: Vec<Route>,
    /// Name resolution in place of the network's.
    pub(crate) dns: Option<Dns>,
}

/// All that was asked for, by its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// `ipam.addresses`.
    pub(crate) addresses: Vec<Wanted>,
    /// `ipam.subnets`.
    pub(crate) subnets: Vec<Subnet>,
    /// `ipam.assignments`.
    pub(crate) assignments: Vec<Assignment>,
    /// `ipam.assignmentsOnly`.
    pub(crate) assignments_only: bool,
    /// `ipam.routes`.
    pub(crate) routes: Vec<Route>,
    /// `ipam.dns`.
    pub(crate) dns: Dns,
    /// `args.cni.ips`.
    pub(crate) args_ips: Vec<Wanted>,
    /// `runtimeConfig.ips`.
    pub(crate) capability_ips: Vec<Wanted>,
}

/// The configuration, worked out for the container of the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// What the container gets.
    pub(crate) assigned: Attachment,
}

impl Configuration for Config {
    fn read(input: &Input<'_>) -> Self {
        // There is no state: whatever the configuration says, these have nothing to do.
        if matches!(input.command, Command::Del | Command::Gc) {
            return Self::default();
        }
        let object = &input.object;
        let Some(ipam) = object.object("ipam") else {
            if object.get("ipam").is_none() {
                object.refuse("ipam", "is missing");
            }
            return Self::default();
        };
        let keys = read_keys(object, &ipam);
        let Some(container) = input.container else {
            return Self::default();
        };
        let own: Vec<&str> = keys
            .assignments
            .iter()
            .filter_map(|assignment| assignment.key.split_once('=').map(|(key, _)| key))
            .collect();
        if let Err(error) = input.args.check(&own) {
            object.report(error.code(), error.to_string());
        }
        match assign::assign(&keys, input.args, container) {
            Ok(assigned) => Self { assigned },
            Err(faults) => {
                for fault in faults {
                    object.report(fault.code, fault.text);
                }
                Self::default()
            }
        }
    }
}

fn read_keys(object: &Object<'_>, ipam: &Object<'_>) -> Keys {
    let addresses: Vec<Wanted> = ipam
        .items("addresses")
        .iter()
        .filter_map(read_entry)
        .collect();
    let assignments = ipam
        .object("assignments")
        .map(|map| map.entries().filter_map(read_assignment).collect())
        .unwrap_or_default();
    Keys {
        addresses,
        subnets: ipam
            .items("subnets")
            .iter()
            .filter_map(read_subnet)
            .collect(),
        assignments,
        assignments_only: ipam.flag("assignmentsOnly"),
        routes: masked(read_routes(ipam)),
        dns: ipam
            .object("dns")
            .map(|dns| Dns::read(&dns))
            .unwrap_or_default(),
        args_ips: object
            .object("args")
            .and_then(|args| args.object("cni"))
            .map(|cni| read_ips(&cni))
            .unwrap_or_default(),
        capability_ips: object
            .object("runtimeConfig")
            .map(|runtime| read_ips(&runtime))
            .unwrap_or_default(),
    }
}

/// An address with its prefix length, or a bare one.
fn read_ips(object: &Object<'_>) -> Vec<Wanted> {
    object
        .items("ips")
        .iter()
        .filter_map(|item| {
            let (address, prefix) = item.parse_with(parse_wanted)?;
            Some(Wanted {
                place: item.path().to_owned(),
                address,
                prefix,
                gateway: None,
            })
        })
        .collect()
}

/// Parses `ADDRESS/PREFIX` or `ADDRESS`.
pub(crate) fn parse_wanted(text: &str) -> Result<(IpAddr, Option<u8>), Invalid> {
    let text = text.trim();
    if text.contains('/') {
        return text
            .parse::<Cidr>()
            .map(|cidr| (cidr.address(), Some(cidr.prefix())));
    }
    parse_ip(text).map(|address| (address, None))
}

/// `{"address": …, "gateway": …}`.
fn read_entry(item: &Value<'_>) -> Option<Wanted> {
    let entry = item.object()?;
    let Some(value) = entry.get("address") else {
        entry.refuse(
            "address",
            "is missing; an address with a prefix length is wanted",
        );
        return None;
    };
    let (address, prefix) = value.parse_with(parse_wanted)?;
    Some(Wanted {
        place: value.path().to_owned(),
        address,
        prefix,
        gateway: read_gateway(&entry, Family::of(address)),
    })
}

fn read_gateway(entry: &Object<'_>, family: Family) -> Option<IpAddr> {
    let gateway = entry.parse_with("gateway", parse_ip)?;
    if Family::of(gateway) != family {
        entry.get("gateway")?.refuse(format_args!(
            "must be of the family of the address, {family}"
        ));
        return None;
    }
    Some(gateway)
}

/// `{"subnet": …, "gateway": …}`, or a gateway that tells the subnet by its prefix length.
fn read_subnet(item: &Value<'_>) -> Option<Subnet> {
    if matches!(item.json(), Json::String(_)) {
        let subnet = item.parse::<Cidr>()?.network();
        return Some(Subnet {
            subnet,
            gateway: None,
        });
    }
    let entry = item.object()?;
    if let Some(subnet) = entry.parse::<Cidr>("subnet") {
        let subnet = subnet.network();
        let gateway = read_gateway(&entry, subnet.family());
        if gateway.is_some_and(|gateway| !subnet.contains(gateway)) {
            entry
                .get("gateway")?
                .refuse(format_args!("must be in the subnet {subnet}"));
        }
        return Some(Subnet { subnet, gateway });
    }
    if entry.get("subnet").is_some() {
        return None;
    }
    let Some(gateway) = entry.parse::<Cidr>("gateway") else {
        if entry.get("gateway").is_none() {
            entry.refuse(
                "subnet",
                "is missing; a subnet, or a gateway with a prefix length, is wanted",
            );
        }
        return None;
    };
    Some(Subnet {
        subnet: gateway.network(),
        gateway: Some(gateway.address()),
    })
}

/// An address, a list of addresses, or an object with `addresses`, `routes` and `dns`.
fn read_assignment((key, value): (&str, Value<'_>)) -> Option<Assignment> {
    let mut assignment = Assignment {
        key: key.to_owned(),
        addresses: Vec::new(),
        routes: Vec::new(),
        dns: None,
    };
    match value.json() {
        Json::Null => return None,
        Json::String(_) => assignment.addresses.extend(read_address(&value)),
        Json::Array(_) => {
            assignment.addresses = value.items().iter().filter_map(read_address).collect();
        }
        Json::Object(_) | Json::Bool(_) | Json::Number(_) => {
            let entry = value.object()?;
            if entry.get("address").is_some() {
                assignment.addresses.extend(read_entry(&value));
            } else {
                assignment.addresses = entry
                    .items("addresses")
                    .iter()
                    .filter_map(read_address)
                    .collect();
            }
            assignment.routes = masked(read_routes(&entry));
            assignment.dns = entry.object("dns").map(|dns| Dns::read(&dns));
        }
    }
    Some(assignment)
}

fn read_address(item: &Value<'_>) -> Option<Wanted> {
    if matches!(item.json(), Json::String(_)) {
        let (address, prefix) = item.parse_with(parse_wanted)?;
        return Some(Wanted {
            place: item.path().to_owned(),
            address,
            prefix,
            gateway: None,
        });
    }
    read_entry(item)
}

/// The kernel refuses an IPv4 route whose destination has host bits.
fn masked(routes: Vec<Route>) -> Vec<Route> {
    let mask = |route: Route| Route {
        dst: route.dst.network(),
        ..route
    };
    routes.into_iter().map(mask).collect()
}

/// The addresses or gateways of a comma-separated list in `CNI_ARGS`.
pub(crate) fn read_list(args: &CniArgs, key: &str) -> Result<Vec<Wanted>, crate::assign::Fault> {
    let place = format!("CNI_ARGS: {key}");
    args.get(key)
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(|text| match parse_wanted(text) {
            Ok((address, prefix)) => Ok(Wanted {
                place: place.clone(),
                address,
                prefix,
                gateway: None,
            }),
            Err(invalid) => Err(crate::assign::Fault {
                code: Code::Environment,
                text: format!("{place}: {invalid}"),
            }),
        })
        .collect()
}
