//! Several changes that happen together or not at all.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use atomkv_engine::{Batch, Database, Durability, Error, KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::call::{bytes, call, call_with_error, clear, store};
use crate::database::atomkv_db;
use crate::exclusive::{Origin, is_held};
use crate::handle::{free, give, handle, kinds};
use crate::options::{atomkv_write_options, delete_options, durability, expectation, write_options};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};
use crate::table::atomkv_table;

/// Puts and deletes over any tables of one database that are applied together. Any thread; calls on one batch wait
/// for each other. It keeps the database of its first table open. Since 0.1.
pub struct atomkv_batch {
    contents: Mutex<Contents>,
    origin: Origin,
}

kinds! { atomkv_batch held by |batch| is_held(&batch.contents) }

#[derive(Default)]
struct Contents {
    batch: Batch,
    /// Keeps the database of the first table open; a batch with tables of another is refused when it is applied.
    database: Option<Database>,
}

impl atomkv_batch {
    fn change(&self, table: &atomkv_table, change: impl FnOnce(&mut Batch)) -> Result<(), Error> {
        table.database.check()?;
        // The table may be the child's own where the batch is its parent's.
        self.origin.check()?;
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.database.get_or_insert_with(|| table.database.clone());
        change(&mut contents.batch);
        Ok(())
    }
}

/// An empty batch, freed with `atomkv_batch_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_batch_new() -> *mut atomkv_batch {
    give(atomkv_batch { contents: Mutex::default(), origin: Origin::here() })
}

/// Frees a batch. NULL does nothing. Since 0.1.
///
/// # Safety
/// `batch` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_free(batch: *mut atomkv_batch) {
    // SAFETY: the caller's promise.
    unsafe { free(batch) }
}

/// For what is copied before the engine looks at it: a length that is wrong is wrong by a lot.
pub(crate) fn check_lengths(key: &[u8], value: &[u8]) -> Result<(), Error> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::KeyTooLong { length: key.len(), limit: KEY_BYTES_MAX });
    }
    check_value_length(value)
}

pub(crate) fn check_value_length(value: &[u8]) -> Result<(), Error> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::ValueTooLarge { length: value.len(), limit: VALUE_BYTES_MAX });
    }
    Ok(())
}

/// Adds a put into `table`. Key and value are copied; a validator looks at the key when the batch is applied. Of
/// several operations on one key the last holds. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; key and value have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_put(
    batch: *mut atomkv_batch,
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *const c_void,
    value_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (batch, table) = (handle(batch, "batch")?, handle(table, "table")?);
        let (key, value) = (bytes(key, key_size, "key")?, bytes(value, value_size, "value")?);
        check_lengths(key, value)?;
        batch.change(table, |batch| {
            batch.put(&table.table, key, value);
        })?;
        Ok(ATOMKV_OK)
    })
}

/// `atomkv_batch_put` into `table` with options: what must be there for the batch to be applied, and expiry; the
/// durability is that of `atomkv_apply`. `options`: NULL for the defaults; not needed after the call. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; key and value have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_put_with(
    batch: *mut atomkv_batch,
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *const c_void,
    value_size: usize,
    options: *const atomkv_write_options,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (batch, table) = (handle(batch, "batch")?, handle(table, "table")?);
        let (key, value) = (bytes(key, key_size, "key")?, bytes(value, value_size, "value")?);
        let options = write_options(options)?;
        check_lengths(key, value)?;
        batch.change(table, |batch| {
            batch.put_with(&table.table, key, value, options);
        })?;
        Ok(ATOMKV_OK)
    })
}

/// `atomkv_batch_delete` from `table` with options: what must be there for the batch to be applied. `options`: NULL
/// for the defaults; not needed after the call. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_delete_with(
    batch: *mut atomkv_batch,
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    options: *const atomkv_write_options,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (batch, table) = (handle(batch, "batch")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        let options = delete_options(options)?;
        check_lengths(key, &[])?;
        batch.change(table, |batch| {
            batch.delete_with(&table.table, key, options);
        })?;
        Ok(ATOMKV_OK)
    })
}

/// Makes the batch wait for a condition on a key of `table` that it need not change: `what`, an `atomkv_expect`, and
/// `number`, the version or sequence where one is expected. If it does not hold, `atomkv_apply` is
/// `ATOMKV_ERR_CONFLICT` and nothing happens. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_expect(
    batch: *mut atomkv_batch,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    what: i32,
    number: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (batch, table) = (handle(batch, "batch")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        let expect = expectation(what, number)?;
        check_lengths(key, &[])?;
        batch.change(table, |batch| {
            batch.expect(&table.table, key, expect);
        })?;
        Ok(ATOMKV_OK)
    })
}

/// Adds a delete of a key from `table`, whether or not it is there. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_delete(
    batch: *mut atomkv_batch,
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (batch, table) = (handle(batch, "batch")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        check_lengths(key, &[])?;
        batch.change(table, |batch| {
            batch.delete(&table.table, key);
        })?;
        Ok(ATOMKV_OK)
    })
}

/// The number of operations in the batch. Since 0.1.
///
/// # Safety
/// `batch` is NULL or alive; `operations` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_len(
    batch: *const atomkv_batch,
    operations: *mut usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(operations, 0, "operations")?;
        let batch = handle(batch, "batch")?;
        batch.origin.check()?;
        let contents = batch.contents.lock().unwrap_or_else(PoisonError::into_inner);
        operations.write(contents.batch.len());
        Ok(ATOMKV_OK)
    })
}

/// Empties a batch for reuse. Since 0.1.
///
/// # Safety
/// `batch` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_batch_clear(batch: *mut atomkv_batch) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        let batch = unsafe { handle(batch, "batch") }?;
        batch.origin.check()?;
        let mut contents = batch.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::take(&mut *contents);
        drop(contents);
        // Outside the lock: it may be the last that holds a database, with destructors of the caller's.
        drop(earlier);
        Ok(ATOMKV_OK)
    })
}

/// Applies a batch: all of it or nothing, for every reader and after every crash, under one sequence. The batch stays
/// as it is. An empty one, one larger than 255 MiB, or one with a table of another database is
/// `ATOMKV_ERR_INVALID_ARGUMENT`.
///
/// `how`: an `atomkv_durability`; `ATOMKV_DURABILITY_TABLE` is buffered here, since a batch may have several
/// tables. `sequence`: NULL, or receives the commit's sequence; 0 if there was nothing to do because the batch only
/// deletes keys that are not there. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_apply(
    db: *mut atomkv_db,
    batch: *const atomkv_batch,
    how: i32,
    sequence: *mut u64,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(sequence, 0);
            let (db, batch) = (handle(db, "db")?, handle(batch, "batch")?);
            let durability = durability(how)?.unwrap_or(Durability::Buffered);
            // Before the lock, which a thread of a forked process's parent may hold for ever.
            db.database.check()?;
            batch.origin.check()?;
            let contents = batch.contents.lock().unwrap_or_else(PoisonError::into_inner);
            let applied = db.database.apply(&contents.batch, durability)?;
            store(sequence, applied.unwrap_or(0));
            Ok(ATOMKV_OK)
        })
    }
}
