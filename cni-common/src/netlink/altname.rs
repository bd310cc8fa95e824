//! Further names of links (kernel 5.5 and later): a list that is changed one name at a time, and unique in the
//! namespace together with the links' own names.

use netlink_packet_route::link::{LinkAttribute, LinkMessage, Prop};

use super::Rtnl;
use super::error::Error;
use super::link::{Link, query};
use super::request::Request;

// linux/rtnetlink.h; libc lacks them.
const RTM_NEWLINKPROP: u16 = 108;
const RTM_DELLINKPROP: u16 = 109;

impl Rtnl {
    /// Adds a further name to a link.
    ///
    /// # Errors
    /// `EEXIST` when a link has it, `EOPNOTSUPP` on kernels before 5.5.
    pub fn add_altname(&mut self, link: &Link, name: &str) -> Result<(), Error> {
        let doing = format!("add the name {name} to {}", link.name);
        let message = properties(link, name);
        self.execute(Request::new(doing, RTM_NEWLINKPROP, &message))
    }

    /// Removes a further name from a link.
    ///
    /// # Errors
    /// `ENODEV` without the link; `ENOENT` or `EINVAL` without the name.
    pub fn remove_altname(&mut self, link: &Link, name: &str) -> Result<(), Error> {
        let doing = format!("remove the name {name} from {}", link.name);
        let message = properties(link, name);
        self.execute(Request::new(doing, RTM_DELLINKPROP, &message))
    }

    /// Looks a link up by a further name; `None` when there is none.
    pub fn link_by_altname(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let bare = netlink_packet_core::DefaultNla::new(
            libc::IFLA_ALT_IFNAME,
            [name.as_bytes(), &[0]].concat(),
        );
        let request = query(vec![LinkAttribute::Other(bare)], 0);
        let found = self.one_link(Request::new(
            format!("look up link {name}"),
            libc::RTM_GETLINK,
            &request,
        ))?;
        // Kernels before 5.5 do not know the attribute.
        Ok(found.filter(|link| link.altnames.iter().any(|each| each == name)))
    }
}

fn properties(link: &Link, name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = link.index;
    let list = vec![Prop::AltIfName(name.to_owned())];
    message.attributes.push(LinkAttribute::PropList(list));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{ContainerId, IfName, NetworkName};
    use crate::owner::Owner;
    use crate::testing::{private_netns, run};

    #[test]
    fn a_link_is_found_by_a_further_name_until_it_is_removed() {
        private_netns();
        run("ip", &["link", "add", "low", "type", "bridge"]);
        let mut rtnl = Rtnl::open().unwrap();
        let low = IfName::parse("low").unwrap();
        let link = rtnl.link_by_name(&low).unwrap().unwrap();
        // The longest that the kernel takes: `ALTIFNAMSIZ`, linux/if.h, less the NUL.
        let long = "c".repeat(127);
        for name in ["one", &long] {
            assert_eq!(rtnl.link_by_altname(name), Ok(None));
            rtnl.add_altname(&link, name).unwrap();
            assert!(rtnl.add_altname(&link, name).unwrap_err().is_taken());
            let found = rtnl.link_by_altname(name).unwrap().unwrap();
            assert_eq!(found.index, link.index);
        }
        assert_eq!(
            rtnl.link_by_name(&low).unwrap().unwrap().altnames,
            ["one", &long]
        );
        assert!(run("ip", &["link", "show", "low"]).contains(&long));
        rtnl.remove_altname(&link, "one").unwrap();
        assert_eq!(rtnl.link_by_altname("one"), Ok(None));
        assert!(rtnl.remove_altname(&link, "one").is_err());
        run("ip", &["link", "del", "low"]);
        assert!(rtnl.remove_altname(&link, &long).unwrap_err().is_absent());
    }

    #[test]
    fn a_link_with_as_many_owners_as_the_kernel_takes_is_still_read() {
        private_netns();
        run("ip", &["link", "add", "low", "type", "bridge"]);
        let mut rtnl = Rtnl::open().unwrap();
        let low = IfName::parse("low").unwrap();
        let link = rtnl.link_by_name(&low).unwrap().unwrap();
        let owner = |number: usize| Owner {
            network: NetworkName::parse("net").unwrap(),
            container: ContainerId::parse(&format!("{number:0100}")).unwrap(),
            ifname: IfName::parse("eth0").unwrap(),
        };
        let names = (0..1000).map(|number| owner(number).altname("q4094"));
        let added: Vec<String> = names
            .take_while(|name| rtnl.add_altname(&link, name).is_ok())
            .collect();
        assert!(added.len() > 450, "{}", added.len());
        let found = rtnl.link_by_name(&low).unwrap().unwrap();
        assert_eq!(found.altnames, added);
        let listed = rtnl.links().unwrap();
        assert!(listed.iter().any(|link| link.altnames == added));
    }
}
