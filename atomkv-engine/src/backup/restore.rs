//! A database out of a backup.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::content::{COPY_BYTES, Opened};
use super::directory::{
    LOCK, PART, copy_pieces, first_damage, is_file_of_a_database, lock, put_whole, remove_if_there,
};
use super::failed;
use super::stream::{CHECKSUMS, HEAD, STREAM_FORMAT};
use crate::catalog::{MANIFEST, MANIFEST_NEW, read_manifest, replace_file};
use crate::destination::{check_apart, check_empty_but, resolve_missing};
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::open::{RESTORE_UNFINISHED as UNFINISHED, unfinished};
use crate::progress::{Reporter, Watcher};
use crate::segment::format_error;
use crate::storage::{DirectoryLock, FileStorage, LockOutcome, Storage};
use crate::verify::{VerifyOptions, verify_locked};

/// The small files of a stream are held in memory.
const SMALL_BYTES_MAX: u64 = 256 << 20;

/// How a backup is restored.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    verify: bool,
    storage: Arc<dyn Storage>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions { verify: true, storage: Arc::new(FileStorage) }
    }
}

impl RestoreOptions {
    /// What was restored is verified.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the database is read and verified when it is complete (default), see [`crate::verify_directory`].
    #[must_use]
    pub fn verify(mut self, yes: bool) -> Self {
        self.verify = yes;
        self
    }

    /// The storage of the backup and of what is restored.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }
}

/// What was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The database holds all commits up to this sequence; 0 if the backup was opened since it was made.
    pub sequence: u64,
    /// When the backup was made, in milliseconds since the Unix epoch; 0 as above.
    pub taken_ms: u64,
    /// Files that were written, the manifest not counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The whole time.
    pub elapsed: Duration,
}

/// Copies a backup, or any database that nobody has open, to a directory that is missing or empty. The backup is not
/// changed. If it fails, what was written is removed again; after a crash the same call begins anew.
///
/// # Errors
/// [`Error::AlreadyExists`] if something is at the destination; [`Error::InvalidArgument`] if one directory lies in the
/// other; [`Error::NotADatabase`], also of what was not salvaged or restored to its end; [`Error::Locked`] if somebody has the source open, or restores to the same place;
/// [`Error::Corrupt`] if what was restored is not as it should be; [`Error::NoSpace`]; [`Error::Io`]; [`Error::Cancelled`].
pub fn restore(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    options: &RestoreOptions,
    watcher: Watcher<'_>,
) -> Result<RestoreReport> {
    let storage = &*options.storage;
    let (source, given) = (source.as_ref(), destination.as_ref());
    let from = storage.resolve(source).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::NotADatabase { path: source.to_path_buf(), reason: "it does not exist".to_string() }
        }
        _ => Error::io("resolve", source, error),
    })?;
    let to = resolve_missing(storage, given)?;
    check_apart(&from, &to)?;
    let lock_path = from.join(LOCK);
    let _lock = match storage.lock_to_read(&lock_path).map_err(failed("lock", &lock_path))? {
        LockOutcome::Acquired(lock) => lock,
        LockOutcome::Held(pid) => return Err(Error::Locked { path: from, pid }),
    };
    let Some(manifest) = read_manifest(storage, &from)? else {
        let reason = "the directory has no manifest: no backup, or one that was never completed".to_string();
        return Err(Error::NotADatabase { path: from, reason });
    };
    let mut names = storage.list(&from).map_err(failed("list", &from))?;
    if let Some((_, reason)) = unfinished(&names) {
        return Err(Error::NotADatabase { path: from, reason: reason.to_string() });
    }
    names.retain(|name| is_file_of_a_database(name));
    // One at a time: there may be more files than a process may have open.
    let open = |path: &Path| -> Result<Opened> {
        let file = storage.open_to_read(path).map_err(failed("open", path))?;
        let bytes = file.len().map_err(failed("measure", path))?;
        Ok(Opened::from((file, bytes)))
    };
    let mut bytes = 0;
    for name in &names {
        bytes += open(&from.join(name))?.length;
    }
    let mut reporter = watcher.begin(bytes);
    let made = Made::begin(storage, &to)?;
    let copied = names.iter().try_for_each(|name| {
        let path = from.join(name);
        let file = open(&path)?;
        put_whole(storage, &to, name, |copy, part| {
            copy_pieces(&file, &path, copy, part, |copied| reporter.advance(copied, 0))
        })?;
        reporter.advance(0, 1)
    });
    made.end(copied.and_then(|()| made.complete(&manifest, options)))?;
    Ok(report(&manifest, reporter))
}

/// Makes a database of a stream that [`crate::Database::backup_stream`] has written. What is read is held against the
/// stream's checksums, whatever the options say.
///
/// # Errors
/// As [`restore`]; [`Error::Input`] for a stream that ends early, has a wrong checksum or is no such stream, with the entry
/// of the archive at fault; [`Error::NewerFormat`] for one of a later release.
pub fn restore_stream(
    reader: impl Read,
    destination: impl AsRef<Path>,
    options: &RestoreOptions,
    watcher: Watcher<'_>,
) -> Result<RestoreReport> {
    let storage = &*options.storage;
    let to = resolve_missing(storage, destination.as_ref())?;
    let mut reporter = watcher.begin(0);
    let made = Made::begin(storage, &to)?;
    let manifest = unpack(storage, &to, reader, &mut reporter);
    let restored = manifest.and_then(|manifest| made.complete(&manifest, options).map(|()| manifest));
    let manifest = made.end(restored)?;
    Ok(report(&manifest, reporter))
}

fn report(manifest: &Manifest, reporter: Reporter<'_>) -> RestoreReport {
    let progress = reporter.finish();
    RestoreReport {
        sequence: manifest.backup.map_or(0, |backup| backup.sequence),
        taken_ms: manifest.backup.map_or(0, |backup| backup.taken_ms),
        files: progress.records,
        bytes: progress.bytes,
        elapsed: progress.elapsed,
    }
}

/// Whether a restore makes a file of this name, whole or not.
fn is_made_by_restoring(name: &str) -> bool {
    let whole = name.strip_suffix(PART).unwrap_or(name);
    is_file_of_a_database(whole) || [MANIFEST, MANIFEST_NEW, UNFINISHED, LOCK].contains(&whole)
}

/// A directory that is being made.
struct Made<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    /// Whoever else wants to restore to the same place is told so.
    _lock: Box<dyn DirectoryLock>,
}

impl<'a> Made<'a> {
    fn begin(storage: &'a dyn Storage, path: &'a Path) -> Result<Made<'a>> {
        // What another restore has begun, and nothing else.
        let is_begun = || -> Result<bool> {
            let Ok(names) = storage.list(path) else { return Ok(false) };
            let is_begun = names.iter().any(|name| name == UNFINISHED);
            match names.iter().find(|name| !is_made_by_restoring(name)).filter(|_| is_begun) {
                Some(name) => Err(Error::AlreadyExists {
                    path: path.to_path_buf(),
                    reason: format!("beside a restore that was not finished the directory holds {name:?}"),
                }),
                None => Ok(is_begun),
            }
        };
        let marker_part = format!("{UNFINISHED}{PART}");
        // What one leaves that comes to its end before it has begun.
        let own = [LOCK, marker_part.as_str()];
        if !is_begun()? {
            check_empty_but(storage, path, &own)?;
            storage.create_dir_all(path).map_err(failed("create", path))?;
        }
        let made = Made { storage, path, _lock: lock(storage, path)? };
        // Another one may have come and gone since.
        if is_begun()? {
            made.clear()?;
        } else {
            check_empty_but(storage, path, &own)?;
        }
        made.end(made.mark())?;
        Ok(made)
    }

    /// Says that the directory is not complete yet.
    fn mark(&self) -> Result<()> {
        let Made { storage, path, .. } = *self;
        put_whole(storage, path, UNFINISHED, |_, _| Ok(()))?;
        storage.sync_dir(path).map_err(failed("sync", path))?;
        if let Some(parent) = path.parent() {
            let _ = storage.sync_dir(parent);
        }
        Ok(())
    }

    /// Removes everything that was made; the directory stays, and what others have put there.
    fn clear(&self) -> Result<()> {
        let names = self.storage.list(self.path).map_err(failed("list", self.path))?;
        // What tells that the rest is not complete goes last.
        let is_removed =
            |name: &&String| is_made_by_restoring(name) && ![UNFINISHED, LOCK].contains(&name.as_str());
        for name in names.iter().filter(is_removed) {
            remove_if_there(self.storage, &self.path.join(name))?;
        }
        remove_if_there(self.storage, &self.path.join(UNFINISHED))
    }

    /// With the manifest the database is there.
    fn complete(&self, manifest: &Manifest, options: &RestoreOptions) -> Result<()> {
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))?;
        replace_file(self.storage, self.path, MANIFEST_NEW, MANIFEST, &manifest.encode())?;
        if options.verify {
            let options = VerifyOptions::new().storage(options.storage.clone()).damages_max(1);
            first_damage(verify_locked(self.path, &options, Watcher::none())?)?;
        }
        remove_if_there(self.storage, &self.path.join(UNFINISHED))?;
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))
    }

    fn end<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            // The first error is what counts.
            let _ = self.clear();
            let _ = self.storage.remove(&self.path.join(LOCK));
        }
        outcome
    }
}

/// Writes the files of a stream; returns its manifest, once everything is there and as it was written.
fn unpack(
    storage: &dyn Storage,
    directory: &Path,
    reader: impl Read,
    reporter: &mut Reporter<'_>,
) -> Result<Manifest> {
    let mut archive = tar::Archive::new(reader);
    let mut found: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    let mut manifest = None;
    let mut checksums = None;
    let mut number = 0;
    // Raw: the archive has none of the extensions that a reader would otherwise hold in memory.
    let entries = archive.entries().map_err(|error| input(number, error.to_string()))?.raw(true);
    for entry in entries {
        number += 1;
        let mut entry = entry.map_err(|error| input(number, error.to_string()))?;
        let name = entry.path().ok().and_then(|path| path.to_str().map(str::to_string)).unwrap_or_default();
        if entry.header().entry_type() != tar::EntryType::Regular || found.contains_key(&name) {
            return Err(input(number, format!("{name:?} does not belong into a backup")));
        }
        let length = entry.header().size().map_err(|error| input(number, error.to_string()))?;
        let mut hasher = crc32fast::Hasher::new();
        if number == 1 && name != HEAD {
            return Err(input(
                number,
                format!("it begins with {name:?}, not with {HEAD:?}: no backup of AtomKV"),
            ));
        } else if [HEAD, MANIFEST, CHECKSUMS].contains(&name.as_str()) {
            let bytes = small(&mut entry, length, number)?;
            hasher.update(&bytes);
            match name.as_str() {
                HEAD => check_head(&bytes, number)?,
                MANIFEST => {
                    let path = directory.join(MANIFEST);
                    manifest = Some(Manifest::decode(&bytes).map_err(|error| format_error(&path, error))?);
                }
                _ => {
                    checksums = Some(bytes);
                    break;
                }
            }
        } else if is_file_of_a_database(&name) {
            put_whole(storage, directory, &name, |file, path| {
                let mut buffer = vec![0; COPY_BYTES];
                let mut offset = 0;
                loop {
                    let read = entry.read(&mut buffer).map_err(|error| input(number, error.to_string()))?;
                    if read == 0 {
                        break;
                    }
                    file.write_at(offset, &buffer[..read]).map_err(failed("write", path))?;
                    hasher.update(&buffer[..read]);
                    offset += read as u64;
                    reporter.advance(read as u64, 0)?;
                }
                if offset == length {
                    Ok(())
                } else {
                    Err(input(number, "the stream ends early".to_string()))
                }
            })?;
            reporter.advance(0, 1)?;
        } else {
            return Err(input(number, format!("{name:?} is no file of a backup")));
        }
        found.insert(name, (hasher.finalize(), length));
    }
    let (Some(manifest), Some(checksums)) = (manifest, checksums) else {
        return Err(input(number, "the stream ends early".to_string()));
    };
    check_sums(&found, &checksums, number)?;
    Ok(manifest)
}

fn input(record: u64, reason: String) -> Error {
    Error::Input { record, offset: 0, reason }
}

fn small(entry: &mut impl Read, length: u64, number: u64) -> Result<Vec<u8>> {
    if length > SMALL_BYTES_MAX {
        return Err(input(number, format!("{length} bytes, more than it can have")));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| input(number, error.to_string()))?;
    if bytes.len() as u64 == length {
        Ok(bytes)
    } else {
        Err(input(number, "the stream ends early".to_string()))
    }
}

fn check_head(bytes: &[u8], number: u64) -> Result<()> {
    let head: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| input(number, error.to_string()))?;
    match head["format"].as_u64() {
        Some(STREAM_FORMAT) => Ok(()),
        Some(newer) if newer > STREAM_FORMAT => Err(Error::NewerFormat {
            file: PathBuf::from("the stream"),
            found: u32::try_from(newer).unwrap_or(u32::MAX),
            supported: STREAM_FORMAT as u32,
        }),
        _ => Err(input(number, "no format version".to_string())),
    }
}

/// Each file of the stream, and no other, must be as its line says.
fn check_sums(found: &BTreeMap<String, (u32, u64)>, checksums: &[u8], number: u64) -> Result<()> {
    let text = String::from_utf8_lossy(checksums);
    let mut lines = 0;
    for line in text.lines() {
        lines += 1;
        let mut parts = line.splitn(3, ' ');
        let sum = parts.next().and_then(|sum| u32::from_str_radix(sum, 16).ok());
        let length = parts.next().and_then(|length| length.parse().ok());
        let (Some(sum), Some(length), Some(name)) = (sum, length, parts.next()) else {
            return Err(input(number, format!("line {lines} of the checksums makes no sense")));
        };
        match found.get(name) {
            Some(&is) if is == (sum, length) => {}
            Some(_) => return Err(input(number, format!("{name} is not what was written"))),
            None => return Err(input(number, format!("{name} is missing"))),
        }
    }
    if lines == found.len() { Ok(()) } else { Err(input(number, "checksums are missing".to_string())) }
}
