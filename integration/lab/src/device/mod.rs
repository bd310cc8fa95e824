//! Two small plugins of the lab: `host-device` moves a link of the host into a container and back, `dummy` makes an
//! interface that leads nowhere.
//!
//! They have the names and keys of the Go plugins, so that a configuration which names them works with those as well. The
//! lab's runtime executes its own program for them; they are not installed as plugins.

mod attach;
mod check;
mod config;
mod detach;

use std::path::Path;
use std::process::ExitCode;

use cni_common::error::Error;
use cni_common::plugin::{About, Call, DelCall, GcCall, Plugin, StatusCall, run};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

use crate::runtime::Program;
use config::Config;

/// The types that this module serves.
const KINDS: [&str; 2] = ["host-device", "dummy"];

/// The plugins as a runtime executes them: the program that holds them, with these words before the type.
pub(crate) fn programs(program: &Path, words: &[&str]) -> Vec<Program> {
    let words = words.iter().map(|word| (*word).to_owned());
    let one = |kind: &str| Program {
        kind: kind.to_owned(),
        path: program.to_owned(),
        arguments: words.clone().chain([kind.to_owned()]).collect(),
    };
    KINDS.iter().map(|kind| one(kind)).collect()
}

/// Plays the plugin of this type: one call of the runtime. Nothing where there is no such plugin here.
pub(crate) fn serve(kind: &str) -> Option<ExitCode> {
    match kind {
        "host-device" => Some(run(&HostDevice)),
        "dummy" => Some(run(&Dummy)),
        _ => None,
    }
}

/// Where a container's interface comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It is a link of the host.
    Host,
    /// It is a dummy link that is made.
    Dummy,
}

macro_rules! plugin {
    ($name:ident, $kind:literal, $source:expr) => {
        #[doc = concat!("`", $kind, "`.")]
        struct $name;

        impl Plugin for $name {
            type Config = Config;
            const ABOUT: About = About {
                name: $kind,
                release: env!("CARGO_PKG_VERSION"),
                versions: SpecVersion::V0_1_0..=SpecVersion::V1_1_0,
            };
            const DELEGATES: bool = true;

            fn add(&self, call: &Call<Config>) -> Result<Attachment, Error> {
                attach::attach($source, call)
            }

            fn check(&self, call: &Call<Config>) -> Result<(), Error> {
                check::check(call)
            }

            fn del(&self, call: &DelCall<Config>) -> Result<(), Error> {
                detach::detach($source, call)
            }

            fn status(&self, call: &StatusCall<Config>) -> Result<(), Error> {
                check::status($source, call)
            }

            fn gc(&self, call: &GcCall<Config>) -> Result<(), Error> {
                cni_common::attach::ipam::collect(call)
            }
        }
    };
}

plugin!(HostDevice, "host-device", Source::Host);
plugin!(Dummy, "dummy", Source::Dummy);
