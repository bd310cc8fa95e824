//! GC: what belongs to none of the network's valid attachments goes.

use std::collections::BTreeSet;
use std::time::Duration;

use cni_common::attach::ipam;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::plugin::GcCall;

use crate::adopt;
use crate::attach::bridge_name;
use crate::bridge;
use crate::config::Config;
use crate::firewall;
use crate::host_routes;
use crate::names::{self, Mark};
use crate::vlan_gateway;

/// How often a host end without its mark is looked at, and how long after one another. Its ADD marks it within microseconds,
/// but it may have to wait for its turn before: for a processor, or for the kernel's lock behind those of a whole crowd. Looks
/// are counted, and not the time, which goes on while a machine stands still.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Removes the stale attachments, and goes on after a failure; the first one is reported.
pub(crate) fn collect(call: &GcCall<Config>) -> Result<(), Error> {
    let forwarded = ipam::collect(call);
    let rules = firewall::remove_stale(call);
    remove_stale(call)
        .and(rules)
        .step(|| format!("collect the garbage of {}", call.network))
        .and(forwarded)
}

fn remove_stale(call: &GcCall<Config>) -> Result<(), Error> {
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    let valid = call.valid_owners();
    let links = host.links().map_err(Cause::cause)?;
    let configured = bridge_name(&call.config).ok();
    let named = |link: &&Link| configured.is_some_and(|name| link.name == name.as_str());
    let bridge = links.iter().filter(|link| link.is_bridge()).find(named);
    let mut stale: Vec<Link> = links
        .iter()
        .filter(|link| is_stale(call, &valid, link))
        .cloned()
        .collect();
    stale.extend(unmarked(&mut host, &valid, &links, bridge)?);
    for link in &stale {
        log::info(format_args!(
            "{} is stale ({})",
            link.name,
            link.alias.as_deref().unwrap_or("without an owner")
        ));
    }
    // The configuration may have named another bridge when they were made.
    let had: BTreeSet<u32> = stale.iter().filter_map(|link| link.master).collect();
    let is_meant = |link: &&Link| link.is_bridge() && (had.contains(&link.index) || named(link));
    let (adopted, made): (Vec<Link>, Vec<Link>) = stale.into_iter().partition(is_adopted);
    let mut outcome = host.delete_links(&made).map_err(Cause::cause);
    for link in &adopted {
        outcome = outcome.and(adopt::release(&mut host, link));
    }
    for bridge in links.iter().filter(is_meant) {
        outcome = outcome.and(tidy(call, &mut host, bridge));
    }
    outcome
}

/// Removes from a bridge what no attachment needs any more, and the bridge where that is asked for.
fn tidy(call: &GcCall<Config>, host: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    let mut outcome = host_routes::remove_stale(host, bridge, bridge);
    for (carrier, _) in vlan_gateway::all(host, bridge)? {
        outcome = outcome.and(host_routes::remove_stale(host, &carrier, bridge));
    }
    outcome = outcome.and(vlan_gateway::remove_all_unused(host, bridge));
    if call.config.remove_empty
        && let Ok(name) = IfName::parse(&bridge.name)
    {
        outcome = outcome.and(bridge::remove_if_empty(host, &name, &call.config));
    }
    outcome
}

fn is_adopted(link: &Link) -> bool {
    let mark = link.alias.as_deref().and_then(Mark::parse);
    mark.is_some_and(|mark| mark.adopted)
}

/// Whether a link is marked as of this network, and its owner is not valid.
fn is_stale(call: &GcCall<Config>, valid: &BTreeSet<u64>, link: &Link) -> bool {
    let mark = link.alias.as_deref().and_then(Mark::parse);
    mark.is_some_and(|mark| {
        (link.is_veth() || mark.adopted)
            && mark.is_of_network(&call.network)
            && !valid.contains(&mark.hash())
    })
}

/// The host ends on our bridge whose ADD crashed before it marked them, and which are no valid attachment's.
fn unmarked(
    host: &mut Rtnl,
    valid: &BTreeSet<u64>,
    links: &[Link],
    bridge: Option<&Link>,
) -> Result<Vec<Link>, Error> {
    let Some(bridge) = bridge else {
        return Ok(Vec::new());
    };
    let living: BTreeSet<String> = valid
        .iter()
        .map(|hash| names::host_name_of(*hash))
        .collect();
    let mut suspects: Vec<Link> = links
        .iter()
        .filter(|link| {
            link.is_veth()
                && link.alias.is_none()
                && link.master == Some(bridge.index)
                && link.group == names::HALF_MADE
                && !living.contains(&link.name)
        })
        .cloned()
        .collect();
    // One of another network on the same bridge may be in the making.
    for _ in 0..LOOKS {
        if suspects.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        let mut left = Vec::new();
        for suspect in suspects {
            let again = host.link_by_index(suspect.index).map_err(Cause::cause)?;
            left.extend(again.filter(|link| link.group == names::HALF_MADE));
        }
        suspects = left;
    }
    Ok(suspects)
}
