//! A storage that only reads. What would change something is refused, so whoever is given it changes nothing; and
//! where the device refuses to read a stretch, the rest of it is read all the same.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Damages;
use crate::storage::{LockOutcome, MapWriter, Mapping, Storage, StorageFile};

/// What cannot be read as a whole is read in such pieces, the unit in which the system reads.
const PIECE_BYTES: usize = 4 << 10;

/// See the module's head.
#[derive(Clone)]
pub(crate) struct ReadingStorage {
    storage: Arc<dyn Storage>,
    /// Is told what cannot be read.
    damages: Arc<Damages>,
}

impl ReadingStorage {
    pub(crate) fn new(storage: Arc<dyn Storage>, damages: Arc<Damages>) -> ReadingStorage {
        ReadingStorage { storage, damages }
    }

    /// The same, which tells somebody else what cannot be read.
    pub(crate) fn telling(&self, damages: Arc<Damages>) -> ReadingStorage {
        ReadingStorage { storage: self.storage.clone(), damages }
    }
}

impl std::fmt::Debug for ReadingStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadingStorage").field("storage", &self.storage).finish_non_exhaustive()
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the directory is only read"))
}

impl Storage for ReadingStorage {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.storage.resolve(path)
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.storage.list(directory)
    }

    fn create(&self, _path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.storage.open_to_read(path)?;
        Ok(Arc::new(ReadingFile::new(file, path, self.damages.clone())))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.open(path)
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

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        self.storage.lock_to_read(path)
    }

    fn now_ms(&self) -> u64 {
        self.storage.now_ms()
    }
}

/// A file that is only read, never through a mapping. What the device does not give reads as zeros, which are no
/// record, and is told as damage.
pub(crate) struct ReadingFile {
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    damages: Arc<Damages>,
}

impl ReadingFile {
    pub(crate) fn new(file: Arc<dyn StorageFile>, path: &Path, damages: Arc<Damages>) -> ReadingFile {
        ReadingFile { file, path: path.to_path_buf(), damages }
    }

    /// Reads what can be read of a stretch, piece by piece.
    #[cold]
    fn read_pieces(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        // Where what cannot be read begins, and why.
        let mut bad: Option<(usize, io::Error)> = None;
        let tell = |bad: Option<(usize, io::Error)>, end: usize| {
            if let Some((start, error)) = bad {
                let detail = format!("{} bytes cannot be read: {error}", end - start);
                self.damages.note(&self.path, offset + start as u64, detail);
            }
        };
        while done < buffer.len() {
            let at = offset + done as u64;
            let room = PIECE_BYTES - (at % PIECE_BYTES as u64) as usize;
            let end = (done + room).min(buffer.len());
            let piece = &mut buffer[done..end];
            match self.file.read_at(at, piece) {
                Ok(count) => {
                    tell(bad.take(), done);
                    let whole = count == piece.len();
                    done += count;
                    if !whole {
                        break;
                    }
                }
                Err(error) => {
                    piece.fill(0);
                    bad.get_or_insert((done, error));
                    done = end;
                }
            }
        }
        tell(bad, done);
        done
    }
}

impl std::fmt::Debug for ReadingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadingFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StorageFile for ReadingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read_at(offset, buffer) {
            Ok(count) => Ok(count),
            Err(_) => {
                // No further than the file goes, or the zeros would be endless.
                let length = self.file.len()?.saturating_sub(offset);
                let end = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
                Ok(self.read_pieces(offset, &mut buffer[..end]))
            }
        }
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        refused()
    }

    fn allocate(&self, _length: u64) -> io::Result<()> {
        refused()
    }

    fn punch_hole(&self, _offset: u64, _length: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn map(&self, _length: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }

    fn map_writer(&self, _start: u64, _length: u64) -> io::Result<Option<MapWriter>> {
        refused()
    }
}
