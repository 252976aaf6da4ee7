//! The way through a segment, from record to record, whatever is damaged there.
//!
//! Behind a damaged record the next one is found by what knows where records begin: the segment's footer, or whoever
//! walks. Where nobody knows, every place is looked at, and one whose checksum matches is a record. A large value may
//! look like the headers of many records; so only so many bytes of such are read in vain.

use std::cell::{Cell, OnceCell};
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::record::{Base, Header, Layout, Record, RecordError};
use crate::format::segment::TRAILER_BYTES;
use crate::segment_reader::SegmentReader;
use crate::storage::StorageFile;

/// Where the records of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Here: what is no record before it is damaged.
    At(u64),
    /// Nobody knows. They end before the end of the file, where no other follows.
    Unknown,
}

/// A place in a segment where there should be a record and is none.
pub(crate) struct Damaged {
    pub(crate) offset: u64,
    /// Where the next record begins, or the records end.
    pub(crate) next: u64,
    pub(crate) error: RecordError,
    /// What seems to have been there, unverified: believed by nobody without further evidence.
    pub(crate) seems: Option<Seems>,
}

/// What a damaged record may have been.
pub(crate) struct Seems {
    pub(crate) header: Header,
    pub(crate) key: Vec<u8>,
    /// Where the next record begins, if the lengths are right.
    pub(crate) end: u64,
}

/// Who is told what stands in a segment.
pub(crate) trait Visitor {
    /// An intact record.
    fn record(&mut self, offset: u64, record: &Record<'_>) -> Result<()>;
    /// Bytes behind an intact record that should be zeros and are not.
    fn padding(&mut self, offset: u64, layout: Layout) -> Result<()>;
    /// No record where there should be one.
    fn damaged(&mut self, damaged: Damaged) -> Result<()>;
}

/// A segment to be walked through.
pub(crate) struct Walk<'a> {
    pub(crate) file: &'a dyn StorageFile,
    pub(crate) path: &'a Path,
    pub(crate) base: Base,
    pub(crate) from: u64,
    pub(crate) end: End,
    /// Where records begin, as far as that is known, in ascending order; asked for when there is damage.
    pub(crate) starts: &'a dyn Fn() -> Vec<u64>,
}

/// So small records are looked at wherever they seem to be.
const SMALL_BYTES: usize = 4 << 10;

impl Walk<'_> {
    /// Tells everything that stands in the segment; returns where the records end.
    pub(crate) fn run(&self, visitor: &mut impl Visitor) -> Result<u64> {
        let length = self.file.len().map_err(|error| Error::io("measure", self.path, error))?;
        let told = match self.end {
            End::At(end) => end,
            // No record reaches into the place of the trailer.
            End::Unknown => length.saturating_sub(TRAILER_BYTES).max(self.from),
        };
        let end = told.min(length);
        let mut ended_badly = false;
        let mut reader = SegmentReader::new(self.file, self.path, self.base, self.from, end);
        let starts = OnceCell::new();
        let in_vain = Cell::new(4 * end.saturating_sub(self.from));
        loop {
            let offset = reader.offset();
            let error = match reader.next()? {
                None if end < told && !ended_badly => {
                    let error = RecordError::Short;
                    visitor.damaged(Damaged { offset: end, next: told, error, seems: None })?;
                    return Ok(told);
                }
                None => return Ok(told),
                Some(found) => match found.record {
                    Ok(record) => {
                        visitor.record(offset, &record)?;
                        let layout = record.layout;
                        if !reader.is_padded(offset, layout)? {
                            visitor.padding(offset, layout)?;
                        }
                        continue;
                    }
                    Err(error) => error,
                },
            };
            let starts = starts.get_or_init(self.starts);
            let Some(next) = self.next_start(&mut reader, offset, end, starts, &in_vain)? else {
                return Ok(offset);
            };
            let seems = reader.unverified(offset)?.map(|(header, key, end)| Seems { header, key, end });
            ended_badly = next == end;
            visitor.damaged(Damaged { offset, next, error, seems })?;
            reader.seek(next);
        }
    }

    /// Where to go on behind a place that holds no record. `None`: the records end there.
    fn next_start(
        &self,
        reader: &mut SegmentReader<'_>,
        offset: u64,
        end: u64,
        starts: &[u64],
        in_vain: &Cell<u64>,
    ) -> Result<Option<u64>> {
        let known = starts.partition_point(|start| *start <= offset);
        if let Some(start) = starts.get(known).filter(|start| **start < end) {
            return Ok(Some(*start));
        }
        let likely = |_: &Header, layout: Layout| {
            let bytes = layout.exact();
            if bytes <= SMALL_BYTES {
                return true;
            }
            let left = in_vain.get().checked_sub(bytes as u64);
            in_vain.set(left.unwrap_or(in_vain.get()));
            left.is_some()
        };
        reader.seek(offset + 8);
        if reader.resync(likely, |_| true)? {
            return Ok(Some(reader.offset()));
        }
        Ok(match self.end {
            End::At(_) => Some(end),
            End::Unknown => None,
        })
    }
}
