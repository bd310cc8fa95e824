//! Lines about packets that were of no use: whoever floods a link must not fill the disk.

use core::time::Duration;

use crate::time::Time;

/// So many lines in so long; the counters have all of it.
const MOST: u32 = 20;
const WITHIN: Duration = Duration::from_mins(1);

/// How many there were of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Remarks {
    since: Time,
    said: u32,
}

impl Remarks {
    /// Whether one more may be said.
    pub(super) fn may(&mut self, now: Time) -> bool {
        if now.since(self.since) >= WITHIN {
            *self = Self {
                since: now,
                said: 0,
            };
        }
        self.said = self.said.saturating_add(1);
        self.said <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_minute() {
        let mut remarks = Remarks::default();
        let mut said = |seconds: u64| {
            let now = Time::from_millis(seconds * 1000);
            (0..10_000).filter(|_| remarks.may(now)).count()
        };
        assert_eq!((said(100), said(130), said(160), said(161)), (20, 0, 20, 0));
    }
}
