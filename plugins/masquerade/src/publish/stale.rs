//! Connections that lead to where a port no longer leads.

use std::collections::BTreeMap;

use cni_common::addr::Family;
use cni_common::conntrack::{Conntrack, Tracked};
use cni_common::log;
use cni_common::netlink;
use cni_common::nft::{Element, Key};

use super::Published;

/// `IPPROTO_UDP` (linux/in.h).
const UDP: u8 = 17;

/// A published port and where it leads.
struct Way<'a> {
    key: &'a Key,
    target: &'a Key,
}

impl Way<'_> {
    fn port(&self) -> Option<(u8, u16)> {
        if let Key::Port(protocol, port) | Key::AddressPort(_, protocol, port) = self.key {
            return Some((*protocol, *port));
        }
        None
    }

    /// Whether the connection was opened to the port.
    fn was_meant(&self, connection: &Tracked) -> bool {
        let mut at = true;
        if let Key::AddressPort(address, ..) = self.key {
            at = *address == connection.to.0;
        }
        at && self.port() == Some((connection.protocol, connection.to.1))
    }

    /// Whether it is the container that answers.
    fn leads(&self, connection: &Tracked) -> bool {
        matches!(self.target, Key::Target(ip, port) if (*ip, *port) == connection.answered_by)
    }
}

/// Makes connections to newly published ports begin anew. What the host itself answers over TCP goes on.
pub(crate) fn forget_others(published: &[Published]) {
    let ways: Vec<Way<'_>> = published
        .iter()
        .map(|published| Way {
            key: &published.key,
            target: &published.target,
        })
        .collect();
    forget(&ways, |way, connection| {
        let follows = connection.redirected || connection.protocol == UDP;
        follows && way.was_meant(connection) && !way.leads(connection)
    });
}

/// Forgets connections that a port led to a container.
pub(crate) fn forget_ours<'a>(elements: impl Iterator<Item = &'a Element>) {
    let ways: Vec<Way<'_>> = elements
        .filter_map(|element| {
            Some(Way {
                key: &element.key,
                target: element.data.as_ref()?,
            })
        })
        .collect();
    forget(&ways, |way, connection| {
        connection.redirected && way.was_meant(connection) && way.leads(connection)
    });
}

/// A connection that cannot be forgotten ends by itself in time: that is no reason to fail.
fn forget(ways: &[Way<'_>], is_stale: impl Fn(&Way<'_>, &Tracked) -> bool) {
    if let Err(error) = try_forget(ways, is_stale) {
        log::warning(format_args!("connections to published ports: {error}"));
    }
}

fn try_forget(
    ways: &[Way<'_>],
    is_stale: impl Fn(&Way<'_>, &Tracked) -> bool,
) -> Result<(), netlink::Error> {
    // One question for a protocol: about its only port, or about all.
    let mut questions: BTreeMap<(Family, u8), Option<u16>> = BTreeMap::new();
    for way in ways {
        let (Some((protocol, port)), Some(address)) = (way.port(), way.target.address()) else {
            continue;
        };
        questions
            .entry((Family::of(address), protocol))
            .and_modify(|asked| *asked = asked.filter(|asked| *asked == port))
            .or_insert(Some(port));
    }
    if questions.is_empty() {
        return Ok(());
    }
    let mut conntrack = Conntrack::open()?;
    for ((family, protocol), port) in questions {
        for connection in conntrack.opened_to(family, protocol, port)? {
            if ways.iter().any(|way| is_stale(way, &connection)) {
                conntrack.forget(&connection)?;
            }
        }
    }
    Ok(())
}
