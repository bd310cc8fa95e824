//! What the firewall has of an attachment: the rules of `ipMasq`, and the guard of `macspoofchk` and `ipspoofchk`.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Mac};
use cni_common::error::Error;
use cni_common::ident::{IfName, NetworkName};
use cni_common::log;
use cni_common::owner::Owner;
use cni_common::plugin::{DelCall, GcCall};
use cni_common::undo::Undo;

use crate::config::{Config, SpoofCheck};
use crate::plan::Plan;
use crate::spoof::{self, Guard, Leaving};
use crate::{masq, names, reference};

/// The guard of a port, where one is configured. Before the addresses are known it lets none pass but those of a
/// DHCP client.
pub(crate) fn guard_of(
    config: &Config,
    port: &IfName,
    mac: Option<Mac>,
    plan: Option<&Plan>,
) -> Option<Guard> {
    let addresses = match config.spoof_check {
        SpoofCheck::Off => return None,
        SpoofCheck::Mac => None,
        SpoofCheck::Ip => Some(
            plan.iter()
                .flat_map(|plan| plan.addresses())
                .map(Cidr::address),
        ),
    };
    Some(Guard {
        port: port.clone(),
        mac: mac?,
        addresses: addresses.map(Iterator::collect),
    })
}

/// Pushes the removal of the guard; to be called before the link is made, so that it is undone after the link.
pub(crate) fn undo_guard(config: &Config, owner: &Owner, undo: &mut Undo<'_>) {
    if config.spoof_check == SpoofCheck::Off {
        return;
    }
    let owner = owner.clone();
    undo.push("remove the guard of the port", move || {
        spoof::release(&Leaving::Of(&owner, None))
    });
}

/// Removes what guards a port for those who had its name before: a container that vanished without DEL leaves it, and it would
/// cut this one off, or let it send as that one. To be called once the port is this owner's, and before it is guarded.
pub(crate) fn take_over(config: &Config, owner: &Owner, port: &IfName) -> Result<(), Error> {
    let asked = config.spoof_check != SpoofCheck::Off;
    needed(asked, spoof::take_over(owner, port))
}

/// Removes what there is of an attachment, with no need for its result. `guarded` is whether its port was, whatever the
/// configuration says by now: what stays would cut off the next container under that name.
pub(crate) fn remove(call: &DelCall<Config>, guarded: bool) -> Result<(), Error> {
    let owner = call.owner();
    let mut outcome = Ok(());
    if call.config.masquerade || masq::is_kept(&owner) {
        let addresses = recorded_addresses(call);
        outcome = masq::remove(&owner, &addresses);
        if !is_made_by_us(call, &owner) {
            outcome = outcome.and(reference::remove_masquerade(&owner, &addresses));
        }
    }
    if guarded || call.config.checks_spoofing() {
        let expected = expected_guard(call, &owner);
        let leaving = Leaving::Of(&owner, expected.as_ref());
        outcome = outcome.and(spoof::release(&leaving));
        if !is_made_by_us(call, &owner) {
            outcome = outcome.and(reference::remove_spoof_check(&owner));
        }
    }
    outcome
}

/// Whether the result of the ADD, where there is one, tells that this plugin made the attachment.
fn is_made_by_us(call: &DelCall<Config>, owner: &Owner) -> bool {
    let ours = names::host_name(owner).ok();
    call.previous.as_ref().is_some_and(|previous| {
        let mut all = previous.interfaces.iter();
        all.any(|interface| {
            ours.as_ref()
                .is_some_and(|ours| interface.name == ours.as_str())
        })
    })
}

fn recorded_addresses(call: &DelCall<Config>) -> Vec<IpAddr> {
    let previous = call.previous.iter();
    previous
        .flat_map(|previous| masquerade::inside::addresses(previous, &call.ifname))
        .map(Cidr::address)
        .collect()
}

/// The guard that the result of the ADD leads to expect.
fn expected_guard(call: &DelCall<Config>, owner: &Owner) -> Option<Guard> {
    let inside = call.previous.as_ref()?.interfaces.iter();
    let mac = inside
        .filter(|interface| interface.sandbox.is_some())
        .find(|interface| interface.name == call.ifname.as_str())?
        .mac?;
    let port = match &call.config.host_name {
        Some(name) => name.clone(),
        None => names::host_name(owner).ok()?,
    };
    let guarded = call.config.spoof_check == SpoofCheck::Ip;
    Some(Guard {
        port,
        mac,
        addresses: guarded.then(|| recorded_addresses(call)),
    })
}

/// Removes what there is of stale attachments, whatever the configuration says by now.
pub(crate) fn remove_stale(call: &GcCall<Config>) -> Result<(), Error> {
    let (network, valid): (&NetworkName, _) = (&call.network, call.valid_owners());
    let masquerade = masq::remove_stale(network, &valid);
    let spoof = spoof::release(&Leaving::Stale(network, &valid));
    let config = &call.config;
    needed(config.masquerade, masquerade).and(needed(config.spoof_check != SpoofCheck::Off, spoof))
}

/// The outcome of removing rules. A kernel without nftables has none, which is an error only where some are asked for.
fn needed(asked: bool, outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if !asked => {
            log::debug(format_args!("{error}"));
            Ok(())
        }
        other => other,
    }
}
