//! The change feed: every commit in its order, by polling.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atomkv_engine::{ChangeEvent, ChangeKind, Database, Watch, WatchOptions};

use crate::call::{bytes, call, call_with_error, clear};
use crate::database::atomkv_db;
use crate::exclusive::is_held;
use crate::handle::{free, give, handle, handle_mut, kinds, optional};
use crate::options::ATOMKV_NEVER;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK, ATOMKV_TIMEOUT};
use crate::table::{atomkv_slice, atomkv_table};

/// Which changes a watch is for. One thread at a time; may be used for several watches and freed at any time. Since
/// 0.1.
#[derive(Default)]
pub struct atomkv_watch_options {
    options: WatchOptions,
}

/// A place in the history of a database, from which it is read on. Any thread; calls on one watch wait for each
/// other. It keeps its database open until it is freed or the database is closed. Since 0.1.
pub struct atomkv_watch {
    state: Mutex<State>,
    database: Database,
}

struct State {
    watch: Watch,
    current: Option<ChangeEvent>,
}

kinds! { atomkv_watch held by |watch| is_held(&watch.state), atomkv_watch_options }

/// What has happened to a key. Since 0.1.
#[repr(i32)]
pub enum atomkv_change_kind {
    /// It has this value now, whether or not it was there before.
    ATOMKV_CHANGE_PUT = 1,
    /// It is not there any more.
    ATOMKV_CHANGE_DELETE = 2,
    /// Nothing: it has had this value when the watch began, see `atomkv_watch_options_set_state_first`.
    ATOMKV_CHANGE_STATE = 3,
}

/// One change of one key. Since 0.1.
#[repr(C)]
pub struct atomkv_change {
    /// The table's name, UTF-8, not NUL-terminated. The bytes of the slices live until the next call on the watch.
    pub table: atomkv_slice,
    /// The key.
    pub key: atomkv_slice,
    /// The value; NULL for a delete, for what is superseded and not kept any more, and for what was streamed and is
    /// too large for a value: open that with `atomkv_reader_new`.
    pub value: atomkv_slice,
    /// The key's version.
    pub version: u64,
    /// The commit. To go on behind it later, watch from one more.
    pub sequence: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When the document expires, in milliseconds since the Unix epoch; `ATOMKV_NEVER` if it does not.
    pub expires_at_ms: u64,
    /// An `atomkv_change_kind`.
    pub kind: i32,
    /// 1 if a later change of the key was committed already and the value may be missing; else 0.
    pub superseded: u32,
    /// 1 for the last change of its commit; else 0.
    pub last_of_commit: u32,
    /// 0.
    pub reserved: u32,
}

impl atomkv_change {
    const NONE: atomkv_change = atomkv_change {
        table: atomkv_slice::EMPTY,
        key: atomkv_slice::EMPTY,
        value: atomkv_slice::EMPTY,
        version: 0,
        sequence: 0,
        time_ms: 0,
        expires_at_ms: ATOMKV_NEVER,
        kind: 0,
        superseded: 0,
        last_of_commit: 0,
        reserved: 0,
    };

    fn of(event: &ChangeEvent) -> atomkv_change {
        use atomkv_change_kind::*;
        let kind = match event.kind {
            ChangeKind::Put => ATOMKV_CHANGE_PUT as i32,
            ChangeKind::Delete => ATOMKV_CHANGE_DELETE as i32,
            ChangeKind::State => ATOMKV_CHANGE_STATE as i32,
            // A kind that this library does not know yet.
            _ => 0,
        };
        atomkv_change {
            table: atomkv_slice::of(event.table.as_bytes()),
            key: atomkv_slice::of(&event.key),
            value: event.value.as_deref().map_or(atomkv_slice::EMPTY, atomkv_slice::of),
            version: event.version,
            sequence: event.sequence,
            time_ms: event.time_ms,
            expires_at_ms: event.expires_at_ms.unwrap_or(ATOMKV_NEVER),
            kind,
            superseded: u32::from(event.superseded),
            last_of_commit: u32::from(event.last_of_commit),
            reserved: 0,
        }
    }
}

/// Watch options for all tables from now on, freed with `atomkv_watch_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_watch_options_new() -> *mut atomkv_watch_options {
    give(atomkv_watch_options::default())
}

/// Frees watch options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_options_free(options: *mut atomkv_watch_options) {
    // SAFETY: the caller's promise.
    unsafe { free(options) }
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change(
    options: *mut atomkv_watch_options,
    change: impl FnOnce(WatchOptions) -> Result<WatchOptions, Box<atomkv_error>>,
) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { handle_mut(options, "options") }?;
        options.options = change(options.options.clone())?;
        Ok(ATOMKV_OK)
    })
}

/// Only changes of this table, and of others that are named so. A table with a compressor of the program's own must
/// be named, since only its handle can read the values. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `options` is used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_options_add_table(
    options: *mut atomkv_watch_options,
    table: *const atomkv_table,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| Ok(options.table(&handle(table, "table")?.table))) }
}

/// Only changes of keys that begin with `prefix`, of `prefix_size` bytes. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `prefix` has `prefix_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_options_set_prefix(
    options: *mut atomkv_watch_options,
    prefix: *const c_void,
    prefix_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| Ok(options.prefix(bytes(prefix, prefix_size, "prefix")?))) }
}

/// From the commit with this `sequence` on, itself included, instead of from now on. If it is not in the log any
/// more, the watch is `ATOMKV_ERR_COMPACTED`. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_options_set_from(
    options: *mut atomkv_watch_options,
    sequence: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| Ok(options.from(sequence))) }
}

/// Whether all documents that are there come first, as `ATOMKV_CHANGE_STATE`. Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_options_set_state_first(
    options: *mut atomkv_watch_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { change(options, |options| Ok(options.state_first(yes != 0))) }
}

/// Begins a watch. `options`: NULL for all tables from now on; not needed after the call. `watch` receives the watch,
/// or NULL on failure; free it with `atomkv_watch_free`. `error`: NULL, or receives the details of a failure, freed
/// with `atomkv_error_free`.
///
/// Where a table has a compressor of the program's own, name it, and all others that are wanted, by
/// `atomkv_watch_options_add_table`. Else the watch stays before the first of its values: that `atomkv_watch_next`,
/// and each one after it, is `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_new(
    db: *mut atomkv_db,
    options: *const atomkv_watch_options,
    watch: *mut *mut atomkv_watch,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            clear(watch, std::ptr::null_mut(), "watch")?;
            let database = handle(db, "db")?.database.clone();
            let options = optional(options, "options")?;
            let options = options.map_or_else(WatchOptions::new, |options| options.options.clone());
            let begun = database.watch(options)?;
            let state = Mutex::new(State { watch: begun, current: None });
            watch.write(give(atomkv_watch { state, database }));
            Ok(ATOMKV_OK)
        })
    }
}

/// Waits for the next change, in the order of the commits.
///
/// `timeout_ms`: how long it waits at most, in milliseconds; 0 for not at all. Interrupt a longer wait by closing the
/// database, or wait in small portions. `change` receives the change; its slices live until the next call on the
/// watch. `ATOMKV_TIMEOUT` if there was none. `ATOMKV_ERR_COMPACTED` if the watch has fallen so far behind that it
/// was not waited for. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_next(
    watch: *mut atomkv_watch,
    timeout_ms: u64,
    change: *mut atomkv_change,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(change, atomkv_change::NONE, "change")?;
        let watch = handle(watch, "watch")?;
        // Before the lock, which a thread of a forked process's parent may hold for ever.
        watch.database.check()?;
        let mut state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.current = None;
        let next = match timeout_ms {
            0 => state.watch.try_next()?,
            wait => state.watch.next(Duration::from_millis(wait))?,
        };
        let Some(event) = next else { return Ok(ATOMKV_TIMEOUT) };
        change.write(atomkv_change::of(state.current.insert(event)));
        Ok(ATOMKV_OK)
    })
}

/// From which sequence a later watch goes on where this one is, for `atomkv_watch_options_set_from`: it does not give
/// a commit again of which all changes were given. `sequence` receives it. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_resume_from(
    watch: *const atomkv_watch,
    sequence: *mut u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(sequence, 0, "sequence")?;
        let watch = handle(watch, "watch")?;
        watch.database.check()?;
        let state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
        sequence.write(state.watch.resume_from());
        Ok(ATOMKV_OK)
    })
}

/// Ends a watch. NULL does nothing. Since 0.1.
///
/// # Safety
/// `watch` is NULL or alive; neither it nor its bytes are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_watch_free(watch: *mut atomkv_watch) {
    // SAFETY: the caller's promise.
    unsafe { free(watch) }
}
