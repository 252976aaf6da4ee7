//! The file of a streamed value, written and read by chunks with little memory.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 128 | segment header, kind 3 |
//! | 128 | length | the value, not compressed |
//! | 128 + length | 4 a chunk | CRC-32C of each chunk in turn, padded with zeros to a multiple of 8 bytes while it is computed |
//!
//! Length, chunk size and the checksum of that table are in the reference, [`ExtentRef`]. The last chunk may be shorter
//! than the others; an empty value has none. What follows the table means nothing: space that was reserved.
//!
//! The file is synced before anything refers to it. So its header, its length and its table tell that it is whole; a
//! chunk is verified by whoever reads it, and damage in one says nothing about the others.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::checksum::Sum;
use crate::format::record::ExtentRef;
use crate::format::segment::{HEADER_BYTES, SegmentKind};
use crate::segment::read_header;
use crate::storage::StorageFile;

/// The chunks of new values: 4 MiB of table for the largest, and a buffer that costs nobody much.
const CHUNK_BITS: u8 = 20;
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
/// A checksum in the table.
const SUM_BYTES: usize = 4;

/// Space is reserved ahead, so that the file is in few pieces: a part of what is there already, within these.
const AHEAD_BYTES_MIN: u64 = 1 << 20;
const AHEAD_BYTES_MAX: u64 = 256 << 20;
/// What was written is synced after so many bytes: others who sync should not wait for a whole stream, and the system
/// slows everybody down who writes while too much waits for the disk.
const SYNC_STEP_BYTES: u64 = 64 << 20;
/// What was reserved in vain is given back from a multiple of this on.
const PAGE_BYTES: u64 = 4 << 10;

/// A streamed value that is being written.
pub(crate) struct ChunkedWriter {
    id: u64,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    /// The chunk that is not full yet.
    chunk: Vec<u8>,
    /// The table so far.
    sums: Vec<u8>,
    /// How much of the value is in the file.
    written: u64,
    reserved: u64,
    synced: u64,
}

impl ChunkedWriter {
    /// Goes on in a file that has a header and nothing else.
    pub(super) fn new(id: u64, path: PathBuf, file: Arc<dyn StorageFile>) -> ChunkedWriter {
        let (chunk, sums) = (Vec::new(), Vec::new());
        ChunkedWriter { id, path, file, chunk, sums, written: 0, reserved: HEADER_BYTES, synced: 0 }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn len(&self) -> u64 {
        self.written + self.chunk.len() as u64
    }

    /// Adds to the value. After an error the file is of no use.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.chunk.is_empty()
                && let Some((whole, rest)) = bytes.split_at_checked(CHUNK_BYTES)
            {
                self.write_chunk(whole)?;
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(part);
            bytes = rest;
            if self.chunk.len() == CHUNK_BYTES {
                self.write_buffered()?;
            }
        }
        Ok(())
    }

    fn write_buffered(&mut self) -> Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        self.write_chunk(&chunk)?;
        chunk.clear();
        self.chunk = chunk;
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &[u8]) -> Result<()> {
        let end = HEADER_BYTES + self.written + chunk.len() as u64;
        self.reserve(end)?;
        self.write_at(HEADER_BYTES + self.written, chunk)?;
        self.sums.extend_from_slice(&Sum::Crc32c.go_on(0, chunk).to_le_bytes());
        self.written += chunk.len() as u64;
        if self.written - self.synced >= SYNC_STEP_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Reserves at least up to `end`. What a disk that is nearly full has no room for ahead need not be there ahead.
    fn reserve(&mut self, end: u64) -> Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let ahead = end + (self.written / 8).clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX);
        match self.reserve_exactly(ahead) {
            Err(Error::NoSpace { .. }) => self.reserve_exactly(end),
            outcome => outcome,
        }
    }

    fn reserve_exactly(&mut self, end: u64) -> Result<()> {
        if end > self.reserved {
            self.file.allocate(end).map_err(|error| Error::io("allocate", &self.path, error))?;
            self.reserved = end;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes).map_err(|error| Error::io("write", &self.path, error))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io("sync", &self.path, error))?;
        self.synced = self.written;
        Ok(())
    }

    /// Writes the rest and the table, and returns when all of it is on stable storage. Its name need not be there yet.
    pub(crate) fn seal(mut self) -> Result<(ExtentRef, Arc<dyn StorageFile>)> {
        let table = HEADER_BYTES + self.len();
        let is_rest = !self.chunk.is_empty();
        let end = table + (self.sums.len() + if is_rest { SUM_BYTES } else { 0 }) as u64;
        self.reserve_exactly(end)?;
        if is_rest {
            self.write_buffered()?;
        }
        self.write_at(table, &self.sums)?;
        let unused = end.next_multiple_of(PAGE_BYTES);
        if unused < self.reserved {
            let give_back = self.file.punch_hole(unused, self.reserved - unused);
            give_back.map_err(|error| Error::io("punch a hole into", &self.path, error))?;
        }
        self.sync()?;
        let checksum = Sum::Crc32c.go_on(0, &self.sums);
        let reference =
            ExtentRef { id: self.id, length: self.written, checksum, chunk_bits: Some(CHUNK_BITS) };
        Ok((reference, self.file))
    }
}

/// A streamed value that can be read. Its file stays readable when its name is gone.
pub(crate) struct ChunkedFile {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    length: u64,
    chunk_bytes: u64,
    /// The table; `None` where nothing is to be verified.
    sums: Option<Vec<u8>>,
}

impl ChunkedFile {
    /// Checks what there is besides the chunks: the header, the length, and the table unless nothing is verified.
    pub(super) fn open(
        path: PathBuf,
        file: Arc<dyn StorageFile>,
        extent: &ExtentRef,
        chunk_bits: u8,
        verify: bool,
    ) -> Result<ChunkedFile> {
        let header = read_header(&*file, &path)?;
        if header.kind != SegmentKind::Extent || header.id.0 != extent.id {
            return Err(Error::corrupt(&path, 0, "the header is that of another file"));
        }
        let chunk_bytes = 1 << chunk_bits;
        let table = HEADER_BYTES + extent.length;
        let table_bytes = extent.length.div_ceil(chunk_bytes) * SUM_BYTES as u64;
        let present = file.len().map_err(|error| Error::io("measure", &path, error))?;
        if present < table + table_bytes {
            return Err(Error::corrupt(&path, present, "the file of a streamed value is cut short"));
        }
        let mut chunked = ChunkedFile { path, file, length: extent.length, chunk_bytes, sums: None };
        if verify {
            let mut sums = vec![0; table_bytes as usize];
            chunked.read_exactly(table, &mut sums)?;
            if Sum::Crc32c.go_on(0, &sums) != extent.checksum {
                let detail = "the checksum of a streamed value's table does not match";
                return Err(Error::corrupt(&chunked.path, table, detail));
            }
            chunked.sums = Some(sums);
        }
        Ok(chunked)
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.sums.is_some()
    }

    pub(super) fn file(&self) -> &Arc<dyn StorageFile> {
        &self.file
    }

    /// The chunk that an offset lies in: its number, where it begins, and its length.
    pub(crate) fn chunk_at(&self, offset: u64) -> (u64, u64, u64) {
        let number = offset / self.chunk_bytes;
        let start = number * self.chunk_bytes;
        (number, start, self.chunk_bytes.min(self.length.saturating_sub(start)))
    }

    /// Reads a chunk, of which the buffer has the length, and verifies it.
    pub(crate) fn read_chunk(&self, number: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_part(number * self.chunk_bytes, buffer)?;
        self.verify(number, buffer)
    }

    /// Reads a part of the value without verifying it.
    pub(crate) fn read_part(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read_exactly(HEADER_BYTES + offset, buffer)
    }

    fn read_exactly(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.file.read_at(offset, buffer).map_err(|error| Error::io("read", &self.path, error))?;
        if read < buffer.len() {
            let end = offset + read as u64;
            return Err(Error::corrupt(&self.path, end, "the file of a streamed value is cut short"));
        }
        Ok(())
    }

    /// Whether these are the bytes that were written as this chunk.
    fn verify(&self, number: u64, bytes: &[u8]) -> Result<()> {
        let Some(sums) = &self.sums else { return Ok(()) };
        let expected = sums.chunks_exact(SUM_BYTES).nth(number as usize);
        if expected != Some(&Sum::Crc32c.go_on(0, bytes).to_le_bytes()) {
            let offset = HEADER_BYTES + number * self.chunk_bytes;
            return Err(Error::corrupt(&self.path, offset, "the checksum of a chunk does not match"));
        }
        Ok(())
    }

    /// Verifies the whole value, which is given.
    pub(super) fn verify_all(&self, value: &[u8]) -> Result<()> {
        let chunks = value.chunks(self.chunk_bytes as usize);
        (0..).zip(chunks).try_for_each(|(number, chunk)| self.verify(number, chunk))
    }
}
