//! Bringing the index of a checkpoint up to the end of the log, reading as little else as can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Opener;
use super::apply::{Broken, Crew, no_table};
use crate::error::{Error, Result};
use crate::format::manifest::decode_table;
use crate::format::record::{ExtentRef, Header, Kind, Record};
use crate::index::history::ChainId;
use crate::log::LogPosition;
use crate::log::recovery::Replay;
use crate::options::Retention;
use crate::segment::Segment;
use crate::tables::TableCore;
use crate::types::{Address, SegmentId};

/// Brings the index up to the end of the log.
pub(super) struct Replayer<'scope, 'env> {
    pub(super) opener: &'env Opener,
    /// `None`: the index is put together afterwards, and only tables and large values matter now.
    pub(super) crew: Option<Crew<'scope, 'env>>,
    pub(super) adopted: Option<SegmentId>,
    /// The table of the last record.
    pub(super) table: Option<Arc<TableCore>>,
    pub(super) unapplied: Unapplied,
}

/// What is known of the large values where there is no index to tell what a record replaces.
#[derive(Default)]
pub(super) struct Unapplied {
    /// Those of `broken`, by table and key, each with how many newer records of the key there are.
    lost: BTreeMap<(u32, ChainId), Vec<(u64, u32)>>,
    /// Large values that the index will point to and that are not whole.
    pub(super) broken: BTreeMap<u64, Broken>,
    /// Large values of replayed commits.
    pub(super) extents: Vec<(LogPosition, ExtentRef)>,
}

impl Replay for Replayer<'_, '_> {
    fn records(&mut self, segment: &Arc<Segment>, records: &[(u64, Record<'_>)]) -> Result<()> {
        if self.adopted != Some(segment.id()) {
            self.adopted = Some(segment.id());
            if !self.opener.catalog.has(segment.id()) {
                self.opener.catalog.adopt(segment.clone())?;
            }
        }
        if let Some(crew) = &mut self.crew {
            crew.go_to(segment)?;
        }
        records.iter().try_for_each(|(offset, record)| self.record(segment, *offset, record))
    }
}

impl Replayer<'_, '_> {
    /// The table of a record; most often the one of the record before it.
    fn table(&mut self, id: u32) -> Option<&Arc<TableCore>> {
        if self.table.as_ref().is_none_or(|table| table.id != id) {
            self.table = self.opener.tables.by_id(id);
        }
        self.table.as_ref()
    }

    fn record(&mut self, segment: &Segment, offset: u64, record: &Record<'_>) -> Result<()> {
        if !Address::reaches(offset) {
            let detail = "a record beyond the end that a segment can have";
            return Err(Error::corrupt(&segment.path, offset, detail));
        }
        let opener = self.opener;
        match record.header.kind {
            Kind::TableChange => {
                let Some(table) = decode_table(record.value).filter(|table| table.id < u32::MAX) else {
                    let detail = "a table definition that makes no sense";
                    return Err(Error::corrupt(&segment.path, offset, detail));
                };
                match opener.tables.by_id(table.id) {
                    Some(known) => known.define_layout(table.partitions, table.auto_partitions),
                    None => opener.tables.insert(Arc::new(TableCore::new(table, opener.manifest.hash_seed))),
                }
                Ok(())
            }
            Kind::Document | Kind::Tombstone | Kind::Extent if self.crew.is_some() => {
                self.document(segment, offset, record)
            }
            Kind::Document | Kind::Tombstone | Kind::Extent => self.note_value(segment, offset, record),
            Kind::Chunk => {
                let detail = "a part of a streamed document, which this release does not know";
                Err(Error::corrupt(&segment.path, offset, detail))
            }
            _ => Ok(()),
        }
    }

    fn document(&mut self, segment: &Segment, offset: u64, record: &Record<'_>) -> Result<()> {
        let header = &record.header;
        let Some(table) = self.table(header.table) else {
            return Err(no_table(segment, offset, header.table));
        };
        let Some(place) = table.place_of(record) else {
            let detail = "a record whose place cannot be computed";
            return Err(Error::corrupt(&segment.path, offset, detail));
        };
        if let Some(expiry_ms) = header.expiry_ms {
            segment.note_expiry(expiry_ms, header.time_ms, record.weight());
        }
        if let Some(order) = &table.ordered {
            // Also where the image has the record already: it may not have had the key when that was copied.
            order.note(record.key, header.kind != Kind::Tombstone);
        }
        match (&mut self.crew, &self.table) {
            (Some(crew), Some(table)) => crew.hand(table, place, offset, record),
            _ => Ok(()),
        }
    }

    /// Where the index is put together afterwards: the large values must be whole that it will point to. The file of one
    /// that was replaced, and that its table does not keep, may have gone.
    fn note_value(&mut self, segment: &Segment, offset: u64, record: &Record<'_>) -> Result<()> {
        let Header { kind, table: id, sequence, .. } = record.header;
        let extent = ExtentRef::decode(record.value).filter(|_| kind == Kind::Extent);
        let segment = segment.id();
        let unapplied = &mut self.unapplied;
        unapplied.extents.extend(extent.map(|extent| (LogPosition { segment, offset }, extent)));
        let broken = match extent {
            Some(extent) if !self.opener.extents.is_whole(&extent)? => Some(extent.id),
            _ => None,
        };
        if broken.is_none() && unapplied.lost.is_empty() {
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
        let Unapplied { lost, broken: all_broken, .. } = &mut self.unapplied;
        if let Some(lost) = lost.get_mut(&key) {
            lost.iter_mut().for_each(|(_, newer)| *newer += 1);
            for (gone, _) in lost.extract_if(.., |(_, newer)| *newer >= kept) {
                all_broken.remove(&gone);
            }
        }
        if let Some(id) = broken {
            lost.entry(key).or_default().push((id, 0));
            all_broken.insert(id, Broken { sequence, segment, offset });
        }
        Ok(())
    }
}
