//! What plugins and people ask.

use std::collections::BTreeMap;
use std::rc::Rc;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::config::Valid;
use cni_common::error::Error;
use cni_common::ident::NetworkName;
use cni_common::log;
use cni_common::owner::Owner;

use super::connection::{Connection, Heard};
use super::counters::Counter;
use super::describe::{Depth, described, state_of};
use super::poll::{Source, now};
use super::session::{Session, Waiter};
use super::{ASKING, CONNECTIONS, Daemon, Due};
use crate::control::{Answer, Request};
use crate::inside::Inside;
use crate::lease::Terms;
use crate::record::{Place, Settings};

impl Daemon {
    /// Takes the connections that wait.
    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.socket.accept() {
            if self.connections.len() >= CONNECTIONS {
                self.counters
                    .count(Counter::Failures, "too-many-connections");
                continue;
            }
            let Ok(Some(connection)) = Connection::new(stream) else {
                self.counters.count(Counter::Failures, "connection-refused");
                log::warning(format_args!("somebody who may not ask was sent away"));
                continue;
            };
            let id = self.number();
            if self.poll.watch(&connection, Source::Connection(id)).is_ok() {
                self.connections.insert(id, connection);
                self.deadlines
                    .insert((now().after(ASKING), Due::Connection(id)));
            }
        }
    }

    pub(super) fn hear_plugin(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.has_asked() {
            // The rest of an answer goes out, or the other side went.
            if connection.hear() == Heard::More {
                self.flush(id);
            } else {
                self.hang_up(id);
            }
            return;
        }
        match connection.hear() {
            Heard::More => {}
            Heard::Gone => self.hang_up(id),
            Heard::Question(line) => match Request::parse(&line) {
                Ok(request) => self.handle(id, request),
                Err(error) => self.answer(id, &Answer::failed(&error)),
            },
        }
    }

    /// A plugin that is gone takes nothing: its runtime gave up, and nobody would ever give the lease back.
    pub(super) fn hang_up(&mut self, id: u64) {
        self.connections.remove(&id);
        self.watchers.remove(&id);
        let waits = |session: &Session| session.waiters.iter().any(|one| one.connection == id);
        let Some(session) = self.sessions.values().find(|one| waits(one)) else {
            return;
        };
        let session = session.id;
        self.with(session, |daemon, session| {
            session.waiters.retain(|waiter| waiter.connection != id);
            daemon.abandon(session);
        });
    }

    pub(super) fn answer(&mut self, id: u64, answer: &Answer) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.answer(answer);
            self.flush(id);
        }
        // What is left of it must be read in time.
        if self.connections.contains_key(&id) {
            self.deadlines
                .insert((now().after(ASKING), Due::Connection(id)));
        }
    }

    /// Sends what a connection has room for, and ends it when that was all.
    pub(super) fn flush(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let over = connection.send();
        let room = connection.is_full();
        let source = Source::Connection(id);
        if over || self.poll.watch_room(&*connection, source, room).is_err() {
            self.connections.remove(&id);
            self.watchers.remove(&id);
        }
    }

    fn handle(&mut self, id: u64, request: Request) {
        self.counters.count(Counter::Requests, request.word());
        let answer = match request {
            Request::Add {
                owner,
                netns,
                settings,
                timeout_secs,
                inform,
            } => {
                let waiter = Waiter {
                    connection: id,
                    deadline: now().after_secs(timeout_secs),
                    secs: timeout_secs,
                };
                match self.add(owner, netns, Rc::new(settings), inform, waiter) {
                    // The answer comes with the lease.
                    Ok(()) => return,
                    Err(error) => Answer::failed(&error),
                }
            }
            Request::Del(owner) => {
                self.del(&owner);
                Answer::Done
            }
            Request::Show(owner) => match self.find(&owner) {
                Some(session) => shown(session),
                None => Answer::failed(&unknown(&owner)),
            },
            Request::Renew(owner) => match self.names.get(&owner).copied() {
                Some(session) => {
                    self.renew(session);
                    Answer::Done
                }
                None => Answer::failed(&unknown(&owner)),
            },
            Request::Gc { network, valid } => {
                self.collect(&network, &valid);
                Answer::Done
            }
            Request::List => {
                let time = now();
                let all = self.sessions.values();
                Answer::List(all.map(|one| described(one, time, Depth::Line)).collect())
            }
            Request::Describe(owner) => match self.find(&owner) {
                Some(session) => Answer::List(vec![described(session, now(), Depth::All)]),
                None => Answer::failed(&unknown(&owner)),
            },
            Request::Metrics => Answer::Text(self.counters.to_text(&self.states())),
            Request::Watch => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.watch();
                    self.watchers.insert(id);
                }
                Answer::Done
            }
        };
        self.answer(id, &answer);
    }

    fn states(&self) -> BTreeMap<&'static str, u64> {
        let mut states = BTreeMap::new();
        for session in self.sessions.values() {
            let count = states.entry(state_of(session)).or_insert(0_u64);
            *count = count.saturating_add(1);
        }
        states
    }

    fn find(&self, owner: &Owner) -> Option<&Session> {
        self.sessions.get(self.names.get(owner)?).map(AsRef::as_ref)
    }

    /// ADD: the lease there is, or one to come.
    fn add(
        &mut self,
        owner: Owner,
        netns: String,
        settings: Rc<Settings>,
        inform: Option<Cidr>,
        waiter: Waiter,
    ) -> Result<(), Error> {
        if let Some(program) = &settings.on_change {
            let may = nix::unistd::access(program.as_str(), nix::unistd::AccessFlags::X_OK);
            may.map_err(|errno| {
                let text = format!("ipam.onChange: {program} cannot be executed: {errno}");
                Error::new(Code::InvalidConfig, text)
            })?;
        }
        let mut inside = Inside::open(&self.options.netns_path(&netns), &owner.ifname)?;
        inside.raise()?;
        let mut known = self.names.get(&owner).copied();
        let before = known.and_then(|id| self.sessions.get(&id));
        if let Some(other) = before.filter(|session| session.inform != inform) {
            // It was configured otherwise: what it was given so goes back.
            let id = other.id;
            self.release(id);
            known = None;
        }
        // A server may have changed the MTU of this interface.
        let before = known.and_then(|id| self.sessions.get(&id));
        let same = before.filter(|session| inside.is(&session.place, &self.boot));
        let mtu = same.and_then(|session| session.place.mtu);
        let lent = same.is_some_and(|session| session.lent);
        let place = Place {
            netns,
            cookie: inside.cookie,
            boot: self.boot.clone(),
            mac: inside.mac,
            mtu: Some(mtu.unwrap_or(inside.link.mtu)),
        };
        let lent = match inform {
            Some(cidr) => Self::lend(&mut inside, cidr)? || lent,
            None => false,
        };
        let id = known.unwrap_or_else(|| self.number());
        if known.is_none() {
            self.names.insert(owner.clone(), id);
            let session = Session::new(id, owner, place.clone(), settings.clone());
            self.sessions.insert(id, Box::new(session));
        }
        self.with(id, |daemon, session| {
            session.waiters.push(waiter);
            let here = inside.is(&session.place, &daemon.boot);
            session.settings = settings;
            session.place = place;
            session.inform = inform;
            session.lent = lent;
            daemon.attach(session, here);
        });
        Ok(())
    }

    /// DEL: the lease is given back, and forgotten.
    fn del(&mut self, owner: &Owner) {
        if let Some(id) = self.names.get(owner).copied() {
            self.release(id);
        } else if let Err(error) = self.store.remove(owner) {
            log::warning(format_args!("{owner}: {error}"));
        }
    }

    fn collect(&mut self, network: &NetworkName, valid: &Valid) {
        let stale = |owner: &&Owner| {
            let key = (owner.container.clone(), owner.ifname.clone());
            owner.network == *network && !valid.contains(&key)
        };
        let stale: Vec<Owner> = self.names.keys().filter(stale).cloned().collect();
        for owner in stale {
            self.del(&owner);
        }
    }
}

fn unknown(owner: &Owner) -> Error {
    Error::new(Code::Drift, format!("there is no lease for {owner}"))
}

fn shown(session: &Session) -> Answer {
    match &session.lease {
        Some((lease, _)) => Answer::Lease {
            terms: Terms::clone(&lease.terms),
            state: state_of(session).to_owned(),
        },
        None => Answer::failed(&unknown(&session.owner)),
    }
}
