//! Files that exist in memory only, for databases that need not outlive their process: tests and caches.
//!
//! The contents are files of the operating system that no directory names, so that mappings of them are as fast as those
//! of ordinary files; the directory is a table here. Syncs do nothing, space is taken as it is written, and everything
//! goes with the last handle.
//!
//! Fault model: descriptors may run out, and the system may refuse memory where it accounts for it. Where it does not,
//! using up its memory ends the process, as with any other memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::OsFile;
use super::{DirectoryLock, FileStorage, LockOutcome, MapWriter, Mapping, Storage, StorageFile};
use crate::fork;
use crate::sync::{Mutex, MutexGuard};

/// A file system in memory. Clones share it; it goes when the last of them, and of what was opened in it, is dropped. It
/// takes one descriptor for each file. A forked child cannot use it.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
    generation: u32,
}

#[derive(Debug, Default)]
struct State {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
    locks: BTreeSet<PathBuf>,
}

impl State {
    fn check_parent(&self, path: &Path) -> io::Result<()> {
        let is_there = path.parent().is_some_and(|parent| self.directories.contains(parent));
        if is_there { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }
}

impl Default for MemoryStorage {
    fn default() -> MemoryStorage {
        fork::watch_forks();
        MemoryStorage { state: Arc::default(), generation: fork::generation() }
    }
}

impl MemoryStorage {
    /// Another file system, without a file.
    #[must_use]
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        // The lock may be held for ever in a child, and the files are the parent's too.
        if fork::generation() != self.generation {
            return Err(io::Error::other("a file system in memory belongs to the process that made it"));
        }
        Ok(self.state.lock())
    }
}

impl Storage for MemoryStorage {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        if path.ancestors().any(|part| state.files.contains_key(part)) {
            return Err(ErrorKind::NotADirectory.into());
        }
        state.directories.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state()?;
        if state.files.contains_key(directory) {
            return Err(ErrorKind::NotADirectory.into());
        }
        if !state.directories.contains(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let entries = state.files.keys().chain(&state.directories);
        let inside = entries.filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.state()?;
        state.check_parent(path)?;
        if state.files.contains_key(path) || state.directories.contains(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(MemoryFile(OsFile { file: new_file()?, mapped: true }));
        state.files.insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.state()?.files.get(path).cloned();
        Ok(file.ok_or(ErrorKind::NotFound)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.check_parent(to)?;
        let file = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        let replaced = state.files.insert(to.to_path_buf(), file);
        // Giving its memory back may take a while.
        drop(state);
        drop(replaced);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.state()?.files.remove(path);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        if !self.state()?.locks.insert(path.to_path_buf()) {
            return Ok(LockOutcome::Held(Some(std::process::id())));
        }
        Ok(LockOutcome::Acquired(Box::new(MemoryLock { storage: self.clone(), path: path.to_path_buf() })))
    }

    fn now_ms(&self) -> u64 {
        FileStorage.now_ms()
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

struct MemoryLock {
    storage: MemoryStorage,
    path: PathBuf,
}

impl DirectoryLock for MemoryLock {
    fn is_held(&self) -> bool {
        true
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        if let Ok(mut state) = self.storage.state() {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct MemoryFile(OsFile);

impl StorageFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    /// Without reserving: memory is taken as it is written.
    fn allocate(&self, length: u64) -> io::Result<()> {
        if self.len()? < length { self.0.file.set_len(length) } else { Ok(()) }
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.punch_hole(offset, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, length: u64) -> io::Result<Option<Mapping>> {
        self.0.map(length)
    }

    fn map_writer(&self, start: u64, length: u64) -> io::Result<Option<MapWriter>> {
        self.0.map_writer(start, length)
    }
}

/// A file that no directory names.
#[cfg(target_os = "linux")]
fn new_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name ends in NUL and lives for as long as the program; the call takes no other pointer.
    let descriptor = unsafe { libc::memfd_create(c"atomkv".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just made it, and nobody else has it.
    super::file::above_standard(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(not(target_os = "linux"))]
fn new_file() -> io::Result<File> {
    tempfile::tempfile()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_files_as_in_a_directory() {
        let storage = MemoryStorage::new();
        let directory = Path::new("/some/where");
        let (one, two) = (directory.join("one"), directory.join("two"));
        let kind = |error: io::Error| error.kind();
        assert_eq!(storage.list(directory).map_err(kind), Err(ErrorKind::NotFound));
        assert_eq!(storage.create(&one).map(drop).map_err(kind), Err(ErrorKind::NotFound));
        storage.create_dir_all(directory).expect("made");
        assert_eq!(storage.list(Path::new("/")).expect("listed"), ["some"]);
        let file = storage.create(&one).expect("created");
        assert_eq!(storage.create(&one).map(drop).map_err(kind), Err(ErrorKind::AlreadyExists));
        assert_eq!(storage.list(&one).map_err(kind), Err(ErrorKind::NotADirectory));
        assert_eq!(storage.create_dir_all(&one.join("more")).map_err(kind), Err(ErrorKind::NotADirectory));
        file.write_at(3, b"abc").expect("written");
        storage.create(&two).expect("created");
        storage.rename(&one, &two).expect("renamed");
        assert_eq!(storage.list(directory).expect("listed"), ["two"]);
        assert_eq!(storage.open(&one).map(drop).map_err(kind), Err(ErrorKind::NotFound));
        assert_eq!(storage.open(&two).expect("opened").len().expect("measured"), 6);
        storage.remove(&two).expect("removed");
        assert_eq!(storage.remove(&two).map_err(kind), Err(ErrorKind::NotFound));
        let mut bytes = [1; 8];
        assert_eq!(file.read_at(0, &mut bytes).expect("who has it open keeps it"), 6);
        assert_eq!(&bytes, b"\0\0\0abc\x01\x01");
    }

    #[test]
    fn a_directory_has_one_owner() {
        let storage = MemoryStorage::new();
        let (path, clone) = (Path::new("/a/LOCK"), storage.clone());
        let LockOutcome::Acquired(lock) = storage.lock(path).expect("asked") else { panic!("held") };
        assert!(lock.is_held());
        assert!(matches!(clone.lock(path).expect("asked"), LockOutcome::Held(Some(_))));
        assert!(matches!(MemoryStorage::new().lock(path).expect("asked"), LockOutcome::Acquired(_)));
        drop(lock);
        assert!(matches!(clone.lock(path).expect("asked"), LockOutcome::Acquired(_)));
    }
}
