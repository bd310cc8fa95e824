//! Which of the host's firewalls an attachment's rules go into, and what is switched beside them.

use core::net::IpAddr;

use cni_common::addr::{Cidr, Family};
use cni_common::error::{Error, Step};
use cni_common::ident::NetworkName;
use cni_common::log;
use cni_common::nft::Nft;
use cni_common::owner::Owner;

use crate::apply::{self, Before};
use crate::config::{Backend, Config};
use crate::publish::{self, Published, localhost};
use crate::release::zone::Leaving;
use crate::release::{self, Going};
use crate::rules::{self, Plan};
use crate::sysctls::{self, Memory, Wanted};
use crate::{check, firewalld, forwarding, legacy, reference};

/// Where the rules go.
#[derive(Debug)]
enum Choice {
    Nftables(Nft),
    Legacy,
}

fn choose(backend: Backend) -> Result<Choice, Error> {
    match backend {
        Backend::Nftables | Backend::Firewalld => crate::open().map(Choice::Nftables),
        Backend::Legacy => Ok(Choice::Legacy),
        Backend::Auto if legacy::is_in_use() => Ok(Choice::Legacy),
        Backend::Auto => match nftables()? {
            Some(nft) => Ok(Choice::Nftables(nft)),
            None if legacy::is_possible().is_ok() => Ok(Choice::Legacy),
            None => crate::open().map(Choice::Nftables),
        },
    }
}

/// The zone of firewalld that containers become sources of, if it is there.
fn zone<'a>(config: &'a Config, nft: &mut Nft) -> Result<Option<&'a str>, Error> {
    let active = match config.backend {
        Backend::Nftables | Backend::Legacy => false,
        Backend::Firewalld => true,
        Backend::Auto => {
            config.firewalld_zone.is_some()
                && firewalld::is_active(nft).step(|| "look for firewalld")?
        }
    };
    Ok(config.firewalld_zone.as_deref().filter(|_| active))
}

/// The nftables of the namespace; `None` where the kernel has none.
fn nftables() -> Result<Option<Nft>, Error> {
    let asked = Nft::open().and_then(|mut nft| nft.generation().map(|_| nft));
    match asked {
        Ok(nft) => Ok(Some(nft)),
        Err(error) if error.lacks_subsystem() => Ok(None),
        Err(error) => Err(error).step(|| "open nftables"),
    }
}

/// Whether an ADD could be served.
pub fn is_usable(backend: Backend) -> Result<(), Error> {
    match choose(backend)? {
        Choice::Nftables(mut nft) => nft.generation().step(|| "ask for nftables").map(|_| ()),
        Choice::Legacy => legacy::is_possible(),
    }
}

/// Compares the host with the plan.
///
/// # Errors
/// Code 102 with everything that is not as ADD left it.
pub fn check(config: &Config, plan: &Plan, owner: &Owner, sysctls: &[Wanted]) -> Result<(), Error> {
    let rules = match choose(config.backend)? {
        Choice::Nftables(mut nft) => {
            let mut drift = check::rules(&mut nft, plan, owner)?;
            if let Some(zone) = zone(config, &mut nft)? {
                drift.extend(firewalld::missing(zone, &firewalld::sources(plan))?);
            }
            drift
        }
        Choice::Legacy => legacy::missing(plan, owner)?,
    };
    check::verdict(rules, sysctls)
}

/// Puts a plan into the kernel and switches what the configuration asks for; tells what was there before. On failure
/// nothing stays.
pub fn attach(owner: &Owner, config: &Config, plan: &Plan) -> Result<Before, Error> {
    let families: Vec<Family> = plan.families().collect();
    // The last attachment to go holds the lock while it puts parameters back: look at them under it.
    let memory = Memory::open(config.restore_sysctls)?;
    let mut choice = choose(config.backend)?;
    let repeated = match &mut choice {
        Choice::Nftables(nft) => {
            legacy::check_free(plan, owner)?;
            publish::check_free(nft, plan, owner)?
        }
        Choice::Legacy => {
            legacy::check_free(plan, owner)?;
            if !plan.published.is_empty()
                && let Some(mut nft) = nftables()?
            {
                publish::check_free(&mut nft, plan, owner)?;
            }
            false
        }
    };
    if config.restore_sysctls && is_first(&mut choice)? {
        memory.begin()?;
    }
    let wanted = sysctls::wanted(config, &families, &plan.inside);
    let wanted = forwarding::keeping_routes(sysctls::pending(wanted)?)?;
    let mut changed = Vec::new();
    let remembering = config.restore_sysctls.then_some(&memory);
    let applied = match &mut choice {
        Choice::Nftables(nft) => apply::apply(nft, plan, owner).and_then(|before| {
            if let Some(zone) = zone(config, nft)? {
                firewalld::admit(zone, &firewalld::sources(plan))?;
            }
            Ok(before)
        }),
        Choice::Legacy => legacy::attach(plan, owner),
    };
    let attached = applied.and_then(|before| {
        sysctls::set(&wanted, remembering, &mut changed)?;
        match &mut choice {
            Choice::Nftables(nft) => publish::add(nft, plan, owner, repeated)?,
            Choice::Legacy => legacy::follow(plan)?,
        }
        Ok(before)
    });
    if attached.is_err()
        && let Err(error) = undo(owner, config, &memory, &changed)
    {
        log::error(format_args!("undo: {error}"));
    }
    attached
}

/// Whether no attachment of the host has rules.
fn is_first(choice: &mut Choice) -> Result<bool, Error> {
    match choice {
        Choice::Nftables(nft) => {
            let sets = nft.sets(&rules::table()).step(|| "read the firewall")?;
            Ok(sets.is_empty())
        }
        Choice::Legacy => legacy::has_attachments().map(|some| !some),
    }
}

/// Takes an attachment back that failed. Whether its transaction was carried out is not certain: the kernel's
/// answer may be what is lost.
fn undo(
    owner: &Owner,
    config: &Config,
    memory: &Memory,
    changed: &[sysctls::Changed],
) -> Result<(), Error> {
    // Attachments that came in between rely on what was switched.
    if release(config, &owner.network, &Going::Of(&owner.tag(), &[]))? {
        sysctls::put_back(changed)?;
        memory.forget()?;
    }
    Ok(())
}

/// Takes attachments of a network out of the kernel, and with the last one what they shared and what the
/// configuration switched. What is not there is no error.
pub fn detach(config: &Config, network: &NetworkName, going: &Going<'_>) -> Result<(), Error> {
    let memory = Memory::open(false)?;
    if release(config, network, going)? {
        memory.restore()?;
    }
    Ok(())
}

/// Takes attachments out of whatever firewall they are in; whether none of this plugin is left.
fn release(config: &Config, network: &NetworkName, going: &Going<'_>) -> Result<bool, Error> {
    let released = match nftables()? {
        Some(mut nft) => {
            // Not without: once the rules are gone nothing tells what the zone had of them.
            let left = leave_zone(&mut nft, config, network, going)?;
            // Nor without this: the rules keep 127.0.0.0/8 closed, and say that it was opened.
            let unpublished =
                publish::release(&mut nft, network, going, &published_by(config, going))?;
            let released = release::release(&mut nft, network, going);
            let left = match left {
                Some((zone, leaving)) => come_back(&mut nft, zone, &leaving, network),
                None => Ok(()),
            };
            let deleted =
                unpublished.deleted || released.as_ref().is_ok_and(|released| released.deleted);
            let settled = unpublished.settle(&mut nft);
            if deleted {
                nft.close_after_deletion();
            }
            left.and(settled)
                .and(released.map(|released| released.all_gone))
        }
        None => Ok(true),
    };
    let legacy = legacy::detach(network, going)?;
    if !legacy.closed.is_empty()
        && let Some(mut nft) = nftables()?
    {
        // What is published there still needs it.
        localhost::reopen(&mut nft, &legacy.closed)?;
    }
    Ok(released? && legacy.all_gone)
}

/// Takes what goes with attachments out of the zone of firewalld: before their rules, so that a call that is repeated finds
/// again what it has to take out.
fn leave_zone<'a>(
    nft: &mut Nft,
    config: &'a Config,
    network: &NetworkName,
    going: &Going<'_>,
) -> Result<Option<(&'a str, Leaving)>, Error> {
    let Some(zone) = zone(config, nft)? else {
        return Ok(None);
    };
    let leaving = Leaving::of(nft, network, going, &config.sources);
    let leaving = leaving.step(|| "read the firewall")?;
    if !leaving.is_empty() {
        firewalld::dismiss(zone, &leaving.texts());
    }
    Ok(Some((zone, leaving)))
}

/// Gives back to the zone what somebody else came to need meanwhile.
fn come_back(
    nft: &mut Nft,
    zone: &str,
    leaving: &Leaving,
    network: &NetworkName,
) -> Result<(), Error> {
    let needed = leaving.needed_again(nft, network);
    let needed = needed.step(|| "read the firewall")?;
    if needed.is_empty() {
        return Ok(());
    }
    firewalld::admit(zone, &needed)
}

/// Removes what the reference plugin `firewall` left for these addresses, in whatever firewall.
pub(crate) fn remove_reference(addresses: &[IpAddr]) -> Result<(), Error> {
    let removed = match nftables()? {
        Some(_) => reference::remove(addresses),
        None => Ok(()),
    };
    removed.and(legacy::remove_accepts(addresses))
}

/// The ports that an attachment probably holds.
fn published_by(config: &Config, going: &Going<'_>) -> Vec<Published> {
    match going {
        Going::Of(_, addresses) => {
            let own: Vec<Cidr> = addresses.iter().copied().map(Cidr::host).collect();
            publish::wanted(config, &own)
        }
        Going::Where(_) => Vec::new(),
    }
}
