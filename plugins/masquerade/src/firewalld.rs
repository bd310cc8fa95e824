//! Hosts with firewalld: its last word about forwarded packets is no, so containers become sources of a zone that says yes.
//!
//! Zones are changed by D-Bus alone; what is in its table is firewalld's, and gone with its next reload. The change is
//! one of the running configuration, as a container is.

use core::net::IpAddr;
use std::io::ErrorKind;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::dbus::{Answer, Bus, Method, socket};
use cni_common::error::{Error, Step};
use cni_common::log;
use cni_common::netlink;
use cni_common::nft::{Nft, Table, TableFamily};

use crate::rules::Plan;

/// Whether firewalld has its rules in this namespace.
pub(crate) fn is_active(nft: &mut Nft) -> Result<bool, netlink::Error> {
    let table = Table::new(TableFamily::Inet, "firewalld");
    Ok(nft.chain(&table, "filter_FORWARD")?.is_some())
}

fn open() -> Result<Bus, Error> {
    let step = || format!("ask firewalld by {}", socket().display());
    Bus::open().map_err(|error| {
        let absent = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        let code = if absent.contains(&error.kind()) {
            Code::TryAgain
        } else {
            Code::Io
        };
        Error::new(code, error.to_string()).at(step())
    })
}

/// Calls a method of the interface for zones.
fn call(bus: &mut Bus, name: &str, zone: &str, source: &str) -> Result<Answer, Error> {
    let method = Method {
        service: "org.fedoraproject.FirewallD1",
        path: "/org/fedoraproject/FirewallD1",
        interface: "org.fedoraproject.FirewallD1.zone",
        name,
    };
    let answer = bus
        .call(&method, &[zone, source])
        .step(|| format!("firewalld: {name} {zone} {source}"))?;
    match answer {
        Answer::Error { name, text } => {
            // The bus says that nobody has the name; firewalld says what is wrong with the call.
            let code = if name.ends_with(".Exception") {
                code_of(&text)
            } else {
                Code::TryAgain
            };
            let text = if text.is_empty() { name } else { text };
            Err(Error::new(code, text).at(format!("firewalld: add {source} to zone {zone}")))
        }
        Answer::Nothing | Answer::Text(_) | Answer::Truth(_) => Ok(answer),
    }
}

fn code_of(text: &str) -> Code {
    match text.split(':').next() {
        Some("INVALID_ZONE") => Code::InvalidConfig,
        Some("ZONE_CONFLICT") => Code::Taken,
        _ => Code::Kernel,
    }
}

/// Whether firewalld's answer means that nothing was to be done.
fn is(error: &Error, names: &[&str]) -> bool {
    let text = error.to_string();
    names.iter().any(|name| text.contains(name))
}

/// What of a plan is to be in the zone: the attachment's addresses, and the networks behind it.
pub(crate) fn sources(plan: &Plan) -> Vec<String> {
    let own = plan.addresses();
    let own = own.iter().map(IpAddr::to_string);
    own.chain(plan.behind.iter().map(Cidr::to_string)).collect()
}

/// Makes addresses and subnets sources of the zone.
///
/// # Errors
/// Code 7 where there is no such zone, 101 where another zone has an address, 11 where firewalld does not answer.
pub(crate) fn admit(zone: &str, sources: &[String]) -> Result<(), Error> {
    let mut bus = open()?;
    for source in sources {
        match call(&mut bus, "addSource", zone, source) {
            Err(error) if !is(&error, &["ZONE_ALREADY_SET"]) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes addresses and subnets out of the zone. What fails is tried once more, and then said: the container goes all the same,
/// and the running configuration of firewalld forgets its sources with the next reload.
pub(crate) fn dismiss(zone: &str, sources: &[String]) {
    let dismissed = try_dismiss(zone, sources).or_else(|_| try_dismiss(zone, sources));
    if let Err(error) = dismissed {
        log::warning(format_args!("{error}"));
    }
}

fn try_dismiss(zone: &str, sources: &[String]) -> Result<(), Error> {
    let mut bus = open()?;
    for source in sources {
        match call(&mut bus, "removeSource", zone, source) {
            Err(error) if !is(&error, &["UNKNOWN_SOURCE", "ZONE_CONFLICT"]) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What is not in the zone, for people.
pub(crate) fn missing(zone: &str, sources: &[String]) -> Result<Vec<String>, Error> {
    let mut bus = open()?;
    let mut missing = Vec::new();
    for source in sources {
        if call(&mut bus, "querySource", zone, source)? != Answer::Truth(true) {
            missing.push(format!("firewalld: {source} is no source of zone {zone}"));
        }
    }
    Ok(missing)
}
