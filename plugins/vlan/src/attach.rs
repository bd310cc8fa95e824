//! ADD: an attachment, complete or not at all.
//!
//! The IPAM plugin works while the kernel makes the link, unless it needs the link. The link appears in the container
//! in one message: the host never sees it.

use core::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cni_common::addr::{Cidr, Mac};
use cni_common::attach::inside::{Inside, Setup, take_in, taken};
use cni_common::attach::ipam::Ipam;
use cni_common::attach::result::interface;
use cni_common::attach::{defaults, mac, namespace, routes};
use cni_common::code::Code;
use cni_common::error::{Cause, Error, Step};
use cni_common::ident::IfName;
use cni_common::log;
use cni_common::netlink;
use cni_common::netlink::addr::Detection;
use cni_common::netlink::link::Link;
use cni_common::netlink::macvlan::NewMacvlan;
use cni_common::netlink::vlan::NewVlan;
use cni_common::netns::Netns;
use cni_common::owner::Owner;
use cni_common::plugin::Call;
use cni_common::result::{Attachment, IpConfig, Route};
use cni_common::undo::Undo;

use crate::config::{Config, Mode};
use crate::detach::is_tagged;
use crate::lower::{Ground, Lower};
use crate::names;
use crate::shared::Shared;
use crate::target::{Place, Target};

/// How long a link may take to run.
const PATIENCE: Duration = Duration::from_millis(2550);
/// How long a VLAN may still have the link of a container that vanished: the kernel takes a namespace down in its own time.
const PASSING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Attaches the container.
pub(crate) fn attach(call: &Call<Config>) -> Result<Attachment, Error> {
    try_attach(call).step(|| format!("attach {}/{}", call.container, call.ifname))
}

fn try_attach(call: &Call<Config>) -> Result<Attachment, Error> {
    let netns = call.netns()?;
    let delegate = call.ipam()?;
    // An IPAM plugin gets the same arguments and judges them: it may know more keys.
    if delegate.is_none() {
        call.args.check(&[])?;
        call.check_room(&call.previous.clone().unwrap_or_default())?;
    }
    let target = Target::for_add(&call.config, &call.ifname, call.previous.as_ref())?;
    let ground = Ground::of(target.place, netns);
    let lower = Lower::open(&call.config, &target.master, ground)?;
    let inside = Inside::open(netns, &target.ifname)?;
    let mut ipam = Ipam::new(call, delegate.as_ref())?;
    let mut attempt = Attempt {
        call,
        netns,
        target,
        ground,
        lower,
        inside,
        refused: Rc::default(),
    };
    let mut undo = Undo::new();
    match attempt.attach(&mut ipam, &mut undo) {
        Ok(attachment) => {
            undo.commit();
            Ok(attachment)
        }
        Err(error) => {
            // While the link is there: a DHCP client gives its lease back over it.
            ipam.release();
            if undo.roll_back() && !namespace::is_there(call) {
                return Err(error.with_code(Code::UnknownContainer));
            }
            Err(error)
        }
    }
}

/// The attachment that an interface of the container stands for: a chain may have several.
pub(crate) fn owner(owner: Owner, ifname: &IfName) -> Owner {
    Owner {
        ifname: ifname.clone(),
        ..owner
    }
}

/// One attachment.
struct Attempt<'a> {
    call: &'a Call<Config>,
    netns: &'a Netns,
    target: Target,
    ground: Ground<'a>,
    lower: Lower,
    inside: Inside,
    /// Whether the kernel refused to make the link because it, or its name, is somebody else's.
    refused: Rc<Cell<bool>>,
}

/// What the interface is to have.
struct Plan {
    ips: Vec<IpConfig>,
    addresses: Vec<Cidr>,
    given: Attachment,
}

impl<'a> Attempt<'a> {
    fn attach(
        &mut self,
        ipam: &mut Ipam<'_, Config>,
        undo: &mut Undo<'a>,
    ) -> Result<Attachment, Error> {
        let below = self.below(undo)?;
        let link = self.make(&below, undo)?;
        if ipam.needs_link() {
            let detection = self.call.config.detection;
            self.inside.lend(self.netns, &link, detection)?;
            self.settle(&link)?;
        }
        let plan = self.plan(&below, ipam.given()?);
        let setup = Setup {
            addresses: &plan.addresses,
            routes: &routes::to_install(&plan.given.routes, &plan.ips)?,
            detection: self.call.config.detection,
        };
        if self.call.config.replace_default {
            let (rtnl, routes) = (&mut self.inside.rtnl, &plan.given.routes);
            defaults::make_room(rtnl, self.netns, &link, routes, undo)?;
        }
        self.inside.configure(self.netns, &link, &setup)?;
        let link = self.settle(&link)?;
        namespace::require(self.call)?;
        if setup.detection == Detection::Skip && link.running {
            let addresses = plan.addresses.iter().copied();
            take_in(&mut self.inside.rtnl, &link, addresses)?;
        }
        self.inside.announce(self.netns, &link, &plan.addresses);
        Ok(self.result(&below, &link, plan))
    }

    /// The link on which the container's interface stands.
    fn below(&mut self, undo: &mut Undo<'a>) -> Result<Link, Error> {
        let config = &self.call.config;
        let Some(id) = config.id.filter(|_| config.mode == Mode::Shared) else {
            return Ok(self.lower.master.clone());
        };
        let owner = self.call.owner();
        let what = names::what(config.protocol, id, &owner, &self.target.ifname);
        let shared = Shared {
            config,
            id,
            ground: self.ground,
            owner: owner.altname(&what),
        };
        shared.hold(&mut self.lower, undo)
    }

    /// Makes the container's interface, down and marked.
    fn make(&mut self, below: &Link, undo: &mut Undo<'a>) -> Result<Link, Error> {
        let ifname = self.target.ifname.clone();
        let mac = match self.call.config.mode {
            Mode::Direct => self.call.config.mac,
            Mode::Shared => Some(self.call.config.mac.unwrap_or_else(mac::random)),
        };
        let mut name = ifname.clone();
        self.undo_link(&name, mac, undo);
        let mut made = self.add_link(below, &name, mac);
        let is_taken = made.as_ref().is_err_and(netlink::Error::is_taken);
        // Kernels before 6.14 look for the name in the namespace of the master, too.
        if is_taken && self.is_name_of_host(&ifname)? {
            name = names::passing_name(&self.call.owner(), &ifname)?;
            self.undo_link(&name, mac, undo);
            made = self.add_link(below, &name, mac);
        }
        let mut found = self.in_container(&name)?;
        if found.is_none() && self.call.config.mode == Mode::Direct {
            made = self.add_when_free(below, &name, mac, made);
            found = self.in_container(&name)?;
        }
        if let Err(error) = made {
            if !error.is_taken() {
                return Err(error.cause());
            }
            // Whatever is there, it is not ours.
            self.refused.set(true);
            return Err(match found {
                Some(link) => taken(&name, link.kind.as_deref().unwrap_or("hardware")),
                None => self.id_taken(),
            });
        }
        let Some(link) = found else {
            return Err(Error::new(
                Code::TryAgain,
                format!("{name} was renamed or removed in the container"),
            ));
        };
        let tag = owner(self.call.owner(), &ifname).tag();
        let mut mark = link.change().alias(&tag);
        if name != ifname {
            mark = mark.name(&ifname);
        }
        let mark = mark.doing(format!("mark link {ifname}"));
        match self.inside.rtnl.execute(mark.request()) {
            Err(error) if error.is_taken() => Err(error.cause().with_code(Code::Taken)),
            Err(error) => Err(error.cause()),
            Ok(()) => Ok(Link {
                name: ifname.to_string(),
                ..link
            }),
        }
    }

    /// Prepares the removal of the link before it is made: the answer may be what is lost.
    fn undo_link(&self, name: &IfName, mac: Option<Mac>, undo: &mut Undo<'a>) {
        let ground = Ground::of(Place::Container, self.netns);
        let (refused, config) = (Rc::clone(&self.refused), &self.call.config);
        let names = [name.clone(), self.target.ifname.clone()];
        undo.push(format!("delete link {name}"), move || {
            let mut rtnl = ground.open()?;
            for name in names.iter().filter(|_| !refused.get()) {
                let found = rtnl.link_by_name(name).map_err(Cause::cause)?;
                let is_ours = |link: &Link| match config.mode {
                    Mode::Direct => is_tagged(config, link),
                    Mode::Shared => link.is_macvlan() && link.mac == mac,
                };
                if let Some(link) = found.filter(is_ours) {
                    ground.delete(&link, false)?;
                }
            }
            Ok(())
        });
    }

    /// Adds the link under a name, in one message.
    fn add_link(
        &mut self,
        below: &Link,
        name: &IfName,
        mac: Option<Mac>,
    ) -> Result<(), netlink::Error> {
        let config = &self.call.config;
        let netns = Some(self.netns).filter(|_| self.target.place == Place::Host);
        let rtnl = &mut self.lower.rtnl;
        match (config.mode, config.id) {
            (Mode::Direct, Some(id)) => rtnl.add_vlan(&NewVlan {
                name,
                master: below,
                id,
                protocol: config.protocol,
                options: &config.options,
                mac,
                mtu: Some(config.mtu.unwrap_or(self.lower.room)),
                netns,
            }),
            (Mode::Direct, None) | (Mode::Shared, _) => rtnl.add_macvlan(&NewMacvlan {
                name,
                below,
                mac: mac.unwrap_or_else(mac::random),
                mtu: Some(config.mtu.unwrap_or(below.mtu)),
                netns,
            }),
        }
    }

    /// Tries again for as long as a container that vanished may still have the VLAN.
    fn add_when_free(
        &mut self,
        below: &Link,
        name: &IfName,
        mac: Option<Mac>,
        mut made: Result<(), netlink::Error>,
    ) -> Result<(), netlink::Error> {
        let begun = Instant::now();
        while made.as_ref().is_err_and(netlink::Error::is_taken) && begun.elapsed() < PASSING {
            std::thread::sleep(PAUSE);
            made = self.add_link(below, name, mac);
        }
        made
    }

    fn in_container(&mut self, name: &IfName) -> Result<Option<Link>, Error> {
        let found = self.inside.rtnl.link_by_name(name);
        found.map_err(Cause::cause)
    }

    /// Whether the master's namespace, which is not the container's, has a link of this name.
    fn is_name_of_host(&mut self, name: &IfName) -> Result<bool, Error> {
        if self.target.place == Place::Container {
            return Ok(false);
        }
        let found = self.lower.rtnl.link_by_name(name);
        Ok(found.map_err(Cause::cause)?.is_some())
    }

    fn id_taken(&self) -> Error {
        let config = &self.call.config;
        Error::new(
            Code::Taken,
            format!(
                "vlanId: {} has a link for {} id {} already; mode \"shared\" lets several containers use one VLAN",
                self.lower.master.name,
                config.protocol,
                config.id.unwrap_or_default()
            ),
        )
    }

    /// Waits until the interface runs, and gives it as it is then. Where the link below has no carrier it never will,
    /// and the attachment is good all the same.
    fn settle(&mut self, link: &Link) -> Result<Link, Error> {
        let below = self.lower.rtnl.link_by_index(self.lower.master.index);
        let carrier = below
            .map_err(Cause::cause)?
            .is_some_and(|below| below.running);
        let patience = if carrier { PATIENCE } else { Duration::ZERO };
        let settled = self.inside.rtnl.settled(link.index, patience);
        let settled = settled.map_err(Cause::cause)?.ok_or_else(|| {
            Error::new(
                Code::TryAgain,
                format!("{} was removed in the container", link.name),
            )
        })?;
        if !settled.running {
            log::warning(format_args!(
                "{} is up and has no carrier: look at {}",
                link.name, self.lower.master.name
            ));
        }
        Ok(settled)
    }

    fn plan(&self, below: &Link, given: Attachment) -> Plan {
        let previous = self.previous();
        let place = previous.interfaces.len();
        let place = place.saturating_add(usize::from(self.lists(below)));
        let ips: Vec<IpConfig> = given
            .ips
            .iter()
            .map(|ip| IpConfig {
                interface: Some(place),
                address: ip.address,
                gateway: ip.gateway.filter(|gateway| !gateway.is_unspecified()),
            })
            .collect();
        Plan {
            addresses: ips.iter().map(|ip| ip.address).collect(),
            ips,
            given,
        }
    }

    /// The result that goes on.
    fn previous(&self) -> Attachment {
        let previous = self.call.previous.clone();
        previous.filter(|_| self.target.chained).unwrap_or_default()
    }

    /// Whether the result lists the link on which the interface stands: the shared one, not the master.
    fn lists(&self, below: &Link) -> bool {
        below.index != self.lower.master.index
    }

    /// A route with the gateway it got: in a chain's result only that tells whose it is.
    fn attributed(&self, route: Route, ips: &[IpConfig]) -> Route {
        let is_on_link = route.scope.is_some_and(|scope| scope >= routes::LINK);
        if !self.target.chained || is_on_link {
            return route;
        }
        let gw = route
            .gw
            .or_else(|| routes::gateway(ips, route.dst.family()));
        Route { gw, ..route }
    }

    fn result(&self, below: &Link, link: &Link, plan: Plan) -> Attachment {
        let sandbox = Some(self.call.netns_path.clone());
        let mut result = self.previous();
        if self.lists(below) {
            let there = sandbox
                .clone()
                .filter(|_| self.target.place == Place::Container);
            result.interfaces.push(interface(below, there));
        }
        result.interfaces.push(interface(link, sandbox));
        result.ips.extend(plan.ips.iter().cloned());
        let routes = plan.given.routes.into_iter();
        result
            .routes
            .extend(routes.map(|route| self.attributed(route, &plan.ips)));
        if let Some(dns) = &self.call.config.dns {
            result.dns = dns.clone();
        } else if !plan.given.dns.is_empty() {
            result.dns = plan.given.dns;
        }
        result
    }
}
