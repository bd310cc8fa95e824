//! How messages are repeated (RFC 8415, 15).

use core::time::Duration;

use super::Client6;
use crate::time::Time;

/// `SOL_MAX_RT` and `INF_MAX_RT` (RFC 8415, 7.6), until a server says another.
pub(super) const SOL_MAX_RT: Duration = Duration::from_hours(1);
pub(super) const INF_MAX_RT: Duration = Duration::from_hours(1);

/// Initial and longest wait of an exchange; a longest of zero is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

const fn waits(first: u64, longest: u64) -> Waits {
    Waits {
        first: Duration::from_secs(first),
        longest: Duration::from_secs(longest),
    }
}

/// `REQ_TIMEOUT` and `REQ_MAX_RT`, and so on (RFC 8415, 7.6).
pub(super) const REQUEST: Waits = waits(1, 30);
pub(super) const CONFIRM: Waits = waits(1, 4);
pub(super) const DECLINE: Waits = waits(1, 0);
pub(super) const INFORMATION: Duration = Duration::from_secs(1);
/// `REN_TIMEOUT` and `REB_TIMEOUT`, `REN_MAX_RT` and `REB_MAX_RT`.
pub(super) const RENEW: Waits = waits(10, 600);
/// `REQ_MAX_RC`, `DEC_MAX_RC`.
pub(super) const REQUESTS: u32 = 10;
pub(super) const DECLINES: u32 = 4;
/// Who deletes a container waits: a quarter of a second is long on its link, and three Releases are enough. RFC 8415, 7.6, has a
/// second and four (`REL_TIMEOUT`, `REL_MAX_RC`), and leaves it to the client to end sooner (18.2.7).
pub(super) const RELEASE: Waits = Waits {
    first: Duration::from_millis(250),
    longest: Duration::ZERO,
};
pub(super) const RELEASES: u32 = 3;
/// `CNF_MAX_RD`.
pub(super) const CONFIRMING: Duration = Duration::from_secs(10);

/// How long what an Information-request brought is good where the server does not say, and at least, in seconds
/// (`IRT_DEFAULT` and `IRT_MINIMUM`).
pub(super) const REFRESH: u32 = 86_400;
pub(super) const SOONEST_REFRESH: u32 = 600;

/// One question, which is repeated under one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) xid: u32,
    /// When it was sent first, which is what the elapsed time counts from, and last.
    pub(super) began: Time,
    pub(super) last: Time,
    pub(super) sent: u32,
    wait: Duration,
    /// When it is sent the next time.
    pub(super) resend: Time,
}

impl<R: FnMut() -> u32> Client6<R> {
    /// A question that is sent after a delay.
    pub(super) fn exchange(&mut self, delay: Duration, now: Time) -> Exchange {
        let at = now.after(delay);
        Exchange {
            xid: (self.random)() & 0x00ff_ffff,
            began: at,
            last: at,
            sent: 0,
            wait: Duration::ZERO,
            resend: at,
        }
    }

    /// The exchange after one more message: twice the wait before, a tenth more or less by chance, and no longer than the
    /// longest.
    pub(super) fn sent(&mut self, exchange: Exchange, waits: Waits, now: Time) -> Exchange {
        let chance = (self.random)();
        let first = exchange.sent == 0;
        let mut wait = if first {
            jittered(waits.first, chance)
        } else {
            exchange
                .wait
                .saturating_add(jittered(exchange.wait, chance))
        };
        if !waits.longest.is_zero() && wait > waits.longest {
            wait = jittered(waits.longest, chance);
        }
        Exchange {
            began: if first { now } else { exchange.began },
            last: now,
            sent: exchange.sent.saturating_add(1),
            wait,
            resend: now.after(wait),
            ..exchange
        }
    }

    /// Like [`Self::sent`] for a Solicit, whose first wait is never shorter than `waits.first`: meanwhile offers are
    /// collected (RFC 8415, 18.2.1).
    pub(super) fn sent_solicit(&mut self, exchange: Exchange, waits: Waits, now: Time) -> Exchange {
        let mut next = self.sent(exchange, waits, now);
        if exchange.sent == 0 && next.wait <= waits.first {
            next.wait = waits.first + (waits.first.saturating_sub(next.wait));
            next.wait = next.wait.max(waits.first + Duration::from_millis(1));
            next.resend = now.after(next.wait);
        }
        next
    }

    /// A part of a duration by chance.
    pub(super) fn some_of(&mut self, most: Duration) -> Duration {
        (most / 1024).saturating_mul((self.random)() % 1024)
    }
}

/// A duration, and up to a tenth of it more or less.
fn jittered(wait: Duration, chance: u32) -> Duration {
    let tenth = wait / 10;
    wait.saturating_sub(tenth)
        .saturating_add((tenth / 1000).saturating_mul(chance % 2001))
}
