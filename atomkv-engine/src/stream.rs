//! Documents that are larger than memory: written through a writer, read by parts.
//!
//! A streamed document is a file of its own (`extents/chunked.rs`), which grows as it is written and is synced before
//! one small record commits it. So nothing is visible before [`StreamWriter::finish`]; whatever becomes of the writer,
//! the document is there as a whole or not at all; and recovery need not read it. A file that no record names is
//! removed when its writer is dropped, when the database closes, or at the next opening.
//!
//! A writer holds a chunk of 1 MiB and four bytes for each that it has written; a reader the same. Writers hold no lock
//! that others wait for. A full disk ends the one writer that has met it; any other failure to write makes the
//! database read-only, as everywhere. A reader holds its file open, so the document stays as it was for as long as it is
//! read. It verifies each chunk that it touches.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use crate::batch::Batch;
use crate::commit::{Body, Change};
use crate::epoch;
use crate::error::{Error, Result};
use crate::extents::{ChunkedFile, ChunkedWriter};
use crate::format::record::ExtentRef;
use crate::health::Health;
use crate::options::WriteOptions;
use crate::storage::StorageFile;
use crate::sync::Mutex;
use crate::table::{About, Parts, Pinned, Table, View};
use crate::types::{STREAM_BYTES_MAX, Written};

/// What a writer writes before it looks whether the database is being closed.
const TURN_BYTES: usize = 8 << 20;

impl Table {
    /// Begins to write a streamed document of up to 1 TiB. Nothing is visible before [`StreamWriter::finish`], which
    /// replaces what is there under the key then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// use std::io::{Read, Seek, SeekFrom, Write};
    /// # use atomkv_engine::{Database, Options, TableOptions};
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// # let films = database.table("films", TableOptions::new())?;
    /// let mut writer = films.write_stream(b"the kid")?;
    /// for frame in 0..1_000 {
    ///     writeln!(writer, "frame {frame}")?;
    /// }
    /// assert_eq!(writer.finish()?.version, 1);
    ///
    /// let mut reader = films.read_stream(b"the kid")?.expect("just written");
    /// reader.seek(SeekFrom::End(-10))?;
    /// let mut end = String::new();
    /// reader.read_to_string(&mut end)?;
    /// assert_eq!(end, "frame 999\n");
    /// # database.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of a key that the table does not take; [`Error::NoSpace`]; [`Error::ReadOnly`] after an earlier failure;
    /// [`Error::Io`].
    pub fn write_stream(&self, key: &[u8]) -> Result<StreamWriter> {
        let inner = &self.inner;
        inner.health.check_writable()?;
        let place = self.locate(key)?;
        if !inner.catalog.has_room_for_puts() {
            return Err(Error::NoSpace { path: inner.path.clone() });
        }
        let _change = inner.changing.read();
        inner.health.check_writable()?;
        let writer = inner.extents.begin()?;
        let id = writer.id();
        Ok(StreamWriter {
            table: self.clone(),
            key: key.to_vec(),
            place,
            id,
            length: 0,
            writer: Some(writer),
            failure: None,
        })
    }

    /// Opens a document for reading by parts: any document, streamed or not. `None` if the key is not there. The reader
    /// shows the document as it is now, whatever becomes of the key, the database or its directory.
    ///
    /// A document that was not streamed is held in place where it lies, or in memory, see [`Table::get_pinned`]. Earlier
    /// versions are read by [`Table::read_stream_version`] and [`Table::read_stream_at`].
    ///
    /// # Errors
    /// As [`Table::get`], and [`Error::Corrupt`] if what tells the parts of a streamed document from damaged ones is
    /// damaged itself.
    pub fn read_stream(&self, key: &[u8]) -> Result<Option<StreamReader>> {
        self.open_stream(key, None)
    }

    /// Writes what a reader reads as a streamed document.
    pub(crate) fn copy_stream(
        &self,
        key: &[u8],
        reader: &StreamReader,
        options: WriteOptions,
    ) -> Result<Written> {
        let mut writer = self.write_stream(key)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = reader.read_at(writer.len(), &mut buffer)?;
            if read == 0 {
                return writer.finish_with(options);
            }
            writer.append(&buffer[..read])?;
        }
    }

    pub(crate) fn open_stream(&self, key: &[u8], view: Option<&View>) -> Result<Option<StreamReader>> {
        Ok(self.open_parts(key, view)?.map(|parts| self.reader(parts)))
    }

    pub(crate) fn reader(&self, parts: Parts) -> StreamReader {
        let (source, about) = match parts {
            Parts::Held(pinned) => {
                let about = pinned.about();
                (Source::Held(pinned), about)
            }
            Parts::Chunked { file, about } => (Source::Chunked { file, buffer: Mutex::default() }, about),
        };
        let health = self.inner.health.clone();
        StreamReader { source, health, about, position: 0 }
    }
}

/// Writes one streamed document from its beginning to its end, see [`Table::write_stream`].
///
/// Dropped without [`StreamWriter::finish`], it leaves no trace. After [`crate::Database::close`] it answers
/// [`Error::Closed`], in a forked child [`Error::Forked`]. May be sent to another thread; two writers of one key do not
/// know of each other, and the one that finishes last wins. Like every handle it keeps the database's memory alive.
///
/// Through [`std::io::Write`] the errors are [`io::Error`]s around those of this crate, of kind `StorageFull` for a full
/// disk. Flushing does nothing: before the document is finished there is nothing that anybody could see.
pub struct StreamWriter {
    table: Table,
    key: Vec<u8>,
    place: u64,
    id: u64,
    length: u64,
    /// `None` once it was finished or has failed.
    writer: Option<ChunkedWriter>,
    failure: Option<String>,
}

impl StreamWriter {
    /// Adds bytes to the end of the document.
    ///
    /// # Errors
    /// [`Error::ValueTooLarge`] beyond 1 TiB: nothing of these bytes was taken. After every other error
    /// the document cannot be finished any more, and its space is free again: [`Error::NoSpace`];
    /// [`Error::Io`], which makes the database read-only; [`Error::InvalidArgument`] for more calls after such an error;
    /// [`Error::ReadOnly`]; [`Error::Closed`]; [`Error::Forked`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let length = self.length.saturating_add(bytes.len() as u64);
        if length > STREAM_BYTES_MAX {
            let in_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            return Err(Error::ValueTooLarge { length: in_usize(length), limit: in_usize(STREAM_BYTES_MAX) });
        }
        for some in bytes.chunks(TURN_BYTES) {
            self.append_some(some).map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn append_some(&mut self, bytes: &[u8]) -> Result<()> {
        let inner = &self.table.inner;
        let _change = inner.changing.read();
        // Checked again: who closes has waited for those before.
        inner.health.check_writable()?;
        if let Some(writer) = &mut self.writer {
            writer.append(bytes)?;
            self.length = writer.len();
        }
        Ok(())
    }

    /// How many bytes were added so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether no bytes were added so far.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Makes the document visible under its key, in the place of what is there. Durable as the table's default
    /// says; the document's own bytes are on stable storage in any case.
    ///
    /// # Errors
    /// Those of [`StreamWriter::append`] and of [`Table::put`]; the document is gone and the key as it was.
    pub fn finish(self) -> Result<Written> {
        self.finish_with(WriteOptions::new())
    }

    /// [`StreamWriter::finish`] with a durability, a condition or an expiry of its own.
    ///
    /// # Errors
    /// As [`StreamWriter::finish`] and [`Table::put_with`]. If the sync of the commit fails, the database is read-only and
    /// the document may or may not be found at the next opening.
    pub fn finish_with(mut self, options: impl Into<WriteOptions>) -> Result<Written> {
        let options = options.into();
        self.check()?;
        let (reference, file) = self.seal().map_err(|error| self.fail(error))?;
        let inner = &self.table.inner;
        inner.backpressure();
        let guard = epoch::pin();
        let body = Body::Stream { reference, file };
        let change = self.table.write_change(self.place, &self.key, body, &options, None)?;
        let written = inner.commit_one(&change, self.table.durability_of(&options), guard)?;
        written.ok_or_else(|| Error::Internal { reason: "a stream that wrote nothing".to_string() })
    }

    fn seal(&mut self) -> Result<(ExtentRef, Arc<dyn StorageFile>)> {
        let inner = &self.table.inner;
        let _change = inner.changing.read();
        inner.health.check_writable()?;
        let Some(writer) = self.writer.take() else {
            return Err(Error::Internal { reason: "a stream without a file".to_string() });
        };
        let sealed = writer.seal()?;
        inner.extents.begin_commit(self.id);
        Ok(sealed)
    }

    /// [`StreamWriter::finish_with`] together with a batch: the document and everything in the batch become visible under
    /// one sequence, or nothing of it. What is told is the document's.
    ///
    /// # Errors
    /// As [`StreamWriter::finish_with`] and [`crate::Database::apply`]; [`Error::InvalidArgument`] if the batch writes or
    /// checks the document's own key.
    pub fn finish_in(mut self, batch: &Batch, options: impl Into<WriteOptions>) -> Result<Written> {
        let options = options.into();
        self.check()?;
        let (reference, file) = self.seal().map_err(|error| self.fail(error))?;
        let inner = &self.table.inner;
        let mut changes = batch.changes(inner, None)?;
        let body = Body::Stream { reference, file };
        let change = self.table.write_change(self.place, &self.key, body, &options, None)?;
        let order = |other: &Change<'_>| (other.table.id, other.place) < (change.table.id, change.place);
        let at = changes.partition_point(order);
        if changes.iter().any(|other| other.table.id == change.table.id && other.key == change.key) {
            let reason = "the batch has the key of the streamed document".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        changes.insert(at, change);
        let written = inner.commit_telling(&changes, self.table.durability_of(&options))?;
        let written = written.get(at).copied().flatten();
        written.ok_or_else(|| Error::Internal { reason: "a stream that wrote nothing".to_string() })
    }

    /// Whether it can go on.
    fn check(&self) -> Result<()> {
        self.table.inner.health.check_writable()?;
        match &self.failure {
            None => Ok(()),
            Some(failure) => {
                let reason = format!("this stream has ended ({failure}); write the document anew");
                Err(Error::InvalidArgument { reason })
            }
        }
    }

    /// Nothing can come of the document any more.
    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some(error.to_string());
        let error = self.table.inner.health.fail_unless_full(error);
        self.give_up();
        error
    }

    /// Removes the file, unless a commit refers to it.
    fn give_up(&mut self) {
        let inner = &self.table.inner;
        self.writer = None;
        // The child's locks may be held for ever, and the file is the parent's.
        if inner.health.is_forked() {
            return;
        }
        let _change = inner.changing.read();
        // Who closes removes it, and the directory may be another's by now.
        if !inner.health.is_closed() {
            inner.extents.give_up(self.id);
        }
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.check()?)
    }
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWriter").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Reads a document by parts, see [`Table::read_stream`]. It stays valid when the document is overwritten or deleted, and
/// when the database is compacted or closed; until it is dropped, the document keeps its space on the disk.
///
/// Of a streamed document each chunk (1 MiB) is verified as a whole when a part of it is read, unless
/// [`crate::Options::verify_checksums`] says otherwise, and the last one is kept: small reads that follow each other are
/// cheap, small ones all over the document cost a chunk each. Many threads may share a reader; those that read parts
/// of chunks take turns.
///
/// Through [`std::io::Read`] the errors are [`io::Error`]s around those of this crate, of kind `InvalidData` for damage.
pub struct StreamReader {
    source: Source,
    health: Arc<Health>,
    about: About,
    position: u64,
}

enum Source {
    Held(Pinned),
    Chunked { file: ChunkedFile, buffer: Mutex<Buffer> },
}

/// The chunk that was read last.
#[derive(Default)]
struct Buffer {
    number: Option<u64>,
    bytes: Vec<u8>,
}

impl StreamReader {
    /// Reads from an offset into a buffer, and tells how many bytes: fewer than the buffer has only where the document
    /// ends. Does not move the position of [`std::io::Read`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the file and the offset of the chunk if a chunk that is touched is damaged, and
    /// [`Error::Io`]; what the buffer holds then is nobody's document. [`Error::Forked`] in a child of the process that
    /// opened the database.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if self.health.is_forked() {
            return Err(Error::Forked);
        }
        let wanted = (buffer.len() as u64).min(self.len().saturating_sub(offset)) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        match &self.source {
            Source::Held(pinned) => {
                let part = pinned.get(offset as usize..).and_then(|rest| rest.get(..wanted));
                buffer.copy_from_slice(part.unwrap_or_default());
            }
            Source::Chunked { file, .. } if !file.is_verified() => file.read_part(offset, buffer)?,
            Source::Chunked { file, buffer: kept } => read_verified(file, kept, offset, buffer)?,
        }
        Ok(wanted)
    }

    /// The document's length in bytes.
    pub fn len(&self) -> u64 {
        match &self.source {
            Source::Held(pinned) => pinned.len() as u64,
            Source::Chunked { file, .. } => file.len(),
        }
    }

    /// Whether the document is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key's version, see [`Written::version`].
    pub fn version(&self) -> u64 {
        self.about.version
    }

    /// The commit that wrote the document, see [`Written::sequence`].
    pub fn sequence(&self) -> u64 {
        self.about.sequence
    }

    /// When it was written, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        self.about.time_ms
    }

    /// When it expires, in milliseconds since the Unix epoch; `None` for never.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.about.expires_at_ms
    }

    /// How much one call of [`std::io::Read`] takes at most: no more than the rest of a chunk, so that damage in the
    /// next one takes nothing from what is sound.
    fn turn(&self, wanted: usize) -> usize {
        match &self.source {
            Source::Chunked { file, .. } if self.position < file.len() => {
                let (_, start, length) = file.chunk_at(self.position);
                (start + length - self.position).min(wanted as u64) as usize
            }
            _ => wanted,
        }
    }
}

/// Fills a buffer with a part of a document: whole chunks at once, others through the kept chunk.
fn read_verified(
    file: &ChunkedFile,
    kept: &Mutex<Buffer>,
    mut offset: u64,
    mut buffer: &mut [u8],
) -> Result<()> {
    while !buffer.is_empty() {
        let (number, start, length) = file.chunk_at(offset);
        let skip = (offset - start) as usize;
        let (part, rest) = buffer.split_at_mut(buffer.len().min(length as usize - skip));
        if part.len() as u64 == length {
            file.read_chunk(number, part)?;
        } else {
            let mut kept = kept.lock();
            kept.fill(file, number, length as usize)?;
            part.copy_from_slice(kept.bytes.get(skip..skip + part.len()).unwrap_or_default());
        }
        offset += part.len() as u64;
        buffer = rest;
    }
    Ok(())
}

impl Buffer {
    /// Has this chunk in the buffer, verified.
    fn fill(&mut self, file: &ChunkedFile, number: u64, length: usize) -> Result<()> {
        if self.number != Some(number) {
            self.number = None;
            self.bytes.resize(length, 0);
            file.read_chunk(number, &mut self.bytes)?;
            self.number = Some(number);
        }
        Ok(())
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let turn = self.turn(buffer.len());
        let read = self.read_at(self.position, buffer.get_mut(..turn).unwrap_or_default())?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for StreamReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before =
            || io::Error::new(io::ErrorKind::InvalidInput, "a position before the document's beginning");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("StreamReader");
        debug.field("length", &self.len()).field("version", &self.about.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::database::Database;
    use crate::options::{Options, TableOptions};
    use crate::storage::sim::SimStorage;
    use crate::types::VALUE_BYTES_MAX;

    fn open() -> (Database, Table) {
        let options = Options::new().storage(Arc::new(SimStorage::new(1))).background(false);
        let database = Database::open(Path::new("/sim/db"), options).expect("opens");
        let table = database.table("t", TableOptions::new()).expect("a table");
        (database, table)
    }

    /// Nobody has a tebibyte to write for a test.
    #[test]
    fn more_than_a_tebibyte_is_refused() {
        let (_database, table) = open();
        let mut writer = table.write_stream(b"k").expect("begun");
        writer.append(b"some").expect("written");
        writer.length = STREAM_BYTES_MAX - 3;
        match writer.append(b"more") {
            Err(error @ Error::ValueTooLarge { .. }) => {
                assert!(error.to_string().contains("1099511627776"), "{error}");
                assert_eq!(io::Error::from(error).kind(), io::ErrorKind::FileTooLarge);
            }
            outcome => panic!("{outcome:?}"),
        }
        writer.append(b"end").expect("up to the limit");
        assert_eq!(writer.len(), 7, "nothing of what was refused was taken");
    }

    #[test]
    fn what_is_too_large_for_one_piece_says_how_to_read_it() {
        let (_database, table) = open();
        let length = VALUE_BYTES_MAX as u64 + 1;
        let extent = ExtentRef { id: 1, length, checksum: 0, chunk_bits: Some(20) };
        match table.inner.extents.read(&extent, true).map(drop) {
            Err(error @ Error::ValueTooLarge { .. }) => {
                assert!(error.to_string().contains("read_stream"), "{error}");
            }
            outcome => panic!("{outcome:?}"),
        }
    }
}
