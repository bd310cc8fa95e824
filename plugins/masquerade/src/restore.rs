//! Putting attachments back whose rules a reload of the host's firewall has swept away, and noticing that it has.

use cni_common::addr::{Cidr, Family};
use cni_common::args::CniArgs;
use cni_common::code::Code;
use cni_common::config::{self, NetConf};
use cni_common::env::Command;
use cni_common::error::{Error, Step};
use cni_common::json::{Object, Problems};
use cni_common::log;
use cni_common::plugin::{About, Plugin};
use cni_common::version::SpecVersion;

use crate::backend::{self, attach, detach};
use crate::config::Config;
use crate::release::Going;
use crate::rules::Plan;
use crate::state::{Entry, Maker, Record};
use crate::{Masquerade, inside, plan, sysctls};

/// What became of a file's attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Its rules are in place.
    Yes,
    /// A DEL has removed it meanwhile.
    Gone,
    /// It is of an earlier run of the machine, and forgotten.
    Stale,
}

/// A file as often as it changes while its attachment is restored: ADDs of one attachment do not come in numbers.
const CHANGES: usize = 10;

/// Brings the rules of an attachment back into the kernel, and switches what it needs.
///
/// # Errors
/// As those of its ADD.
pub fn restore(entry: &Entry) -> Result<Restored, Error> {
    let Some(mut record) = entry.read()? else {
        return Ok(Restored::Gone);
    };
    for _ in 0..CHANGES {
        if !record.is_current {
            entry.remove()?;
            return Ok(Restored::Stale);
        }
        let naming = || record.owner.to_string();
        let planned = planned(&record).step(naming)?;
        if let Some((config, plan)) = &planned {
            attach(&record.owner, config, plan).step(naming)?;
        }
        // A DEL takes the file away before the rules: if it is there now, a DEL is still to come to the rules.
        match entry.read()? {
            Some(now) if now.is_same(&record) => return Ok(Restored::Yes),
            Some(now) => record = now,
            None => {
                let owner = &record.owner;
                let config = planned.map(|(config, _)| config).unwrap_or_default();
                detach(&config, &owner.network, &Going::Of(&owner.tag(), &[])).step(naming)?;
                return Ok(Restored::Gone);
            }
        }
    }
    Err(Error::new(
        Code::TryAgain,
        format!("{}: is being attached again and again", record.owner),
    ))
}

/// What the ADD of an attachment made; `None` where there was nothing to do.
fn planned(record: &Record) -> Result<Option<(Config, Plan)>, Error> {
    const ABOUT: About = Masquerade::ABOUT;
    let problems = Problems::default();
    let object = Object::root(&record.configuration, &problems)?;
    let version: SpecVersion = config::read_version(&object, &problems, &ABOUT.versions)?;
    let mut conf: NetConf<Config> = config::read(
        &record.configuration,
        version,
        Command::Add,
        &CniArgs::default(),
        Some(&record.owner.container),
    )?;
    if record.maker == Maker::BridgeAttach {
        conf.own.firewalld_zone = None;
    }
    let Some(previous) = conf.previous else {
        return Ok(None);
    };
    let addresses: Vec<Cidr> = inside::addresses(&previous, &record.owner.ifname);
    if addresses.is_empty() {
        return Ok(None);
    }
    let plan = plan(&conf.network, &conf.own, &previous, &addresses)?;
    Ok(Some((conf.own, plan)))
}

/// Compares the kernel with what the ADD of an attachment made. An attachment that is gone lacks nothing.
///
/// # Errors
/// Code 102 with what is missing.
pub fn look(entry: &Entry) -> Result<(), Error> {
    let Some(record) = entry.read()?.filter(|record| record.is_current) else {
        return Ok(());
    };
    let Some((config, plan)) = planned(&record)? else {
        return Ok(());
    };
    let families: Vec<Family> = plan.families().collect();
    let sysctls = sysctls::wanted(&config, &families, &plan.inside);
    let looked = backend::check(&config, &plan, &record.owner, &sysctls);
    match looked {
        // Between the two steps of a DEL.
        Err(error) if entry.read()?.is_some() => Err(error).step(|| record.owner.to_string()),
        _ => Ok(()),
    }
}

/// How many attachments of a network STATUS looks at: a firewall's reload takes the rules of all of them.
pub const SAMPLE: usize = 8;

/// Whether these attachments have their rules.
///
/// # Errors
/// Code 51 with what is missing.
pub fn status(entries: &[Entry]) -> Result<(), Error> {
    for entry in entries {
        look(entry).map_err(|error| {
            error
                .with_code(Code::LimitedConnectivity)
                .with_details("\"masquerade reload\" on the host puts back what is missing")
        })?;
    }
    Ok(())
}

/// For an ADD that found the rules of its network gone: restores the others, unless the first of them lacks nothing.
/// What fails is said, and left to `masquerade reload`.
pub fn restore_others(entries: &[Entry]) {
    let Some(first) = entries.first() else {
        return;
    };
    if look(first).is_ok() {
        return;
    }
    for entry in entries {
        if let Err(error) = restore(entry) {
            log::warning(format_args!("restore: {error}"));
        }
    }
}
