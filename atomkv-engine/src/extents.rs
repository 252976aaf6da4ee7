//! Large values: each in a file of its own, written before the small record that commits it takes its sequence.
//!
//! The file of a value that was overwritten or deleted goes only when the commit that replaced it is on stable
//! storage: until then power loss may bring the old record back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::format::checksum::Sum;
use crate::format::record::ExtentRef;
use crate::format::segment::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::segment::{file_name, read_header};
use crate::storage::{Mapping, StorageFile};
use crate::sync::Mutex;
use crate::types::SegmentId;

pub(crate) struct Extents {
    catalog: Arc<Catalog>,
    live: Mutex<BTreeMap<u64, u64>>,
    /// What was replaced by which commit.
    doomed: Mutex<Vec<(u64, u64)>>,
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
        Extents { catalog, live: Mutex::default(), doomed: Mutex::default() }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.catalog.path.join(file_name(SegmentKind::Extent, SegmentId(id)))
    }

    /// Writes a value; it is neither synced nor live yet.
    pub(crate) fn write(&self, value: &[u8]) -> Result<(ExtentRef, Arc<dyn StorageFile>)> {
        self.catalog.check_owned()?;
        let id = self.catalog.allocate_id()?;
        let path = self.path(id.0);
        let header = SegmentHeader {
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
        };
        let create = || -> Result<Arc<dyn StorageFile>> {
            let file =
                self.catalog.storage.create(&path).map_err(|error| Error::io("create", &path, error))?;
            let length = HEADER_BYTES + value.len() as u64;
            file.allocate(length).map_err(|error| Error::io("allocate", &path, error))?;
            file.write_at(0, &header.encode()).map_err(|error| Error::io("write", &path, error))?;
            file.write_at(HEADER_BYTES, value).map_err(|error| Error::io("write", &path, error))?;
            Ok(file)
        };
        match create() {
            Ok(file) => {
                let checksum = crc32fast::hash(value);
                Ok((ExtentRef { id: id.0, length: value.len() as u64, checksum }, file))
            }
            Err(error) => {
                self.abandon(id.0);
                Err(self.catalog.health.fail_unless_full(error))
            }
        }
    }

    /// Removes a value that no commit refers to.
    pub(crate) fn abandon(&self, id: u64) {
        // What cannot be removed now is unknown to the index and removed at the next opening.
        let _ = self.catalog.storage.remove(&self.path(id));
    }

    /// Reads a value and verifies it. `None` if its file is gone because the record that named it was replaced.
    pub(crate) fn read(&self, extent: &ExtentRef, verify: bool) -> Result<Option<ExtentBytes>> {
        let path = self.path(extent.id);
        let file = match self.catalog.storage.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.is_live(extent.id) => {
                return Ok(None);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::corrupt(&path, 0, "the file of a large value is missing"));
            }
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let end = HEADER_BYTES + extent.length;
        let length = file.len().map_err(|error| Error::io("measure", &path, error))?;
        if length < end {
            return Err(Error::corrupt(&path, length, "the file of a large value is cut short"));
        }
        let bytes = match file.map(end).map_err(|error| Error::io("map", &path, error))? {
            Some(map) => ExtentBytes::Mapped(map),
            None => {
                let mut bytes = vec![0; extent.length as usize];
                let read = file
                    .read_at(HEADER_BYTES, &mut bytes)
                    .map_err(|error| Error::io("read", &path, error))?;
                bytes.truncate(read);
                ExtentBytes::Owned(bytes)
            }
        };
        let whole = bytes.bytes().len() as u64 == extent.length;
        if !whole || verify && crc32fast::hash(bytes.bytes()) != extent.checksum {
            return Err(Error::corrupt(&path, HEADER_BYTES, "a large value's checksum does not match"));
        }
        Ok(Some(bytes))
    }

    /// Whether the file of a large value is there with every byte; read by `pread`.
    pub(crate) fn is_whole(&self, extent: &ExtentRef) -> Result<bool> {
        let path = self.path(extent.id);
        let file = match self.catalog.storage.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        match read_header(&*file, &path) {
            Ok(header) if header.id.0 == extent.id && header.kind == SegmentKind::Extent => {}
            Ok(_) | Err(Error::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; (extent.length as usize).min(1 << 20)];
        let mut done = 0;
        while done < extent.length {
            let want = (extent.length - done).min(buffer.len() as u64) as usize;
            let read = file
                .read_at(HEADER_BYTES + done, &mut buffer[..want])
                .map_err(|error| Error::io("read", &path, error))?;
            if read == 0 {
                return Ok(false);
            }
            hasher.update(&buffer[..read]);
            done += read as u64;
        }
        Ok(hasher.finalize() == extent.checksum)
    }

    /// Makes a value durable that recovery has found in the log.
    pub(crate) fn sync(&self, id: u64) -> Result<()> {
        let path = self.path(id);
        let file = match self.catalog.storage.open(&path) {
            Ok(file) => file,
            // Recovery has judged it: whoever skips damage goes on without it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        file.sync_data().map_err(|error| Error::io("sync", &path, error))
    }

    /// A commit refers to this value now.
    pub(crate) fn note_live(&self, extent: &ExtentRef) {
        self.live.lock().insert(extent.id, extent.length);
    }

    /// The commit `sequence` has replaced the record that referred to this value.
    pub(crate) fn note_dead(&self, id: u64, sequence: u64) {
        if self.live.lock().remove(&id).is_some() {
            self.doomed.lock().push((sequence, id));
        }
    }

    /// Removes the files of values that were replaced by commits up to this sequence, all of which are synced.
    pub(crate) fn reap(&self, synced: u64) {
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
