//! What may pass the host, what it is made to say, and what is counted.

use cni_common::ident::IfName;
use cni_common::nft::{Is, Place, Statement};

use super::group::{Group, iif, oif};
use super::{FORWARD, ISOLATED, Inside, MANGLE, NETWORKS, translation};
use crate::config::allow::Allow;
use crate::config::{Forward, Ingress, Mss};

pub(super) fn add(group: &mut Group<'_>) {
    count(group);
    clamp(group);
    for allow in &group.config.allow {
        allowed(group, allow);
    }
    if group.config.forward != Forward::Open {
        for destination in group.within.clone() {
            guard(group, &destination);
        }
        keep_prefix_closed(group);
    }
    if group.config.translates(group.family) && group.config.drop_invalid {
        untranslatable(group);
    }
    if let Inside::Interface(inside) = group.inside {
        isolation(group, inside);
    }
}

/// What the network and each attachment send and receive. Its own chain, since nothing that `forward` accepts may miss it.
fn count(group: &mut Group<'_>) {
    if !group.config.counters {
        return;
    }
    let inside = group.interface();
    for place in group.translated() {
        let mut sent = Vec::new();
        let mut received = Vec::new();
        if let Some(inside) = &inside {
            sent.push(iif(Is::Equal, inside));
            received.push(oif(Is::Equal, inside));
        }
        sent.push(Statement::Source(Is::Equal, place.clone()));
        received.push(Statement::Destination(Is::Equal, place));
        for mut statements in [received, sent] {
            statements.push(Statement::Counter);
            group.first(MANGLE, statements);
        }
    }
}

/// Both ends of a connection announce how large a segment they take.
fn clamp(group: &mut Group<'_>) {
    let Some(size) = group.config.clamp_mss else {
        return;
    };
    let bytes = match size {
        Mss::OfRoute => None,
        Mss::Bytes(bytes) => Some(bytes),
    };
    for place in group.translated() {
        for end in [Statement::Source, Statement::Destination] {
            // The set is looked into last, so that its elements count no other packet twice.
            let statements = vec![
                Statement::TcpSyn,
                end(Is::Equal, place.clone()),
                Statement::ClampMss(bytes),
            ];
            group.first(MANGLE, statements);
        }
    }
}

/// One rule for each combination of what an exception names.
fn allowed(group: &mut Group<'_>, allow: &Allow) {
    if !allow.is_for(group.family) {
        return;
    }
    let family = group.family;
    let of_family = |list: &[cni_common::addr::Cidr]| -> Vec<Place> {
        let nets = list.iter().filter(|cidr| cidr.family() == family);
        nets.copied().map(Place::Net).collect()
    };
    let from = match of_family(&allow.from) {
        from if from.is_empty() => vec![None],
        from => from.into_iter().map(Some).collect(),
    };
    let to = match of_family(&allow.to) {
        to if to.is_empty() => group.within.clone(),
        to => to,
    };
    let over = match allow.protocol {
        None => vec![None],
        Some(protocol) if allow.ports.is_empty() => {
            vec![Some(Statement::Transport(protocol.number(family)))]
        }
        Some(protocol) => {
            let number = protocol.number(family);
            let ports = allow.ports.iter();
            let each = ports.map(|(first, last)| Some(Statement::Port(number, *first, *last)));
            each.collect()
        }
    };
    for source in &from {
        for destination in &to {
            for transport in &over {
                let mut statements = Vec::new();
                if let Some(by) = &allow.in_interface {
                    let name = by.as_str().to_owned();
                    statements.push(Statement::InInterface(Is::Equal, name));
                }
                statements.extend(group.interface().map(|inside| oif(Is::Equal, &inside)));
                statements.extend(source.clone().map(|net| Statement::Source(Is::Equal, net)));
                statements.push(Statement::Destination(Is::Equal, destination.clone()));
                statements.extend(transport.clone());
                statements.push(Statement::Counter);
                statements.push(Statement::Accept);
                group.first(FORWARD, statements);
            }
        }
    }
}

/// From outside the network, towards it.
fn coming_in(group: &Group<'_>) -> Vec<Statement> {
    match group.inside {
        Inside::Interface(inside) => vec![iif(Is::Not, inside), oif(Is::Equal, inside)],
        Inside::Addresses => {
            let places = group.within.iter().cloned();
            places
                .map(|place| Statement::Source(Is::Not, place))
                .collect()
        }
    }
}

/// What comes from outside is dropped unless the network began it, or a published port led to it. Bridged frames have the
/// same interface on both sides, and packets within the network come from it.
fn guard(group: &mut Group<'_>, destination: &Place) {
    let mut statements = coming_in(group);
    statements.extend([
        Statement::Destination(Is::Equal, destination.clone()),
        Statement::Established(Is::Not),
        Statement::Redirected(Is::Not),
        Statement::Counter,
        Statement::Drop,
    ]);
    group.last(FORWARD, statements);
}

/// A prefix that the outside sees is no published port: its destination is translated too, but it lets nobody in.
fn keep_prefix_closed(group: &mut Group<'_>) {
    let Some(prefix) = group.config.to_prefix(group.family) else {
        return;
    };
    let mut statements = coming_in(group);
    statements.extend([
        Statement::Established(Is::Not),
        Statement::OriginalDestination(prefix),
        Statement::Counter,
        Statement::Drop,
    ]);
    group.last(FORWARD, statements);
}

/// What connection tracking can make nothing of is not translated: it would leave with the container's address.
fn untranslatable(group: &mut Group<'_>) {
    // Without an interface nothing tells such a packet from a frame that is only bridged.
    let Some(inside) = group.interface() else {
        return;
    };
    for source in group.translated() {
        let mut statements = vec![iif(Is::Equal, &inside), Statement::Invalid];
        let leaving = translation::leaving(group, &source);
        let by_itself = leaving.contains(&oif(Is::Not, &inside));
        statements.extend(leaving);
        if !by_itself {
            statements.push(oif(Is::Not, &inside));
        }
        statements.extend([Statement::Counter, Statement::Drop]);
        group.last(FORWARD, statements);
    }
}

/// Which networks reach which. A network names itself in the chains that others jump to.
fn isolation(group: &mut Group<'_>, inside: &IfName) {
    let config = group.config;
    let away = |mut more: Vec<Statement>, chain: &str| {
        let mut statements = vec![iif(Is::Equal, inside), oif(Is::Not, inside)];
        statements.append(&mut more);
        statements.push(Statement::Jump(chain.to_owned()));
        statements
    };
    let towards = vec![oif(Is::Equal, inside), Statement::Counter, Statement::Drop];
    let among = |mut more: Vec<Statement>| {
        let mut statements = vec![iif(Is::Equal, inside), oif(Is::Equal, inside)];
        statements.append(&mut more);
        statements.extend([Statement::Counter, Statement::Drop]);
        statements
    };
    // Replies, and what a published port led to, pass.
    let unasked = || {
        vec![
            Statement::Established(Is::Not),
            Statement::Redirected(Is::Not),
        ]
    };
    group.in_chain(NETWORKS, towards.clone());
    if config.forward == Forward::Isolated {
        group.last(FORWARD, away(unasked(), NETWORKS));
    }
    if config.ingress != Ingress::Open {
        let replies = if config.allow.is_empty() {
            Vec::new()
        } else {
            vec![Statement::Established(Is::Not)]
        };
        group.last(FORWARD, away(replies, ISOLATED));
        group.in_chain(ISOLATED, towards);
    }
    if config.ingress == Ingress::Isolated {
        group.last(FORWARD, among(Vec::new()));
    } else if config.isolate_containers {
        group.last(FORWARD, among(unasked()));
    }
}
