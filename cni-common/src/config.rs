//! The configuration on stdin: the keys that every plugin has, and the plugin's own.

use std::collections::BTreeSet;

use crate::args::CniArgs;
use crate::code::Code;
use crate::env::Command;
use crate::error::{Error, Step};
use crate::ident::{ContainerId, IfName, NetworkName};
use crate::json::{Json, Object, Problems};
use crate::log::{self, LogConfig};
use crate::owner::Owner;
use crate::result::Attachment;
use crate::version::SpecVersion;

/// A plugin's own keys.
pub trait Configuration: Sized {
    /// Reads the keys; faults are recorded in the objects of `input` and reported together afterwards, so what
    /// is returned beside a fault is never used by ADD, CHECK and STATUS.
    ///
    /// DEL and GC log the faults and go on with what was read: a wrong value must not keep a container's things
    /// alive.
    fn read(input: &Input<'_>) -> Self;
}

/// A plugin without keys of its own.
impl Configuration for () {
    fn read(_: &Input<'_>) -> Self {}
}

/// What a plugin's configuration is read from.
pub struct Input<'a> {
    /// The outermost object.
    pub object: Object<'a>,
    /// `CNI_ARGS`.
    pub args: &'a CniArgs,
    /// The container, where the command has one.
    pub container: Option<&'a ContainerId>,
    /// The version of the configuration.
    pub version: SpecVersion,
    /// The command.
    pub command: Command,
}

/// The attachments that a GC is told are valid: container id and interface name.
pub type Valid = BTreeSet<(ContainerId, IfName)>;

/// A configuration as read.
#[derive(Debug)]
pub struct NetConf<C> {
    /// The network's name.
    pub network: NetworkName,
    /// The type of the IPAM plugin to execute, where one is configured.
    pub ipam: Option<String>,
    /// The result of the previous plugin, or of the ADD as a whole.
    pub previous: Option<Attachment>,
    /// For GC: the valid attachments, or `None` when no list was given.
    pub valid: Option<Valid>,
    /// The plugin's own keys.
    pub own: C,
}

/// Reads `cniVersion` alone; absent means 0.1.0.
///
/// # Errors
/// Code 6 when it is no string, code 1 when the plugin does not support it.
pub fn read_version(
    object: &Object<'_>,
    problems: &Problems,
    supported: &core::ops::RangeInclusive<SpecVersion>,
) -> Result<SpecVersion, Error> {
    let text = object.text("cniVersion");
    problems.finish()?;
    let Some(text) = text else {
        return check_supported(SpecVersion::UNSTATED, supported);
    };
    let Some(version) = SpecVersion::parse(text) else {
        return Err(unsupported(text, supported));
    };
    check_supported(version, supported)
}

fn check_supported(
    version: SpecVersion,
    supported: &core::ops::RangeInclusive<SpecVersion>,
) -> Result<SpecVersion, Error> {
    if supported.contains(&version) {
        return Ok(version);
    }
    Err(unsupported(version.as_str(), supported))
}

fn unsupported(text: &str, supported: &core::ops::RangeInclusive<SpecVersion>) -> Error {
    let list: Vec<&str> = SpecVersion::ALL
        .iter()
        .filter(|version| supported.contains(version))
        .map(|version| version.as_str())
        .collect();
    Error::new(Code::IncompatibleVersion, "incompatible CNI versions").with_details(format!(
        "config is {text:?}, plugin supports [{}]",
        list.join(", ")
    ))
}

/// Reads all keys of a configuration whose version is known.
///
/// # Errors
/// Code 6 or 7 naming every fault. For DEL and GC only what makes the call impossible is an error: the name, and
/// for GC the list of valid attachments.
pub fn read<C: Configuration>(
    json: &Json,
    version: SpecVersion,
    command: Command,
    args: &CniArgs,
    container: Option<&ContainerId>,
) -> Result<NetConf<C>, Error> {
    let problems = Problems::default();
    let object = Object::root(json, &problems)?;
    let Some(name) = object.text("name") else {
        problems.finish()?;
        return Err(Error::new(Code::InvalidConfig, "name: is missing"));
    };
    let network = NetworkName::parse(name)
        .map_err(|invalid| Error::new(Code::InvalidConfig, format!("name: {invalid}")))?;
    let valid = match command {
        Command::Gc => read_valid(&object),
        Command::Add | Command::Del | Command::Check | Command::Status | Command::Version => None,
    };
    problems.finish()?;

    // Where lines go has been decided by now: this finds the faults.
    LogConfig::read(&object);
    let ipam = object
        .object("ipam")
        .and_then(|ipam| ipam.text("type").map(str::to_owned));
    let previous = object
        .object("prevResult")
        .map(|previous| Attachment::read(&previous));
    let own = C::read(&Input {
        object: object.clone(),
        args,
        container,
        version,
        command,
    });
    let faults = problems.finish();
    match command {
        Command::Del | Command::Gc => {
            if let Err(faults) = faults {
                log::warning(format_args!("configuration: {faults}"));
            }
        }
        Command::Add | Command::Check | Command::Status | Command::Version => {
            faults.step(|| "configuration")?;
        }
    }
    Ok(NetConf {
        network,
        ipam,
        previous,
        valid,
        own,
    })
}

/// Reads the keys that say where log lines go, and nothing else.
pub fn read_log(json: &Json) -> LogConfig {
    let problems = Problems::default();
    Object::root(json, &problems)
        .map(|object| LogConfig::read(&object))
        .unwrap_or_default()
}

/// Reads the list of valid attachments: `null` is the empty list, an absent key is no list.
///
/// Some releases of the reference library send the list under `cni.dev/attachments` as well.
fn read_valid(object: &Object<'_>) -> Option<Valid> {
    let list = object
        .find("cni.dev/valid-attachments")
        .or_else(|| object.find("cni.dev/attachments"))?;
    let mut valid = Valid::new();
    if *list.json() == Json::Null {
        return Some(valid);
    }
    for item in list.items() {
        let Some(entry) = item.object() else { continue };
        let container = entry.parse_with("containerID", ContainerId::parse);
        let ifname = entry.parse_with("ifname", IfName::parse);
        match (container, ifname) {
            (Some(container), Some(ifname)) => {
                valid.insert((container, ifname));
            }
            // Treating a broken entry as no entry would remove a living attachment.
            _ => item.refuse("must have a containerID and an ifname"),
        }
    }
    Some(valid)
}

/// The hashes of the owners that a GC must keep.
pub fn owner_hashes(network: &NetworkName, valid: &Valid) -> BTreeSet<u64> {
    valid
        .iter()
        .map(|(container, ifname)| {
            Owner {
                network: network.clone(),
                container: container.clone(),
                ifname: ifname.clone(),
            }
            .hash()
        })
        .collect()
}
