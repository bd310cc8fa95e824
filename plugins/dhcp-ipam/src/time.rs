//! Time as leases count it: since boot, and on while the machine sleeps.

use core::time::Duration;

/// A moment, in milliseconds of `CLOCK_BOOTTIME`. A lease goes on while a machine sleeps, which `Instant` does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(u64);

impl Time {
    /// What does not come.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// So many milliseconds after boot.
    pub(crate) fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds after boot.
    pub(crate) fn millis(self) -> u64 {
        self.0
    }

    /// That much later.
    pub(crate) fn after(self, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(wait))
    }

    /// So many seconds later; all ones is never (RFC 2131, 3.3).
    pub(crate) fn after_secs(self, seconds: u32) -> Self {
        if seconds == u32::MAX {
            return Self::NEVER;
        }
        self.after(Duration::from_secs(u64::from(seconds)))
    }

    /// How long after `earlier` it is; nothing when it is before.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
