//! Scans of tables without order: sub-table by sub-table, each copied with the old versions of its keys under its
//! partition's lock, and then read without holding anything but the segments that it reads from.
//!
//! A view sees the newest record of a key, or one of its old versions, and never both: so the copies of the index and of
//! the history are gone through one after the other, and each record says itself whether it is the one. Most scans
//! read a sub-table in the order of the log. One that may be continued later reads it in the order of the places: of
//! the stretch that the index knows (31 bits) without reading, the rest by what stands in the records.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::item::hand_over;
use super::{ScanEntry, ScanItem, ScanOptions, entry_of};
use crate::epoch::{self, Guard};
use crate::error::Result;
use crate::format::record::Peek;
use crate::index::history::Old;
use crate::index::partition::SubTableCopy;
use crate::index::subtable::known_place;
use crate::segment::{Segment, SegmentDirectory};
use crate::table::{Found, Table, View};
use crate::types::Address;

/// How many records ahead an iteration has fetched from memory.
const PREFETCH_AHEAD: usize = 8;
/// How much it has the disk read ahead, where the system does not (`Catalog::expect_reads`).
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// Places that lie closer together are read in one go, with what is between them.
const READ_GAP_BYTES: u64 = 16 << 10;
const PAGE_BYTES: u64 = 4 << 10;
/// What is read of a record that stands alone: all of most.
const READ_RECORD_BYTES: u64 = 512;

/// A record that was copied from the index or from a history.
struct Waiting {
    address: Address,
    /// Its place among the segments of the sub-table.
    segment: u32,
    /// As much of the key's place as the index knows.
    known_place: u64,
    /// Whether it is an old version that the view is known to see, unless it has expired.
    is_old: bool,
}

/// What is left of a sub-table.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many of these the disk was asked for, and at how many it is asked again.
    asked: usize,
    ask_again_at: usize,
    /// Held until the next sub-table is copied.
    segments: Vec<Arc<Segment>>,
}

pub(super) struct Hashed {
    /// Where the next sub-table is; `None` behind the last.
    place: Option<u64>,
    queue: Queue,
    is_done: bool,
    /// The place and key behind which it goes on, where it goes by places.
    after: Option<(u64, Vec<u8>)>,
    is_by_places: bool,
    /// Entries of one known place that were read together, with their places.
    ready: VecDeque<(u64, Result<ScanEntry>)>,
    last_place: u64,
}

impl Queue {
    fn segment(&self, waiting: &Waiting) -> &Segment {
        &self.segments[waiting.segment as usize]
    }

    #[inline]
    fn pop(&mut self) -> Option<Waiting> {
        if self.asked <= self.ask_again_at && self.asked < self.waiting.len() {
            self.read_ahead();
        }
        self.asked = self.asked.saturating_sub(1);
        if let Some(ahead) = self.waiting.get(PREFETCH_AHEAD) {
            self.segment(ahead).prefetch(ahead.address.offset());
        }
        self.waiting.pop_front()
    }

    /// Has the disk read the next stretch of what is waiting.
    #[cold]
    fn read_ahead(&mut self) {
        let mut bytes = 0;
        let mut run: Option<(u32, u64, u64)> = None;
        for Waiting { segment, address, .. } in self.waiting.range(self.asked..) {
            let end = address.offset() + READ_RECORD_BYTES;
            run = match run {
                Some((of, start, old_end))
                    if of == *segment
                        && address.offset() >= start
                        && address.offset() <= old_end + READ_GAP_BYTES =>
                {
                    bytes += end.saturating_sub(old_end);
                    Some((of, start, end.max(old_end)))
                }
                other => {
                    self.read_run(other);
                    bytes += PAGE_BYTES;
                    Some((*segment, address.offset(), end))
                }
            };
            self.asked += 1;
            if bytes >= READ_AHEAD_BYTES {
                break;
            }
        }
        self.read_run(run);
        self.ask_again_at = self.asked / 2;
    }

    fn read_run(&self, run: Option<(u32, u64, u64)>) {
        if let Some((segment, start, end)) = run
            && let Some(map) = self.segments[segment as usize].random_map()
        {
            map.read_ahead(start, end);
        }
    }
}

impl Hashed {
    pub(super) fn in_any_order() -> Hashed {
        Hashed {
            place: Some(0),
            queue: Queue::default(),
            is_done: false,
            after: None,
            is_by_places: false,
            ready: VecDeque::new(),
            last_place: 0,
        }
    }

    /// In the order of places and keys, from behind one of them.
    pub(super) fn by_places(after: Option<(u64, Vec<u8>)>) -> Hashed {
        let place = Some(after.as_ref().map_or(0, |(place, _)| *place));
        Hashed { after, place, is_by_places: true, ..Hashed::in_any_order() }
    }

    pub(super) fn is_by_places(&self) -> bool {
        self.is_by_places
    }

    /// Of the entry that was handed out last.
    pub(super) fn last_place(&self) -> u64 {
        self.last_place
    }

    pub(super) fn next(
        &mut self,
        table: &Table,
        view: &View,
        options: &ScanOptions,
    ) -> Option<Result<ScanEntry>> {
        loop {
            if let Some((place, entry)) = self.ready.pop_front() {
                self.last_place = place;
                return Some(entry);
            }
            if let Some(first) = self.queue.pop() {
                self.read(&first, table, view, options);
                while self.is_by_places
                    && self.queue.waiting.front().is_some_and(|next| next.known_place == first.known_place)
                {
                    if let Some(next) = self.queue.pop() {
                        self.read(&next, table, view, options);
                    }
                }
                self.order();
                continue;
            }
            if self.is_done {
                return None;
            }
            if let Err(error) = self.fill(table, view) {
                self.is_done = true;
                return Some(Err(error));
            }
        }
    }

    /// Brings what was read for one known place in order, and leaves out what came before.
    fn order(&mut self) {
        if !self.is_by_places {
            return;
        }
        let position = |(place, entry): &(u64, Result<ScanEntry>)| {
            (*place, entry.as_ref().map(|entry| entry.key.clone()).unwrap_or_default())
        };
        if self.ready.len() > 1 {
            self.ready.make_contiguous().sort_by_key(position);
        }
        if let Some(after) = &self.after {
            self.ready.retain(|ready| ready.1.is_err() || position(ready) > *after);
        }
    }

    fn read(&mut self, waiting: &Waiting, table: &Table, view: &View, options: &ScanOptions) {
        let guard = epoch::pin();
        let segment = self.queue.segment(waiting);
        let read = |record: &Peek<'_>| -> Result<Option<(u64, ScanEntry)>> {
            let found = Found::new(*record, waiting.address, segment, &guard);
            if !is_visible(&found, waiting, view)? || !options.admits(record.key) {
                return Ok(None);
            }
            let place = if self.is_by_places { table.place_of_key(record.key)? } else { 0 };
            Ok(entry_of(table, &found, options)?.map(|entry| (place, entry)))
        };
        let verify = table.inner.options.verify_checksums;
        let outcome = segment.peek(waiting.address.offset(), verify, read);
        match outcome.and_then(|read| read) {
            Ok(Some((place, entry))) => self.ready.push_back((place, Ok(entry))),
            Ok(None) => {}
            Err(error) => self.ready.push_back((waiting.known_place, Err(error))),
        }
    }

    /// Goes on in any order, until `f` breaks off: see [`crate::Scan::visit`].
    pub(super) fn visit(
        &mut self,
        table: &Table,
        view: &View,
        options: &ScanOptions,
        f: &mut impl FnMut(&ScanItem<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        // What was read for calls of the other kind.
        while let Some((_, entry)) = self.ready.pop_front() {
            if f(&ScanItem::of(&entry?)).is_break() {
                return Ok(true);
            }
        }
        let verify = table.inner.options.verify_checksums;
        while !self.is_done {
            table.inner.health.check_open()?;
            let guard = epoch::pin();
            while let Some(next) = self.queue.pop() {
                let segment = self.queue.segment(&next);
                let flow = segment.peek(next.address.offset(), verify, |record| {
                    let found = Found::new(*record, next.address, segment, &guard);
                    if !is_visible(&found, &next, view)? || !options.admits(record.key) {
                        return Ok(ControlFlow::Continue(()));
                    }
                    Ok(hand_over(table, &found, options, &mut *f)?.unwrap_or(ControlFlow::Continue(())))
                })??;
                if flow.is_break() {
                    return Ok(true);
                }
            }
            self.fill(table, view)?;
        }
        Ok(false)
    }

    /// Copies the next sub-table.
    fn fill(&mut self, table: &Table, view: &View) -> Result<()> {
        let index = &table.core.index;
        let Some(place) = self.place else {
            self.is_done = true;
            return Ok(());
        };
        let history = index.history(place);
        let mut times = 0;
        loop {
            let guard = epoch::pin();
            let mut olds = Vec::new();
            let copy = index.copy_with(place, |places| {
                history.for_each_in(places, |id, old| olds.push((id.place, *old)));
            })?;
            if !self.collect(&copy, &olds, table, view, &guard) {
                table.inner.catalog.look_again(&mut times)?;
                continue;
            }
            self.place = copy.next_place;
            return Ok(());
        }
    }

    /// Holds the segments of what was copied. False if one of them has gone since.
    fn collect(
        &mut self,
        copy: &SubTableCopy,
        olds: &[OldAt],
        table: &Table,
        view: &View,
        guard: &Guard,
    ) -> bool {
        let olds = olds.iter().filter(|(_, old)| !old.is_tombstone && old.covers(view.sequence));
        let directory = &table.inner.catalog.directory;
        self.queue.segments.clear();
        let mut segments =
            Segments { directory, guard, list: &mut self.queue.segments, last: None, others: HashMap::new() };
        let waiting = &mut self.queue.waiting;
        let mut push = |address: Address, known_place: u64, is_old: bool| {
            let segment = segments.number(address.ordinal())?;
            waiting.push_back(Waiting { address, segment, known_place, is_old });
            Some(())
        };
        let are_there = if self.is_by_places {
            let after = known_place(self.after.as_ref().map_or(0, |(place, _)| *place));
            let newest = copy
                .entries
                .iter()
                .map(|entry| (entry.known_place(copy.depth, copy.prefix), entry.address(), false));
            let olds = olds.map(|(place, old)| (known_place(*place), old.address, true));
            let mut records: Vec<_> = newest.chain(olds).filter(|(place, ..)| *place >= after).collect();
            records.sort_unstable();
            records.into_iter().try_for_each(|(place, address, is_old)| push(address, place, is_old))
        } else {
            // Sorted as plain numbers: there are many.
            let newest = copy.entries.iter().map(|entry| entry.address().bits() << 1);
            let olds = olds.map(|(_, old)| old.address.bits() << 1 | 1);
            let mut records: Vec<u64> = newest.chain(olds).collect();
            records.sort_unstable();
            records.into_iter().try_for_each(|bits| push(Address::from_bits(bits >> 1), 0, bits & 1 == 1))
        };
        if are_there.is_none() {
            self.queue.waiting.clear();
        }
        are_there.is_some()
    }
}

/// The segments of a copy, each looked up once.
struct Segments<'a> {
    directory: &'a SegmentDirectory,
    guard: &'a Guard,
    list: &'a mut Vec<Arc<Segment>>,
    /// The place in the list of an ordinal that was looked up.
    last: Option<(u16, u32)>,
    others: HashMap<u16, u32>,
}

impl Segments<'_> {
    #[inline]
    fn number(&mut self, ordinal: u16) -> Option<u32> {
        match self.last {
            Some((last, number)) if last == ordinal => Some(number),
            _ => self.find(ordinal),
        }
    }

    fn find(&mut self, ordinal: u16) -> Option<u32> {
        let number = match self.others.get(&ordinal) {
            Some(number) => *number,
            None => {
                self.list.push(self.directory.get_arc(ordinal, self.guard)?);
                let number = self.list.len() as u32 - 1;
                self.others.insert(ordinal, number);
                number
            }
        };
        self.last = Some((ordinal, number));
        Some(number)
    }
}

/// An old version with the place of its key.
type OldAt = (u64, Old);

fn is_visible(found: &Found<'_>, waiting: &Waiting, view: &View) -> Result<bool> {
    if waiting.is_old {
        return Ok(found.record.expiry_ms.is_none_or(|expiry_ms| expiry_ms > view.time_ms));
    }
    found.is_seen_by(view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Options, TableOptions};

    /// Close neighbours, far ones, and records of many pages.
    #[test]
    fn everything_is_seen_where_the_system_reads_nothing_ahead() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
        let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
        for number in 0..20_000_u32 {
            let length = if number % 1_000 == 0 { 40_000 } else { 100 };
            let value: Vec<u8> = (0..length).map(|at: u32| (number ^ at.wrapping_mul(at)) as u8).collect();
            table.put(&number.to_be_bytes(), &value).expect("put");
        }
        for settled in [false, true] {
            if settled {
                database.compact().expect("compacted");
            }
            let segments = table.inner.catalog.segments();
            segments.iter().for_each(|segment| segment.expect_random(true));
            let mut keys: Vec<Vec<u8>> = table.iter().map(|pair| pair.expect("a pair").0).collect();
            let mut seen = 0;
            let visit = |key: &[u8], value: &[u8]| {
                seen += 1;
                assert_eq!(table.get(key).expect("read").as_deref(), Some(value));
                ControlFlow::Continue(())
            };
            table.for_each(visit).expect("scanned");
            keys.sort_unstable();
            keys.dedup();
            assert_eq!((keys.len(), seen), (20_000, 20_000));
        }
        database.close().expect("closed");
    }
}
