//! The daemon: one thread, one loop, all leases.
//!
//! What a client decides is in [`crate::client`]; here it gets its packets and its time, and what it wants is done.

mod answer;
mod apart;
mod attempt6;
mod bound6;
mod connection;
mod counters;
mod describe;
mod event;
mod failure;
mod family;
mod hear4;
mod hear6;
mod hook;
mod inform4;
mod life;
mod listener;
mod options;
mod remark;
mod serve;
mod session;
mod session4;
mod session6;
mod try6;
mod work4;
mod work6;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use cni_common::code::Code;
use cni_common::error::{Error, Step};
use cni_common::log::{self, Level, LogConfig};

use crate::store::Store;
use crate::sys::poll::{Asks, Poll, Source, now};
use crate::sys::process::Side;
use crate::sys::{privileges, process};
use crate::time::Time;
use answer::Pending;
use connection::Connection;
use counters::{Counter, Counters};
use hook::Hooks;
use listener::{Listener, Listening};
use options::Options;
use remark::Remarks;
use session::Sessions;
use session4::V4;
use session6::V6;

/// How long a plugin may take to ask.
const ASKING: Duration = Duration::from_secs(5);
/// How long a daemon that a plugin started stays without a lease.
const IDLE: Duration = Duration::from_mins(1);
/// More plugins than this do not call at once.
const CONNECTIONS: usize = 4096;

/// So much of what is due is done before plugins are heard again, when thousands of leases want something at once.
const TURN: usize = 64;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Session4(u64),
    /// Its IPv6.
    Session6(u64),
    /// A connection that has not asked, or does not take its answer.
    Connection(u64),
    /// A family that its ADD can do without has had its time.
    Grace(u64),
    /// Is there room for those who want to ask?
    Listener,
    /// A program has had its time.
    Hooks,
    /// Is anybody still here?
    Idle,
}

/// The daemon.
struct Daemon {
    options: Options,
    store: Store,
    boot: String,
    poll: Poll,
    listener: Listener,
    v4: Sessions<V4>,
    v6: Sessions<V6>,
    /// ADDs that have no answer yet, by their connections.
    pending: BTreeMap<u64, Pending>,
    /// How many things each connection waits for that are being given back.
    leaving: BTreeMap<u64, usize>,
    connections: BTreeMap<u64, Connection>,
    deadlines: BTreeSet<(Time, Due)>,
    last: u64,
    /// Connections that hear of events.
    watchers: BTreeSet<u64>,
    hooks: Hooks,
    counters: Counters,
    remarks: Remarks,
}

/// `dhcp-ipam daemon`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    log::use_stderr();
    let config = LogConfig {
        file: None,
        level: Some(Level::Info),
    };
    log::start("dhcp-ipam daemon", &config);
    let outcome = Options::parse(arguments)
        .map_err(|reason| Error::new(Code::InvalidConfig, reason))
        .and_then(begin);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In its own words: a plugin that started it passes them on.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn begin(options: Options) -> Result<(), Error> {
    if options.detach {
        process::close_inherited();
    }
    let store = Store::new(&options.state);
    store.create()?;
    let listener = match listener::listen(&options)? {
        Listening::Here(listener) => listener,
        // Two plugins found nobody at one moment; the other one's daemon serves both.
        Listening::Elsewhere if options.detach => return Ok(()),
        Listening::Elsewhere => {
            return Err(Error::new(
                Code::Io,
                format!("another daemon listens at {}", options.socket.display()),
            ));
        }
    };
    let _leases = match store.lock() {
        Ok(lock) => lock,
        Err(error) => {
            listener.end(&options.socket);
            return Err(error);
        }
    };
    if options.detach
        && let Side::Front = listener::detach(&options)?
    {
        return Ok(());
    }
    listener.sign()?;
    process::more_descriptors();
    let socket = options.socket.clone();
    let pidfile = options.pidfile.clone();
    if let Some(path) = &pidfile {
        let line = format!("{}\n", std::process::id());
        fs::write(path, line).step(|| format!("write {}", path.display()))?;
    }
    privileges::drop_unneeded().step(|| "drop privileges")?;
    let mut daemon = Daemon::new(options, store, listener)?;
    let ended = daemon
        .resume::<V4>()
        .and_then(|()| daemon.resume::<V6>())
        .and_then(|()| daemon.serve());
    daemon.listener.end(&socket);
    if let Some(path) = &pidfile {
        let _ = fs::remove_file(path);
    }
    log::info(format_args!(
        "ends; {} leases stay on disk",
        daemon.leases()
    ));
    ended
}

impl Daemon {
    fn new(options: Options, store: Store, listener: Listener) -> Result<Self, Error> {
        const BOOT: &str = "/proc/sys/kernel/random/boot_id";
        let doing = || "begin";
        listener.socket.set_nonblocking(true).step(doing)?;
        let poll = Poll::new().step(doing)?;
        poll.watch(&listener.socket, Source::Listener).step(doing)?;
        let boot = fs::read_to_string(BOOT).step(|| format!("read {BOOT}"))?;
        Ok(Self {
            options,
            store,
            boot: boot.trim().to_owned(),
            poll,
            listener,
            v4: Sessions::default(),
            v6: Sessions::default(),
            pending: BTreeMap::new(),
            leaving: BTreeMap::new(),
            connections: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            last: 0,
            watchers: BTreeSet::new(),
            hooks: Hooks::default(),
            counters: Counters::default(),
            remarks: Remarks::default(),
        })
    }

    /// The loop.
    fn serve(&mut self) -> Result<(), Error> {
        log::info(format_args!(
            "listens at {} with {} leases",
            self.options.socket.display(),
            self.leases()
        ));
        if self.options.detach {
            self.deadlines.insert((now().after(IDLE), Due::Idle));
        }
        loop {
            let next = self.deadlines.first().map(|(at, _)| *at);
            self.poll.set(next).step(|| "set the clock")?;
            for source in self.poll.wait().step(|| "wait")? {
                match source {
                    Source::Listener => self.accept(),
                    Source::Signal => match self.poll.signal() {
                        Some(Asks::End) => return Ok(()),
                        Some(Asks::Children) => self.reap_hooks(),
                        None => {}
                    },
                    Source::Clock => {}
                    Source::Connection(id) => self.hear_plugin(id),
                    Source::Dhcp(id) => self.hear_servers(id),
                    Source::Arp(id) => self.hear_neighbours(id),
                    Source::Dhcp6(id) => self.hear_servers6(id),
                    Source::Neighbours6(id) => self.hear_neighbours6(id),
                }
            }
            if self.pass_time() {
                return Ok(());
            }
        }
    }

    /// Does what is due, as far as it is its turn; whether that is to end.
    fn pass_time(&mut self) -> bool {
        let time = now();
        for _ in 0..TURN {
            let Some((at, due)) = self
                .deadlines
                .first()
                .copied()
                .filter(|(at, _)| *at <= time)
            else {
                break;
            };
            self.deadlines.remove(&(at, due));
            match due {
                Due::Session4(id) => self.time_for::<V4>(id, time),
                Due::Session6(id) => self.time_for::<V6>(id, time),
                Due::Grace(connection) => self.judge(connection),
                Due::Connection(id) => {
                    if self.connections.get(&id).is_some_and(Connection::is_late) {
                        self.counters
                            .count(Counter::Failures, "connection-too-slow");
                        self.hang_up(id);
                    }
                }
                Due::Listener => self.accept_again(),
                Due::Hooks => self.reap_hooks(),
                Due::Idle
                    if self.leases() == 0
                        && self.connections.is_empty()
                        && self.hooks.is_idle() =>
                {
                    return true;
                }
                Due::Idle => {
                    self.deadlines.insert((time.after(IDLE), Due::Idle));
                }
            }
        }
        false
    }

    /// How many attachments have something of each family.
    fn leases(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    fn number(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}
