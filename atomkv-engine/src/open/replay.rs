//! Bringing the index of a checkpoint up to the end of the log, reading as little else as can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Current, Opener};
use crate::epoch;
use crate::error::{Error, Result};
use crate::format::manifest::decode_table;
use crate::format::record::{ExtentRef, Kind, Record};
use crate::index::subtable::Candidates;
use crate::log::recovery::Replay;
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
    pub(super) found: Candidates,
    /// Large values that the index points to and that are not whole.
    pub(super) broken: BTreeMap<u64, Broken>,
    /// Large values of replayed commits.
    pub(super) extents: Vec<u64>,
}

/// The record of a large value that is not whole.
pub(super) struct Broken {
    pub(super) sequence: u64,
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
}

impl Replayer<'_> {
    fn document(&mut self, segment: &Segment, address: Address, record: &Record<'_>) -> Result<()> {
        let header = &record.header;
        let opener = self.opener;
        let Some(table) = opener.tables.by_id(header.table) else {
            let detail = format!("a record of table {}, which was never created", header.table);
            return Err(Error::corrupt(&segment.path, address.offset(), detail));
        };
        let Some(place) = opener.tables.place_of(record) else {
            let detail = "a record whose place cannot be computed";
            return Err(Error::corrupt(&segment.path, address.offset(), detail));
        };
        let fuzzy = header.sequence <= self.fuzzy_end;
        // Where commits were left out, what a record says of the one before it may not be so.
        let careful = fuzzy || opener.options.skip_damaged_log;
        let partition = table.index.partition(place);
        let current = self.current(&table, place, record, careful)?;
        if let Some(current) = &current
            && current.sequence >= header.sequence
        {
            // The image had it already.
            return Ok(());
        }
        let lock = partition.lock();
        lock.prepare(place)?;
        match (&current, header.kind) {
            (Some(current), Kind::Tombstone) => {
                lock.remove(place, current.address);
            }
            (Some(current), _) => {
                lock.replace(place, current.address, address);
            }
            (None, Kind::Tombstone) => {}
            (None, _) => lock.insert(place, address),
        }
        drop(lock);
        if header.kind == Kind::Extent
            && let Some(extent) = ExtentRef::decode(record.value)
        {
            opener.extents.note_live(&extent);
            self.extents.push(extent.id);
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
        if let Some(extent) = &current.extent {
            opener.extents.note_dead(extent.id, 0);
            self.broken.remove(&extent.id);
        }
        if !fuzzy {
            if header.kind != Kind::Tombstone {
                segment.add_born(record.layout.padded());
            }
            let guard = epoch::pin();
            if let Some(old) = opener.catalog.directory.get(current.address.ordinal(), &guard) {
                old.add_dead(current.length);
            }
        }
        Ok(())
    }

    /// What the index points to for the record's key, reading as little as can be.
    fn current(
        &mut self,
        table: &TableCore,
        place: u64,
        record: &Record<'_>,
        careful: bool,
    ) -> Result<Option<Current>> {
        let header = &record.header;
        if !careful && header.new_key && header.kind != Kind::Tombstone {
            return Ok(None);
        }
        if let Some(hint) = header.hint.filter(|hint| !careful && !hint.extent) {
            let guard = epoch::pin();
            table.index.partition(place).find(place, &guard, &mut self.found)?;
            if self.found.contains(hint.address) {
                return Ok(Some(Current {
                    address: hint.address,
                    sequence: 0,
                    length: hint.length,
                    extent: None,
                }));
            }
        }
        self.opener.same_key(table, place, record.key, &mut self.found)
    }
}

impl Replay for Replayer<'_> {
    fn record(&mut self, segment: &Arc<Segment>, address: Address, record: &Record<'_>) -> Result<()> {
        let opener = self.opener;
        if self.adopted != Some(segment.id()) {
            self.adopted = Some(segment.id());
            if !opener.catalog.has(segment.id()) {
                opener.catalog.adopt(segment.clone())?;
            }
        }
        match record.header.kind {
            Kind::TableChange => {
                let Some(table) = decode_table(record.value) else {
                    let detail = "a table definition that makes no sense";
                    return Err(Error::corrupt(&segment.path, address.offset(), detail));
                };
                if opener.tables.by_id(table.id).is_none() {
                    opener.tables.insert(Arc::new(TableCore::new(table, opener.manifest.hash_seed)));
                }
                Ok(())
            }
            Kind::Document | Kind::Tombstone | Kind::Extent if !self.rebuild => {
                self.document(segment, address, record)
            }
            Kind::Extent => {
                if let Some(extent) = ExtentRef::decode(record.value) {
                    self.extents.push(extent.id);
                }
                Ok(())
            }
            Kind::Chunk => {
                let detail = "a part of a streamed document, which this release does not know";
                Err(Error::corrupt(&segment.path, address.offset(), detail))
            }
            _ => Ok(()),
        }
    }
}
