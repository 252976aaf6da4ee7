//! Closes the log of an earlier backup, before that of the next one is put beside it.
//!
//! The last log segment of a backup ends where the database's own went on. A log segment beside it that comes from later
//! holds marks which say that more of it was synced, as if the end of it had been damaged. With a trailer, it was ended there.

use std::path::Path;
use std::sync::Arc;

use super::content::{BLANK_BYTES, Opened};
use super::directory::{copy_pieces, put_whole};
use super::failed;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::segment::{FooterBuilder, FooterEntry, SegmentKind, Trailer};
use crate::page;
use crate::segment::{Segment, file_name, read_header, read_trailer};
use crate::storage::{Storage, StorageFile};
use crate::tables::Tables;
use crate::types::{RECORD_ALIGNMENT, SegmentId};

/// Seals the log segments of a backup that are not sealed, each where its records end. What is damaged or cannot be read stays
/// as it is: it will be replaced.
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
    let Ok(file) = storage.open_to_read(&path) else { return Ok(()) };
    match footer_of(&file, &path, tables) {
        Ok(Some(sealed)) => replace(storage, directory, name, &file, sealed),
        _ => Ok(()),
    }
}

/// Ends a log segment at a place where one of its records ends, in a copy that takes its place: another database may have
/// the same file.
pub(crate) fn cut_log(
    storage: &dyn Storage,
    directory: &Path,
    segment: &Segment,
    end: u64,
    tables: &Tables,
) -> Result<()> {
    let (header, path) = (segment.header, segment.path.clone());
    let ended = Segment::begin(header, path, segment.file().clone(), None);
    ended.seal_at(end);
    // Where something before is damaged the footer, which only saves work, is left empty.
    let entries = match page::entries(&ended, tables) {
        Err(Error::Corrupt { .. }) => Vec::new(),
        entries => entries?,
    };
    let sealed = sealing(&ended, &entries)?;
    replace(storage, directory, &file_name(SegmentKind::Log, segment.id()), segment.file(), sealed)?;
    storage.sync_dir(directory).map_err(failed("sync", directory))
}

/// Puts a sealed copy in the place of a log segment: its records up to a place, the footer and the trailer.
fn replace(
    storage: &dyn Storage,
    directory: &Path,
    name: &str,
    file: &Arc<dyn StorageFile>,
    (end, footer, trailer): (u64, Vec<u8>, Trailer),
) -> Result<()> {
    let path = directory.join(name);
    put_whole(storage, directory, name, |copy, part| {
        let records = Opened::from((file.clone(), end));
        copy_pieces(&records, &path, copy, part, |_| Ok(()))?;
        let footer_end = end + footer.len() as u64;
        copy.write_at(end, &footer).map_err(failed("write", part))?;
        let at = footer_end.next_multiple_of(RECORD_ALIGNMENT);
        copy.write_at(at, &trailer.encode()).map_err(failed("write", part))
    })
}

/// Where the records of a log segment end, and what would seal it there. `None` if it is sealed, or is not as it was written.
fn footer_of(
    file: &Arc<dyn StorageFile>,
    path: &Path,
    tables: &Tables,
) -> Result<Option<(u64, Vec<u8>, Trailer)>> {
    let length = file.len().map_err(failed("measure", path))?;
    if read_trailer(&**file, length).is_some() {
        return Ok(None);
    }
    let segment = Segment::begin(read_header(&**file, path)?, path.to_path_buf(), file.clone(), None);
    // Anywhere else it was not cut off by the backup, and cannot be read as a whole.
    let end = length.saturating_sub(BLANK_BYTES);
    segment.seal_at(end);
    let entries = page::entries(&segment, tables)?;
    if entries.is_empty() {
        return Ok(None);
    }
    sealing(&segment, &entries).map(Some)
}

/// Where the records of a segment end, and the footer and the trailer of these entries.
fn sealing(segment: &Segment, entries: &[FooterEntry]) -> Result<(u64, Vec<u8>, Trailer)> {
    let sequence =
        |entry: &FooterEntry| segment.with_record(entry.offset, true, |record| record.header.sequence);
    // They ascend in the log.
    let first = entries.first().map_or(Ok(u64::MAX), sequence)?;
    let last = entries.last().map_or(Ok(0), sequence)?;
    let mut footer = FooterBuilder::default();
    entries.iter().for_each(|entry| footer.push(entry));
    let (footer, trailer) = footer.finish(segment.end(), first, last);
    Ok((segment.end(), footer, trailer))
}
