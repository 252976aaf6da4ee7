//! Verifying: every byte that means something is read again, by `pread`, and held against its checksum and against what
//! else says something of it. Whatever is found to be wrong is told, all of it and not the first of it only, and nothing
//! is changed.
//!
//! An open database is verified beside its readers and writers. The index is copied first, part by part, with a
//! hold on the segments that it points to: records never change, so each entry must lead to an intact record of its
//! key, whatever has become of the key since. The segments are read after that, by several threads, each up to where
//! its records end by then. A segment or an image that is let go meanwhile is read all the same or not missed.
//!
//! A directory that is not open is read as an opening would read it, which says where the log ends and what the index
//! would be; where that cannot be found out, each file is read for itself (`directory.rs`).
//!
//! | covered by | what |
//! | --- | --- |
//! | checksums | headers, records, footers and trailers; the manifest; images of checkpoints; values in extents and the tables of streamed ones |
//! | their contents | the padding of records, footers against records, index entries and old versions against records, numbers of keys, references against extents |
//! | nothing | space that was reserved: behind the last record of a log segment without a footer, and between footer and trailer; behind the value in an extent; `LOCK` and the reserves; files that nothing names |

mod directory;
mod files;
pub(crate) mod pointers;
mod segment;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::{self, MANIFEST};
use crate::database::{Database, Inner};
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::inspect::{Damage, Damages, ReadingStorage, run};
use crate::progress::{Reporter, Watcher};
use crate::storage::{FileStorage, Storage, StorageFile};
use crate::sync::available_threads;
pub(crate) use directory::{ends, enter, missing_segments, open_segments, verify_locked};
use files::Files;
use segment::{LargeValue, SegmentJob};

/// How a database is verified.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    threads: Option<usize>,
    damages_max: usize,
    storage: Arc<dyn Storage>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions { threads: None, damages_max: 1000, storage: Arc::new(FileStorage) }
    }
}

impl VerifyOptions {
    /// As many threads as the system has processors for, and up to 1,000 damages in the report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads read, at least 1. By default as many as can run at once.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// How many damages the report holds at most. All are counted.
    #[must_use]
    pub fn damages_max(mut self, damages: usize) -> Self {
        self.damages_max = damages;
        self
    }

    /// The storage that [`verify_directory`] reads. An open database is read through its own.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    fn threads_or_default(&self) -> usize {
        self.threads.unwrap_or_else(available_threads)
    }

    fn validate(&self) -> Result<()> {
        match self.threads {
            Some(0) => {
                Err(Error::InvalidArgument { reason: "verify with 0 threads; use 1 or more".to_string() })
            }
            _ => Ok(()),
        }
    }
}

/// Where the log of a directory ends that nobody has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UncleanEnd {
    /// The log segment that is the newest.
    pub file: PathBuf,
    /// Where its last whole commit ends.
    pub offset: u64,
    /// How many bytes of something else follow: what the last writes have left that were cut off. The next opening
    /// leaves them out.
    pub bytes_behind: u64,
    /// How many records of the log the next opening replays.
    pub records_to_replay: u64,
    /// The first commit that is left out, with every later one: a large value of it is lost, or this is a backup in whose
    /// place the next one was cut short.
    pub lost_from_sequence: Option<u64>,
}

/// What was read and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files that were read: the manifest, images, segments and extents.
    pub files: u64,
    /// Records whose checksums were computed.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Index entries that were followed to their records.
    pub keys: u64,
    /// What is wrong, in the order of files and offsets; no more than [`VerifyOptions::damages_max`].
    pub damages: Vec<Damage>,
    /// How much is wrong in all.
    pub damage_count: u64,
    /// Set for a directory that nobody has closed properly. This is no damage: a process was killed, or power was lost.
    pub unclean_end: Option<UncleanEnd>,
    /// Names in a directory that belong to nothing: what a crash has left, which the next opening removes, and what is
    /// not AtomKV's. No more than [`VerifyOptions::damages_max`].
    pub unnamed_files: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.damage_count == 0
    }
}

impl Database {
    /// Reads everything again and holds it against its checksums and against each other: the manifest, checkpoints,
    /// every record and footer, every index entry, every large value that a document refers to. Readers and writers go
    /// on meanwhile. Tells all damage there is and changes nothing; a database that is read-only can be verified too.
    ///
    /// Reads each byte of the segments and live extents once. Takes 12 bytes of memory for each key, some megabytes
    /// for each thread, and loads the index as far as it still lies in a checkpoint. A device error is damage at that
    /// place, not an error of this call. The numbers of keys are compared where nobody writes meanwhile.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use atomkv_engine::{Database, Options, TableOptions, VerifyOptions, Watcher};
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// # database.table("users", TableOptions::new())?.put(b"ada", b"countess")?;
    /// let report = database.verify(&VerifyOptions::new(), Watcher::none())?;
    /// for damage in &report.damages {
    ///     eprintln!("{} at byte {}: {}", damage.file.display(), damage.offset, damage.detail);
    /// }
    /// assert!(report.is_clean());
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Closed`], also if the database is closed meanwhile; [`Error::Forked`];
    /// [`Error::InvalidArgument`] for 0 threads; [`Error::Io`] if the system gives no thread.
    pub fn verify(&self, options: &VerifyOptions, watcher: Watcher<'_>) -> Result<VerifyReport> {
        let inner = self.inner();
        inner.health.check_open()?;
        options.validate()?;
        let damages = Arc::new(Damages::new(options.damages_max));
        let storage = ReadingStorage::new(inner.catalog.storage.clone(), damages.clone());
        let files = Files::new(storage, &inner.path, damages);
        let manifest = inner.catalog.manifest();
        let total = inner.catalog.segment_bytes() + inner.extents.live_bytes();
        let images: u64 = manifest.checkpoints.iter().map(|image| image.bytes).sum();
        let mut reporter = watcher.begin(total + images);
        let allowed = || inner.health.check_open();

        check_manifest(inner, &files, manifest.generation)?;
        for image in &manifest.checkpoints {
            allowed()?;
            let bytes =
                files.check_image(image.generation, Some(image), &|| is_named(inner, image.generation))?;
            reporter.advance(bytes, 0)?;
        }
        let pointers =
            pointers::collect(&inner.catalog, &inner.tables, &files.damages, true, &mut reporter, allowed)?;
        let keys = pointers.keys;
        let jobs = pointers.into_jobs(inner.catalog.segments());
        let values =
            ValueFiles { held: &|id| inner.extents.held(id), is_gone: &|id| !inner.extents.is_live(id) };
        let threads = options.threads_or_default();
        check_contents(&files, &inner.tables, jobs, threads, &mut reporter, &allowed, &values)?;
        Ok(files.report(reporter, keys))
    }
}

/// Whether an image is still the database's.
fn is_named(inner: &Inner, generation: u64) -> bool {
    let names = |manifest: &Manifest| manifest.checkpoints.iter().any(|image| image.generation == generation);
    if !inner.options.read_only {
        return names(&inner.catalog.manifest());
    }
    // The process that writes has its own: what it has let go is no damage, whatever was read at the opening.
    match catalog::read_manifest(&*inner.catalog.storage, &inner.path) {
        Ok(Some(manifest)) => names(&manifest),
        _ => true,
    }
}

/// Whether the manifest on the disk is this database's, and no older than the one that was in force.
fn check_manifest(inner: &Inner, files: &Files, generation: u64) -> Result<()> {
    let path = inner.path.join(MANIFEST);
    match files.manifest()? {
        Some(found) if found.database_id != inner.catalog.manifest().database_id => {
            files.damages.note(&path, 24, "the manifest is another database's");
        }
        Some(found) if found.generation < generation => {
            files.damages.note(&path, 24, "the manifest is an older one");
        }
        _ => {}
    }
    Ok(())
}

/// What is known of the files of large values.
struct ValueFiles<'a> {
    /// One that is kept open: another process may have removed it since.
    held: &'a (dyn Fn(u64) -> Option<Arc<dyn StorageFile>> + Sync),
    /// Of one that is missing, whether that is as it should be.
    is_gone: &'a (dyn Fn(u64) -> bool + Sync),
}

/// Reads the segments, then the large values that live records refer to.
fn check_contents(
    files: &Files,
    tables: &crate::tables::Tables,
    mut jobs: Vec<SegmentJob>,
    threads: usize,
    reporter: &mut Reporter<'_>,
    allowed: &dyn Fn() -> Result<()>,
    value_files: &ValueFiles<'_>,
) -> Result<()> {
    // The largest first, so that no thread is left with one of them at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.bytes()));
    let values = crate::sync::Mutex::new(Vec::<LargeValue>::new());
    run(&jobs, threads, &files.path, reporter, allowed, |job, tally| {
        let found = segment::check(files, tables, job, tally)?;
        values.lock().extend(found);
        Ok(())
    })?;
    drop(jobs);
    let mut values = std::mem::take(&mut *values.lock());
    // Two versions of one document, or a record that compaction has left twice, have one file.
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.extent.id));
    values.sort_by_key(|value| std::cmp::Reverse(value.extent.length));
    run(&values, threads, &files.path, reporter, allowed, |value, tally| {
        files.check_value(value, value_files, tally)
    })
}

/// Verifies a directory that is not open, or cannot be opened, as [`Database::verify`] does an open one. Takes the
/// directory's lock and changes not one byte of it, not even in its lock file; it need not be writable. Whoever wants
/// to open it meanwhile is told that it is locked, perhaps with the process id of the one who had it last.
///
/// Where the directory can be read as an opening would read it, everything is held against everything else. The bad
/// end of a log that nobody has closed is then told from damage as an opening tells it, and reported as
/// [`VerifyReport::unclean_end`]: what no mark proves to have been synced counts as cut off. Where it cannot, because the
/// manifest or what an opening cannot do without is damaged, each file is read for itself.
///
/// # Errors
/// [`Error::Locked`]; [`Error::NotADatabase`] for a directory without any file of a database; [`Error::NewerFormat`];
/// [`Error::Cancelled`]; [`Error::Io`] if the directory cannot be listed or locked; [`Error::InvalidArgument`].
pub fn verify_directory(
    path: impl AsRef<Path>,
    options: &VerifyOptions,
    watcher: Watcher<'_>,
) -> Result<VerifyReport> {
    options.validate()?;
    directory::verify(path.as_ref(), options, watcher)
}
