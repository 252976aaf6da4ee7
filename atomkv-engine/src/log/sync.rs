//! Group sync: one `fdatasync` serves everybody who waits, and everything that was appended before it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{DIRECT_AFTER_SYNC_BYTES, Log, LogPosition};
use crate::error::{Error, Result};
use crate::events::{self, SLOW_SYNC, event};
use crate::format::record::SyncMark;
use crate::segment::Segment;
use crate::storage::StorageFile;

/// How often and when what wants a descriptor is tried again.
const TRIES_MAX: u32 = 100;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// What one sync has to make durable.
struct Work {
    sequence: u64,
    position: LogPosition,
    bytes: u64,
    segments: Vec<Arc<Segment>>,
    extents: Vec<(PathBuf, Arc<dyn StorageFile>)>,
}

impl Log {
    /// Returns when the commit with this sequence and everything before it is on stable storage. One caller syncs for
    /// all who came before it started; the others wait and, if they came too late, take the next turn. When the next one
    /// starts: [`super::group`].
    pub(crate) fn sync_to(&self, sequence: u64) -> Result<()> {
        self.sync_once(sequence, false)
    }

    /// The same, also if a commit with this sequence was synced before: one that takes no sequence came behind it.
    pub(crate) fn sync_always(&self, sequence: u64) -> Result<()> {
        self.sync_once(sequence, true)
    }

    fn sync_once(&self, sequence: u64, always: bool) -> Result<()> {
        let mut state = self.sync_state.lock();
        let mut round = None;
        let mut deadline = None;
        loop {
            let is_done = match round {
                Some(round) if always => state.group.is_done(round),
                _ => state.synced >= sequence && !always,
            };
            if is_done || self.health.is_failed() {
                if let Some(round) = round {
                    state.group.leave(round);
                }
                drop(state);
                if is_done {
                    return Ok(());
                }
                // The others rely on one of them to look at the clock: it may be this one.
                self.sync_done.notify_all();
                return self.health.check_writable();
            }
            round = round.or_else(|| Some(state.group.arrive()));
            if state.running {
                state = self.sync_done.wait(state);
                continue;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                state.group.miss();
                break;
            }
            let Some(patience) = state.group.patience() else { break };
            deadline = deadline.or_else(|| patience.map(|patience| now + patience));
            state = match deadline {
                Some(deadline) => self.sync_done.wait_for(state, deadline - now),
                None => self.sync_done.wait(state),
            };
        }
        state.running = true;
        state.group.begin();
        drop(state);
        let latch = Latch(self);
        let work = self.gather();
        let began = Instant::now();
        let outcome = self.sync_work(&work);
        let took = began.elapsed();
        let mut state = self.sync_state.lock();
        state.running = false;
        state.group.end(took);
        let outcome = match outcome {
            Ok(()) => {
                self.sync_latency.add(took);
                state.synced = state.synced.max(work.sequence);
                state.synced_at = state.synced_at.max(work.position);
                state.group.succeed();
                Ok(())
            }
            // Nothing was asked of the disk for want of a descriptor.
            Err(error) if crate::health::is_out_of_descriptors(&error) => Err(error),
            // A failed sync is never repeated and believed.
            Err(error) => Err(self.health.fail(error)),
        };
        drop(state);
        self.sync_done.notify_all();
        std::mem::forget(latch);
        // Whoever receives them may take its time, or panic.
        let path = &*self.catalog.path.to_string_lossy();
        match &outcome {
            Ok(()) if took >= SLOW_SYNC => {
                event!(WARN, "sync slow", path = path, elapsed_us = events::micros(took));
            }
            Err(error) if self.health.is_failed() => {
                event!(ERROR, "sync failed", path = path, error = &*error.to_string());
            }
            _ => {}
        }
        outcome
    }

    /// Syncs everything appended so far, also what takes no sequence: leases, roll records, changes of tables.
    pub(crate) fn sync_all(&self) -> Result<()> {
        let (position, sequence) = self.position();
        let is_synced = self.sync_state.lock().synced_at >= position;
        if is_synced { Ok(()) } else { self.sync_always(sequence) }
    }

    /// The last commit that is known to be on stable storage.
    pub(crate) fn synced_sequence(&self) -> u64 {
        self.sync_state.lock().synced
    }

    fn gather(&self) -> Work {
        let mut core = self.lock_core();
        if let Some(active) = core.active.as_mut().filter(|_| !self.catalog.is_volatile) {
            active.direct_from = active.tail + DIRECT_AFTER_SYNC_BYTES;
        }
        let mut segments = core.unsynced.clone();
        segments.extend(core.active.as_ref().map(|active| active.segment.clone()));
        Work {
            sequence: core.last_sequence,
            position: core.position(),
            bytes: self.appended_bytes.load(Ordering::Relaxed),
            segments,
            extents: core.unsynced_extents.clone(),
        }
    }

    /// The names of large values. It takes a descriptor, of which the process may have none left for a moment: the commit
    /// is in the log already, and can only be told as failed.
    fn sync_directory(&self) -> Result<()> {
        let directory = &self.catalog.path;
        let mut tries = 0;
        loop {
            let outcome = self.catalog.storage.sync_dir(directory);
            let outcome = outcome.map_err(|source| Error::io("sync", directory, source));
            tries += 1;
            match outcome {
                Err(error) if tries < TRIES_MAX && crate::health::is_out_of_descriptors(&error) => {
                    std::thread::sleep(TRY_AGAIN_AFTER);
                }
                outcome => return outcome,
            }
        }
    }

    fn sync_work(&self, work: &Work) -> Result<()> {
        let failed = |operation, path: &PathBuf, source| Error::Io { operation, path: path.clone(), source };
        // What records refer to comes first, then the log in its order.
        for (path, file) in &work.extents {
            file.sync_data().map_err(|error| failed("sync a large value of", path, error))?;
        }
        if !work.extents.is_empty() {
            self.sync_directory()?;
        }
        for segment in work.segments.iter().filter(|_| !self.catalog.is_volatile) {
            segment.sync(work.end_of(segment)).map_err(|error| failed("sync", &segment.path, error))?;
        }
        self.synced_bytes.store(work.bytes, Ordering::Relaxed);
        let mut core = self.lock_core();
        core.mark = Some(SyncMark { segment: work.position.segment.0, offset: work.position.offset });
        let active = core.active.as_ref().map(|active| active.segment.id());
        core.unsynced.retain(|segment| {
            let done = work.segments.iter().any(|synced| synced.id() == segment.id());
            // The one that was active when the sync began has grown since, if it has rolled meanwhile.
            !(done && Some(segment.id()) != active && segment.end() <= work.end_of(segment))
        });
        core.unsynced_extents.drain(..work.extents.len());
        Ok(())
    }
}

/// A sync is under way. A panic in a storage ends it, and nobody may wait for it for ever.
struct Latch<'a>(&'a Log);

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        self.0.health.freeze("a panic while the log was synced; reopen it to write again");
        self.0.sync_state.lock().running = false;
        self.0.sync_done.notify_all();
    }
}

impl Work {
    /// How much of a segment was there when the work was gathered.
    fn end_of(&self, segment: &Segment) -> u64 {
        if segment.id() == self.position.segment { self.position.offset } else { u64::MAX }
    }
}
