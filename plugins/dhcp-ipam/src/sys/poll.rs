//! Waiting for sockets, the clock and signals at once, on one thread.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::time::Time;

/// What an event is about; its number is what epoll keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A plugin wants to talk.
    Listener,
    /// A deadline.
    Clock,
    /// SIGTERM, SIGINT or SIGCHLD.
    Signal,
    /// A plugin's connection.
    Connection(u64),
    /// Messages of servers, for a session.
    Dhcp(u64),
    /// ARP, for a session.
    Arp(u64),
    /// Messages of DHCPv6 servers, for a session.
    Dhcp6(u64),
    /// Routers and neighbours, for a session.
    Neighbours6(u64),
}

impl Source {
    fn number(self) -> u64 {
        match self {
            Self::Listener => 0,
            Self::Clock => 1,
            Self::Signal => 2,
            Self::Connection(id) => id << 3 | 1,
            Self::Dhcp(id) => id << 3 | 2,
            Self::Arp(id) => id << 3 | 3,
            Self::Dhcp6(id) => id << 3 | 4,
            Self::Neighbours6(id) => id << 3 | 5,
        }
    }

    /// Numbers of sessions and connections begin with 1.
    fn of(number: u64) -> Option<Self> {
        let id = number >> 3;
        match (id, number & 7) {
            (0, 0) => Some(Self::Listener),
            (0, 1) => Some(Self::Clock),
            (0, 2) => Some(Self::Signal),
            (1.., 1) => Some(Self::Connection(id)),
            (1.., 2) => Some(Self::Dhcp(id)),
            (1.., 3) => Some(Self::Arp(id)),
            (1.., 4) => Some(Self::Dhcp6(id)),
            (1.., 5) => Some(Self::Neighbours6(id)),
            _ => None,
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The end.
    End,
    /// A look at the programs that were started.
    Children,
}

/// Epoll, a timer and the signals that the daemon hears.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: Epoll,
    timer: TimerFd,
    signals: SignalFd,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let poll = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            timer: TimerFd::new(
                ClockId::CLOCK_BOOTTIME,
                TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
            )?,
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
        };
        poll.watch(&poll.timer, Source::Clock)?;
        poll.watch(&poll.signals, Source::Signal)?;
        Ok(poll)
    }

    /// Reports when there is something to read.
    pub(crate) fn watch(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, source.number());
        Ok(self.epoll.add(fd, event)?)
    }

    /// Reports when there is room to write, too, or no longer.
    pub(crate) fn watch_room(&self, fd: impl AsFd, source: Source, room: bool) -> io::Result<()> {
        let flags = if room {
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT
        } else {
            EpollFlags::EPOLLIN
        };
        let mut event = EpollEvent::new(flags, source.number());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Reports nothing of it until [`Self::go_on`].
    pub(crate) fn pause(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let mut event = EpollEvent::new(EpollFlags::empty(), source.number());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Reports again when there is something to read.
    pub(crate) fn go_on(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        self.watch_room(fd, source, false)
    }

    /// Sets the clock to the next deadline, or stops it.
    pub(crate) fn set(&self, deadline: Option<Time>) -> io::Result<()> {
        let Some(deadline) = deadline else {
            return Ok(self.timer.unset()?);
        };
        // Zero would stop it.
        let millis = i64::try_from(deadline.millis().max(1)).unwrap_or(i64::MAX);
        let at = TimeSpec::new(millis / 1000, millis % 1000 * 1_000_000);
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        Ok(self.timer.set(Expiration::OneShot(at), flags)?)
    }

    /// Waits for something to happen.
    pub(crate) fn wait(&self) -> io::Result<Vec<Source>> {
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let happened = events.iter().take(count);
        Ok(happened
            .filter_map(|event| Source::of(event.data()))
            .collect())
    }

    /// What a signal asks for.
    pub(crate) fn signal(&self) -> Option<Asks> {
        let signal = self.signals.read_signal().ok().flatten()?;
        let is_child = i32::try_from(signal.ssi_signo) == Ok(libc::SIGCHLD);
        Some(if is_child { Asks::Children } else { Asks::End })
    }
}

/// The time.
pub(crate) fn now() -> Time {
    let clock = nix::time::ClockId::CLOCK_BOOTTIME;
    // Every kernel that runs this has the clock.
    let time = nix::time::clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0));
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec() / 1_000_000).unwrap_or(0);
    Time::from_millis(seconds.saturating_mul(1000).saturating_add(millis))
}
