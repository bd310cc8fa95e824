//! Changing a link that exists.

use std::os::fd::AsRawFd;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoPortData,
    InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::link::Link;
use super::request::Request;
use super::{Rtnetlink, bridge};
use crate::addr::Mac;
use crate::ident::IfName;
use crate::netns::Netns;

/// What to change of a link, all in one message. Start from [`Link::change`].
///
/// The link is addressed by its index: by name, a request that follows a failed creation in the same datagram
/// would change somebody else's link.
#[derive(Clone, Debug)]
#[must_use = "a change is only made when its request is sent"]
pub struct LinkChange {
    doing: String,
    message: LinkMessage,
    port: Vec<InfoBridgePort>,
}

impl Link {
    /// Begins a change of this link.
    pub fn change(&self) -> LinkChange {
        let mut message = LinkMessage::default();
        message.header.index = self.index;
        LinkChange {
            doing: format!("change link {}", self.name),
            message,
            port: Vec::new(),
        }
    }

    /// Gives the link no IPv6 link-local address when it comes up (`IN6_ADDR_GEN_MODE_NONE`).
    ///
    /// A message of its own, before the one that sets the link up: in one message the kernel sets it up first.
    /// Succeeds where IPv6 is switched off.
    pub fn without_link_local(&self) -> Request<Rtnetlink> {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let mut change = self.change();
        change.doing = format!("keep link {} without a link-local address", self.name);
        let inet6 = vec![AfSpecUnspec::Inet6(vec![mode])];
        change
            .with(LinkAttribute::AfSpecUnspec(inet6))
            .request()
            .tolerate(libc::EAFNOSUPPORT)
    }
}

impl LinkChange {
    fn with(mut self, attribute: LinkAttribute) -> Self {
        self.message.attributes.push(attribute);
        self
    }

    fn flag(mut self, flag: LinkFlags, on: bool) -> Self {
        self.message.header.change_mask |= flag;
        self.message.header.flags.set(flag, on);
        self
    }

    /// Names what is done, for errors; else `change link NAME`.
    pub fn doing(mut self, doing: impl Into<String>) -> Self {
        self.doing = doing.into();
        self
    }

    /// Sets it up.
    pub fn up(self) -> Self {
        self.flag(LinkFlags::Up, true)
    }

    /// Sets it down.
    pub fn down(self) -> Self {
        self.flag(LinkFlags::Up, false)
    }

    /// Switches promiscuous mode.
    pub fn promisc(self, on: bool) -> Self {
        self.flag(LinkFlags::Promisc, on)
    }

    /// Makes it a port of a bridge (`IFLA_MASTER`).
    pub fn master(self, bridge: &Link) -> Self {
        self.with(LinkAttribute::Controller(bridge.index))
    }

    /// Makes it a port of nothing.
    pub fn no_master(self) -> Self {
        self.with(LinkAttribute::Controller(0))
    }

    /// Sets the MTU in bytes.
    pub fn mtu(self, mtu: u32) -> Self {
        self.with(LinkAttribute::Mtu(mtu))
    }

    /// Sets the Ethernet address; setting the address a bridge has pins it (`NET_ADDR_SET`).
    pub fn mac(self, mac: Mac) -> Self {
        self.with(LinkAttribute::Address(mac.0.to_vec()))
    }

    /// Lets the kernel announce its IPv4 addresses when it comes up or gets another Ethernet address: the parameter
    /// `net/ipv4/conf/NAME/arp_notify`.
    pub fn arp_notify(self) -> Self {
        /// `IPV4_DEVCONF_ARP_NOTIFY` (linux/ip.h).
        const ARP_NOTIFY: u16 = 22;
        /// `linux/if_link.h`
        const IFLA_INET_CONF: u16 = 1;
        let parameter = [8_u16.to_ne_bytes(), ARP_NOTIFY.to_ne_bytes()].concat();
        let conf = [&parameter[..], &1_u32.to_ne_bytes()].concat();
        let conf = AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF, conf));
        let inet = AfSpecUnspec::Inet(vec![conf]);
        self.with(LinkAttribute::AfSpecUnspec(vec![inet]))
    }

    /// Moves it to a group; every link starts in 0.
    pub fn group(self, group: u32) -> Self {
        self.with(LinkAttribute::Group(group))
    }

    /// Renames it.
    pub fn name(self, name: &IfName) -> Self {
        self.with(LinkAttribute::IfName(name.as_str().to_owned()))
    }

    /// Moves it into a namespace, where it is down and without addresses (`IFLA_NET_NS_FD`). A name that is given in the
    /// same message is the one it has there.
    pub fn netns(self, netns: &Netns) -> Self {
        self.with(LinkAttribute::NetNsFd(netns.as_raw_fd()))
    }

    /// Sets the alias, at most 255 bytes; `""` removes it.
    pub fn alias(self, alias: &str) -> Self {
        // Without a final NUL: the kernel stores the value's bytes as they are.
        let nla = DefaultNla::new(libc::IFLA_IFALIAS, alias.as_bytes().to_vec());
        self.with(LinkAttribute::Other(nla))
    }

    /// Bridge: changes what is chosen.
    pub fn bridge_options(self, options: bridge::Options) -> Self {
        self.with(bridge::info(options))
    }

    /// Bridge port: lets frames leave by the port they came in.
    pub fn hairpin(mut self, on: bool) -> Self {
        self.port.push(InfoBridgePort::HairpinMode(on));
        self
    }

    /// Bridge port: cuts it off from other isolated ports.
    pub fn isolated(mut self, on: bool) -> Self {
        self.port.push(InfoBridgePort::Isolated(on));
        self
    }

    /// The request.
    ///
    /// `RTM_NEWLINK` and not `RTM_SETLINK`: the latter accepts port options and ignores them.
    #[must_use]
    pub fn request(mut self) -> Request<Rtnetlink> {
        if !self.port.is_empty() {
            self.message.attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(self.port)),
            ]));
        }
        Request::new(self.doing, libc::RTM_NEWLINK, &self.message)
    }
}
