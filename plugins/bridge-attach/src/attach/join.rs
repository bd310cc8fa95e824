//! The veth of an attachment.

use cni_common::attach::inside::taken;
use cni_common::attach::mac;
use cni_common::code::Code;
use cni_common::error::{Cause, Error};
use cni_common::log;
use cni_common::netlink::Rtnl;
use cni_common::netlink::link::Link;
use cni_common::netlink::veth::NewVeth;
use cni_common::undo::Undo;

use super::{Attempt, delete_detached};
use crate::bridge::default_pvid;
use crate::detach::is_host_end;
use crate::names::Mark;
use crate::spoof::{self, Leaving};
use crate::{bridge, host_routes, names, vlan_gateway};

impl Attempt<'_> {
    /// Makes the veth: a port of the bridge here, the container's interface there, both down.
    pub(super) fn join(
        &mut self,
        bridge: &Link,
        undo: &mut Undo<'_>,
    ) -> Result<(Link, Link), Error> {
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
            group: Some(names::HALF_MADE),
        };
        if !config.host_routes.is_empty() {
            // Pushed before the link's removal, so run after it: then the link holds no gateway any more.
            let (bridge, vlan) = (bridge.clone(), config.gateway_vlan());
            undo.push("delete the host routes", move || {
                let mut rtnl = Rtnl::open().map_err(Cause::cause)?;
                let carrier = match vlan {
                    Some(vlan) => vlan_gateway::find(&mut rtnl, &bridge, vlan)?,
                    None => Some(bridge.clone()),
                };
                carrier.map_or(Ok(()), |carrier| {
                    host_routes::remove_stale(&mut rtnl, &carrier, &bridge)
                })
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
        let made = match self.host.add_veth(&veth) {
            Err(error) if error.is_taken() => {
                self.clear_leftover()?;
                self.host
                    .add_veth(&veth)
                    .map_err(|error| error.cause().with_code(Code::Taken))?
            }
            made => made.map_err(Cause::cause)?,
        };
        let near = match made {
            Some(near) => near,
            None => self
                .host
                .link_by_name(&self.host_name)
                .map_err(Cause::cause)?
                .ok_or_else(|| {
                    Error::new(Code::TryAgain, format!("{} vanished", self.host_name))
                })?,
        };
        let alias = names::alias(&self.owner, config.held(&[]))?;
        let mut mark = near.change().alias(&alias).group(0);
        if config.hairpin {
            mark = mark.hairpin(true);
        }
        if config.isolated {
            mark = mark.isolated(true);
        }
        let mark = mark.doing(format!("mark link {}", near.name));
        let mut requests = vec![mark.request(), near.without_link_local()];
        let wanted = config.vlans.wanted();
        if !wanted.is_empty() {
            requests.push(near.add_vlans(&wanted));
        }
        let leaves = config.vlans.unwanted(default_pvid(bridge));
        requests.extend(leaves.map(|leaves| near.delete_vlans(&[leaves])));
        self.host.batch(requests).map_err(Cause::cause)?;
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
    fn clear_leftover(&mut self) -> Result<(), Error> {
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
        if !is_host_end(&link, &self.owner, configured) {
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
        delete_detached(&mut self.host, &link)?;
        let mark = link.alias.as_deref().and_then(Mark::parse);
        if mark.is_some_and(|mark| mark.guarded) {
            // With the address of that try, whether or not there is a guard this time.
            spoof::release(&Leaving::Of(&self.owner, None))?;
        }
        Ok(())
    }
}
