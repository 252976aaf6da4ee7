//! Databases: open, close, sync, maintenance, counters.

use std::ffi::c_char;

use atomkv_engine::{Database, Error, Options, Stats};

use crate::call::{call, call_with_error, clear, owned, owned_text, store, text};
use crate::handle::{free, give, handle, kinds, optional};
use crate::options::atomkv_options;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};
use crate::table::atomkv_buffer;

/// An open database. Any thread, many at once. Since 0.1.
pub struct atomkv_db {
    pub(crate) database: Database,
}

kinds! { atomkv_db }

impl atomkv_db {
    /// Of a closed database too, but not of a forked parent's.
    pub(crate) fn stats(&self) -> Result<Stats, Box<atomkv_error>> {
        match self.database.check() {
            Ok(()) | Err(Error::Closed) => Ok(self.database.stats()),
            Err(error) => Err(error.into()),
        }
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
            let path = crate::call::path(path, "path")?;
            let options =
                optional(options, "options")?.map_or_else(Options::new, |options| options.options.clone());
            let database = Database::open(path, options)?;
            db.write(give(atomkv_db { database }));
            Ok(ATOMKV_OK)
        })
    }
}

/// Makes a database in memory: the same engine without a disk, for tests and caches. Nothing of it is left when it is
/// closed. `db`, `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_open_in_memory(
    db: *mut *mut atomkv_db,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            clear(db, std::ptr::null_mut(), "db")?;
            db.write(give(atomkv_db { database: Database::in_memory()? }));
            Ok(ATOMKV_OK)
        })
    }
}

/// Looks again at a database that was opened with `atomkv_options_set_read_only`: `newer` receives a handle to it as
/// it is now, to be freed with `atomkv_db_free`, and the old one stays as it is; or NULL with `ATOMKV_DONE` if
/// nothing was written since. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_refresh(
    db: *mut atomkv_db,
    newer: *mut *mut atomkv_db,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            clear(newer, std::ptr::null_mut(), "newer")?;
            let Some(database) = handle(db, "db")?.database.refresh()? else {
                return Ok(atomkv_status::ATOMKV_DONE);
            };
            newer.write(give(atomkv_db { database }));
            Ok(ATOMKV_OK)
        })
    }
}

/// The directory of a database, NUL-terminated, in the system's encoding: `directory` receives it; the caller frees
/// its data with `atomkv_free`. Its size does not count the NUL. Works on a closed database too. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_path(db: *const atomkv_db, directory: *mut atomkv_buffer) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(directory, atomkv_buffer::EMPTY, "directory")?;
        let path = handle(db, "db")?.database.path();
        directory.write(owned_text(path.as_os_str().as_encoded_bytes())?);
        Ok(ATOMKV_OK)
    })
}

/// The names of all tables, each NUL-terminated UTF-8, one behind the other: `names` receives them; the caller frees
/// its data with `atomkv_free`. `count`: NULL, or receives how many there are. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_names(
    db: *const atomkv_db,
    names: *mut atomkv_buffer,
    count: *mut usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(names, atomkv_buffer::EMPTY, "names")?;
        store(count, 0);
        let db = handle(db, "db")?;
        db.database.check()?;
        let found = db.database.table_names();
        let joined: String = found.iter().flat_map(|name| [name.as_str(), "\0"]).collect();
        names.write(owned(joined.as_bytes())?);
        store(count, found.len());
        Ok(ATOMKV_OK)
    })
}

/// Writes everything out, ends the background threads and gives the directory free. The handle stays valid, and it
/// and everything that was opened from it answers `ATOMKV_ERR_CLOSED` from then on, except what needs no database
/// (names, numbers of partitions, counters); views stay readable. A second call returns when the directory is free
/// and succeeds. May be called while other threads use the database: their calls end or answer `ATOMKV_ERR_CLOSED`.
/// On failure the directory is given free all the same. `error`: as in `atomkv_open`. Since 0.1.
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
    // SAFETY: the caller's promise.
    unsafe { free(db) }
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

/// One of the database's statistics by its name, NUL-terminated, such as "keys", "disk_bytes" or "syncs";
/// docs/statistics.md explains them, `atomkv_stats` gives all. `value` receives it. Another name is
/// `ATOMKV_ERR_INVALID_ARGUMENT`. Works on a closed database too. Since 0.1.
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
        let values = db.stats()?.values();
        let Some((_, found)) = values.into_iter().find(|(known, _)| *known == name) else {
            return Err(Box::new(atomkv_error::argument(format!("there is no counter named {name:?}"))));
        };
        value.write(found);
        Ok(ATOMKV_OK)
    })
}
