//! The log: every commit is born here, in commit order, and log order is sequence order.
//!
//! [`Log::append`] takes the log's lock, gives the commit the next sequence, finishes its headers and copies it in.
//! Nothing can fail after the sequence is taken, except a device: a failed write makes the database read-only.
//! Buffered commits are copied into the mapped, preallocated tail; commits that are to be synced at once, and the first
//! behind a sync, go in by one `pwrite`, because `fdatasync` is dear where mapped stores have dirtied large folios.
//!
//! What survives: after the death of the process everything appended, since it is in the kernel's page cache; after
//! power loss a prefix of the log that includes everything [`Log::sync_to`] has returned for.

mod group;
pub(crate) mod recovery;
mod roll;
mod successors;
mod sync;
mod wait;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::catalog::{Catalog, NewSegment};
use crate::error::{Error, Result};
use crate::format::record::{
    ExtentRef, HEADER_BYTES_MAX, Header, Hint, Kind, Layout, SyncMark, body_checksum, encode_header,
};
use crate::format::segment::{FooterBuilder, FooterEntry, TRAILER_BYTES};
use crate::health::Health;
use crate::latency::Histogram;
use crate::options::{Durability, Options};
use crate::segment::Segment;
use crate::storage::{MapWriter, StorageFile};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::types::{Address, RECORD_ALIGNMENT, SegmentId};
use group::Group;
use successors::Successors;

/// A place in the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct LogPosition {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
}

/// A record that waits for its sequence.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) kind: Kind,
    pub(crate) codec: u8,
    pub(crate) table: u32,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Of key and value, taken before the lock.
    pub(crate) body: u32,
    pub(crate) version: u64,
    pub(crate) new_key: bool,
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) hint: Option<Hint>,
    /// Of the key; 0 for records that stand for no key.
    pub(crate) place: u64,
    /// Whether the record carries the place, in tables whose services this release may not know.
    pub(crate) store_place: bool,
}

/// The records of one commit.
pub(crate) trait Commit {
    /// How many they are: at least one.
    fn len(&self) -> usize;
    /// One of them.
    fn draft(&self, index: usize) -> Draft<'_>;
    /// Where it was put.
    fn placed(&mut self, index: usize, address: Address);
    /// Which sequence it gets.
    fn numbering(&self) -> Numbering {
        Numbering::Next
    }
    /// Whether the commit may not be of this time: it takes something for present that has expired by then.
    fn is_too_late(&self, _time_ms: u64) -> bool {
        false
    }
    /// The files of large values, to be synced before the records are.
    fn files(&self) -> Vec<Arc<dyn StorageFile>> {
        Vec::new()
    }
}

/// Which sequence a commit gets.
#[derive(Clone, Copy)]
pub(crate) enum Numbering {
    /// The next one.
    Next,
    /// This one, and this time: it is a copy of a commit of another database.
    Given(Stamp),
    /// The one behind the commit before it, whatever a crash may have taken: it is as another database has it.
    Following,
    /// The one of the commit before it: it changes nothing.
    None,
}

/// A record that stands for no key and takes no sequence, so that a database that follows another one by its sequences
/// may write one at any time.
struct Unnumbered<'a>(Draft<'a>);

impl Commit for Unnumbered<'_> {
    fn len(&self) -> usize {
        1
    }

    fn draft(&self, _: usize) -> Draft<'_> {
        self.0
    }

    fn placed(&mut self, _: usize, _: Address) {}

    fn numbering(&self) -> Numbering {
        Numbering::None
    }
}

/// A commit of one record that stands for no key.
pub(crate) struct Notice<'a> {
    pub(crate) draft: Draft<'a>,
    pub(crate) numbering: Numbering,
}

impl Commit for Notice<'_> {
    fn len(&self) -> usize {
        1
    }

    fn draft(&self, _: usize) -> Draft<'_> {
        self.draft
    }

    fn placed(&mut self, _: usize, _: Address) {}

    fn numbering(&self) -> Numbering {
        self.numbering
    }
}

impl<'a> Draft<'a> {
    /// A record that stands for no key.
    pub(crate) fn notice(kind: Kind, table: u32, value: &'a [u8]) -> Draft<'a> {
        Draft {
            kind,
            codec: 0,
            table,
            key: &[],
            value,
            body: body_checksum(&[], value),
            version: 1,
            new_key: false,
            expiry_ms: None,
            hint: None,
            place: 0,
            store_place: false,
        }
    }

    /// No less than the record will take.
    fn room(&self) -> u64 {
        (HEADER_BYTES_MAX + self.key.len() + self.value.len()) as u64 + RECORD_ALIGNMENT
    }
}

/// Room kept in each segment for a sync mark, a roll record and the trailer.
const SEGMENT_OVERHEAD_BYTES: u64 = 3 * 96 + TRAILER_BYTES;
/// How many sequences one lease covers.
const LEASE_SEQUENCES: u64 = 1 << 24;

/// After a sync the next commits go in by `pwrite` too, for so many bytes: where syncs and buffered commits mix, a store
/// through the mapping makes the next sync many times as dear. With few syncs among many buffered commits the copies win.
const DIRECT_AFTER_SYNC_BYTES: u64 = 16 << 10;

/// Commits from this size on go in by `pwrite`: memory that a call fills as a whole need not be made ready before, which costs
/// more than the second copy. What is smaller is mostly read again from large pages that the helper has made.
const CALL_FROM_BYTES: u64 = 256 << 10;
/// So much of a commit is written by one call.
const CALL_BYTES: usize = 1 << 20;

enum Writer {
    Mapped(MapWriter),
    File,
}

struct Active {
    segment: Arc<Segment>,
    writer: Writer,
    tail: u64,
    /// Records end before it.
    limit: u64,
    capacity: u64,
    /// Before this place buffered commits are written, not copied, see [`DIRECT_AFTER_SYNC_BYTES`].
    direct_from: u64,
    /// The helper is asked to populate when the tail passes this.
    populate_at: u64,
    /// The successor should be ready when the tail passes this.
    ready_at: u64,
    /// Grows with the records, so that sealing need not read them again.
    footer: FooterBuilder,
}

struct Core {
    active: Option<Active>,
    /// The end of the log where nothing was written since opening.
    end: LogPosition,
    /// Of the last commit that is in the log.
    last_sequence: u64,
    /// Who gives commits their sequences here begins with this one: it is behind those that a crash may have taken.
    next_sequence: u64,
    last_time_ms: u64,
    /// Sequences up to this one may be handed out: a lease that says so is on stable storage.
    lease: u64,
    /// The same, but the lease may still be on its way: whoever begins to read the log behind it never meets it.
    lease_written: u64,
    /// To be written with the next commit.
    mark: Option<SyncMark>,
    unsynced: Vec<Arc<Segment>>,
    unsynced_extents: Vec<(PathBuf, Arc<dyn StorageFile>)>,
    scratch: Vec<u8>,
    closed: bool,
}

#[derive(Default)]
struct SyncState {
    synced: u64,
    /// Everything before this place is on stable storage, also what takes no sequence.
    synced_at: LogPosition,
    running: bool,
    group: Group,
}

/// What the log's helper threads are asked for.
#[derive(Default)]
struct Requests {
    /// Rolled segments that want their footers.
    seal: Vec<(Arc<Segment>, FooterBuilder)>,
    /// Segments that were made for nothing, to be removed.
    unused: Vec<NewSegment>,
    /// The active segment wants a successor.
    prepare: bool,
    /// Populate this segment from this offset.
    populate: Option<(Arc<Segment>, u64)>,
    /// The index wants its next memory, see `storage::memory::populate_ahead`.
    memory: bool,
    /// The helper that populates looks by itself from time to time, and need not be woken.
    looks: bool,
    stop: bool,
}

/// See the module's head.
pub(crate) struct Log {
    catalog: Arc<Catalog>,
    health: Arc<Health>,
    segment_bytes_min: u64,
    segment_bytes_max: u64,
    core: Mutex<Core>,
    sync_state: Mutex<SyncState>,
    sync_done: Condvar,
    lease_turn: Mutex<()>,
    successors: Successors,
    requests: Mutex<Requests>,
    requested: Condvar,
    memory_requested: Condvar,
    has_helper: bool,
    /// Whether somebody waits for the log to grow, see `wait.rs`.
    has_waiters: AtomicBool,
    /// Counts the times that who waited was woken.
    wakes: Mutex<u64>,
    grown: Condvar,
    /// Whether the helper was asked for memory and has not begun.
    memory_asked: AtomicBool,
    /// Bytes appended since opening, extents included.
    appended_bytes: AtomicU64,
    synced_bytes: AtomicU64,
    pub(crate) sync_latency: Histogram,
}

/// Where the log stood when an opened database goes on writing.
pub(crate) struct LogStart {
    pub(crate) end: LogPosition,
    pub(crate) last_sequence: u64,
    pub(crate) last_time_ms: u64,
    pub(crate) sequence_ceiling: u64,
}

impl Log {
    pub(crate) fn new(catalog: Arc<Catalog>, options: &Options, start: &LogStart) -> Log {
        Log {
            health: catalog.health.clone(),
            catalog,
            segment_bytes_min: options.segment_bytes_min,
            segment_bytes_max: options.segment_bytes_max,
            core: Mutex::new(Core {
                active: None,
                end: start.end,
                last_sequence: start.last_sequence,
                // Everything up to the ceiling may have been handed out and lost.
                next_sequence: start.sequence_ceiling.max(start.last_sequence) + 1,
                last_time_ms: start.last_time_ms,
                lease: 0,
                lease_written: 0,
                mark: None,
                unsynced: Vec::new(),
                unsynced_extents: Vec::new(),
                scratch: Vec::new(),
                closed: false,
            }),
            sync_state: Mutex::new(SyncState {
                synced: start.last_sequence,
                synced_at: start.end,
                running: false,
                group: Group::default(),
            }),
            sync_done: Condvar::new(),
            lease_turn: Mutex::new(()),
            successors: Successors::default(),
            requests: Mutex::new(Requests::default()),
            requested: Condvar::new(),
            memory_requested: Condvar::new(),
            has_helper: options.background,
            has_waiters: AtomicBool::new(false),
            wakes: Mutex::new(0),
            grown: Condvar::new(),
            memory_asked: AtomicBool::new(false),
            appended_bytes: AtomicU64::new(0),
            synced_bytes: AtomicU64::new(0),
            sync_latency: Histogram::default(),
        }
    }

    /// The largest commit, in bytes: it must fit into one segment.
    pub(crate) fn commit_bytes_max(&self) -> u64 {
        crate::options::SEGMENT_BYTES_CEILING
            - 2 * SEGMENT_OVERHEAD_BYTES
            - crate::format::segment::HEADER_BYTES
    }

    /// Takes the log's lock.
    fn lock_core(&self) -> MutexGuard<'_, Core> {
        self.core.lock_spinning()
    }

    /// Does something with the log's lock held. If it panics writing ends before the lock goes: who waits for it must not come
    /// behind half a commit.
    fn ending_on_panic<R>(&self, work: impl FnOnce() -> R) -> R {
        let unwinds = Unwinds(&self.health);
        let result = work();
        std::mem::forget(unwinds);
        result
    }

    /// Appends a record that stands for no key, as [`Log::append`] does. Returns its sequence.
    pub(crate) fn append_notice(&self, notice: &mut Notice<'_>, now_ms: u64, how: Durability) -> Result<u64> {
        let stamp = self.append(notice, now_ms, how)?;
        stamp.map(|stamp| stamp.sequence).ok_or_else(no_deadline)
    }

    /// Says that a table is another from here on. The record has the sequence and the time of the commit before it: a
    /// database that follows another one may still be given commits of an earlier time than now.
    pub(crate) fn append_change(&self, table: u32, definition: &[u8]) -> Result<()> {
        let mut change = Unnumbered(Draft::notice(Kind::TableChange, table, definition));
        let stamp = self.append(&mut change, 0, Durability::Buffered)?;
        stamp.map(drop).ok_or_else(no_deadline)
    }

    /// Appends one commit. With `Durability::Sync` the caller must still call [`Log::sync_to`].
    /// `None` if its deadline has passed; then nothing was written.
    pub(crate) fn append<C: Commit>(
        &self,
        commit: &mut C,
        now_ms: u64,
        how: Durability,
    ) -> Result<Option<Stamp>> {
        let room: u64 = (0..commit.len()).map(|index| commit.draft(index).room()).sum();
        if room > self.commit_bytes_max() {
            let limit = self.commit_bytes_max();
            return Err(Error::InvalidArgument {
                reason: format!("the batch takes {room} bytes; one commit holds at most {limit}"),
            });
        }
        loop {
            let mut core = self.lock_core();
            if core.closed {
                return Err(Error::Closed);
            }
            let sequence = core.next_stamp(commit, now_ms)?.sequence;
            if sequence > core.lease {
                drop(core);
                self.extend_lease(now_ms, sequence)?;
                continue;
            }
            return self.ending_on_panic(|| self.append_locked(&mut core, room, commit, now_ms, how));
        }
    }

    fn append_locked<C: Commit>(
        &self,
        core: &mut Core,
        room: u64,
        commit: &mut C,
        now_ms: u64,
        how: Durability,
    ) -> Result<Option<Stamp>> {
        // Checked under the lock: after a failure not one more commit may come behind it.
        self.health.check_writable()?;
        // Nothing is gained by a call where nothing is synced.
        let how = if self.catalog.is_volatile { Durability::Buffered } else { how };
        let stamp = core.next_stamp(commit, now_ms)?;
        if commit.is_too_late(stamp.time_ms) {
            return Ok(None);
        }
        // A new segment's times count from here.
        core.last_time_ms = stamp.time_ms;
        if core
            .active
            .as_ref()
            .is_none_or(|active| active.tail + room + SEGMENT_OVERHEAD_BYTES > active.limit)
        {
            self.roll(core, room)?;
        }
        // From here on nothing fails but the device.
        core.last_sequence = stamp.sequence;
        core.next_sequence = core.next_sequence.max(stamp.sequence + 1);
        let start = core.active.as_ref().map_or(0, |active| active.tail);
        let mark = core.mark.take();
        let result = match &mut core.active {
            Some(active) => {
                let how = if room >= CALL_FROM_BYTES { Durability::Sync } else { how };
                write_commit(active, &mut core.scratch, mark, commit, stamp, how)
            }
            None => Err(Error::Internal { reason: "the log has no segment after a roll".to_string() }),
        };
        result.map_err(|error| self.health.fail(error))?;
        let Some(active) = &mut core.active else {
            return Err(Error::Closed);
        };
        let end = active.tail;
        if how == Durability::Buffered && room < CALL_FROM_BYTES && end >= active.populate_at {
            self.request_populate(active);
        }
        if end >= active.ready_at {
            self.note_behind(active);
        }
        let mut bytes = end - start;
        for file in commit.files() {
            bytes += file.len().unwrap_or(0);
            core.unsynced_extents.push((active.segment.path.clone(), file));
        }
        // Only this lock's holder writes the counter.
        self.appended_bytes.store(self.appended_bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        Ok(Some(stamp))
    }

    /// Calls a function with sequence and time of the last commit, under the log's lock.
    pub(crate) fn at_end<R>(&self, f: impl FnOnce(u64, u64, LogPosition) -> R) -> R {
        let core = self.lock_core();
        f(core.last_sequence, core.last_time_ms, core.position())
    }

    /// Makes sure that sequences up to this one may be handed out: writes how far, and waits until that is on stable
    /// storage.
    fn extend_lease(&self, now_ms: u64, needed: u64) -> Result<()> {
        let _turn = self.lease_turn.lock();
        let (ceiling, sequence) = {
            let mut core = self.lock_core();
            if needed + LEASE_SEQUENCES / 2 <= core.lease {
                return Ok(());
            }
            if core.closed {
                return Err(Error::Closed);
            }
            let ceiling = needed.max(core.next_sequence) + LEASE_SEQUENCES;
            let bytes = ceiling.to_le_bytes();
            let mut lease = Unnumbered(Draft::notice(Kind::Lease, 0, &bytes));
            let room = lease.0.room();
            let append = || self.append_locked(&mut core, room, &mut lease, now_ms, Durability::Sync);
            let stamp = self.ending_on_panic(append)?;
            core.lease_written = core.lease_written.max(ceiling);
            (ceiling, stamp.ok_or_else(no_deadline)?.sequence)
        };
        self.sync_always(sequence)?;
        let mut core = self.lock_core();
        core.lease = core.lease.max(ceiling);
        Ok(())
    }

    /// Extends the lease ahead of need; called from the background.
    pub(crate) fn extend_lease_ahead(&self) -> Result<()> {
        let (is_needed, next) = {
            let core = self.lock_core();
            let next = core.next_sequence;
            (core.lease > 0 && next + LEASE_SEQUENCES / 2 > core.lease, next)
        };
        // At the time of the last commit: it is none itself.
        if is_needed { self.extend_lease(0, next) } else { Ok(()) }
    }

    /// The end of the log and the sequence of the last commit in it.
    pub(crate) fn position(&self) -> (LogPosition, u64) {
        let core = self.lock_core();
        (core.position(), core.last_sequence)
    }

    /// The sequence and the time of the last commit.
    pub(crate) fn last_stamp(&self) -> Stamp {
        let core = self.lock_core();
        Stamp { sequence: core.last_sequence, time_ms: core.last_time_ms }
    }

    /// The time of the last commit: those of later ones are not below it.
    pub(crate) fn last_time_ms(&self) -> u64 {
        self.lock_core().last_time_ms
    }

    /// No sequence above it was handed out, nor is it lower than what a lease says that is in the log by now.
    pub(crate) fn sequence_ceiling(&self) -> u64 {
        let core = self.lock_core();
        core.lease.max(core.lease_written).max(core.next_sequence - 1)
    }

    /// From now on [`Log::append`] answers "closed".
    pub(crate) fn close(&self) {
        self.lock_core().closed = true;
        self.wake_all();
    }

    /// Bytes appended since opening, and how many of them are synced.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.appended_bytes.load(Ordering::Relaxed), self.synced_bytes.load(Ordering::Relaxed))
    }
}

/// Ends writing if a panic of a storage, or of who receives events, passes through what the log is doing.
struct Unwinds<'a>(&'a Health);

impl Drop for Unwinds<'_> {
    fn drop(&mut self) {
        self.0.freeze("a panic while the log was written; reopen it to write again");
    }
}

impl Core {
    /// Sequence and time of a commit that would be appended now.
    fn next_stamp(&self, commit: &impl Commit, now_ms: u64) -> Result<Stamp> {
        let time_ms = self.last_time_ms.max(now_ms);
        match commit.numbering() {
            Numbering::Next => Ok(Stamp { sequence: self.next_sequence, time_ms }),
            Numbering::Following => Ok(Stamp { sequence: self.last_sequence + 1, time_ms }),
            Numbering::None => Ok(Stamp { sequence: self.last_sequence, time_ms }),
            // What a crash has taken of commits of another database is given again.
            Numbering::Given(given) => {
                if given.sequence <= self.last_sequence || given.time_ms < self.last_time_ms {
                    let reason = format!(
                        "sequence {} at {} ms; the next one is {} or more, at {} ms or later",
                        given.sequence,
                        given.time_ms,
                        self.last_sequence + 1,
                        self.last_time_ms
                    );
                    return Err(Error::InvalidArgument { reason });
                }
                Ok(given)
            }
        }
    }

    fn position(&self) -> LogPosition {
        match &self.active {
            Some(active) => LogPosition { segment: active.segment.id(), offset: active.tail },
            None => self.end,
        }
    }
}

/// Writes the records of one commit behind each other and tells where they are.
fn write_commit<C: Commit>(
    active: &mut Active,
    scratch: &mut Vec<u8>,
    mark: Option<SyncMark>,
    commit: &mut C,
    stamp: Stamp,
    how: Durability,
) -> Result<()> {
    let mapped = matches!(active.writer, Writer::Mapped(_));
    let direct = mapped && how == Durability::Buffered && active.tail >= active.direct_from;
    let start = active.tail;
    scratch.clear();
    if let Some(mark) = mark.map(SyncMark::encode) {
        write_record(active, scratch, &Draft::notice(Kind::Mark, 0, &mark), stamp, false, direct);
    }
    let last = commit.len() - 1;
    let mut born = 0;
    let mut written = start;
    let write = |segment: &Segment, from: u64, bytes: &[u8]| {
        let failed = |error| Error::Io { operation: "write", path: segment.path.clone(), source: error };
        segment.file().write_at(from, bytes).map_err(failed)
    };
    for index in 0..=last {
        if scratch.len() >= CALL_BYTES {
            write(&active.segment, written, scratch)?;
            if scratch.capacity() > 2 * CALL_BYTES {
                *scratch = Vec::new();
            }
            written = active.tail;
            scratch.clear();
        }
        let at = active.tail;
        let draft = commit.draft(index);
        let kind = draft.kind;
        write_record(active, scratch, &draft, stamp, index == last, direct);
        commit.placed(index, active.segment.address(at));
        if matches!(kind, Kind::Document | Kind::Extent) {
            born += active.tail - at;
        }
    }
    if !direct {
        write(&active.segment, written, scratch)?;
        if let Writer::Mapped(writer) = &mut active.writer {
            writer.advance(active.tail);
        }
    }
    active.segment.publish(active.tail);
    active.segment.note_sequence(stamp.sequence);
    if born > 0 {
        active.segment.add_born(born);
    }
    Ok(())
}

/// What all records of a commit have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
}

fn no_deadline() -> Error {
    Error::Internal { reason: "a commit without a deadline was too late".to_string() }
}

/// Finishes one record's header; copies the record to the tail, or to the scratch buffer that will be written there.
#[inline]
fn write_record(
    active: &mut Active,
    scratch: &mut Vec<u8>,
    draft: &Draft<'_>,
    stamp: Stamp,
    end_of_commit: bool,
    direct: bool,
) {
    let header = Header {
        kind: draft.kind,
        end_of_commit,
        new_key: draft.new_key,
        codec: draft.codec,
        table: draft.table,
        sequence: stamp.sequence,
        time_ms: stamp.time_ms,
        version: draft.version,
        expiry_ms: draft.expiry_ms,
        hint: draft.hint,
        place: draft.store_place.then_some(draft.place),
    };
    let base = active.segment.base.at(active.tail);
    let head = encode_header(&header, draft.key.len(), draft.value.len(), draft.body, &base);
    let layout = Layout { header: head.bytes().len(), key: draft.key.len(), value: draft.value.len() };
    let length = layout.padded();
    if let Some(expiry_ms) = draft.expiry_ms {
        let extent = if draft.kind == Kind::Extent { ExtentRef::decode(draft.value) } else { None };
        let bytes = length + extent.map_or(0, |extent| extent.length);
        active.segment.note_expiry(expiry_ms, stamp.time_ms, bytes);
    }
    active.footer.push(&FooterEntry {
        kind: draft.kind,
        end_of_commit,
        table: draft.table,
        offset: active.tail,
        length,
        place: draft.place,
    });
    let parts = [head.bytes(), draft.key, draft.value];
    match &mut active.writer {
        Writer::Mapped(writer) if direct => writer.append_padded(&parts, length),
        _ => {
            parts.iter().for_each(|part| scratch.extend_from_slice(part));
            scratch.resize(scratch.len().next_multiple_of(RECORD_ALIGNMENT as usize), 0);
        }
    }
    active.tail += length;
}
