//! Looking again at what the kernel leaves to a worker and does not tell about.

use std::time::{Duration, Instant};

/// Pauses that begin short and grow, until patience is at its end.
pub(super) struct Pauses {
    /// The first pause: most of the time there is none, and nobody need know the time.
    begin: Option<Instant>,
    patience: Duration,
    next: Duration,
}

impl Pauses {
    const SHORTEST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(5);

    pub(super) fn new(patience: Duration) -> Self {
        Self {
            begin: None,
            patience,
            next: Self::SHORTEST,
        }
    }

    /// Waits a little before the next look; `false`, at once, when it was the last.
    pub(super) fn pause(&mut self) -> bool {
        if self.begin.get_or_insert_with(Instant::now).elapsed() >= self.patience {
            return false;
        }
        std::thread::sleep(self.next);
        self.next = Self::LONGEST.min(self.next.saturating_mul(2));
        true
    }
}
