//! Putting the index together from the segments, because no checkpoint's image was usable: the newest record of each
//! key wins, by sequence, and a tombstone removes what is older. Damaged records cost the keys that they may have been
//! written for, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Opener;
use crate::epoch;
use crate::error::{Error, Result};
use crate::format::record::{ExtentRef, Kind};
use crate::format::segment::SegmentKind;
use crate::index::history::{ChainId, Newest, Old};
use crate::index::ordered::OrderedIndex;
use crate::index::subtable::{Candidates, known_place};
use crate::page;
use crate::segment::Segment;
use crate::tables::TableCore;
use crate::types::{Address, SegmentId};

impl Opener {
    /// Puts the index together from the segments, because no image was usable: the newest record of each key wins,
    /// by sequence, and a tombstone removes what is older. Returns the time of the last commit, as far as the log still
    /// tells.
    pub(super) fn rebuild(&self) -> Result<u64> {
        let mut tombstones = Vec::new();
        for segment in self.sources() {
            for entry in page::entries(&segment, &self.tables)? {
                let Some(table) = self.tables.by_id(entry.table).filter(|_| entry.kind.has_place()) else {
                    continue;
                };
                let address = segment.address(entry.offset);
                if entry.kind == Kind::Tombstone {
                    tombstones.push((table, entry.place, segment.clone(), address));
                } else {
                    self.insert_newest(&table, entry.place, &segment, address)?;
                }
                // Nobody else does while a database is being opened, and what a growing index outgrows is much.
                epoch::collect_if_due();
            }
        }
        for (table, place, segment, address) in tombstones {
            self.apply_tombstone(&table, place, &segment, address)?;
            epoch::collect_if_due();
        }
        self.rebuild_orders()?;
        self.rebuild_histories()?;
        self.recount()?;
        self.last_time_ms()
    }

    /// The segments whose records count.
    fn sources(&self) -> Vec<Arc<Segment>> {
        let mut segments = self.catalog.segments();
        segments.retain(|segment| !self.behind_end.contains(&segment.id()));
        segments
    }

    /// The time of the last record in the log, or an earlier one of which it is known that it has passed: what has
    /// expired by then must not come back with a clock that was set back.
    fn last_time_ms(&self) -> Result<u64> {
        let mut last_ms = 0;
        for segment in self.sources() {
            last_ms = last_ms.max(segment.header.base_time_ms);
            if segment.header.kind != SegmentKind::Log {
                continue;
            }
            let Some(last) = page::entries(&segment, &self.tables)?.last().map(|entry| entry.offset) else {
                continue;
            };
            match segment.with_record(last, true, |record| record.header.time_ms) {
                Ok(time_ms) => last_ms = last_ms.max(time_ms),
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(last_ms)
    }

    /// Puts the ordered indexes together from the keys that the index points to.
    fn rebuild_orders(&self) -> Result<()> {
        for table in self.tables.all() {
            let Some(order) = &table.ordered else { continue };
            let mut keys = Vec::new();
            let mut place = Some(0);
            while let Some(at) = place {
                let copy = table.index.copy_from(at)?;
                for entry in &copy.entries {
                    let known = entry.known_place(copy.depth, copy.prefix);
                    keys.extend(self.key_at(&table, entry.address(), known)?);
                }
                place = copy.next_place;
            }
            keys.sort_unstable();
            keys.dedup();
            if let Some(index) = OrderedIndex::from_sorted(keys.iter().map(Vec::as_slice)) {
                order.set(index);
            }
        }
        Ok(())
    }

    /// The key of an entry of the index. Of a damaged record the key counts if it belongs to the entry: whoever
    /// overwrites the document takes it for one whose key is in the order already.
    fn key_at(&self, table: &TableCore, address: Address, known: u64) -> Result<Option<Vec<u8>>> {
        let guard = epoch::pin();
        let Some(segment) = self.catalog.directory.get(address.ordinal(), &guard) else {
            return Err(self.dangling(address));
        };
        match segment.with_record(address.offset(), true, |record| record.key.to_vec()) {
            Ok(key) => Ok(Some(key)),
            Err(Error::Corrupt { .. }) => {
                let damaged = segment.with_record(address.offset(), false, |record| {
                    let is_its_own = record.header.table == table.id
                        && table.place_of(record).map(known_place) == Some(known);
                    is_its_own.then(|| record.key.to_vec())
                });
                Ok(damaged.ok().flatten())
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the histories together: all records of the keys of tables that keep one, as far as their retention goes.
    /// Damaged ones stand wherever they may have stood, so that they are reported and not passed over.
    fn rebuild_histories(&self) -> Result<()> {
        if !self.tables.all().iter().any(|table| table.keeps_history()) {
            return Ok(());
        }
        let mut chains: BTreeMap<(u32, ChainId), Vec<Old>> = BTreeMap::new();
        let mut damaged = Vec::new();
        for segment in self.sources() {
            let mut before: Vec<((u32, u64), DamagedOld)> = Vec::new();
            let (least, most) = sequences_of(&segment);
            let mut sequences = if least <= most { (least, most) } else { (0, u64::MAX) };
            for entry in page::entries(&segment, &self.tables)? {
                let table = self.tables.by_id(entry.table).filter(|_| entry.kind.has_place());
                let Some(table) = table.filter(|table| table.keeps_history()) else { continue };
                let version = segment.with_record(entry.offset, true, |record| {
                    let id = ChainId { place: entry.place, check: table.check(record.key) };
                    let extent = ExtentRef::decode(record.value).filter(|_| entry.kind == Kind::Extent);
                    let old = Old {
                        sequence: record.header.sequence,
                        end: Old::NEWEST,
                        end_time_ms: record.header.time_ms,
                        address: segment.address(entry.offset),
                        length: entry.length,
                        extent: extent.map(|extent| extent.id),
                        is_tombstone: entry.kind == Kind::Tombstone,
                        is_counted: true,
                        is_kept: true,
                        is_pinned: false,
                    };
                    (id, old)
                });
                match version {
                    Ok((id, old)) => {
                        if segment.header.kind == SegmentKind::Log {
                            // There sequences rise.
                            sequences.0 = old.sequence;
                            before.iter_mut().for_each(|(_, damaged)| damaged.sequences.1 = old.sequence);
                            damaged.append(&mut before);
                        }
                        chains.entry((table.id, id)).or_default().push(old);
                    }
                    Err(Error::Corrupt { .. }) => {
                        let address = segment.address(entry.offset);
                        let old = DamagedOld { address, length: entry.length, sequences };
                        before.push(((table.id, entry.place), old));
                    }
                    Err(error) => return Err(error),
                }
            }
            damaged.append(&mut before);
        }
        let mut by_place: BTreeMap<(u32, u64), Vec<DamagedOld>> = BTreeMap::new();
        damaged.into_iter().for_each(|(place, old)| by_place.entry(place).or_default().push(old));
        for ((table, id), chain) in chains {
            if let Some(core) = self.tables.by_id(table) {
                let damaged = by_place.get(&(table, id.place)).map_or(&[][..], Vec::as_slice);
                self.rebuild_history(&core, id, chain, damaged);
            }
        }
        Ok(())
    }

    fn rebuild_history(&self, table: &TableCore, id: ChainId, mut chain: Vec<Old>, damaged: &[DamagedOld]) {
        // A round of compaction that was cut short leaves a record twice; the one that the index knows counts.
        let guard = epoch::pin();
        let lock = table.index.lock(id.place, &guard);
        chain.sort_by_key(|old| (old.sequence, !lock.holds(id.place, old.address)));
        chain.dedup_by_key(|old| old.sequence);
        for damaged in damaged.iter().filter(|damaged| !lock.holds(id.place, damaged.address)) {
            damaged.place_in(&mut chain);
        }
        let history = table.index.history(id.place);
        let Some(newest) = chain.last().copied() else { return };
        let ends: Vec<_> = chain.iter().skip(1).map(|old| (old.sequence, old.end_time_ms)).collect();
        for (old, (end, end_time_ms)) in chain.into_iter().zip(ends) {
            history.push(id, Old { end, end_time_ms, ..old });
        }
        if newest.is_tombstone {
            history.push(id, newest);
        }
        // Live bytes and large values are counted afterwards.
        let change = Newest::new(newest.sequence, !newest.is_tombstone);
        history.trim(id, table.retention(), change, newest.end_time_ms, |_| {});
    }

    /// Points the index to a record unless it points to a newer one of the same key. Where one of the two is damaged,
    /// nobody knows its key: it is taken for the other's unless the order of the segments says which is newer, so
    /// that a key is rather reported as damaged than found in an older state.
    fn insert_newest(
        &self,
        table: &TableCore,
        place: u64,
        segment: &Segment,
        address: Address,
    ) -> Result<()> {
        let guard = epoch::pin();
        let lock = table.index.lock(place, &guard);
        let mut found = Candidates::default();
        lock.find(place, &mut found);
        if found.is_empty() {
            lock.insert(place, address);
            return Ok(());
        }
        let new = self.witness(segment, address)?;
        match self.compare(&new, place, &found)? {
            Some((other, true)) => {
                lock.replace(place, other, address);
            }
            Some((_, false)) => {}
            None => lock.insert(place, address),
        }
        Ok(())
    }

    /// Takes a key out of the index unless it was written again after the tombstone; with damage as above.
    fn apply_tombstone(
        &self,
        table: &TableCore,
        place: u64,
        segment: &Segment,
        address: Address,
    ) -> Result<()> {
        let guard = epoch::pin();
        let lock = table.index.lock(place, &guard);
        let mut found = Candidates::default();
        lock.find(place, &mut found);
        if found.is_empty() {
            return Ok(());
        }
        let new = self.witness(segment, address)?;
        match self.compare(&new, place, &found)? {
            Some((other, true)) if new.known.is_some() => {
                lock.remove(place, other);
            }
            // A damaged tombstone: the key may have been deleted, and is reported as damaged.
            Some((other, true)) => {
                lock.replace(place, other, address);
            }
            Some((_, false)) | None => {}
        }
        Ok(())
    }

    /// The entry among those found that counts as one of the same key, and whether the new record takes its place.
    fn compare(&self, new: &Witness, place: u64, found: &Candidates) -> Result<Option<(Address, bool)>> {
        let guard = epoch::pin();
        for other in found.iter() {
            let Some(segment) = self.catalog.directory.get(other.ordinal(), &guard) else {
                return Err(self.dangling(other));
            };
            match new.supersedes(&self.witness(segment, other)?, place) {
                Supersedes::Yes => return Ok(Some((other, true))),
                Supersedes::No => return Ok(Some((other, false))),
                Supersedes::OtherKey => {}
            }
        }
        Ok(None)
    }

    /// Reads what a record can tell of its age and its key.
    fn witness(&self, segment: &Segment, address: Address) -> Result<Witness> {
        let read = segment.with_record(address.offset(), true, |record| Known {
            key: record.key.to_vec(),
            sequence: record.header.sequence,
            place: self.tables.place_of(record),
        });
        let known = match read {
            Ok(known) => Some(known),
            Err(Error::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        let sequences = sequences_of(segment);
        let in_log = (segment.header.kind == SegmentKind::Log).then_some(segment.id());
        Ok(Witness { known, sequences, in_log, offset: address.offset() })
    }

    /// Counts live bytes and large values anew from the index.
    fn recount(&self) -> Result<()> {
        for segment in self.sources() {
            let mut live = 0;
            for entry in page::entries(&segment, &self.tables)? {
                let table = self.tables.by_id(entry.table).filter(|_| entry.kind.has_place());
                let Some(table) = table else { continue };
                let address = segment.address(entry.offset);
                let guard = epoch::pin();
                let sequence =
                    || segment.with_record(entry.offset, true, |record| record.header.sequence).ok();
                let is_wanted = table.index.history(entry.place).holds(entry.place, address, sequence)
                    || entry.kind != Kind::Tombstone
                        && table.index.lock(entry.place, &guard).holds(entry.place, address);
                if !is_wanted {
                    continue;
                }
                live += entry.length;
                if entry.kind == Kind::Extent {
                    let extent =
                        segment.with_record(entry.offset, true, |record| ExtentRef::decode(record.value));
                    match extent {
                        Ok(extent) => extent.iter().for_each(|extent| self.extents.note_live(extent)),
                        // Its key answers so; the large value stays on the disk until the next opening.
                        Err(Error::Corrupt { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            segment.set_live(live);
            segment.forget_expiries();
        }
        Ok(())
    }
}

/// The smallest and the largest sequence in a segment, the smallest above the largest if unknown.
fn sequences_of(segment: &Segment) -> (u64, u64) {
    let order = std::sync::atomic::Ordering::Relaxed;
    (segment.sequence_min.load(order), segment.sequence_max.load(order))
}

/// A damaged record of a key in a table that keeps a history.
struct DamagedOld {
    address: Address,
    length: u64,
    /// Between which sequences, both included, its own lies.
    sequences: (u64, u64),
}

impl DamagedOld {
    /// Puts it before each version that it may have come before, as early as can be: what was there from then on is not
    /// known.
    fn place_in(&self, chain: &mut Vec<Old>) {
        let (least, most) = self.sequences;
        let mut from = 0;
        let mut placed = Vec::new();
        for next in chain.iter() {
            let sequence = least.max(from);
            if sequence < next.sequence && sequence <= most {
                placed.push(Old {
                    sequence,
                    address: self.address,
                    length: self.length,
                    extent: None,
                    is_tombstone: false,
                    // Nothing counts it while its segment is left as it is.
                    is_counted: false,
                    ..*next
                });
            }
            from = next.sequence + 1;
        }
        chain.extend(placed);
        chain.sort_by_key(|old| old.sequence);
    }
}

/// What is known of a record while the index is put together.
struct Witness {
    /// `None` if the record is damaged.
    known: Option<Known>,
    /// The smallest and the largest sequence in its segment, the smallest above the largest if unknown.
    sequences: (u64, u64),
    /// The log segment that it lies in, where records lie in the order of their sequences.
    in_log: Option<SegmentId>,
    offset: u64,
}

struct Known {
    key: Vec<u8>,
    sequence: u64,
    place: Option<u64>,
}

enum Supersedes {
    Yes,
    No,
    OtherKey,
}

impl Witness {
    /// Whether this record takes the place of another whose index entry looks the same.
    fn supersedes(&self, old: &Witness, place: u64) -> Supersedes {
        let decide = |newer: bool| if newer { Supersedes::Yes } else { Supersedes::No };
        match (&self.known, &old.known) {
            (Some(new), Some(old)) if new.key == old.key => decide(new.sequence > old.sequence),
            (Some(_), Some(_)) => Supersedes::OtherKey,
            (Some(new), None) => decide(self.is_surely_newer(new, old)),
            (None, Some(known)) if known.place == Some(place) => decide(!old.is_surely_newer(known, self)),
            (None, _) => Supersedes::OtherKey,
        }
    }

    fn is_surely_newer(&self, known: &Known, damaged: &Witness) -> bool {
        let (least, most) = damaged.sequences;
        let is_behind =
            self.in_log.is_some() && self.in_log == damaged.in_log && self.offset > damaged.offset;
        is_behind || least <= most && known.sequence > most
    }
}
