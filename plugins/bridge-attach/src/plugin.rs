//! The plugin as the protocol layer sees it.

use cni_common::error::Error;
use cni_common::plugin::{About, Call, DelCall, GcCall, Plugin, StatusCall};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

use crate::config::Config;
use crate::{attach, check, collect, detach, status};

/// `bridge-attach`.
pub(crate) struct BridgeAttach;

impl Plugin for BridgeAttach {
    type Config = Config;
    const ABOUT: About = About {
        name: "bridge-attach",
        release: env!("CARGO_PKG_VERSION"),
        versions: SpecVersion::V0_1_0..=SpecVersion::V1_1_0,
    };
    const DELEGATES: bool = true;

    fn add(&self, call: &Call<Config>) -> Result<Attachment, Error> {
        attach::attach(call)
    }

    fn check(&self, call: &Call<Config>) -> Result<(), Error> {
        check::check(call)
    }

    fn del(&self, call: &DelCall<Config>) -> Result<(), Error> {
        detach::detach(call)
    }

    fn status(&self, call: &StatusCall<Config>) -> Result<(), Error> {
        status::status(call)
    }

    fn gc(&self, call: &GcCall<Config>) -> Result<(), Error> {
        collect::collect(call)
    }
}
