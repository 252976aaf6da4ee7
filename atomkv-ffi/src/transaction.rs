//! Transactions: reads and writes that happen as if nobody else did anything meanwhile, or not at all.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use atomkv_engine::{Database, Durability, Error, Transaction};

use crate::batch::check_lengths;
use crate::call::{bytes, call, call_with_error, clear, copied, copy_out, null, owned, store};
use crate::database::atomkv_db;
use crate::exclusive::is_held;
use crate::handle::{free, give, handle, kinds};
use crate::iter::{atomkv_iter, atomkv_scan_options, scan_options};
use crate::options::{atomkv_write_options, delete_options, durability, write_options};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_NOT_FOUND, ATOMKV_OK};
use crate::table::{atomkv_buffer, atomkv_table};

/// A transaction over any tables of one database. It sees the database as it was when it began, and what it has
/// written itself. At its commit everything that it has read must still be so, ranges that it has scanned too, else
/// it is `ATOMKV_ERR_CONFLICT` and has done nothing: then begin anew.
///
///     atomkv_txn *txn = NULL;
///     int tries = 0;
///     do {
///         int64_t balance = 0;
///         size_t size;
///         status = atomkv_txn_begin(db, &txn, NULL);
///         if (status >= 0) status = atomkv_txn_get(txn, accounts, "a", 1, &balance, sizeof balance, &size);
///         balance += 10;
///         if (status >= 0) status = atomkv_txn_put(txn, accounts, "a", 1, &balance, sizeof balance, NULL);
///         if (status >= 0) status = atomkv_txn_commit(txn, ATOMKV_DURABILITY_BUFFERED, NULL, NULL);
///         atomkv_txn_free(txn);
///     } while (status == ATOMKV_ERR_CONFLICT && ++tries < 64);
///
/// Nobody waits for a transaction; of those that meet one always gets through, so a conflict means that somebody
/// else's work is done. Where many threads change the same keys, sleep for a short random time before trying again.
/// Any thread; calls on one transaction wait for each other. It keeps its database open until it is freed or the
/// database is closed. Since 0.1.
pub struct atomkv_txn {
    /// None when it was committed or aborted.
    transaction: Mutex<Option<Transaction>>,
    database: Database,
}

kinds! { atomkv_txn held by |txn| is_held(&txn.transaction) }

impl atomkv_txn {
    fn with<R>(
        &self,
        f: impl FnOnce(&mut Transaction) -> Result<R, Box<atomkv_error>>,
    ) -> Result<R, Box<atomkv_error>> {
        // Before the lock, which a thread of a forked process's parent may hold for ever.
        self.database.check()?;
        let mut transaction = self.transaction.lock().unwrap_or_else(PoisonError::into_inner);
        f(transaction.as_mut().ok_or_else(ended)?)
    }

    fn take(&self) -> Result<Option<Transaction>, Box<atomkv_error>> {
        self.database.check()?;
        Ok(self.transaction.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

fn ended() -> Box<atomkv_error> {
    Box::new(atomkv_error::argument("the transaction was committed or aborted; begin another"))
}

/// Begins a transaction. `txn` receives it, or NULL on failure; free it with `atomkv_txn_free`. `error`: NULL, or
/// receives the details of a failure, freed with `atomkv_error_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_begin(
    db: *mut atomkv_db,
    txn: *mut *mut atomkv_txn,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            clear(txn, std::ptr::null_mut(), "txn")?;
            let database = handle(db, "db")?.database.clone();
            let transaction = Mutex::new(Some(database.begin()?));
            txn.write(give(atomkv_txn { transaction, database }));
            Ok(ATOMKV_OK)
        })
    }
}

/// Frees a transaction; one that was not committed has done nothing. NULL does nothing. Since 0.1.
///
/// # Safety
/// `txn` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_free(txn: *mut atomkv_txn) {
    // SAFETY: the caller's promise.
    unsafe { free(txn) }
}

/// The last commit that the transaction sees. `sequence` receives it. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_sequence(txn: *const atomkv_txn, sequence: *mut u64) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(sequence, 0, "sequence")?;
        sequence.write(handle(txn, "txn")?.with(|txn| Ok(txn.snapshot_sequence()))?);
        Ok(ATOMKV_OK)
    })
}

/// Reads a value into the caller's `buffer` of `buffer_size` bytes, as `atomkv_get` does; `value_size` receives its
/// length in any case. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_get(
    txn: *mut atomkv_txn,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    buffer: *mut c_void,
    buffer_size: usize,
    value_size: *mut usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(value_size, 0, "value_size")?;
        let (txn, table) = (handle(txn, "txn")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        if buffer.is_null() && buffer_size > 0 {
            return Err(null("buffer"));
        }
        let value = txn.with(|txn| Ok(txn.get(&table.table, key)?))?;
        copied(value.map(|value| copy_out(&value, buffer, buffer_size, value_size)))
    })
}

/// Reads a value into a buffer of its own, as `atomkv_get_owned` does: `value` receives it, and the caller frees its
/// data with `atomkv_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_get_owned(
    txn: *mut atomkv_txn,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *mut atomkv_buffer,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(value, atomkv_buffer::EMPTY, "value")?;
        let (txn, table) = (handle(txn, "txn")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        let Some(found) = txn.with(|txn| Ok(txn.get(&table.table, key)?))? else {
            return Ok(ATOMKV_NOT_FOUND);
        };
        value.write(owned(&found)?);
        Ok(ATOMKV_OK)
    })
}

/// Whether a key is in `table`: `ATOMKV_OK` or `ATOMKV_NOT_FOUND`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_contains(
    txn: *mut atomkv_txn,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (txn, table) = (handle(txn, "txn")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        let found = txn.with(|txn| Ok(txn.contains(&table.table, key)?))?;
        Ok(if found { ATOMKV_OK } else { ATOMKV_NOT_FOUND })
    })
}

/// What can be said of a write before the commit.
fn check(key: &[u8], value: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::KeyEmpty);
    }
    check_lengths(key, value)
}

/// Stores a value in `table` when the transaction is committed; it sees it itself at once. Key and value are copied.
/// Their lengths are checked at once: after a key or a value that no table takes the transaction is as it was. A
/// validator looks at the key at the commit. `options`: NULL for the defaults, else expiry and what must be there,
/// evaluated at the commit; the durability is that of the commit. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; key and value have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_put(
    txn: *mut atomkv_txn,
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *const c_void,
    value_size: usize,
    options: *const atomkv_write_options,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (txn, table) = (handle(txn, "txn")?, handle(table, "table")?);
        let (key, value) = (bytes(key, key_size, "key")?, bytes(value, value_size, "value")?);
        let options = write_options(options)?;
        check(key, value)?;
        txn.with(|txn| Ok(txn.put_with(&table.table, key, value, options)?))?;
        Ok(ATOMKV_OK)
    })
}

/// Removes a key from `table` when the transaction is committed, whether or not it is there; its length is checked at
/// once. `options`: NULL for the defaults, else what must be there, evaluated at the commit. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_delete(
    txn: *mut atomkv_txn,
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    options: *const atomkv_write_options,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (txn, table) = (handle(txn, "txn")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        let options = delete_options(options)?;
        check(key, &[])?;
        txn.with(|txn| Ok(txn.delete_with(&table.table, key, options)?))?;
        Ok(ATOMKV_OK)
    })
}

/// Begins an iteration over what the transaction sees of a table, its own writes among it. All of it is read at once
/// and counts as read by the transaction: narrow it with `options` (NULL for all keys). The iterator gives keys and
/// values; it does not know versions, and does not need the transaction any more. `iter` receives it, freed with
/// `atomkv_iter_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_iter_new(
    txn: *mut atomkv_txn,
    table: *const atomkv_table,
    options: *const atomkv_scan_options,
    iter: *mut *mut atomkv_iter,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(iter, std::ptr::null_mut(), "iter")?;
        let (txn, table) = (handle(txn, "txn")?, handle(table, "table")?);
        let options = scan_options(options)?;
        let pairs = txn.with(|txn| Ok(txn.scan(&table.table, options)?))?;
        iter.write(atomkv_iter::over(pairs, txn.database.clone()));
        Ok(ATOMKV_OK)
    })
}

/// Commits: all that the transaction has written happens at once, if all that it has read is still so. Else it is
/// `ATOMKV_ERR_CONFLICT`, nothing has happened, and the transaction is to be begun anew. Either way this one has
/// ended; free it.
///
/// `how`: an `atomkv_durability`; `ATOMKV_DURABILITY_TABLE` is buffered here, since a transaction may have several
/// tables. `sequence`: NULL, or receives the commit's sequence; 0 if there was nothing to write. `error`: NULL, or
/// receives the details of a failure, freed with `atomkv_error_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_commit(
    txn: *mut atomkv_txn,
    how: i32,
    sequence: *mut u64,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(sequence, 0);
            let txn = handle(txn, "txn")?;
            let durability = durability(how)?.unwrap_or(Durability::Buffered);
            let committed = txn.take()?.ok_or_else(ended)?.commit(durability)?;
            store(sequence, committed.unwrap_or(0));
            Ok(ATOMKV_OK)
        })
    }
}

/// Ends a transaction without doing anything; the same as freeing it, but the handle stays. Of one that has ended
/// already nothing happens. Since 0.1.
///
/// # Safety
/// `txn` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_txn_abort(txn: *mut atomkv_txn) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        drop(unsafe { handle(txn, "txn") }?.take()?);
        Ok(ATOMKV_OK)
    })
}
