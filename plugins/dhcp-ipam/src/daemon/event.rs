//! What happens to leases, told to those who want to know: a program of the configuration, and whoever watches.

use cni_common::json::Json;
use cni_common::owner::Owner;

use super::Daemon;
use super::counters::Counter;
use super::family::Family;
use super::session::Session;
use crate::client::Lost;
use crate::record;

/// What happened to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// The container has an address, for the first time or again.
    Bound,
    /// It has other terms: an address, routes, name servers.
    Changed,
    /// The address is gone.
    Lost(Lost),
    /// The attachment ended, and its address was given back.
    Released,
}

impl Happened {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Changed => "changed",
            Self::Lost(Lost::Refused) => "refused",
            Self::Lost(Lost::Expired) => "expired",
            Self::Released => "released",
        }
    }
}

/// An event, as programs and watchers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) owner: Owner,
    pub(super) netns: String,
    pub(super) word: &'static str,
    /// A JSON document and the end of its line.
    pub(super) line: String,
}

impl Event {
    fn new<F: Family>(
        session: &Session<F>,
        happened: Happened,
        before: Option<&F::Terms>,
        terms: Option<&F::Terms>,
    ) -> Self {
        let json = record::about(&session.owner)
            .with("netns", session.place.netns.as_str())
            .with("event", happened.word())
            .with("family", F::WORD.to_ascii_lowercase())
            .with_some("lease", terms.map(F::terms_to_json))
            .with_some("previous", before.map(F::terms_to_json));
        Self {
            owner: session.owner.clone(),
            netns: session.place.netns.clone(),
            word: happened.word(),
            line: Json::from(json).to_line() + "\n",
        }
    }
}

impl Daemon {
    /// Tells everybody who wants to know. `before` is what the container had, `terms` what it has.
    pub(super) fn tell<F: Family>(
        &mut self,
        session: &Session<F>,
        happened: Happened,
        before: Option<&F::Terms>,
        terms: Option<&F::Terms>,
    ) {
        self.counters.count(Counter::Leases, happened.word());
        let program = F::on_change(&session.settings);
        if program.is_none() && self.watchers.is_empty() {
            return;
        }
        let event = Event::new(session, happened, before, terms);
        self.spread(program, event);
    }

    fn spread(&mut self, program: Option<&str>, event: Event) {
        for id in self.watchers.clone() {
            self.pass_on(id, event.line.as_bytes());
        }
        if let Some(program) = program {
            let outcome = if self.hooks.enqueue(program, event) {
                "for-program"
            } else {
                "dropped"
            };
            self.counters.count(Counter::Events, outcome);
            self.run_hooks();
        }
    }

    /// A line for one who watches; one who does not read is sent away.
    fn pass_on(&mut self, id: u64, line: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let outcome = if connection.append(line) {
            self.flush(id);
            "for-watcher"
        } else {
            self.hang_up(id);
            "watcher-too-slow"
        };
        self.counters.count(Counter::Events, outcome);
    }
}
