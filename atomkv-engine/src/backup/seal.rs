//! Closes the log of an earlier backup, before that of the next one is put beside it.
//!
//! The last log segment of a backup ends where the database's own went on. A log segment beside it that comes from later
//! holds marks which say that more of it was synced, as if the end of it had been damaged. With a trailer, it was ended there.

use std::io::ErrorKind;
use std::path::Path;

use super::content::Opened;
use super::directory::{copy_pieces, put_whole};
use super::failed;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::segment::{FooterBuilder, FooterEntry, HEADER_BYTES, SegmentKind};
use crate::segment::{Segment, file_name, read_trailer};
use crate::segment_reader::SegmentReader;
use crate::storage::Storage;
use crate::tables::Tables;
use crate::types::{RECORD_ALIGNMENT, SegmentId};
use crate::verify::bytes_behind;

/// Seals the log segments of a backup that are not sealed, each where its records end. What is damaged stays as it is.
pub(super) fn seal(storage: &dyn Storage, path: &Path, earlier: &Manifest, tables: &Tables) -> Result<()> {
    for record in
        earlier.segments.iter().filter(|record| record.kind == SegmentKind::Log as u8 && record.length == 0)
    {
        seal_one(storage, path, &file_name(SegmentKind::Log, SegmentId(record.id)), tables)?;
    }
    storage.sync_dir(path).map_err(failed("sync", path))
}

fn seal_one(storage: &dyn Storage, directory: &Path, name: &str, tables: &Tables) -> Result<()> {
    let path = directory.join(name);
    let segment = match Segment::open(storage, path.clone(), None) {
        Ok(segment) => segment,
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(()),
        Err(Error::Corrupt { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let file = segment.file();
    let length = file.len().map_err(failed("measure", &path))?;
    if read_trailer(&**file, length).is_some() {
        return Ok(());
    }
    let mut reader = SegmentReader::new(&**file, &path, segment.base, HEADER_BYTES, length);
    let mut footer = FooterBuilder::default();
    let (mut end, mut sequences) = (HEADER_BYTES, (u64::MAX, 0));
    while let Some(found) = reader.next()? {
        let Ok(record) = found.record else { break };
        let header = record.header;
        let place = if header.kind.has_place() { tables.place_of(&record) } else { Some(0) };
        let Some(place) = place else { return Ok(()) };
        let length = record.layout.padded();
        footer.push(&FooterEntry {
            kind: header.kind,
            end_of_commit: header.end_of_commit,
            table: header.table,
            offset: found.offset,
            length,
            place,
        });
        sequences = (sequences.0.min(header.sequence), sequences.1.max(header.sequence));
        end = found.offset + length;
    }
    if bytes_behind(&**file, end, length) > 0 {
        return Ok(());
    }
    let (footer, trailer) = footer.finish(end, sequences.0, sequences.1);
    put_whole(storage, directory, name, |copy, part| {
        let records = Opened::from((file.clone(), end));
        copy_pieces(&records, &path, copy, part, |_| Ok(()))?;
        let footer_end = end + footer.len() as u64;
        copy.write_at(end, &footer).map_err(failed("write", part))?;
        let at = footer_end.next_multiple_of(RECORD_ALIGNMENT);
        copy.write_at(at, &trailer.encode()).map_err(failed("write", part))
    })
}
