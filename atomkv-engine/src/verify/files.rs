//! The files that are not segments: the manifest, images of checkpoints, large values. And what was read so far.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::segment::LargeValue;
use super::{ValueFiles, VerifyReport};
use crate::catalog::{self, MANIFEST};
use crate::checkpoint::{self, image_name};
use crate::error::{Error, Result};
use crate::extents;
use crate::format::manifest::{CheckpointRecord, Manifest};
use crate::format::segment::SegmentKind;
use crate::inspect::{Damage, Damages, ReadingFile, ReadingStorage, Tally};
use crate::progress::Reporter;
use crate::segment::file_name;
use crate::storage::Storage;
use crate::types::SegmentId;

/// A directory that is verified.
pub(super) struct Files {
    pub(super) storage: ReadingStorage,
    pub(super) path: PathBuf,
    pub(super) damages: Arc<Damages>,
    files: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Files {
    pub(super) fn new(storage: ReadingStorage, path: &Path, damages: Arc<Damages>) -> Files {
        Files {
            storage,
            path: path.to_path_buf(),
            damages,
            files: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn count_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_read(&self, bytes: u64, records: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn report(&self, reporter: Reporter<'_>, keys: u64) -> VerifyReport {
        reporter.finish();
        let (damages, damage_count) = self.damages.finish();
        VerifyReport {
            files: self.files.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            keys,
            damages,
            damage_count,
            unclean_end: None,
            unnamed_files: Vec::new(),
        }
    }

    /// Reads the manifest; what is wrong with it is told.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>> {
        let path = self.path.join(MANIFEST);
        self.count_file();
        match catalog::read_manifest(&self.storage, &self.path) {
            Ok(Some(manifest)) => {
                self.count_read(self.storage.open(&path).and_then(|file| file.len()).unwrap_or(0), 0);
                Ok(Some(manifest))
            }
            Ok(None) => {
                self.damages.note(&path, 0, "the manifest is missing; restore it from a backup, or salvage");
                Ok(None)
            }
            Err(error) => self.damages.take(error).map(|()| None),
        }
    }

    /// Reads an image. If it is no longer named by then, nothing is wrong. Returns how many bytes were read.
    pub(super) fn check_image(
        &self,
        generation: u64,
        record: Option<&CheckpointRecord>,
        is_named: &dyn Fn() -> bool,
    ) -> Result<u64> {
        let mut bytes = 0;
        let image = match checkpoint::read_frame(&self.storage, &self.path, generation, record) {
            Ok(image) => image,
            Err(_) if !is_named() => return Ok(0),
            Err(Error::Io { path, source, .. }) if source.kind() == ErrorKind::NotFound => {
                let detail = "a checkpoint's image is missing; the next opening does without it";
                self.damages.note(&path, 0, detail);
                return Ok(0);
            }
            Err(error) => return self.damages.take(error).map(|()| 0),
        };
        self.count_file();
        image.check_blobs(|length, outcome| {
            bytes += length;
            outcome.or_else(|error| self.damages.take(error))
        })?;
        let path = self.path.join(image_name(generation));
        let length = self.storage.open(&path).and_then(|file| file.len());
        if record.is_some_and(|record| length.as_ref().is_ok_and(|length| *length != record.bytes)) {
            self.damages.note(&path, 0, "the image does not have the length that the manifest states");
        }
        let bytes = length.unwrap_or(bytes);
        self.count_read(bytes, 0);
        Ok(bytes)
    }

    /// Reads a large value.
    pub(super) fn check_value(
        &self,
        value: &LargeValue,
        value_files: &ValueFiles<'_>,
        tally: &Tally,
    ) -> Result<()> {
        let path = self.path.join(file_name(SegmentKind::Extent, SegmentId(value.extent.id)));
        let damage = |file: PathBuf, offset: u64, detail: String| {
            let (table, key) = (value.table.clone(), Some(value.key.clone()));
            self.damages.add(Damage { file, offset, detail, table, key });
        };
        let mut part = |bytes: &[u8]| {
            self.count_read(bytes.len() as u64, 0);
            tally.add(bytes.len() as u64, 0)
        };
        let mut damaged = |error: Error| {
            if let Error::Corrupt { file, offset, detail } = error {
                damage(file, offset, detail);
            }
            Ok(())
        };
        let outcome = match (value_files.held)(value.extent.id) {
            Some(file) => {
                let file = Arc::new(ReadingFile::new(file, &path, self.damages.clone()));
                extents::examine_file(file, &path, &value.extent, &mut part, &mut damaged)
            }
            None => extents::examine(&self.storage, &path, &value.extent, &mut part, &mut damaged),
        };
        match outcome {
            Ok(()) => {
                self.count_file();
                Ok(())
            }
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                if !value.may_be_gone && !(value_files.is_gone)(value.extent.id) {
                    damage(path, 0, "the file of a large value is missing".to_string());
                }
                Ok(())
            }
            Err(Error::Io { operation, source, .. }) => {
                damage(path, 0, format!("cannot {operation} it: {source}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
