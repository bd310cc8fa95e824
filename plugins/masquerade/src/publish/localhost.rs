//! Whether the kernel forwards what comes from 127.0.0.0/8 to a network (`route_localnet`).
//!
//! It does so as long as a rule drops what comes from that network for 127.0.0.0/8, which is as long as the network has
//! published ports.

use std::collections::{BTreeMap, BTreeSet};

use cni_common::addr::Family;
use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink;
use cni_common::nft::{Element, Is, KeyKind, Nft, Place, Statement};
use cni_common::sysctl::{self, Outcome};

use crate::release::Going;
use crate::rules::{PREROUTING, table};

fn parameter(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}

/// Switches it on.
pub fn open(interface: &IfName) -> Result<(), Error> {
    let name = parameter(interface.as_str());
    let step = || format!("set {name} to 1");
    match sysctl::set(&name, "1").step(step)? {
        Outcome::Changed { .. } | Outcome::Already => Ok(()),
        Outcome::Absent => Err(Error::new(Code::Io, "the kernel does not have it")).step(step),
        Outcome::ReadOnly => Err(Error::new(Code::Io, "it cannot be written")).step(step),
    }
}

/// What is not as [`open`] left it.
pub fn drift(interface: &IfName) -> Result<Option<String>, Error> {
    let name = parameter(interface.as_str());
    let value = sysctl::read(&name).step(|| format!("read {name}"))?;
    if value.as_deref() == Some("1") {
        return Ok(None);
    }
    let found = value.as_deref().unwrap_or("nothing");
    Ok(Some(format!("{name}: expected 1, found {found}")))
}

/// The interfaces behind which ports are published, as rules of ours say, and the sets of the attachments behind each.
fn opened(nft: &mut Nft) -> Result<BTreeMap<String, Vec<String>>, netlink::Error> {
    let mut opened: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in nft.rules(&table(), Some(PREROUTING.name))? {
        let (Some(statements), Some(set)) = (rule.statements, rule.comment) else {
            continue;
        };
        if let [
            Statement::InInterface(Is::Equal, name),
            Statement::Destination(Is::Equal, Place::Net(net)),
            Statement::Counter,
            Statement::Drop,
        ] = statements.as_slice()
            && net.address().is_loopback()
        {
            let sets = opened.entry(name.replace("\\*", "*")).or_default();
            sets.push(set);
        }
    }
    Ok(opened)
}

/// Switches it off where nothing will be published any more once these attachments are gone: first this and then their rules,
/// so that nothing is left open, whenever this process ends. Which interfaces that were.
///
/// # Errors
/// What the kernel refused: then the rules have to stay, by which it is known what is open, and nobody gets in.
pub(super) fn close(nft: &mut Nft, going: &Going<'_>) -> Result<BTreeSet<String>, Error> {
    let step = || "read the firewall";
    let keys = KeyKind::Address(Family::V4);
    let stays = |element: &Element| !element.leaving && !going.includes(element);
    let mut closed = BTreeSet::new();
    for (interface, sets) in opened(nft).step(step)? {
        let mut used = false;
        for set in &sets {
            let some = Nft::some_elements(&table(), set, keys).step(step)?;
            used |= some.iter().any(stays)
                || nft
                    .elements(&table(), set, keys)
                    .step(step)?
                    .iter()
                    .any(stays);
        }
        if !used {
            set_to(&interface, "0")?;
            closed.insert(interface);
        }
    }
    Ok(closed)
}

/// Switches it on again where somebody has come in between.
pub(crate) fn reopen(nft: &mut Nft, closed: &BTreeSet<String>) -> Result<(), Error> {
    if closed.is_empty() {
        return Ok(());
    }
    let opened = opened(nft).step(|| "read the firewall")?;
    for interface in opened.into_keys() {
        if closed.contains(&interface) {
            set_to(&interface, "1")?;
        }
    }
    Ok(())
}

/// An interface that is gone has taken it along.
pub(crate) fn set_to(interface: &str, value: &str) -> Result<(), Error> {
    let name = parameter(interface);
    match sysctl::set(&name, value).step(|| format!("set {name} to {value}"))? {
        Outcome::Changed { .. } | Outcome::Already | Outcome::Absent => {}
        Outcome::ReadOnly => {
            log::warning(format_args!("set {name} to {value}: it cannot be written"));
        }
    }
    Ok(())
}
