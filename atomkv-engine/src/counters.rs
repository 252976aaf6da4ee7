//! What is counted while a database works.
//!
//! Reads and writes are counted by each thread in a shard of its own, by an ordinary addition to a cache line that no other
//! thread writes: threads are told apart by their slot in `epoch.rs`, which one has at a time and hands on in order.
//! Whoever reads the counters adds the shards up. Threads beyond the number of shards share one, by locked additions. One
//! operation in [`SAMPLE`] is timed. Everything rarer is counted where it happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::epoch;
use crate::latency::Histogram;

/// So many threads at once count without locked instructions.
const SHARDS: usize = 128;
/// One get, and one put, of so many of a thread is timed: reading the clock twice takes a good part of a get.
const SAMPLE: u64 = 128;

/// What a thread counts. Two cache lines, since processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Shard {
    reads: AtomicU64,
    misses: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    is_shared: bool,
}

impl Shard {
    #[inline]
    fn add(&self, counter: &AtomicU64, count: u64) {
        if self.is_shared {
            counter.fetch_add(count, Ordering::Relaxed);
        } else {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
        }
    }

    /// Whether the next read is one to be timed.
    #[inline]
    pub(crate) fn is_read_timed(&self) -> bool {
        is_sample(&self.reads)
    }

    /// A key was looked for.
    #[inline]
    pub(crate) fn note_read(&self, is_there: bool) {
        self.add(&self.reads, 1);
        if !is_there {
            self.add(&self.misses, 1);
        }
    }

    /// So many keys were looked for, and so many of them were not there.
    pub(crate) fn note_reads(&self, reads: u64, misses: u64) {
        self.add(&self.reads, reads);
        self.add(&self.misses, misses);
    }

    /// When the put that is about to begin began, if it is one to be timed.
    #[inline]
    pub(crate) fn begin_put(&self) -> Option<Instant> {
        is_sample(&self.puts).then(Instant::now)
    }

    /// A commit was made, of so many documents and tombstones.
    #[inline]
    pub(crate) fn note_commit(&self, puts: u64, deletes: u64) {
        self.add(&self.commits, 1);
        self.add(&self.puts, puts);
        if deletes > 0 {
            self.add(&self.deletes, deletes);
        }
    }

    #[cold]
    pub(crate) fn note_conflict(&self) {
        self.add(&self.conflicts, 1);
    }
}

/// The first of a thread is none: it brings things from memory that are there ever after.
#[inline]
fn is_sample(counter: &AtomicU64) -> bool {
    counter.load(Ordering::Relaxed) % SAMPLE == SAMPLE - 1
}

/// The sums over all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) reads: u64,
    pub(crate) misses: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    pub(crate) commits: u64,
    pub(crate) conflicts: u64,
}

/// Counts since opening.
pub(crate) struct Counters {
    /// One for each slot of a thread, and one for all others.
    shards: Box<[Shard; SHARDS + 1]>,
    pub(crate) get_latency: Histogram,
    pub(crate) put_latency: Histogram,
    pub(crate) checkpoint_latency: Histogram,
    pub(crate) compaction_latency: Histogram,
    resizes: AtomicU64,
    resizing: AtomicU64,
    /// Of the segments that the compaction round under way settles.
    compacting_bytes: AtomicU64,
    compaction_read_bytes: AtomicU64,
    compaction_written_bytes: AtomicU64,
    opened: Instant,
    /// When the newest checkpoint was installed, in milliseconds after opening.
    checkpointed_ms: AtomicU64,
    /// How much of what was replayed and appended the newest checkpoint covers.
    checkpointed_at_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            shards: Box::new(std::array::from_fn(|number| Shard {
                is_shared: number == SHARDS,
                ..Shard::default()
            })),
            get_latency: Histogram::default(),
            put_latency: Histogram::default(),
            checkpoint_latency: Histogram::default(),
            compaction_latency: Histogram::default(),
            resizes: AtomicU64::new(0),
            resizing: AtomicU64::new(0),
            compacting_bytes: AtomicU64::new(0),
            compaction_read_bytes: AtomicU64::new(0),
            compaction_written_bytes: AtomicU64::new(0),
            opened: Instant::now(),
            checkpointed_ms: AtomicU64::new(0),
            checkpointed_at_bytes: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Where the current thread counts. Not to be handed to another.
    #[inline]
    pub(crate) fn shard(&self) -> &Shard {
        &self.shards[epoch::slot_number().min(SHARDS)]
    }

    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for shard in self.shards.iter() {
            sums.reads += shard.reads.load(Ordering::Relaxed);
            sums.misses += shard.misses.load(Ordering::Relaxed);
            sums.puts += shard.puts.load(Ordering::Relaxed);
            sums.deletes += shard.deletes.load(Ordering::Relaxed);
            sums.commits += shard.commits.load(Ordering::Relaxed);
            sums.conflicts += shard.conflicts.load(Ordering::Relaxed);
        }
        sums
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A checkpoint was installed that began then.
    pub(crate) fn note_checkpoint(&self, began: Instant) {
        self.checkpoint_latency.add(began.elapsed());
        self.checkpointed_ms.store(self.uptime().as_millis() as u64, Ordering::Relaxed);
    }

    /// How old the newest checkpoint is, as far back as opening.
    pub(crate) fn checkpoint_age_ms(&self) -> u64 {
        (self.uptime().as_millis() as u64).saturating_sub(self.checkpointed_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn note_checkpoint_at(&self, bytes: u64) {
        self.checkpointed_at_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn checkpointed_at(&self) -> u64 {
        self.checkpointed_at_bytes.load(Ordering::Relaxed)
    }

    /// A compaction round settles segments of so many bytes; 0 when it is over.
    pub(crate) fn set_compacting(&self, bytes: u64) {
        self.compacting_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn compacting_bytes(&self) -> u64 {
        self.compacting_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn note_compaction(&self, began: Instant, read_bytes: u64, written_bytes: u64) {
        self.compaction_latency.add(began.elapsed());
        self.compaction_read_bytes.fetch_add(read_bytes, Ordering::Relaxed);
        self.compaction_written_bytes.fetch_add(written_bytes, Ordering::Relaxed);
    }

    /// Bytes that compaction has read and written.
    pub(crate) fn compacted_bytes(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.compaction_read_bytes), load(&self.compaction_written_bytes))
    }

    /// Counts the resize that runs until the value is dropped.
    pub(crate) fn begin_resize(&self) -> impl Drop + use<'_> {
        struct Resizing<'a>(&'a AtomicU64);
        impl Drop for Resizing<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.resizing.fetch_add(1, Ordering::Relaxed);
        Resizing(&self.resizing)
    }

    pub(crate) fn resizing(&self) -> u64 {
        self.resizing.load(Ordering::Relaxed)
    }

    pub(crate) fn note_resize(&self) {
        self.resizes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resizes(&self) -> u64 {
        self.resizes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_shards_lose_no_count() {
        let counters = Counters::default();
        let threads = SHARDS as u64 + 40;
        let all = std::sync::Barrier::new(threads as usize);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    // All have their slots at the same time.
                    drop(epoch::pin());
                    all.wait();
                    for _ in 0..1_000 {
                        counters.shard().note_reads(2, 1);
                        counters.shard().note_commit(3, 0);
                    }
                    all.wait();
                });
            }
        });
        let counted = threads * 1_000;
        let expected = Sums {
            reads: 2 * counted,
            misses: counted,
            puts: 3 * counted,
            commits: counted,
            ..Sums::default()
        };
        assert_eq!(counters.sums(), expected);
        assert!(counters.shards[SHARDS].reads.load(Ordering::Relaxed) >= 40 * 2_000);
    }

    #[test]
    fn one_in_so_many_is_timed() {
        let counters = Counters::default();
        let shard = counters.shard();
        let mut timed = 0;
        for _ in 0..10 * SAMPLE {
            timed += usize::from(shard.is_read_timed());
            shard.note_read(true);
        }
        assert_eq!(timed, 10);
        for _ in 0..10 * SAMPLE {
            timed += usize::from(shard.begin_put().is_some());
            shard.note_commit(1, 0);
        }
        assert_eq!(timed, 20);
    }
}
