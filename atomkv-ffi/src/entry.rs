//! Documents with what is known of them: versions, times, histories.

use std::ffi::c_void;

use atomkv_engine::{Changed, Entry, ScanEntry, StreamReader, Version};

use crate::call::{bytes, call, clear, owned, store};
use crate::handle::{free, give, handle, kinds};
use crate::options::{ATOMKV_NEVER, atomkv_write_options, expiry_options};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_NOT_FOUND, ATOMKV_OK};
use crate::table::{atomkv_buffer, atomkv_slice, atomkv_table, atomkv_written};

/// What is known of a document beside its value. Since 0.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct atomkv_entry {
    /// The key's version: 1 for a new key, one more with each change.
    pub version: u64,
    /// The commit that wrote it.
    pub sequence: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When it expires or has expired, in milliseconds since the Unix epoch; `ATOMKV_NEVER` if it does not.
    pub expires_at_ms: u64,
    /// 1 if this version is a tombstone: the key was deleted, and there is no value. Else 0.
    pub is_tombstone: u32,
    /// 0.
    pub reserved: u32,
}

impl atomkv_entry {
    pub(crate) const NONE: atomkv_entry = atomkv_entry {
        version: 0,
        sequence: 0,
        time_ms: 0,
        expires_at_ms: ATOMKV_NEVER,
        is_tombstone: 0,
        reserved: 0,
    };

    pub(crate) fn written(&self) -> atomkv_written {
        atomkv_written { version: self.version, sequence: self.sequence }
    }
}

impl From<&Entry> for atomkv_entry {
    fn from(entry: &Entry) -> atomkv_entry {
        atomkv_entry {
            version: entry.version,
            sequence: entry.sequence,
            time_ms: entry.time_ms,
            expires_at_ms: entry.expires_at_ms.unwrap_or(ATOMKV_NEVER),
            ..atomkv_entry::NONE
        }
    }
}

impl From<&StreamReader> for atomkv_entry {
    fn from(reader: &StreamReader) -> atomkv_entry {
        atomkv_entry {
            version: reader.version(),
            sequence: reader.sequence(),
            time_ms: reader.time_ms(),
            expires_at_ms: reader.expires_at_ms().unwrap_or(ATOMKV_NEVER),
            ..atomkv_entry::NONE
        }
    }
}

impl From<&ScanEntry> for atomkv_entry {
    fn from(entry: &ScanEntry) -> atomkv_entry {
        atomkv_entry {
            version: entry.version,
            sequence: entry.sequence,
            time_ms: entry.time_ms,
            expires_at_ms: entry.expires_at_ms.unwrap_or(ATOMKV_NEVER),
            ..atomkv_entry::NONE
        }
    }
}

impl From<&Version> for atomkv_entry {
    fn from(version: &Version) -> atomkv_entry {
        atomkv_entry {
            version: version.version,
            sequence: version.sequence,
            time_ms: version.time_ms,
            expires_at_ms: version.expires_at_ms.unwrap_or(ATOMKV_NEVER),
            is_tombstone: u32::from(version.value.is_none()),
            reserved: 0,
        }
    }
}

/// Hands over what is known of a document of which nobody wants the value.
///
/// # Safety
/// `entry` is NULL or may be written.
pub(crate) unsafe fn hand_over_about(
    reader: Option<&StreamReader>,
    entry: *mut atomkv_entry,
) -> atomkv_status {
    let Some(reader) = reader else { return ATOMKV_NOT_FOUND };
    // SAFETY: the caller's promise.
    unsafe { store(entry, reader.into()) };
    ATOMKV_OK
}

/// Reads a value with what is known of it.
///
/// `value`: NULL, or receives the value, whose data the caller frees with `atomkv_free`; without it nothing of a
/// streamed document is read, however long that is. `entry`: NULL, or receives version, sequence and times.
/// `ATOMKV_NOT_FOUND` if the key is not there. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get_entry(
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
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        if value.is_null() {
            return Ok(hand_over_about(table.table.read_stream(key)?.as_ref(), entry));
        }
        let Some(found) = table.table.get_entry(key)? else { return Ok(ATOMKV_NOT_FOUND) };
        value.write(owned(&found.value)?);
        store(entry, (&found).into());
        Ok(ATOMKV_OK)
    })
}

/// Hands one version over.
///
/// # Safety
/// Each pointer is NULL or may be written.
unsafe fn hand_over(
    version: &Version,
    value: *mut atomkv_buffer,
    entry: *mut atomkv_entry,
) -> Result<atomkv_status, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(bytes) = &version.value
            && !value.is_null()
        {
            value.write(owned(bytes)?);
        }
        store(entry, version.into());
    }
    Ok(ATOMKV_OK)
}

/// Reads one version of a document, of those that the table keeps (`atomkv_table_options_set_retention_versions` and
/// its siblings). `value`: NULL, or receives the value, whose data the caller frees with `atomkv_free`; NULL in it
/// for a tombstone. `entry`: NULL, or receives what is known of it. `ATOMKV_ERR_VERSION_NOT_FOUND` if the key never
/// had the version, `ATOMKV_ERR_VERSION_COMPACTED` if it is not kept any more. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get_version(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    version: u64,
    value: *mut atomkv_buffer,
    entry: *mut atomkv_entry,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(value, atomkv_buffer::EMPTY);
        store(entry, atomkv_entry::NONE);
        let table = handle(table, "table")?;
        hand_over(&table.table.get_version(bytes(key, key_size, "key")?, version)?, value, entry)
    })
}

/// Reads the version of a document that was there after the commit with this `sequence`, of those that the table
/// keeps. `value` and `entry` as in `atomkv_get_version`. `ATOMKV_NOT_FOUND` if the key was not there then, not yet
/// or not any more; `ATOMKV_ERR_VERSION_COMPACTED` if that is not known any more. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get_at(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    sequence: u64,
    value: *mut atomkv_buffer,
    entry: *mut atomkv_entry,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(value, atomkv_buffer::EMPTY);
        store(entry, atomkv_entry::NONE);
        let table = handle(table, "table")?;
        match table.table.get_at(bytes(key, key_size, "key")?, sequence)? {
            Some(version) => hand_over(&version, value, entry),
            None => Ok(ATOMKV_NOT_FOUND),
        }
    })
}

/// The versions of one document that are kept, the newest first. It may be read by many threads at once, and does not
/// need its database any more. Since 0.1.
pub struct atomkv_history {
    versions: Vec<Version>,
}

kinds! { atomkv_history }

/// Reads all versions of a document that the table keeps, the newest first. `history` receives them, or NULL on
/// failure; free it with `atomkv_history_free`. A key that was never there has an empty history. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_history_new(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    history: *mut *mut atomkv_history,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(history, std::ptr::null_mut(), "history")?;
        let table = handle(table, "table")?;
        let versions = table.table.history(bytes(key, key_size, "key")?)?;
        history.write(give(atomkv_history { versions }));
        Ok(ATOMKV_OK)
    })
}

/// Frees a history with the bytes of its values. NULL does nothing. Since 0.1.
///
/// # Safety
/// `history` is NULL or alive; neither it nor its bytes are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_history_free(history: *mut atomkv_history) {
    // SAFETY: the caller's promise.
    unsafe { free(history) }
}

/// How many versions there are. `count` receives it. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_history_len(
    history: *const atomkv_history,
    count: *mut usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(count, 0, "count")?;
        count.write(handle(history, "history")?.versions.len());
        Ok(ATOMKV_OK)
    })
}

/// One of the versions; `index` 0 is the newest. `value`: NULL, or receives the bytes, which live as long as the
/// history; NULL in it for a tombstone. `entry`: NULL, or receives what is known of it. `ATOMKV_DONE` if there are
/// not so many. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_history_at(
    history: *const atomkv_history,
    index: usize,
    value: *mut atomkv_slice,
    entry: *mut atomkv_entry,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(value, atomkv_slice::EMPTY);
        store(entry, atomkv_entry::NONE);
        let Some(version) = handle(history, "history")?.versions.get(index) else {
            return Ok(atomkv_status::ATOMKV_DONE);
        };
        store(value, version.value.as_deref().map_or(atomkv_slice::EMPTY, atomkv_slice::of));
        store(entry, version.into());
        Ok(ATOMKV_OK)
    })
}

/// Stores a value unless the key has this very value already; durable as the table says. `written`: NULL, or receives
/// the version and sequence that the key has now. `changed`: NULL, or receives 1 if the value was written, 0 if it
/// was there already. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; key and value have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_put_if_changed(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    value: *const c_void,
    value_size: usize,
    written: *mut atomkv_written,
    changed: *mut u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(written, atomkv_written::NONE);
        store(changed, 0);
        let table = handle(table, "table")?;
        let (key, value) = (bytes(key, key_size, "key")?, bytes(value, value_size, "value")?);
        let (now, is_changed) = match table.table.put_if_changed(key, value)? {
            Changed::Written(now) => (now, 1),
            Changed::Unchanged(now) => (now, 0),
        };
        store(written, now.into());
        store(changed, is_changed);
        Ok(ATOMKV_OK)
    })
}

/// Gives a document another expiry and leaves its value as it is; a new version, as any write. `options` must name an
/// expiry (`atomkv_write_options_set_ttl_ms`, `..._set_expires_at_ms`), and may name the rest. `ATOMKV_NOT_FOUND` if
/// the key is not there. `written`: NULL, or receives the version and sequence. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_set_expiry(
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
        let outcome = table.table.set_expiry(key, expiry_options(options)?)?;
        store(written, outcome.map_or(atomkv_written::NONE, Into::into));
        Ok(if outcome.is_some() { ATOMKV_OK } else { ATOMKV_NOT_FOUND })
    })
}
