//! nftables by netlink: tables, base chains, sets, elements and rules, changed in transactions.
//!
//! A rule is a list of [`Statement`]s, which read like nft(8) and compile to what nft(8) itself would send. What
//! a newcomer gets wrong: a transaction that fails, and every deletion, makes netfilter sockets of the whole
//! namespace wait for an RCU grace period (about 7 ms), so ask first what is there, and let elements expire
//! rather than delete them.

mod amend;
mod answer;
pub(crate) mod attributes;
mod batch;
mod compile;
mod expression;
mod fields;
mod instruction;
mod key;
mod nat;
mod parse;
#[cfg(any(test, fuzzing))]
pub mod replies;
mod statement;
mod userdata;
mod wire;

use core::fmt;
use core::time::Duration;

pub use amend::amend;
pub use batch::{Batch, Where};
pub use key::{Key, KeyKind};
pub use nat::{NatFlags, NatTo};
pub use statement::{By, EtherType, Field, Is, Place, Statement, TRANSPORTS, exact, line};

use crate::addr::Family;
use crate::netlink::{self, Connection, Error, Request};
use wire::request;

/// nfnetlink.
#[derive(Debug)]
pub enum Netfilter {}

impl netlink::Family for Netfilter {
    const PROTOCOL: isize = netlink_sys::protocols::NETLINK_NETFILTER;
}

/// What packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFamily {
    /// `inet`: IPv4 and IPv6.
    Inet,
    /// `ip` or `ip6`: where iptables-nft and ip6tables-nft have their tables.
    Ip(Family),
    /// `bridge`: the frames that bridges of the host pass on or take in.
    Bridge,
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip(Family::V4) => "ip",
            Self::Ip(Family::V6) => "ip6",
            Self::Bridge => "bridge",
        })
    }
}

/// A table by its name; displays as `inet plumb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The family.
    pub family: TableFamily,
    /// The name.
    pub name: String,
}

impl Table {
    /// A table by its name.
    pub fn new(family: TableFamily, name: impl Into<String>) -> Self {
        Self {
            family,
            name: name.into(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Where a base chain is hooked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// On the way through.
    Forward,
    /// On the way out of a process of the host.
    Output,
    /// After routing.
    Postrouting,
}

impl Hook {
    /// `NF_INET_*` (linux/netfilter.h).
    pub fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// What the rules of a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Let through and drop.
    Filter,
    /// Translate addresses; sees the first packet of a connection only.
    Nat,
}

impl fmt::Display for ChainKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        })
    }
}

/// A base chain. Its policy is accept: a chain of ours never drops what no rule of it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// The name.
    pub name: &'static str,
    /// What its rules may do.
    pub kind: ChainKind,
    /// Where it is hooked in.
    pub hook: Hook,
    /// The order among the chains of the hook (`NF_IP_PRI_*`, `linux/netfilter_ipv4.h`).
    pub priority: i32,
}

/// A set, made with `flags timeout` so that elements can leave by expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub keys: KeyKind,
    /// What it has for each, if it is a map.
    pub data: Option<KeyKind>,
    /// Whether each element counts the packets that were looked up and found it (kernel 5.7).
    pub counter: bool,
    /// Its comment, at most 254 bytes.
    pub comment: String,
}

/// A generation of the ruleset: every transaction makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

/// A chain as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChain {
    /// Whether its policy is drop.
    pub drops: bool,
    /// The hook's number, for a base chain.
    pub hook: Option<u32>,
    /// The priority, for a base chain.
    pub priority: Option<i32>,
    /// `filter` or `nat`, for a base chain.
    pub kind: Option<String>,
    /// How many rules it has and how many lead to it.
    pub uses: u32,
}

impl FoundChain {
    /// Whether it is the base chain.
    pub fn is(&self, chain: &BaseChain) -> bool {
        self.hook == Some(chain.hook.number())
            && self.priority == Some(chain.priority)
            && self.kind == Some(chain.kind.to_string())
            && !self.drops
    }
}

/// A set as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSet {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub keys: KeyKind,
    /// Its comment.
    pub comment: Option<String>,
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its key.
    pub key: Key,
    /// What a map has for it.
    pub data: Option<Key>,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether it was made to expire: it is gone within a tick of the kernel's clock.
    pub leaving: bool,
}

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRule {
    /// Its chain.
    pub chain: String,
    /// By what it is deleted.
    pub handle: u64,
    /// Whether it drops or refuses every packet that gets to it.
    pub stops_all: bool,
    /// Its statements; `None` when it has some that we never write.
    pub statements: Option<Vec<Statement>>,
    /// Its comment: that of nft(8), or the match of iptables.
    pub comment: Option<String>,
}

/// Whether a transaction was refused because another came after the generation it was made for: look again
/// and try again.
pub fn is_stale(error: &Error) -> bool {
    error.errno == libc::ERESTART
}

/// The nftables of the network namespace it was opened in.
#[derive(Debug)]
pub struct Nft {
    connection: Connection<Netfilter>,
}

impl Nft {
    /// Opens it in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        let connection = Connection::open()?;
        Ok(Self { connection })
    }

    /// The generation of the ruleset.
    pub fn generation(&mut self) -> Result<Generation, Error> {
        let doing = "read the generation of the ruleset";
        let request = request(doing, &wire::get_generation());
        self.connection
            .get(request)
            .map(|reply| answer::generation(&reply.body))?
            .ok_or_else(|| Error::protocol(doing, "the answer holds none"))
    }

    /// A chain, if it exists.
    pub fn chain(&mut self, table: &Table, name: &str) -> Result<Option<FoundChain>, Error> {
        let doing = format!("look up chain {table} {name}");
        let request = request(doing, &wire::get_chain(table, name));
        Ok(self.one(request)?.as_deref().map(answer::chain))
    }

    /// A set, if it exists.
    pub fn set(&mut self, table: &Table, name: &str) -> Result<Option<FoundSet>, Error> {
        let doing = format!("look up set {table} {name}");
        let request = request(doing, &wire::get_set(table, name));
        Ok(self.one(request)?.as_deref().and_then(answer::set))
    }

    /// The sets of a table; none when there is no such table.
    pub fn sets(&mut self, table: &Table) -> Result<Vec<FoundSet>, Error> {
        let request = request(format!("list the sets of {table}"), &wire::get_sets(table));
        let found = self.all(request)?;
        Ok(found.iter().filter_map(|body| answer::set(body)).collect())
    }

    /// An element, if it exists.
    pub fn element(
        &mut self,
        table: &Table,
        set: &str,
        key: impl Into<Key>,
    ) -> Result<Option<Element>, Error> {
        let key = key.into();
        let doing = format!("look up {key} in set {table} {set}");
        let request = request(doing, &wire::get_element(table, set, &key));
        let found = self.one(request)?;
        Ok(found.and_then(|body| answer::elements(&body, key.kind()).into_iter().next()))
    }

    /// The elements of a set, and none when there is no such set. One that is leaving may be among them.
    pub fn elements(
        &mut self,
        table: &Table,
        set: &str,
        keys: KeyKind,
    ) -> Result<Vec<Element>, Error> {
        let doing = format!("list the elements of set {table} {set}");
        let request = request(doing, &wire::get_elements(table, set));
        let found = self.all(request)?;
        Ok(found
            .iter()
            .flat_map(|body| answer::elements(body, keys))
            .collect())
    }

    /// Some elements of a set: as many as the kernel gives at once, which is at least one if there is one.
    ///
    /// What it costs does not grow with the set. It is a question of its own on a socket of its own.
    pub fn some_elements(table: &Table, set: &str, keys: KeyKind) -> Result<Vec<Element>, Error> {
        let doing = format!("look into set {table} {set}");
        let request = request(doing, &wire::get_elements(table, set));
        match Connection::<Netfilter>::open()?.first_of_dump(request) {
            Ok(replies) => Ok(replies
                .iter()
                .flat_map(|reply| answer::elements(&reply.body, keys))
                .collect()),
            Err(error) if error.is_absent() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The rules of a chain, or of the whole table; none when there is no such table or chain.
    pub fn rules(&mut self, table: &Table, chain: Option<&str>) -> Result<Vec<FoundRule>, Error> {
        let doing = format!("list the rules of {table} {}", chain.unwrap_or_default());
        let request = request(doing.trim_end(), &wire::get_rules(table, chain));
        let found = self.all(request)?;
        Ok(found
            .iter()
            .filter_map(|body| answer::rule(table.family, body))
            .collect())
    }

    /// Carries out a batch: all of it or nothing.
    ///
    /// # Errors
    /// The first object the kernel refused; [`is_stale`] tells whether to look and try again.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        match batch.into_requests() {
            Some(requests) => self.connection.batch(requests),
            None => Ok(()),
        }
    }

    /// Closes the connection after something was deleted. The kernel frees it after an RCU grace period, and
    /// whoever closes a netfilter socket before that waits: a child process does, and so late that nobody has to.
    pub fn close_after_deletion(self) {
        self.connection.close_later(Duration::from_millis(60));
    }

    fn one(&mut self, request: Request<Netfilter>) -> Result<Option<Vec<u8>>, Error> {
        match self.connection.get(request) {
            Ok(reply) => Ok(Some(reply.body)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn all(&mut self, request: Request<Netfilter>) -> Result<Vec<Vec<u8>>, Error> {
        match self.connection.dump(request) {
            Ok(replies) => Ok(replies.into_iter().map(|reply| reply.body).collect()),
            Err(error) if error.is_absent() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "map_kernel_tests.rs"]
mod map_tests;
