//! Settled documents: page segments, and the footers that every sealed segment gets.

mod writer;

use crate::error::{Error, Result};
use crate::format::segment::{FooterBuilder, FooterEntry, HEADER_BYTES, TRAILER_BYTES};
use crate::segment::Segment;
use crate::segment_reader::SegmentReader;
use crate::tables::Tables;
use crate::types::Address;

pub(crate) use writer::PageWriter;

/// What stands in a sealed segment: from its footer if it has a good one, else record by record.
pub(crate) fn entries(segment: &Segment, tables: &Tables) -> Result<Vec<FooterEntry>> {
    let entries = match segment.footer() {
        Some(entries) => entries,
        None => scan(segment, tables)?,
    };
    match entries.last() {
        Some(last) if !Address::reaches(last.offset) => {
            Err(Error::corrupt(&segment.path, last.offset, "a record beyond the end that a segment can have"))
        }
        _ => Ok(entries),
    }
}

/// Reads all records of a segment.
fn scan(segment: &Segment, tables: &Tables) -> Result<Vec<FooterEntry>> {
    let file = segment.file().clone();
    let mut reader = SegmentReader::new(&*file, &segment.path, segment.base, HEADER_BYTES, segment.end());
    let mut entries = Vec::new();
    while let Some(found) = reader.next()? {
        let record =
            found.record.map_err(|error| Error::corrupt(&segment.path, found.offset, error.text()))?;
        let kind = record.header.kind;
        let place = match tables.place_of(&record) {
            _ if !kind.has_place() => 0,
            Some(place) => place,
            // Of a table that does not exist.
            None if tables.by_id(record.header.table).is_none() => 0,
            None => {
                let detail = "a record whose place cannot be computed";
                return Err(Error::corrupt(&segment.path, found.offset, detail));
            }
        };
        entries.push(FooterEntry {
            kind,
            end_of_commit: record.header.end_of_commit,
            table: record.header.table,
            offset: found.offset,
            length: record.layout.padded(),
            place,
        });
    }
    Ok(entries)
}

/// Writes footer and trailer behind the records of a segment and gives its unused space back to the file system. Not
/// synced here.
pub(crate) fn append_footer(segment: &Segment, builder: FooterBuilder) -> Result<()> {
    let end = segment.end();
    let failed = |operation, error| Error::io(operation, &segment.path, error);
    let order = std::sync::atomic::Ordering::Relaxed;
    let (min, max) = (segment.sequence_min.load(order), segment.sequence_max.load(order));
    let (footer, trailer) = builder.finish(end, min, max);
    let file = segment.file();
    let length = file.len().map_err(|error| failed("measure", error))?;
    let footer_end = end + footer.len() as u64;
    let needed = (footer_end + TRAILER_BYTES).max(length).next_multiple_of(8);
    if needed > length {
        file.allocate(needed).map_err(|error| failed("allocate", error))?;
    }
    file.write_at(end, &footer).map_err(|error| failed("write", error))?;
    let hole = footer_end.next_multiple_of(4096);
    let hole_end = (needed - TRAILER_BYTES) / 4096 * 4096;
    if hole_end > hole {
        file.punch_hole(hole, hole_end - hole).map_err(|error| failed("punch a hole into", error))?;
    }
    file.write_at(needed - TRAILER_BYTES, &trailer.encode()).map_err(|error| failed("write", error))?;
    segment.set_disk_bytes(needed - hole_end.saturating_sub(hole));
    Ok(())
}
