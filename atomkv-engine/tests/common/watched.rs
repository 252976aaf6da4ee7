//! A storage that tells a test what a database is about to do to its directory, one call at a time. The test may hold
//! the call up, or make it fail.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomkv_engine::storage::{DirectoryLock, LockOutcome, MapWriter, Mapping, Storage, StorageFile};

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    /// So many bytes at an offset.
    Write(u64, usize),
    /// Space is reserved or given back.
    Reserve,
    Sync,
    Rename,
    Remove,
    SyncDirectory,
    /// The directory is given free. Cannot fail.
    Unlock,
}

type Watcher = dyn Fn(Operation, &Path) -> io::Result<()> + Send + Sync;

/// Another storage, watched. Not mapped, so that no write goes by.
#[derive(Clone)]
pub struct Watched {
    storage: Arc<dyn Storage>,
    watcher: Arc<Watcher>,
}

impl Watched {
    pub fn over(
        storage: impl Storage + 'static,
        watcher: impl Fn(Operation, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Watched {
        Watched { storage: Arc::new(storage), watcher: Arc::new(watcher) }
    }

    fn file(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(WatchedFile { file, path: path.to_path_buf(), watched: self.clone() })
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.storage).finish()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    watched: Watched,
}

struct WatchedLock {
    lock: Box<dyn DirectoryLock>,
    path: PathBuf,
    watched: Watched,
}

impl DirectoryLock for WatchedLock {
    fn is_held(&self) -> bool {
        self.lock.is_held()
    }
}

impl Drop for WatchedLock {
    fn drop(&mut self) {
        let _ = (self.watched.watcher)(Operation::Unlock, &self.path);
    }
}

impl Storage for Watched {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.storage.resolve(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.storage.create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.storage.list(directory)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        (self.watcher)(Operation::Create, path)?;
        Ok(self.file(path, self.storage.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.storage.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.watcher)(Operation::Rename, to)?;
        self.storage.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.watcher)(Operation::Remove, path)?;
        self.storage.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        (self.watcher)(Operation::SyncDirectory, directory)?;
        self.storage.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        Ok(match self.storage.lock(path)? {
            LockOutcome::Acquired(lock) => {
                let (path, watched) = (path.to_path_buf(), self.clone());
                LockOutcome::Acquired(Box::new(WatchedLock { lock, path, watched }))
            }
            held => held,
        })
    }

    fn now_ms(&self) -> u64 {
        self.storage.now_ms()
    }
}

impl StorageFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (self.watched.watcher)(Operation::Write(offset, bytes.len()), &self.path)?;
        self.file.write_at(offset, bytes)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        (self.watched.watcher)(Operation::Reserve, &self.path)?;
        self.file.allocate(length)
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        (self.watched.watcher)(Operation::Reserve, &self.path)?;
        self.file.punch_hole(offset, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        (self.watched.watcher)(Operation::Sync, &self.path)?;
        self.file.sync_data()
    }

    fn map(&self, _length: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }

    fn map_writer(&self, _start: u64, _length: u64) -> io::Result<Option<MapWriter>> {
        Ok(None)
    }
}
