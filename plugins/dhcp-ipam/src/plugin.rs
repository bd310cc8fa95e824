//! The plugin: it asks the daemon, and starts one where there is none.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cni_common::addr::Cidr;
use cni_common::attach::check::{drift, listed};
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::ident::NetworkName;
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::owner::Owner;
use cni_common::plugin::{About, Call, DelCall, GcCall, Plugin, StatusCall};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

use crate::config::Config;
use crate::control::{Answer, Request};
use crate::inside::Inside;
use crate::lease::Terms;
use crate::reach;
use crate::store::Store;

/// For what needs no server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for leases; the daemon keeps them.
pub(crate) struct DhcpIpam;

impl Plugin for DhcpIpam {
    type Config = Config;
    const ABOUT: About = About {
        name: "dhcp-ipam",
        release: env!("CARGO_PKG_VERSION"),
        versions: SpecVersion::V0_1_0..=SpecVersion::V1_1_0,
    };

    fn add(&self, call: &Call<Config>) -> Result<Attachment, Error> {
        call.netns()?;
        let mac = Inside::open(&call.netns_path, &call.ifname)?.mac;
        let owner = call.owner();
        let request = Request::Add {
            settings: call.config.settings(&owner, mac),
            owner,
            netns: call.netns_path.clone(),
            timeout_secs: call.config.timeout_secs,
            inform: call.config.inform,
        };
        // The daemon gives up first, and says why.
        let patience = Duration::from_secs(u64::from(call.config.timeout_secs)) + PATIENCE;
        let (terms, _) = lease(ask(&call.config, &request, patience)?)?;
        Ok(terms.to_attachment(call.config.wishes))
    }

    fn check(&self, call: &Call<Config>) -> Result<(), Error> {
        let previous = call.required_previous()?;
        let cidr = match call.config.inform {
            Some(cidr) => cidr,
            None => leased(call)?,
        };
        if !previous.ips.iter().any(|ip| ip.address == cidr) {
            let found: Vec<String> = previous
                .ips
                .iter()
                .map(|ip| ip.address.to_string())
                .collect();
            return Err(drift("prevResult.ips", cidr, found.join(", ")));
        }
        let mut rtnl = call
            .netns()?
            .run(Rtnl::open)
            .map_err(Cause::cause)?
            .map_err(Cause::cause)?;
        let link = rtnl.link_by_name(&call.ifname).map_err(Cause::cause)?;
        let link =
            link.ok_or_else(|| drift("interface in the container", &call.ifname, "nothing"))?;
        let addresses = rtnl.addresses(&link).map_err(Cause::cause)?;
        if addresses.iter().any(|address| address.cidr == cidr) {
            return Ok(());
        }
        let what = format!("address on {}", link.name);
        Err(drift(&what, cidr, listed(&addresses)))
    }

    fn del(&self, call: &DelCall<Config>) -> Result<(), Error> {
        let owner = call.owner();
        let store = Store::new(&call.config.state);
        match end(&call.config, &store, &owner) {
            Ok(()) => Ok(()),
            // A container must not live on because a lease cannot be given back now: it is given back later, or ends.
            Err(error) => {
                log::warning(format_args!("{error}"));
                queue(&call.config, &store, &owner)
            }
        }
    }

    fn status(&self, call: &StatusCall<Config>) -> Result<(), Error> {
        let unavailable = |error: Error| error.with_code(Code::NotAvailable);
        if let Some(stream) = reach::dial(&call.config.socket).map_err(unavailable)? {
            return reach::ask(stream, &Request::List, PATIENCE)
                .map(drop)
                .map_err(unavailable);
        }
        if !call.config.start {
            return Err(Error::new(
                Code::NotAvailable,
                format!(
                    "no daemon listens at {}, and startDaemon is false",
                    call.config.socket.display()
                ),
            ));
        }
        for path in [
            Some(call.config.state.as_path()),
            call.config.socket.parent(),
        ] {
            can_write(path.unwrap_or(Path::new("/"))).map_err(unavailable)?;
        }
        Ok(())
    }

    fn gc(&self, call: &GcCall<Config>) -> Result<(), Error> {
        let request = Request::Gc {
            network: call.network.clone(),
            valid: call.valid.clone(),
        };
        let store = Store::new(&call.config.state);
        if let Some(stream) = reach::dial(&call.config.socket)? {
            return reach::ask(stream, &request, PATIENCE).map(drop);
        }
        if !has_any(&store, &call.network)? {
            return Ok(());
        }
        ask(&call.config, &request, PATIENCE).map(drop)
    }
}

/// Asks the daemon, once more when it ended at that moment: one that nobody needs ends by itself.
fn ask(config: &Config, request: &Request, patience: Duration) -> Result<Answer, Error> {
    let connect = || reach::connect(config, request.netns());
    let first = reach::ask(connect()?, request, patience);
    match first {
        Err(error) if error.code() == Code::TryAgain && config.start => {
            match reach::dial(&config.socket)? {
                Some(_) => Err(error),
                None => reach::ask(connect()?, request, patience),
            }
        }
        other => other,
    }
}

/// The address that the daemon keeps for the container.
fn leased(call: &Call<Config>) -> Result<Cidr, Error> {
    let (terms, state) = lease(ask(&call.config, &Request::Show(call.owner()), PATIENCE)?)?;
    if ["BOUND", "RENEWING", "REBINDING"].contains(&state.as_str()) {
        return Ok(terms.cidr());
    }
    Err(drift("the state of the lease", "BOUND", state))
}

fn lease(answer: Answer) -> Result<(Terms, String), Error> {
    match answer {
        Answer::Lease { terms, state } => Ok((terms, state)),
        Answer::Done | Answer::List(_) | Answer::Text(_) | Answer::Failed { .. } => {
            Err(Error::new(
                Code::Io,
                "the daemon of dhcp-ipam answered another question",
            ))
        }
    }
}

/// Lets the daemon give a lease back; one that is not running is started only when there is something to give back.
fn end(config: &Config, store: &Store, owner: &Owner) -> Result<(), Error> {
    let request = Request::Del(owner.clone());
    if let Some(stream) = reach::dial(&config.socket)? {
        return reach::ask(stream, &request, PATIENCE).map(drop);
    }
    if store.read(owner).is_none() {
        return Ok(());
    }
    ask(config, &request, PATIENCE).map(drop)
}

/// Leaves word for the next daemon that a lease is to be given back.
fn queue(config: &Config, store: &Store, owner: &Owner) -> Result<(), Error> {
    let Some(record) = store.read(owner) else {
        return Ok(());
    };
    // A daemon that starts meanwhile would write over it; one that was just killed takes a moment to be gone.
    let Some(_lock) = reach::lock_soon(&config.socket)? else {
        log::warning(format_args!(
            "the daemon does not answer; the lease of {owner} ends by itself"
        ));
        return Ok(());
    };
    if let Err(error) = store.mark_released(&record) {
        log::warning(format_args!("{error}; the lease ends by itself"));
    }
    Ok(())
}

fn has_any(store: &Store, network: &NetworkName) -> Result<bool, Error> {
    let all = store.all()?;
    Ok(all.iter().any(|record| record.owner.network == *network))
}

/// Whether a directory can be written, or made where it is not there.
fn can_write(directory: &Path) -> Result<(), Error> {
    let existing = directory
        .ancestors()
        .find(|path| fs::metadata(path).is_ok())
        .unwrap_or(Path::new("/"));
    let mode = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    nix::unistd::access(existing, mode).map_err(|errno| {
        Error::new(
            Code::Io,
            format!("{} cannot be written: {errno}", existing.display()),
        )
    })
}
