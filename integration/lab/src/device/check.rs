//! CHECK and STATUS.

use cni_common::attach::check::{Found, check_mac, drift, of_interface, recorded_inside};
use cni_common::attach::ipam;
use cni_common::code::Code;
use cni_common::env::Command;
use cni_common::error::{Error, Step};
use cni_common::plugin::{Call, StatusCall};

use super::Source;
use super::attach::nic;
use super::config::Config;

/// Compares the attachment with what ADD left.
pub(super) fn check(call: &Call<Config>) -> Result<(), Error> {
    try_check(call).step(|| format!("check {}/{}", call.container, call.ifname))
}

fn try_check(call: &Call<Config>) -> Result<(), Error> {
    let previous = call.required_previous()?;
    if let Some(delegate) = call.ipam()? {
        delegate.run(Command::Check)?;
    }
    let found = Found::read(call, &call.ifname)?;
    if !found.link.up {
        return Err(drift(&format!("state of {}", call.ifname), "up", "down"));
    }
    let recorded = recorded_inside(previous, &call.ifname);
    check_mac(&found.link, recorded.and_then(|interface| interface.mac))?;
    let here = of_interface(previous, &found.link.name);
    found.check_addresses(&here)?;
    found.check_routes(&here)
}

/// Whether an ADD could be served.
pub(super) fn status(source: Source, call: &StatusCall<Config>) -> Result<(), Error> {
    if source == Source::Host {
        nic(&call.config).map_err(|error| error.with_code(Code::NotAvailable))?;
    }
    ipam::status(call)
}
