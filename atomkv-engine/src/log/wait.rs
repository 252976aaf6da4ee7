//! Waiting for the log to grow, at next to no cost for those who write it: a commit looks at one flag that changes only
//! when somebody waits.
//!
//! No wake-up is lost. Who waits raises the flag and then looks at the log's end under the log's lock: a commit that
//! was not there yet takes that lock later, and so sees the flag when it looks for it afterwards. The flag is lowered
//! only together with a wake-up of all who wait, under the lock of the condition variable.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Log, LogPosition};

/// Where there is no deadline, the wait is cut into parts of this length.
const WAIT_PART: Duration = Duration::from_secs(3600);

impl Log {
    /// Waits until more is published than up to here, or the log is closed. False if it was not until the deadline.
    pub(crate) fn wait_beyond(&self, end: LogPosition, deadline: Option<Instant>) -> bool {
        let mut wakes = self.wakes.lock();
        loop {
            self.has_waiters.store(true, Ordering::Relaxed);
            {
                let core = self.lock_core();
                // What a failed write has left behind the published end is not there for anybody.
                let has_grown = core.active.as_ref().is_some_and(|active| {
                    active.segment.id() != end.segment || active.segment.end() > end.offset
                });
                if core.closed || has_grown {
                    return true;
                }
            }
            let before = *wakes;
            while *wakes == before {
                let left = match deadline {
                    Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                    None => WAIT_PART,
                };
                if left.is_zero() {
                    return false;
                }
                wakes = self.grown.wait_for(wakes, left);
            }
        }
    }

    /// Called after each commit, when its changes can be seen and its locks are gone.
    #[inline]
    pub(crate) fn wake_waiters(&self) {
        if self.has_waiters.load(Ordering::Relaxed) {
            self.wake_all();
        }
    }

    #[cold]
    pub(super) fn wake_all(&self) {
        let mut wakes = self.wakes.lock();
        *wakes += 1;
        self.has_waiters.store(false, Ordering::Relaxed);
        drop(wakes);
        self.grown.notify_all();
    }
}
