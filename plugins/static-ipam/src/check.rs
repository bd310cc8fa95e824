//! CHECK: is what was assigned still what the container has?

use core::net::IpAddr;

use cni_common::code::Code;
use cni_common::error::Error;
use cni_common::result::{Attachment, IpConfig};

/// Every address assigned must be in the previous result, with its prefix length, and with its gateway if it was
/// given one. What other plugins added there is theirs: a plugin that makes the gateway derives one where none was
/// given.
///
/// # Errors
/// Code 102 with what was expected and what was found.
pub(crate) fn check(assigned: &Attachment, previous: &Attachment) -> Result<(), Error> {
    let missing = assigned.ips.iter().find(|expected| {
        !previous.ips.iter().any(|found| {
            found.address == expected.address && is_kept(expected.gateway, found.gateway)
        })
    });
    let Some(missing) = missing else {
        return Ok(());
    };
    let found: Vec<String> = previous.ips.iter().map(describe).collect();
    let found = if found.is_empty() {
        String::from("no address")
    } else {
        found.join(", ")
    };
    Err(Error::new(
        Code::Drift,
        format!(
            "prevResult.ips: expected {}, found {found}",
            describe(missing)
        ),
    ))
}

fn is_kept(assigned: Option<IpAddr>, found: Option<IpAddr>) -> bool {
    assigned.is_none() || found == assigned
}

fn describe(ip: &IpConfig) -> String {
    match ip.gateway {
        Some(gateway) => format!("{} with gateway {gateway}", ip.address),
        None => format!("{} without gateway", ip.address),
    }
}
