//! Keeps writers from running away from compaction: while too much of the disk is dead, they pause now and then.
//!
//! Compaction frees what is dead at the rate that the disk and a processor allow; a writer that overwrites faster would
//! else let the database grow without bound. How long the pauses are follows from how much is dead, so that both
//! meet where one keeps up with the other. All writers pause together, each time for less than a millisecond or so
//! unless compaction is far behind or a commit is large.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Writers pause each time that they have written so much.
const QUANTUM_BYTES: u64 = 64 << 10;
/// A pause where twice as much is dead as is tolerated.
const PAUSE: Duration = Duration::from_micros(400);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(5);
/// The longest pause after a commit of many quanta.
const LARGE_PAUSE_MAX: Duration = Duration::from_millis(200);

pub(crate) struct Pace {
    /// Nanoseconds; 0 for none.
    pause: AtomicU64,
    /// The bytes that had been written at the last pause.
    paused_at: AtomicU64,
    /// When it ends, in nanoseconds after `start`.
    pause_ends: AtomicU64,
    start: Instant,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            pause: AtomicU64::new(0),
            paused_at: AtomicU64::new(0),
            pause_ends: AtomicU64::new(0),
            start: Instant::now(),
        }
    }
}

impl Pace {
    /// Tells how much is dead and how much of that is tolerated, and how much was written since opening, in bytes.
    pub(crate) fn set(&self, dead: u64, tolerated: u64, written: u64) {
        let pause = pause(dead, tolerated).as_nanos() as u64;
        if self.pause.load(Ordering::Relaxed) == 0 {
            // Nobody waits for what was written while there were no pauses.
            self.paused_at.fetch_max(written, Ordering::Relaxed);
        }
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// Writers need not wait for a compaction that does not come.
    pub(crate) fn lift(&self) {
        self.pause.store(0, Ordering::Relaxed);
    }

    /// Whether writers pause now and then.
    #[inline]
    pub(crate) fn is_pausing(&self) -> bool {
        self.pause.load(Ordering::Relaxed) > 0
    }

    /// A writer comes by after all have written so many bytes since opening.
    #[inline]
    pub(crate) fn keep(&self, written: u64) {
        let pause = self.pause.load(Ordering::Relaxed);
        if pause > 0 {
            self.wait(pause, written);
        }
    }

    #[cold]
    fn wait(&self, pause: u64, written: u64) {
        let now = self.start.elapsed().as_nanos() as u64;
        let before = self.paused_at.load(Ordering::Relaxed);
        let due = written.saturating_sub(before) >= QUANTUM_BYTES;
        let ends = if due
            && self.paused_at.compare_exchange(before, written, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            // What is large counts for more.
            let quanta = (written - before) / QUANTUM_BYTES;
            let ends = now + pause.saturating_mul(quanta).min(LARGE_PAUSE_MAX.as_nanos() as u64);
            self.pause_ends.fetch_max(ends, Ordering::Relaxed);
            ends
        } else {
            self.pause_ends.load(Ordering::Relaxed)
        };
        if ends > now {
            std::thread::sleep(Duration::from_nanos(ends - now));
        }
    }
}

fn pause(dead: u64, tolerated: u64) -> Duration {
    let excess = dead.saturating_sub(tolerated) as f64 / tolerated.max(1) as f64;
    PAUSE.mul_f64(excess.min(1e3)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_dead_the_longer_is_the_pause() {
        assert_eq!(pause(0, 0), Duration::ZERO);
        assert_eq!(pause(100, 100), Duration::ZERO);
        assert_eq!(pause(200, 100), PAUSE);
        assert_eq!(pause(150, 100), PAUSE / 2);
        assert_eq!(pause(u64::MAX, 1), PAUSE_MAX);
    }

    #[test]
    fn writers_pause_once_for_a_quantum() {
        let pace = Pace::default();
        let took = |written: u64| {
            let before = pace.pause_ends.load(Ordering::Relaxed);
            pace.keep(written);
            pace.pause_ends.load(Ordering::Relaxed) > before
        };
        assert!(!took(QUANTUM_BYTES), "no pause was asked for");
        pace.set(200, 100, 5 * QUANTUM_BYTES);
        assert!(!took(6 * QUANTUM_BYTES - 1), "what was written before does not count");
        assert!(took(6 * QUANTUM_BYTES));
        assert!(!took(6 * QUANTUM_BYTES + 1));
        pace.set(200, 100, 7 * QUANTUM_BYTES);
        assert!(took(8 * QUANTUM_BYTES));
        pace.lift();
        assert!(!took(19 * QUANTUM_BYTES));
    }
}
