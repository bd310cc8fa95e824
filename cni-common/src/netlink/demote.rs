//! Making room for another default route, and giving the room back.
//!
//! A default route that is there stays, with a metric beyond those that people give: so it serves again as soon as the
//! other one is gone, whoever takes that away.

use core::cmp::Reverse;

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
    /// router advertisements stay, for the kernel would bring them back. What stands back already is raised once more, and so
    /// stays behind what stands back from now on.
    pub fn demote_default_routes(&mut self, family: Family, but: &Link) -> Result<(), Error> {
        let mut found = self.default_routes(family, Some(but.index))?;
        // Whoever is killed on the way has raised those that are behind others, and of equals the best: so it shows.
        found.sort_by_key(|body| (Reverse(level(body)), own(body)));
        for body in found {
            if let Some(new) = metric(&body).checked_add(RAISE) {
                self.shift(&body, new)?;
            }
        }
        Ok(())
    }

    /// Takes back what [`Rtnl::demote_default_routes`] did for one link, which does not count. Routes whose place another
    /// link has taken wait until that one has gone as well.
    pub fn promote_default_routes(
        &mut self,
        family: Family,
        but: Option<u32>,
    ) -> Result<(), Error> {
        let found = self.default_routes(family, but)?;
        // Whoever was killed while a route changed has left it twice.
        let is_twice = |body: &Vec<u8>| {
            found.iter().any(|other| {
                metric(other) < metric(body)
                    && own(other) == own(body)
                    && with_metric(other, 0) == with_metric(body, 0)
            })
        };
        let (twice, found): (Vec<_>, Vec<_>) = found.iter().cloned().partition(is_twice);
        for body in &twice {
            self.remove(body)?;
        }
        let (serving, mut back): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|body| level(body) == 0);
        let Some(lowest) = back.iter().map(|body| level(body)).min() else {
            return Ok(());
        };
        if let Some(best) = serving.iter().map(|body| own(body)).min() {
            // What would win has not given way to it.
            back.retain(|body| level(body) == 1 && own(body) < best);
        }
        // Also halfway nothing comes before what it stood behind.
        back.sort_by_key(|body| (level(body), Reverse(own(body))));
        for body in back {
            let new = metric(&body).saturating_sub(lowest.saturating_mul(RAISE));
            self.shift(&body, new)?;
        }
        Ok(())
    }

    /// The default routes of a family in the main table as the kernel describes them, those aside that are learnt from router
    /// advertisements or lead through one link.
    fn default_routes(&mut self, family: Family, but: Option<u32>) -> Result<Vec<Vec<u8>>, Error> {
        let mut filter = RouteMessage::default();
        filter.header.address_family = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let request = Request::new("list the default routes", libc::RTM_GETROUTE, &filter);
        let replies = self.dump(request)?.into_iter();
        let bodies = replies.map(|reply| reply.body);
        Ok(bodies.filter(|body| is_default(body, but)).collect())
    }

    /// Gives a route another metric.
    fn shift(&mut self, body: &[u8], new: u32) -> Result<(), Error> {
        let doing = format!("change the metric of a default route to {new}");
        let add: Request<Rtnetlink> =
            Request::raw(doing, libc::RTM_NEWROUTE, with_metric(body, new));
        // Beside one of the same metric, which may be about to go.
        self.execute(add.with(NLM_F_CREATE | NLM_F_APPEND).tolerate(libc::EEXIST))?;
        self.remove(body)
    }

    fn remove(&mut self, body: &[u8]) -> Result<(), Error> {
        let gone = with_metric(body, metric(body));
        let delete: Request<Rtnetlink> =
            Request::raw("delete a default route", libc::RTM_DELROUTE, gone);
        self.execute(delete.tolerate(libc::ESRCH))
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

/// How often it was raised.
fn level(body: &[u8]) -> u32 {
    metric(body) / RAISE
}

/// The metric that it was given.
fn own(body: &[u8]) -> u32 {
    metric(body) % RAISE
}

fn is_default(body: &[u8], but: Option<u32>) -> bool {
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
        && (but.is_none() || find(body, libc::RTA_OIF) != but)
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
