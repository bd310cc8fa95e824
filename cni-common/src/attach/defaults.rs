//! `replaceDefaultRoute`: the default routes of a container's other interfaces stand back behind an attachment's own.

use crate::addr::Family;
use crate::error::{Cause, Error, Step};
use crate::ident::IfName;
use crate::netlink::link::Link;
use crate::netlink::route::TABLE_MAIN;
use crate::netlink::{self, Rtnl};
use crate::netns::Netns;
use crate::result::Route;
use crate::undo::Undo;

/// The families in which these routes have a default route in the main table.
fn families(routes: &[Route]) -> Vec<Family> {
    let has = |family: &Family| {
        routes.iter().any(|route| {
            route.dst == family.default_route()
                && route.table.is_none_or(|table| table == TABLE_MAIN)
        })
    };
    [Family::V4, Family::V6].into_iter().filter(has).collect()
}

/// Lets the default routes of other interfaces stand back, in the families in which `routes` has one; to be called before
/// those are added.
pub fn make_room<'a>(
    rtnl: &mut Rtnl,
    netns: &'a Netns,
    link: &Link,
    routes: &[Route],
    undo: &mut Undo<'a>,
) -> Result<(), Error> {
    let own = link.index;
    undo.push("put the default routes back", move || {
        promote_but(netns, |_| Ok(Some(own)))
    });
    for family in families(routes) {
        rtnl.demote_default_routes(family, link)
            .map_err(Cause::cause)?;
    }
    Ok(())
}

/// Gives the default routes that stood back for an attachment their metrics again; its interface's own do not count, where
/// it is still there.
pub fn promote(netns: &Netns, ifname: &IfName) -> Result<(), Error> {
    promote_but(netns, |rtnl| {
        let own = rtnl.link_by_name(ifname)?;
        Ok(own.map(|link| link.index))
    })
}

fn promote_but(
    netns: &Netns,
    but: impl FnOnce(&mut Rtnl) -> Result<Option<u32>, netlink::Error>,
) -> Result<(), Error> {
    let promoted = netns.run(|| {
        let mut rtnl = Rtnl::open()?;
        let but = but(&mut rtnl)?;
        rtnl.promote_default_routes(Family::V4, but)?;
        rtnl.promote_default_routes(Family::V6, but)
    });
    promoted
        .step(|| "enter the container's namespace")?
        .map_err(|error: netlink::Error| error.cause())
}
