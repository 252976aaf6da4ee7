//! Bringing the index of a checkpoint up to the end of the log, reading as little else as can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Current, Opener};
use crate::epoch;
use crate::error::{Error, Result};
use crate::format::manifest::decode_table;
use crate::format::record::{ExtentRef, Header, Kind, Record};
use crate::index::history::{ChainId, Newest, Old};
use crate::index::subtable::{Candidates, First};
use crate::log::LogPosition;
use crate::log::recovery::Replay;
use crate::options::Retention;
use crate::segment::Segment;
use crate::tables::TableCore;
use crate::types::{Address, SegmentId};

/// Brings the index up to the end of the log.
pub(super) struct Replayer<'a> {
    pub(super) opener: &'a Opener,
    pub(super) fuzzy_end: u64,
    /// The index is put together afterwards: only tables matter now.
    pub(super) rebuild: bool,
    pub(super) adopted: Option<SegmentId>,
    /// The table of the last record.
    pub(super) table: Option<Arc<TableCore>>,
    pub(super) found: Candidates,
    /// Those of `broken`, by table and key, each with how many newer records of the key there are: where there is no index
    /// to tell what a record replaces.
    pub(super) lost: BTreeMap<(u32, ChainId), Vec<(u64, u32)>>,
    /// Large values that the index points to and that are not whole.
    pub(super) broken: BTreeMap<u64, Broken>,
    /// Large values of replayed commits.
    pub(super) extents: Vec<(LogPosition, ExtentRef)>,
}

/// The record of a large value that is not whole.
pub(super) struct Broken {
    pub(super) sequence: u64,
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
}

impl Replayer<'_> {
    /// The table of a record; most often the one of the record before it.
    fn table(&mut self, id: u32) -> Option<&Arc<TableCore>> {
        if self.table.as_ref().is_none_or(|table| table.id != id) {
            self.table = self.opener.tables.by_id(id);
        }
        self.table.as_ref()
    }

    /// Whether the image may have the record already.
    fn is_fuzzy(&self, record: &Record<'_>) -> bool {
        record.header.sequence <= self.fuzzy_end
    }

    /// Whether the record's key must be looked for, whatever the record says of the one before it.
    fn is_careful(&self, record: &Record<'_>) -> bool {
        // Where commits were left out, what is said of them may not be so.
        self.is_fuzzy(record) || self.opener.options.skip_damaged_log
    }

    /// Has everything that applying these records will read fetched from memory at once, not one after the other.
    fn touch(&mut self, records: &[(u64, Record<'_>)]) {
        let guard = epoch::pin();
        for (_, record) in records {
            if record.header.kind.has_place()
                && let Some(table) = self.table(record.header.table)
                && let Some(place) = table.place_of(record)
            {
                table.index.touch(place, &guard);
            }
        }
        for (_, record) in records {
            if record.header.kind.has_place()
                && self.is_careful(record)
                && let Some(table) = self.table(record.header.table)
                && let Some(place) = table.place_of(record)
                && let Some(First { address: Some(address), .. }) = table.index.first_at_once(place, &guard)
                && let Some(segment) = self.opener.catalog.directory.get(address.ordinal(), &guard)
            {
                segment.prefetch(address.offset());
            }
        }
    }

    fn document(&mut self, segment: &Segment, address: Address, record: &Record<'_>) -> Result<()> {
        let header = &record.header;
        let opener = self.opener;
        let Some(table) = self.table(header.table).cloned() else {
            let detail = format!("a record of table {}, which was never created", header.table);
            return Err(Error::corrupt(&segment.path, address.offset(), detail));
        };
        let Some(place) = table.place_of(record) else {
            let detail = "a record whose place cannot be computed";
            return Err(Error::corrupt(&segment.path, address.offset(), detail));
        };
        if let Some(expiry_ms) = header.expiry_ms {
            segment.note_expiry(expiry_ms, header.time_ms, record.weight());
        }
        if let Some(order) = &table.ordered {
            // Also where the image has the record already: it may not have had the key when that was copied.
            order.note(record.key, header.kind != Kind::Tombstone);
        }
        let fuzzy = self.is_fuzzy(record);
        let current = self.current(&table, place, record)?;
        if let Some(current) = &current
            && current.sequence >= header.sequence
        {
            // The image had it already.
            return Ok(());
        }
        let guard = epoch::pin();
        let lock = table.index.lock(place, &guard);
        match (&current, header.kind) {
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
        let keeps_history = table.keeps_history();
        if keeps_history {
            self.note_history(&table, place, record, address, current.as_ref());
        }
        if header.kind == Kind::Extent
            && let Some(extent) = ExtentRef::decode(record.value)
        {
            opener.extents.note_live(&extent);
            let place = LogPosition { segment: segment.id(), offset: address.offset() };
            self.extents.push((place, extent));
            if !opener.extents.is_whole(&extent)? {
                let (segment, offset) = (segment.id(), address.offset());
                self.broken.insert(extent.id, Broken { sequence: header.sequence, segment, offset });
            }
        }
        let Some(current) = current else {
            if !fuzzy && header.kind != Kind::Tombstone {
                segment.add_born(record.layout.padded());
            }
            return Ok(());
        };
        if let Some(extent) = current.extent.as_ref().filter(|_| !keeps_history) {
            opener.extents.note_dead(extent.id, 0);
            self.broken.remove(&extent.id);
        }
        if !fuzzy {
            if header.kind != Kind::Tombstone {
                segment.add_born(record.layout.padded());
            }
            if !keeps_history {
                opener.note_dead(current.address, current.length);
            }
        }
        Ok(())
    }

    /// Keeps the history of a key as the commit did. What the image has of it already stays as it is.
    fn note_history(
        &mut self,
        table: &TableCore,
        place: u64,
        record: &Record<'_>,
        address: Address,
        current: Option<&Current>,
    ) {
        let Header { sequence, time_ms, kind, .. } = record.header;
        let id = ChainId { place, check: table.check(record.key) };
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
            let tombstone = old(sequence, Old::NEWEST, address, record.layout.padded());
            history.push(id, Old { is_tombstone: true, is_counted: false, ..tombstone });
        }
        let fuzzy = self.is_fuzzy(record);
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

    /// What the index points to for the record's key, reading as little as can be.
    fn current(&mut self, table: &TableCore, place: u64, record: &Record<'_>) -> Result<Option<Current>> {
        let header = &record.header;
        let careful = self.is_careful(record);
        if !careful && header.new_key && header.kind != Kind::Tombstone {
            return Ok(None);
        }
        let wants_sequence = table.keeps_history();
        if let Some(hint) = header.hint.filter(|hint| !careful && !hint.extent && !wants_sequence) {
            let guard = epoch::pin();
            table.index.find(place, &guard, &mut self.found)?;
            if self.found.contains(hint.address) {
                return Ok(Some(Current {
                    address: hint.address,
                    sequence: 0,
                    length: hint.length,
                    extent: None,
                }));
            }
        }
        self.opener.same_key(table, place, record, &mut self.found)
    }
}

impl Replay for Replayer<'_> {
    fn records(&mut self, segment: &Arc<Segment>, records: &[(u64, Record<'_>)]) -> Result<()> {
        if self.adopted != Some(segment.id()) {
            self.adopted = Some(segment.id());
            if !self.opener.catalog.has(segment.id()) {
                self.opener.catalog.adopt(segment.clone())?;
            }
        }
        if !self.rebuild {
            self.touch(records);
        }
        records.iter().try_for_each(|(offset, record)| {
            if !Address::reaches(*offset) {
                let detail = "a record beyond the end that a segment can have";
                return Err(Error::corrupt(&segment.path, *offset, detail));
            }
            self.record(segment, segment.address(*offset), record)
        })?;
        // Nobody else does while a database is being opened.
        epoch::collect_if_due();
        Ok(())
    }
}

impl Replayer<'_> {
    /// Where the index is put together afterwards: the large values must be whole that it will point to. The file of one
    /// that was replaced, and that its table does not keep, may have gone.
    fn note_value(&mut self, segment: &Segment, address: Address, record: &Record<'_>) -> Result<()> {
        let Header { kind, table: id, sequence, .. } = record.header;
        let extent = ExtentRef::decode(record.value).filter(|_| kind == Kind::Extent);
        let place = LogPosition { segment: segment.id(), offset: address.offset() };
        self.extents.extend(extent.map(|extent| (place, extent)));
        let broken = match extent {
            Some(extent) if !self.opener.extents.is_whole(&extent)? => Some(extent.id),
            _ => None,
        };
        if broken.is_none() && self.lost.is_empty() {
            return Ok(());
        }
        let Some(table) = self.table(id).cloned() else { return Ok(()) };
        // Of a record without a place the index cannot be put together either, which is told there.
        let Some(place) = table.place_of(record) else { return Ok(()) };
        let key = (id, ChainId { place, check: table.check(record.key) });
        let kept = match table.retention() {
            Retention::All => u32::MAX,
            Retention::Versions(versions) => versions,
            // Its time may have been over.
            Retention::Duration(_) => 1,
        };
        if let Some(lost) = self.lost.get_mut(&key) {
            lost.iter_mut().for_each(|(_, newer)| *newer += 1);
            for (gone, _) in lost.extract_if(.., |(_, newer)| *newer >= kept) {
                self.broken.remove(&gone);
            }
        }
        if let Some(id) = broken {
            self.lost.entry(key).or_default().push((id, 0));
            self.broken.insert(id, Broken { sequence, segment: segment.id(), offset: address.offset() });
        }
        Ok(())
    }

    fn record(&mut self, segment: &Segment, address: Address, record: &Record<'_>) -> Result<()> {
        let opener = self.opener;
        match record.header.kind {
            Kind::TableChange => {
                let Some(table) = decode_table(record.value).filter(|table| table.id < u32::MAX) else {
                    let detail = "a table definition that makes no sense";
                    return Err(Error::corrupt(&segment.path, address.offset(), detail));
                };
                match opener.tables.by_id(table.id) {
                    Some(known) => known.define_layout(table.partitions, table.auto_partitions),
                    None => opener.tables.insert(Arc::new(TableCore::new(table, opener.manifest.hash_seed))),
                }
                Ok(())
            }
            Kind::Document | Kind::Tombstone | Kind::Extent if !self.rebuild => {
                self.document(segment, address, record)
            }
            Kind::Document | Kind::Tombstone | Kind::Extent => self.note_value(segment, address, record),
            Kind::Chunk => {
                let detail = "a part of a streamed document, which this release does not know";
                Err(Error::corrupt(&segment.path, address.offset(), detail))
            }
            _ => Ok(()),
        }
    }
}
