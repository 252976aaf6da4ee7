//! Backups: the database as it was at one moment, while readers and writers go on; into a directory, where the next
//! backup adds what is new, or into one stream.
//!
//! A backup is the files of the database: sealed segments, which never change; what is in the log's last segment by the
//! moment, copied; the newest image of the index; the large values; and a manifest that names them, written last. So it
//! opens as a database does after its process was killed at that moment. A snapshot keeps large values from going
//! meanwhile, and open files the segments that compaction lets go.

mod content;
mod directory;
mod restore;
mod seal;
mod stream;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::database::Database;
use crate::destination::{check_apart, resolve_missing};
use crate::error::{Error, Result};
use crate::progress::Watcher;
use crate::storage::{FileStorage, Storage};
use content::Content;
pub(crate) use directory::is_part;
pub use restore::{RestoreOptions, RestoreReport, restore, restore_stream};
pub(crate) use seal::cut_log;

/// How a backup is made.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    link: bool,
    verify: bool,
    storage: Arc<dyn Storage>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        BackupOptions { link: true, verify: false, storage: Arc::new(FileStorage) }
    }
}

impl BackupOptions {
    /// Files are linked where that can be, and the backup is not read again.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether files that never change get a second name (a hard link) in the backup where the file system can do that,
    /// which takes no time and no space (default). Such a backup is safe from everything that is done to the database, but
    /// not from the disk. Where it cannot be, as on another disk, they are copied.
    #[must_use]
    pub fn link(mut self, yes: bool) -> Self {
        self.link = yes;
        self
    }

    /// Whether the whole backup is read and verified when it is complete, see [`crate::verify_directory`]. Means nothing to
    /// a stream, which has checksums of its own.
    #[must_use]
    pub fn verify(mut self, yes: bool) -> Self {
        self.verify = yes;
        self
    }

    /// The storage that the backup is written to.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }
}

/// What a backup has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The backup holds all commits up to this sequence, and none that came later.
    pub sequence: u64,
    /// Files in the backup, the manifest not counted.
    pub files: u64,
    /// How many of them were there from an earlier backup.
    pub files_kept: u64,
    /// How many of them are links.
    pub files_linked: u64,
    /// The bytes of all files; preallocated space is not copied.
    pub bytes: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
    /// The whole time.
    pub elapsed: Duration,
}

impl Database {
    /// Makes a backup in a directory while readers and writers go on: exactly the commits up to one moment, those
    /// acknowledged before the call among them, on stable storage when this returns. The directory is missing or empty, or
    /// holds an earlier backup of this database, of which files that never change are kept if they are the database's own
    /// or the same byte for byte; until the new backup is complete the earlier one stays as it was, or becomes a later state
    /// of the same database. Where this database was restored from a backup before that one, the files of both change places
    /// at the very end.
    ///
    /// A backup is a database: [`Database::open`] opens it, and from then on it is one of its own, to which no backup goes
    /// any more. [`restore`] copies one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if one of the two directories lies in the other; [`Error::AlreadyExists`] if something
    /// else is there, or a backup that was opened since; [`Error::Locked`] if another backup goes there right now;
    /// [`Error::NoSpace`] and [`Error::Io`], after which the next backup to the same place goes on; [`Error::Cancelled`];
    /// [`Error::Corrupt`] if the backup is verified and not as it should be. The database goes on after all of them.
    pub fn backup(
        &self,
        directory: impl AsRef<Path>,
        options: &BackupOptions,
        watcher: Watcher<'_>,
    ) -> Result<BackupReport> {
        let inner = self.inner();
        inner.health.check_writable()?;
        let target = resolve_missing(&*options.storage, directory.as_ref())?;
        check_apart(&inner.path, &target)?;
        let report = directory::write(inner, &target, options, watcher)?;
        if options.verify {
            directory::verify(&target, options)?;
        }
        Ok(report)
    }

    /// Makes a backup as one stream: a tar archive of the files, with the checksums of all at its end. [`restore_stream`]
    /// makes a database of it, and so does `tar` alone. What is in it is as with [`Database::backup`].
    ///
    /// # Errors
    /// [`Error::Io`] from the writer; [`Error::Cancelled`]. What was written until then is refused by
    /// [`restore_stream`]. The database goes on.
    pub fn backup_stream(&self, writer: impl Write, watcher: Watcher<'_>) -> Result<BackupReport> {
        self.inner().health.check_writable()?;
        stream::write(&Content::gather(self.inner())?, writer, watcher)
    }
}

/// A failure beside the database, which it survives.
fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::io(operation, path, error)
}
