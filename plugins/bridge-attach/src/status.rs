//! STATUS.

use cni_common::attach::ipam;
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::netlink::Rtnl;
use cni_common::plugin::StatusCall;

use crate::attach::bridge_name;
use crate::config::Config;
use crate::{bridge, uplink};

/// Whether an ADD could be served: the bridge's name is free or that of a bridge as it is configured, the uplinks are there,
/// and the IPAM plugin is ready.
pub(crate) fn status(call: &StatusCall<Config>) -> Result<(), Error> {
    let name = bridge_name(&call.config)?;
    let mut host = Rtnl::open().map_err(Cause::cause)?;
    bridge::require_usable(&mut host, name, &call.config)
        .and_then(|()| uplink::require_present(&mut host, &call.config))
        .map_err(|error| error.with_code(Code::NotAvailable))?;
    ipam::status(call)
}
