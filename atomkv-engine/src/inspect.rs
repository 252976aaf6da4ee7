//! What verifying and salvaging have in common: damage as it is told, storage that cannot be changed, the way through a
//! segment whatever is damaged there, and the threads that go it.

mod crew;
mod reading;
mod walk;

use std::path::{Path, PathBuf};

pub(crate) use crew::{Tally, run};
pub(crate) use reading::{ReadingFile, ReadingStorage};
pub(crate) use walk::{Damaged, End, Seems, Visitor, Walk};

use crate::error::{Error, Result};
use crate::storage::{DirectoryLock, LockOutcome, Storage};
use crate::sync::Mutex;

/// The file whose lock says that a directory is in use.
const LOCK: &str = "LOCK";

/// Something in a file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file that is damaged or missing.
    pub file: PathBuf,
    /// The byte in it at which what is damaged begins.
    pub offset: u64,
    /// What is wrong there.
    pub detail: String,
    /// The table whose document it costs, if it costs one and that is known.
    pub table: Option<String>,
    /// The document's key, as far as it can still be read.
    pub key: Option<Vec<u8>>,
}

/// Collects damage from many threads: all of it is counted, some of it is kept.
pub(crate) struct Damages {
    kept: Mutex<(Vec<Damage>, u64)>,
    most: usize,
}

impl Damages {
    pub(crate) fn new(most: usize) -> Damages {
        Damages { kept: Mutex::new((Vec::new(), 0)), most }
    }

    pub(crate) fn add(&self, damage: Damage) {
        let mut kept = self.kept.lock();
        kept.1 += 1;
        if kept.0.len() < self.most {
            kept.0.push(damage);
        }
    }

    /// Damage that costs no document that is known.
    pub(crate) fn note(&self, file: &Path, offset: u64, detail: impl Into<String>) {
        self.add(Damage { file: file.to_path_buf(), offset, detail: detail.into(), table: None, key: None });
    }

    /// Takes an error that says what is wrong with a file for damage; hands any other back.
    pub(crate) fn take(&self, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { file, offset, detail } => self.note(&file, offset, detail),
            Error::Io { operation, path, source } => {
                self.note(&path, 0, format!("cannot {operation} it: {source}"));
            }
            Error::NewerFormat { .. } | Error::Cancelled => return Err(error),
            Error::NoSpace { path } => self.note(&path, 0, "cannot read it: no space left on the disk"),
            other => return Err(other),
        }
        Ok(())
    }

    /// What was kept, in the order of files and offsets, and how much there was.
    pub(crate) fn finish(&self) -> (Vec<Damage>, u64) {
        let mut kept = self.kept.lock();
        let (mut list, count) = (std::mem::take(&mut kept.0), kept.1);
        list.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        (list, count)
    }
}

/// Locks a directory that is to be read and not changed.
///
/// # Errors
/// [`Error::Locked`] if it is in use.
pub(crate) fn lock(storage: &dyn Storage, path: &Path) -> Result<Box<dyn DirectoryLock>> {
    let lock_path = path.join(LOCK);
    match storage.lock_to_read(&lock_path).map_err(|error| Error::io("lock", &lock_path, error))? {
        LockOutcome::Acquired(lock) => Ok(lock),
        LockOutcome::Held(pid) => Err(Error::Locked { path: path.to_path_buf(), pid }),
    }
}
