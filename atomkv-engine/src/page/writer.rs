//! Writes page segments: records of one table in place order, then footer and trailer, then one sync.

use std::sync::Arc;

use super::append_footer;
use crate::catalog::{Catalog, NewSegment, SegmentPlan};
use crate::error::{Error, Result};
use crate::format::record::{Header, Layout, Record, encode_header};
use crate::format::segment::{FooterBuilder, FooterEntry, HEADER_BYTES, SegmentKind};
use crate::segment::Segment;
use crate::types::{Address, SegmentId};

/// A page is written in pieces that begin and end at multiples of this, a huge page: the page cache then keeps them in huge
/// pages, of which a lookup need not wait for the address of a small one.
const WRITE_BYTES: u64 = 2 << 20;

/// One page segment that is being written. Dropped unfinished, it is removed.
pub(crate) struct PageWriter {
    catalog: Arc<Catalog>,
    new: NewSegment,
    buffer: Vec<u8>,
    written: u64,
    footer: FooterBuilder,
    finished: bool,
}

impl PageWriter {
    /// Begins a page segment of a table. It takes space as it grows.
    pub(crate) fn begin(
        catalog: &Arc<Catalog>,
        table: u32,
        base_sequence: u64,
        base_time_ms: u64,
    ) -> Result<PageWriter> {
        let new = catalog.create_segment(&SegmentPlan {
            kind: SegmentKind::Page,
            table,
            base_sequence,
            base_time_ms,
            predecessor: SegmentId::default(),
            predecessor_end: 0,
            capacity: HEADER_BYTES,
            cached: 0,
        })?;
        Ok(PageWriter {
            catalog: catalog.clone(),
            new,
            buffer: Vec::new(),
            written: HEADER_BYTES,
            footer: FooterBuilder::default(),
            finished: false,
        })
    }

    /// Where the next record goes.
    pub(crate) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends a copy of a record, the checksum of whose body is known; tells where it is and how long.
    pub(crate) fn push(&mut self, record: &Record<'_>, place: u64, body: u32) -> Result<(Address, u64)> {
        self.push_parts(&record.header, record.key, record.value, place, body)
    }

    /// Appends a record of these parts, as [`PageWriter::push`] does.
    pub(crate) fn push_parts(
        &mut self,
        header: &Header,
        key: &[u8],
        value: &[u8],
        place: u64,
        body: u32,
    ) -> Result<(Address, u64)> {
        let segment = &self.new.segment;
        let header = Header { end_of_commit: true, hint: None, ..*header };
        let offset = self.offset();
        let base = segment.base.at(offset);
        let head = encode_header(&header, key.len(), value.len(), body, &base);
        let layout = Layout { header: head.bytes().len(), key: key.len(), value: value.len() };
        [head.bytes(), key, value].iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        self.footer.push(&FooterEntry {
            kind: header.kind,
            end_of_commit: true,
            table: header.table,
            offset,
            length: layout.padded(),
            place,
        });
        segment.note_sequence(header.sequence);
        if let Some(expiry_ms) = header.expiry_ms {
            segment.note_expiry(expiry_ms, header.time_ms, layout.weight(header.kind, value));
        }
        let address = segment.address(offset);
        let whole = self.offset() / WRITE_BYTES * WRITE_BYTES;
        if whole > self.written {
            self.write_to(whole)?;
        }
        Ok((address, layout.padded()))
    }

    /// Writes what is buffered, up to an offset in the file.
    fn write_to(&mut self, end: u64) -> Result<()> {
        let segment = &self.new.segment;
        let failed = |operation, error| Error::io(operation, &segment.path, error);
        segment.file().allocate(end).map_err(|error| failed("allocate", error))?;
        let length = (end - self.written) as usize;
        segment
            .file()
            .write_at(self.written, &self.buffer[..length])
            .map_err(|error| failed("write", error))?;
        self.written = end;
        self.buffer.drain(..length);
        Ok(())
    }

    /// Completes and syncs the segment and opens it for reading.
    pub(crate) fn finish(mut self) -> Result<Arc<Segment>> {
        self.write_to(self.offset())?;
        let segment = self.new.segment.clone();
        // Only the one that is opened again is sealed: whoever finds a sealed page finds its footer too.
        segment.publish(self.written);
        append_footer(&segment, std::mem::take(&mut self.footer))?;
        segment.file().sync_data().map_err(|error| Error::io("sync", &segment.path, error))?;
        let readable = Arc::new(segment.reopen()?);
        self.catalog.replace(readable.clone());
        self.finished = true;
        Ok(readable)
    }
}

impl Drop for PageWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.catalog.remove_segment(&self.new.segment);
        }
    }
}
