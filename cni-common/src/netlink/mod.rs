//! Netlink: the transport, and the rtnetlink verbs on top of it.
//!
//! [`Connection`] knows no link or rule: it sends requests of one family and names the one that failed. A caller
//! outside this module uses verbs, never a message. netlink-packet-route appears only below this folder, and only
//! encodes: in what the kernel sends, one attribute of a size it does not expect makes it refuse a whole message,
//! and of some sixty attributes a few are wanted. Those are read one by one.

pub mod addr;
pub mod altname;
pub mod belongings;
pub mod bridge;
mod change;
mod connection;
mod default_route;
mod demote;
mod detach;
pub mod dummy;
pub mod error;
mod frame;
pub mod link;
pub mod macvlan;
pub mod membership;
pub mod multipath;
pub mod neigh;
mod netconf;
mod pauses;
#[cfg(any(test, fuzzing))]
pub mod replies;
mod request;
pub mod route;
pub mod rule;
pub mod upper;
pub mod veth;
pub mod vlan;
pub mod vxlan;

pub use change::LinkChange;

pub use connection::Connection;
pub use error::Error;
pub(crate) use frame::attributes;
pub use request::{Family, Reply, Request};

/// The rtnetlink family: links, addresses, routes, neighbours.
#[derive(Debug)]
pub enum Rtnetlink {}

/// A connection to rtnetlink; the verbs are methods of it, spread over the files of this folder.
pub type Rtnl = Connection<Rtnetlink>;

impl Family for Rtnetlink {
    const PROTOCOL: isize = netlink_sys::protocols::NETLINK_ROUTE;
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transport_tests;
