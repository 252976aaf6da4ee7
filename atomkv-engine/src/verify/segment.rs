//! One segment: its header, its records, its footer, and what the index says of it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::files::Files;
use super::pointers::Pointer;
use crate::error::Result;
use crate::format::record::{ExtentRef, Header, Kind, Layout, Record};
use crate::format::segment::{
    FooterBuilder, FooterEntry, HEADER_BYTES, SegmentKind, TRAILER_BYTES, Trailer, decode_footer,
};
use crate::inspect::{Damage, Damaged, End, ReadingFile, Tally, Visitor, Walk};
use crate::segment::{Segment, read_header};
use crate::storage::StorageFile;
use crate::tables::Tables;

/// A segment to be read.
pub(super) struct SegmentJob {
    segment: Arc<Segment>,
    end: Option<End>,
    pointers: Vec<Pointer>,
    /// Whether every large value that is met is to be looked at, as far as it is there: nobody knows which are wanted.
    all_values: bool,
}

impl SegmentJob {
    /// A segment whose end is known, with what points to it, in the order of offsets.
    pub(super) fn of(segment: Arc<Segment>, pointers: Vec<Pointer>) -> SegmentJob {
        SegmentJob { segment, end: None, pointers, all_values: false }
    }

    /// A segment of which nobody knows what points to it.
    pub(super) fn alone(segment: Arc<Segment>, end: End) -> SegmentJob {
        SegmentJob { segment, end: Some(end), pointers: Vec::new(), all_values: true }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segment.end()
    }
}

/// A large value that a live record refers to.
pub(super) struct LargeValue {
    pub(super) extent: ExtentRef,
    pub(super) table: Option<String>,
    pub(super) key: Vec<u8>,
    /// Whether its record may be dead, so that it may be gone.
    pub(super) may_be_gone: bool,
}

/// After so many bytes the others are told.
const TELL_BYTES: u64 = 1 << 20;

/// Reads a segment; returns the large values that live records in it refer to.
pub(super) fn check(
    files: &Files,
    tables: &Tables,
    job: &SegmentJob,
    tally: &Tally,
) -> Result<Vec<LargeValue>> {
    let segment = &*job.segment;
    let file = ReadingFile::new(segment.file().clone(), &segment.path, files.damages.clone());
    files.count_file();
    match read_header(&file, &segment.path) {
        Ok(header) if header == segment.header => {}
        Ok(_) => files.damages.note(&segment.path, 0, "the segment's header has changed"),
        Err(error) => files.damages.take(error)?,
    }
    // After the index was copied: what it points to is below.
    let end = job.end.unwrap_or(End::At(segment.end()));
    let mut check = Check {
        files,
        tables,
        segment,
        pointers: &job.pointers,
        all_values: job.all_values,
        footer: FooterBuilder::default(),
        sequences: (u64::MAX, 0),
        is_whole: true,
        values: Vec::new(),
        tally,
        untold: Cell::new((HEADER_BYTES, 0)),
    };
    let starts = || {
        let mut starts: Vec<u64> = job.pointers.iter().map(Pointer::offset).collect();
        starts.extend(segment.footer().unwrap_or_default().iter().map(|entry| entry.offset));
        starts.sort_unstable();
        starts.dedup();
        starts
    };
    let walk = Walk {
        file: &file,
        path: &segment.path,
        base: segment.base,
        from: HEADER_BYTES,
        end,
        starts: &starts,
    };
    match walk.run(&mut check) {
        Ok(reached) => {
            check.pass_pointers(u64::MAX);
            // Where a place is not known the footer cannot be told.
            let Check { footer, sequences, is_whole, .. } = &mut check;
            let records = std::mem::take(footer);
            let expected = is_whole.then(|| records.finish(reached, sequences.0, sequences.1));
            if matches!(end, End::At(_)) {
                check_footer(files, segment, &file, reached, expected)?;
            }
        }
        Err(error) => files.damages.take(error)?,
    }
    check.tell()?;
    Ok(check.values)
}

struct Check<'a> {
    files: &'a Files,
    tables: &'a Tables,
    segment: &'a Segment,
    /// What was not met yet.
    pointers: &'a [Pointer],
    all_values: bool,
    /// What the segment's footer should be.
    footer: FooterBuilder,
    sequences: (u64, u64),
    /// Whether all records were intact so far, and their places known.
    is_whole: bool,
    values: Vec<LargeValue>,
    tally: &'a Tally,
    /// Bytes and records that were not told of yet.
    untold: Cell<(u64, u64)>,
}

impl Check<'_> {
    fn name(&self, table: u32) -> Option<String> {
        self.tables.by_id(table).map(|table| table.record.name.clone())
    }

    fn note(&self, offset: u64, detail: &str, table: u32, key: Option<&[u8]>) {
        self.files.damages.add(Damage {
            file: self.segment.path.clone(),
            offset,
            detail: detail.to_string(),
            table: self.name(table),
            key: key.map(<[u8]>::to_vec),
        });
    }

    fn tell(&self) -> Result<()> {
        let (bytes, records) = self.untold.take();
        self.files.count_read(bytes, records);
        self.tally.add(bytes, records)
    }

    /// The pointers to places before an offset that were not met: no record begins there.
    fn pass_pointers(&mut self, offset: u64) {
        while let Some((pointer, rest)) = self.pointers.split_first()
            && pointer.offset() < offset
        {
            self.note(
                pointer.offset(),
                "the index leads here, where no record begins",
                pointer.table(),
                None,
            );
            self.pointers = rest;
        }
    }

    /// The pointers to this offset.
    fn take_pointers(&mut self, offset: u64) -> &[Pointer] {
        self.pass_pointers(offset);
        let count = self.pointers.iter().take_while(|pointer| pointer.offset() == offset).count();
        let (here, rest) = self.pointers.split_at(count);
        self.pointers = rest;
        here
    }
}

impl Visitor for Check<'_> {
    fn record(&mut self, offset: u64, record: &Record<'_>) -> Result<()> {
        let Header { kind, table, sequence, end_of_commit, .. } = record.header;
        let length = record.layout.padded();
        let place = if kind.has_place() { self.tables.place_of(record) } else { Some(0) };
        self.is_whole &= place.is_some();
        let known = place.unwrap_or(0);
        self.footer.push(&FooterEntry { kind, end_of_commit, table, offset, length, place: known });
        self.sequences = (self.sequences.0.min(sequence), self.sequences.1.max(sequence));
        let (bytes, records) = self.untold.get();
        self.untold.set((bytes + length, records + 1));
        if bytes >= TELL_BYTES {
            self.tell()?;
        }

        let is_document = matches!(kind, Kind::Document | Kind::Extent);
        let fits = |pointer: &Pointer| {
            pointer.means(table, known) && (is_document || kind == Kind::Tombstone && pointer.is_old())
        };
        let here = self.take_pointers(offset);
        let is_wanted = !here.is_empty();
        let stray = here.iter().find(|pointer| !fits(pointer)).copied();
        if let Some(pointer) = stray {
            self.note(offset, "the index leads here, to a record of another key", pointer.table(), None);
        }
        if kind == Kind::Extent && (is_wanted || self.all_values) {
            match ExtentRef::decode(record.value) {
                Some(extent) => self.values.push(LargeValue {
                    extent,
                    table: self.name(table),
                    key: record.key.to_vec(),
                    may_be_gone: !is_wanted,
                }),
                None => self.note(offset, "a reference to a large value is none", table, Some(record.key)),
            }
        }
        Ok(())
    }

    fn padding(&mut self, offset: u64, layout: Layout) -> Result<()> {
        let at = offset + layout.exact() as u64;
        self.files.damages.note(&self.segment.path, at, "the padding of a record is not zeros");
        Ok(())
    }

    fn damaged(&mut self, damaged: Damaged) -> Result<()> {
        let Damaged { offset, next, error, seems } = damaged;
        self.is_whole = false;
        let (bytes, records) = self.untold.get();
        self.untold.set((bytes + (next - offset), records));
        let Some(pointer) = self.take_pointers(offset).first().copied() else {
            self.files.damages.note(&self.segment.path, offset, error.text());
            return Ok(());
        };
        let table = self.tables.by_id(pointer.table());
        // Only a key that the index has in this place may be the one.
        let key = seems.map(|seems| seems.key).filter(|key| {
            let keyspace = table.as_ref().and_then(|table| table.keyspace.as_ref());
            let place = keyspace.and_then(|keyspace| keyspace.place(key).ok());
            place.is_some_and(|place| pointer.means(pointer.table(), place))
        });
        let what = if pointer.is_old() { "an old version of its key" } else { "the newest of its key" };
        let detail = format!("{}; it is {what}", error.text());
        self.note(offset, &detail, pointer.table(), key.as_deref());
        Ok(())
    }
}

/// In so small pieces a disk loses what was not synced.
const SECTOR_BYTES: u64 = 512;

/// Whether footer and trailer are as the records say, `expected`, or at least sound where these are not known.
///
/// The footer of a log segment is synced with a later commit or never, so that all of it or some sectors may not have
/// come to the disk: zeros are what was not written, and not damage.
fn check_footer(
    files: &Files,
    segment: &Segment,
    file: &ReadingFile,
    end: u64,
    expected: Option<(Vec<u8>, Trailer)>,
) -> Result<()> {
    let path = &segment.path;
    let is_page = segment.header.kind == SegmentKind::Page;
    let length = match file.len() {
        Ok(length) => length,
        Err(error) => return files.damages.take(crate::Error::io("measure", path, error)),
    };
    let at = length.saturating_sub(TRAILER_BYTES);
    if is_page && !segment.is_sealed() || length < HEADER_BYTES + TRAILER_BYTES {
        // Being written.
        return Ok(());
    }
    let Some(trailer) = settled_trailer(file, at, length) else {
        if is_page || !is_zero(file, at, TRAILER_BYTES) {
            files.damages.note(path, at, "the segment's trailer is missing or damaged");
        }
        return Ok(());
    };
    if trailer.records_end != end {
        // A log that lost its end with a large value has gone on elsewhere, before its footer.
        if is_page || trailer.records_end < end {
            files.damages.note(path, at, "the segment's trailer tells another end of the records");
        }
        return Ok(());
    }
    let mut bytes =
        vec![0; usize::try_from(trailer.footer_length).unwrap_or(usize::MAX).min(length as usize)];
    let read = file.read_at(trailer.footer_offset, &mut bytes).unwrap_or(0);
    files.count_read(read as u64 + TRAILER_BYTES, 0);
    match expected {
        Some((expected, told)) if bytes == expected => {
            if told != trailer {
                files.damages.note(path, at, "the segment's trailer does not say what the records do");
            }
        }
        Some((expected, _)) if !is_page && is_torn(&bytes, &expected, trailer.footer_offset) => {}
        Some(_) if decode_footer(&bytes, &trailer).is_some() => {
            let detail = "the segment's footer does not say what the records do";
            files.damages.note(path, trailer.footer_offset, detail);
        }
        None if decode_footer(&bytes, &trailer).is_some() => {}
        _ => files.damages.note(path, trailer.footer_offset, "the segment's footer is damaged"),
    }
    Ok(())
}

/// The trailer, once nobody is in the middle of writing it.
fn settled_trailer(file: &ReadingFile, at: u64, length: u64) -> Option<Trailer> {
    const TIMES: u32 = 20;
    for _ in 0..TIMES {
        let trailer = crate::segment::read_trailer(file, length);
        if trailer.is_some() || is_zero(file, at, TRAILER_BYTES) {
            return trailer;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn is_zero(file: &ReadingFile, offset: u64, length: u64) -> bool {
    let mut bytes = vec![0; length as usize];
    file.read_at(offset, &mut bytes).is_ok_and(|_| bytes.iter().all(|byte| *byte == 0))
}

/// Whether some sectors of a footer were written and the others were not.
fn is_torn(found: &[u8], expected: &[u8], offset: u64) -> bool {
    if found.len() != expected.len() {
        return false;
    }
    let mut from = 0;
    while from < found.len() {
        let room = SECTOR_BYTES - (offset + from as u64) % SECTOR_BYTES;
        let to = (from + room as usize).min(found.len());
        let (found, expected) = (&found[from..to], &expected[from..to]);
        if found != expected && found.iter().any(|byte| *byte != 0) {
            return false;
        }
        from = to;
    }
    true
}
