//! Databases: open, close, sync, maintenance, counters.

use std::ffi::{CStr, c_char};
use std::path::PathBuf;

use atomkv_engine::{Database, Options};

use crate::call::{call, call_with_error, clear, handle, null, text};
use crate::options::atomkv_options;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};

/// An open database. Any thread, many at once. Since 0.1.
pub struct atomkv_db {
    pub(crate) database: Database,
}

fn path_of(path: &CStr) -> Result<PathBuf, Box<atomkv_error>> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes())))
    }
    #[cfg(not(unix))]
    {
        let path = path.to_str().map_err(|_| Box::new(atomkv_error::argument("path is not UTF-8")))?;
        Ok(PathBuf::from(path))
    }
}

/// Opens the database in a directory, or makes one there if the directory is missing or empty.
///
/// `path`: NUL-terminated; in the system's encoding (UTF-8 on Windows). `options`: NULL for the defaults; not needed
/// after the call. `db`: receives the database, or NULL on failure; free it with `atomkv_db_free`. `error`: NULL, or
/// receives the details of a failure (NULL on success), freed with `atomkv_error_free`.
///
/// A directory can be open once, in one process: a second opening, in this process too, is `ATOMKV_ERR_LOCKED`.
/// Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_open(
    path: *const c_char,
    options: *const atomkv_options,
    db: *mut *mut atomkv_db,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise, for this and the pointers below.
    unsafe {
        call_with_error(error, || {
            clear(db, std::ptr::null_mut(), "db")?;
            if path.is_null() {
                return Err(null("path"));
            }
            let path = path_of(CStr::from_ptr(path))?;
            let options = options.as_ref().map_or_else(Options::new, |options| options.options.clone());
            let database = Database::open(path, options)?;
            db.write(Box::into_raw(Box::new(atomkv_db { database })));
            Ok(ATOMKV_OK)
        })
    }
}

/// Writes everything out, ends the background threads and gives the directory free. The handle stays valid, and it
/// and everything that was opened from it answers `ATOMKV_ERR_CLOSED` from then on, except what needs no database
/// (names, numbers of partitions, counters); views stay readable. A second call returns when the directory is free and
/// succeeds. May be called while other threads use the database: their calls end or answer
/// `ATOMKV_ERR_CLOSED`. On failure the directory is given free all the same. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// `db` is NULL or alive; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_close(db: *mut atomkv_db, error: *mut *mut atomkv_error) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            handle(db, "db")?.database.close()?;
            Ok(ATOMKV_OK)
        })
    }
}

/// Frees the handle. A database that was not closed is closed when its handle and all tables, batches and iterators
/// opened from it are freed, in any order; errors of that are lost, so call `atomkv_close` to see them. NULL does
/// nothing. Since 0.1.
///
/// # Safety
/// `db` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_db_free(db: *mut atomkv_db) {
    if !db.is_null() {
        call(|| {
            // SAFETY: it came from `Box::into_raw` and the caller gives it up.
            drop(unsafe { Box::from_raw(db) });
            Ok(ATOMKV_OK)
        });
    }
}

/// Returns when everything acknowledged before the call, by any thread, is on stable storage. A failure makes the
/// database read-only. Since 0.1.
///
/// # Safety
/// `db` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_sync(db: *mut atomkv_db) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe { handle(db, "db") }?.database.sync()?;
        Ok(ATOMKV_OK)
    })
}

/// Writes an image of the index, so that the next opening has little to replay. Happens by itself as the log grows
/// and at closing. Since 0.1.
///
/// # Safety
/// `db` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_checkpoint(db: *mut atomkv_db) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe { handle(db, "db") }?.database.checkpoint()?;
        Ok(ATOMKV_OK)
    })
}

/// Settles everything written so far and gives the space of all that is dead back to the file system. Runs by itself
/// as dead bytes gather. Readers and writers go on meanwhile; the call takes as long as copying the database.
/// `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// `db` is NULL or alive; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_compact(db: *mut atomkv_db, error: *mut *mut atomkv_error) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            handle(db, "db")?.database.compact()?;
            Ok(ATOMKV_OK)
        })
    }
}

/// One of the database's counters by its name. Sizes are bytes:
/// "tables", "keys", "sequence", "synced_sequence", "unsynced_bytes", "log_segments", "page_segments", "live_bytes",
/// "dead_bytes", "disk_bytes", "index_bytes", "checkpoint_generation", "checkpoints", "compactions", "syncs",
/// "replayed_records", "rebuilt_index", "damaged_records_skipped", "read_only". Another name is
/// `ATOMKV_ERR_INVALID_ARGUMENT`. `value` receives the count. Works on a closed database too. Since 0.1.
///
/// # Safety
/// `db` is NULL or alive; `name` is NULL or NUL-terminated; `value` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_stat(
    db: *const atomkv_db,
    name: *const c_char,
    value: *mut u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(value, 0, "value")?;
        let (db, name) = (handle(db, "db")?, text(name, "name")?);
        match db.database.check() {
            Ok(()) | Err(atomkv_engine::Error::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        let values = db.database.stats().values();
        let Some((_, found)) = values.into_iter().find(|(known, _)| *known == name) else {
            return Err(Box::new(atomkv_error::argument(format!("there is no counter named {name:?}"))));
        };
        value.write(found);
        Ok(ATOMKV_OK)
    })
}
