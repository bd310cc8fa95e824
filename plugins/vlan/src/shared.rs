//! The VLAN link that containers share: made by the first of them, gone with the last.
//!
//! Each attachment that uses it adds a further name to it, which the kernel does atomically; nobody else writes them.
//! It goes in two steps: it is marked, and looked at again. Who began to use it meanwhile has either seen the mark,
//! and begins anew, or is seen. The kernel does one after the other.

use std::time::{Duration, Instant};

use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::log;
use cni_common::netlink::link::Link;
use cni_common::netlink::vlan::NewVlan;
use cni_common::netlink::{self, Rtnl};
use cni_common::sysctl;
use cni_common::undo::Undo;

use crate::config::Config;
use crate::lower::{Ground, Lower, require_up};
use crate::names::{self, MARK, REMOVAL_MARK};

/// How long a removal may take before it counts as crashed, and its link is taken over.
const PATIENCE: Duration = Duration::from_secs(1);

/// The shared link of a configuration, for one attachment.
pub(crate) struct Shared<'a> {
    pub(crate) config: &'a Config,
    pub(crate) id: u16,
    pub(crate) ground: Ground<'a>,
    /// The attachment, as a further name of the link.
    pub(crate) owner: String,
}

impl<'a> Shared<'a> {
    /// Makes or finds the link, and holds it.
    ///
    /// # Errors
    /// Code 101 when its name or its id belongs to something else, or it is not as the configuration has it.
    pub(crate) fn hold(&self, lower: &mut Lower, undo: &mut Undo<'a>) -> Result<Link, Error> {
        let begin = Instant::now();
        loop {
            let link = self.find_or_make(lower, undo)?;
            let link = grown(lower, link)?;
            self.require_fitting(&link)?;
            if !names::is_ours(&link) {
                require_up(&link, self.config, "vlanId")?;
                return Ok(link);
            }
            let rtnl = &mut lower.rtnl;
            if names::is_marked_for_removal(&link) {
                if begin.elapsed() > PATIENCE {
                    set_alias(rtnl, &link, MARK).map_err(Cause::cause)?;
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            // Before it is done: the answer may be what is lost.
            let (ground, owner, held) = (self.ground, self.owner.clone(), link.clone());
            undo.push(format!("leave {}", link.name), move || {
                leave(ground, &held, &owner)
            });
            if !self.add_owner(rtnl, &link)? {
                continue;
            }
            let now = rtnl.link_by_index(link.index).map_err(Cause::cause)?;
            if let Some(now) = now.filter(|now| !names::is_marked_for_removal(now)) {
                return Ok(now);
            }
        }
    }

    /// Adds the attachment to the link's owners; `false` when the link vanished meanwhile.
    fn add_owner(&self, rtnl: &mut Rtnl, link: &Link) -> Result<bool, Error> {
        let Err(error) = rtnl.add_altname(link, &self.owner) else {
            return Ok(true);
        };
        if error.is_absent() {
            return Ok(false);
        }
        if error.is_taken() {
            let holder = rtnl.link_by_altname(&self.owner).map_err(Cause::cause)?;
            return match holder {
                // Its ADD has crashed once.
                Some(holder) if holder.index == link.index => Ok(true),
                Some(holder) => Err(Error::new(
                    Code::Taken,
                    format!("the attachment uses {} already", holder.name),
                )),
                None => Ok(false),
            };
        }
        if error.is_unsupported() {
            return Err(Error::new(
                Code::Unsupported,
                "mode: \"shared\" with vlanId needs a kernel whose links can have further names (5.5)",
            ));
        }
        Err(error.cause())
    }

    fn find_or_make(&self, lower: &mut Lower, undo: &mut Undo<'a>) -> Result<Link, Error> {
        let protocol = self.config.protocol;
        let name = names::shared_name(lower.master.index, protocol, self.id)?;
        let mut again = true;
        loop {
            let named = lower.rtnl.link_by_name(&name).map_err(Cause::cause)?;
            if let Some(link) = named.filter(|link| self.is_it(lower, link)) {
                return self.prepared(lower, link);
            }
            let new = NewVlan {
                name: &name,
                master: &lower.master,
                id: self.id,
                protocol,
                options: &self.config.options,
                mac: None,
                mtu: Some(lower.room),
                netns: None,
            };
            let (ground, made) = (self.ground, name.clone());
            undo.push(format!("delete {name}"), move || {
                let link = ground.open()?.link_by_name(&made);
                match link.map_err(Cause::cause)? {
                    Some(link) => remove_if_unused(ground, &link),
                    None => Ok(()),
                }
            });
            match lower.rtnl.add_vlan(&new) {
                // Looked up by its name.
                Ok(()) => continue,
                Err(error) if !error.is_taken() => return Err(error.cause()),
                Err(_) => {}
            }
            let links = lower.rtnl.vlans().map_err(Cause::cause)?;
            if let Some(link) = links.into_iter().find(|link| self.is_it(lower, link)) {
                return self.prepared(lower, link);
            }
            if !again {
                return Err(self.taken(lower, name.as_str()));
            }
            // It was removed between the two looks.
            again = false;
        }
    }

    fn is_it(&self, lower: &Lower, link: &Link) -> bool {
        let here = link.peer_netns_id.is_none() && link.peer == Some(lower.master.index);
        let is_tagged = link
            .vlan
            .as_ref()
            .is_some_and(|vlan| (vlan.id, vlan.protocol) == (self.id, self.config.protocol));
        here && is_tagged
    }

    /// The error when the kernel says that something exists which is not to be found.
    fn taken(&self, lower: &Lower, name: &str) -> Error {
        Error::new(
            Code::Taken,
            format!(
                "vlanId: {} has a link for {} id {} already, in another network namespace; or {name} is the name of \
                 another link",
                lower.master.name, self.config.protocol, self.id
            ),
        )
    }

    /// Sets a link of ours up that nobody has set up yet; another ADD may be at it as well.
    fn prepared(&self, lower: &mut Lower, link: Link) -> Result<Link, Error> {
        if !names::is_ours(&link) || (link.up && link.alias.is_some()) {
            return Ok(link);
        }
        // It is there for the containers: the host itself has no part in the VLAN.
        let name = format!("net/ipv6/conf/{}/disable_ipv6", link.name);
        if let Err(error) = self.ground.run(|| sysctl::set(&name, "1"))? {
            log::warning(format_args!("set {name} to 1: {error}"));
        }
        let up = link.change().doing(format!("set {} up", link.name)).up();
        let mut requests = vec![link.without_link_local(), up.request()];
        if link.alias.is_none() {
            let mark = link.change().alias(MARK);
            let doing = format!("mark link {}", link.name);
            requests.insert(0, mark.doing(doing).request());
        }
        match lower.rtnl.batch(requests) {
            Ok(()) => {}
            // Somebody removed it: adding an owner will say so.
            Err(error) if error.is_absent() => return Ok(link),
            Err(error) => return Err(error.cause()),
        }
        Ok(Link {
            up: true,
            alias: Some(MARK.to_owned()),
            ..link
        })
    }

    /// Refuses a link that is not as the configuration has it.
    fn require_fitting(&self, link: &Link) -> Result<(), Error> {
        let found = link.vlan.as_ref().map(|vlan| &vlan.options);
        if let Some((what, wanted, found)) =
            found.and_then(|found| self.config.options.unfulfilled_by(found))
        {
            return Err(Error::new(
                Code::Taken,
                format!(
                    "{} exists already with {what} {found}; the configuration wants {wanted}",
                    link.name
                ),
            ));
        }
        match self.config.mtu.filter(|mtu| *mtu > link.mtu) {
            Some(mtu) => Err(Error::new(
                Code::InvalidConfig,
                format!(
                    "mtu: {mtu} must be at most {}, the MTU of {}",
                    link.mtu, link.name
                ),
            )),
            None => Ok(()),
        }
    }
}

/// A link of ours with the MTU that there is room for now: the kernel takes the MTU of a VLAN link down with its master's,
/// and not up. It stays when the ADD fails, as others may have come to use it.
fn grown(lower: &mut Lower, link: Link) -> Result<Link, Error> {
    if !names::is_ours(&link) || link.mtu >= lower.room {
        return Ok(link);
    }
    let change = link.change().mtu(lower.room);
    let change = change.doing(format!("set the MTU of {} to {}", link.name, lower.room));
    match lower.rtnl.execute(change.request()) {
        // Somebody removed it: adding an owner will say so.
        Err(error) if !error.is_absent() => Err(error.cause()),
        _ => Ok(Link {
            mtu: lower.room,
            ..link
        }),
    }
}

fn set_alias(rtnl: &mut Rtnl, link: &Link, alias: &str) -> Result<(), netlink::Error> {
    let change = link.change().alias(alias);
    rtnl.execute(change.doing(format!("mark link {}", link.name)).request())
}

/// Takes an attachment off a shared link, and removes that after the last one.
pub(crate) fn leave(ground: Ground<'_>, link: &Link, owner: &str) -> Result<(), Error> {
    let mut rtnl = ground.open()?;
    if let Err(error) = rtnl.remove_altname(link, owner) {
        let left = rtnl.link_by_altname(owner).map_err(Cause::cause)?;
        if left.is_some_and(|left| left.index == link.index) {
            return Err(error.cause());
        }
    }
    remove_if_unused(ground, link)
}

/// Removes a shared link that has no owner left; leaves what is not ours.
pub(crate) fn remove_if_unused(ground: Ground<'_>, link: &Link) -> Result<(), Error> {
    let mut rtnl = ground.open()?;
    let mut unused = || -> Result<Option<Link>, Error> {
        let now = rtnl.link_by_index(link.index).map_err(Cause::cause)?;
        Ok(now.filter(|now| names::is_ours(now) && names::owners(now).next().is_none()))
    };
    if unused()?.is_none() {
        return Ok(());
    }
    let mark = |alias| {
        let mut rtnl = ground.open()?;
        match set_alias(&mut rtnl, link, alias) {
            Err(error) if !error.is_absent() => Err(error.cause()),
            _ => Ok(()),
        }
    };
    mark(REMOVAL_MARK)?;
    match unused()? {
        Some(link) => ground.delete(&link, false),
        None => mark(MARK),
    }
}
