//! A backup in a directory.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::content::{BLANK_BYTES, BackupFile, COPY_BYTES, Content, Opened, read_pieces};
use super::{BackupOptions, BackupReport, failed, seal};
use crate::catalog::{MANIFEST, MANIFEST_NEW, read_manifest, replace_file};
use crate::checkpoint::parse_image_name;
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::segment::SegmentKind;
use crate::health::is_out_of_descriptors;
use crate::progress::{Reporter, Watcher};
use crate::segment::{parse_file_name, read_trailer};
use crate::storage::{DirectoryLock, LockOutcome, Storage, StorageFile};
use crate::verify::{VerifyOptions, VerifyReport, verify_directory};

/// There while the first backup to a directory is not complete; it holds the id of the database.
const UNFINISHED: &str = "BACKUP-UNFINISHED";
/// The marker while it is written.
const UNFINISHED_PART: &str = "BACKUP-UNFINISHED.part";
pub(super) const LOCK: &str = "LOCK";
/// What a file is called until it is whole.
pub(super) const PART: &str = ".part";

struct Target<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    names: HashSet<String>,
    earlier: Option<Manifest>,
    _lock: Box<dyn DirectoryLock>,
}

/// What an earlier backup has under the name of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    /// None that anybody needs.
    Nothing,
    /// The very same one.
    Linked,
    /// One with the same bytes.
    Same,
    /// The log as far as it had come by then.
    Beginning,
    /// One that is damaged, or that of another branch: of the database from which this one was restored, or that was
    /// restored from this one.
    Other,
}

pub(super) fn write(
    inner: &Arc<Inner>,
    path: &Path,
    options: &BackupOptions,
    watcher: Watcher<'_>,
) -> Result<BackupReport> {
    let database_id = inner.catalog.manifest().database_id;
    let target = Target::begin(&*options.storage, path, database_id)?;
    let content = Content::gather(inner)?;
    let mut reporter = watcher.begin(content.bytes());
    let mut report = BackupReport { sequence: content.sequence, ..BackupReport::default() };
    let mut known = Vec::with_capacity(content.files.len());
    for file in &content.files {
        content.check_open()?;
        known.push(target.compare(&content, file, &mut reporter)?);
    }
    let is_branch = target.is_ahead_of(content.sequence) || known.contains(&There::Other);
    // What would make something else of the earlier backup waits until the rest is there.
    let waits = |file: &BackupFile, there: There| {
        is_branch
            && (there == There::Other || there != There::Same && there != There::Linked && is_log(&file.name))
    };
    let mut staged = Vec::new();
    let mut earlier = target.earlier.as_ref().filter(|_| !is_branch);
    for (file, there) in content.files.iter().zip(known) {
        content.check_open()?;
        if let Some(manifest) = earlier
            && is_new_log(manifest, &file.name)
        {
            seal::seal(&*options.storage, path, manifest, &inner.tables)?;
            earlier = None;
        }
        let waits = waits(file, there);
        if target.put(&content, (file, there, waits), options.link, &mut report, &mut reporter)? && waits {
            staged.push(file.name.as_str());
        }
    }
    target.finish(&content, &staged)?;
    report.elapsed = reporter.finish().elapsed;
    Ok(report)
}

fn is_log(name: &str) -> bool {
    parse_file_name(name).is_some_and(|(kind, _)| kind == SegmentKind::Log)
}

/// Whether a file is a log segment that an earlier backup did not have.
fn is_new_log(earlier: &Manifest, name: &str) -> bool {
    parse_file_name(name).is_some_and(|(kind, id)| {
        kind == SegmentKind::Log && earlier.segments.iter().all(|segment| segment.id != id.0)
    })
}

pub(super) fn verify(path: &Path, options: &BackupOptions) -> Result<()> {
    let options = VerifyOptions::new().storage(options.storage.clone()).damages_max(1);
    first_damage(verify_directory(path, &options, Watcher::none())?)
}

/// The first damage that was found is an error here.
pub(super) fn first_damage(report: VerifyReport) -> Result<()> {
    match report.damages.into_iter().next() {
        Some(damage) => Err(Error::corrupt(&damage.file, damage.offset, damage.detail)),
        None => Ok(()),
    }
}

/// Takes the directory's lock.
pub(super) fn lock(storage: &dyn Storage, path: &Path) -> Result<Box<dyn DirectoryLock>> {
    let lock_path = path.join(LOCK);
    match storage.lock(&lock_path).map_err(failed("lock", &lock_path))? {
        LockOutcome::Acquired(lock) => Ok(lock),
        LockOutcome::Held(pid) => Err(Error::Locked { path: path.to_path_buf(), pid }),
    }
}

/// Whether a file of this name may be a database's.
pub(super) fn is_file_of_a_database(name: &str) -> bool {
    parse_file_name(name).is_some() || parse_image_name(name).is_some()
}

/// Whether a file was to become a database's.
pub(crate) fn is_part(name: &str) -> bool {
    name.strip_suffix(PART).is_some_and(is_file_of_a_database)
}

/// Writes a file under another name first, so that it is there as a whole or not at all.
pub(super) fn put_whole(
    storage: &dyn Storage,
    directory: &Path,
    name: &str,
    write: impl FnOnce(&dyn StorageFile, &Path) -> Result<()>,
) -> Result<()> {
    put_part(storage, directory, name, write)?;
    let part = directory.join(format!("{name}{PART}"));
    storage.rename(&part, &directory.join(name)).map_err(failed("rename", &part))
}

/// Writes a file under its other name, and leaves it there.
fn put_part(
    storage: &dyn Storage,
    directory: &Path,
    name: &str,
    write: impl FnOnce(&dyn StorageFile, &Path) -> Result<()>,
) -> Result<()> {
    let part = directory.join(format!("{name}{PART}"));
    remove_if_there(storage, &part)?;
    let file = storage.create(&part).map_err(failed("create", &part))?;
    let outcome = write(&*file, &part).and_then(|()| file.sync_data().map_err(failed("sync", &part)));
    if outcome.is_err() {
        // On a full disk its space is wanted.
        let _ = storage.remove(&part);
    }
    outcome
}

/// Copies a file from its beginning to `length`, and tells how much of it. What is all zeros is left out where it can be:
/// space that was reserved and given back.
pub(super) fn copy_pieces(
    from: &Opened,
    from_path: &Path,
    to: &dyn StorageFile,
    to_path: &Path,
    mut tell: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    read_pieces(from, from_path, |offset, piece| {
        let is_last = offset + piece.len() as u64 == from.length;
        if is_last || piece.iter().any(|byte| *byte != 0) {
            to.write_at(offset, piece).map_err(failed("write", to_path))?;
        }
        tell(piece.len() as u64)
    })
}

pub(super) fn remove_if_there(storage: &dyn Storage, path: &Path) -> Result<()> {
    match storage.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

impl<'a> Target<'a> {
    /// Finds out what is there, and makes sure that it may be replaced.
    fn begin(storage: &'a dyn Storage, path: &'a Path, database_id: [u8; 16]) -> Result<Target<'a>> {
        let exists = |reason: String| Err(Error::AlreadyExists { path: path.to_path_buf(), reason });
        match storage.list(path) {
            Ok(names) => {
                let is_backup = names.iter().any(|name| [MANIFEST, UNFINISHED].contains(&name.as_str()));
                let foreign = names.iter().find(|name| ![LOCK, UNFINISHED_PART].contains(&name.as_str()));
                // Before the lock is taken, which writes to a file that may be anybody's.
                if let Some(name) = foreign.filter(|_| !is_backup) {
                    return exists(format!("the directory holds {name:?}"));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                storage.create_dir_all(path).map_err(failed("create", path))?;
                if let Some(parent) = path.parent() {
                    // The directory's own name, where its parent can be synced.
                    let _ = storage.sync_dir(parent);
                }
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return exists("it is a file".to_string());
            }
            Err(error) => return Err(Error::io("list", path, error)),
        }
        let lock = lock(storage, path)?;
        let names: HashSet<String> = storage.list(path).map_err(failed("list", path))?.into_iter().collect();
        let earlier = read_manifest(storage, path)?;
        match &earlier {
            Some(manifest) if manifest.database_id != database_id => {
                return exists("it is another database, or a backup of another".to_string());
            }
            Some(manifest) if manifest.backup.is_none() => {
                return exists(
                    "it is a backup that was opened since, or the database itself elsewhere".to_string(),
                );
            }
            _ => {}
        }
        let target = Target { storage, path, names, earlier, _lock: lock };
        if target.earlier.is_none() {
            target.begin_first(database_id)?;
        }
        Ok(target)
    }

    fn begin_first(&self, database_id: [u8; 16]) -> Result<()> {
        let marker = self.path.join(UNFINISHED);
        if self.names.contains(UNFINISHED) {
            let file = self.storage.open_to_read(&marker).map_err(failed("open", &marker))?;
            let mut found = [0; 16];
            let read = file.read_at(0, &mut found).map_err(failed("read", &marker))?;
            if read > 0 && found != database_id {
                let reason = "it holds the beginning of a backup of another database".to_string();
                return Err(Error::AlreadyExists { path: self.path.to_path_buf(), reason });
            }
            return Ok(());
        }
        if let Some(name) = self.names.iter().find(|name| ![LOCK, UNFINISHED_PART].contains(&name.as_str())) {
            let reason = format!("the directory holds {name:?}");
            return Err(Error::AlreadyExists { path: self.path.to_path_buf(), reason });
        }
        self.mark(database_id)
    }

    /// Says that the directory holds no backup yet, but will.
    fn mark(&self, database_id: [u8; 16]) -> Result<()> {
        put_whole(self.storage, self.path, UNFINISHED, |file, path| {
            file.write_at(0, &database_id).map_err(failed("write", path))
        })?;
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))
    }

    /// Whether the earlier backup holds commits that come after this one.
    fn is_ahead_of(&self, sequence: u64) -> bool {
        let backup = self.earlier.as_ref().and_then(|manifest| manifest.backup);
        backup.is_some_and(|backup| backup.sequence > sequence)
    }

    /// Puts one file into the directory, unless it is there; one that waits under its other name. Returns whether it was
    /// put.
    fn put(
        &self,
        content: &Content,
        (file, there, waits): (&BackupFile, There, bool),
        link: bool,
        report: &mut BackupReport,
        reporter: &mut Reporter<'_>,
    ) -> Result<bool> {
        let Some(body) = content.open(file)? else { return Ok(false) };
        let bytes = body.length;
        report.files += 1;
        report.bytes += bytes;
        let may_link = link && file.is_final && content.is_on_disk() && there != There::Linked;
        if may_link && self.link(file, waits)? {
            report.files_linked += 1;
            reporter.advance(bytes, 1)?;
            return Ok(true);
        }
        if matches!(there, There::Linked | There::Same) {
            report.files_kept += 1;
            reporter.advance(bytes, 1)?;
            return Ok(false);
        }
        let write = |copy: &dyn StorageFile, part: &Path| {
            copy_pieces(&body, &file.path, copy, part, |copied| {
                report.bytes_copied += copied;
                reporter.advance(copied, 0)
            })
        };
        if waits {
            put_part(self.storage, self.path, &file.name, write)?;
        } else {
            put_whole(self.storage, self.path, &file.name, write)?;
        }
        reporter.advance(0, 1)?;
        Ok(true)
    }

    /// Gives the file a name in the directory; false if that cannot be.
    fn link(&self, file: &BackupFile, waits: bool) -> Result<bool> {
        if !waits && !self.names.contains(&file.name) {
            return Ok(self.storage.link(&file.path, &self.path.join(&file.name)).is_ok());
        }
        let part = self.path.join(format!("{}{PART}", file.name));
        remove_if_there(self.storage, &part)?;
        if self.storage.link(&file.path, &part).is_err() {
            return Ok(false);
        }
        if !waits {
            self.place(&file.name)?;
        }
        Ok(true)
    }

    /// Gives a file that is whole its own name.
    fn place(&self, name: &str) -> Result<()> {
        let part = self.path.join(format!("{name}{PART}"));
        self.storage.rename(&part, &self.path.join(name)).map_err(failed("rename", &part))?;
        // Two names of one file do not replace one another.
        remove_if_there(self.storage, &part)
    }

    /// What the earlier backup has under the name of a file. A database that was restored from an earlier backup has files
    /// of the same names as the one that was backed up, and other contents from then on. Only all of it tells: two large
    /// values, or two pages, may be as long as one another and begin and end alike.
    fn compare(&self, content: &Content, file: &BackupFile, reporter: &mut Reporter<'_>) -> Result<There> {
        if self.earlier.is_none() || !self.names.contains(&file.name) {
            return Ok(There::Nothing);
        }
        let path = self.path.join(&file.name);
        let is_link = file.is_final && content.is_on_disk();
        if is_link && self.storage.is_same_file(&file.path, &path).unwrap_or(false) {
            return Ok(There::Linked);
        }
        let Some(body) = content.open(file)? else { return Ok(There::Nothing) };
        // What cannot be read of the earlier backup is replaced as what is damaged is.
        let there = match self.storage.open_to_read(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
            Err(error) => {
                let error = Error::io("open", &path, error);
                // That passes, and says nothing of the file.
                return if is_out_of_descriptors(&error) { Err(error) } else { Ok(There::Other) };
            }
        };
        let Ok(length) = there.len() else { return Ok(There::Other) };
        let (mut one, mut other) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
        let mut begins_with = |end: u64| -> Result<bool> {
            let mut offset = 0;
            while offset < end {
                let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(COPY_BYTES);
                let read = body.read_at(offset, &mut one[..want]).map_err(failed("read", &file.path))?;
                let Ok(same) = there.read_at(offset, &mut other[..read]) else { return Ok(false) };
                if read == 0 || read != same || one[..read] != other[..read] {
                    return Ok(false);
                }
                offset += read as u64;
                // Nothing is done yet, but it may be cancelled.
                reporter.advance(0, 0)?;
            }
            Ok(true)
        };
        if length == body.length && begins_with(length)? {
            return Ok(There::Same);
        }
        let records_end = || match read_trailer(&*there, length) {
            Some(trailer) => trailer.records_end,
            None => length.saturating_sub(BLANK_BYTES),
        };
        let is_beginning = is_log(&file.name) && begins_with(records_end())?;
        Ok(if is_beginning { There::Beginning } else { There::Other })
    }

    /// Gives everything that has waited its name. Between the first and the last of them there is no backup, which the
    /// directory says: with some files of either branch it would be neither.
    fn place_all(&self, names: &[&str], database_id: [u8; 16]) -> Result<()> {
        self.mark(database_id)?;
        remove_if_there(self.storage, &self.path.join(MANIFEST))?;
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))?;
        names.iter().try_for_each(|name| self.place(name))?;
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))
    }

    /// Names everything, then removes what only the earlier backup had.
    fn finish(&self, content: &Content, staged: &[&str]) -> Result<()> {
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))?;
        if !staged.is_empty() {
            self.place_all(staged, content.manifest.database_id)?;
        }
        replace_file(self.storage, self.path, MANIFEST_NEW, MANIFEST, &content.manifest.encode())?;
        let wanted: HashMap<&str, ()> = content.files.iter().map(|file| (file.name.as_str(), ())).collect();
        for name in self.storage.list(self.path).map_err(failed("list", self.path))? {
            let is_part = is_part(&name);
            let is_stale = is_file_of_a_database(&name) && !wanted.contains_key(name.as_str());
            if is_part || is_stale || name == UNFINISHED {
                remove_if_there(self.storage, &self.path.join(&name))?;
            }
        }
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))
    }
}
