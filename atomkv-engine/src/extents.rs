//! Large values: each in a file of its own, written before the small record that commits it takes its sequence. A value
//! that came in one piece has one checksum, in that record; a streamed one has a checksum for each chunk, in a table
//! behind it (`chunked.rs`).
//!
//! The file of a value that was overwritten or deleted goes only when the commit that replaced it is on stable
//! storage: until then power loss may bring the old record back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::catalog::{Catalog, LOOK_AGAIN_MAX, MANIFEST};
use crate::error::{Error, Result};
use crate::format::checksum::Sum;
use crate::format::record::ExtentRef;
use crate::format::segment::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::segment::{file_name, read_header};
use crate::storage::{Mapping, Storage, StorageFile};
use crate::sync::Mutex;
use crate::types::{SegmentId, VALUE_BYTES_MAX};

mod chunked;

pub(crate) use chunked::{ChunkedFile, ChunkedWriter};

/// Takes the next part of a value.
pub(crate) type Take<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

pub(crate) struct Extents {
    catalog: Arc<Catalog>,
    live: Mutex<BTreeMap<u64, u64>>,
    /// Streamed values that no commit is known to refer to yet.
    unfinished: Mutex<BTreeMap<u64, Stage>>,
    /// What was replaced by which commit.
    doomed: Mutex<Vec<(u64, u64)>>,
    /// What nobody wants since some time and not since a commit, with the lengths: the image names it, until there is
    /// one that does not.
    outdated: Mutex<BTreeMap<u64, u64>>,
    /// How many want the files of what was replaced to stay.
    holds: AtomicUsize,
    /// Open files of a database that another process may change.
    held: Mutex<BTreeMap<u64, Arc<dyn StorageFile>>>,
}

/// What becomes of a streamed value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Written,
    /// A commit that refers to it may be in the log.
    Committed,
}

/// The stored bytes of a large value.
pub(crate) enum ExtentBytes {
    Mapped(Mapping),
    Owned(Vec<u8>),
}

impl ExtentBytes {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            ExtentBytes::Mapped(map) => map.readable().get(HEADER_BYTES as usize..).unwrap_or(&[]),
            ExtentBytes::Owned(bytes) => bytes,
        }
    }
}

impl Extents {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Extents {
        Extents {
            catalog,
            live: Mutex::default(),
            unfinished: Mutex::default(),
            doomed: Mutex::default(),
            outdated: Mutex::default(),
            holds: AtomicUsize::new(0),
            held: Mutex::default(),
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.catalog.path.join(file_name(SegmentKind::Extent, SegmentId(id)))
    }

    fn header(&self, id: SegmentId) -> SegmentHeader {
        SegmentHeader {
            kind: SegmentKind::Extent,
            lane: 0,
            ordinal: 0,
            table: 0,
            database: self.catalog.manifest().database_id,
            id,
            base_sequence: 0,
            base_time_ms: 0,
            predecessor: SegmentId(0),
            predecessor_end: 0,
            sum: Sum::Crc32c,
        }
    }

    /// Writes a value; it is neither synced nor live yet.
    pub(crate) fn write(&self, value: &[u8]) -> Result<(ExtentRef, Arc<dyn StorageFile>)> {
        self.write_parts(value.len() as u64, &mut |put| put(value))
    }

    /// Writes a value in one piece, of this length, that `give` hands over part by part. An error of its own leaves
    /// nothing behind.
    pub(crate) fn write_parts(
        &self,
        length: u64,
        give: &mut dyn FnMut(&mut Take<'_>) -> Result<()>,
    ) -> Result<(ExtentRef, Arc<dyn StorageFile>)> {
        self.catalog.check_owned()?;
        let id = self.catalog.allocate_id()?;
        let path = self.path(id.0);
        let header = self.header(id);
        let failed = |error| self.catalog.health.fail_unless_full(error);
        let mut hasher = crc32fast::Hasher::new();
        let mut create = || -> Result<Arc<dyn StorageFile>> {
            let io = |operation| {
                let path = &path;
                move |error| failed(Error::io(operation, path, error))
            };
            let file = self.catalog.storage.create(&path).map_err(io("create"))?;
            file.allocate(HEADER_BYTES + length).map_err(io("allocate"))?;
            file.write_at(0, &header.encode()).map_err(io("write"))?;
            let mut offset = HEADER_BYTES;
            give(&mut |part| {
                file.write_at(offset, part).map_err(io("write"))?;
                hasher.update(part);
                offset += part.len() as u64;
                Ok(())
            })?;
            Ok(file)
        };
        match create() {
            Ok(file) => {
                let checksum = hasher.finalize();
                Ok((ExtentRef { id: id.0, length, checksum, chunk_bits: None }, file))
            }
            Err(error) => {
                self.abandon(id.0);
                Err(error)
            }
        }
    }

    /// Begins a streamed value, which is unfinished until a commit refers to it. The caller keeps the database from
    /// closing meanwhile.
    pub(crate) fn begin(&self) -> Result<ChunkedWriter> {
        self.catalog.check_owned()?;
        let id = self.catalog.allocate_id()?;
        let path = self.path(id.0);
        let create = || -> Result<Arc<dyn StorageFile>> {
            let file =
                self.catalog.storage.create(&path).map_err(|error| Error::io("create", &path, error))?;
            let header = self.header(id).encode();
            file.write_at(0, &header).map_err(|error| Error::io("write", &path, error))?;
            Ok(file)
        };
        match create() {
            Ok(file) => {
                self.unfinished.lock().insert(id.0, Stage::Written);
                Ok(ChunkedWriter::new(id.0, path, file))
            }
            Err(error) => {
                self.abandon(id.0);
                Err(self.catalog.health.fail_unless_full(error))
            }
        }
    }

    /// From here on only the one who commits knows whether a streamed value is wanted.
    pub(crate) fn begin_commit(&self, id: u64) {
        self.unfinished.lock().insert(id, Stage::Committed);
    }

    /// Gives a streamed value up, unless a commit refers to it. Only for the one who wrote it; the caller keeps the
    /// database from closing meanwhile.
    pub(crate) fn give_up(&self, id: u64) {
        if self.unfinished.lock().remove(&id).is_some() {
            self.abandon(id);
        }
    }

    /// Gives all streamed values up that are still being written: the database closes.
    pub(crate) fn give_up_all(&self) {
        let all: Vec<u64> = {
            let unfinished = self.unfinished.lock();
            unfinished.iter().filter(|(_, stage)| **stage == Stage::Written).map(|(id, _)| *id).collect()
        };
        all.into_iter().for_each(|id| self.give_up(id));
    }

    /// Removes a value that no commit refers to.
    pub(crate) fn abandon(&self, id: u64) {
        self.catalog.remove_file(&self.path(id));
    }

    /// Opens the files of all live values and keeps them, because another process may remove them. False if one is gone.
    pub(crate) fn hold_all(&self) -> Result<bool> {
        let mut held = self.held.lock();
        for (id, _) in self.live() {
            let path = self.path(id);
            match self.catalog.storage.open(&path) {
                Ok(file) => drop(held.insert(id, file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(Error::io("open", &path, error)),
            }
        }
        Ok(true)
    }

    /// The file of a live value that is kept open, see [`Extents::hold_all`].
    pub(crate) fn held(&self, id: u64) -> Option<Arc<dyn StorageFile>> {
        self.held.lock().get(&id).cloned()
    }

    /// What to do when the file of a large value is gone and nobody wants it: its document was replaced since, so look
    /// again, unless it has been so too often for that.
    #[cold]
    pub(crate) fn look_again(&self, times: &mut u32) -> Result<()> {
        *times += 1;
        if *times < LOOK_AGAIN_MAX {
            return Ok(());
        }
        let detail = "a document refers to a large value that is not there";
        Err(Error::corrupt(&self.catalog.path.join(MANIFEST), 0, detail))
    }

    /// Opens the file of a value. `None` if it is gone because the record that named it was replaced.
    fn open(&self, extent: &ExtentRef, path: &Path) -> Result<Option<Arc<dyn StorageFile>>> {
        if let Some(file) = self.held(extent.id) {
            return Ok(Some(file));
        }
        match self.catalog.storage.open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.is_live(extent.id) => {
                Ok(None)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::corrupt(path, 0, "the file of a large value is missing"))
            }
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    /// Opens a streamed value for reading by chunks. `None` as with [`Extents::read`].
    pub(crate) fn open_chunked(
        &self,
        extent: &ExtentRef,
        chunk_bits: u8,
        verify: bool,
    ) -> Result<Option<ChunkedFile>> {
        let path = self.path(extent.id);
        match self.open(extent, &path)? {
            Some(file) => ChunkedFile::open(path, file, extent, chunk_bits, verify).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a value and verifies it. `None` if its file is gone because the record that named it was replaced.
    pub(crate) fn read(&self, extent: &ExtentRef, verify: bool) -> Result<Option<ExtentBytes>> {
        if let Some(chunk_bits) = extent.chunk_bits {
            return self.read_streamed(extent, chunk_bits, verify);
        }
        let path = self.path(extent.id);
        let Some(file) = self.open(extent, &path)? else {
            return Ok(None);
        };
        let end = HEADER_BYTES + extent.length;
        let length = file.len().map_err(|error| Error::io("measure", &path, error))?;
        if length < end {
            return Err(Error::corrupt(&path, length, "the file of a large value is cut short"));
        }
        let bytes = bytes_of(&*file, &path, extent.length)?;
        let whole = bytes.bytes().len() as u64 == extent.length;
        if !whole || verify && crc32fast::hash(bytes.bytes()) != extent.checksum {
            return Err(Error::corrupt(&path, HEADER_BYTES, "a large value's checksum does not match"));
        }
        Ok(Some(bytes))
    }

    fn read_streamed(&self, extent: &ExtentRef, chunk_bits: u8, verify: bool) -> Result<Option<ExtentBytes>> {
        if extent.length > VALUE_BYTES_MAX as u64 {
            let length = usize::try_from(extent.length).unwrap_or(usize::MAX);
            return Err(Error::ValueTooLarge { length, limit: VALUE_BYTES_MAX });
        }
        let Some(chunked) = self.open_chunked(extent, chunk_bits, verify)? else {
            return Ok(None);
        };
        let path = self.path(extent.id);
        let bytes = bytes_of(&**chunked.file(), &path, extent.length)?;
        if bytes.bytes().len() as u64 != extent.length {
            return Err(Error::corrupt(&path, HEADER_BYTES, "the file of a streamed value is cut short"));
        }
        chunked.verify_all(bytes.bytes())?;
        Ok(Some(bytes))
    }

    /// Whether the file of a large value is there with every byte; read by `pread`. A streamed value was synced before
    /// its record was written, so what is not damaged there beside the chunks tells it.
    pub(crate) fn is_whole(&self, extent: &ExtentRef) -> Result<bool> {
        let path = self.path(extent.id);
        let file = match self.catalog.storage.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        if let Some(chunk_bits) = extent.chunk_bits {
            return match ChunkedFile::open(path, file, extent, chunk_bits, true) {
                Ok(_) => Ok(true),
                Err(Error::Corrupt { .. }) => Ok(false),
                Err(error) => Err(error),
            };
        }
        match read_in_parts(&*file, &path, extent, &mut |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(Error::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a value durable that recovery has found in the log; writes it again before, where it is not known that its
    /// sync has succeeded. That of a streamed one has, or there were no record of it.
    pub(crate) fn sync(&self, extent: &ExtentRef, again: bool) -> Result<()> {
        let path = self.path(extent.id);
        let file = match self.catalog.storage.open(&path) {
            Ok(file) => file,
            // Recovery has judged it: whoever skips damage goes on without it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        if again && extent.chunk_bits.is_none() {
            rewrite(&*file, &path, 0..HEADER_BYTES + extent.length)?;
        }
        file.sync_data().map_err(|error| Error::io("sync", &path, error))
    }

    /// A commit refers to this value now.
    pub(crate) fn note_live(&self, extent: &ExtentRef) {
        self.live.lock().insert(extent.id, extent.length);
        if extent.chunk_bits.is_some() {
            self.unfinished.lock().remove(&extent.id);
        }
    }

    /// The commit `sequence` has replaced the record that referred to this value.
    pub(crate) fn note_dead(&self, id: u64, sequence: u64) {
        let mut live = self.live.lock();
        if live.remove(&id).is_some() {
            // Before others can see that it is not live: a backup wants its file all the same.
            self.doomed.lock().push((sequence, id));
        }
    }

    /// The version that referred to this value has been kept for its time. No record in the log says so.
    pub(crate) fn note_outdated(&self, id: u64) {
        let mut outdated = self.outdated.lock();
        if let Some(length) = self.live.lock().remove(&id) {
            outdated.insert(id, length);
        }
    }

    /// The values, with their lengths, that the next image does not name any more.
    pub(crate) fn outdated(&self) -> BTreeMap<u64, u64> {
        self.outdated.lock().clone()
    }

    /// The live values with their lengths, for an image: also those outdated ones that versions in it name.
    pub(crate) fn live_or_named(&self, named: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
        let outdated = self.outdated.lock();
        let mut all = self.live.lock().clone();
        all.extend(named.filter_map(|id| Some((id, *outdated.get(&id)?))));
        all.into_iter().collect()
    }

    /// An image was installed that does not name these.
    pub(crate) fn note_image(&self, outdated: &BTreeMap<u64, u64>) {
        self.outdated.lock().retain(|id, _| !outdated.contains_key(id));
        self.doomed.lock().extend(outdated.keys().map(|id| (0, *id)));
    }

    /// The values that were replaced by commits after this one, or are outdated, and whose files are still there.
    pub(crate) fn doomed_after(&self, sequence: u64) -> Vec<u64> {
        let mut ids: Vec<u64> = self.outdated.lock().keys().copied().collect();
        ids.extend(self.doomed.lock().iter().filter(|(since, _)| *since > sequence).map(|(_, id)| *id));
        ids
    }

    /// From now on the files of replaced values stay, until [`Extents::release_files`] was called as often.
    pub(crate) fn hold_files(&self) {
        self.holds.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn release_files(&self) {
        self.holds.fetch_sub(1, Ordering::SeqCst);
    }

    /// Removes the files of values that were replaced by commits up to this sequence, all of which are synced.
    pub(crate) fn reap(&self, synced: u64) {
        if self.holds.load(Ordering::SeqCst) > 0 {
            return;
        }
        let gone: Vec<u64> = {
            let mut doomed = self.doomed.lock();
            let gone = doomed.iter().filter(|(sequence, _)| *sequence <= synced).map(|(_, id)| *id).collect();
            doomed.retain(|(sequence, _)| *sequence > synced);
            gone
        };
        gone.into_iter().for_each(|id| self.abandon(id));
    }

    /// The live values with their lengths, for a checkpoint.
    pub(crate) fn live(&self) -> Vec<(u64, u64)> {
        self.live.lock().iter().map(|(id, length)| (*id, *length)).collect()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.lock().values().sum()
    }

    /// What a checkpoint knows.
    pub(crate) fn adopt(&self, live: &[(u64, u64)]) {
        self.live.lock().extend(live.iter().copied());
    }

    pub(crate) fn is_live(&self, id: u64) -> bool {
        self.live.lock().contains_key(&id)
    }
}

/// Writes the bytes of a file that are there again, so that the next sync asks the disk for them.
pub(crate) fn rewrite(file: &dyn StorageFile, path: &Path, bytes: std::ops::Range<u64>) -> Result<()> {
    let mut buffer = vec![0; bytes.end.saturating_sub(bytes.start).min(PART_BYTES as u64) as usize];
    let mut at = bytes.start;
    while at < bytes.end {
        let want = (bytes.end - at).min(buffer.len() as u64) as usize;
        let read = file.read_at(at, &mut buffer[..want]).map_err(|error| Error::io("read", path, error))?;
        if read == 0 {
            break;
        }
        file.write_at(at, &buffer[..read]).map_err(|error| Error::io("write", path, error))?;
        at += read as u64;
    }
    Ok(())
}

/// How much of a large value is read at once where it is read by parts.
const PART_BYTES: usize = 1 << 20;

/// Reads a value in one piece by `pread`, some of it at a time, and verifies it: only when it has returned is it known
/// that what was handed over is what was written.
fn read_in_parts(file: &dyn StorageFile, path: &Path, extent: &ExtentRef, part: &mut Take<'_>) -> Result<()> {
    let header = read_header(file, path)?;
    if header.id.0 != extent.id || header.kind != SegmentKind::Extent {
        return Err(Error::corrupt(path, 0, "the header is that of another file"));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; (extent.length as usize).min(PART_BYTES)];
    let mut done = 0;
    while done < extent.length {
        let want = (extent.length - done).min(buffer.len() as u64) as usize;
        let read = file
            .read_at(HEADER_BYTES + done, &mut buffer[..want])
            .map_err(|error| Error::io("read", path, error))?;
        if read == 0 {
            let end = HEADER_BYTES + done;
            return Err(Error::corrupt(path, end, "the file of a large value is cut short"));
        }
        hasher.update(&buffer[..read]);
        part(&buffer[..read])?;
        done += read as u64;
    }
    if hasher.finalize() != extent.checksum {
        return Err(Error::corrupt(path, HEADER_BYTES, "a large value's checksum does not match"));
    }
    Ok(())
}

/// Reads the file of a large value as [`examine_file`] does, from where it lies.
///
/// # Errors
/// [`Error::Io`], also with `NotFound`; what the functions answer.
pub(crate) fn examine(
    storage: &dyn Storage,
    path: &Path,
    extent: &ExtentRef,
    part: &mut Take<'_>,
    damaged: &mut dyn FnMut(Error) -> Result<()>,
) -> Result<()> {
    let file = storage.open_to_read(path).map_err(|error| Error::io("open", path, error))?;
    examine_file(file, path, extent, part, damaged)
}

/// Reads the file of a large value from its beginning to its end by `pread` and verifies it. Hands its stored bytes to
/// `part` as they come, and each damage to `damaged`; of a streamed value the chunks that are damaged are not handed
/// over, of another one it is known last. An error of either function ends it.
///
/// # Errors
/// [`Error::Io`]; what the functions answer.
pub(crate) fn examine_file(
    file: Arc<dyn StorageFile>,
    path: &Path,
    extent: &ExtentRef,
    part: &mut Take<'_>,
    damaged: &mut dyn FnMut(Error) -> Result<()>,
) -> Result<()> {
    let Some(chunk_bits) = extent.chunk_bits else {
        return match read_in_parts(&*file, path, extent, part) {
            Err(error @ Error::Corrupt { .. }) => damaged(error),
            outcome => outcome,
        };
    };
    let chunked = match ChunkedFile::open(path.to_path_buf(), file, extent, chunk_bits, true) {
        Err(error @ Error::Corrupt { .. }) => return damaged(error),
        outcome => outcome?,
    };
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < extent.length {
        let (number, _, length) = chunked.chunk_at(offset);
        buffer.resize(length as usize, 0);
        match chunked.read_chunk(number, &mut buffer) {
            Ok(()) => part(&buffer)?,
            Err(error @ Error::Corrupt { .. }) => damaged(error)?,
            Err(error) => return Err(error),
        }
        offset += length;
    }
    Ok(())
}

/// The stored bytes of a value, mapped where the storage maps; fewer than that if the file has fewer.
fn bytes_of(file: &dyn StorageFile, path: &Path, length: u64) -> Result<ExtentBytes> {
    let end = HEADER_BYTES + length;
    if let Some(map) = file.map(end).map_err(|error| Error::io("map", path, error))? {
        return Ok(ExtentBytes::Mapped(map));
    }
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(HEADER_BYTES, &mut bytes).map_err(|error| Error::io("read", path, error))?;
    bytes.truncate(read);
    Ok(ExtentBytes::Owned(bytes))
}
