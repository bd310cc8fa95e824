//! Links that stand on another link, and whether this kernel has them.

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::Rtnl;
use super::error::Error;

/// A kind of link that stands on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// IEEE 802.1Q and 802.1ad.
    Vlan,
    /// Further Ethernet addresses on a link.
    Macvlan,
}

impl Rtnl {
    /// Fails as making such a link would fail where the kernel has no such kind; makes nothing.
    ///
    /// The kernel is asked for a link on top of none: one that knows the kind refuses that (`EINVAL`). As with any
    /// such request it may load the module for it by itself.
    pub fn require_upper(&mut self, upper: Upper) -> Result<(), Error> {
        let kind = match upper {
            Upper::Vlan => InfoKind::Vlan,
            Upper::Macvlan => InfoKind::MacVlan,
        };
        let doing = format!("look for links of type {kind}");
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        match self.add_link(doing, &message) {
            Err(error) if error.errno == libc::EINVAL => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::code::Code;
    use crate::error::Cause;
    use crate::testing::{private_netns, run};

    /// Holds on kernels that have 802.1Q and on those that do not: ip(8) is the judge.
    #[test]
    fn what_ip_can_make_is_there_and_what_it_cannot_is_named() {
        private_netns();
        run("ip", &["link", "add", "low", "type", "veth", "peer", "x"]);
        let mut rtnl = Rtnl::open().unwrap();
        for (upper, new, module) in [
            (Upper::Vlan, "link add link low up0 type vlan id 5", "8021q"),
            (
                Upper::Macvlan,
                "link add link low up0 type macvlan",
                "macvlan",
            ),
        ] {
            let before = run("ip", &["link"]);
            let found = rtnl.require_upper(upper);
            assert_eq!(run("ip", &["link"]), before);
            let made = Command::new("ip").args(new.split(' ')).output().unwrap();
            if made.status.success() {
                assert_eq!(found, Ok(()));
                run("ip", &["link", "del", "up0"]);
            } else {
                let error = found.unwrap_err();
                assert_eq!(error.missing_module(), Some(module), "{made:?}");
                assert_eq!(error.cause().code(), Code::Unsupported);
            }
        }
    }

    #[test]
    fn a_kind_that_no_kernel_has_is_refused_by_name() {
        private_netns();
        let mut message = LinkMessage::default();
        let kind = LinkInfo::Kind(InfoKind::Other("nonesuch".into()));
        message.attributes = vec![
            LinkAttribute::IfName("n0".into()),
            LinkAttribute::LinkInfo(vec![kind]),
        ];
        let error = Rtnl::open()
            .unwrap()
            .add_link("create n0".into(), &message)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "create n0: this kernel has no links of type nonesuch: the module nonesuch is needed (EOPNOTSUPP)"
        );
    }
}
