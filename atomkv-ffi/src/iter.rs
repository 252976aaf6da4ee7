//! Unordered iteration over a table.

use std::sync::{Mutex, PoisonError};

use atomkv_engine::{Database, Scan, ScanEntry};

use crate::call::{call, clear, handle, store};
use crate::status::atomkv_status::{self, ATOMKV_DONE, ATOMKV_OK};
use crate::table::{atomkv_slice, atomkv_table, atomkv_written};

/// An iteration over a table. Any thread; calls on one iterator wait for each other. Since 0.1.
pub struct atomkv_iter {
    state: Mutex<State>,
    /// Keeps the database open.
    database: Database,
}

struct State {
    iter: Scan,
    current: Option<ScanEntry>,
}

/// Begins an iteration over all keys of a table with their values as they are now, whatever is written meanwhile; in the
/// order of the keys if the table is ordered, else in none. Until it has come to its end or is freed, versions that it
/// may still come to are kept. `iter` receives the iterator, freed with `atomkv_iter_free`. Since 0.1.
///
/// # Safety
/// `table` is NULL or alive; `iter` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_new(
    table: *const atomkv_table,
    iter: *mut *mut atomkv_iter,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(iter, std::ptr::null_mut(), "iter")?;
        let table = handle(table, "table")?;
        table.database.check()?;
        let state = State { iter: table.table.iter(), current: None };
        let made = atomkv_iter { state: Mutex::new(state), database: table.database.clone() };
        iter.write(Box::into_raw(Box::new(made)));
        Ok(ATOMKV_OK)
    })
}

/// Goes to the next key. `ATOMKV_DONE` at the end, as often as asked. `key`, `value` and `written` may be NULL; they
/// receive the key, its value and the write that stored it. The bytes stay valid until the next call on this iterator
/// or until it is freed. A damaged record is `ATOMKV_ERR_CORRUPT`; the next call goes on behind it. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_next(
    iter: *mut atomkv_iter,
    key: *mut atomkv_slice,
    value: *mut atomkv_slice,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(key, atomkv_slice::EMPTY);
        store(value, atomkv_slice::EMPTY);
        store(written, atomkv_written { version: 0, sequence: 0 });
        let iter = handle(iter, "iter")?;
        // Before the lock, which a thread of a forked process's parent may hold for ever.
        iter.database.check()?;
        let mut state = iter.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.current = None;
        let Some(entry) = state.iter.next_entry() else {
            return Ok(ATOMKV_DONE);
        };
        let entry = state.current.insert(entry?);
        store(key, atomkv_slice::of(&entry.key));
        store(value, atomkv_slice::of(&entry.value));
        store(written, atomkv_written { version: entry.version, sequence: entry.sequence });
        Ok(ATOMKV_OK)
    })
}

/// Ends an iteration. NULL does nothing. Since 0.1.
///
/// # Safety
/// `iter` is NULL or alive; neither it nor its bytes are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_free(iter: *mut atomkv_iter) {
    if !iter.is_null() {
        call(|| {
            // SAFETY: it came from `Box::into_raw` and the caller gives it up.
            drop(unsafe { Box::from_raw(iter) });
            Ok(ATOMKV_OK)
        });
    }
}
