//! The database's own threads: one syncs what is buffered, one checkpoints and compacts, two serve the log
//! (`log/roll.rs`). They hold no lock for longer than a bounded copy, end when the database is closed, and tell of
//! their failures in the statistics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::compaction;
use crate::database::Inner;
use crate::epoch;
use crate::error::{Error, Result};
use crate::events::event;
use crate::index::key_order::KeyOrder;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// How often the threads look whether there is something to do, at the latest.
const TICK: Duration = Duration::from_millis(100);
/// After a full disk or a damaged segment, compaction waits before it tries again.
const RETRY: Duration = Duration::from_secs(5);
/// Unsynced bytes may grow to this many times the bound before writers wait for the sync.
const BACKPRESSURE_FACTOR: u64 = 4;

/// How the threads are told to stop, and what they have to tell.
#[derive(Default)]
pub(crate) struct Signals {
    stop: Mutex<bool>,
    changed: Condvar,
    /// Whether a writer has asked for a sync since the last one began.
    sync_asked: AtomicBool,
    /// Of [`Signals::stop`] and [`Signals::sync_asked`].
    sync_changed: Condvar,
    last_error: Mutex<Option<String>>,
}

impl Signals {
    pub(crate) fn stop(&self) {
        *self.stop.lock() = true;
        self.changed.notify_all();
        self.sync_changed.notify_all();
    }

    /// Waits a while; true when it is time to stop.
    fn wait(&self, time: Duration) -> bool {
        let mut stop = self.stop.lock();
        if !*stop {
            stop = self.changed.wait_for(stop, time);
        }
        *stop
    }

    /// Waits until a sync is asked for, but no longer than this; true when it is time to stop.
    fn wait_for_sync(&self, time: Duration) -> bool {
        let mut stop = self.stop.lock();
        if !*stop && !self.sync_asked.load(Ordering::Relaxed) {
            stop = self.sync_changed.wait_for(stop, time);
        }
        self.sync_asked.store(false, Ordering::Relaxed);
        *stop
    }

    /// Asks for a sync, at the cost of a look if somebody else has.
    #[inline]
    fn ask_for_sync(&self) {
        if !self.sync_asked.load(Ordering::Relaxed) && !self.sync_asked.swap(true, Ordering::Relaxed) {
            // Under the lock, so that it is not lost on a thread that is about to wait.
            let _stop = self.stop.lock();
            self.sync_changed.notify_all();
        }
    }

    pub(crate) fn note_error(&self, error: &Error) {
        event!(WARN, "background failure", error = &*error.to_string());
        *self.last_error.lock() = Some(error.to_string());
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }
}

/// Starts the threads.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    let tasks: [(&str, fn(&Inner)); 4] = [
        ("atomkv-log", |inner| inner.log.run_helper()),
        ("atomkv-memory", |inner| inner.log.run_memory_helper()),
        ("atomkv-sync", run_sync),
        ("atomkv-compact", run_upkeep),
    ];
    for (name, task) in tasks {
        let shared = inner.clone();
        let started = std::thread::Builder::new().name(name.to_string()).spawn(move || task(&shared));
        match started {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                inner.signals.stop();
                inner.log.stop_helper();
                threads.into_iter().for_each(|thread| drop(thread.join()));
                return Err(Error::io("start a thread for", &inner.path, error));
            }
        }
    }
    Ok(threads)
}

/// Bounds what power loss can take.
fn run_sync(inner: &Inner) {
    let mut waiting_since = None;
    while !inner.signals.wait_for_sync(TICK.min(inner.options.sync_interval / 2)) {
        if inner.health.is_failed() {
            continue;
        }
        let (appended, synced) = inner.log.bytes();
        if appended == synced {
            waiting_since = None;
            continue;
        }
        let since = *waiting_since.get_or_insert_with(Instant::now);
        let due = since.elapsed() + TICK >= inner.options.sync_interval;
        if due || appended - synced >= inner.options.sync_bytes {
            waiting_since = None;
            note(inner, inner.sync());
        }
        note(inner, inner.log.extend_lease_ahead());
    }
}

/// Checkpoints as the log grows, compacts as the dead bytes do. The first look is at once: a process may never live
/// for as long as a tick.
fn run_upkeep(inner: &Inner) {
    // So that the first who asks for the order of keys, or adds one, need not wait.
    for table in inner.tables.all() {
        if let Some(Err(error)) = table.ordered.as_ref().map(KeyOrder::get) {
            inner.signals.note_error(&error);
        }
    }
    let mut rest_until = Instant::now();
    loop {
        epoch::collect();
        if !inner.health.is_failed() && Instant::now() >= rest_until {
            let outcome = upkeep(inner);
            if outcome.is_err() {
                rest_until = Instant::now() + RETRY;
                inner.pace.lift();
            }
            note(inner, outcome);
        }
        if inner.signals.wait(TICK) {
            return;
        }
    }
}

fn upkeep(inner: &Inner) -> Result<()> {
    inner.trim_histories(false);
    for outcome in [inner.resize_as_needed(), inner.expire(false)] {
        match outcome {
            // Compaction makes room.
            Err(error) if !error.is_full() => return Err(error),
            _ => {}
        }
    }
    while !inner.health.is_closed() {
        let is_paused = inner.pauses.count() > 0;
        if is_paused {
            inner.pace.lift();
        } else {
            compaction::pace_writers(inner);
        }
        // Compaction first: it ends in a checkpoint, and one alone may be due again as soon as it is written.
        let compact = !is_paused && compaction::is_due(inner);
        if !compact && !inner.is_checkpoint_due() {
            break;
        }
        let _turn = inner.maintenance.lock();
        if compact {
            compaction::compact_some(inner)?;
        } else {
            inner.checkpoint()?;
        }
    }
    Ok(())
}

fn note(inner: &Inner, outcome: Result<()>) {
    match outcome {
        Ok(()) | Err(Error::Closed) => {}
        Err(error) => inner.signals.note_error(&error),
    }
}

impl Inner {
    /// The turn to checkpoint or compact, for those who wait for it: a round that takes its time makes haste then.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let turn = self.maintenance.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        turn
    }

    /// Slows writers down when compaction, the disk or the log's helper does not keep up with them: the more is dead or
    /// unsynced, the longer each waits.
    #[inline]
    pub(crate) fn backpressure(&self) {
        self.log.pace();
        let (appended, synced) = self.log.bytes();
        self.pace.keep(appended);
        let unsynced = appended.saturating_sub(synced);
        if unsynced > self.options.sync_bytes && self.options.background {
            self.wait_for_sync(unsynced);
        }
    }

    /// Whether [`Inner::backpressure`] would wait.
    #[inline]
    pub(crate) fn is_writer_held_up(&self) -> bool {
        let (appended, synced) = self.log.bytes();
        self.log.is_behind()
            || self.pace.is_pausing()
            || appended.saturating_sub(synced) > self.options.sync_bytes && self.options.background
    }

    #[cold]
    fn wait_for_sync(&self, unsynced: u64) {
        let bound = self.options.sync_bytes;
        self.signals.ask_for_sync();
        let hard = bound.saturating_mul(BACKPRESSURE_FACTOR);
        if unsynced > hard {
            // The writer takes part in the work that it has caused.
            let _ = self.log.sync_all();
        } else if unsynced > hard / 2 {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}
