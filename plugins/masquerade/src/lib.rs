//! `masquerade`: source NAT and forwarding for a container network.
//!
//! Chained behind a plugin that gives a container its addresses. It works on the host alone: what it needs to
//! know is in the previous result, and what it made carries its owner, so that DEL and GC need nothing.
#![forbid(unsafe_code)]

mod accepts;
pub mod apply;
pub mod backend;
pub mod check;
pub mod config;
#[cfg(test)]
mod corpus_tests;
mod firewalld;
pub mod forwarding;
pub mod inside;
pub mod kept;
mod legacy;
pub mod publish;
mod reference;
pub mod release;
pub mod reload;
pub mod restore;
pub mod rules;
pub mod state;
pub mod sysctls;

use core::net::IpAddr;
use std::collections::BTreeSet;

use cni_common::addr::{Cidr, Family};
use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::ident::NetworkName;
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::nft::{Element, Nft};
use cni_common::owner::Tag;
use cni_common::plugin::{About, Call, DelCall, GcCall, NetnsUse, Plugin, StatusCall};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

pub use crate::legacy::remove_reference;

use crate::config::{Config, Forward, Ingress};
use crate::kept::Keeper;
use crate::rules::{Inside, Plan};
use crate::state::Maker;

/// The plugin.
#[derive(Debug)]
pub struct Masquerade;

impl Plugin for Masquerade {
    type Config = Config;
    const ABOUT: About = About {
        name: "masquerade",
        release: env!("CARGO_PKG_VERSION"),
        versions: SpecVersion::V0_1_0..=SpecVersion::V1_1_0,
    };
    const NETNS: NetnsUse = NetnsUse::Ignored;

    fn add(&self, call: &Call<Config>) -> Result<Attachment, Error> {
        let previous = call.required_previous()?;
        let addresses = inside::addresses(previous, &call.ifname);
        if !addresses.is_empty() {
            let plan = plan(&call.network, &call.config, previous, &addresses)?;
            publish::warn(&call.config, &addresses);
            let (owner, given) = (call.owner(), call.configuration());
            keeper(&call.config).attach(&owner, &call.config, &plan, given)?;
        } else if !previous.ips.is_empty() {
            let ifname = &call.ifname;
            log::warning(format_args!(
                "prevResult: {ifname} has no address: nothing to do"
            ));
        }
        Ok(previous.clone())
    }

    fn check(&self, call: &Call<Config>) -> Result<(), Error> {
        let previous = call.required_previous()?;
        let addresses = inside::addresses(previous, &call.ifname);
        if addresses.is_empty() {
            return Ok(());
        }
        let plan = plan(&call.network, &call.config, previous, &addresses)?;
        let families: Vec<Family> = plan.families().collect();
        let sysctls = sysctls::wanted(&call.config, &families, &plan.inside);
        backend::check(&call.config, &plan, &call.owner(), &sysctls)
    }

    fn del(&self, call: &DelCall<Config>) -> Result<(), Error> {
        let addresses: Vec<IpAddr> = call
            .previous
            .iter()
            .flat_map(|previous| inside::addresses(previous, &call.ifname))
            .map(Cidr::address)
            .collect();
        let detached = keeper(&call.config).detach(&call.config, &call.owner(), &addresses);
        if call.config.stands_in && !addresses.is_empty() {
            return detached.and(backend::remove_reference(&addresses));
        }
        detached
    }

    fn status(&self, call: &StatusCall<Config>) -> Result<(), Error> {
        backend::is_usable(call.config.backend)
            .map_err(|error| error.with_code(Code::NotAvailable))?;
        restore::status(&keeper(&call.config).some_of_network(&call.network, restore::SAMPLE)?)
    }

    fn gc(&self, call: &GcCall<Config>) -> Result<(), Error> {
        keeper(&call.config).collect(&call.config, &call.network, &call.valid_owners())
    }
}

fn keeper(config: &Config) -> Keeper<'_> {
    Keeper {
        maker: Maker::Masquerade,
        directory: config.data_dir.as_deref(),
    }
}

/// Whether an element is of ours and its owner is not valid. What somebody else put into a set stays.
pub fn is_stale(element: &Element, valid: &BTreeSet<u64>) -> bool {
    let tag = element.comment.as_deref().and_then(Tag::parse);
    tag.is_some_and(|tag| !valid.contains(&tag.hash))
}

/// Opens the nftables of the calling thread's network namespace.
pub fn open() -> Result<Nft, Error> {
    Nft::open().step(|| "open nftables")
}

fn plan(
    network: &NetworkName,
    config: &Config,
    previous: &Attachment,
    addresses: &[Cidr],
) -> Result<Plan, Error> {
    check_families(config, addresses)?;
    let mut rtnl = Rtnl::open().step(|| "find the bridge")?;
    let inside = inside::find(&mut rtnl, previous, addresses)?;
    check_interfaces(config, &inside)?;
    check_prefixes(config, addresses)?;
    check_ingress(config.ingress, &inside)?;
    Ok(rules::plan(network, config, &inside, addresses))
}

/// Refuses what could have no effect for these addresses.
fn check_families(config: &Config, addresses: &[Cidr]) -> Result<(), Error> {
    let has = |family: Family| addresses.iter().any(|address| address.family() == family);
    let to_source = &config.to_source;
    if let Some(useless) = to_source.first()
        && !to_source.iter().any(|to| has(to.family()))
    {
        let family = useless.family();
        let shown = useless.to_string();
        let shown = shown.strip_prefix("to ").unwrap_or(&shown);
        return Err(Error::new(
            Code::InvalidConfig,
            format!("toSource: {shown} is an {family} address, and the container has none"),
        ));
    }
    for source in config.sources.iter().filter(|s| !has(s.family())) {
        log::info(format_args!(
            "sources: {source} waits for a container that has an {} address",
            source.family()
        ));
    }
    Ok(())
}

fn check_interfaces(config: &Config, inside: &Inside) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::new(Code::InvalidConfig, text));
    let Inside::Interface(inside) = inside else {
        let key = match config {
            Config {
                isolate_containers: true,
                ..
            } => "isolateContainers",
            Config {
                forward: Forward::Isolated,
                ..
            } => "forward: \"isolated\"",
            _ => return Ok(()),
        };
        return wrong(format!(
            "{key}: the host has no interface to the containers by which their network could be told"
        ));
    };
    match &config.out_interface {
        Some(out) if out.is(inside) && !config.within_subnet => wrong(format!(
            "outInterface: {out} is the interface to the containers themselves"
        )),
        _ => Ok(()),
    }
}

/// A prefix has to have room for all subnets that it stands for, and what is translated one to one must have one.
fn check_prefixes(config: &Config, addresses: &[Cidr]) -> Result<(), Error> {
    for prefix in &config.to_prefix {
        let family = prefix.family();
        let own = addresses.iter().map(|address| address.network());
        let all = own.chain(config.sources(family));
        for subnet in all.filter(|subnet| subnet.family() == family) {
            let reason = if subnet.prefix() == family.bits() {
                "is a single address, of which the other direction cannot be told"
            } else if subnet.prefix() < prefix.prefix() {
                "is larger"
            } else if config.to_source.iter().any(|to| to.family() == family) {
                "has a toSource as well"
            } else {
                continue;
            };
            return Err(Error::new(
                Code::InvalidConfig,
                format!("toPrefix: {prefix} cannot stand for {subnet}, which {reason}"),
            ));
        }
    }
    Ok(())
}

fn check_ingress(ingress: Ingress, inside: &Inside) -> Result<(), Error> {
    if *inside == Inside::Addresses && ingress != Ingress::Open {
        return Err(Error::new(
            Code::InvalidConfig,
            "ingressPolicy: the host has no interface to the containers by which their network could be told: \
             only \"open\" is possible",
        ));
    }
    Ok(())
}
