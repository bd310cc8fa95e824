//! Which link the default route leads through, and which links routers advertise themselves on.

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteMessage;

use super::Rtnl;
use super::error::Error;
use super::request::Request;
use super::route::{Described, TABLE_MAIN};

impl Rtnl {
    /// The index of the link that the default route of the main table leads through: of IPv4's the one with the lowest
    /// metric, or else of IPv6's; of several next hops the first. `None` without a default route.
    pub fn default_route_link(&mut self) -> Result<Option<u32>, Error> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            let request = Request::new("list the default routes", libc::RTM_GETROUTE, &filter);
            let routes = self.dump(request)?;
            let routes = routes.iter().filter_map(|reply| default_route(&reply.body));
            if let Some((_, link)) = routes.min_by_key(|(metric, _)| *metric) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }
}

/// Who installed a route that a router advertised (`RTPROT_RA`, linux/rtnetlink.h).
const PROTOCOL_RA: u8 = 9;

impl Rtnl {
    /// The names of the links by which routers advertise themselves, or routes, to this host.
    pub fn advertised_links(&mut self) -> Result<Vec<String>, Error> {
        let mut filter = RouteMessage::default();
        filter.header.address_family = AddressFamily::Inet6;
        let request = Request::new("list the IPv6 routes", libc::RTM_GETROUTE, &filter);
        let routes = self.dump(request)?;
        let mut links: Vec<u32> = routes
            .iter()
            .filter_map(|reply| Described::decode(&reply.body))
            .filter(|route| route.shared.protocol == PROTOCOL_RA)
            .filter_map(|route| route.first_link())
            .collect();
        links.sort_unstable();
        links.dedup();
        let mut names = Vec::new();
        for index in links {
            names.extend(self.link_by_index(index)?.map(|link| link.name));
        }
        Ok(names)
    }
}

/// Metric and link of a route, if it is a default route of the main table.
pub(super) fn default_route(body: &[u8]) -> Option<(u32, u32)> {
    let route = Described::decode(body)?;
    let shared = &route.shared;
    let is_default = shared.dst.is_default_route()
        && shared.table == TABLE_MAIN
        && route.kind == libc::RTN_UNICAST;
    let link = route.first_link().filter(|_| is_default)?;
    Some((shared.priority.unwrap_or_default(), link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{private_netns, run};

    fn index(rtnl: &mut Rtnl, name: &str) -> u32 {
        let name = crate::ident::IfName::parse(name).unwrap();
        rtnl.link_by_name(&name).unwrap().unwrap().index
    }

    #[test]
    fn the_lowest_metric_wins_and_ipv6_counts_without_ipv4() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        assert_eq!(rtnl.default_route_link(), Ok(None));
        for (name, net) in [("one", 1), ("two", 2), ("six", 6)] {
            run("ip", &["link", "add", name, "type", "bridge"]);
            run("ip", &["link", "set", name, "up"]);
            let address = format!("10.0.{net}.1/24");
            run("ip", &["addr", "add", &address, "dev", name]);
        }
        run("ip", &["-6", "route", "add", "default", "dev", "six"]);
        assert_eq!(
            rtnl.default_route_link().unwrap(),
            Some(index(&mut rtnl, "six"))
        );
        for (name, metric) in [("one", "200"), ("two", "100")] {
            let route = ["route", "add", "default", "dev", name, "metric", metric];
            run("ip", &route);
        }
        run("ip", &["route", "add", "10.9.0.0/16", "dev", "one"]);
        let other = ["route", "add", "default", "dev", "six", "table", "7"];
        run("ip", &other);
        assert_eq!(
            rtnl.default_route_link().unwrap(),
            Some(index(&mut rtnl, "two"))
        );
    }

    #[test]
    fn of_several_next_hops_the_first_counts() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        for name in ["one", "two"] {
            run("ip", &["link", "add", name, "type", "bridge"]);
            run("ip", &["link", "set", name, "up"]);
        }
        let hops = "route add default nexthop dev two nexthop dev one";
        run("ip", &hops.split(' ').collect::<Vec<_>>());
        assert_eq!(
            rtnl.default_route_link().unwrap(),
            Some(index(&mut rtnl, "two"))
        );
    }
}
