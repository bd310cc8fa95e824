//! Links: looking them up, listing and deleting them.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};

use super::error::Error;
use super::frame::{attributes, number, text};
use super::request::Request;
use super::vlan::Vlan;
use super::{Rtnetlink, Rtnl, bridge};
use crate::addr::Mac;
use crate::ident::IfName;

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent flags of the kernel"
)]
pub struct Link {
    /// The index, unique in its network namespace.
    pub index: u32,
    /// The name (`IFLA_IFNAME`).
    pub name: String,
    /// The Ethernet address (`IFLA_ADDRESS`); `None` for a link that has none of six bytes.
    pub mac: Option<Mac>,
    /// The MTU in bytes (`IFLA_MTU`).
    pub mtu: u32,
    /// The kind, such as `veth` or `bridge` (`IFLA_INFO_KIND`); `None` for hardware.
    pub kind: Option<String>,
    /// The index of the bridge or bond it is a port of (`IFLA_MASTER`).
    pub master: Option<u32>,
    /// Whether it is administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether promiscuous mode was asked for by configuration (`IFF_PROMISC`); a running packet capture does
    /// not count.
    pub promisc: bool,
    /// Whether its operational state is up (`IF_OPER_UP`, RFC 2863).
    pub running: bool,
    /// Whether it sends, with an operational state that is unknown because its carrier never changed: a bridge that was set
    /// up before it had a port, whose first port came up since.
    pub steady: bool,
    /// The index of the other end of a veth, or of the link beneath (`IFLA_LINK`).
    pub peer: Option<u32>,
    /// The id under which this namespace knows the namespace of `peer` (`IFLA_LINK_NETNSID`); `None` when it is
    /// this namespace.
    pub peer_netns_id: Option<i32>,
    /// The alias (`IFLA_IFALIAS`).
    pub alias: Option<String>,
    /// Further names (`IFLA_ALT_IFNAME`, kernel 5.5 and later).
    pub altnames: Vec<String>,
    /// What it is as a bridge (`IFLA_INFO_DATA`).
    pub bridge: Option<bridge::Options>,
    /// What it is as a VLAN link (`IFLA_INFO_DATA`).
    pub vlan: Option<Vlan>,
    /// The group (`IFLA_GROUP`); 0 is where a link starts unless it was made with another.
    pub group: u32,
    /// Its state as a bridge port (`IFLA_INFO_SLAVE_DATA`).
    pub port: Option<Port>,
}

/// A bridge port as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Port {
    /// The state.
    pub state: PortState,
    /// Whether frames may leave by the port they came in (`IFLA_BRPORT_MODE`).
    pub hairpin: bool,
    /// Whether it exchanges frames with ports that are not isolated only (`IFLA_BRPORT_ISOLATED`).
    pub isolated: bool,
}

/// The state of a bridge port (`BR_STATE_*`, `linux/if_bridge.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PortState {
    /// Link or bridge is down.
    #[default]
    Disabled,
    /// Spanning tree: listening.
    Listening,
    /// Spanning tree: learning.
    Learning,
    /// Frames pass.
    Forwarding,
    /// Spanning tree: blocked.
    Blocking,
}

impl Link {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        self.kind.as_deref() == Some("bridge")
    }

    /// Whether it is a VLAN link.
    pub fn is_vlan(&self) -> bool {
        self.kind.as_deref() == Some("vlan")
    }

    /// Whether it is a macvlan link.
    pub fn is_macvlan(&self) -> bool {
        self.kind.as_deref() == Some("macvlan")
    }

    /// Whether it is one end of a veth pair.
    pub fn is_veth(&self) -> bool {
        self.kind.as_deref() == Some("veth")
    }

    /// Reads the body of an `RTM_NEWLINK`: `struct ifinfomsg` (linux/rtnetlink.h), then attributes.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        const IFINFOMSG: usize = 16;
        const IF_OPER_UNKNOWN: u8 = 0;
        const IF_OPER_UP: u8 = 6;
        let flags = number(body.get(8..)?)?;
        let has = |flag: libc::c_int| u32::try_from(flag).is_ok_and(|flag| flags & flag != 0);
        let mut link = Self {
            index: number(body.get(4..)?)?,
            name: String::new(),
            mac: None,
            mtu: 0,
            kind: None,
            master: None,
            up: has(libc::IFF_UP),
            promisc: has(libc::IFF_PROMISC),
            running: false,
            steady: false,
            peer: None,
            peer_netns_id: None,
            alias: None,
            altnames: Vec::new(),
            bridge: None,
            vlan: None,
            group: 0,
            port: None,
        };
        let (mut state, mut has_queue) = (None, false);
        for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
            match kind {
                libc::IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(value).ok().map(Mac),
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_MTU => link.mtu = number(value)?,
                libc::IFLA_LINK => link.peer = number(value),
                libc::IFLA_MASTER => link.master = number(value),
                libc::IFLA_OPERSTATE => state = value.first().copied(),
                // Where it has none yet, what it is to send is dropped.
                libc::IFLA_QDISC => has_queue = text(value) != "noop",
                libc::IFLA_GROUP => link.group = number(value)?,
                libc::IFLA_IFALIAS => link.alias = Some(text(value)),
                libc::IFLA_LINK_NETNSID => {
                    link.peer_netns_id = value.first_chunk().map(|id| i32::from_ne_bytes(*id));
                }
                libc::IFLA_LINKINFO => link.decode_info(value),
                libc::IFLA_PROP_LIST => {
                    let names =
                        attributes(value).filter(|(kind, _)| *kind == libc::IFLA_ALT_IFNAME);
                    link.altnames.extend(names.map(|(_, name)| text(name)));
                }
                _ => {}
            }
        }
        link.running = state == Some(IF_OPER_UP);
        link.steady = state == Some(IF_OPER_UNKNOWN) && has(libc::IFF_LOWER_UP) && has_queue;
        Some(link)
    }

    fn decode_info(&mut self, info: &[u8]) {
        let mut bridge_port = false;
        for (kind, value) in attributes(info) {
            match kind {
                libc::IFLA_INFO_KIND => self.kind = Some(text(value)),
                // Its kind comes before it.
                libc::IFLA_INFO_DATA if self.is_bridge() => {
                    self.bridge = Some(bridge::Options::decode(value));
                }
                libc::IFLA_INFO_DATA if self.is_vlan() => self.vlan = Some(Vlan::decode(value)),
                libc::IFLA_INFO_SLAVE_KIND => bridge_port = text(value) == "bridge",
                libc::IFLA_INFO_SLAVE_DATA if bridge_port => self.port = Some(Port::decode(value)),
                _ => {}
            }
        }
    }
}

impl Port {
    fn decode(data: &[u8]) -> Self {
        // linux/if_link.h, `IFLA_BRPORT_*`.
        const STATE: u16 = 1;
        const MODE: u16 = 4;
        const ISOLATED: u16 = 33;
        let mut port = Self::default();
        for (kind, value) in attributes(data) {
            let is_set = value.first().is_some_and(|byte| *byte != 0);
            match kind {
                STATE => port.state = PortState::from_kernel(value.first().copied()),
                MODE => port.hairpin = is_set,
                ISOLATED => port.isolated = is_set,
                _ => {}
            }
        }
        port
    }
}

impl PortState {
    fn from_kernel(number: Option<u8>) -> Self {
        match number {
            Some(1) => Self::Listening,
            Some(2) => Self::Learning,
            Some(3) => Self::Forwarding,
            Some(4) => Self::Blocking,
            _ => Self::Disabled,
        }
    }
}

/// The index of a link of the calling thread's namespace, if there is one; takes no lock of the kernel's
/// (`SIOCGIFINDEX`).
pub fn index_of(name: &IfName) -> Option<u32> {
    nix::net::if_::if_nametoindex(name.as_str()).ok()
}

pub(super) fn query(attributes: Vec<LinkAttribute>, index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    // Some counters are slow to read, and nobody here wants them.
    let quiet = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
    message.attributes.push(quiet);
    message
}

impl Rtnl {
    /// Looks a link up by name; `None` when there is none.
    pub fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, Error> {
        let by_name = vec![LinkAttribute::IfName(name.as_str().to_owned())];
        self.one_link(Request::new(
            format!("look up link {name}"),
            libc::RTM_GETLINK,
            &query(by_name, 0),
        ))
    }

    /// Looks a link up by index; `None` when there is none.
    ///
    /// The kernel (6.8 and later) first works off pending carrier changes of that link: after a link went up, this is
    /// the barrier behind which its operational state and its bridge port's state are settled.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        self.one_link(Request::new(
            format!("look up link {index}"),
            libc::RTM_GETLINK,
            &query(Vec::new(), index),
        ))
    }

    pub(super) fn one_link(&mut self, request: Request<Rtnetlink>) -> Result<Option<Link>, Error> {
        match self.get(request) {
            Ok(reply) => Ok(Link::decode(&reply.body)),
            Err(error) if error.errno == libc::ENODEV => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists all links of the namespace: the cost grows with their number.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.list_links(Vec::new())
    }

    /// Lists the ports of a bridge.
    pub fn ports_of(&mut self, bridge: &Link) -> Result<Vec<Link>, Error> {
        let ports = self.list_links(vec![LinkAttribute::Controller(bridge.index)])?;
        // Kernels before 4.20 do not filter.
        let ours = |port: &Link| port.master == Some(bridge.index);
        Ok(ports.into_iter().filter(ours).collect())
    }

    pub(super) fn list_links(&mut self, filter: Vec<LinkAttribute>) -> Result<Vec<Link>, Error> {
        let request = Request::new("list links", libc::RTM_GETLINK, &query(filter, 0));
        let replies = self.dump(request)?;
        Ok(replies
            .iter()
            .filter_map(|reply| Link::decode(&reply.body))
            .collect())
    }

    /// Adds a link; fails when the name is taken, and names the module where the kernel knows no such kind of link.
    pub(super) fn add_link(&mut self, doing: String, message: &LinkMessage) -> Result<(), Error> {
        self.execute(addition(doing, message))
            .map_err(|error| lacking_kind(error, message))
    }

    /// The same; gives the link as the kernel says it made it, before it became anybody's port. `None` where it says nothing.
    pub(super) fn add_link_told(
        &mut self,
        doing: String,
        message: &LinkMessage,
    ) -> Result<Option<Link>, Error> {
        let told = self
            .execute_echoed(addition(doing, message))
            .map_err(|error| lacking_kind(error, message))?;
        Ok(told
            .filter(|told| told.kind == libc::RTM_NEWLINK)
            .and_then(|told| Link::decode(&told.body)))
    }

    /// Deletes a link and returns when the kernel has freed it, some 15 ms after it was gone; fails when it is
    /// absent. See [`Rtnl::delete_link_detached`].
    pub fn delete_link(&mut self, link: &Link) -> Result<(), Error> {
        self.execute(deletion(link))
    }

    /// Deletes several links for about the price of one: they are put into a group of their own, which is
    /// deleted as a whole.
    ///
    /// # Errors
    /// A link that vanished meanwhile is no error.
    pub fn delete_links(&mut self, links: &[Link]) -> Result<(), Error> {
        let (Some(first), true) = (links.first(), links.len() > 1) else {
            return match links.first().map(|link| self.delete_link(link)) {
                Some(Err(error)) if !error.is_absent() => Err(error),
                _ => Ok(()),
            };
        };
        // Group 0 is where every link starts; an index is never that of a group somebody configured by hand.
        let group = first.index | 0x4000_0000;
        let mut moves = links.iter().map(|link| {
            let mut message = LinkMessage::default();
            message.header.index = link.index;
            message.attributes.push(LinkAttribute::Group(group));
            Request::new(
                format!("mark link {} for deletion", link.name),
                libc::RTM_SETLINK,
                &message,
            )
            .tolerate(libc::ENODEV)
        });
        // A datagram has to fit into the socket's send buffer.
        loop {
            let some: Vec<_> = moves.by_ref().take(1000).collect();
            if some.is_empty() {
                break;
            }
            self.batch(some)?;
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group));
        let request = Request::new(
            format!("delete {} links", links.len()),
            libc::RTM_DELLINK,
            &message,
        );
        self.execute(request.tolerate(libc::ENODEV))
    }
}

fn addition(doing: String, message: &LinkMessage) -> Request<Rtnetlink> {
    Request::new(doing, libc::RTM_NEWLINK, message).with(NLM_F_CREATE | NLM_F_EXCL)
}

fn lacking_kind(error: Error, message: &LinkMessage) -> Error {
    match kind_of(message) {
        Some(kind) => error.lacking_link_kind(&kind),
        None => error,
    }
}

fn kind_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else {
            return None;
        };
        infos.iter().find_map(|info| {
            let LinkInfo::Kind(kind) = info else {
                return None;
            };
            Some(kind.to_string())
        })
    })
}

/// The request that deletes a link, acknowledged.
pub(super) fn deletion(link: &Link) -> Request<Rtnetlink> {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    Request::new(
        format!("delete link {}", link.name),
        libc::RTM_DELLINK,
        &message,
    )
    .with(NLM_F_ACK)
}
