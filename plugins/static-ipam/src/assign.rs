//! Which of the addresses asked for a container gets.
//!
//! From the weakest source to the strongest: the network's `addresses`, to which `IP` of `CNI_ARGS` is added;
//! the container's entry of `assignments`, which replaces `addresses`, and which `IP` replaces; `args.cni.ips`
//! and the capability `ips`, which replace all before them.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::args::CniArgs;
use cni_common::code::Code;
use cni_common::ident::ContainerId;
use cni_common::result::{Attachment, IpConfig, Route};

use crate::config::{Assignment, Keys, Subnet, Wanted, read_list};

/// `RT_SCOPE_LINK` (linux/rtnetlink.h).
const SCOPE_LINK: u8 = 253;

/// Something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Code 4 for `CNI_ARGS`, else 7.
    pub(crate) code: Code,
    /// Where it lies, the value, and what is allowed.
    pub(crate) text: String,
}

impl Fault {
    fn config(text: impl Into<String>) -> Self {
        Self {
            code: Code::InvalidConfig,
            text: text.into(),
        }
    }

    /// A fault of an address: of `CNI_ARGS` when it was asked for there.
    fn at(wanted: &Wanted, text: impl core::fmt::Display) -> Self {
        let code = if wanted.place.starts_with("CNI_ARGS") {
            Code::Environment
        } else {
            Code::InvalidConfig
        };
        Self {
            code,
            text: format!("{}: {text}", wanted.place),
        }
    }
}

/// Works out what the container gets.
///
/// # Errors
/// All faults found.
pub(crate) fn assign(
    keys: &Keys,
    args: &CniArgs,
    container: &ContainerId,
) -> Result<Attachment, Vec<Fault>> {
    let one = |fault| vec![fault];
    let assignment = find_assignment(keys, args, container).map_err(one)?;
    let asked = read_list(args, "IP").map_err(one)?;
    let gateways = read_list(args, "GATEWAY").map_err(one)?;
    let chosen = choose(keys, assignment, asked);

    let told = told_subnets(keys);
    let mut faults = Vec::new();
    let mut ips: Vec<IpConfig> = Vec::new();
    for wanted in &chosen {
        match complete(wanted, &keys.subnets, &told) {
            Ok(ip) => faults.extend(add(&mut ips, ip, wanted)),
            Err(fault) => faults.push(fault),
        }
    }
    for gateway in &gateways {
        faults.extend(set_gateway(&mut ips, gateway));
    }
    let mut routes = keys.routes.clone();
    for route in assignment
        .into_iter()
        .flat_map(|assignment| &assignment.routes)
    {
        if !routes.contains(route) {
            routes.push(route.clone());
        }
    }
    faults.extend(ips.iter().filter_map(|ip| check_gateway(ip, &ips, &routes)));
    if !faults.is_empty() {
        return Err(faults);
    }
    let dns = assignment.and_then(|assignment| assignment.dns.clone());
    Ok(Attachment {
        ips,
        routes,
        dns: dns.unwrap_or_else(|| keys.dns.clone()),
        ..Attachment::default()
    })
}

/// The container's entry of `assignments`.
fn find_assignment<'a>(
    keys: &'a Keys,
    args: &CniArgs,
    container: &ContainerId,
) -> Result<Option<&'a Assignment>, Fault> {
    let names = names(args, container);
    let mut matching = keys.assignments.iter().filter(|assignment| {
        let by_argument = assignment
            .key
            .split_once('=')
            .is_some_and(|(key, value)| args.get(key) == Some(value));
        by_argument || names.contains(&assignment.key)
    });
    let (first, second) = (matching.next(), matching.next());
    if let (Some(first), Some(second)) = (first, second) {
        return Err(Fault::config(format!(
            "ipam.assignments: both {:?} and {:?} match this container; one must",
            first.key, second.key
        )));
    }
    if first.is_none() && keys.assignments_only {
        return Err(Fault::config(format!(
            "ipam.assignmentsOnly: none of the assignments is for {}",
            names.join(" or ")
        )));
    }
    Ok(first)
}

/// The names under which a container may stand in `assignments`.
fn names(args: &CniArgs, container: &ContainerId) -> Vec<String> {
    let mut names = vec![container.to_string()];
    if let Some(pod) = args.get("K8S_POD_NAME") {
        names.push(pod.to_owned());
        names.extend(
            args.get("K8S_POD_NAMESPACE")
                .map(|namespace| format!("{namespace}/{pod}")),
        );
    }
    names
}

/// The addresses of the strongest source.
fn choose(keys: &Keys, assignment: Option<&Assignment>, asked: Vec<Wanted>) -> Vec<Wanted> {
    if !keys.capability_ips.is_empty() {
        return keys.capability_ips.clone();
    }
    if !keys.args_ips.is_empty() {
        return keys.args_ips.clone();
    }
    match assignment {
        Some(assignment) if asked.is_empty() => assignment.addresses.clone(),
        Some(_) => asked,
        None => keys.addresses.iter().cloned().chain(asked).collect(),
    }
}

/// The subnets that the configuration's addresses tell.
fn told_subnets(keys: &Keys) -> Vec<Subnet> {
    let of_assignments = keys
        .assignments
        .iter()
        .flat_map(|assignment| &assignment.addresses);
    let told = keys.addresses.iter().chain(of_assignments);
    told.filter_map(|wanted| {
        let subnet = Cidr::new(wanted.address, wanted.prefix?)?.network();
        let gateway = wanted.gateway.filter(|gateway| subnet.contains(*gateway));
        Some(Subnet { subnet, gateway })
    })
    .collect()
}

/// Gives a bare address the prefix length of the smallest subnet it is in, and an address without a gateway the
/// one that `subnets` declares. An address that replaces or joins those of the configuration also gets the
/// gateway that they have in its subnet; one that the configuration lists is complete as it stands.
fn complete(wanted: &Wanted, declared: &[Subnet], told: &[Subnet]) -> Result<IpConfig, Fault> {
    let prefix = wanted.prefix.or_else(|| {
        let all = declared.iter().chain(told);
        all.filter(|subnet| subnet.subnet.contains(wanted.address))
            .map(|subnet| subnet.subnet.prefix())
            .max()
    });
    let Some(address) = prefix.and_then(|prefix| Cidr::new(wanted.address, prefix)) else {
        return Err(Fault::at(
            wanted,
            format_args!(
                "\"{}\" has no prefix length and is in no subnet that ipam.subnets, ipam.addresses or \
                 ipam.assignments tells; write it as {}/PREFIX",
                wanted.address, wanted.address
            ),
        ));
    };
    if let Some(reason) = address.unusable() {
        return Err(Fault::at(wanted, format_args!("\"{address}\" {reason}")));
    }
    let listed = wanted.place.starts_with("ipam.");
    let told = if listed { &[] } else { told };
    let configured = || {
        let mut all = declared.iter().chain(told);
        all.find_map(|subnet| {
            let gateway = subnet.gateway?;
            (subnet.subnet == address.network() && gateway != wanted.address).then_some(gateway)
        })
    };
    Ok(IpConfig {
        interface: None,
        address,
        gateway: wanted.gateway.or_else(configured),
    })
}

/// Adds an address; the same one from two sources counts once.
fn add(ips: &mut Vec<IpConfig>, ip: IpConfig, wanted: &Wanted) -> Option<Fault> {
    let same = ips
        .iter_mut()
        .find(|other| other.address.address() == ip.address.address());
    match same {
        None => {
            ips.push(ip);
            None
        }
        Some(other) if other.address == ip.address => {
            other.gateway = other.gateway.or(ip.gateway);
            None
        }
        Some(other) => Some(Fault::at(
            wanted,
            format_args!("\"{}\" is given as {} as well", ip.address, other.address),
        )),
    }
}

/// Sets a gateway of `CNI_ARGS` on every address whose subnet holds it.
fn set_gateway(ips: &mut [IpConfig], gateway: &Wanted) -> Option<Fault> {
    let mut found = false;
    for ip in ips {
        if ip.address.contains(gateway.address) {
            ip.gateway = Some(gateway.address);
            found = true;
        }
    }
    (!found).then(|| {
        Fault::at(
            gateway,
            format_args!(
                "\"{}\" is in the subnet of none of the addresses",
                gateway.address
            ),
        )
    })
}

/// Refuses a gateway that is the container itself, or that it cannot reach.
fn check_gateway(ip: &IpConfig, ips: &[IpConfig], routes: &[Route]) -> Option<Fault> {
    let gateway = ip.gateway?;
    if ips.iter().any(|other| other.address.address() == gateway) {
        return Some(Fault::config(format!(
            "gateway \"{gateway}\" of {} is the container's own address",
            ip.address
        )));
    }
    let link_local = match gateway {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let on_link = ips.iter().any(|other| other.address.contains(gateway))
        || routes.iter().any(|route| is_on_link(route, gateway))
        || (link_local && Family::of(gateway) == Family::V6);
    (!on_link).then(|| {
        Fault::config(format!(
            "gateway \"{gateway}\" of {} is in no subnet of the container; a route to it with scope {SCOPE_LINK} would reach it",
            ip.address
        ))
    })
}

fn is_on_link(route: &Route, gateway: IpAddr) -> bool {
    route.gw.is_none() && route.scope == Some(SCOPE_LINK) && route.dst.contains(gateway)
}

#[cfg(test)]
#[path = "assign_tests.rs"]
mod tests;
