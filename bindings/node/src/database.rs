//! Databases that several workers of one process share: opened once, closed when the last of them closes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use atomkv_engine::{Database, Options};

use crate::failure::Outcome;

/// A database that somebody has open, and how many have.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, (Database, usize)>>> = LazyLock::new(Mutex::default);

fn open_databases() -> MutexGuard<'static, HashMap<PathBuf, (Database, usize)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut open = open_databases();
        if let Ok(canonical) = path.canonicalize()
            && let Some((database, count)) = open.get_mut(&canonical)
        {
            database.check()?;
            *count += 1;
            let database = database.clone();
            return Ok(Opened { database, path: Some(canonical), is_released: Mutex::new(false) });
        }
        let database = Database::open(path, options)?;
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        open.insert(canonical.clone(), (database.clone(), 1));
        Ok(Opened { database, path: Some(canonical), is_released: Mutex::new(false) })
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
        // Held until it is closed: whoever opens it meanwhile waits.
        let mut open = open_databases();
        if let Some((_, count)) = open.get_mut(path) {
            *count -= 1;
            if *count == 0 {
                open.remove(path);
                self.database.close()?;
            }
        }
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // At the end of an environment nobody is there to be told; the engine has noted it.
        let _ = self.release();
    }
}
