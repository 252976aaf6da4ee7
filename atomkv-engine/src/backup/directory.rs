//! A backup in a directory.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::content::{BackupFile, COPY_BYTES, Content, Opened, read_pieces};
use super::{BackupOptions, BackupReport, failed, seal};
use crate::catalog::{MANIFEST, MANIFEST_NEW, read_manifest, replace_file};
use crate::checkpoint::parse_image_name;
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::segment::SegmentKind;
use crate::progress::{Reporter, Watcher};
use crate::segment::parse_file_name;
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
    /// Of the files that an earlier backup has and that never change.
    finals: HashSet<String>,
    earlier: Option<Manifest>,
    _lock: Box<dyn DirectoryLock>,
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
    let mut earlier = target.earlier.as_ref();
    for file in &content.files {
        content.check_open()?;
        if let Some(manifest) = earlier
            && is_new_log(manifest, &file.name)
        {
            seal::seal(&*options.storage, path, manifest, &inner.tables)?;
            earlier = None;
        }
        target.put(&content, file, options.link, &mut report, &mut reporter)?;
    }
    target.finish(&content)?;
    report.elapsed = reporter.finish().elapsed;
    Ok(report)
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

/// Writes a file under another name first, so that it is there as a whole or not at all.
pub(super) fn put_whole(
    storage: &dyn Storage,
    directory: &Path,
    name: &str,
    write: impl FnOnce(&dyn StorageFile, &Path) -> Result<()>,
) -> Result<()> {
    let part = directory.join(format!("{name}{PART}"));
    remove_if_there(storage, &part)?;
    let file = storage.create(&part).map_err(failed("create", &part))?;
    write(&*file, &part)?;
    file.sync_data().map_err(failed("sync", &part))?;
    drop(file);
    storage.rename(&part, &directory.join(name)).map_err(failed("rename", &part))
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
                let known = [MANIFEST, UNFINISHED, UNFINISHED_PART, LOCK];
                if !names.is_empty() && !names.iter().any(|name| known.contains(&name.as_str())) {
                    return exists(format!("the directory holds {:?}", names[0]));
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
        let is_first = earlier.is_none();
        let finals = match &earlier {
            Some(manifest) if manifest.database_id != database_id => {
                return exists("it is another database, or a backup of another".to_string());
            }
            Some(manifest) if manifest.backup.is_none() => {
                return exists(
                    "it is a backup that was opened since, or the database itself elsewhere".to_string(),
                );
            }
            Some(manifest) => {
                let unsealed: HashSet<u64> = manifest
                    .segments
                    .iter()
                    .filter(|segment| segment.length == 0)
                    .map(|segment| segment.id)
                    .collect();
                let is_sealed =
                    |name: &&String| parse_file_name(name).is_none_or(|(_, id)| !unsealed.contains(&id.0));
                names.iter().filter(is_sealed).cloned().collect()
            }
            None => HashSet::new(),
        };
        let target = Target { storage, path, names, finals, earlier, _lock: lock };
        if is_first {
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
        put_whole(self.storage, self.path, UNFINISHED, |file, path| {
            file.write_at(0, &database_id).map_err(failed("write", path))
        })?;
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))
    }

    /// Puts one file into the directory, unless it is there.
    fn put(
        &self,
        content: &Content,
        file: &BackupFile,
        link: bool,
        report: &mut BackupReport,
        reporter: &mut Reporter<'_>,
    ) -> Result<()> {
        let Some(body) = content.open(file)? else { return Ok(()) };
        let bytes = body.length;
        let path = self.path.join(&file.name);
        report.files += 1;
        report.bytes += bytes;
        let is_there = file.is_final && self.finals.contains(&file.name);
        let is_link = is_there && self.storage.is_same_file(&file.path, &path).unwrap_or(false);
        if !is_link && link && file.is_final && self.link(file)? {
            report.files_linked += 1;
            return reporter.advance(bytes, 1);
        }
        if is_link || is_there && self.is_same(&path, file, &body)? {
            report.files_kept += 1;
            return reporter.advance(bytes, 1);
        }
        put_whole(self.storage, self.path, &file.name, |copy, part| {
            copy_pieces(&body, &file.path, copy, part, |copied| {
                report.bytes_copied += copied;
                reporter.advance(copied, 0)
            })
        })?;
        reporter.advance(0, 1)
    }

    /// Gives the file a name in the directory; false if that cannot be.
    fn link(&self, file: &BackupFile) -> Result<bool> {
        let path = self.path.join(&file.name);
        if !self.names.contains(&file.name) {
            return Ok(self.storage.link(&file.path, &path).is_ok());
        }
        let part = self.path.join(format!("{}{PART}", file.name));
        remove_if_there(self.storage, &part)?;
        if self.storage.link(&file.path, &part).is_err() {
            return Ok(false);
        }
        self.storage.rename(&part, &path).map_err(failed("rename", &part))?;
        // Two names of one file do not replace one another.
        remove_if_there(self.storage, &part)?;
        Ok(true)
    }

    /// Whether a file that never changes is the one of this name: a database that was restored from an earlier backup has
    /// files of the same names as the one that was backed up, and other contents from then on. Only all of it tells: two
    /// large values, or two pages, may be as long as one another and begin and end alike.
    fn is_same(&self, path: &Path, file: &BackupFile, body: &Opened) -> Result<bool> {
        let there = match self.storage.open_to_read(path) {
            Ok(there) => there,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        if there.len().map_err(failed("measure", path))? != body.length {
            return Ok(false);
        }
        let (mut one, mut other) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
        let mut offset = 0;
        while offset < body.length {
            let read = body.read_at(offset, &mut one).map_err(failed("read", &file.path))?;
            let same = there.read_at(offset, &mut other[..read]).map_err(failed("read", path))?;
            if read == 0 || read != same || one[..read] != other[..read] {
                return Ok(false);
            }
            offset += read as u64;
        }
        Ok(true)
    }

    /// Names everything, then removes what only the earlier backup had.
    fn finish(&self, content: &Content) -> Result<()> {
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))?;
        replace_file(self.storage, self.path, MANIFEST_NEW, MANIFEST, &content.manifest.encode())?;
        let wanted: HashMap<&str, ()> = content.files.iter().map(|file| (file.name.as_str(), ())).collect();
        for name in self.storage.list(self.path).map_err(failed("list", self.path))? {
            let is_part = name.strip_suffix(PART).is_some_and(is_file_of_a_database);
            let is_stale = is_file_of_a_database(&name) && !wanted.contains_key(name.as_str());
            if is_part || is_stale || name == UNFINISHED {
                remove_if_there(self.storage, &self.path.join(&name))?;
            }
        }
        self.storage.sync_dir(self.path).map_err(failed("sync", self.path))
    }
}
