//! Making room for another default route, and giving the room back.
//!
//! A default route that is there stays, with a metric beyond those that people give: so it serves again as soon as the
//! other one is gone, whoever takes that away.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteMessage;

use super::belongings::put;
use super::error::Error;
use super::frame::{attributes, number};
use super::link::Link;
use super::request::Request;
use super::route::TABLE_MAIN;
use super::{Rtnetlink, Rtnl};
use crate::addr::Family;

/// What the metric of a route is raised by.
const RAISE: u32 = 1 << 20;

/// Length of `struct rtmsg`.
const RTMSG: usize = 12;

impl Rtnl {
    /// Raises the metrics of the default routes of a family in the main table, those through one link aside; those learnt from
    /// router advertisements stay, for the kernel would bring them back. Says how many there were.
    pub fn demote_default_routes(&mut self, family: Family, but: &Link) -> Result<usize, Error> {
        self.shift(family, Some(but), |metric| {
            (metric < RAISE).then(|| metric + RAISE)
        })
    }

    /// Takes back what [`Rtnl::demote_default_routes`] did.
    pub fn promote_default_routes(&mut self, family: Family) -> Result<usize, Error> {
        self.shift(family, None, |metric| metric.checked_sub(RAISE))
    }

    fn shift(
        &mut self,
        family: Family,
        but: Option<&Link>,
        shifted: impl Fn(u32) -> Option<u32>,
    ) -> Result<usize, Error> {
        let mut filter = RouteMessage::default();
        filter.header.address_family = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let request = Request::new("list the default routes", libc::RTM_GETROUTE, &filter);
        let replies = self.dump(request)?;
        let mut count = 0;
        for reply in replies {
            let body = reply.body;
            let Some(new) = is_default(&body, but)
                .then(|| shifted(metric(&body)))
                .flatten()
            else {
                continue;
            };
            let doing = format!("change the metric of a default route to {new}");
            let add: Request<Rtnetlink> =
                Request::raw(&doing, libc::RTM_NEWROUTE, with_metric(&body, new));
            let gone = with_metric(&body, metric(&body));
            let delete: Request<Rtnetlink> = Request::raw(&doing, libc::RTM_DELROUTE, gone);
            // Beside one of the same metric, which may be about to go.
            self.execute(add.with(NLM_F_CREATE | NLM_F_APPEND).tolerate(libc::EEXIST))?;
            self.execute(delete.tolerate(libc::ESRCH))?;
            count += 1;
        }
        Ok(count)
    }
}

fn find(body: &[u8], kind: u16) -> Option<u32> {
    let mut all = attributes(body.get(RTMSG..).unwrap_or_default());
    all.find(|(found, _)| *found == kind)
        .and_then(|(_, value)| number(value))
}

fn metric(body: &[u8]) -> u32 {
    find(body, libc::RTA_PRIORITY).unwrap_or(0)
}

fn is_default(body: &[u8], but: Option<&Link>) -> bool {
    const RTPROT_RA: u8 = 9;
    let Some([_family, to_bits, _from, _tos, table, protocol, _scope, kind]) =
        body.first_chunk::<8>()
    else {
        return false;
    };
    let table = find(body, libc::RTA_TABLE).unwrap_or(u32::from(*table));
    *to_bits == 0
        && *kind == libc::RTN_UNICAST
        && *protocol != RTPROT_RA
        && table == TABLE_MAIN
        && (but.is_none() || find(body, libc::RTA_OIF) != but.map(|link| link.index))
}

/// The route with another metric, and without what the kernel found out about it.
fn with_metric(body: &[u8], metric: u32) -> Vec<u8> {
    let mut new = body.get(..RTMSG).unwrap_or_default().to_vec();
    if let Some(flags) = new.get_mut(8..12) {
        let onlink = number(flags).unwrap_or_default() & 4;
        flags.copy_from_slice(&onlink.to_ne_bytes());
    }
    for (kind, value) in attributes(body.get(RTMSG..).unwrap_or_default()) {
        if !matches!(kind, libc::RTA_PRIORITY | libc::RTA_CACHEINFO) {
            put(&mut new, kind, value);
        }
    }
    put(&mut new, libc::RTA_PRIORITY, &metric.to_ne_bytes());
    new
}
