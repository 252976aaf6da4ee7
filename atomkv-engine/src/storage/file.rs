//! Files read and written by `pread` and `pwrite`, on any platform that the standard library knows.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DirectoryLock, LockOutcome, MapWriter, Mapping, Storage, StorageFile};
#[cfg(unix)]
use crate::sync::{Mutex, MutexGuard};

/// Unmapped files: a failing device gives an error code.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileStorage;

/// An open file of the operating system.
#[derive(Debug)]
pub(super) struct OsFile {
    pub(super) file: File,
    /// Whether it may be mapped.
    pub(super) mapped: bool,
}

pub(super) fn create(path: &Path, mapped: bool) -> io::Result<Arc<dyn StorageFile>> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    Ok(Arc::new(OsFile { file: above_standard(file)?, mapped }))
}

pub(super) fn open(path: &Path, mapped: bool) -> io::Result<Arc<dyn StorageFile>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(Arc::new(OsFile { file: above_standard(file)?, mapped }))
}

pub(super) fn open_to_read(path: &Path, mapped: bool) -> io::Result<Arc<dyn StorageFile>> {
    Ok(Arc::new(OsFile { file: above_standard(File::open(path)?)?, mapped }))
}

/// Moves a file off the descriptors 0 to 2. A process that was started without them (a daemon) would else write its
/// messages into the database.
#[cfg(unix)]
pub(super) fn above_standard(file: File) -> io::Result<File> {
    use std::os::fd::{AsRawFd, FromRawFd};
    if file.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(file);
    }
    // SAFETY: a plain system call on a descriptor that `file` keeps open.
    let moved = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1) };
    if moved < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just made it, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(moved) })
}

#[cfg(not(unix))]
fn above_standard(file: File) -> io::Result<File> {
    Ok(file)
}

impl Storage for FileStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(directory)?;
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        create(path, false)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        open(path, false)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        open_to_read(path, false)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    #[cfg(unix)]
    fn is_same_file(&self, one: &Path, other: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let (one, other) = (std::fs::metadata(one)?, std::fs::metadata(other)?);
        Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        // Elsewhere a directory cannot be opened as a file, and its entries are durable with the file's own sync.
        if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        // Not truncated before the lock is held: the text inside is the owner's.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut file = above_standard(file)?;
        let directory = lock_directory(path);
        match (file.try_lock(), directory) {
            (Ok(()), Ok(directory)) => {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "{}", std::process::id())?;
                Ok(LockOutcome::Acquired(Box::new(FileLock::new(path, Some(file), directory))))
            }
            (Err(TryLockError::WouldBlock), _) | (_, Err(TryLockError::WouldBlock)) => Ok(held_by(&mut file)),
            (Err(TryLockError::Error(error)), _) | (_, Err(TryLockError::Error(error))) => Err(error),
        }
    }

    fn lock_to_read(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut file = match File::open(path) {
            Ok(file) => Some(above_standard(file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let locked = file.as_ref().map_or(Ok(()), File::try_lock);
        match (locked, lock_directory(path)) {
            // Nothing could be locked.
            (Ok(()), Ok(None)) if file.is_none() => Err(io::ErrorKind::Unsupported.into()),
            (Ok(()), Ok(directory)) => {
                Ok(LockOutcome::Acquired(Box::new(FileLock::new(path, file, directory))))
            }
            (Err(TryLockError::WouldBlock), _) | (_, Err(TryLockError::WouldBlock)) => {
                Ok(file.as_mut().map_or(LockOutcome::Held(None), held_by))
            }
            (Err(TryLockError::Error(error)), _) | (_, Err(TryLockError::Error(error))) => Err(error),
        }
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }
}

/// The time of the last timer tick, at most some milliseconds old: reading it costs a quarter of the exact time.
#[cfg(target_os = "linux")]
fn now_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure that it is given and nothing else.
    if unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut time) } != 0 {
        return 0;
    }
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who has locked a file, as far as it says so.
fn held_by(file: &mut File) -> LockOutcome {
    let mut text = String::new();
    // The owner may be about to write it; not knowing the number is no reason to fail.
    let _ = file.read_to_string(&mut text);
    LockOutcome::Held(text.trim().parse().ok())
}

/// Locks the directory itself as well, so that removing the lock file does not make room for a second owner. `None`
/// where directories cannot be locked.
fn lock_directory(path: &Path) -> Result<Option<File>, TryLockError> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let Some(directory) = path.parent() else { return Ok(None) };
    let directory = File::open(directory).and_then(above_standard).map_err(TryLockError::Error)?;
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// The lock file and, where it can be locked, its directory.
struct FileLock {
    /// Never empty, except in a forked child, to which they do not belong.
    files: Vec<(PathBuf, File)>,
    generation: u32,
}

impl FileLock {
    fn new(path: &Path, file: Option<File>, directory: Option<File>) -> FileLock {
        let paths = [Some(path), path.parent()];
        let files: Vec<_> = paths
            .into_iter()
            .zip([file, directory])
            .filter_map(|(path, file)| Some((path?.to_path_buf(), file?)))
            .collect();
        #[cfg(unix)]
        LOCKED_FILES.lock().extend(files.iter().map(|(_, file)| std::os::fd::AsRawFd::as_raw_fd(file)));
        FileLock { files, generation: crate::fork::generation() }
    }
}

impl DirectoryLock for FileLock {
    #[cfg(unix)]
    fn is_held(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        self.files.iter().all(|(path, file)| {
            let there = std::fs::metadata(path).ok().map(identity);
            there.is_some() && there == file.metadata().ok().map(identity)
        })
    }

    #[cfg(not(unix))]
    fn is_held(&self) -> bool {
        self.files.iter().all(|(path, _)| path.exists())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if crate::fork::generation() != self.generation {
            // Closed at the fork; the numbers may be somebody else's by now.
            std::mem::take(&mut self.files).into_iter().for_each(std::mem::forget);
            return;
        }
        for (_, file) in &self.files {
            // Not left to the closing of the descriptor: a child that was forked meanwhile may have a copy of it.
            let _ = file.unlock();
            #[cfg(unix)]
            LOCKED_FILES.lock().retain(|descriptor| *descriptor != std::os::fd::AsRawFd::as_raw_fd(file));
        }
    }
}

/// The descriptors of all locks that this process holds.
#[cfg(unix)]
static LOCKED_FILES: Mutex<Vec<std::os::fd::RawFd>> = Mutex::new(Vec::new());

/// All locks of the process, with every other thread kept out.
#[cfg(unix)]
pub(crate) struct LockedFiles(MutexGuard<'static, Vec<std::os::fd::RawFd>>);

/// For the time of a fork.
#[cfg(unix)]
pub(crate) fn hold_locked_files() -> LockedFiles {
    LockedFiles(LOCKED_FILES.lock())
}

#[cfg(unix)]
impl LockedFiles {
    /// In a forked child: closes its copies, which would keep the parent's directories locked. The locks themselves
    /// stay the parent's.
    pub(crate) fn abandon(&mut self) {
        for descriptor in self.0.drain(..) {
            // SAFETY: the descriptor belongs to a lock of the parent, which this process never uses or closes, see
            // the destructor above.
            unsafe { libc::close(descriptor) };
        }
    }
}

impl OsFile {
    /// Written zeros are the only promise of room that every file system keeps.
    fn write_zeros(&self, start: u64, end: u64) -> io::Result<()> {
        let zeros = vec![0; 64 << 10];
        let mut at = start;
        while at < end {
            let count = (end - at).min(zeros.len() as u64) as usize;
            self.write_at(at, &zeros[..count])?;
            at += count as u64;
        }
        Ok(())
    }
}

impl StorageFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, mut offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match read_some(&self.file, &mut buffer[done..], offset) {
                Ok(0) => break,
                Ok(count) => {
                    done += count;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match write_some(&self.file, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let present = self.len()?;
        if present >= length {
            return Ok(());
        }
        let reserved = match reserve(&self.file, length) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.write_zeros(present, length),
            outcome => outcome,
        };
        reserved.inspect_err(|_| {
            // What room was found for would be kept: of the zeros, and by some file systems of a reservation.
            let _ = self.file.set_len(present);
        })
    }

    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        match punch(&self.file, offset, length) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            outcome => outcome,
        }
    }

    fn fill_cache(&self, start: u64, length: u64) -> io::Result<()> {
        if self.mapped { super::map::fill_cache(&self.file, start, length) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        // On macOS the standard library asks the drive to flush its cache too (F_FULLFSYNC).
        self.file.sync_data()
    }

    fn map(&self, length: u64) -> io::Result<Option<Mapping>> {
        if self.mapped { super::map::map(&self.file, length).map(Some) } else { Ok(None) }
    }

    fn map_writer(&self, start: u64, length: u64) -> io::Result<Option<MapWriter>> {
        if self.mapped { super::map::map_writer(&self.file, start, length) } else { Ok(None) }
    }
}

#[cfg(unix)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_some(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(windows)]
fn write_some(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// The last system error; "not supported" by any of its numbers becomes `Unsupported`.
#[cfg(target_os = "linux")]
fn last_error() -> io::Error {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => io::ErrorKind::Unsupported.into(),
        _ => error,
    }
}

#[cfg(target_os = "linux")]
fn fallocate(file: &File, mode: i32, offset: u64, length: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let offset = libc::off_t::try_from(offset).map_err(too_large)?;
    let length = libc::off_t::try_from(length).map_err(too_large)?;
    loop {
        // SAFETY: a plain system call on a descriptor that `file` keeps open.
        if unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) } == 0 {
            return Ok(());
        }
        let error = last_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    fallocate(file, 0, 0, length)
}

#[cfg(target_os = "linux")]
fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, length)
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _length: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn punch(_file: &File, _offset: u64, _length: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
