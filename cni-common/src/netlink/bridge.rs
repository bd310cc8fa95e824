//! Making bridges, and waiting for their ports.

use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
};

use super::Rtnl;
use super::error::Error;
use super::frame::{attributes, number, u16_at};
use super::link::{Link, PortState};
use super::pauses::Pauses;
use super::request::Request;
use super::vlan::Protocol;
use crate::addr::Mac;
use crate::ident::IfName;

/// What can be chosen about a bridge, or what one has; `None` is not chosen, or not known to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// Spanning tree (`IFLA_BR_STP_STATE`).
    pub stp: Option<bool>,
    /// How long a port under spanning tree listens, and then learns (`IFLA_BR_FORWARD_DELAY`). While
    /// [`Self::follows_root`] the kernel says what the root goes by, and nowhere what was chosen.
    pub forward_delay: Option<Duration>,
    /// How long a learnt address is remembered (`IFLA_BR_AGEING_TIME`). While [`Self::topology_change`] the kernel says
    /// twice the forward delay, which it goes by then, and nowhere what was chosen.
    pub ageing_time: Option<Duration>,
    /// Whether spanning tree sees the topology change at present (`IFLA_BR_TOPOLOGY_CHANGE`); never chosen.
    pub topology_change: bool,
    /// Whether spanning tree has another bridge as its root, whose times count (`IFLA_BR_ROOT_PORT`; IEEE 802.1D, 8.5.3);
    /// never chosen.
    pub follows_root: bool,
    /// Whether multicast goes only where it was asked for (`IFLA_BR_MCAST_SNOOPING`).
    pub multicast_snooping: Option<bool>,
    /// Whether ports belong to VLANs (`IFLA_BR_VLAN_FILTERING`).
    pub vlan_filtering: Option<bool>,
    /// The Ethernet type of the tags it knows (`IFLA_BR_VLAN_PROTOCOL`).
    pub vlan_protocol: Option<Protocol>,
    /// The VLAN that each new port belongs to, untagged; 0 is none (`IFLA_BR_VLAN_DEFAULT_PVID`).
    pub default_pvid: Option<u16>,
}

/// One of `USER_HZ`: the unit of times in a bridge's attributes.
const TICK: Duration = Duration::from_millis(10);

impl Options {
    /// Reads an `IFLA_INFO_DATA` (`IFLA_BR_*`, `linux/if_link.h`).
    pub(super) fn decode(data: &[u8]) -> Self {
        const FORWARD_DELAY: u16 = 1;
        const AGEING_TIME: u16 = 4;
        const STP_STATE: u16 = 5;
        const VLAN_FILTERING: u16 = 7;
        const VLAN_PROTOCOL: u16 = 8;
        const ROOT_PORT: u16 = 12;
        const TOPOLOGY_CHANGE: u16 = 14;
        const MCAST_SNOOPING: u16 = 23;
        const VLAN_DEFAULT_PVID: u16 = 39;
        let mut found = Self::default();
        let mut root_port = 0;
        for (kind, value) in attributes(data) {
            let is_set = Some(value.first().is_some_and(|byte| *byte != 0));
            let time = number(value).map(|ticks| TICK * ticks);
            match kind {
                FORWARD_DELAY => found.forward_delay = time,
                AGEING_TIME => found.ageing_time = time,
                STP_STATE => found.stp = number(value).map(|state| state != 0),
                VLAN_FILTERING => found.vlan_filtering = is_set,
                ROOT_PORT => root_port = u16_at(value, 0).unwrap_or(0),
                TOPOLOGY_CHANGE => found.topology_change = is_set == Some(true),
                VLAN_PROTOCOL => found.vlan_protocol = Some(Protocol::from_kernel(value)),
                MCAST_SNOOPING => found.multicast_snooping = is_set,
                VLAN_DEFAULT_PVID => found.default_pvid = u16_at(value, 0),
                _ => {}
            }
        }
        found.follows_root = found.stp == Some(true) && root_port != 0;
        found
    }

    fn to_kernel(self) -> Vec<InfoBridge> {
        let ticks = |time: Duration| u32::try_from(time.as_millis() / 10).unwrap_or(u32::MAX);
        let stp = |on| {
            if on {
                BridgeStpState::KernelStp
            } else {
                BridgeStpState::Disabled
            }
        };
        let protocol = |protocol: Protocol| InfoBridge::VlanProtocol(protocol.to_kernel());
        [
            self.forward_delay
                .map(|time| InfoBridge::ForwardDelay(ticks(time))),
            self.stp.map(|on| InfoBridge::StpState(stp(on))),
            self.ageing_time
                .map(|time| InfoBridge::AgeingTime(ticks(time))),
            self.multicast_snooping.map(InfoBridge::MulticastSnooping),
            self.vlan_protocol.map(protocol),
            self.vlan_filtering.map(InfoBridge::VlanFiltering),
            self.default_pvid.map(InfoBridge::VlanDefaultPvid),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The kind, and the options if there are any.
pub(super) fn info(options: Options) -> LinkAttribute {
    let mut infos = vec![LinkInfo::Kind(InfoKind::Bridge)];
    let data = options.to_kernel();
    if !data.is_empty() {
        infos.push(LinkInfo::Data(InfoData::Bridge(data)));
    }
    LinkAttribute::LinkInfo(infos)
}

/// A bridge to make.
#[derive(Clone, Copy, Debug)]
pub struct NewBridge<'a> {
    /// The name.
    pub name: &'a IfName,
    /// The Ethernet address. Without one the kernel takes the lowest of the ports' addresses, and changes it
    /// with every port that comes or goes.
    pub mac: Mac,
    /// The MTU in bytes; the kernel's default is 1500, and without one it follows the ports.
    pub mtu: Option<u32>,
    /// The group it is made in; the kernel's default is 0. Unlike an alias, which the kernel ignores in the message
    /// that makes a link, this is there from the beginning: it can tell whose a bridge is that was not marked yet.
    pub group: Option<u32>,
    /// What is chosen about it.
    pub options: Options,
}

/// Whether a thing had to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was made.
    Created(Link),
    /// A link of that name was there; it need not be a bridge.
    Found(Link),
}

/// Whether a bridge keeps its Ethernet address whatever ports come and go (`NET_ADDR_SET`, linux/netdevice.h);
/// `None` where sysfs does not show it. Netlink does not tell.
pub fn has_fixed_address(bridge: &Link) -> Option<bool> {
    let path = format!("/sys/class/net/{}/addr_assign_type", bridge.name);
    let kind = std::fs::read_to_string(path).ok()?;
    Some(kind.trim() == "3")
}

impl Rtnl {
    /// Looks the bridge up and makes it if there is no link of that name; when several do so at once, one makes
    /// it.
    ///
    /// # Errors
    /// `EOPNOTSUPP` without a missing module where it is to filter VLANs and this kernel's bridges cannot.
    pub fn ensure_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<Ensured, Error> {
        loop {
            if let Some(link) = self.link_by_name(bridge.name)? {
                return Ok(Ensured::Found(link));
            }
            match self.add_bridge(bridge) {
                // Somebody else made it, and may have deleted it since.
                Err(error) if error.is_taken() => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    if let Some(link) = self.link_by_name(bridge.name)? {
                        return Ok(Ensured::Created(link));
                    }
                }
            }
        }
    }

    fn add_bridge(&mut self, bridge: &NewBridge<'_>) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(bridge.name.as_str().to_owned()),
            LinkAttribute::Address(bridge.mac.0.to_vec()),
            info(bridge.options),
        ];
        message
            .attributes
            .extend(bridge.mtu.map(LinkAttribute::Mtu));
        message
            .attributes
            .extend(bridge.group.map(LinkAttribute::Group));
        let doing = format!("create bridge {}", bridge.name);
        let request = Request::new(doing, libc::RTM_NEWLINK, &message);
        self.execute(request.with(NLM_F_CREATE | NLM_F_EXCL))
            .map_err(|error| {
                // The kernel has no words for it where its bridges cannot filter VLANs.
                let filters = bridge.options.vlan_filtering == Some(true);
                if filters && !error.has_sentence() {
                    return error;
                }
                error.lacking_link_kind("bridge")
            })
    }

    /// Waits until a link is running and, where it is a bridge's port, its frames are forwarded, and gives it as it
    /// is then; `None` when it vanished.
    ///
    /// Both ends of a veth need this: an end that has not settled still drops what it is to send, because its
    /// queue is only made when its carrier's change is worked off.
    ///
    /// Where the kernel works that off on a look-up (6.8 and later) the first look is enough. A port under spanning
    /// tree takes its time to forward: it is given as it is once it runs. So is a link that is still not running
    /// after `patience`; the caller decides what that means.
    pub fn settled(&mut self, index: u32, patience: Duration) -> Result<Option<Link>, Error> {
        let mut pauses = Pauses::new(patience);
        loop {
            let link = self.link_by_index(index)?;
            if link.as_ref().is_none_or(is_settled) || !pauses.pause() {
                return Ok(link);
            }
        }
    }
}

fn is_settled(link: &Link) -> bool {
    let stp = |state| {
        matches!(
            state,
            PortState::Listening | PortState::Learning | PortState::Blocking
        )
    };
    (link.running || (link.is_bridge() && link.steady))
        && link
            .port
            .is_none_or(|port| port.state == PortState::Forwarding || stp(port.state))
}
