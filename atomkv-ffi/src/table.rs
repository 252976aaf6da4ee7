//! Tables: writing, and the three ways to read.

use std::ffi::{c_char, c_void};
use std::ptr;

use atomkv_engine::services::Services;
use atomkv_engine::{Database, Pinned, Table, Written};

use crate::call::{bytes, call, call_with_error, clear, copied, copy_out, owned, owned_text, store, text};
use crate::database::atomkv_db;
use crate::handle::{free, give, handle, kinds, optional};
use crate::options::{atomkv_table_options, atomkv_write_options, delete_options, write_options};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_NOT_FOUND, ATOMKV_OK};

/// A table of an open database. Any thread, many at once. It keeps its database open until it is freed or the
/// database is closed. Since 0.1.
pub struct atomkv_table {
    pub(crate) table: Table,
    pub(crate) database: Database,
}

/// What a write did. Since 0.1.
#[repr(C)]
pub struct atomkv_written {
    /// The key's version: 1 for a new key, one more with each change. A delete has a version too.
    pub version: u64,
    /// The commit's place in the history of the database: rising, without two alike.
    pub sequence: u64,
}

impl atomkv_written {
    /// Nothing was written.
    pub(crate) const NONE: atomkv_written = atomkv_written { version: 0, sequence: 0 };
}

impl From<Written> for atomkv_written {
    fn from(written: Written) -> atomkv_written {
        atomkv_written { version: written.version, sequence: written.sequence }
    }
}

/// Bytes that belong to somebody else. Since 0.1.
#[repr(C)]
pub struct atomkv_slice {
    /// The first byte; NULL if there is no result (not found, the end of an iteration, an error). Not NUL-terminated.
    pub data: *const c_void,
    /// How many bytes.
    pub size: usize,
}

/// Bytes that belong to the caller, who frees `data` with `atomkv_free`. Since 0.1.
#[repr(C)]
pub struct atomkv_buffer {
    /// The first byte; NULL if there is no result (not found, an error). Not NUL-terminated.
    pub data: *mut c_void,
    /// How many bytes.
    pub size: usize,
}

impl atomkv_buffer {
    pub(crate) const EMPTY: atomkv_buffer = atomkv_buffer { data: ptr::null_mut(), size: 0 };
}

impl atomkv_slice {
    pub(crate) const EMPTY: atomkv_slice = atomkv_slice { data: ptr::null(), size: 0 };

    pub(crate) fn of(bytes: &[u8]) -> atomkv_slice {
        atomkv_slice { data: bytes.as_ptr().cast(), size: bytes.len() }
    }
}

/// A value that is held where it lies, see `atomkv_get_view`. May be read by many threads at once and released on
/// any thread. Since 0.1.
pub struct atomkv_view {
    pinned: Pinned,
}

kinds! { atomkv_table, atomkv_view }

/// Opens a table, or creates it.
///
/// `name`: NUL-terminated UTF-8 of 1 to 255 bytes. `options`: NULL for the defaults; not needed after the call.
/// `table`: receives the table, or NULL on failure; free it with `atomkv_table_free`. `error`: NULL, or receives the
/// details of a failure, freed with `atomkv_error_free`. A table may be opened often. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_open(
    db: *mut atomkv_db,
    name: *const c_char,
    options: *const atomkv_table_options,
    table: *mut *mut atomkv_table,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            clear(table, ptr::null_mut(), "table")?;
            let database = handle(db, "db")?.database.clone();
            let name = text(name, "name")?;
            let (options, services, create) = match optional(options, "options")? {
                Some(given) => (given.options.clone(), given.services.clone(), given.create_if_missing),
                None => (Default::default(), Services::new(), true),
            };
            if !create {
                // Whether it is there; the settings are compared below.
                database.open_table(name, services.clone())?;
            }
            let opened = database.table(name, options.services(services))?;
            table.write(give(atomkv_table { table: opened, database }));
            Ok(ATOMKV_OK)
        })
    }
}

/// Frees a table handle; the table itself stays. NULL does nothing. Since 0.1.
///
/// # Safety
/// `table` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_free(table: *mut atomkv_table) {
    // SAFETY: the caller's promise.
    unsafe { free(table) }
}

/// The name of the table, NUL-terminated UTF-8, in `name`, whose data the caller frees with `atomkv_free`; its size
/// does not count the NUL. Works on a closed database too. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_name(
    table: *const atomkv_table,
    name: *mut atomkv_buffer,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(name, atomkv_buffer::EMPTY, "name")?;
        name.write(owned_text(handle(table, "table")?.table.name().as_bytes())?);
        Ok(ATOMKV_OK)
    })
}

/// The number of keys. Since 0.1.
///
/// # Safety
/// `table` is NULL or alive; `keys` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_len(table: *const atomkv_table, keys: *mut u64) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(keys, 0, "keys")?;
        let table = handle(table, "table")?;
        table.database.check()?;
        keys.write(table.table.len());
        Ok(ATOMKV_OK)
    })
}

/// The number of partitions. Since 0.1.
///
/// # Safety
/// `table` is NULL or alive; `partitions` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_partitions(
    table: *const atomkv_table,
    partitions: *mut u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(partitions, 0, "partitions")?;
        partitions.write(handle(table, "table")?.table.partitions());
        Ok(ATOMKV_OK)
    })
}

/// The key's slot, 0 to 16,383, which never changes, and the partition that holds it, from 0. `slot` and
/// `partition` may be NULL. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_slot(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    slot: *mut u32,
    partition: *mut u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(slot, 0);
        store(partition, 0);
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        table.database.check()?;
        store(slot, u32::from(table.table.slot(key)?));
        store(partition, table.table.partition(key)?);
        Ok(ATOMKV_OK)
    })
}

/// Stores a value under a key, whether or not the key is there; durable as the table says. `value` may be NULL if
/// `value_size` is 0. `written` may be NULL. Key and value are copied. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; key and value have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_put(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *const c_void,
    value_size: usize,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(written, atomkv_written::NONE);
        let table = handle(table, "table")?;
        let (key, value) = (bytes(key, key_size, "key")?, bytes(value, value_size, "value")?);
        store(written, table.table.put(key, value)?.into());
        Ok(ATOMKV_OK)
    })
}

/// `atomkv_put` with options: durability, what must be there for the write to happen, expiry. `options`: NULL for the
/// defaults. `ATOMKV_ERR_CONFLICT` if something else is there than was expected. Since 0.1.
///
/// # Safety
/// As `atomkv_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_put_with(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *const c_void,
    value_size: usize,
    options: *const atomkv_write_options,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(written, atomkv_written::NONE);
        let table = handle(table, "table")?;
        let (key, value) = (bytes(key, key_size, "key")?, bytes(value, value_size, "value")?);
        let written_here = table.table.put_with(key, value, write_options(options)?)?;
        store(written, written_here.into());
        Ok(ATOMKV_OK)
    })
}

/// Removes a key; `ATOMKV_NOT_FOUND` if it was not there. Durable as the table says. `written` may be NULL; it
/// receives zeros if nothing was written. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_delete(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { atomkv_delete_with(table, key, key_size, ptr::null(), written) }
}

/// `atomkv_delete` with options: durability, and what must be there for the delete to happen; an expiry is not
/// allowed. `options`: NULL for the defaults. `ATOMKV_ERR_CONFLICT` if something else is there than was expected.
/// Since 0.1.
///
/// # Safety
/// As `atomkv_delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_delete_with(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    options: *const atomkv_write_options,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(written, atomkv_written::NONE);
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        let outcome = table.table.delete_with(key, delete_options(options)?)?;
        store(written, outcome.map_or(atomkv_written::NONE, Into::into));
        Ok(if outcome.is_some() { ATOMKV_OK } else { ATOMKV_NOT_FOUND })
    })
}

/// Whether a key is there: `ATOMKV_OK` or `ATOMKV_NOT_FOUND`. Since 0.1.
///
/// # Safety
/// `table` is NULL or alive; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_contains(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        Ok(if table.table.contains(key)? { ATOMKV_OK } else { ATOMKV_NOT_FOUND })
    })
}

/// Reads a value, first way: copies it into the caller's buffer.
///
/// `buffer` has room for `buffer_size` bytes and may be NULL if that is 0, to ask for the size alone. `value_size`
/// receives the size of the value, also with `ATOMKV_ERR_BUFFER_TOO_SMALL`, which leaves the buffer as it was; 0 if
/// there is no value. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get(
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
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        if buffer.is_null() && buffer_size > 0 {
            return Err(crate::call::null("buffer"));
        }
        let found = table.table.get_with(key, |value| copy_out(value, buffer, buffer_size, value_size))?;
        copied(found)
    })
}

/// Reads a value, second way: into a buffer of its own, whose `data` the caller frees with `atomkv_free`. `value`
/// receives NULL and 0 if there is no value. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get_owned(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *mut atomkv_buffer,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(value, atomkv_buffer::EMPTY, "value")?;
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        let Some(found) = table.table.get_with(key, owned)? else {
            return Ok(ATOMKV_NOT_FOUND);
        };
        value.write(found?);
        Ok(ATOMKV_OK)
    })
}

/// Frees memory that the caller owns, such as the `data` of an `atomkv_buffer`. NULL does nothing. Since 0.1.
///
/// # Safety
/// `data` is NULL or came from AtomKV, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_free(data: *mut c_void) {
    // SAFETY: it came from `malloc`, and the caller gives it up.
    unsafe { libc::free(data) }
}

/// Reads a value, third way: shows it where it lies, without a copy where it is stored as it is (neither compressed
/// nor large, in mapped storage).
///
/// `view`: receives the view, or NULL; release it with `atomkv_view_release`. `value`: receives the bytes, which stay
/// readable and unchanged until the release, whatever happens to the key, the table or the database. A view holds the
/// disk space of its segment. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get_view(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    view: *mut *mut atomkv_view,
    value: *mut atomkv_slice,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(view, ptr::null_mut(), "view")?;
        clear(value, atomkv_slice::EMPTY, "value")?;
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        let Some(pinned) = table.table.get_pinned(key)? else {
            return Ok(ATOMKV_NOT_FOUND);
        };
        let held = give(atomkv_view { pinned });
        value.write(atomkv_slice::of(&handle(held, "view")?.pinned));
        view.write(held);
        Ok(ATOMKV_OK)
    })
}

/// The version and sequence of the write that stored the viewed value. Since 0.1.
///
/// # Safety
/// `view` is NULL or alive; `written` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_view_written(
    view: *const atomkv_view,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(written, atomkv_written::NONE, "written")?;
        let pinned = &handle(view, "view")?.pinned;
        written.write(atomkv_written { version: pinned.version(), sequence: pinned.sequence() });
        Ok(ATOMKV_OK)
    })
}

/// Releases a view. NULL does nothing. Since 0.1.
///
/// # Safety
/// `view` is NULL or alive; neither it nor its bytes are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_view_release(view: *mut atomkv_view) {
    // SAFETY: the caller's promise.
    unsafe { free(view) }
}
