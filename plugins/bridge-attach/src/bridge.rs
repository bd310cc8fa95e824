//! The bridge: made or adopted, given its gateway addresses, and removed when it was ours and is empty.

use std::time::{Duration, Instant};

use cni_common::addr::Cidr;
use cni_common::attach::check::shown;
use cni_common::attach::mac;
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::bridge::{Ensured, NewBridge, Options, has_fixed_address};
use cni_common::netlink::link::Link;
use cni_common::netlink::{self, Rtnl, addr};
use cni_common::sysctl;
use cni_common::undo::Undo;

use crate::config::Config;
use crate::names::{BRIDGE_MARK, HALF_MADE, REMOVAL_MARK};
use crate::spoof::link_local;
use crate::uplink;

/// How long a bridge may be half made while its ADD lives: it takes microseconds.
const BEING_MADE: Duration = Duration::from_millis(50);

/// The MTU of a bridge unless said otherwise (`ETH_DATA_LEN`, `linux/if_ether.h`).
const DEFAULT_MTU: u32 = 1500;

/// The MTU of a bridge that is made.
fn mtu_of_new(config: &Config) -> u32 {
    config.mtu.unwrap_or(DEFAULT_MTU)
}

/// Makes the bridge, or adopts the one there is, and sets it up.
///
/// # Errors
/// Code 101 when the name belongs to a link that is no bridge, or to a bridge that is not as it is chosen; code 2 when
/// this kernel's bridges cannot be so.
pub(crate) fn ensure(
    rtnl: &mut Rtnl,
    name: &IfName,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Link, Error> {
    if !config.options.manage {
        return unmanaged(rtnl, name, config);
    }
    let new = NewBridge {
        name,
        mac: mac::random(),
        // Another than it is to have: the kernel lets it follow the ports until it has been changed once.
        mtu: Some(mtu_of_new(config) ^ 1),
        group: Some(HALF_MADE),
        options: config.options.of_new(config),
    };
    // Before it is made: the answer may be what is lost. Its address tells whether it is ours.
    let (wanted, mac) = (name.clone(), new.mac);
    undo.push(format!("delete bridge {name}"), move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        match rtnl.link_by_name(&wanted).map_err(Cause::cause)? {
            Some(link) if link.is_bridge() && link.mac == Some(mac) => {
                remove_if_unused(&mut rtnl, &link)
            }
            _ => Ok(()),
        }
    });
    match ensure_lasting(rtnl, &new, config)? {
        Ensured::Created(link) => prepare(rtnl, link, config),
        // Whoever made it is late, or has crashed.
        Ensured::Found(link) if is_half_made(&link) => prepare(rtnl, link, config),
        Ensured::Found(link) if link.is_bridge() => adopt(rtnl, link, config, undo),
        Ensured::Found(link) => Err(no_bridge(&link)),
    }
}

fn no_bridge(link: &Link) -> Error {
    Error::new(
        Code::Taken,
        format!(
            "bridge: {:?} exists already and is not a bridge but a link of kind {}",
            link.name,
            link.kind.as_deref().unwrap_or("hardware")
        ),
    )
}

/// Finds a bridge that is somebody else's to make and to change.
fn unmanaged(rtnl: &mut Rtnl, name: &IfName, config: &Config) -> Result<Link, Error> {
    let refused = |words: &str| {
        let text = format!("manageBridge is false, and bridge {name} {words}");
        Error::new(Code::InvalidConfig, text)
    };
    match rtnl.link_by_name(name).map_err(Cause::cause)? {
        None => Err(refused("does not exist")),
        Some(link) if !link.is_bridge() => Err(no_bridge(&link)),
        Some(link) if !link.up => Err(refused("is down")),
        Some(link) => {
            require_options(&link, config)?;
            Ok(link)
        }
    }
}

/// Makes sure that an ADD could make or adopt the bridge; changes nothing.
pub(crate) fn require_usable(rtnl: &mut Rtnl, name: &IfName, config: &Config) -> Result<(), Error> {
    if !config.options.manage {
        return unmanaged(rtnl, name, config).map(|_| ());
    }
    match rtnl.link_by_name(name).map_err(Cause::cause)? {
        Some(link) if !link.is_bridge() => Err(no_bridge(&link)),
        Some(link) if !is_half_made(&link) => require_options(&link, config).map(|_| ()),
        _ => Ok(()),
    }
}

/// Makes sure that a bridge that is there is as it is chosen; filtering may have to be switched on.
fn require_options(link: &Link, config: &Config) -> Result<Option<Options>, Error> {
    let found = link.bridge.unwrap_or_default();
    let mut differences = config.options.differences(config, &found);
    let mut change = None;
    if config.options.switches_filtering_on() && found.vlan_filtering == Some(false) {
        differences.retain(|(key, ..)| *key != "vlanFiltering");
        change = Some(Options {
            vlan_filtering: Some(true),
            ..Options::default()
        });
    }
    if let Some(lacking) = differences.iter().find(|(.., found)| found.is_none()) {
        return Err(impossible(lacking.0, &lacking.1));
    }
    if differences.is_empty() {
        return Ok(change);
    }
    let list: Vec<String> = differences
        .iter()
        .map(|(key, wanted, found)| match *key {
            "vlan" | "vlanTrunk" => format!(
                "{key}: the bridge does not filter VLANs; vlanFiltering: true switches that on"
            ),
            _ => format!(
                "{key}: wanted {wanted}, the bridge has {}",
                shown(found.as_ref())
            ),
        })
        .collect();
    let list = list.join("; ");
    let text = format!(
        "bridge {} exists and is not as configured: {list}",
        link.name
    );
    Err(Error::new(Code::Taken, text))
}

fn impossible(key: &str, wanted: &str) -> Error {
    let text = format!("{key}: this kernel's bridges cannot have it ({wanted})");
    Error::new(Code::Unsupported, text)
}

/// Names the key that asks for VLANs where this kernel's bridges have none.
fn cannot_filter(error: netlink::Error, config: &Config) -> Error {
    if error.is_unsupported() && error.missing_module().is_none() {
        return impossible(config.options.filtering_key(config), "VLANs");
    }
    error.cause()
}

/// Makes sure that a bridge that was just made is as it was asked for: kernels ignore what they do not know.
fn require_made(link: &Link, config: &Config) -> Result<(), Error> {
    let found = link.bridge.unwrap_or_default();
    match config.options.differences(config, &found).first() {
        None => Ok(()),
        Some((key, wanted, _)) => Err(impossible(key, wanted)),
    }
}

/// The VLAN into which its ports are born.
pub(crate) fn default_pvid(bridge: &Link) -> Option<u16> {
    bridge.bridge.and_then(|options| options.default_pvid)
}

/// Whether the plugin made the bridge, and so may remove it.
pub(crate) fn is_ours(bridge: &Link) -> bool {
    matches!(bridge.alias.as_deref(), Some(BRIDGE_MARK | REMOVAL_MARK))
}

/// Whether the plugin made the bridge and has not marked it yet.
fn is_half_made(bridge: &Link) -> bool {
    bridge.is_bridge() && bridge.group == HALF_MADE
}

/// Whether somebody is about to delete the bridge.
pub(crate) fn is_marked_for_removal(bridge: &Link) -> bool {
    bridge.alias.as_deref() == Some(REMOVAL_MARK)
}

/// Makes or finds the bridge, and waits for one that is being made or removed. What takes too long has crashed: then
/// the bridge is taken over.
fn ensure_lasting(rtnl: &mut Rtnl, new: &NewBridge<'_>, config: &Config) -> Result<Ensured, Error> {
    const PATIENCE: Duration = Duration::from_secs(1);
    // Rarely needed, and dear for the first who asks for the time.
    let mut begin = None;
    let mut waited = || begin.get_or_insert_with(Instant::now).elapsed();
    loop {
        match rtnl
            .ensure_bridge(new)
            .map_err(|error| cannot_filter(error, config))?
        {
            Ensured::Found(link) if is_marked_for_removal(&link) => {
                if waited() > PATIENCE {
                    mark(rtnl, &link, BRIDGE_MARK)?;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ensured::Found(link) if is_half_made(&link) && waited() < BEING_MADE => {
                std::thread::sleep(Duration::from_micros(200));
            }
            ensured @ (Ensured::Created(_) | Ensured::Found(_)) => return Ok(ensured),
        }
    }
}

fn mark(rtnl: &mut Rtnl, bridge: &Link, mark: &str) -> Result<(), Error> {
    let change = bridge.change().alias(mark);
    let doing = format!("mark bridge {}", bridge.name);
    rtnl.execute(change.doing(doing).request())
        .map_err(Cause::cause)
}

/// Marks a bridge that was just made, and sets it up.
fn prepare(rtnl: &mut Rtnl, link: Link, config: &Config) -> Result<Link, Error> {
    require_made(&link, config)?;
    // What containers send must neither configure the host nor delay its addresses.
    for key in ["accept_ra", "accept_dad"] {
        let name = format!("net/ipv6/conf/{}/{key}", link.name);
        if let Err(error) = sysctl::set(&name, "0") {
            log::warning(format_args!("set {name} to 0: {error}"));
        }
    }
    let mtu = mtu_of_new(config);
    let mut change = link.change().alias(BRIDGE_MARK).group(0).mtu(mtu).up();
    if config.promisc {
        change = change.promisc(true);
    }
    let doing = format!("set up bridge {}", link.name);
    rtnl.execute(change.doing(doing).request())
        .map_err(Cause::cause)?;
    if config.leave_down {
        add_link_local(rtnl, &link);
    }
    Ok(Link { mtu, ..link })
}

/// Gives a bridge its link-local address, for which the kernel waits until a port has a carrier: with
/// `disableContainerInterface` that may be long. A host without IPv6 has none.
fn add_link_local(rtnl: &mut Rtnl, link: &Link) {
    let Some(cidr) = link.mac.and_then(|mac| Cidr::new(link_local(mac), 64)) else {
        return;
    };
    if let Err(error) = rtnl.execute(addr::add(link, cidr)) {
        log::debug(format_args!("{error}"));
    }
}

fn adopt(rtnl: &mut Rtnl, link: Link, config: &Config, undo: &mut Undo<'_>) -> Result<Link, Error> {
    let filter = require_options(&link, config)?;
    // The kernel gives a bridge the lowest of its ports' addresses, so that the gateway's address changes under
    // all containers when one comes or goes, unless somebody has set it.
    let pin = link.alias.as_deref() != Some(BRIDGE_MARK) && has_fixed_address(&link) != Some(true);
    let raise_promisc = config.promisc && !link.promisc;
    if link.up && !raise_promisc && !pin && filter.is_none() {
        return Ok(link);
    }
    let mut change = link
        .change()
        .doing(format!("adopt bridge {}", link.name))
        .up();
    if raise_promisc {
        change = change.promisc(true);
    }
    if let Some(mac) = link.mac.filter(|_| pin) {
        change = change.mac(mac);
    }
    if let Some(options) = filter {
        change = change.bridge_options(options);
    }
    let (was_up, before) = (link.up, link.clone());
    undo.push(format!("put bridge {} back", link.name), move || {
        let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
        let mut change = before.change();
        if raise_promisc {
            change = change.promisc(false);
        }
        if filter.is_some() {
            change = change.bridge_options(Options {
                vlan_filtering: Some(false),
                ..Options::default()
            });
        }
        // Somebody else's container may live on it by now.
        if !was_up && rtnl.ports_of(&before).map_err(Cause::cause)?.is_empty() {
            change = change.down();
        }
        rtnl.execute(change.request()).map_err(Cause::cause)
    });
    rtnl.execute(change.request())
        .map_err(|error| cannot_filter(error, config))?;
    Ok(link)
}

/// Puts the bridge's MTU back to what it was before a port with another one joined: the kernel makes it
/// follow the smallest port until it has been changed once.
pub(crate) fn keep_mtu(rtnl: &mut Rtnl, bridge: &Link, port_mtu: u32) -> Result<(), Error> {
    if port_mtu == bridge.mtu {
        return Ok(());
    }
    let now = rtnl.link_by_index(bridge.index).map_err(Cause::cause)?;
    if now.is_none_or(|now| now.mtu == bridge.mtu) {
        return Ok(());
    }
    let change = bridge.change().mtu(bridge.mtu);
    let doing = format!("keep the mtu of bridge {}", bridge.name);
    rtnl.execute(change.doing(doing).request())
        .map_err(Cause::cause)
}

/// Removes a bridge that the plugin made and that has no port left.
pub(crate) fn remove_if_empty(
    rtnl: &mut Rtnl,
    name: &IfName,
    config: &Config,
) -> Result<(), Error> {
    match rtnl.link_by_name(name).map_err(Cause::cause)? {
        Some(link) if link.is_bridge() && is_ours(&link) => {
            let uplinks = uplink::of_bridge(rtnl, &link, config);
            remove_but_for(rtnl, &link, &uplinks)
        }
        Some(link) if is_half_made(&link) => remove_abandoned(rtnl, &link),
        _ => Ok(()),
    }
}

/// Removes a bridge whose ADD crashed before it marked it.
fn remove_abandoned(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    std::thread::sleep(BEING_MADE);
    match rtnl.link_by_index(bridge.index).map_err(Cause::cause)? {
        Some(link) if is_half_made(&link) => remove_if_unused(rtnl, &link),
        _ => Ok(()),
    }
}

/// Deletes the bridge unless it has a port.
///
/// An ADD may be joining it. So it is marked first, and looked at again: an ADD whose port came too late to be
/// seen here sees the mark afterwards, and begins anew. The kernel does one after the other.
pub(crate) fn remove_if_unused(rtnl: &mut Rtnl, bridge: &Link) -> Result<(), Error> {
    remove_but_for(rtnl, bridge, &[])
}

/// Like [`remove_if_unused`]; uplinks do not count as ports, and are given back.
fn remove_but_for(rtnl: &mut Rtnl, bridge: &Link, uplinks: &[uplink::Port]) -> Result<(), Error> {
    let removed = try_remove(rtnl, bridge, uplinks);
    // Somebody else removed it.
    if removed.is_err()
        && rtnl
            .link_by_index(bridge.index)
            .is_ok_and(|now| now.is_none())
    {
        return Ok(());
    }
    removed
}

fn try_remove(rtnl: &mut Rtnl, bridge: &Link, uplinks: &[uplink::Port]) -> Result<(), Error> {
    let is_empty = |rtnl: &mut Rtnl| -> Result<bool, Error> {
        let ports = rtnl.ports_of(bridge).map_err(Cause::cause)?;
        Ok(ports.iter().all(|port| uplink::is_among(port, uplinks)))
    };
    if !is_empty(rtnl)? {
        return Ok(());
    }
    mark(rtnl, bridge, REMOVAL_MARK)?;
    if is_empty(rtnl)? {
        uplink::release(rtnl, bridge, uplinks)?;
        return rtnl.delete_link_detached(bridge).map_err(Cause::cause);
    }
    mark(rtnl, bridge, BRIDGE_MARK)
}
