//! The order of checks, and the answer to each command.

use std::time::Instant;

use super::call::{self, Call, DelCall, Delegation, GcCall, StatusCall};
use super::{NetnsUse, Plugin, supported};
use crate::code::Code;
use crate::config::{self, NetConf};
use crate::env::{Command, Environment, Lookup};
use crate::error::{Error, Step};
use crate::excerpt;
use crate::json::{Json, Object, ObjectWriter, Problems};
use crate::log::{self, LogConfig};
use crate::netns::Netns;
use crate::version::SpecVersion;

/// An error with the version in which it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The configuration's version, or the newest while that is not known.
    pub version: SpecVersion,
    /// What went wrong.
    pub error: Error,
}

impl Refusal {
    pub(super) fn new(version: SpecVersion, error: Error) -> Self {
        Self { version, error }
    }

    /// The error result (spec 1.1.0, section 5, "Error").
    pub fn to_json(&self) -> String {
        let details = excerpt::shortened(self.error.details(), excerpt::LINE);
        let message = self.error.message();
        Json::from(
            ObjectWriter::default()
                .with("cniVersion", self.version.as_str())
                .with("code", self.error.code().number())
                .with("msg", &*excerpt::shortened(&message, excerpt::LINE))
                .with_some("details", (!details.is_empty()).then_some(&*details)),
        )
        .to_pretty()
    }
}

/// Answers one call: gives what goes to stdout, which is nothing for CHECK, DEL, STATUS and GC.
///
/// `lookup` finds the `CNI_*` variables, `stdin` is the configuration.
pub fn serve<P: Plugin>(plugin: &P, lookup: &Lookup<'_>, stdin: &[u8]) -> Result<String, Refusal> {
    let early = early::<P>;
    let command = Environment::command(lookup)
        .map_err(early)?
        .ok_or_else(|| {
            early(Error::new(
                Code::Environment,
                "required env variables [CNI_COMMAND] missing",
            ))
        })?;
    if command == Command::Version {
        return answer_version::<P>(stdin).map_err(early);
    }
    let environment = Environment::read(command, lookup).map_err(early)?;
    let json = Json::parse(stdin).map_err(early)?;
    let problems = Problems::default();
    let version = Object::root(&json, &problems)
        .and_then(|object| config::read_version(&object, &problems, &P::ABOUT.versions))
        .map_err(early)?;

    log::start(subject::<P>(&environment, &json), &config::read_log(&json));
    // Asking for the time costs a process its first look at what the kernel maps for it.
    let started = log::tells_info().then(Instant::now);
    let answer = dispatch(plugin, &environment, &json, version, stdin);
    match (&answer, started) {
        (Ok(_), Some(started)) => {
            let took = started.elapsed().as_micros();
            log::info(format_args!("ok in {took} µs"));
        }
        (Ok(_), None) => {}
        (Err(error), _) => log_failure(error),
    }
    answer.map_err(|error| Refusal::new(version, error))
}

/// Refuses a call before its configuration says where log lines go.
pub(super) fn early<P: Plugin>(error: Error) -> Refusal {
    log::start(P::ABOUT.name, &LogConfig::default());
    log_failure(&error);
    Refusal::new(SpecVersion::NEWEST, error)
}

fn log_failure(error: &Error) {
    log::error(format_args!("failed with code {}: {error}", error.code()));
}

/// What log lines start with: plugin, command, and the attachment as far as it is known.
fn subject<P: Plugin>(environment: &Environment, json: &Json) -> String {
    let problems = Problems::default();
    let network = Object::root(json, &problems)
        .ok()
        .and_then(|object| object.text("name").map(str::to_owned))
        .unwrap_or_default();
    let text = format!(
        "{} {} {network}",
        P::ABOUT.name,
        environment.command.as_str()
    );
    if let (Some(container), Some(ifname)) = (&environment.container, &environment.ifname) {
        return format!("{text}/{container}/{ifname}");
    }
    text
}

/// VERSION: the version asked with, and those supported (spec 1.1.0, section 2).
fn answer_version<P: Plugin>(stdin: &[u8]) -> Result<String, Error> {
    let asked = if stdin.trim_ascii().is_empty() {
        None
    } else {
        let json = Json::parse(stdin)?;
        let problems = Problems::default();
        let asked = Object::root(&json, &problems)?
            .text("cniVersion")
            .map(str::to_owned);
        problems.finish()?;
        asked
    };
    let list = supported(&P::ABOUT).map(|version| version.as_str().into());
    Ok(Json::from(
        ObjectWriter::default()
            .with(
                "cniVersion",
                asked.as_deref().unwrap_or(SpecVersion::NEWEST.as_str()),
            )
            .with_list("supportedVersions", list.collect()),
    )
    .to_line())
}

fn dispatch<P: Plugin>(
    plugin: &P,
    environment: &Environment,
    json: &Json,
    version: SpecVersion,
    stdin: &[u8],
) -> Result<String, Error> {
    let command = environment.command;
    check_gate(command, version)?;
    let conf: NetConf<P::Config> = config::read(
        json,
        version,
        command,
        &environment.args,
        environment.container.as_ref(),
    )?;
    let netns = open_netns(environment, P::NETNS)?;
    let gone = command == Command::Del && netns.is_none();
    let delegation = Delegation {
        ipam: conf.ipam.clone(),
        path: environment.path.clone(),
        stdin: stdin.to_owned(),
        variables: variables(environment, gone && P::NETNS == NetnsUse::Needed),
    };
    match command {
        Command::Add => {
            let call = container_call(environment, conf, version, netns, delegation)?;
            let attachment = plugin.add(&call)?;
            call::check_room(version, &attachment)?;
            return Ok(attachment.to_json(version).to_pretty());
        }
        Command::Check => {
            plugin.check(&container_call(
                environment,
                conf,
                version,
                netns,
                delegation,
            )?)?;
        }
        Command::Del => plugin.del(&del_call(environment, conf, version, netns, delegation)?)?,
        Command::Status => plugin.status(&StatusCall {
            network: conf.network,
            config: conf.own,
            delegation,
        })?,
        Command::Gc => collect(plugin, conf, delegation)?,
        Command::Version => {}
    }
    Ok(String::new())
}

/// Refuses a command that the configuration's version does not have.
fn check_gate(command: Command, version: SpecVersion) -> Result<(), Error> {
    let exists = match command {
        Command::Check => version.has_check(),
        Command::Status | Command::Gc => version.has_status_and_gc(),
        Command::Add | Command::Del | Command::Version => true,
    };
    if exists {
        return Ok(());
    }
    Err(Error::new(
        Code::IncompatibleVersion,
        format!("config version does not allow {}", command.as_str()),
    )
    .with_details(format!("cniVersion is {version}")))
}

/// Opens the container's namespace and makes sure that it is not ours.
///
/// A DEL whose namespace is gone, or recycled as our own, has none: what it must remove is found by owner.
fn open_netns(environment: &Environment, usage: NetnsUse) -> Result<Option<Netns>, Error> {
    let command = environment.command;
    let Some(path) = environment
        .netns
        .as_deref()
        .filter(|_| matches!(command, Command::Add | Command::Check | Command::Del))
    else {
        return Ok(None);
    };
    let netns = match Netns::open(path) {
        Ok(netns) => netns,
        Err(_) if usage == NetnsUse::Ignored || command == Command::Del => return Ok(None),
        Err(error) if error.is_absent() => {
            let code = if command == Command::Check {
                Code::Drift
            } else {
                Code::UnknownContainer
            };
            return Err(Error::new(
                code,
                format!("CNI_NETNS: {path:?} does not exist"),
            ));
        }
        Err(error) => return Err(error).step(|| "CNI_NETNS"),
    };
    let own = netns.is_current().step(|| "CNI_NETNS")?;
    if !own || environment.own_namespace_allowed {
        return Ok(Some(netns).filter(|_| usage == NetnsUse::Needed));
    }
    if command == Command::Del {
        return Ok(None);
    }
    Err(Error::new(
        Code::OwnNamespace,
        format!("CNI_NETNS: {path:?} is the namespace that the plugin itself runs in"),
    ))
}

/// The variables of the call, for a delegate; a namespace that counts as gone is not passed on.
fn variables(environment: &Environment, gone: bool) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let netns = if gone {
        String::new()
    } else {
        text(&environment.netns)
    };
    let mut list = vec![("CNI_NETNS", netns), ("CNI_PATH", text(&environment.path))];
    list.extend(
        environment
            .args
            .for_delegate()
            .map(|args| ("CNI_ARGS", args)),
    );
    if let (Some(container), Some(ifname)) = (&environment.container, &environment.ifname) {
        list.push(("CNI_CONTAINERID", container.to_string()));
        list.push(("CNI_IFNAME", ifname.to_string()));
    }
    list
}

/// The names that ADD, CHECK and DEL have; [`Environment::read`] has made sure of them.
fn missing(name: &str) -> Error {
    Error::new(
        Code::Environment,
        format!("required env variables [{name}] missing"),
    )
}

fn container_call<C>(
    environment: &Environment,
    conf: NetConf<C>,
    version: SpecVersion,
    netns: Option<Netns>,
    delegation: Delegation,
) -> Result<Call<C>, Error> {
    let names = (environment.container.clone(), environment.ifname.clone());
    Ok(Call {
        network: conf.network,
        container: names.0.ok_or_else(|| missing("CNI_CONTAINERID"))?,
        ifname: names.1.ok_or_else(|| missing("CNI_IFNAME"))?,
        netns_path: environment.netns.clone().unwrap_or_default(),
        args: environment.args.clone(),
        version,
        config: conf.own,
        previous: conf.previous,
        netns,
        delegation,
    })
}

fn del_call<C>(
    environment: &Environment,
    conf: NetConf<C>,
    version: SpecVersion,
    netns: Option<Netns>,
    delegation: Delegation,
) -> Result<DelCall<C>, Error> {
    let names = (environment.container.clone(), environment.ifname.clone());
    Ok(DelCall {
        network: conf.network,
        container: names.0.ok_or_else(|| missing("CNI_CONTAINERID"))?,
        ifname: names.1.ok_or_else(|| missing("CNI_IFNAME"))?,
        netns,
        args: environment.args.clone(),
        version,
        config: conf.own,
        previous: conf.previous,
        delegation,
    })
}

/// GC: without a list nothing is known to be stale, so nothing is touched; a delegate decides for itself.
fn collect<P: Plugin>(
    plugin: &P,
    conf: NetConf<P::Config>,
    delegation: Delegation,
) -> Result<(), Error> {
    let Some(valid) = conf.valid else {
        log::warning(format_args!(
            "cni.dev/valid-attachments is absent: nothing is removed"
        ));
        if P::DELEGATES
            && let Some(ipam) = delegation.find()?
        {
            return ipam.run(Command::Gc);
        }
        return Ok(());
    };
    plugin.gc(&GcCall {
        network: conf.network,
        valid,
        config: conf.own,
        delegation,
    })
}
