//! What replayed records do to the index.
//!
//! Keys are dealt out by their partitions, so that what the log says of one key is applied in its order, whoever applies it.
//! With a long log each of those who do is a thread of its own: looking keys up waits for memory, and reading the log and
//! verifying its checksums goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::Opener;
use crate::epoch;
use crate::error::{Error, Result};
use crate::format::record::{ExtentRef, Hint, Kind, Record};
use crate::index::history::{ChainId, Newest, Old};
use crate::index::subtable::{Candidates, First};
use crate::log::LogPosition;
use crate::options::Retention;
use crate::segment::Segment;
use crate::sync::available_threads;
use crate::tables::TableCore;
use crate::types::{Address, SegmentId};

/// The record of a large value that is not whole.
pub(super) struct Broken {
    pub(super) sequence: u64,
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
}

/// What a record of a key says.
pub(super) struct Change {
    pub(super) place: u64,
    offset: u64,
    pub(super) sequence: u64,
    time_ms: u64,
    /// What the record takes in its segment.
    padded: u64,
    table: u32,
    kind: Kind,
    new_key: bool,
    hint: Option<Hint>,
    extent: Option<Box<ExtentRef>>,
    key_bytes: usize,
}

/// Changes of one segment, in the order of the log.
#[derive(Default)]
struct Share {
    segment: Option<Arc<Segment>>,
    changes: Vec<Change>,
    /// One behind the other.
    keys: Vec<u8>,
}

/// How many changes are handed over at once: waking a thread up takes as long as applying some tens.
const SHARE_CHANGES: usize = 1024;
/// Or fewer, whose keys are so long.
const SHARE_KEY_BYTES: usize = 128 << 10;
/// How many shares may wait for a thread.
const SHARES_WAITING_MAX: usize = 8;
/// What so many changes will read is fetched from memory at the same time.
const TOUCHED_AT_ONCE: usize = 64;
/// Shorter logs are not worth threads. Tests are to have them.
const THREADS_FROM_CHANGES: usize = if cfg!(debug_assertions) { 64 } else { 512 };
/// More could not be fed by the one that reads the log.
const LANES_MAX: usize = 4;

/// Those who apply what the log says.
pub(super) struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    lanes: Vec<Lane<'scope, 'env>>,
    segment: Option<Arc<Segment>>,
    handed: usize,
}

struct Lane<'scope, 'env> {
    share: Share,
    hand: Hand<'scope, 'env>,
}

enum Hand<'scope, 'env> {
    Here(Applier<'env>),
    Away(Away<'scope, 'env>),
}

struct Away<'scope, 'env> {
    shares: SyncSender<Share>,
    /// Those that were applied, to be filled again.
    empty: Receiver<Share>,
    thread: ScopedJoinHandle<'scope, Option<Applier<'env>>>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, opener: &'env Opener, fuzzy_end: u64) -> Self {
        let lanes = opener.options.opening_threads.unwrap_or_else(available_threads).clamp(1, LANES_MAX);
        let lane = |_| Lane { share: Share::default(), hand: Hand::Here(Applier::new(opener, fuzzy_end)) };
        Crew { scope, lanes: (0..lanes).map(lane).collect(), segment: None, handed: 0 }
    }

    /// What follows lies in this segment.
    pub(super) fn go_to(&mut self, segment: &Arc<Segment>) -> Result<()> {
        if self.segment.as_ref().is_none_or(|now| now.id() != segment.id()) {
            self.flush()?;
            self.segment = Some(segment.clone());
        }
        Ok(())
    }

    /// Has what a record says of its key applied, now or later.
    ///
    /// # Errors
    /// Somebody has failed with what came before; [`Crew::finish`] tells how.
    pub(super) fn hand(
        &mut self,
        table: &TableCore,
        place: u64,
        offset: u64,
        record: &Record<'_>,
    ) -> Result<()> {
        let number =
            (table.index.number_of(place) as usize).wrapping_add(table.id as usize) % self.lanes.len();
        let lane = &mut self.lanes[number];
        let share = &mut lane.share;
        share.changes.push(Change::new(place, offset, record));
        share.keys.extend_from_slice(record.key);
        let is_full = share.changes.len() >= SHARE_CHANGES || share.keys.len() >= SHARE_KEY_BYTES;
        self.handed += 1;
        if self.handed == THREADS_FROM_CHANGES {
            self.begin();
        }
        if is_full { self.flush_lane(number) } else { Ok(()) }
    }

    /// Gives each lane a thread of its own, if there is more than one, and as far as threads can be begun.
    fn begin(&mut self) {
        if self.lanes.len() > 1 {
            let lanes = std::mem::take(&mut self.lanes).into_iter();
            self.lanes =
                lanes.map(|Lane { share, hand }| Lane { share, hand: hand.away(self.scope) }).collect();
        }
    }

    fn flush(&mut self) -> Result<()> {
        (0..self.lanes.len()).try_for_each(|number| self.flush_lane(number))
    }

    fn flush_lane(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        if lane.share.changes.is_empty() {
            return Ok(());
        }
        lane.share.segment.clone_from(&self.segment);
        let is_well = match &mut lane.hand {
            Hand::Here(applier) => {
                let is_well = applier.apply(&lane.share);
                lane.share.clear();
                is_well
            }
            Hand::Away(away) => {
                let next = away.empty.try_recv().unwrap_or_default();
                away.shares.send(std::mem::replace(&mut lane.share, next)).is_ok()
            }
        };
        // Who asks what has failed is told of the first in the log.
        if is_well { Ok(()) } else { Err(Error::Closed) }
    }

    /// Waits until everything is applied.
    ///
    /// # Errors
    /// The first failure in the order of the log.
    pub(super) fn finish(mut self) -> Result<Applied> {
        let mut applied = Applied::default();
        let mut failures = Vec::new();
        // All of them, also where one has failed.
        for number in 0..self.lanes.len() {
            let _ = self.flush_lane(number);
        }
        for lane in self.lanes {
            let applier = match lane.hand {
                Hand::Here(applier) => Some(applier),
                Hand::Away(Away { shares, empty, thread }) => {
                    drop((shares, empty));
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                }
            };
            let Some(applier) = applier else { continue };
            failures.extend(applier.failed);
            applied.broken.extend(applier.broken);
            applied.extents.extend(applier.extents);
        }
        if let Some((_, error)) = failures.into_iter().min_by_key(|(place, _)| *place) {
            return Err(error);
        }
        applied.extents.sort_unstable_by_key(|(place, _)| *place);
        Ok(applied)
    }
}

impl<'scope, 'env> Hand<'scope, 'env> {
    fn away(self, scope: &'scope Scope<'scope, 'env>) -> Self {
        let Hand::Here(applier) = self else { return self };
        let (begin, begun) = sync_channel(1);
        let (shares, waiting) = sync_channel(SHARES_WAITING_MAX);
        let (applied, empty) = sync_channel(SHARES_WAITING_MAX);
        let work = move || work(&begun, &waiting, &applied);
        match Builder::new().name("atomkv-open".to_string()).spawn_scoped(scope, work) {
            Ok(thread) => match begin.send(applier) {
                Ok(()) => Hand::Away(Away { shares, empty, thread }),
                Err(back) => Hand::Here(back.0),
            },
            Err(_) => Hand::Here(applier),
        }
    }
}

fn work<'env>(
    begun: &Receiver<Applier<'env>>,
    shares: &Receiver<Share>,
    applied: &SyncSender<Share>,
) -> Option<Applier<'env>> {
    let mut applier = begun.recv().ok()?;
    while let Ok(mut share) = shares.recv() {
        if !applier.apply(&share) {
            break;
        }
        share.clear();
        let _ = applied.try_send(share);
    }
    Some(applier)
}

/// What applying has found out.
#[derive(Default)]
pub(super) struct Applied {
    /// Large values that the index points to and that are not whole.
    pub(super) broken: BTreeMap<u64, Broken>,
    /// Large values of replayed commits, in the order of the log.
    pub(super) extents: Vec<(LogPosition, ExtentRef)>,
}

impl Share {
    fn clear(&mut self) {
        self.segment = None;
        self.changes.clear();
        self.keys.clear();
    }
}

impl Change {
    fn new(place: u64, offset: u64, record: &Record<'_>) -> Change {
        let header = &record.header;
        let extent = if header.kind == Kind::Extent { ExtentRef::decode(record.value) } else { None };
        Change {
            place,
            offset,
            sequence: header.sequence,
            time_ms: header.time_ms,
            padded: record.layout.padded(),
            table: header.table,
            kind: header.kind,
            new_key: header.new_key,
            hint: header.hint,
            extent: extent.map(Box::new),
            key_bytes: record.key.len(),
        }
    }
}

/// Applies what the log says of some of the keys.
struct Applier<'a> {
    opener: &'a Opener,
    fuzzy_end: u64,
    /// The table of the last change.
    table: Option<Arc<TableCore>>,
    found: Candidates,
    broken: BTreeMap<u64, Broken>,
    extents: Vec<(LogPosition, ExtentRef)>,
    failed: Option<(LogPosition, Error)>,
}

impl<'a> Applier<'a> {
    fn new(opener: &'a Opener, fuzzy_end: u64) -> Applier<'a> {
        Applier {
            opener,
            fuzzy_end,
            table: None,
            found: Candidates::default(),
            broken: BTreeMap::new(),
            extents: Vec::new(),
            failed: None,
        }
    }

    /// False if this or something before has failed: then nothing more is applied.
    fn apply(&mut self, share: &Share) -> bool {
        let Some(segment) = share.segment.as_deref().filter(|_| self.failed.is_none()) else { return false };
        let mut keys = share.keys.as_slice();
        let mut born = 0;
        for (number, change) in share.changes.iter().enumerate() {
            if number % TOUCHED_AT_ONCE == 0 {
                self.touch(share.changes[number..].iter().take(TOUCHED_AT_ONCE));
            }
            let (key, rest) = keys.split_at(change.key_bytes);
            keys = rest;
            match self.change(segment, change, key) {
                Ok(bytes) => born += bytes,
                Err(error) => {
                    let place = LogPosition { segment: segment.id(), offset: change.offset };
                    self.failed = Some((place, error));
                    return false;
                }
            }
        }
        segment.add_born_by_many(born);
        // Nobody else does while a database is being opened.
        epoch::collect_if_due();
        true
    }

    /// The table of a change; most often the one of the change before it.
    fn table(&mut self, id: u32) -> Option<&Arc<TableCore>> {
        if self.table.as_ref().is_none_or(|table| table.id != id) {
            self.table = self.opener.tables.by_id(id);
        }
        self.table.as_ref()
    }

    /// Whether the image may have the record already.
    fn is_fuzzy(&self, change: &Change) -> bool {
        change.sequence <= self.fuzzy_end
    }

    /// Whether the key must be looked for, whatever the record says of the one before it.
    fn is_careful(&self, change: &Change) -> bool {
        // Where commits were left out, what is said of them may not be so.
        self.is_fuzzy(change) || self.opener.options.skip_damaged_log
    }

    /// Has everything that applying these changes will read fetched from memory at once, not one after the other.
    fn touch<'c>(&mut self, changes: impl Iterator<Item = &'c Change> + Clone) {
        let guard = epoch::pin();
        for change in changes.clone() {
            if let Some(table) = self.table(change.table) {
                table.index.touch(change.place, &guard);
            }
        }
        for change in changes {
            if self.is_careful(change)
                && let Some(table) = self.table(change.table)
                && let Some(First { address: Some(address), .. }) =
                    table.index.first_at_once(change.place, &guard)
                && let Some(segment) = self.opener.catalog.directory.get(address.ordinal(), &guard)
            {
                segment.prefetch(address.offset());
            }
        }
    }

    /// Applies a change. Returns how many bytes became live with it in its segment.
    fn change(&mut self, segment: &Segment, change: &Change, key: &[u8]) -> Result<u64> {
        let opener = self.opener;
        let (place, kind, sequence) = (change.place, change.kind, change.sequence);
        let address = segment.address(change.offset);
        let Some(table) = self.table(change.table).cloned() else {
            return Err(no_table(segment, change.offset, change.table));
        };
        let fuzzy = self.is_fuzzy(change);
        let current = self.current(&table, change, key)?;
        if let Some(current) = &current
            && current.sequence >= sequence
        {
            // The image had it already.
            return Ok(0);
        }
        let guard = epoch::pin();
        let lock = table.index.lock(place, &guard);
        match (&current, kind) {
            (Some(current), Kind::Tombstone) => {
                lock.prepare(place)?;
                lock.remove(place, current.address);
            }
            (Some(current), _) => {
                lock.prepare(place)?;
                lock.replace(place, current.address, address);
            }
            (None, Kind::Tombstone) => {}
            (None, _) => {
                if !lock.insert_later(place, address) {
                    lock.prepare(place)?;
                    lock.insert(place, address);
                }
            }
        }
        drop(lock);
        // What follows may read long files: what others replace meanwhile is to go.
        drop(guard);
        let keeps_history = table.keeps_history();
        if keeps_history {
            self.note_history(&table, change, key, address, current.as_ref());
        }
        if let Some(extent) = change.extent.as_deref() {
            opener.extents.note_live(extent);
            let (segment, offset) = (segment.id(), change.offset);
            self.extents.push((LogPosition { segment, offset }, *extent));
            if !opener.extents.is_whole(extent)? {
                self.broken.insert(extent.id, Broken { sequence, segment, offset });
            }
        }
        let born = if fuzzy || kind == Kind::Tombstone { 0 } else { change.padded };
        let Some(current) = current else { return Ok(born) };
        if let Some(extent) = current.extent.as_ref().filter(|_| !keeps_history) {
            opener.extents.note_dead(extent.id, 0);
            self.broken.remove(&extent.id);
        }
        if !fuzzy && !keeps_history {
            opener.note_dead(current.address, current.length);
        }
        Ok(born)
    }

    /// Keeps the history of a key as the commit did. What the image has of it already stays as it is.
    fn note_history(
        &mut self,
        table: &TableCore,
        change: &Change,
        key: &[u8],
        address: Address,
        current: Option<&Current>,
    ) {
        let Change { place, sequence, time_ms, kind, .. } = *change;
        let id = ChainId { place, check: table.check(key) };
        let history = table.index.history(place);
        let old = |sequence, end, address, length| Old {
            sequence,
            end,
            end_time_ms: time_ms,
            address,
            length,
            extent: None,
            is_tombstone: false,
            is_counted: true,
            is_kept: true,
            is_pinned: false,
        };
        let is_there = kind != Kind::Tombstone;
        if let Some(current) = current {
            let extent = current.extent.map(|extent| extent.id);
            // Where a large value of an old version has gone, the version's time was over before the end.
            let has_gone = matches!(table.retention(), Retention::Duration(_))
                && extent.is_some_and(|extent| self.broken.remove(&extent).is_some());
            if has_gone {
                extent.iter().for_each(|extent| self.opener.extents.note_dead(*extent, 0));
            } else {
                let replaced = old(current.sequence, sequence, current.address, current.length);
                history.push(id, Old { extent, ..replaced });
            }
        } else if is_there {
            history.end_tombstone(id, sequence, time_ms);
        }
        if !is_there {
            let tombstone = old(sequence, Old::NEWEST, address, change.padded);
            history.push(id, Old { is_tombstone: true, is_counted: false, ..tombstone });
        }
        let fuzzy = self.is_fuzzy(change);
        let (opener, broken) = (self.opener, &mut self.broken);
        history.trim(id, table.retention(), Newest::new(sequence, is_there), time_ms, |old| {
            if old.is_counted && !fuzzy {
                opener.note_dead(old.address, old.length);
            }
            if let Some(extent) = old.extent {
                opener.extents.note_dead(extent, 0);
                broken.remove(&extent);
            }
        });
    }

    /// What the index points to for the key, reading as little as can be.
    fn current(&mut self, table: &TableCore, change: &Change, key: &[u8]) -> Result<Option<Current>> {
        let careful = self.is_careful(change);
        if !careful && change.new_key && change.kind != Kind::Tombstone {
            return Ok(None);
        }
        let wants_sequence = table.keeps_history();
        if let Some(hint) = change.hint.filter(|hint| !careful && !hint.extent && !wants_sequence) {
            let guard = epoch::pin();
            table.index.find(change.place, &guard, &mut self.found)?;
            if self.found.contains(hint.address) {
                let (address, length) = (hint.address, hint.length);
                return Ok(Some(Current { address, sequence: 0, length, extent: None }));
            }
        }
        self.same_key(table, change, key)
    }

    /// The record that the index points to for the key of one that is replayed.
    fn same_key(&mut self, table: &TableCore, replayed: &Change, key: &[u8]) -> Result<Option<Current>> {
        let guard = epoch::pin();
        table.index.find(replayed.place, &guard, &mut self.found)?;
        for address in self.found.iter() {
            let current = |record: &Record<'_>| {
                let extent = (record.header.kind == Kind::Extent).then(|| ExtentRef::decode(record.value));
                (record.key == key).then_some(Current {
                    address,
                    sequence: record.header.sequence,
                    length: record.layout.padded(),
                    extent: extent.flatten(),
                })
            };
            let current = match self.opener.catalog.directory.get(address.ordinal(), &guard) {
                Some(segment) => match segment.with_record(address.offset(), true, current) {
                    Err(error @ Error::Corrupt { .. }) => {
                        Some(overwritten_damage(segment, table, address, replayed, key).ok_or(error)?)
                    }
                    outcome => outcome?,
                },
                None => self.with_record_ahead(address, current)?,
            };
            if current.is_some() {
                return Ok(current);
            }
        }
        Ok(None)
    }

    /// Reads a record in a log segment that the replay has not reached yet: an image that was written while the log
    /// rolled points there. A segment that was begun and lost may have the same ordinal: the newest is the right one, and an
    /// older one is only looked at for want of an intact record there.
    fn with_record_ahead<R>(&self, address: Address, f: impl Fn(&Record<'_>) -> R) -> Result<R> {
        let mut failed = None;
        for segment in self.opener.log_segments.values().rev() {
            if segment.header.ordinal == address.ordinal() {
                match segment.with_record(address.offset(), true, &f) {
                    Ok(result) => return Ok(result),
                    Err(error) => failed = Some(error),
                }
            }
        }
        Err(failed.unwrap_or_else(|| self.opener.dangling(address)))
    }
}

/// The record that the index points to for a key.
struct Current {
    address: Address,
    sequence: u64,
    length: u64,
    extent: Option<ExtentRef>,
}

/// A damaged record of the very key that is replayed: the commit replaced it in spite of that, so replay does. Of what it
/// says as little is believed as can be: not that it is the newer one, for then the log itself were damaged where it lies,
/// and not which file holds its value.
fn overwritten_damage(
    segment: &Segment,
    table: &TableCore,
    address: Address,
    replayed: &Change,
    key: &[u8],
) -> Option<Current> {
    let damaged = segment.with_record(address.offset(), false, |record| {
        (record.key == key && record.header.table == table.id).then(|| Current {
            address,
            sequence: record.header.sequence.min(replayed.sequence.saturating_sub(1)),
            length: record.layout.padded(),
            extent: None,
        })
    });
    damaged.ok().flatten()
}

/// A record of a table that is not there.
pub(super) fn no_table(segment: &Segment, offset: u64, table: u32) -> Error {
    let detail = format!("a record of table {table}, which was never created");
    Error::corrupt(&segment.path, offset, detail)
}
