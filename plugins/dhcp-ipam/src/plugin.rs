//! The plugin: it asks the daemon, and starts one where there is none.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cni_common::addr::{Cidr, Family};
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
use crate::control::{Add, Answer, Held, Request};
use crate::inside::Inside;
use crate::kept::Kept;
use crate::reach;
use crate::record::Record;
use crate::record6::{Mode, Record6};
use crate::store::Store;
use crate::sys::file::may_write_in;

/// For the end of many leases: each is a message from a namespace.
const COLLECTING: Duration = Duration::from_mins(2);
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
        let config = &call.config;
        let inside = Inside::open(&call.netns_path, &call.ifname)?;
        let owner = call.owner();
        let families = &config.families;
        let ipv6 = families.ipv6.as_ref();
        if let Some(ipv6) = ipv6 {
            inside.prepare_ipv6(ipv6, config.wishes)?;
        }
        let request = Request::Add(Box::new(Add {
            settings: families.ipv4.then(|| config.settings(&owner, inside.mac)),
            ipv6: ipv6.map(|ipv6| ipv6.settings(&owner, config.on_change.clone(), config.wishes)),
            owner,
            netns: call.netns_path.clone(),
            require: families.require,
            grace_secs: families.grace_secs,
            timeout_secs: config.timeout_secs,
            inform: config.inform,
        }));
        // Nothing here keeps the namespace alive.
        drop(inside);
        // The daemon gives up first, and says why.
        let patience = Duration::from_secs(u64::from(config.timeout_secs)) + PATIENCE;
        let held = held(ask(config, &request, patience)?)?;
        let mut attachment = match &held.ipv4 {
            Some((terms, _)) => terms.to_attachment(config.wishes),
            None => Attachment::default(),
        };
        if let Some((granted, _)) = &held.ipv6 {
            let prefix = ipv6.map_or(128, |ipv6| ipv6.prefix);
            granted.add_to(&mut attachment, prefix, config.wishes);
        }
        Ok(attachment)
    }

    fn check(&self, call: &Call<Config>) -> Result<(), Error> {
        let previous = call.required_previous()?;
        let wanted = expected(call, previous)?;
        let mut rtnl = call
            .netns()?
            .run(Rtnl::open)
            .map_err(Cause::cause)?
            .map_err(Cause::cause)?;
        let link = rtnl.link_by_name(&call.ifname).map_err(Cause::cause)?;
        let link =
            link.ok_or_else(|| drift("interface in the container", &call.ifname, "nothing"))?;
        let addresses = rtnl.addresses(&link).map_err(Cause::cause)?;
        for cidr in wanted {
            if !addresses.iter().any(|address| address.cidr == cidr) {
                let what = format!("address on {}", link.name);
                return Err(drift(&what, cidr, listed(&addresses)));
            }
        }
        Ok(())
    }

    fn del(&self, call: &DelCall<Config>) -> Result<(), Error> {
        let owner = call.owner();
        let store = Store::new(&call.config.state);
        // A container must not live on because a lease cannot be given back now: it is given back later, or ends.
        if let Err(error) = end(&call.config, &store, &owner) {
            log::warning(format_args!("{error}"));
            queue(&call.config, &store, &owner);
        }
        Ok(())
    }

    fn status(&self, call: &StatusCall<Config>) -> Result<(), Error> {
        let unavailable = |error: Error| error.with_code(Code::NotAvailable);
        if let Some(stream) = reach::dial(&call.config.socket).map_err(unavailable)? {
            // A short answer, however many leases there are.
            return reach::ask(stream, &Request::Metrics, PATIENCE)
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
            return reach::ask(stream, &request, COLLECTING).map(drop);
        }
        if !has_any(&store, &call.network)? {
            return Ok(());
        }
        ask(&call.config, &request, COLLECTING).map(drop)
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

/// The addresses that the container is to have: those of its leases, which the result must have as well, and those of the
/// result that the kernel made.
fn expected(call: &Call<Config>, previous: &Attachment) -> Result<Vec<Cidr>, Error> {
    let families = &call.config.families;
    let recorded = |family: Family| -> Vec<Cidr> {
        let ips = previous.ips.iter().map(|ip| ip.address);
        ips.filter(|cidr| cidr.family() == family).collect()
    };
    let (v4, v6) = (recorded(Family::V4), recorded(Family::V6));
    // Where the kernel alone sees to IPv6, or the address was given by other means, the daemon knows nothing of it.
    let ipv6 = families.ipv6.as_ref();
    let by_kernel = ipv6.is_some_and(|ipv6| ipv6.mode != Mode::Dhcp) && !v6.is_empty();
    let leased4 = families.ipv4 && call.config.inform.is_none();
    let held = match ask(&call.config, &Request::Show(call.owner()), PATIENCE) {
        Ok(answer) => held(answer)?,
        Err(_) if !leased4 && (ipv6.is_none() || by_kernel) => Held::default(),
        Err(_) if v4.is_empty() && by_kernel => Held::default(),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    match &held.ipv4 {
        Some((terms, state)) if leased4 => {
            require_held(state)?;
            all.push(terms.cidr());
        }
        None if leased4 && !v4.is_empty() => require_held("nothing")?,
        _ => {}
    }
    all.extend(call.config.inform);
    match (&held.ipv6, ipv6) {
        (Some((granted, state)), Some(ipv6)) => {
            require_held(state)?;
            all.extend(granted.addresses(ipv6.prefix));
        }
        (None, Some(_)) if by_kernel => all.extend(v6.iter().copied()),
        (None, Some(_)) if !v6.is_empty() => require_held("nothing")?,
        _ => {}
    }
    for cidr in &all {
        let recorded = match cidr.family() {
            Family::V4 => &v4,
            Family::V6 => &v6,
        };
        // One that came after the ADD was answered is in no result.
        let late = recorded.is_empty() && ipv6.is_some();
        if !late && !recorded.contains(cidr) {
            let found: Vec<String> = v4.iter().chain(&v6).map(ToString::to_string).collect();
            return Err(drift("prevResult.ips", cidr, found.join(", ")));
        }
    }
    Ok(all)
}

/// Whether a state is one in which a lease holds.
fn require_held(state: &str) -> Result<(), Error> {
    const HOLDS: [&str; 6] = [
        "BOUND",
        "CONFIRMING",
        "RENEWING",
        "REBINDING",
        // What a server said beside addresses.
        "INFORMED",
        "INFORMING",
    ];
    if HOLDS.contains(&state) {
        return Ok(());
    }
    Err(drift("the state of the lease", "BOUND", state))
}

fn held(answer: Answer) -> Result<Held, Error> {
    match answer {
        Answer::Lease(held) => Ok(*held),
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
    if store.read::<Record>(owner).is_none() && store.read::<Record6>(owner).is_none() {
        return Ok(());
    }
    ask(config, &request, PATIENCE).map(drop)
}

/// Leaves word for the next daemon that a lease is to be given back.
fn queue(config: &Config, store: &Store, owner: &Owner) {
    let (v4, v6) = (store.read::<Record>(owner), store.read::<Record6>(owner));
    if v4.is_none() && v6.is_none() {
        return;
    }
    // A daemon that starts meanwhile would write over it; one that was just killed takes a moment to be gone.
    let _lock = match reach::lock_soon(&config.socket) {
        Ok(None) => {
            log::warning(format_args!(
                "the daemon does not answer; the lease of {owner} ends by itself"
            ));
            return;
        }
        Ok(lock) => lock,
        // To be given back twice is better than never.
        Err(error) => {
            log::warning(format_args!("{error}"));
            None
        }
    };
    let v4 = v4.map_or(Ok(()), |record| store.mark_released(&record));
    let v6 = v6.map_or(Ok(()), |record| store.mark_released(&record));
    for error in [v4, v6].into_iter().filter_map(Result::err) {
        log::warning(format_args!("{error}; the lease ends by itself"));
    }
}

fn has_any(store: &Store, network: &NetworkName) -> Result<bool, Error> {
    fn any<K: Kept>(store: &Store, network: &NetworkName) -> Result<bool, Error> {
        let all = store.all::<K>()?;
        Ok(all.iter().any(|record| record.owner().network == *network))
    }
    Ok(any::<Record>(store, network)? || any::<Record6>(store, network)?)
}

/// Whether a directory can be written, or made where it is not there.
fn can_write(directory: &Path) -> Result<(), Error> {
    let existing = directory
        .ancestors()
        .find(|path| fs::metadata(path).is_ok())
        .unwrap_or(Path::new("/"));
    may_write_in(existing).map_err(|error| {
        Error::new(
            Code::Io,
            format!("{} cannot be written: {error}", existing.display()),
        )
    })
}
