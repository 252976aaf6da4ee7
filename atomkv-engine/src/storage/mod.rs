//! The one door to the operating system.
//!
//! Everything the engine does to a disk goes through [`Storage`] and [`StorageFile`], so that a test can lose
//! unsynced writes, tear them, fill the disk or fail the n-th call ([`sim::SimStorage`]). This layer knows files,
//! not records.
//!
//! Fault model: any call may fail; a failed sync says nothing about what reached the disk and must not be
//! repeated; after power loss, bytes written since the last successful sync of the file may be there or not,
//! per 512-byte sector; a file name created, renamed or removed since the last sync of its directory may be
//! there or not.

mod available;
mod file;
mod in_memory;
mod looking;
mod map;
pub(crate) mod memory;
pub mod sim;

pub(crate) use available::memory_bytes;
pub use file::FileStorage;
#[cfg(unix)]
pub(crate) use file::{LockedFiles, hold_locked_files};
pub use in_memory::MemoryStorage;
pub(crate) use looking::LookingStorage;
pub use map::{MapWriter, MappedStorage, Mapping};

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Asks the processor to fetch a cache line without waiting for it. A hint: any address will do.
#[inline]
pub(crate) fn prefetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction reads nothing that the program can see and never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch(line.cast(), std::arch::x86_64::_MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// A file system as the engine sees it. Public so that tests can put something in between; who does hands calls on as
/// they come, for the engine relies on this: a file is mapped for appending at most once, and what a mapping shows as
/// readable is never written again. All paths are complete paths below the database directory.
pub trait Storage: Send + Sync + Debug {
    /// The path of an existing directory in a form that means the same whatever the process's working directory is.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }
    /// Creates a directory and its parents; succeeds if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names (not paths) of the entries of a directory, in no order. `NotFound` if it does not exist,
    /// `NotADirectory` if it is a file.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Creates a file that must not exist yet, for reading and writing, of length 0.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Opens an existing file for reading alone; it need not be writable.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.open(path)
    }
    /// Gives a file a second name, which must not exist; both are the same file from then on. Refused with any error
    /// where that cannot be, and the caller copies.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Whether two names are known to be of one and the same file, as [`Storage::link`] makes them. False where nobody can
    /// tell.
    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let _ = (one, other);
        Ok(false)
    }
    /// Renames a file over another, atomically. Durable after [`Storage::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Those who have it open or mapped keep it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Takes the exclusive advisory lock of a file, creating it if needed, and writes this process's id into it.
    /// The lock lives as long as the returned value.
    fn lock(&self, path: &Path) -> io::Result<LockOutcome>;
    /// [`Storage::lock`] for those who only read: keeps out whoever would take the lock, and changes nothing, so that a
    /// lock file that is missing stays missing and one that is there keeps its text.
    fn lock_to_read(&self, path: &Path) -> io::Result<LockOutcome> {
        self.lock(path)
    }
    /// Milliseconds since the Unix epoch. The simulated storage has a clock of its own.
    fn now_ms(&self) -> u64;
    /// Whether nothing of it outlives the process: there is no disk that could be full, and nothing to sync.
    fn is_volatile(&self) -> bool {
        false
    }
}

/// A lock that is held. Dropping it unlocks.
pub trait DirectoryLock: Send + Sync {
    /// Whether the path that was locked still leads to what was locked: the directory may have been moved and another
    /// made in its place.
    fn is_held(&self) -> bool;
}

/// What became of an attempt to lock.
pub enum LockOutcome {
    /// Locked.
    Acquired(Box<dyn DirectoryLock>),
    /// Somebody else has it; the process id, if the file tells it.
    Held(Option<u32>),
}

/// An open file. Reads and writes carry their offset, so one handle serves many threads.
pub trait StorageFile: Send + Sync + Debug {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reserves disk space for `0..length` and sets the file's length to at least that; new bytes read as zero.
    /// A full disk is an error here, so that later writes inside the range cannot run out of space where the
    /// file system keeps such promises.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Gives the space of `offset..offset + length` back to the file system where it can; reads there give
    /// zeros. The length stays. Does nothing where unsupported.
    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Fills the page cache of a reserved stretch that was never written, in pages as large as the system has, before
    /// it is written through a mapping. Saves work only; does nothing where unsupported.
    fn fill_cache(&self, start: u64, length: u64) -> io::Result<()> {
        let _ = (start, length);
        Ok(())
    }
    /// Makes the contents (and the length, if it changed) durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Maps `0..length` for reading; `None` where this storage does not map, and the caller uses
    /// [`StorageFile::read_at`].
    fn map(&self, length: u64) -> io::Result<Option<Mapping>>;
    /// Maps `0..length` for appending from `start`: the only writer of the file's bytes from there. `None` where
    /// this storage (or this file system) must be written with [`StorageFile::write_at`].
    fn map_writer(&self, start: u64, length: u64) -> io::Result<Option<MapWriter>>;
}
