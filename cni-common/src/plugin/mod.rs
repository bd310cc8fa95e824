//! A plugin as a value, and the protocol around it.
//!
//! [`run`] is a plugin's whole `main`; [`serve`] is the same with the environment and stdin as values, so that
//! every rule of the protocol is tested without a process. All checks of variables, version, configuration and
//! namespace come before the plugin is called, so before anything is changed.

mod call;
mod serve;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

pub use call::{Call, DelCall, GcCall, StatusCall};
pub use serve::{Refusal, serve};

use crate::code::Code;
use crate::config::Configuration;
use crate::env::{Command, Environment};
use crate::error::{Error, Step};
use crate::log;
use crate::result::Attachment;
use crate::version::SpecVersion;

/// What a plugin says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// The name of its binary.
    pub name: &'static str,
    /// The release, `major.minor.patch`.
    pub release: &'static str,
    /// The versions of the specification it supports.
    pub versions: core::ops::RangeInclusive<SpecVersion>,
}

/// What a plugin does with the container's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetnsUse {
    /// It works in it: ADD and CHECK need one that exists.
    Needed,
    /// It never looks: IPAM plugins, and those that work on the host alone.
    Ignored,
}

/// A CNI plugin.
pub trait Plugin {
    /// Its own keys.
    type Config: Configuration;
    /// What it says of itself.
    const ABOUT: About;
    /// What it does with the container's namespace.
    const NETNS: NetnsUse = NetnsUse::Needed;
    /// Whether `ipam.type` names a plugin that it executes.
    const DELEGATES: bool = false;

    /// Attaches a container. On failure it has undone all it did.
    fn add(&self, call: &Call<Self::Config>) -> Result<Attachment, Error>;

    /// Compares the attachment with what ADD left; code 102 names what was expected and what was found.
    fn check(&self, call: &Call<Self::Config>) -> Result<(), Error>;

    /// Detaches a container. What is gone already is no error.
    fn del(&self, call: &DelCall<Self::Config>) -> Result<(), Error>;

    /// Whether an ADD could be served; code 50 or 51 says why not.
    fn status(&self, call: &StatusCall<Self::Config>) -> Result<(), Error>;

    /// Removes what belongs to none of the network's valid attachments.
    fn gc(&self, call: &GcCall<Self::Config>) -> Result<(), Error>;
}

/// Serves one call of the runtime: the whole `main` of a plugin.
pub fn run<P: Plugin>(plugin: &P) -> ExitCode {
    log::use_stderr();
    let lookup = |name: &str| std::env::var_os(name);
    let answer = match Environment::command(&lookup) {
        Ok(None) => {
            let name = std::env::args().next().unwrap_or_default();
            // There is nobody to tell when stderr cannot be written.
            let _ = io::stderr().write_all(about_lines(&P::ABOUT, &name).as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(Some(command)) => read_stdin(command)
            .map_err(serve::early::<P>)
            .and_then(|stdin| serve(plugin, &lookup, &stdin)),
        Err(error) => Err(serve::early::<P>(error)),
    };
    let (mut document, code) = match answer {
        Ok(document) => (document, ExitCode::SUCCESS),
        Err(refusal) => (refusal.to_json(), ExitCode::FAILURE),
    };
    // With its last line complete the document goes out in one write. What is left for the end of the process may fail
    // to be written without anybody noticing.
    if !document.is_empty() {
        document.push('\n');
    }
    let mut stdout = io::stdout();
    let written = stdout.write_all(document.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => code,
        // A runtime that did not get the result must not take the call for a success.
        Err(_) => ExitCode::FAILURE,
    }
}

fn read_stdin(command: Command) -> Result<Vec<u8>, Error> {
    /// In bytes. A GC with ten thousand valid attachments is as long.
    const LONGEST: u64 = 1 << 20;
    let mut stdin = io::stdin();
    // More than most configurations, with the result of the plugins before: one read instead of one for each doubling.
    let mut bytes = Vec::with_capacity(4096);
    // VERSION works without a configuration: a person who asks for it need not type one.
    if command == Command::Version && stdin.is_terminal() {
        return Ok(bytes);
    }
    let mut some = (&mut stdin).take(LONGEST.saturating_add(1));
    some.read_to_end(&mut bytes).step(|| "read stdin")?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
        return Err(Error::new(
            Code::Decode,
            format!("stdin: is longer than {LONGEST} bytes, and no configuration is"),
        ));
    }
    Ok(bytes)
}

/// The lines a plugin prints when it is executed by hand.
///
/// Some runtimes execute a plugin without `CNI_COMMAND` and take its release from the first line. Under the name
/// of a reference plugin (a link to our binary) they compare it with the releases of that plugin, so it is the
/// release that ours stands in for, with ours as build metadata.
fn about_lines(about: &About, argv0: &str) -> String {
    const STANDS_IN_FOR: &str = "1.9.1";
    let called = argv0.rsplit('/').next().unwrap_or_default();
    let (name, release) = match called {
        "bridge" | "static" | "dhcp" | "firewall" => {
            (called, format!("{STANDS_IN_FOR}+plumb.{}", about.release))
        }
        _ => (about.name, about.release.to_owned()),
    };
    let versions: Vec<&str> = supported(about).map(SpecVersion::as_str).collect();
    format!(
        "CNI {name} plugin v{release}\nCNI protocol versions supported: {}\n",
        versions.join(", ")
    )
}

fn supported(about: &About) -> impl Iterator<Item = SpecVersion> {
    let versions = about.versions.clone();
    SpecVersion::ALL
        .into_iter()
        .filter(move |version| versions.contains(version))
}

#[cfg(test)]
mod tests;
