//! How a database is opened and how a table is created.

use std::ffi::{c_char, c_int};
use std::sync::Weak;
use std::time::Duration;

use atomkv_engine::services::Services;
use atomkv_engine::{Durability, Expect, Expiry, Options, Retention, TableOptions, WriteOptions};

use crate::call::{Outcome, call, text};
use crate::handle::{free, give, handle_mut, kinds, optional};
use crate::services::Compression;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};

/// The time at which documents expire that never do.
pub const ATOMKV_NEVER: u64 = u64::MAX;

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

/// How a database is opened. One thread at a time; may be used for several databases and freed at any time. Since
/// 0.1.
pub struct atomkv_options {
    pub(crate) options: Options,
}

kinds! { atomkv_options, atomkv_table_options }

/// Options with the defaults, freed with `atomkv_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_options_new() -> *mut atomkv_options {
    give(atomkv_options { options: Options::new() })
}

/// Frees options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_free(options: *mut atomkv_options) {
    // SAFETY: the caller's promise.
    unsafe { free(options) }
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change(options: *mut atomkv_options, change: impl FnOnce(Options) -> Options) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { handle_mut(options, "options") }?;
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

/// Whether the database is opened for reading, beside the process that writes it if there is one, as it was at the
/// moment of opening and without writing a byte; `atomkv_refresh` follows. Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_read_only(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.read_only(yes != 0)) }
}

/// Whether threads of the database sync, settle and reap in the background. Default yes. Without them only what calls
/// ask for happens: space is not given back and buffered writes are not synced unless the program asks. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_background(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.background(yes != 0)) }
}

/// How many bytes a second compaction in the background may move; 0, the default, for no limit. It goes faster when a
/// call waits for it. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_compaction_rate(
    options: *mut atomkv_options,
    bytes_per_second: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.compaction_rate(bytes_per_second)) }
}

/// Whether documents that have expired are removed in the background. Default yes. They are invisible either way.
/// Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_reap_expired(
    options: *mut atomkv_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.reap_expired(yes != 0)) }
}

/// How many bytes of the newest log are kept for watches that come back. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_feed_bytes(
    options: *mut atomkv_options,
    bytes: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.feed_bytes(bytes)) }
}

/// The seed that the hashes of a new database's keys begin with; random unless given. For tests: a seed that
/// strangers know lets them choose keys that make a table slow. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_options_set_hash_seed(
    options: *mut atomkv_options,
    seed: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| options.hash_seed(seed)) }
}

/// How a table is created or opened. One thread at a time; may be used for several tables and freed at any time.
/// Since 0.1.
pub struct atomkv_table_options {
    pub(crate) options: TableOptions,
    pub(crate) services: Services,
    /// The compressor among the services, if it is the C side's.
    pub(crate) compression: Weak<Compression>,
    pub(crate) create_if_missing: bool,
}

/// Table options with the defaults, freed with `atomkv_table_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_table_options_new() -> *mut atomkv_table_options {
    give(atomkv_table_options {
        options: TableOptions::new(),
        services: Services::new(),
        compression: Weak::new(),
        create_if_missing: true,
    })
}

/// Frees table options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_free(options: *mut atomkv_table_options) {
    // SAFETY: the caller's promise.
    unsafe { free(options) }
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change_table(
    options: *mut atomkv_table_options,
    change: impl FnOnce(&mut atomkv_table_options) -> Outcome,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| change(unsafe { handle_mut(options, "options") }?))
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change_settings(
    options: *mut atomkv_table_options,
    change: impl FnOnce(TableOptions) -> TableOptions,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_table(options, |options| {
            options.options = change(options.options.clone());
            Ok(ATOMKV_OK)
        })
    }
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

/// The number of partitions that a new table begins with, 1 to 16,384; 16 by default. A table that exists keeps what
/// it has. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_partitions(
    options: *mut atomkv_table_options,
    partitions: u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change_settings(options, |options| options.partitions(partitions)) }
}

/// The durability of writes that do not name one: `ATOMKV_DURABILITY_BUFFERED`, the default, or
/// `ATOMKV_DURABILITY_SYNC`. Stored when the table is created; for an existing table it holds for the handle. Since
/// 0.1.
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
            let durability = crate::options::durability(durability)?.ok_or_else(|| {
                Box::new(atomkv_error::argument("ATOMKV_DURABILITY_TABLE is no durability of a table"))
            })?;
            options.options = options.options.clone().durability(durability);
            Ok(ATOMKV_OK)
        })
    }
}

/// Whether the table keeps its keys in order too, for ranges, prefixes and reverse iterations; costs memory, see the
/// guide. Stored when the table is created; another setting for an existing table is `ATOMKV_ERR_TABLE_MISMATCH`.
/// Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_ordered(
    options: *mut atomkv_table_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change_settings(options, |options| options.ordered(yes != 0)) }
}

/// Whether the number of partitions follows the table's size. Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_auto_partitions(
    options: *mut atomkv_table_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change_settings(options, |options| options.auto_partitions(yes != 0)) }
}

/// How many versions of a document are kept, the newest among them, at least 1. Stored when the table is created.
/// Default 1: nothing of the past. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_retention_versions(
    options: *mut atomkv_table_options,
    versions: u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change_settings(options, |options| options.retention(Retention::Versions(versions))) }
}

/// How long a version is kept after a newer one has replaced it, in milliseconds, at least 1. Stored when the table
/// is created. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_retention_ms(
    options: *mut atomkv_table_options,
    milliseconds: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_settings(options, |options| {
            options.retention(Retention::Duration(Duration::from_millis(milliseconds)))
        })
    }
}

/// Whether all versions are kept for ever. Stored when the table is created. Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_retention_all(
    options: *mut atomkv_table_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_settings(options, |options| {
            options.retention(if yes != 0 { Retention::All } else { Retention::Versions(1) })
        })
    }
}

/// How long documents live whose write does not say, in milliseconds, at least 1. Stored when the table is created.
/// Default for ever. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_ttl_ms(
    options: *mut atomkv_table_options,
    milliseconds: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change_settings(options, |options| options.ttl(Duration::from_millis(milliseconds))) }
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

/// How a single write happens. One thread at a time; may be used for many writes and freed at any time. Since 0.1.
#[derive(Default)]
pub struct atomkv_write_options {
    durability: Option<Durability>,
    expect: Expect,
    expiry: Expiry,
}

kinds! { atomkv_write_options }

impl atomkv_write_options {
    fn options(&self) -> WriteOptions {
        let options = WriteOptions::new().expect(self.expect).expiry(self.expiry);
        match self.durability {
            Some(durability) => options.durability(durability),
            None => options,
        }
    }
}

/// The options of a write; NULL is the defaults.
///
/// # Safety
/// `options` is NULL or alive, and changed by no other thread.
pub(crate) unsafe fn write_options(
    options: *const atomkv_write_options,
) -> Result<WriteOptions, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    let options = unsafe { optional(options, "options") }?;
    Ok(options.map_or_else(WriteOptions::new, atomkv_write_options::options))
}

/// As [`write_options`], of a delete.
///
/// # Safety
/// As [`write_options`].
pub(crate) unsafe fn delete_options(
    options: *const atomkv_write_options,
) -> Result<WriteOptions, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    let given = unsafe { optional(options, "options") }?;
    if given.is_some_and(|given| given.expiry != Expiry::Default) {
        return Err(Box::new(atomkv_error::argument("options have an expiry, which a delete cannot have")));
    }
    // SAFETY: the caller's promise.
    unsafe { write_options(options) }
}

/// As [`write_options`], of a change of the expiry.
///
/// # Safety
/// As [`write_options`].
pub(crate) unsafe fn expiry_options(
    options: *const atomkv_write_options,
) -> Result<WriteOptions, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    let given = unsafe { optional(options, "options") }?;
    if given.is_none_or(|given| given.expiry == Expiry::Default) {
        let reason = "options name no expiry; set one, ATOMKV_NEVER for none";
        return Err(Box::new(atomkv_error::argument(reason)));
    }
    // SAFETY: the caller's promise.
    unsafe { write_options(options) }
}

/// Write options with the defaults, freed with `atomkv_write_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_write_options_new() -> *mut atomkv_write_options {
    give(atomkv_write_options::default())
}

/// Frees write options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_write_options_free(options: *mut atomkv_write_options) {
    // SAFETY: the caller's promise.
    unsafe { free(options) }
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change_write(
    options: *mut atomkv_write_options,
    change: impl FnOnce(&mut atomkv_write_options) -> Result<(), Box<atomkv_error>>,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| change(unsafe { handle_mut(options, "options") }?).map(|()| ATOMKV_OK))
}

/// When the write is on stable storage: an `atomkv_durability`. Default: as the table says. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_write_options_set_durability(
    options: *mut atomkv_write_options,
    durability: i32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_write(options, |options| {
            options.durability = crate::options::durability(durability)?;
            Ok(())
        })
    }
}

/// What must be there for a write to happen. A document that has expired counts as absent. Since 0.1.
#[repr(i32)]
pub enum atomkv_expect {
    /// Anything or nothing: the default.
    ATOMKV_EXPECT_ANYTHING = 0,
    /// The key must not be there.
    ATOMKV_EXPECT_ABSENT = 1,
    /// The key must be there.
    ATOMKV_EXPECT_PRESENT = 2,
    /// The key must be there with the version given. A key that was deleted and created anew may have the same
    /// version again; its sequence is never the same.
    ATOMKV_EXPECT_VERSION = 3,
    /// The key must be there as the commit with the sequence given has written it.
    ATOMKV_EXPECT_SEQUENCE = 4,
}

/// An expectation by its number.
pub(crate) fn expectation(what: i32, number: u64) -> Result<Expect, Box<atomkv_error>> {
    use atomkv_expect::*;
    Ok(match what {
        what if what == ATOMKV_EXPECT_ANYTHING as i32 => Expect::Anything,
        what if what == ATOMKV_EXPECT_ABSENT as i32 => Expect::Absent,
        what if what == ATOMKV_EXPECT_PRESENT as i32 => Expect::Present,
        what if what == ATOMKV_EXPECT_VERSION as i32 => Expect::Version(number),
        what if what == ATOMKV_EXPECT_SEQUENCE as i32 => Expect::Sequence(number),
        other => return Err(Box::new(atomkv_error::argument(format!("there is no expectation {other}")))),
    })
}

/// What must be there for the write to happen, else it is `ATOMKV_ERR_CONFLICT` and nothing is written. `what`: an
/// `atomkv_expect`. `number`: the version or the sequence, where one is expected; else of no meaning. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_write_options_set_expect(
    options: *mut atomkv_write_options,
    what: i32,
    number: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_write(options, |options| {
            options.expect = expectation(what, number)?;
            Ok(())
        })
    }
}

/// The document expires so many milliseconds after the write; at least 1. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_write_options_set_ttl_ms(
    options: *mut atomkv_write_options,
    milliseconds: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_write(options, |options| {
            if milliseconds == 0 {
                let reason = "milliseconds is 0; a document lives for at least 1";
                return Err(Box::new(atomkv_error::argument(reason)));
            }
            options.expiry = Expiry::After(Duration::from_millis(milliseconds));
            Ok(())
        })
    }
}

/// The document expires at a time in milliseconds since the Unix epoch; `ATOMKV_NEVER` for never, also where the
/// table has a time to live. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_write_options_set_expires_at_ms(
    options: *mut atomkv_write_options,
    time_ms: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change_write(options, |options| {
            options.expiry = if time_ms == ATOMKV_NEVER { Expiry::Never } else { Expiry::At(time_ms) };
            Ok(())
        })
    }
}
