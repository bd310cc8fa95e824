//! The plugin: every command is a line, for all is worked out when the configuration is read.

use cni_common::error::Error;
use cni_common::plugin::{About, Call, DelCall, GcCall, NetnsUse, Plugin, StatusCall};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

use crate::check;
use crate::config::Config;

/// Keeps no state: DEL and GC have nothing to do.
pub(crate) struct StaticIpam;

impl Plugin for StaticIpam {
    type Config = Config;
    const ABOUT: About = About {
        name: "static-ipam",
        release: env!("CARGO_PKG_VERSION"),
        versions: SpecVersion::V0_1_0..=SpecVersion::V1_1_0,
    };
    const NETNS: NetnsUse = NetnsUse::Ignored;

    fn add(&self, call: &Call<Config>) -> Result<Attachment, Error> {
        Ok(call.config.assigned.clone())
    }

    fn check(&self, call: &Call<Config>) -> Result<(), Error> {
        check::check(&call.config.assigned, call.required_previous()?)
    }

    fn del(&self, _: &DelCall<Config>) -> Result<(), Error> {
        Ok(())
    }

    fn status(&self, _: &StatusCall<Config>) -> Result<(), Error> {
        Ok(())
    }

    fn gc(&self, _: &GcCall<Config>) -> Result<(), Error> {
        Ok(())
    }
}
