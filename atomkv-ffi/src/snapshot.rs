//! Snapshots: the whole database as it was at one moment.

use std::ffi::c_void;

use atomkv_engine::{Database, Snapshot};

use crate::call::{bytes, call, call_with_error, clear, copied, copy_out, null, owned, store};
use crate::database::atomkv_db;
use crate::entry::{atomkv_entry, hand_over_about};
use crate::handle::{free, give, handle, kinds};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_NOT_FOUND, ATOMKV_OK};
use crate::table::{atomkv_buffer, atomkv_table};

/// All tables as they were at one moment, whatever is written meanwhile. Any thread, many at once. While it lives,
/// the versions that it sees are kept, with their space. It keeps its database open until it is freed or the database
/// is closed. Since 0.1.
pub struct atomkv_snapshot {
    pub(crate) snapshot: Snapshot,
    pub(crate) database: Database,
}

kinds! { atomkv_snapshot }

/// Takes a snapshot. `snapshot` receives it, or NULL on failure; free it with `atomkv_snapshot_free`. `error`: NULL,
/// or receives the details of a failure, freed with `atomkv_error_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_new(
    db: *mut atomkv_db,
    snapshot: *mut *mut atomkv_snapshot,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            clear(snapshot, std::ptr::null_mut(), "snapshot")?;
            let database = handle(db, "db")?.database.clone();
            let taken = database.snapshot()?;
            snapshot.write(give(atomkv_snapshot { snapshot: taken, database }));
            Ok(ATOMKV_OK)
        })
    }
}

/// Lets a snapshot go. NULL does nothing. Since 0.1.
///
/// # Safety
/// `snapshot` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_free(snapshot: *mut atomkv_snapshot) {
    // SAFETY: the caller's promise.
    unsafe { free(snapshot) }
}

/// The last commit that the snapshot sees, and when it was taken, in milliseconds since the Unix epoch. `sequence`
/// and `time_ms` may be NULL. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_sequence(
    snapshot: *const atomkv_snapshot,
    sequence: *mut u64,
    time_ms: *mut u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(sequence, 0);
        store(time_ms, 0);
        let snapshot = &handle(snapshot, "snapshot")?.snapshot;
        store(sequence, snapshot.sequence());
        store(time_ms, snapshot.time_ms());
        Ok(ATOMKV_OK)
    })
}

/// `atomkv_contains`, as the snapshot sees the table. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_contains(
    snapshot: *const atomkv_snapshot,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
        let found = snapshot.snapshot.contains(&table.table, bytes(key, key_size, "key")?)?;
        Ok(if found { ATOMKV_OK } else { ATOMKV_NOT_FOUND })
    })
}

/// `atomkv_get`, as the snapshot sees the table: copies the value into the caller's `buffer` of `buffer_size` bytes,
/// and tells its length in `value_size` in any case. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_get(
    snapshot: *const atomkv_snapshot,
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
        let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        if buffer.is_null() && buffer_size > 0 {
            return Err(null("buffer"));
        }
        copied(
            snapshot
                .snapshot
                .get_with(&table.table, key, |value| copy_out(value, buffer, buffer_size, value_size))?,
        )
    })
}

/// `atomkv_get_entry`, as the snapshot sees the table. `value` and `entry` may be NULL; free `value`'s data with
/// `atomkv_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_get_entry(
    snapshot: *const atomkv_snapshot,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *mut atomkv_buffer,
    entry: *mut atomkv_entry,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(value, atomkv_buffer::EMPTY);
        store(entry, atomkv_entry::NONE);
        let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        if value.is_null() {
            let reader = snapshot.snapshot.read_stream(&table.table, key)?;
            return Ok(hand_over_about(reader.as_ref(), entry));
        }
        let found = snapshot.snapshot.get_entry(&table.table, key)?;
        let Some(found) = found else { return Ok(ATOMKV_NOT_FOUND) };
        value.write(owned(&found.value)?);
        store(entry, (&found).into());
        Ok(ATOMKV_OK)
    })
}
