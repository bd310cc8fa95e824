//! ADD: an attachment, complete or not at all.
//!
//! The order matters. The IPAM plugin works while the kernel makes the veth, unless it needs the link. The
//! container's end comes up before the host's, else the far end's carrier changes while it is waited for. ADD
//! returns, and announces the addresses, when the port forwards.

use std::time::Duration;

use cni_common::addr::Cidr;
use cni_common::attach::inside::{Inside, Setup, take_in, taken};
use cni_common::attach::ipam::Ipam;
use cni_common::attach::{mac, namespace};
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::{Link, PortState};
use cni_common::netlink::veth::NewVeth;
use cni_common::netns::Netns;
use cni_common::owner::Owner;
use cni_common::plugin::Call;
use cni_common::result::{Attachment, Interface};
use cni_common::undo::Undo;

use crate::bridge;
use crate::config::Config;
use crate::detach::is_host_end;
use crate::firewall;
use crate::host_routes;
use crate::masq;
use crate::names;
use crate::plan::Plan;
use crate::spoof;

/// How long a port may take to run, as in the reference plugin.
const PATIENCE: Duration = Duration::from_millis(2550);

/// How often an attachment is begun anew because the bridge went away with its last other port.
const ATTEMPTS: usize = 10;

/// Attaches the container.
pub(crate) fn attach(call: &Call<Config>) -> Result<Attachment, Error> {
    let bridge = bridge_name(&call.config)?;
    try_attach(call, bridge)
        .step(|| format!("attach {}/{} to {bridge}", call.container, call.ifname))
}

/// The configured bridge; it is only missing where a faulty configuration was let through.
pub(crate) fn bridge_name(config: &Config) -> Result<&IfName, Error> {
    config
        .bridge
        .as_ref()
        .ok_or_else(|| Error::new(Code::InvalidConfig, "bridge: is missing"))
}

fn try_attach(call: &Call<Config>, bridge_name: &IfName) -> Result<Attachment, Error> {
    let netns = call.netns()?;
    let delegate = call.ipam()?;
    // An IPAM plugin gets the same arguments and judges them: it may know more keys.
    if delegate.is_none() {
        call.args.check(&[])?;
    }
    let owner = call.owner();
    let host_name = match &call.config.host_name {
        Some(name) => name.clone(),
        None => names::host_name(&owner)?,
    };
    let inside = Inside::open(netns, &call.ifname)?;
    let host = Rtnl::open().map_err(Cause::cause)?;
    // Whatever fails from here on must release it.
    let mut ipam = Ipam::new(call, delegate.as_ref())?;
    let mut attempt = Attempt {
        call,
        netns,
        owner,
        bridge_name,
        host_name,
        host,
        inside,
        bridge: None,
    };
    attempt.repeat(&mut ipam)
}

/// What all attempts at one attachment share.
struct Attempt<'a> {
    call: &'a Call<Config>,
    netns: &'a Netns,
    owner: Owner,
    bridge_name: &'a IfName,
    host_name: IfName,
    host: Rtnl,
    inside: Inside,
    /// The bridge of the attempt at hand.
    bridge: Option<Link>,
}

impl Attempt<'_> {
    /// Attaches; again if the bridge was deleted meanwhile.
    fn repeat(&mut self, ipam: &mut Ipam<'_, Config>) -> Result<Attachment, Error> {
        let mut left = ATTEMPTS;
        loop {
            left = left.saturating_sub(1);
            let mut undo = Undo::new();
            let error = match self.attach(ipam, &mut undo) {
                Ok(attachment) => {
                    undo.commit();
                    return Ok(attachment);
                }
                Err(error) => error,
            };
            // Asked before the undoing, which may delete the bridge itself.
            let again = left > 0 && self.lost_its_bridge();
            // While the link is there: a DHCP client gives its lease back over it.
            if !again || ipam.needs_link() {
                ipam.release();
            }
            let undone = undo.roll_back();
            if undone && !namespace::is_there(self.call) {
                ipam.release();
                return Err(error.with_code(Code::UnknownContainer));
            }
            if !again {
                return Err(error);
            }
            log::info(format_args!("the bridge was deleted meanwhile: once more"));
        }
    }

    fn attach(
        &mut self,
        ipam: &mut Ipam<'_, Config>,
        undo: &mut Undo<'_>,
    ) -> Result<Attachment, Error> {
        let config = &self.call.config;
        self.bridge = None;
        let bridge = bridge::ensure(&mut self.host, self.bridge_name, config, undo)?;
        self.bridge = Some(bridge.clone());
        firewall::undo_guard(config, &self.owner, undo);
        let (near, far) = self.join(&bridge, undo)?;
        if ipam.needs_link() {
            self.guard(&far, None)?;
            let up = far.change().up().request();
            self.inside.rtnl.execute(up).map_err(Cause::cause)?;
            self.raise(&bridge, &near, &far)?;
        }
        let plan = Plan::new(config, ipam.given()?)?;
        let addresses: Vec<Cidr> = plan.addresses().collect();
        self.guard(&far, Some(&plan))?;
        if !config.leave_down {
            let setup = Setup {
                addresses: &addresses,
                routes: &plan.container_routes,
                detection: config.detection(),
            };
            self.inside.configure(self.netns, &far, &setup)?;
        }
        let near = self.raise(&bridge, &near, &far)?;
        // Late, because forceAddress takes addresses away that may not come back quite as they were.
        let gateways = bridge::Gateways {
            bridge: &bridge,
            planned: &plan.gateways,
            force: config.force_address,
        };
        gateways.add(&mut self.host, undo)?;
        self.add_host_routes(&bridge, &near, &plan)?;
        namespace::require(self.call)?;
        if config.forward {
            bridge::forward(&plan.gateways, undo)?;
        }
        if config.masquerade && !plan.ips.is_empty() {
            masq::add(&self.owner, self.bridge_name, &plan, undo)?;
        }
        if !config.leave_down && !config.detect_duplicates {
            let gateways = plan.gateways.iter().copied();
            take_in(
                &mut self.inside.rtnl,
                &far,
                addresses.iter().copied(),
                PATIENCE,
            )?;
            take_in(&mut self.host, &bridge, gateways, PATIENCE)?;
        }
        self.inside.announce(&far, &addresses);
        Ok(self.result(&bridge, &near, &far, plan))
    }

    /// Lets the container send under its own addresses only, where that is configured.
    fn guard(&self, far: &Link, plan: Option<&Plan>) -> Result<(), Error> {
        match firewall::guard_of(&self.call.config, &self.host_name, far.mac, plan) {
            Some(guard) => spoof::add(&self.owner, &guard),
            None => Ok(()),
        }
    }

    /// Makes the veth: a port of the bridge here, the container's interface there, both down.
    fn join(&mut self, bridge: &Link, undo: &mut Undo<'_>) -> Result<(Link, Link), Error> {
        let (call, netns) = (self.call, self.netns);
        let config = &call.config;
        let host_name = self.host_name.clone();
        let mtu = config.mtu.unwrap_or(bridge.mtu);
        let veth = NewVeth {
            name: &host_name,
            mac: mac::random(),
            master: Some(bridge.index),
            peer: &call.ifname,
            peer_mac: config.mac.unwrap_or_else(mac::random),
            peer_netns: netns,
            mtu: Some(mtu),
        };
        if !config.host_routes.is_empty() {
            // Pushed before the link's removal, so run after it: then the link holds no gateway any more.
            let bridge = bridge.clone();
            undo.push("delete the host routes", move || {
                host_routes::remove_stale(&mut Rtnl::open().map_err(Cause::cause)?, &bridge)
            });
        }
        // Before it is made: the answer may be what is lost. Its address tells whether it is ours.
        let (name, mac) = (host_name.clone(), veth.mac);
        undo.push(format!("delete link {name}"), move || {
            let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
            let link = rtnl.link_by_name(&name).map_err(Cause::cause)?;
            match link.filter(|link| link.mac == Some(mac)) {
                Some(made) => delete_detached(&mut rtnl, &made),
                None => Ok(()),
            }
        });
        if let Err(error) = self.host.add_veth(&veth) {
            if !error.is_taken() {
                return Err(error.cause());
            }
            self.clear_leftover(bridge)?;
            self.host
                .add_veth(&veth)
                .map_err(|error| error.cause().with_code(Code::Taken))?;
        }
        let vanished = || Error::new(Code::TryAgain, format!("{} vanished", self.host_name));
        let near = self
            .host
            .link_by_name(&self.host_name)
            .map_err(Cause::cause)?
            .ok_or_else(vanished)?;
        let mut mark = near.change().alias(&self.owner.tag());
        if config.hairpin {
            mark = mark.hairpin(true);
        }
        if config.isolated {
            mark = mark.isolated(true);
        }
        let mark = mark.doing(format!("mark link {}", near.name));
        self.host
            .batch(vec![mark.request(), near.without_link_local()])
            .map_err(Cause::cause)?;
        bridge::keep_mtu(&mut self.host, bridge, mtu)?;
        let far = self
            .inside
            .rtnl
            .link_by_name(&self.call.ifname)
            .map_err(Cause::cause)?
            .filter(|far| near.peer == Some(far.index))
            .ok_or_else(|| {
                Error::new(
                    Code::TryAgain,
                    format!(
                        "{} was renamed or removed in the container",
                        self.call.ifname
                    ),
                )
            })?;
        Ok((near, far))
    }

    /// Deletes the host end that a crashed ADD of this attachment left behind.
    ///
    /// # Errors
    /// Code 101 when the name that is taken is not such a leftover.
    fn clear_leftover(&mut self, bridge: &Link) -> Result<(), Error> {
        let found = self
            .host
            .link_by_name(&self.host_name)
            .map_err(Cause::cause)?;
        let Some(link) = found else {
            let ifname = &self.call.ifname;
            let inner = self.inside.rtnl.link_by_name(ifname);
            return match inner.map_err(Cause::cause)? {
                Some(inner) => Err(taken(ifname, inner.kind.as_deref().unwrap_or("hardware"))),
                None => Ok(()),
            };
        };
        let configured = self.call.config.host_name.as_ref();
        if !is_host_end(&link, &self.owner, configured, Some(bridge)) {
            return Err(Error::new(
                Code::Taken,
                format!(
                    "the host has an interface {} already, of {}",
                    link.name,
                    link.alias.as_deref().unwrap_or("somebody unknown")
                ),
            ));
        }
        log::info(format_args!("{} was left behind: deleted", link.name));
        delete_detached(&mut self.host, &link)
    }

    /// Sets the host end up and returns when frames pass both ways; gives the port as it is then.
    fn raise(&mut self, bridge: &Link, near: &Link, far: &Link) -> Result<Link, Error> {
        let up = near.change().doing(format!("set {} up", near.name)).up();
        self.host.execute(up.request()).map_err(Cause::cause)?;
        let patience = if self.call.config.leave_down {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let port = self.host.settled(near.index, patience);
        let port = port
            .map_err(Cause::cause)?
            .filter(|port| port.master == Some(bridge.index));
        let state = port.as_ref().and_then(|port| Some(port.port?.state));
        // With its first port the bridge itself gets a carrier, and until that is worked off it drops what the host
        // sends through it: the answer to the container's first ARP request.
        let wait = if state == Some(PortState::Forwarding) {
            patience
        } else {
            Duration::ZERO
        };
        let now = self.host.settled(bridge.index, wait);
        // Looked at once it has our port: who marks it for removal later sees the port and leaves it.
        let stays = now
            .map_err(Cause::cause)?
            .is_some_and(|now| !bridge::is_marked_for_removal(&now));
        let Some(port) = port.filter(|_| stays) else {
            return Err(Error::new(
                Code::TryAgain,
                format!("{} is no longer a port of {}", near.name, bridge.name),
            ));
        };
        if self.call.config.leave_down {
            return Ok(port);
        }
        let far = self.inside.rtnl.settled(far.index, patience);
        if !port.running || !far.map_err(Cause::cause)?.is_some_and(|far| far.running) {
            return Err(Error::new(
                Code::Kernel,
                format!("port {} did not come up within {PATIENCE:?}", port.name),
            ));
        }
        if state != Some(PortState::Forwarding) {
            log::warning(format_args!(
                "port {} is up and does not forward yet: spanning tree has it {state:?}",
                port.name
            ));
        }
        Ok(port)
    }

    fn add_host_routes(&mut self, bridge: &Link, near: &Link, plan: &Plan) -> Result<(), Error> {
        if plan.host_routes.is_empty() {
            return Ok(());
        }
        // Before the routes: a DEL or GC that looks now must find them held.
        let alias = names::alias(&self.owner, &plan.host_gateways())?;
        let mark = near.change().alias(&alias);
        let mark = mark.doing(format!("mark link {}", near.name));
        self.host.execute(mark.request()).map_err(Cause::cause)?;
        host_routes::add(&mut self.host, bridge, &plan.host_routes)
    }

    /// Whether the bridge of the failed attempt was deleted by somebody, or is about to be.
    fn lost_its_bridge(&mut self) -> bool {
        let Some(bridge) = &self.bridge else {
            return false;
        };
        match self.host.link_by_index(bridge.index) {
            Ok(now) => now.is_none_or(|now| bridge::is_marked_for_removal(&now)),
            Err(_) => false,
        }
    }

    fn result(&self, bridge: &Link, near: &Link, far: &Link, plan: Plan) -> Attachment {
        let interface = |link: &Link, sandbox: Option<String>| Interface {
            name: link.name.clone(),
            mac: link.mac,
            mtu: Some(link.mtu),
            sandbox,
            ..Interface::default()
        };
        let sandbox = Some(self.call.netns_path.clone());
        Attachment {
            interfaces: vec![
                interface(bridge, None),
                interface(near, None),
                interface(far, sandbox),
            ],
            ips: plan.ips,
            routes: plan.routes,
            dns: plan.dns,
        }
    }
}

/// Deletes a link; one that is gone already is no error.
fn delete_detached(host: &mut Rtnl, link: &Link) -> Result<(), Error> {
    match host.delete_link_detached(link) {
        Err(error) if !error.is_absent() => Err(error.cause()),
        _ => Ok(()),
    }
}
