//! Reading many keys in one call.

use std::slice;

use crate::arena::atomkv_arena;
use crate::call::{bytes, call, null};
use crate::handle::{handle, handle_mut};
use crate::snapshot::atomkv_snapshot;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};
use crate::table::{atomkv_slice, atomkv_table};

/// The keys that a call is about.
///
/// # Safety
/// `keys` is NULL or has `count` slices, each of bytes that are alive for `'a`.
unsafe fn keys_of<'a>(keys: *const atomkv_slice, count: usize) -> Result<Vec<&'a [u8]>, Box<atomkv_error>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if keys.is_null() {
        return Err(null("keys"));
    }
    // SAFETY: the caller's promise; the count was checked.
    let keys = unsafe { slice::from_raw_parts(keys, count) };
    // SAFETY: the caller's promise.
    keys.iter().map(|key| unsafe { bytes(key.data, key.size, "a key") }).collect()
}

fn check_count(count: usize) -> Result<(), Box<atomkv_error>> {
    if count > isize::MAX as usize / size_of::<atomkv_slice>() {
        let reason = format!("count is {count}, more keys than there is memory for");
        return Err(Box::new(atomkv_error::argument(reason)));
    }
    Ok(())
}

/// Two arrays of this length must not overlap.
fn check_apart(
    keys: *const atomkv_slice,
    values: *const atomkv_slice,
    count: usize,
) -> Result<(), Box<atomkv_error>> {
    if keys.addr().abs_diff(values.addr()) < count * size_of::<atomkv_slice>() {
        return Err(Box::new(atomkv_error::argument("keys and values are the same array, or overlap")));
    }
    Ok(())
}

/// The keys are read while the arena is filled, so none may lie in its memory.
fn check_outside(keys: &[&[u8]], arena: &Vec<u8>) -> Result<(), Box<atomkv_error>> {
    let filled = arena.as_ptr().addr()..arena.as_ptr().addr() + arena.capacity();
    let is_inside = |key: &&[u8]| {
        let begin = key.as_ptr().addr();
        !key.is_empty() && begin < filled.end && filled.start < begin.saturating_add(key.len())
    };
    if keys.iter().any(is_inside) {
        return Err(Box::new(atomkv_error::argument("a key lies in the arena that the call fills")));
    }
    Ok(())
}

/// Where each value lies in the arena; none for a key that is not there.
struct Values<'a> {
    arena: &'a mut Vec<u8>,
    places: Vec<Option<(usize, usize)>>,
}

impl Values<'_> {
    fn add(&mut self, index: usize, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.places[index] = Some((self.arena.len(), value.len()));
            self.arena.extend_from_slice(value);
        }
    }

    /// # Safety
    /// `out` has room for all.
    unsafe fn write(self, out: *mut atomkv_slice) {
        for (index, place) in self.places.iter().enumerate() {
            let found = match place {
                // An empty value has an address too.
                Some((_, 0)) => atomkv_slice { data: (&raw const EMPTY).cast(), size: 0 },
                Some((at, length)) => atomkv_slice::of(&self.arena[*at..at + length]),
                None => atomkv_slice::EMPTY,
            };
            // SAFETY: the caller's promise.
            unsafe { out.add(index).write(found) };
        }
    }
}

/// What the slice of an empty value points at.
pub(crate) static EMPTY: u8 = 0;

/// # Safety
/// `values` is NULL or has room for `count` slices; the rest as the callers say.
unsafe fn get_many(
    keys: *const atomkv_slice,
    count: usize,
    arena: *mut atomkv_arena,
    values: *mut atomkv_slice,
    read: impl FnOnce(&[&[u8]], &mut Values<'_>) -> Result<(), Box<atomkv_error>>,
) -> Result<atomkv_status, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    unsafe {
        check_count(count)?;
        if values.is_null() && count > 0 {
            return Err(null("values"));
        }
        // Before the values are emptied: that would take the keys away.
        check_apart(keys, values, count)?;
        for index in 0..count {
            values.add(index).write(atomkv_slice::EMPTY);
        }
        let arena = &mut handle_mut(arena, "arena")?.bytes;
        let keys = keys_of(keys, count)?;
        check_outside(&keys, arena)?;
        arena.clear();
        let mut found = Values { arena, places: vec![None; count] };
        read(&keys, &mut found)?;
        found.write(values);
        Ok(ATOMKV_OK)
    }
}

/// Reads the values of many keys at once, faster than one by one: their places in memory are fetched together.
///
/// `keys`: `count` slices. `arena`: receives the bytes. `values`: room for `count` slices, which point into the arena
/// until it is used again or freed; a key that is not there has NULL. Each key is read by itself: a write meanwhile
/// may be seen for one and not for another (`atomkv_snapshot_get_many` sees one moment). On failure all values are
/// NULL. At most 4 GiB at a time are sensible; there is no limit.
///
/// A key that lies in `arena`, such as a value of the call before, is `ATOMKV_ERR_INVALID_ARGUMENT`. So are `keys` and
/// `values` that are one array, or overlap; they stay as they are then. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; the keys have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_get_many(
    table: *const atomkv_table,
    keys: *const atomkv_slice,
    count: usize,
    arena: *mut atomkv_arena,
    values: *mut atomkv_slice,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        get_many(keys, count, arena, values, |keys, found| {
            let table = handle(table, "table")?;
            Ok(table.table.get_many_with(keys, |index, value| found.add(index, value))?)
        })
    })
}

/// As `atomkv_get_many`, as the snapshot sees the table. Since 0.1.
///
/// # Safety
/// As `atomkv_get_many`; `snapshot` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_get_many(
    snapshot: *const atomkv_snapshot,
    table: *const atomkv_table,
    keys: *const atomkv_slice,
    count: usize,
    arena: *mut atomkv_arena,
    values: *mut atomkv_slice,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        get_many(keys, count, arena, values, |keys, found| {
            let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
            for (index, value) in snapshot.snapshot.get_many(&table.table, keys)?.iter().enumerate() {
                found.add(index, value.as_deref());
            }
            Ok(())
        })
    })
}
