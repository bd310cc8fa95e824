//! Waiting without sleeping blindly, and doing things at the same time.

use std::env;
use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

/// How many times as long as elsewhere things may take on this machine: the number in `PATIENCE`, as for an emulated
/// one, or 1.
pub fn patience() -> u32 {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| {
        env::var("PATIENCE").map_or(1, |text| match text.parse() {
            Ok(factor) if factor > 0 => factor,
            _ => panic!("PATIENCE: {text:?} is not a whole number from 1 on"),
        })
    });
    *FACTOR
}

/// Asks `holds` again and again until it says yes or time is up, and returns its last answer: that to a question asked
/// after the time, for a machine that stands still may let all of it pass between two. With `PATIENCE` in the environment
/// there is that many times as much time.
pub fn until(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within * patience();
    loop {
        let is_last = Instant::now() >= deadline;
        if holds() {
            return true;
        }
        if is_last {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Calls `act` with 0 to `count - 1` in threads that all start at the same moment, in the caller's namespaces, and
/// returns what they returned, in order.
#[track_caller]
pub fn at_once<T: Send>(count: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(count);
    let joined = thread::scope(|scope| {
        let begin = |index| {
            let (start, act) = (&start, &act);
            scope.spawn(move || {
                start.wait();
                act(index)
            })
        };
        let threads: Vec<_> = (0..count).map(begin).collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    joined
        .into_iter()
        .map(|result| result.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)))
        .collect()
}
