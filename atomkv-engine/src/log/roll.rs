//! Moving on to the next log segment, and the helpers that make it, populate it ahead and seal the last one.
//!
//! A rolled segment ends in a roll record that names its successor. The successor's header and name were durable
//! before the roll record was written, so a roll record whose segment is missing means damage, never loss.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::successors::Plan;
use super::{
    Active, Core, Draft, Log, Notice, Numbering, SEGMENT_OVERHEAD_BYTES, Stamp, Writer, write_commit,
};
use crate::catalog::{NewSegment, SegmentPlan};
use crate::error::{Error, Result};
use crate::events::event;
use crate::format::record::Kind;
use crate::format::segment::{FooterBuilder, HEADER_BYTES, SegmentKind, TRAILER_BYTES};
use crate::options::{Durability, SEGMENT_BYTES_CEILING, SEGMENT_BYTES_FLOOR};
use crate::segment::Segment;
use crate::storage::memory;
use crate::types::SegmentId;

/// How far ahead of the tail the helper populates.
const POPULATE_AHEAD_BYTES: u64 = 4 << 20;
/// How much it populates in one call: a huge page.
const POPULATE_STEP_BYTES: u64 = 2 << 20;
/// So long before its end, and no earlier than in its last quarter, a segment's successor should be ready.
const READY_BEFORE_BYTES: u64 = 512 << 10;
/// How long a writer lets the helper have the processor before a put, where it runs ahead of it. Many short waits
/// instead of a long one.
const WAIT_FOR_HELPER: Duration = Duration::from_micros(500);

/// So many rolled segments wait for their footers before the helper makes another one: it holds an entry for each record.
const SEALS_WAITING_MAX: usize = 4;

/// While writers write, the helper that populates looks so often whether they need it, and so many times more when they
/// have stopped.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const LOOKS: u32 = 20;

/// A segment has room for so many commits like the one that did not fit into the last, up to the largest size.
const COMMITS_PER_SEGMENT: u64 = 4;

/// Segments grow up to this size however small the database is: making one takes some syncs.
const SMALL_SEGMENT_BYTES: u64 = 16 << 20;

impl Log {
    /// Makes room for a commit of this many bytes at the start of a new segment. Fails without a trace: the old
    /// segment stays the active one.
    pub(super) fn roll(&self, core: &mut Core, room: u64) -> Result<()> {
        let position = core.position();
        let needed = (room + HEADER_BYTES + 2 * SEGMENT_OVERHEAD_BYTES).next_multiple_of(4096);
        let taken = match core.active {
            Some(_) => self.successors.take(position.segment, needed),
            None => Err(Vec::new()),
        };
        let (new, unsuited) = match taken {
            Ok(new) => (new, Vec::new()),
            Err(unsuited) => self.create_now(core, room, needed, unsuited)?,
        };
        if let Some(active) = &mut core.active {
            let target = new.segment.id().0.to_le_bytes();
            let draft = Draft::notice(Kind::Roll, 0, &target);
            let mut notice = Notice { draft, numbering: Numbering::None };
            let stamp = Stamp { sequence: core.last_sequence, time_ms: core.last_time_ms };
            let written = write_commit(active, &mut core.scratch, None, &mut notice, stamp, Durability::Sync);
            written.map_err(|error| self.health.fail(error))?;
            active.segment.seal_at(active.tail);
            self.catalog.note_records(active.footer.records());
            core.unsynced.push(active.segment.clone());
        }
        // A segment for a very large commit is longer than addresses reach; what follows goes elsewhere.
        let limit = new.capacity.min(SEGMENT_BYTES_CEILING) - TRAILER_BYTES;
        let writer = new.writer.map_or(Writer::File, Writer::Mapped);
        let (path, capacity) = (new.segment.path.clone(), new.capacity);
        let old = core.active.replace(Active {
            segment: new.segment,
            writer,
            tail: HEADER_BYTES,
            limit,
            capacity: new.capacity,
            direct_from: 0,
            populate_at: HEADER_BYTES,
            ready_at: new.capacity - (new.capacity / 4).min(READY_BEFORE_BYTES),
            footer: FooterBuilder::default(),
        });
        let old = old.map(|old| (old.segment, old.footer));
        if self.has_helper
            && let Some(active) = &core.active
        {
            self.successors.want(Some(Plan {
                predecessor: active.segment.id(),
                last_sequence: core.last_sequence,
                time_ms: core.last_time_ms,
                capacity: self.next_capacity(Some(active), self.catalog.segment_bytes(), room),
            }));
            let mut requests = self.requests.lock();
            requests.seal.extend(old);
            requests.unused.extend(unsuited);
            requests.prepare = true;
            self.requested.notify_one();
        } else if let Some(old) = old {
            self.requests.lock().seal.push(old);
        }
        event!(DEBUG, "segment roll", path = &*path.to_string_lossy(), capacity = capacity);
        Ok(())
    }

    /// The segment to which the log rolls where none was made ahead for it, and those that were, of no use, for somebody
    /// who has time to remove them.
    #[cold]
    fn create_now(
        &self,
        core: &Core,
        room: u64,
        needed: u64,
        mut unsuited: Vec<NewSegment>,
    ) -> Result<(NewSegment, Vec<NewSegment>)> {
        let position = core.position();
        let total = self.catalog.segment_bytes();
        let end = if core.active.is_some() { 0 } else { position.offset };
        let wanted = match self.catalog.is_reserve_spent() {
            // For deletes, on a full disk: what upkeep has made room with is not for them.
            true => self.segment_bytes_min,
            false => self.next_capacity(core.active.as_ref(), total, room),
        };
        let mut plan = Plan {
            predecessor: position.segment,
            last_sequence: core.last_sequence,
            time_ms: core.last_time_ms,
            capacity: wanted.max(needed),
        };
        loop {
            match self.create(&plan, end, 0) {
                Ok(new) => return Ok((new, unsuited)),
                // They may hold what is missing.
                Err(_) if !unsuited.is_empty() && !self.health.is_failed() => {
                    self.remove(std::mem::take(&mut unsuited))
                }
                // On a disk that is nearly full a smaller segment may still fit.
                Err(Error::NoSpace { .. }) if plan.capacity > needed.max(SEGMENT_BYTES_FLOOR) => {
                    plan.capacity = (plan.capacity / 4).max(SEGMENT_BYTES_FLOOR).max(needed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn remove(&self, segments: Vec<NewSegment>) {
        segments.iter().for_each(|new| self.catalog.remove_segment(&new.segment));
    }

    /// Segments double, but each is a small part of the database: what is dead in one that is still written, and what
    /// is reserved and not written yet, are space that nobody can have back. `total` are the bytes of all segments, and
    /// `room` those of a commit: as many as fit whole into a segment are in it.
    fn next_capacity(&self, active: Option<&Active>, total: u64, room: u64) -> u64 {
        let wanted = match active {
            Some(active) => (active.capacity * 2).min((total / 16).max(SMALL_SEGMENT_BYTES)),
            // A database that is already large does not start small again at each opening.
            None => total / 16,
        };
        wanted
            .max(COMMITS_PER_SEGMENT * room)
            .clamp(self.segment_bytes_min, self.segment_bytes_max)
            .next_multiple_of(4096)
    }

    fn create(&self, plan: &Plan, predecessor_end: u64, cached: u64) -> Result<NewSegment> {
        // New documents are refused while there is still room to make room. Deletes go on without.
        if !self.catalog.has_room_for_segment() {
            return Err(Error::NoSpace { path: self.catalog.path.clone() });
        }
        self.catalog.create_segment(&SegmentPlan {
            kind: SegmentKind::Log,
            table: 0,
            // A lease or a roll record may come first, with the sequence of the commit before it.
            base_sequence: plan.last_sequence,
            base_time_ms: plan.time_ms,
            predecessor: plan.predecessor,
            predecessor_end,
            capacity: plan.capacity,
            cached,
        })
    }

    pub(super) fn request_populate(&self, active: &mut Active) {
        active.populate_at = active.tail + POPULATE_AHEAD_BYTES / 4;
        if self.has_helper {
            let mut requests = self.requests.lock();
            requests.populate = Some((active.segment.clone(), active.tail));
            // To wake it may make this thread wait until it has done all that it was woken for.
            if !requests.looks {
                self.memory_requested.notify_one();
            }
        }
    }

    /// The last part of the active segment has begun.
    pub(super) fn note_behind(&self, active: &mut Active) {
        active.ready_at = u64::MAX;
        self.successors.note_behind();
    }

    /// Called before each put, without locks: a writer that is about to come to a segment or to memory of the index
    /// that the helper has not made ready yet waits a little, or it would have to do the helper's work under locks.
    #[inline]
    pub(crate) fn pace(&self) {
        if self.is_behind() {
            self.wait_for_helper();
        }
    }

    /// Whether a writer is about to come to something that the helpers have not made ready yet.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.successors.is_behind() || memory::head_start().is_some()
    }

    #[cold]
    fn wait_for_helper(&self) {
        if !self.has_helper {
            return;
        }
        let head_start = memory::head_start();
        if head_start.is_some() && !self.memory_asked.swap(true, Ordering::Relaxed) {
            self.requests.lock().memory = true;
            self.memory_requested.notify_one();
        }
        if self.successors.is_behind() || head_start.is_some_and(|bytes| bytes < memory::HEAD_START_BYTES_MIN)
        {
            std::thread::sleep(WAIT_FOR_HELPER);
        }
    }

    /// The helper thread that makes and seals segments, until told to stop.
    pub(crate) fn run_helper(&self) {
        loop {
            let (seal, unused, prepare) = {
                let mut requests = self.requests.lock();
                loop {
                    if requests.stop {
                        return;
                    }
                    if requests.prepare || !requests.seal.is_empty() || !requests.unused.is_empty() {
                        break;
                    }
                    requests = self.requested.wait(requests);
                }
                // The most urgent first; sealing can wait.
                match std::mem::take(&mut requests.prepare) {
                    true => (None, Vec::new(), true),
                    false => (requests.seal.pop(), std::mem::take(&mut requests.unused), false),
                }
            };
            if prepare {
                let late = self.successors.make(|plan| {
                    self.catch_up();
                    self.prepare(plan)
                });
                self.requests.lock().unused.extend(late);
            }
            if let Some((segment, footer)) = seal {
                self.seal(&segment, footer);
            }
            self.remove(unused);
        }
    }

    /// The helper thread that has memory ready, of the active segment and of the index. The other one waits for the
    /// disk, and a writer fills some megabytes meanwhile.
    pub(crate) fn run_memory_helper(&self) {
        let mut populated = (SegmentId(0), 0);
        let mut looks: u32 = 0;
        loop {
            let (memory, populate) = {
                let mut requests = self.requests.lock();
                loop {
                    if requests.stop {
                        return;
                    }
                    if requests.memory || requests.populate.is_some() {
                        break;
                    }
                    requests.looks = looks > 0;
                    requests = match requests.looks {
                        true => self.memory_requested.wait_for(requests, LOOK_EVERY),
                        false => self.memory_requested.wait(requests),
                    };
                    looks = looks.saturating_sub(1);
                }
                (std::mem::take(&mut requests.memory), requests.populate.take())
            };
            looks = LOOKS;
            if memory {
                self.memory_asked.store(false, Ordering::Relaxed);
                memory::populate_ahead();
            }
            if let Some((segment, tail)) = populate {
                self.populate(&segment, tail, &mut populated);
            }
        }
    }

    fn populate(&self, segment: &Segment, tail: u64, populated: &mut (SegmentId, u64)) {
        let begin = tail / POPULATE_STEP_BYTES * POPULATE_STEP_BYTES;
        if populated.0 != segment.id() {
            *populated = (segment.id(), begin);
        }
        let target = tail + POPULATE_AHEAD_BYTES;
        let mut from = populated.1.max(begin);
        while from < target {
            // Behind a sealed segment's footer is a hole that must stay one.
            if segment.is_sealed() || !segment.populate(from, POPULATE_STEP_BYTES) {
                break;
            }
            from += POPULATE_STEP_BYTES;
        }
        populated.1 = from;
    }

    /// Seals and removes what has waited too long, while writers fill segments as fast as they are made.
    fn catch_up(&self) {
        loop {
            let (sealed, unused) = {
                let mut requests = self.requests.lock();
                if requests.seal.len() <= SEALS_WAITING_MAX {
                    return;
                }
                // The oldest: its records wait longest for their footer.
                (requests.seal.remove(0), std::mem::take(&mut requests.unused))
            };
            self.seal(&sealed.0, sealed.1);
            self.remove(unused);
        }
    }

    /// Makes a segment ahead of need. A failure shows when the log rolls.
    fn prepare(&self, plan: &Plan) -> Option<NewSegment> {
        if self.requests.lock().stop
            || self.catalog.is_reserve_spent()
            || self.health.check_writable().is_err()
        {
            return None;
        }
        // Before the writer touches anything: its own faults would make the system go on with small pages.
        self.create(plan, 0, POPULATE_AHEAD_BYTES).ok()
    }

    /// A helper has come to its end by itself: nobody is to wait for what it would have made ready.
    pub(crate) fn lose_helper(&self) {
        self.successors.give_up();
    }

    /// Ends the helpers.
    pub(crate) fn stop_helper(&self) {
        self.requests.lock().stop = true;
        self.requested.notify_all();
        self.memory_requested.notify_all();
    }

    /// At closing: seals everything that is waiting, and the active segment too.
    pub(crate) fn finish(&self) {
        self.remove(self.successors.end());
        self.remove(std::mem::take(&mut self.requests.lock().unused));
        self.seal_waiting();
        let active = {
            let mut core = self.lock_core();
            core.end = core.position();
            // Everything handed out is on stable storage, so nothing more need be held back.
            (core.lease, core.lease_written) = (core.next_sequence - 1, 0);
            core.active.take()
        };
        if let Some(active) = active {
            active.segment.seal_at(active.tail);
            self.seal(&active.segment, active.footer);
        }
    }

    /// Begins a new segment, so that everything written so far lies in sealed ones. For a full compaction.
    pub(crate) fn begin_segment(&self) -> Result<()> {
        {
            let mut core = self.lock_core();
            if core.closed {
                return Err(Error::Closed);
            }
            self.health.check_writable()?;
            let position = core.position();
            let is_empty = core.active.is_some() && position.offset == HEADER_BYTES;
            if position.segment == SegmentId::default() || is_empty {
                return Ok(());
            }
            self.ending_on_panic(|| self.roll(&mut core, 0))?;
        }
        self.seal_waiting();
        Ok(())
    }

    /// Seals the rolled segments that are still waiting for it.
    pub(crate) fn seal_waiting(&self) {
        loop {
            let Some((segment, footer)) = self.requests.lock().seal.pop() else {
                return;
            };
            self.seal(&segment, footer);
        }
    }

    /// Writes footer and trailer behind the records of a rolled segment and gives its unused space back. The
    /// footer only saves work, so a failure is let pass; but it is synced with the segment's next sync or never.
    fn seal(&self, segment: &Segment, footer: FooterBuilder) {
        if self.health.is_failed() {
            return;
        }
        let _ = crate::page::append_footer(segment, footer);
    }
}
