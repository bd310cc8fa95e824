//! When routers are asked for an advertisement.

use core::time::Duration;

use crate::time::Time;

/// The first and the longest wait. RFC 4861, 6.3.7, has four seconds between solicitations, and RFC 7559 doubles them; a
/// container waits for the first one, on a link that was made a moment ago.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(16);

/// Solicitations, until a router is heard or nobody waits any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Solicitation {
    wait: Duration,
    next: Time,
}

impl Solicitation {
    /// Begins at once.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            wait: FIRST,
            next: now,
        }
    }

    /// When the next one is due.
    pub(crate) fn deadline(&self) -> Time {
        self.next
    }

    /// Whether one is to be sent.
    pub(crate) fn is_due(&mut self, now: Time) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.after(self.wait);
        self.wait = (self.wait * 2).min(LONGEST);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicitations_are_repeated_at_doubling_intervals_up_to_a_limit() {
        let mut solicitation = Solicitation::new(Time::from_millis(0));
        let mut times = Vec::new();
        for _ in 0..8 {
            let at = solicitation.deadline();
            assert!(solicitation.is_due(at) && !solicitation.is_due(at));
            times.push(at.millis());
        }
        assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500, 47_500]);
    }
}
