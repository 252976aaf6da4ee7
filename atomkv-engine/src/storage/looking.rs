//! A storage for those who look at a database that another process has open: files are opened for reading alone, and
//! whatever would change something is refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LockOutcome, Storage, StorageFile};

#[derive(Clone, Debug)]
pub(crate) struct LookingStorage(pub(crate) Arc<dyn Storage>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for LookingStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.resolve(path)
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }

    fn create(&self, _path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.0.open_to_read(path)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.0.open_to_read(path)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _directory: &Path) -> io::Result<()> {
        refused()
    }

    fn lock(&self, _path: &Path) -> io::Result<LockOutcome> {
        refused()
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }
}
