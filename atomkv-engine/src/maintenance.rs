//! The database's own threads: one syncs what is buffered, one checkpoints and compacts, two serve the log
//! (`log/roll.rs`). They hold no lock for longer than a bounded copy, end when the database is closed, and tell of
//! their failures in the statistics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// Whose turn it is to checkpoint or compact.
#[derive(Default)]
pub(crate) struct Turns {
    lock: Mutex<()>,
    /// The thread that has it; 0 for none.
    owner: AtomicUsize,
}

impl Turns {
    fn take(&self) -> Turn<'_> {
        let lock = self.lock.lock();
        self.owner.store(this_thread(), Ordering::Relaxed);
        Turn { turns: self, _lock: lock }
    }
}

/// The turn, until it is dropped.
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    _lock: MutexGuard<'t, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.owner.store(0, Ordering::Relaxed);
    }
}

/// A number that no other thread has as long as this one lives; never 0.
fn this_thread() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
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
        let started = std::thread::Builder::new().name(name.to_string()).spawn(move || {
            let _ended = Ended(&shared);
            task(&shared);
        });
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

/// A background thread ends. Where a panic in a storage, a service or a receiver of events has ended it, nobody may rely
/// on it, wait for it, or be slowed down for its sake any more.
struct Ended<'a>(&'a Inner);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.health.freeze("a panic in a background thread; reopen it to write again");
            self.0.pace.lift();
            self.0.log.lose_helper();
        }
    }
}

/// Bounds what power loss can take.
fn run_sync(inner: &Inner) {
    let mut waiting_since = None;
    while !inner.signals.wait_for_sync(TICK.min(inner.options.sync_interval / 2)) {
        if inner.health.is_failed() {
            continue;
        }
        // What snapshots and backups have held back, and what commits replaced that were synced by those who made them.
        inner.extents.reap(inner.log.synced_sequence());
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
    // What keeps them from their work must not keep the log from getting shorter; on a full disk that makes room.
    let is_failure = |outcome: &Result<()>| outcome.as_ref().is_err_and(|error| !error.is_full());
    let failed = [inner.resize_as_needed(), inner.expire(false)].into_iter().find(is_failure);
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
        let _turn = inner.maintenance.take();
        if compact {
            compaction::compact_some(inner)?;
        } else {
            inner.checkpoint()?;
        }
    }
    failed.unwrap_or(Ok(()))
}

fn note(inner: &Inner, outcome: Result<()>) {
    match outcome {
        Ok(()) | Err(Error::Closed) => {}
        Err(error) => inner.signals.note_error(&error),
    }
}

impl Inner {
    /// The turn to checkpoint or compact, for those who wait for it: a round that takes its time makes haste then.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] on the thread that has it: a function that is told how far a call is has made another.
    pub(crate) fn turn(&self) -> Result<Turn<'_>> {
        if self.has_turn() {
            let reason = "a function that is told of progress must not close, compact, checkpoint or back up";
            return Err(Error::InvalidArgument { reason: reason.to_string() });
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let turn = self.maintenance.take();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(turn)
    }

    /// Whether this thread has the turn.
    pub(crate) fn has_turn(&self) -> bool {
        self.maintenance.owner.load(Ordering::Relaxed) == this_thread()
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
