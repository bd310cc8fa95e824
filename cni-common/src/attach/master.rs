//! The link that an interface stands on, as a configuration names it.

use core::fmt;
use core::str::FromStr;

use crate::addr::Mac;
use crate::code::Code;
use crate::error::{Cause, Error};
use crate::ident::{IfName, Invalid};
use crate::netlink::Rtnl;
use crate::netlink::link::Link;

/// What stands before an Ethernet address.
const BY_MAC: &str = "mac:";

/// The longest further name of a link in bytes (`ALTIFNAMSIZ`, linux/if.h, less the NUL).
const ALTNAME: usize = 127;

/// The link that an interface stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Master {
    /// The link of this name, or of this further one (`altname` of ip-link(8)).
    Name(IfName),
    /// The link that has this further name, which is longer than a name may be: `enp0s31f6…`.
    LongName(String),
    /// The link that has this Ethernet address, the lowest where links stand on each other: `mac:02:…`.
    Mac(Mac),
    /// The link that the default route leads through.
    DefaultRoute,
}

impl Master {
    /// Reads a name or `mac:` and an address.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(mac) = text.strip_prefix(BY_MAC) {
            return Mac::from_str(mac).map(Self::Mac);
        }
        // The kernel takes any bytes in a further name.
        if (IfName::MAX_LEN + 1..=ALTNAME).contains(&text.len()) && !text.contains('\0') {
            return Ok(Self::LongName(text.to_owned()));
        }
        IfName::parse(text).map(Self::Name)
    }

    /// Looks it up.
    ///
    /// # Errors
    /// Code 7 when several links share the address.
    pub fn find(&self, rtnl: &mut Rtnl) -> Result<Option<Link>, Error> {
        match self {
            Self::Name(name) => rtnl.link_by_name(name).map_err(Cause::cause),
            Self::LongName(name) => rtnl.link_by_altname(name).map_err(Cause::cause),
            Self::Mac(mac) => lowest(*mac, rtnl.links().map_err(Cause::cause)?),
            Self::DefaultRoute => match rtnl.default_route_link().map_err(Cause::cause)? {
                Some(index) => rtnl.link_by_index(index).map_err(Cause::cause),
                None => Ok(None),
            },
        }
    }

    /// Looks it up; it must be there.
    ///
    /// # Errors
    /// Code 7 when it is not, naming the key `key`.
    pub fn require(&self, rtnl: &mut Rtnl, key: &str) -> Result<Link, Error> {
        self.find(rtnl)?.ok_or_else(|| {
            let text = match self {
                Self::Name(name) => format!("{key}: there is no link {:?}", name.as_str()),
                Self::LongName(name) => format!("{key}: no link has the further name {name:?}"),
                Self::Mac(mac) => format!("{key}: no link has the Ethernet address {mac}"),
                Self::DefaultRoute => {
                    format!("{key}: is empty, and there is no default route to take the link from")
                }
            };
            Error::new(Code::InvalidConfig, text)
        })
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::LongName(name) => f.write_str(name),
            Self::Mac(mac) => write!(f, "{BY_MAC}{mac}"),
            Self::DefaultRoute => f.write_str("the default route's link"),
        }
    }
}

/// The one link with this address that stands on no other with it: a VLAN link has the address of the link below, a
/// bridge that of a port. Of a bond and its ports, which have one address too, the bond.
fn lowest(mac: Mac, links: Vec<Link>) -> Result<Option<Link>, Error> {
    let same: Vec<Link> = links
        .into_iter()
        .filter(|link| link.mac == Some(mac))
        .collect();
    let any = |test: &dyn Fn(&Link) -> bool| same.iter().any(test);
    let is_upper = |link: &Link| {
        let below = link.peer.filter(|_| link.peer_netns_id.is_none());
        !link.is_veth() && below.is_some_and(|index| any(&|other| other.index == index))
    };
    let is_bridge_over =
        |link: &Link| link.is_bridge() && any(&|other| other.master == Some(link.index));
    let is_bonded = |link: &Link| {
        let bond = |other: &Link| link.master == Some(other.index) && !other.is_bridge();
        any(&bond)
    };
    let found: Vec<&Link> = same
        .iter()
        .filter(|link| !is_upper(link) && !is_bridge_over(link) && !is_bonded(link))
        .collect();
    match found.as_slice() {
        [] => Ok(None),
        [link] => Ok(Some((*link).clone())),
        several => {
            let names: Vec<&str> = several.iter().map(|link| link.name.as_str()).collect();
            Err(Error::new(
                Code::InvalidConfig,
                format!(
                    "the links {} share the Ethernet address {mac}: give the name of one",
                    names.join(", ")
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{private_netns, run};

    #[test]
    fn a_name_or_an_address_is_read() {
        let mac = "mac:02:00:00:00:00:07";
        assert!(matches!(Master::parse("eth0"), Ok(Master::Name(_))));
        assert_eq!(Master::parse(mac).unwrap().to_string(), mac);
        for bad in ["mac:zz", "mac:", "a/b", ""] {
            assert!(Master::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_further_name_of_any_length_names_its_link() {
        private_netns();
        run("ip", &["link", "add", "low", "type", "bridge"]);
        let mut rtnl = Rtnl::open().unwrap();
        for name in ["short", "enp0s31f6np0d1v2", &"n".repeat(127)] {
            run(
                "ip",
                &["link", "property", "add", "dev", "low", "altname", name],
            );
            let master = Master::parse(name).unwrap();
            assert_eq!(master.to_string(), name);
            assert_eq!(master.require(&mut rtnl, "master").unwrap().name, "low");
        }
        assert!(Master::parse(&"n".repeat(128)).is_err());
    }

    #[test]
    fn an_address_names_the_lowest_link_that_has_it() {
        private_netns();
        let mac = "02:00:00:00:00:07";
        run(
            "ip",
            &["link", "add", "low", "address", mac, "type", "bridge"],
        );
        let port = ["link", "add", "port", "address", mac, "type", "veth"];
        run("ip", &port);
        run("ip", &["link", "set", "port", "master", "low"]);
        let mut rtnl = Rtnl::open().unwrap();
        let master = Master::parse(&format!("mac:{mac}")).unwrap();
        assert_eq!(master.require(&mut rtnl, "master").unwrap().name, "port");
        run(
            "ip",
            &["link", "add", "two", "address", mac, "type", "veth"],
        );
        let several = master.find(&mut rtnl).unwrap_err();
        assert_eq!(several.code(), Code::InvalidConfig);
        assert!(several.to_string().contains("port, two"), "{several}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        for (text, words) in [
            ("eth9", "\"eth9\""),
            ("a-rather-long-name", "\"a-rather-long-name\""),
            ("mac:02:00:00:00:00:09", "02:00:00:00:00:09"),
        ] {
            let error = Master::parse(text).unwrap().require(&mut rtnl, "master");
            let error = error.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let none = Master::DefaultRoute.require(&mut rtnl, "master");
        assert!(none.unwrap_err().to_string().contains("default route"));
    }
}
