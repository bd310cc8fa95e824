//! What plugins and people ask.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cni_common::addr::Cidr;
use cni_common::code::Code;
use cni_common::config::Valid;
use cni_common::error::Error;
use cni_common::ident::NetworkName;
use cni_common::log;
use cni_common::owner::Owner;

use super::answer::{Pending, nothing_asked};
use super::connection::{Connection, Heard};
use super::counters::Counter;
use super::describe::Depth;
use super::family::Family;
use super::session::Waiter;
use super::session4::V4;
use super::session6::V6;
use super::{ASKING, CONNECTIONS, Daemon, Due};
use crate::control::{Add, Answer, Held, Request};
use crate::dual::Part;
use crate::inside::Inside;
use crate::lease::Terms;
use crate::record::{Place, Settings};
use crate::record6::Settings6;
use crate::sys::file::may_execute;
use crate::sys::poll::{Source, now};
use crate::sys::stream::is_out_of_room;

/// How long nobody is heard after there were too many open files.
const BREATH: Duration = Duration::from_millis(100);

impl Daemon {
    /// Takes the connections that wait.
    pub(super) fn accept(&mut self) {
        loop {
            let stream = match self.listener.socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) => return self.cannot_accept(&error),
            };
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

    /// Leaves those who wait alone for a while where there is no room for them.
    fn cannot_accept(&mut self, error: &io::Error) {
        if !is_out_of_room(error) {
            return;
        }
        self.counters.count(Counter::Failures, "no-room");
        if self.remarks.may(now()) {
            log::warning(format_args!("whoever asks must wait: {error}"));
        }
        let paused = self.poll.pause(&self.listener.socket, Source::Listener);
        if paused.is_ok() {
            self.deadlines.insert((now().after(BREATH), Due::Listener));
        }
    }

    /// Looks whether there is room now.
    pub(super) fn accept_again(&mut self) {
        let watched = self.poll.go_on(&self.listener.socket, Source::Listener);
        if let Err(error) = watched {
            log::error(format_args!("nobody is heard any more: {error}"));
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
        self.leaving.remove(&id);
        self.drop_pending(id);
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
            // The answer comes with the lease.
            Request::Add(add) => return self.add(id, *add),
            // The answer comes when it has been given back.
            Request::Del(owner) => return self.leave_all(id, [owner]),
            Request::Show(owner) => self.show(&owner),
            Request::Renew(owner) => {
                let (v4, v6) = self.ids(&owner);
                if let Some(session) = v4 {
                    self.renew::<V4>(session);
                }
                if let Some(session) = v6 {
                    self.renew::<V6>(session);
                }
                match v4.or(v6) {
                    Some(_) => Answer::Done,
                    None => Answer::failed(&unknown(&owner)),
                }
            }
            Request::Gc { network, valid } => {
                let stale = self.stale(&network, &valid);
                return self.leave_all(id, stale);
            }
            Request::List => {
                let time = now();
                let v4 = self.v4.iter();
                let v4 = v4.map(|one| V4::described(one, time, Depth::Line));
                let v6 = self.v6.iter();
                let v6 = v6.map(|one| V6::described(one, time, Depth::Line));
                Answer::List(v4.chain(v6).collect())
            }
            Request::Describe(owner) => {
                let (v4, v6) = (self.v4.find(&owner), self.v6.find(&owner));
                let v4 = v4.map(|session| V4::described(session, now(), Depth::All));
                let v6 = v6.map(|session| V6::described(session, now(), Depth::All));
                let all: Vec<_> = v4.into_iter().chain(v6).collect();
                if all.is_empty() {
                    Answer::failed(&unknown(&owner))
                } else {
                    Answer::List(all)
                }
            }
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
        let v4 = self.v4.iter().map(V4::state);
        let v6 = self.v6.iter().map(V6::state);
        for state in v4.chain(v6) {
            let count = states.entry(state).or_insert(0_u64);
            *count = count.saturating_add(1);
        }
        states
    }

    /// The numbers of an attachment's sessions.
    fn ids(&self, owner: &Owner) -> (Option<u64>, Option<u64>) {
        (self.v4.id(owner), self.v6.id(owner))
    }

    /// What an attachment has.
    fn show(&self, owner: &Owner) -> Answer {
        let ipv4 = self.v4.find(owner).and_then(|session| {
            let (lease, _) = session.lease.as_ref()?;
            Some((Terms::clone(&lease.terms), V4::state(session).to_owned()))
        });
        let ipv6 = self
            .v6
            .find(owner)
            .filter(|session| session.lease.is_some())
            .map(|session| (session.granted(), V6::state(session).to_owned()));
        match (ipv4, ipv6) {
            (None, None) => Answer::failed(&unknown(owner)),
            (ipv4, ipv6) => Answer::Lease(Box::new(Held { ipv4, ipv6 })),
        }
    }

    /// ADD: what there is of each family, or what is to come.
    fn add(&mut self, connection: u64, add: Add) {
        let (v4, v6) = self.ids(&add.owner);
        let leaving = self.v6.find(&add.owner).is_some_and(|one| one.leaving);
        let pending = Pending {
            owner: add.owner.clone(),
            v4: add.settings.as_ref().map_or(Part::Off, |_| Part::Waits),
            v6: add.ipv6.as_ref().map_or(Part::Off, |_| Part::Waits),
            require: add.require,
            grace_secs: add.grace_secs,
            until: None,
            had: (v4.is_some(), v6.is_some() && !leaving),
        };
        self.pending.insert(connection, pending);
        if let Err(error) = self.begin_add(connection, add) {
            self.failed_at_once(connection, &error);
        }
    }

    fn begin_add(&mut self, connection: u64, add: Add) -> Result<(), Error> {
        let ipv4 = add.settings.map(Rc::new);
        let ipv6 = add.ipv6.map(Rc::new);
        if ipv4.is_none() && ipv6.is_none() {
            return Err(nothing_asked());
        }
        let programs = [
            ipv4.as_ref().and_then(|one| one.on_change.as_deref()),
            ipv6.as_ref().and_then(|one| one.on_change.as_deref()),
        ];
        for program in programs.into_iter().flatten() {
            may_execute(Path::new(program)).map_err(|error| {
                let text = format!("ipam.onChange: {program} cannot be executed: {error}");
                Error::new(Code::InvalidConfig, text)
            })?;
        }
        let waiter = Waiter {
            connection,
            deadline: now().after_secs(add.timeout_secs),
            secs: add.timeout_secs,
        };
        let owner = add.owner;
        let mut inside = Inside::open(&self.options.netns_path(&add.netns), &owner.ifname)?;
        inside.raise()?;
        let place = Place {
            netns: add.netns,
            cookie: inside.cookie,
            boot: self.boot.clone(),
            mac: inside.mac,
            mtu: Some(inside.link.mtu),
        };
        if let Some(settings) = ipv4 {
            self.add4(
                &owner,
                place.clone(),
                settings,
                &mut inside,
                add.inform,
                waiter,
            )?;
        }
        if let Some(settings) = ipv6 {
            self.add6(&owner, place, settings, &inside, waiter);
        }
        Ok(())
    }

    fn add4(
        &mut self,
        owner: &Owner,
        place: Place,
        settings: Rc<Settings>,
        inside: &mut Inside,
        inform: Option<Cidr>,
        waiter: Waiter,
    ) -> Result<(), Error> {
        let before = self.v4.find(owner);
        if let Some(other) = before.filter(|session| session.own.inform != inform) {
            // It was configured otherwise: what it was given so goes back.
            let id = other.id;
            self.release::<V4>(id, None);
        }
        // A server may have changed the MTU of this interface.
        let before = self.v4.find(owner);
        let same = before.filter(|session| inside.is(&session.place, &self.boot));
        let mtu = same.and_then(|session| session.place.mtu);
        let lent = same.is_some_and(|session| session.own.lent);
        let here = same.is_some();
        let place = Place {
            mtu: mtu.or(place.mtu),
            ..place
        };
        let lent = match inform {
            Some(cidr) => Self::lend(inside, cidr)? || lent,
            None => false,
        };
        self.join::<V4>(owner, place, settings, waiter, |daemon, session| {
            session.own.inform = inform;
            session.own.lent = lent;
            daemon.attach4(session, here);
        });
        Ok(())
    }

    fn add6(
        &mut self,
        owner: &Owner,
        place: Place,
        settings: Rc<Settings6>,
        inside: &Inside,
        waiter: Waiter,
    ) {
        let before = self.v6.find(owner);
        let here = before.is_some_and(|session| inside.is(&session.place, &self.boot));
        self.join::<V6>(owner, place, settings, waiter, |daemon, session| {
            daemon.attach6(session, here);
        });
    }

    /// DEL and GC: what there is of each family is given back, and forgotten.
    fn leave_all(&mut self, connection: u64, owners: impl IntoIterator<Item = Owner>) {
        // The question itself, so that the answer comes after the last.
        self.one_leaves(connection);
        for owner in owners {
            self.leave_part::<V4>(&owner, connection);
            self.leave_part::<V6>(&owner, connection);
        }
        self.one_has_left(connection);
    }

    fn leave_part<F: Family>(&mut self, owner: &Owner, connection: u64) {
        if let Some(id) = F::sessions(self).id(owner) {
            self.release::<F>(id, Some(connection));
        } else if let Err(error) = self.store.remove::<F::Record>(owner) {
            log::warning(format_args!("{owner}: {error}"));
        }
    }

    /// The attachments of a network that are not among those.
    fn stale(&self, network: &NetworkName, valid: &Valid) -> BTreeSet<Owner> {
        let stale = |owner: &&Owner| {
            let key = (owner.container.clone(), owner.ifname.clone());
            owner.network == *network && !valid.contains(&key)
        };
        let all = self.v4.owners().chain(self.v6.owners());
        all.filter(stale).cloned().collect()
    }
}

fn unknown(owner: &Owner) -> Error {
    Error::new(Code::Drift, format!("there is no lease for {owner}"))
}
