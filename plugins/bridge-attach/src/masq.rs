//! `ipMasq`: source NAT for the container's addresses, with the rules of the plugin `masquerade`.

use core::net::IpAddr;

use cni_common::addr::Cidr;
use cni_common::error::{Error, Step};
use cni_common::ident::{IfName, NetworkName};
use cni_common::netlink::link::Link;
use cni_common::nft::Element;
use cni_common::owner::Owner;
use cni_common::undo::Undo;
use masquerade::config::Config;
use masquerade::release::Going;
use masquerade::rules::{self, Inside};

use crate::plan::Plan;

/// What `masquerade` chained after this plugin would be given. Forwarding is `isGateway`'s affair.
fn config() -> Config {
    Config {
        ip_forward: false,
        ..Config::default()
    }
}

fn rules_for(owner: &Owner, inside: &Link, plan: &Plan) -> rules::Plan {
    let inside = match IfName::parse(&inside.name) {
        Ok(name) => Inside::Interface(name),
        Err(_) => Inside::Addresses,
    };
    let addresses: Vec<Cidr> = plan.addresses().collect();
    rules::plan(&owner.network, &config(), &inside, &addresses)
}

/// Translates what the container sends beyond its subnets; `inside` is the host's interface to it.
pub(crate) fn add(
    owner: &Owner,
    inside: &Link,
    plan: &Plan,
    undo: &mut Undo<'_>,
) -> Result<(), Error> {
    masquerade::attach(owner, &config(), &rules_for(owner, inside, plan)).step(|| "ipMasq")?;
    let owner = owner.clone();
    undo.push("remove the masquerade rules", move || remove(&owner, &[]));
    Ok(())
}

/// Removes what [`add`] did for the owner, which probably has these addresses.
pub(crate) fn remove(owner: &Owner, addresses: &[IpAddr]) -> Result<(), Error> {
    let tag = owner.tag();
    masquerade::detach(&owner.network, &Going::Of(&tag, addresses)).step(|| "ipMasq")
}

/// Removes what [`add`] did for attachments of the network that are not among these owners.
pub(crate) fn remove_stale(
    network: &NetworkName,
    valid: &std::collections::BTreeSet<u64>,
) -> Result<(), Error> {
    let is_stale = |element: &Element| masquerade::is_stale(element, valid);
    masquerade::detach(network, &Going::Where(&is_stale)).step(|| "ipMasq")
}

/// Compares the rules with what [`add`] left.
pub(crate) fn check(owner: &Owner, inside: &Link, plan: &Plan) -> Result<(), Error> {
    let mut nft = masquerade::open()?;
    masquerade::check::check(&mut nft, &rules_for(owner, inside, plan), owner, &[])
}
