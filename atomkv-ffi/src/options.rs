//! How a database is opened and how a table is created.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use atomkv_engine::services::Services;
use atomkv_engine::{Durability, Options, TableOptions};

use crate::call::{Outcome, call, null, text};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};

/// When an acknowledged write is on stable storage. Since 0.1.
#[repr(i32)]
pub enum atomkv_durability {
    /// As the table was created or opened.
    ATOMKV_DURABILITY_TABLE = 0,
    /// Survives the death of the process at any instruction; power loss may take what was written since the last
    /// background sync (one second by default), and leaves an exact prefix.
    ATOMKV_DURABILITY_BUFFERED = 1,
    /// On return this write and everything before it is on stable storage. Threads that write at the same time
    /// share one sync.
    ATOMKV_DURABILITY_SYNC = 2,
}

/// A durability by its number; `None` is the table's own.
pub(crate) fn durability(number: i32) -> Result<Option<Durability>, Box<atomkv_error>> {
    match number {
        number if number == atomkv_durability::ATOMKV_DURABILITY_TABLE as i32 => Ok(None),
        number if number == atomkv_durability::ATOMKV_DURABILITY_BUFFERED as i32 => {
            Ok(Some(Durability::Buffered))
        }
        number if number == atomkv_durability::ATOMKV_DURABILITY_SYNC as i32 => Ok(Some(Durability::Sync)),
        other => Err(Box::new(atomkv_error::argument(format!("there is no durability {other}")))),
    }
}

/// How a database is opened. One thread at a time; may be used for several databases and freed at any time.
/// Since 0.1.
pub struct atomkv_options {
    pub(crate) options: Options,
}

/// Options with the defaults, freed with `atomkv_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_options_new() -> *mut atomkv_options {
    Box::into_raw(Box::new(atomkv_options { options: Options::new() }))
}

/// Frees options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_free(options: *mut atomkv_options) {
    if !options.is_null() {
        // SAFETY: it came from `Box::into_raw` and the caller gives it up.
        drop(unsafe { Box::from_raw(options) });
    }
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change(options: *mut atomkv_options, change: impl FnOnce(Options) -> Options) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { options.as_mut() }.ok_or_else(|| null("options"))?;
        options.options = change(options.options.clone());
        Ok(ATOMKV_OK)
    })
}

/// Whether a missing or empty directory becomes a new database. Default yes. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_create_if_missing(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.create_if_missing(yes != 0)) }
}

/// Whether files are mapped into memory. Default yes. Without, a failing device gives `ATOMKV_ERR_IO` instead of a
/// SIGBUS signal, and everything is slower. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_mapped(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| if yes != 0 { options.mapped() } else { options.unmapped() }) }
}

/// The longest time, in milliseconds, that a buffered write waits for its sync. Default 1000; not 0. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_sync_interval_ms(
    options: *mut atomkv_options,
    milliseconds: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.sync_interval(Duration::from_millis(milliseconds))) }
}

/// How many unsynced bytes begin a background sync. Default 64 MiB; not 0. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_sync_bytes(
    options: *mut atomkv_options,
    bytes: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.sync_bytes(bytes)) }
}

/// The sizes of log segments in bytes: of the first, from which they double, and of the largest. Default 256 KiB and
/// 64 MiB; 64 KiB to 256 MiB are allowed. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_segment_bytes(
    options: *mut atomkv_options,
    first: u64,
    largest: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.segment_bytes(first, largest)) }
}

/// How many bytes of log may follow a checkpoint before the next is written. Default 128 MiB; not 0. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_checkpoint_bytes(
    options: *mut atomkv_options,
    bytes: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.checkpoint_bytes(bytes)) }
}

/// How many dead bytes compaction tolerates, as a share of the live bytes. Default 0.33; at least 0.05. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_dead_ratio(
    options: *mut atomkv_options,
    ratio: f64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.dead_ratio(ratio)) }
}

/// From which stored length, in bytes, a value lives in a file of its own. Default 1 MiB; 4 KiB to 64 MiB are
/// allowed. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_large_value_bytes(
    options: *mut atomkv_options,
    bytes: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.large_value_bytes(bytes)) }
}

/// Whether the checksum of a record is verified on every read. Default yes. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_verify_checksums(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.verify_checksums(yes != 0)) }
}

/// Whether a database whose newest log is damaged (not merely cut short) is opened without the damaged commits.
/// Default no: opening is `ATOMKV_ERR_CORRUPT`. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_skip_damaged_log(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.skip_damaged_log(yes != 0)) }
}

/// How a table is created or opened. One thread at a time; may be used for several tables and freed at any time.
/// Since 0.1.
pub struct atomkv_table_options {
    pub(crate) options: TableOptions,
    pub(crate) services: Services,
    pub(crate) create_if_missing: bool,
}

/// Table options with the defaults, freed with `atomkv_table_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_table_options_new() -> *mut atomkv_table_options {
    Box::into_raw(Box::new(atomkv_table_options {
        options: TableOptions::new(),
        services: Services::new(),
        create_if_missing: true,
    }))
}

/// Frees table options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_free(options: *mut atomkv_table_options) {
    if !options.is_null() {
        // SAFETY: it came from `Box::into_raw` and the caller gives it up.
        drop(unsafe { Box::from_raw(options) });
    }
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change_table(
    options: *mut atomkv_table_options,
    change: impl FnOnce(&mut atomkv_table_options) -> Outcome,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| change(unsafe { options.as_mut() }.ok_or_else(|| null("options"))?))
}

/// Whether a table that is missing is created (default) or is `ATOMKV_ERR_TABLE_NOT_FOUND`. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_create_if_missing(
    options: *mut atomkv_table_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_table(options, |options| {
            options.create_if_missing = yes != 0;
            Ok(ATOMKV_OK)
        })
    }
}

/// The number of partitions that a new table begins with, 1 to 16,384; 16 by default. A table that exists keeps what it
/// has. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_partitions(
    options: *mut atomkv_table_options,
    partitions: u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_table(options, |options| {
            options.options = options.options.clone().partitions(partitions);
            Ok(ATOMKV_OK)
        })
    }
}

/// The durability of writes that do not name one: an `atomkv_durability`. Stored when the table is created; for an
/// existing table it holds for the handle. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_durability(
    options: *mut atomkv_table_options,
    durability: i32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_table(options, |options| {
            if let Some(durability) = crate::options::durability(durability)? {
                options.options = options.options.clone().durability(durability);
            }
            Ok(ATOMKV_OK)
        })
    }
}

/// Chooses one of AtomKV's own services by its kind and its name, both NUL-terminated:
/// "compressor": "lz4" (default, from 4 KiB), "none", "gzip"; "sharder": "hash-slots" (default), "redis-slots",
/// "key-space-v1"; "validator": "any-bytes" (default), "key-space-v1-keys"; "hasher": "rapidhash-v3"; "serializer":
/// "json". The names are stored when the table is created; opening it with others is
/// `ATOMKV_ERR_SERVICES_MISMATCH`. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; the texts are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_service(
    options: *mut atomkv_table_options,
    kind: *const c_char,
    name: *const c_char,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_table(options, |options| {
            let (kind, name) = (text(kind, "kind")?, text(name, "name")?);
            options.services = options.services.clone().with_named(kind, name)?;
            Ok(ATOMKV_OK)
        })
    }
}
