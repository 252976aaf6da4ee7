//! Iterations over the keys of a table.

use std::ffi::{c_int, c_void};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::vec;

use atomkv_engine::{Database, Error, Scan, ScanOptions};

use crate::arena::atomkv_arena;
use crate::call::{Outcome, bytes, call, clear, owned, reserve, store};
use crate::entry::atomkv_entry;
use crate::exclusive::is_held;
use crate::handle::{free, give, handle, handle_mut, kinds, optional};
use crate::many::EMPTY;
use crate::snapshot::atomkv_snapshot;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_DONE, ATOMKV_NOT_FOUND, ATOMKV_OK};
use crate::table::{atomkv_buffer, atomkv_slice, atomkv_table, atomkv_written};

/// Which keys an iteration is for, and how it goes through them. One thread at a time; may be used for several
/// iterations and freed at any time. Since 0.1.
pub struct atomkv_scan_options {
    options: ScanOptions,
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
}

/// An iteration over a table. Any thread; calls on one iterator wait for each other. It keeps its database open until
/// it is freed or the database is closed. Since 0.1.
pub struct atomkv_iter {
    state: Mutex<State>,
    /// Keeps the database open.
    database: Database,
}

kinds! { atomkv_iter held by |iter| is_held(&iter.state), atomkv_scan_options }

struct State {
    source: Source,
    current: Option<Item>,
    /// What the next call is to tell.
    failed: Option<Error>,
}

enum Source {
    Scan(Box<Scan>),
    /// What a transaction has read.
    Pairs(vec::IntoIter<(Vec<u8>, Vec<u8>)>),
}

struct Item {
    key: Vec<u8>,
    value: Vec<u8>,
    entry: atomkv_entry,
}

impl State {
    fn next(&mut self) -> Result<Option<Item>, Error> {
        self.current = None;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        Ok(match &mut self.source {
            Source::Scan(scan) => scan.next_entry().transpose()?.map(|found| Item {
                entry: (&found).into(),
                key: found.key,
                value: found.value,
            }),
            Source::Pairs(pairs) => {
                pairs.next().map(|(key, value)| Item { key, value, entry: atomkv_entry::NONE })
            }
        })
    }
}

impl atomkv_iter {
    /// An iterator over what was read already.
    pub(crate) fn over(pairs: Vec<(Vec<u8>, Vec<u8>)>, database: Database) -> *mut atomkv_iter {
        atomkv_iter::new(Source::Pairs(pairs.into_iter()), database)
    }

    fn new(source: Source, database: Database) -> *mut atomkv_iter {
        give(atomkv_iter { state: Mutex::new(State { source, current: None, failed: None }), database })
    }

    fn with<R>(
        &self,
        f: impl FnOnce(&mut State) -> Result<R, Box<atomkv_error>>,
    ) -> Result<R, Box<atomkv_error>> {
        // Before the lock, which a thread of a forked process's parent may hold for ever.
        self.database.check()?;
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Scan options for all keys, freed with `atomkv_scan_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_scan_options_new() -> *mut atomkv_scan_options {
    give(atomkv_scan_options { options: ScanOptions::new(), low: Bound::Unbounded, high: Bound::Unbounded })
}

/// Frees scan options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_free(options: *mut atomkv_scan_options) {
    // SAFETY: the caller's promise.
    unsafe { free(options) }
}

/// The options of a scan; NULL is all keys.
///
/// # Safety
/// `options` is NULL or alive, and changed by no other thread.
pub(crate) unsafe fn scan_options(
    options: *const atomkv_scan_options,
) -> Result<ScanOptions, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    let options = unsafe { optional(options, "options") }?;
    Ok(options.map_or_else(ScanOptions::new, |options| options.options.clone()))
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn change(
    options: *mut atomkv_scan_options,
    change: impl FnOnce(&mut atomkv_scan_options) -> Outcome,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| change(unsafe { handle_mut(options, "options") }?))
}

/// # Safety
/// `options` is NULL or alive, and used by no other thread.
unsafe fn set(
    options: *mut atomkv_scan_options,
    with: impl FnOnce(ScanOptions) -> ScanOptions,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            options.options = with(options.options.clone());
            Ok(ATOMKV_OK)
        })
    }
}

/// Only keys that are not below `key`, by the order of their bytes; or, if `inclusive` is 0, only those above it. On
/// a table without order all keys are looked at for this. Takes the place of a prefix. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_low(
    options: *mut atomkv_scan_options,
    key: *const c_void,
    key_size: usize,
    inclusive: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            let key = bytes(key, key_size, "key")?.to_vec();
            options.low = if inclusive != 0 { Bound::Included(key) } else { Bound::Excluded(key) };
            options.options = options.options.clone().range((options.low.clone(), options.high.clone()));
            Ok(ATOMKV_OK)
        })
    }
}

/// Only keys below `key`, or, if `inclusive` is not 0, not above it. Takes the place of a prefix. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_high(
    options: *mut atomkv_scan_options,
    key: *const c_void,
    key_size: usize,
    inclusive: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            let key = bytes(key, key_size, "key")?.to_vec();
            options.high = if inclusive != 0 { Bound::Included(key) } else { Bound::Excluded(key) };
            options.options = options.options.clone().range((options.low.clone(), options.high.clone()));
            Ok(ATOMKV_OK)
        })
    }
}

/// Only keys that begin with `prefix`, of `prefix_size` bytes. Takes the place of a range. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `prefix` has `prefix_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_prefix(
    options: *mut atomkv_scan_options,
    prefix: *const c_void,
    prefix_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            options.options = options.options.clone().prefix(bytes(prefix, prefix_size, "prefix")?);
            (options.low, options.high) = (Bound::Unbounded, Bound::Unbounded);
            Ok(ATOMKV_OK)
        })
    }
}

/// Only keys in which `part`, of `part_size` bytes, occurs. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `part` has `part_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_contains(
    options: *mut atomkv_scan_options,
    part: *const c_void,
    part_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            options.options = options.options.clone().contains(bytes(part, part_size, "part")?);
            Ok(ATOMKV_OK)
        })
    }
}

/// Only keys that match a pattern as a whole: `*` stands for any bytes, `?` for one, `[a-c]` for one of some,
/// `[!a-c]` for one of the others; a backslash takes the meaning from what follows. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `pattern` has `pattern_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_glob(
    options: *mut atomkv_scan_options,
    pattern: *const c_void,
    pattern_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            options.options = options.options.clone().glob(bytes(pattern, pattern_size, "pattern")?);
            Ok(ATOMKV_OK)
        })
    }
}

/// From the last key to the first; only of ordered tables, else the iteration is `ATOMKV_ERR_INVALID_ARGUMENT`.
/// Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_reverse(
    options: *mut atomkv_scan_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { set(options, |options| options.reverse(yes != 0)) }
}

/// No more than so many keys. Default no limit. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_limit(
    options: *mut atomkv_scan_options,
    keys: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { set(options, |options| options.limit(keys)) }
}

/// Without values, which are not read then and are empty. Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_keys_only(
    options: *mut atomkv_scan_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { set(options, |options| options.keys_only(yes != 0)) }
}

/// Whether the iteration will be continued by `atomkv_iter_page_token`. Iterations of ordered tables, and those with
/// a limit, can be in any case; of another table, what is read lies farther apart then. Default no. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_paged(
    options: *mut atomkv_scan_options,
    yes: c_int,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { set(options, |options| options.paged(yes != 0)) }
}

/// Goes on behind the last key of an earlier iteration over the same table: `token` is what `atomkv_iter_page_token`
/// has told. The other options should be the same as then. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `token` has `token_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_scan_options_set_after(
    options: *mut atomkv_scan_options,
    token: *const c_void,
    token_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        change(options, |options| {
            options.options = options.options.clone().after(bytes(token, token_size, "token")?);
            Ok(ATOMKV_OK)
        })
    }
}

/// Begins an iteration over the keys of a table with their values as they are now, whatever is written meanwhile; in
/// the order of the keys if the table is ordered, else in none. Until it has come to its end or is freed, versions
/// that it may still come to are kept. `options`: NULL for all keys; not needed after the call. `iter` receives the
/// iterator, freed with `atomkv_iter_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_new(
    table: *const atomkv_table,
    options: *const atomkv_scan_options,
    iter: *mut *mut atomkv_iter,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(iter, std::ptr::null_mut(), "iter")?;
        let table = handle(table, "table")?;
        let scan = table.table.scan(scan_options(options)?)?;
        iter.write(atomkv_iter::new(Source::Scan(Box::new(scan)), table.database.clone()));
        Ok(ATOMKV_OK)
    })
}

/// As `atomkv_iter_new`, over what the snapshot sees of the table. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_iter_new(
    snapshot: *const atomkv_snapshot,
    table: *const atomkv_table,
    options: *const atomkv_scan_options,
    iter: *mut *mut atomkv_iter,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(iter, std::ptr::null_mut(), "iter")?;
        let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
        let scan = snapshot.snapshot.scan(&table.table, scan_options(options)?)?;
        iter.write(atomkv_iter::new(Source::Scan(Box::new(scan)), snapshot.database.clone()));
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
        store(written, atomkv_written::NONE);
        handle(iter, "iter")?.with(|state| {
            let Some(item) = state.next()? else {
                return Ok(ATOMKV_DONE);
            };
            let item = state.current.insert(item);
            store(key, atomkv_slice::of(&item.key));
            store(value, atomkv_slice::of(&item.value));
            store(written, item.entry.written());
            Ok(ATOMKV_OK)
        })
    })
}

/// What is known of the document at which the iterator stands, after a successful `atomkv_iter_next`;
/// `ATOMKV_NOT_FOUND` if it stands at none. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_entry(
    iter: *const atomkv_iter,
    entry: *mut atomkv_entry,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(entry, atomkv_entry::NONE, "entry")?;
        handle(iter, "iter")?.with(|state| {
            let Some(current) = &state.current else { return Ok(ATOMKV_NOT_FOUND) };
            entry.write(current.entry);
            Ok(ATOMKV_OK)
        })
    })
}

/// Goes over many keys in one call, for callers to whom a call is dear.
///
/// `arena`: receives the bytes. `count`: how many at most, at least 1; `bytes`: about how many bytes at most, 0 for 1
/// MiB: the call ends with the key that goes beyond, so there is always one. `keys`, `values`, `written`: each NULL
/// or with room for `count`; the slices point into the arena until it is used again or freed. `found` receives how
/// many there are; `ATOMKV_DONE` with 0 at the end. A damaged record ends the call before it; the next call is
/// `ATOMKV_ERR_CORRUPT` then, and the one after goes on behind it. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_next_many(
    iter: *mut atomkv_iter,
    arena: *mut atomkv_arena,
    count: usize,
    bytes: usize,
    keys: *mut atomkv_slice,
    values: *mut atomkv_slice,
    written: *mut atomkv_written,
    found: *mut usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(found, 0, "found")?;
        let (iter, arena) = (handle(iter, "iter")?, &mut handle_mut(arena, "arena")?.bytes);
        if count == 0 {
            return Err(Box::new(atomkv_error::argument("count is 0; it must be at least 1")));
        }
        arena.clear();
        iter.with(|state| {
            let bytes_max = if bytes == 0 { 1 << 20 } else { bytes };
            let mut places = Vec::new();
            while places.len() < count && arena.len() < bytes_max {
                let item = match state.next() {
                    Ok(Some(item)) => item,
                    Ok(None) => break,
                    Err(error) if places.is_empty() => return Err(error.into()),
                    Err(error) => {
                        state.failed = Some(error);
                        break;
                    }
                };
                store_at(written, places.len(), item.entry.written());
                places.push((item.key.len(), item.value.len()));
                reserve(arena, item.key.len() + item.value.len())?;
                arena.extend_from_slice(&item.key);
                arena.extend_from_slice(&item.value);
            }
            let mut at = 0;
            for (index, (key, value)) in places.iter().enumerate() {
                store_at(keys, index, part(arena, at, *key));
                store_at(values, index, part(arena, at + key, *value));
                at += key + value;
            }
            found.write(places.len());
            Ok(if places.is_empty() { ATOMKV_DONE } else { ATOMKV_OK })
        })
    })
}

fn part(arena: &[u8], at: usize, length: usize) -> atomkv_slice {
    // An empty value has an address too.
    if length == 0 {
        return atomkv_slice { data: (&raw const EMPTY).cast(), size: 0 };
    }
    atomkv_slice::of(&arena[at..at + length])
}

/// # Safety
/// `out` is NULL or has room for `index`.
unsafe fn store_at<T>(out: *mut T, index: usize, value: T) {
    if !out.is_null() {
        // SAFETY: not NULL, and the caller's promise.
        unsafe { out.add(index).write(value) };
    }
}

/// Where a later iteration goes on, with `atomkv_scan_options_set_after`: behind the key at which this one stands.
/// `token` receives bytes that hold for any process and after any reopening, whose data the caller frees with
/// `atomkv_free`. After `ATOMKV_DONE` that is the last key that came. `ATOMKV_NOT_FOUND` if the iteration cannot be
/// continued: nothing was read yet, it is a transaction's, or the table has no order and the options neither a limit
/// nor `atomkv_scan_options_set_paged`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_page_token(
    iter: *const atomkv_iter,
    token: *mut atomkv_buffer,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(token, atomkv_buffer::EMPTY, "token")?;
        handle(iter, "iter")?.with(|state| {
            let Source::Scan(scan) = &state.source else { return Ok(ATOMKV_NOT_FOUND) };
            let Some(found) = scan.page_token() else { return Ok(ATOMKV_NOT_FOUND) };
            token.write(owned(&found)?);
            Ok(ATOMKV_OK)
        })
    })
}

/// Ends an iteration. NULL does nothing. Since 0.1.
///
/// # Safety
/// `iter` is NULL or alive; neither it nor its bytes are used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_iter_free(iter: *mut atomkv_iter) {
    // SAFETY: the caller's promise.
    unsafe { free(iter) }
}
