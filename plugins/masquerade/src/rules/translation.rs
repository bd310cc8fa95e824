//! Which addresses are translated to which.

use core::net::{IpAddr, Ipv4Addr};

use cni_common::addr::{Cidr, Family};
use cni_common::nft::{Is, NatFlags, NatTo, Place, Statement};

use super::group::{Group, iif, multicast, oif};
use super::{DSTNAT, POSTROUTING, PREROUTING, Subnet};

pub(super) fn add(group: &mut Group<'_>) {
    if group.config.translates(group.family) {
        for source in group.translated() {
            let mut statements = leaving(group, &source);
            statements.push(to_outside(group));
            group.first(POSTROUTING, statements);
        }
    }
    let publishes = group.config.publishes(group.family);
    if let Some(prefix) = group.config.to_prefix(group.family) {
        towards_prefix(group, prefix);
    }
    if publishes || group.config.to_prefix(group.family).is_some() {
        way_round(group);
    }
    if publishes && group.family == Family::V4 {
        localhost(group);
    }
}

/// What sources become.
fn to_outside(group: &Group<'_>) -> Statement {
    let flags = group.config.nat_flags;
    match group.config.to_source(group.family) {
        // One to one: nothing is chosen.
        Some(NatTo::Prefix(prefix)) => Statement::Snat(NatTo::Prefix(prefix), NatFlags::default()),
        Some(to) => Statement::Snat(to, flags),
        None => Statement::Masquerade(flags),
    }
}

/// What a source of the network sends to where it is translated. A frame that is only bridged leaves by the interface of
/// the network and keeps its source.
pub(super) fn leaving(group: &Group<'_>, source: &Place) -> Vec<Statement> {
    let config = group.config;
    let mut statements = Vec::new();
    if let Some(in_interface) = &config.in_interface {
        let name = in_interface.as_str().to_owned();
        statements.push(Statement::InInterface(Is::Equal, name));
    }
    let inside = group.interface();
    let mut away = inside.filter(|_| !config.within_subnet);
    if let Some(out) = &config.out_interface {
        let name = out.as_str().to_owned();
        statements.push(Statement::OutInterface(Is::Equal, name));
        away = away.filter(|inside| out.includes(inside));
    }
    statements.extend(away.map(|inside| oif(Is::Not, &inside)));
    statements.push(Statement::Source(Is::Equal, source.clone()));
    let within = group.within.iter().filter(|_| !config.within_subnet);
    let others = multicast(group.family)
        .into_iter()
        .chain(config.excluded(group.family));
    let kept = within.cloned().chain(others.map(Place::Net));
    statements.extend(kept.map(|place| Statement::Destination(Is::Not, place)));
    statements
}

/// The subnet as the outside sees it.
fn seen_as(subnet: Cidr, prefix: Cidr) -> Option<Cidr> {
    let bits = u32::from(prefix.prefix());
    let address = match (prefix.network().address(), subnet.network().address()) {
        (IpAddr::V4(new), IpAddr::V4(old)) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            IpAddr::V4((u32::from(new) | u32::from(old) & host).into())
        }
        (IpAddr::V6(new), IpAddr::V6(old)) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            IpAddr::V6((u128::from(new) | u128::from(old) & host).into())
        }
        _ => return None,
    };
    Cidr::new(address, subnet.prefix())
}

/// The other direction of a prefix: what is for an address as the outside sees it goes to the one behind it.
fn towards_prefix(group: &mut Group<'_>, prefix: Cidr) {
    let own = match group.subnet {
        Subnet::Of(subnet) => Some(subnet),
        Subnet::None(_) => None,
    };
    let behind: Vec<Cidr> = group.config.sources(group.family).collect();
    for subnet in own.into_iter().chain(behind) {
        let Some(seen) = seen_as(subnet, prefix) else {
            continue;
        };
        let mut statements = Vec::new();
        if let Some(out) = &group.config.out_interface {
            let name = out.as_str().to_owned();
            statements.push(Statement::InInterface(Is::Equal, name));
        }
        statements.push(Statement::Destination(Is::Equal, Place::Net(seen)));
        statements.push(Statement::Dnat(NatTo::Prefix(subnet)));
        group.first(DSTNAT, statements);
    }
}

/// What one container sends to another by way of an address of the host has to come back that way.
fn way_round(group: &mut Group<'_>) {
    let Some(inside) = group.interface() else {
        return;
    };
    let to = match group.config.to_prefix(group.family) {
        Some(prefix) => Statement::Snat(NatTo::Prefix(prefix), NatFlags::default()),
        None => Statement::Masquerade(NatFlags::default()),
    };
    for source in group.within.clone() {
        let statements = vec![
            oif(Is::Equal, &inside),
            Statement::Redirected(Is::Equal),
            Statement::Source(Is::Equal, source),
            Statement::Destination(Is::Equal, group.containers.clone()),
            to.clone(),
        ];
        group.first(POSTROUTING, statements);
    }
}

/// What a process of the host sends to a port published at 127.0.0.1 gets the address of the host's interface to the
/// network. That the kernel forwards it (`route_localnet`) opens no way from the network to the host's 127.0.0.0/8.
fn localhost(group: &mut Group<'_>) {
    let Some(inside) = group.interface() else {
        return;
    };
    let Some(loopback) = Cidr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8) else {
        return;
    };
    let statements = vec![
        oif(Is::Equal, &inside),
        Statement::Source(Is::Equal, Place::Net(loopback)),
        Statement::Destination(Is::Equal, group.containers.clone()),
        Statement::Masquerade(NatFlags::default()),
    ];
    group.first(POSTROUTING, statements);
    for end in [Statement::Source, Statement::Destination] {
        let statements = vec![
            iif(Is::Equal, &inside),
            end(Is::Equal, Place::Net(loopback)),
            Statement::Counter,
            Statement::Drop,
        ];
        group.first(PREROUTING, statements);
    }
}
