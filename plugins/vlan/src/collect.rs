//! GC: what belongs to none of the network's valid attachments goes.
//!
//! A link in a container goes with its namespace and cannot be seen from here; what stays behind on the host are the
//! VLAN links that containers share.

use cni_common::attach::ipam;
use cni_common::error::{Cause, Error, Step};
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::plugin::GcCall;

use crate::config::Config;
use crate::lower::Ground;
use crate::names;
use crate::shared::{leave, remove_if_unused};

/// Removes the stale owners of shared links, and goes on after a failure; the first one is reported.
pub(crate) fn collect(call: &GcCall<Config>) -> Result<(), Error> {
    let forwarded = ipam::collect(call);
    remove_stale(call)
        .step(|| format!("collect the garbage of {}", call.network))
        .and(forwarded)
}

fn remove_stale(call: &GcCall<Config>) -> Result<(), Error> {
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    let valid = call.valid_owners();
    let mut outcome = Ok(());
    for link in host.vlans().map_err(Cause::cause)? {
        if !names::is_ours(&link) {
            continue;
        }
        for (name, tag) in names::owners(&link) {
            if tag.is_of(&call.network) && !valid.contains(&tag.hash) {
                log::info(format_args!("{} on {} is stale", tag, link.name));
                outcome = outcome.and(leave(Ground::HOST, &link, name));
            }
        }
        // One that nobody owns was left by an ADD that crashed; one that is at work makes it anew.
        if names::owners(&link).next().is_none() {
            outcome = outcome.and(remove_if_unused(Ground::HOST, &link));
        }
    }
    outcome
}
