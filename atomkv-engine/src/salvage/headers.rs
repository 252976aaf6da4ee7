//! Segments whose headers are damaged. What a header says of its records can mostly be told from elsewhere: kind and id
//! from the file's name, the database from the other files, the table from the manifest or the footer. The checksums of the
//! records need no more than that, and prove it. Their sequences count from the header's; where the trailer or the manifest
//! tells the largest, or the neighbours bound it, they are put where they belong. Their times count from the header's too,
//! and are told from the segment before, as far as there is one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::format::checksum::Sum;
use crate::format::manifest::Manifest;
use crate::format::record::{Layout, Record};
use crate::format::segment::{HEADER_BYTES, SegmentHeader, SegmentKind, Trailer, decode_footer};
use crate::inspect::{Damaged, End, Visitor, Walk};
use crate::segment::{Segment, parse_file_name, read_trailer};
use crate::storage::{Storage, StorageFile};
use crate::types::SegmentId;

/// Adds the segments whose headers can be put together again.
pub(super) fn rebuild(
    storage: &dyn Storage,
    path: &Path,
    names: &[String],
    manifest: Option<&Manifest>,
    segments: &mut BTreeMap<SegmentId, Arc<Segment>>,
) {
    let database = manifest.map(|manifest| manifest.database_id);
    let others = || segments.values().next().map(|segment| segment.header.database);
    let Some(database) = database.or_else(others) else { return };
    let lost = names.iter().filter_map(|name| Some((name, parse_file_name(name)?)));
    let lost: Vec<_> =
        lost.filter(|(_, (kind, id))| *kind != SegmentKind::Extent && !segments.contains_key(id)).collect();
    for (name, (kind, id)) in lost {
        let path = path.join(name);
        let Ok(file) = storage.open(&path) else { continue };
        let lost = Lost { file, path: &path, kind, id, database, manifest };
        if let Some(segment) = lost.rebuild(segments) {
            segments.insert(id, Arc::new(segment));
        }
    }
}

/// A segment file without its header.
struct Lost<'a> {
    file: Arc<dyn StorageFile>,
    path: &'a Path,
    kind: SegmentKind,
    id: SegmentId,
    database: [u8; 16],
    manifest: Option<&'a Manifest>,
}

/// The smallest and the largest of some sequences.
type Range = (u64, u64);

impl Lost<'_> {
    fn rebuild(&self, segments: &BTreeMap<SegmentId, Arc<Segment>>) -> Option<Segment> {
        let length = self.file.len().ok()?;
        let trailer = read_trailer(&*self.file, length);
        let table = match self.kind {
            SegmentKind::Page => self.table(trailer.as_ref())?,
            _ => 0,
        };
        for sum in [Sum::Crc32c, Sum::Crc32] {
            let mut header = SegmentHeader {
                kind: self.kind,
                lane: 0,
                ordinal: 0,
                table,
                database: self.database,
                id: self.id,
                base_sequence: 0,
                base_time_ms: 0,
                predecessor: SegmentId::default(),
                predecessor_end: 0,
                sum,
            };
            let end = trailer.map_or(End::Unknown, |trailer| End::At(trailer.records_end));
            let Some(relative) = self.relative(&self.segment(header, length), end) else { continue };
            header.base_sequence = self.base_sequence(relative, trailer.as_ref(), segments);
            let before = segments.range(..self.id).map(|(_, segment)| segment.header.base_time_ms);
            header.base_time_ms = before.max().unwrap_or(0);
            return Some(self.segment(header, length));
        }
        None
    }

    fn segment(&self, header: SegmentHeader, length: u64) -> Segment {
        let segment = Segment::begin(header, self.path.to_path_buf(), self.file.clone(), None);
        segment.publish(length);
        segment
    }

    /// The table of a page.
    fn table(&self, trailer: Option<&Trailer>) -> Option<u32> {
        let named = self
            .manifest
            .and_then(|manifest| manifest.segments.iter().find(|segment| segment.id == self.id.0));
        named.map(|segment| segment.table).or_else(|| {
            let trailer = trailer?;
            let mut bytes = vec![0; usize::try_from(trailer.footer_length).ok()?];
            let read = self.file.read_at(trailer.footer_offset, &mut bytes).ok()?;
            decode_footer(bytes.get(..read)?, trailer)?.first().map(|entry| entry.table)
        })
    }

    /// Which sequences the intact records have, counted from the lost one. `None` if there is no intact record.
    fn relative(&self, segment: &Segment, end: End) -> Option<Range> {
        let mut found = Sequences(None);
        let walk = Walk {
            file: &*self.file,
            path: self.path,
            base: segment.base,
            from: HEADER_BYTES,
            end,
            starts: &Vec::new,
        };
        walk.run(&mut found).ok()?;
        found.0
    }

    fn base_sequence(
        &self,
        (least, most): Range,
        trailer: Option<&Trailer>,
        segments: &BTreeMap<SegmentId, Arc<Segment>>,
    ) -> u64 {
        let named = self.manifest.and_then(|manifest| {
            manifest.segments.iter().find(|segment| segment.id == self.id.0 && segment.length > 0)
        });
        let told = trailer
            .map(|trailer| trailer.sequence_max)
            .or(named.map(|segment| segment.sequence_max))
            .filter(|told| *told >= most);
        if let Some(told) = told {
            return told - most;
        }
        // A log segment without either: behind everything that came before.
        let before = segments.range(..self.id).map(|(_, segment)| {
            let file = segment.file();
            let trailer = file.len().ok().and_then(|length| read_trailer(&**file, length));
            trailer.map_or(segment.header.base_sequence, |trailer| trailer.sequence_max)
        });
        (before.max().unwrap_or(0) + 1).saturating_sub(least)
    }
}

struct Sequences(Option<Range>);

impl Visitor for Sequences {
    fn record(&mut self, _offset: u64, record: &Record<'_>) -> Result<()> {
        let sequence = record.header.sequence;
        let (least, most) = self.0.unwrap_or((sequence, sequence));
        self.0 = Some((least.min(sequence), most.max(sequence)));
        Ok(())
    }

    fn padding(&mut self, _offset: u64, _layout: Layout) -> Result<()> {
        Ok(())
    }

    fn damaged(&mut self, _damaged: Damaged) -> Result<()> {
        Ok(())
    }
}
