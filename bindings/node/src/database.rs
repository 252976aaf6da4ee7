//! Databases that several workers of one process share: opened once, closed when the last of them closes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use atomkv_engine::{Database, Options};

use crate::failure::Outcome;

/// A database that several may share. Locked while it is opened or closed: whoever wants it meanwhile waits, and nobody who
/// wants another one.
#[derive(Default)]
struct Shared {
    database: Option<Database>,
    /// How many have it open.
    openings: usize,
}

type Entry = Arc<Mutex<Shared>>;

/// By their canonical paths. Locked for a moment only, and also by those who have locked an entry.
static ENTRIES: LazyLock<Mutex<HashMap<PathBuf, Entry>>> = LazyLock::new(Mutex::default);

fn entries() -> MutexGuard<'static, HashMap<PathBuf, Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(entry: &Entry) -> MutexGuard<'_, Shared> {
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes an entry away that has no database, unless somebody waits for it.
fn forget(path: &Path, entry: &Entry) {
    let mut entries = entries();
    // The caller's and that of the map.
    if Arc::strong_count(entry) == 2 {
        entries.remove(path);
    }
}

/// The canonical path, also of a directory that has to be made first.
fn canonical(path: &Path) -> PathBuf {
    let known = |ancestor: &Path| Some(ancestor.canonicalize().ok()?.join(path.strip_prefix(ancestor).ok()?));
    path.ancestors().find_map(known).unwrap_or_else(|| path.to_path_buf())
}

/// One opening of a database.
pub struct Opened {
    pub database: Database,
    /// Under which it is shared; `None` if it is not.
    path: Option<PathBuf>,
    is_released: Mutex<bool>,
}

impl Opened {
    /// Opens a database, or takes part in one that this process has open, with the options of its first opening.
    pub fn open(path: &Path, options: Options, is_shared: bool) -> Outcome<Opened> {
        if !is_shared {
            return Ok(Opened::alone(Database::open(path, options)?));
        }
        let key = canonical(path);
        let entry = entries().entry(key.clone()).or_default().clone();
        let mut shared = lock(&entry);
        let database = match &shared.database {
            Some(database) => database.check().map(|()| database.clone()),
            None => Database::open(path, options).inspect_err(|_| forget(&key, &entry)),
        }?;
        shared.database = Some(database.clone());
        shared.openings += 1;
        Ok(Opened { database, path: Some(key), is_released: Mutex::new(false) })
    }

    /// A database that nobody else of this process can open.
    pub fn alone(database: Database) -> Opened {
        Opened { database, path: None, is_released: Mutex::new(false) }
    }

    /// Closes the database if nobody else has it open. The second time this does nothing.
    pub fn release(&self) -> Outcome<()> {
        let mut is_released = self.is_released.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_released, true) {
            return Ok(());
        }
        let Some(path) = &self.path else { return Ok(self.database.close()?) };
        let entry = entries().get(path).cloned();
        let Some(entry) = entry else { return Ok(()) };
        let mut shared = lock(&entry);
        shared.openings -= 1;
        if shared.openings > 0 {
            return Ok(());
        }
        shared.database = None;
        let closed = self.database.close();
        forget(path, &entry);
        Ok(closed?)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // At the end of an environment nobody is there to be told; the engine has noted it.
        let _ = self.release();
    }
}
