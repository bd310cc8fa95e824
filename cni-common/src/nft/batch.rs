//! A transaction: what is to be changed, all of it or nothing.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::NetfilterMessage;

use super::wire::{self, Stay, request};
use super::{BaseChain, Generation, Key, Netfilter, Set, Statement, Table, compile, line};
use crate::netlink::Request;

/// Where in its chain a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// A transaction in the making. The names of the verbs: `add` fails where the thing exists, `ensure` does not.
#[derive(Debug, Default)]
pub struct Batch {
    requests: Vec<Request<Netfilter>>,
    after: Option<Generation>,
}

impl Batch {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is carried out only if the ruleset is still of that generation.
    pub fn only_after(generation: Generation) -> Self {
        Self {
            requests: Vec::new(),
            after: Some(generation),
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn push(&mut self, doing: String, message: &NetfilterMessage, flags: u16) {
        self.requests.push(request(doing, message).with(flags));
    }

    /// Makes a table unless it exists.
    pub fn ensure_table(&mut self, table: &Table, comment: &str) {
        let message = wire::new_table(table, comment);
        self.push(format!("create table {table}"), &message, NLM_F_CREATE);
    }

    /// Makes a base chain unless it exists.
    pub fn ensure_chain(&mut self, table: &Table, chain: &BaseChain) {
        let message = wire::new_chain(table, chain);
        let doing = format!("create chain {table} {}", chain.name);
        self.push(doing, &message, NLM_F_CREATE);
    }

    /// Makes a regular chain, which packets reach by [`Statement::Jump`], unless it exists.
    pub fn ensure_regular_chain(&mut self, table: &Table, name: &str) {
        let doing = format!("create chain {table} {name}");
        self.push(doing, &wire::new_regular_chain(table, name), NLM_F_CREATE);
    }

    /// Makes a set.
    pub fn add_set(&mut self, set: &Set) {
        let doing = format!("create set {} {}", set.table, set.name);
        let id = u32::try_from(self.requests.len()).unwrap_or(0);
        self.push(doing, &wire::new_set(set, id), NLM_F_CREATE | NLM_F_EXCL);
    }

    /// Puts an element into a set.
    pub fn add_element(&mut self, table: &Table, set: &str, key: impl Into<Key>, comment: &str) {
        let key = key.into();
        let doing = format!("add {key} to set {table} {set}");
        let message = wire::new_element(table, set, &key, None, Some(comment), Stay::Forever);
        self.push(doing, &message, NLM_F_CREATE | NLM_F_EXCL);
    }

    /// Puts an element into a map.
    pub fn add_mapping(&mut self, table: &Table, map: &str, key: &Key, data: &Key, comment: &str) {
        let doing = format!("add {key} : {data} to map {table} {map}");
        let message = wire::new_element(table, map, key, Some(data), Some(comment), Stay::Forever);
        self.push(doing, &message, NLM_F_CREATE | NLM_F_EXCL);
    }

    /// Makes an element of a set leave at the next tick of the kernel's clock. Kernels before 6.12 accept it and
    /// do nothing: read it back ([`super::Element::leaving`]).
    pub fn expire_element(&mut self, table: &Table, set: &str, key: impl Into<Key>) {
        let key = key.into();
        let doing = format!("expire {key} in set {table} {set}");
        let message = wire::new_element(table, set, &key, None, None, Stay::Moment);
        self.push(doing, &message, NLM_F_CREATE);
    }

    /// As [`Self::expire_element`], for an element of a map, which has this for it.
    pub fn expire_mapping(&mut self, table: &Table, map: &str, key: &Key, data: &Key) {
        let doing = format!("expire {key} in map {table} {map}");
        let message = wire::new_element(table, map, key, Some(data), None, Stay::Moment);
        self.push(doing, &message, NLM_F_CREATE);
    }

    /// Takes an element out of a set.
    pub fn delete_element(&mut self, table: &Table, set: &str, key: impl Into<Key>) {
        let key = key.into();
        let doing = format!("delete {key} from set {table} {set}");
        self.push(doing, &wire::delete_element(table, set, &key), 0);
    }

    /// Adds a rule to a chain.
    pub fn add_rule(
        &mut self,
        table: &Table,
        chain: &str,
        place: Where,
        statements: &[Statement],
        comment: Option<&str>,
    ) {
        let expressions = compile::compile(table.family, statements);
        let message = wire::new_rule(table, chain, &expressions, comment);
        let doing = format!("add rule {table} {chain} {}", line(statements));
        let flags = match place {
            Where::First => NLM_F_CREATE,
            Where::Last => NLM_F_CREATE | NLM_F_APPEND,
        };
        self.push(doing, &message, flags);
    }

    /// Deletes a rule by its handle.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) {
        let doing = format!("delete rule {table} {chain} handle {handle}");
        self.push(doing, &wire::delete_rule(table, chain, handle), 0);
    }

    /// Deletes a chain, which must be empty and which no rule may lead to any more.
    pub fn delete_chain(&mut self, table: &Table, name: &str) {
        let doing = format!("delete chain {table} {name}");
        self.push(doing, &wire::delete_chain(table, name), 0);
    }

    /// Deletes a set, which no rule may refer to any more.
    pub fn delete_set(&mut self, table: &Table, name: &str) {
        let doing = format!("delete set {table} {name}");
        self.push(doing, &wire::delete_set(table, name), 0);
    }

    /// Deletes a table with all that is in it.
    pub fn delete_table(&mut self, table: &Table) {
        let doing = format!("delete table {table}");
        self.push(doing, &wire::delete_table(table), 0);
    }

    /// The messages in their order; `None` when there is nothing to do.
    pub(super) fn into_requests(self) -> Option<Vec<Request<Netfilter>>> {
        let mut requests = vec![request("start a transaction", &wire::begin(self.after))];
        let mut changes = self.requests;
        // The end of a batch is acknowledged only by recent kernels.
        let last = changes.pop()?.acked();
        requests.append(&mut changes);
        requests.push(last);
        requests.push(request("end the transaction", &wire::end()));
        Some(requests)
    }
}
