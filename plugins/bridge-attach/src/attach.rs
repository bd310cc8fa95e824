//! ADD: an attachment, complete or not at all.
//!
//! The order matters. The IPAM plugin works while the kernel makes the veth, unless it needs the link. The
//! container's end comes up before the host's, else the far end's carrier changes while it is waited for. ADD
//! returns, and announces the addresses, when the port forwards.

use core::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use cni_common::addr::Cidr;
use cni_common::attach::inside::{Inside, PATIENCE, Setup, take_in};
use cni_common::attach::ipam::Ipam;
use cni_common::attach::result::{interface, refreshed};
use cni_common::attach::{defaults, namespace};
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::{Link, PortState};
use cni_common::netns::Netns;
use cni_common::owner::Owner;
use cni_common::plugin::Call;
use cni_common::probe::Prober;
use cni_common::result::Attachment;
use cni_common::undo::Undo;

use crate::adopt;
use crate::bridge::{self, default_pvid};
use crate::config::Config;
use crate::firewall;
use crate::gateways::{self, Gateways};
use crate::host_routes;
use crate::masq;
use crate::names;
use crate::plan::Plan;
use crate::policy;
use crate::spoof;
use crate::uplink;
use crate::vlan_gateway;

mod join;

/// How often an attachment is begun anew because the bridge went away with its last other port.
const ATTEMPTS: usize = 10;

/// Attaches the container.
pub(crate) fn attach(call: &Call<Config>) -> Result<Attachment, Error> {
    let bridge = bridge_name(&call.config)?;
    let attached = if call.config.adopt {
        adopt::adopt(call)
    } else {
        try_attach(call, bridge)
    };
    attached.step(|| format!("attach {}/{} to {bridge}", call.container, call.ifname))
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
        call.check_room(&Attachment::default())?;
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

impl<'a> Attempt<'a> {
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
        undo: &mut Undo<'a>,
    ) -> Result<Attachment, Error> {
        let config = &self.call.config;
        self.bridge = None;
        let bridge = bridge::ensure(&mut self.host, self.bridge_name, config, undo)?;
        self.bridge = Some(bridge.clone());
        let bridge = uplink::ensure(&mut self.host, bridge, config, undo)?;
        if let Some(vlan) = config.gateway_vlan() {
            vlan_gateway::undo(&bridge, vlan, undo);
        }
        firewall::undo_guard(config, &self.owner, undo);
        let (near, far) = self.join(&bridge, undo)?;
        if config.host_name.is_some() {
            firewall::take_over(config, &self.owner, &self.host_name)?;
        }
        if ipam.needs_link() {
            self.guard(&far, None)?;
            self.inside.lend(self.netns, &far, config.detection())?;
            self.raise(&bridge, &near, &far)?;
        }
        let plan = Plan::new(config, ipam.given()?)?;
        let far = if ipam.needs_link() {
            refreshed(&mut self.inside.rtnl, &far)?
        } else {
            far
        };
        let addresses: Vec<Cidr> = plan.addresses().collect();
        self.guard(&far, Some(&plan))?;
        if config.arp_probe {
            self.probe(&bridge, &near, &far, &addresses)?;
        }
        if config.replace_default {
            defaults::make_room(&mut self.inside.rtnl, self.netns, &far, &plan.routes, undo)?;
        }
        if !config.leave_down {
            let setup = Setup {
                addresses: &addresses,
                routes: &plan.container_routes,
                detection: config.detection(),
            };
            self.inside.configure(self.netns, &far, &setup)?;
        }
        if !config.rules.is_empty() {
            let rtnl = &mut self.inside.rtnl;
            policy::add_rules(rtnl, self.call, self.netns, &far, &plan, undo)?;
        }
        let near = self.raise(&bridge, &near, &far)?;
        let carrier = self.carrier(&bridge)?;
        // Late, because forceAddress takes addresses away that may not come back quite as they were.
        let gateways = Gateways {
            bridge: &bridge,
            carrier: &carrier,
            planned: &plan.gateways,
            force: config.force_address,
            manage: config.options.manage,
        };
        gateways.add(&mut self.host, undo)?;
        self.add_host_routes(&carrier, &near, &plan)?;
        namespace::require(self.call)?;
        if config.forward {
            gateways::forward(&mut self.host, &plan.gateways, undo)?;
        }
        if config.masquerade && !plan.ips.is_empty() {
            masq::add(&self.owner, &carrier, &plan, undo)?;
        }
        if !config.leave_down && !config.detect_duplicates {
            let gateways = plan.gateways.iter().copied();
            take_in(&mut self.inside.rtnl, &far, addresses.iter().copied())?;
            take_in(&mut self.host, &carrier, gateways)?;
        }
        self.inside.announce(self.netns, &far, &addresses);
        Ok(self.result(&bridge, &carrier, &near, &far, plan))
    }

    /// Makes sure that nobody else has the IPv4 addresses (RFC 5227), by the port that is to have them.
    fn probe(
        &mut self,
        bridge: &Link,
        near: &Link,
        far: &Link,
        addresses: &[Cidr],
    ) -> Result<(), Error> {
        let wanted: Vec<Ipv4Addr> = addresses
            .iter()
            .filter_map(|cidr| match cidr.address() {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let up = far.change().up().request();
        self.inside.rtnl.execute(up).map_err(Cause::cause)?;
        self.raise(bridge, near, far)?;
        let prober = self.netns.run(|| Prober::open(far));
        let prober = prober
            .step(|| "enter the container's namespace")?
            .step(|| "arpProbe")?;
        match prober.probe(&wanted).step(|| "arpProbe")? {
            None => Ok(()),
            Some((address, holder)) => Err(Error::new(
                Code::Taken,
                format!("arpProbe: {address} is in use by {holder}"),
            )),
        }
    }

    /// The interface that carries the gateway addresses: the bridge, or that of its VLAN.
    fn carrier(&mut self, bridge: &Link) -> Result<Link, Error> {
        let config = &self.call.config;
        let Some(vlan) = config.gateway_vlan() else {
            return Ok(bridge.clone());
        };
        let leaves = config.vlans.unwanted(default_pvid(bridge));
        vlan_gateway::ensure(&mut self.host, bridge, vlan, leaves)
    }

    /// Lets the container send under its own addresses only, where that is configured.
    fn guard(&self, far: &Link, plan: Option<&Plan>) -> Result<(), Error> {
        match firewall::guard_of(&self.call.config, &self.host_name, far.mac, plan) {
            Some(guard) => spoof::add(&self.owner, &guard),
            None => Ok(()),
        }
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

    fn add_host_routes(&mut self, carrier: &Link, near: &Link, plan: &Plan) -> Result<(), Error> {
        if plan.host_routes.is_empty() {
            return Ok(());
        }
        // Before the routes: a DEL or GC that looks now must find them held.
        let gateways = plan.host_gateways();
        let alias = names::alias(&self.owner, self.call.config.held(&gateways))?;
        let mark = near.change().alias(&alias);
        let mark = mark.doing(format!("mark link {}", near.name));
        self.host.execute(mark.request()).map_err(Cause::cause)?;
        host_routes::add(&mut self.host, carrier, &plan.host_routes)
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

    fn result(
        &self,
        bridge: &Link,
        carrier: &Link,
        near: &Link,
        far: &Link,
        plan: Plan,
    ) -> Attachment {
        let sandbox = Some(self.call.netns_path.clone());
        let mut interfaces = vec![
            interface(bridge, None),
            interface(near, None),
            interface(far, sandbox),
        ];
        if carrier.index != bridge.index {
            interfaces.push(interface(carrier, None));
        }
        Attachment {
            interfaces,
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
