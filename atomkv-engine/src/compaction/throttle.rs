//! How fast compaction may go, and whether at all, when its users ask for quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::database::{Database, Inner};
use crate::error::Result;

/// It sleeps for no longer than this at a time, so that closing need not wait.
const NAP: Duration = Duration::from_millis(50);

/// Keeps one round of compaction to so many bytes a second, read and written ones together.
pub(super) struct Throttle<'a> {
    inner: &'a Inner,
    /// 0 for as fast as it can.
    rate: u64,
    began: Instant,
    spent: u64,
}

impl<'a> Throttle<'a> {
    pub(super) fn new(inner: &'a Inner, rate: u64) -> Throttle<'a> {
        Throttle { inner, rate, began: Instant::now(), spent: 0 }
    }

    /// So many bytes were read or written: sleeps if that was too fast, unless somebody waits for the round.
    ///
    /// # Errors
    /// The database is closed meanwhile.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<()> {
        if self.rate == 0 {
            return Ok(());
        }
        self.spent += bytes;
        let due = Duration::from_secs_f64(self.spent as f64 / self.rate as f64);
        loop {
            let early = due.saturating_sub(self.began.elapsed());
            if early.is_zero() || self.inner.waiting.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            self.inner.health.check_open()?;
            std::thread::sleep(early.min(NAP));
        }
    }
}

/// Who wants no compaction by the background right now.
#[derive(Default)]
pub(crate) struct Pauses(AtomicU32);

impl Pauses {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// While it is held the background does not compact, see [`Database::pause_compaction`].
#[must_use = "compaction goes on when this is dropped"]
pub struct CompactionPause {
    inner: Arc<Inner>,
}

impl Drop for CompactionPause {
    fn drop(&mut self) {
        self.inner.pauses.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for CompactionPause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompactionPause").finish_non_exhaustive()
    }
}

impl Database {
    /// Asks the background not to compact until what is returned is dropped: for hours, or moments, in which the disk is
    /// wanted for something else. A round that is running goes on to its end. What is overwritten and deleted meanwhile
    /// keeps its space, however much that becomes, and writers are not slowed down for it. Checkpoints, and what makes room
    /// on a full disk, go on; [`Database::compact`] works as ever.
    pub fn pause_compaction(&self) -> CompactionPause {
        self.inner().pauses.0.fetch_add(1, Ordering::Relaxed);
        CompactionPause { inner: self.inner().clone() }
    }
}
