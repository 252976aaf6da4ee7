//! The functions that are called a million times a second. Keys lie in the shared input buffer; small values come back in
//! the pool, at a place that JavaScript names, and the result is a length. So a read makes no object here.

use std::ffi::CStr;

use atomkv_engine::{Changed, Entry, Table, Written};
use napi_sys as sys;

use crate::bridge::{self, Env, Native, State, Value, call, f64_of, int, u32_of};
use crate::failure::{Failure, Outcome};
use crate::packed::{self, write_options};
use crate::slots::{Slot, lock};

/// Name and function of each.
pub const FUNCTIONS: [(&CStr, Native); 12] = [
    (c"attach", attach),
    (c"setPool", set_pool),
    (c"get", get),
    (c"getEntry", get_entry),
    (c"getInto", get_into),
    (c"has", has),
    (c"put", put),
    (c"remove", remove),
    (c"getMany", get_many),
    (c"takeScratch", take_scratch),
    (c"apply", apply),
    (c"scanNext", scan_next),
];

/// Values up to this size come back in the pool.
const POOLED_BYTES_MAX: usize = 4096;
/// What stands for a key that is not there.
const ABSENT: i32 = -1;
/// What stands for a commit that would have to wait.
const WOULD_WAIT: f64 = -2.0;

macro_rules! door {
    ($(#[$meta:meta])* $name:ident, $count:literal, |$env:ident, $state:ident, $arguments:pat_param| $body:block) => {
        $(#[$meta])*
        unsafe extern "C" fn $name($env: Env, info: sys::napi_callback_info) -> Value {
            // SAFETY: Node calls this on the thread of the environment, with the state as data. The body uses only
            // arguments of this call.
            unsafe { call::<$count>($env, info, |$state, $arguments| $body) }
        }
    };
}

door!(
    /// `attach(input, numbers, makeError, onJob)`
    attach, 4, |env, state, arguments| {
        state.attach(env, arguments)?;
        state.jobs.install(env)?;
        Ok(bridge::undefined(env))
    }
);

door!(
    /// `setPool(buffer)`
    set_pool, 1, |env, state, [buffer]| {
        state.set_pool(env, buffer)?;
        Ok(bridge::undefined(env))
    }
);

/// What a read has found.
enum Found {
    Absent,
    Pooled(usize),
    Large(Vec<u8>),
}

impl Found {
    unsafe fn into_js(self, env: Env) -> Outcome<Value> {
        // SAFETY: as for the caller.
        unsafe {
            match self {
                Found::Absent => Ok(int(env, ABSENT)),
                Found::Pooled(length) => Ok(int(env, length as i32)),
                Found::Large(bytes) => bridge::buffer(env, &bytes),
            }
        }
    }
}

/// Calls a function with the value of a key as the table, a snapshot or a transaction sees it.
#[inline(always)]
fn read<R>(
    state: &State,
    table: &Table,
    key: &[u8],
    view: u32,
    f: impl FnOnce(&[u8]) -> R,
) -> Outcome<Option<R>> {
    if view == 0 {
        return Ok(table.get_with(key, f)?);
    }
    match state.slots.get(view)? {
        Slot::Snapshot(snapshot) => Ok(snapshot.get_with(table, key, f)?),
        Slot::Transaction(transaction) => {
            let mut transaction = lock(transaction)?;
            let transaction = transaction.as_mut().ok_or_else(Failure::closed)?;
            Ok(transaction.get(table, key)?.as_deref().map(f))
        }
        _ => Err(Failure::argument("reads are through a snapshot or a transaction")),
    }
}

door!(
    /// `get(table, keyLength, poolOffset, view)`: a length, -1, or a buffer
    get, 4, |env, state, [table, key_length, offset, view]| {
        let state = &*state;
        let table = state.slots.table(u32_of(env, table))?;
        let key = state.input.bytes(u32_of(env, key_length) as usize)?;
        let offset = u32_of(env, offset) as usize;
        let found = read(state, table, key, u32_of(env, view), |value| {
            if value.len() <= POOLED_BYTES_MAX && state.pool.write(offset, value) {
                Found::Pooled(value.len())
            } else {
                Found::Large(value.to_vec())
            }
        })?;
        found.unwrap_or(Found::Absent).into_js(env)
    }
);

door!(
    /// `getEntry(table, keyLength, poolOffset, view)`: as `get`, with version, sequence, time and expiry as numbers
    get_entry, 4, |env, state, [table, key_length, offset, view]| {
        let table = state.slots.table(u32_of(env, table))?;
        let key = state.input.bytes(u32_of(env, key_length) as usize)?;
        let entry = match u32_of(env, view) {
            0 => table.get_entry(key)?,
            view => match state.slots.get(view)? {
                Slot::Snapshot(snapshot) => snapshot.get_entry(table, key)?,
                _ => return Err(Failure::argument("entries are read through a snapshot or the table itself")),
            },
        };
        let Some(Entry { value, version, sequence, time_ms, expires_at_ms }) = entry else {
            return Found::Absent.into_js(env);
        };
        let numbers = [version as f64, sequence as f64, time_ms as f64, expires_at_ms.map_or(-1.0, |at| at as f64)];
        for (index, number) in numbers.into_iter().enumerate() {
            state.numbers.set_number(index, number);
        }
        let is_pooled = value.len() <= POOLED_BYTES_MAX && state.pool.write(u32_of(env, offset) as usize, &value);
        let found = if is_pooled { Found::Pooled(value.len()) } else { Found::Large(value) };
        found.into_js(env)
    }
);

door!(
    /// `getInto(table, keyLength, bytes, view)`: the length of the value, of which as much is copied as there is room, or -1
    get_into, 4, |env, state, [table, key_length, target, view]| {
        let state = &*state;
        let table = state.slots.table(u32_of(env, table))?;
        let key = state.input.bytes(u32_of(env, key_length) as usize)?;
        let target = bridge::bytes(env, target)?;
        let length = read(state, table, key, u32_of(env, view), |value| {
            let common = value.len().min(target.len());
            target[..common].copy_from_slice(&value[..common]);
            value.len() as i32
        })?;
        Ok(int(env, length.unwrap_or(ABSENT)))
    }
);

door!(
    /// `has(table, keyLength, view)`
    has, 3, |env, state, [table, key_length, view]| {
        let table = state.slots.table(u32_of(env, table))?;
        let key = state.input.bytes(u32_of(env, key_length) as usize)?;
        let is_there = match u32_of(env, view) {
            0 => table.contains(key)?,
            view => read(state, table, key, view, |_| ())?.is_some(),
        };
        Ok(bridge::boolean(env, is_there))
    }
);

fn note(state: &State, written: Written) {
    state.numbers.set_number(0, written.version as f64);
    state.numbers.set_number(1, written.sequence as f64);
}

door!(
    /// `put(table, keyLength, value, flags, expected, expiry, view)`: 0 for written, 1 for unchanged; version and sequence as
    /// numbers. The value is its length, behind the key in the input buffer, or bytes. Flags: `packed.rs`, and bit 7 for
    /// writing only what is new.
    put, 7, |env, state, [table, key_length, value, flags, expected, expiry, view]| {
        let state = &*state;
        let table = state.slots.table(u32_of(env, table))?;
        let key_length = u32_of(env, key_length) as usize;
        let key = state.input.bytes(key_length)?;
        let mut length = 0;
        // A number is the length of what lies in the input buffer.
        let value = if sys::napi_get_value_uint32(env, value, &mut length) == 0 {
            state.input.part(key_length, length as usize)?
        } else {
            bridge::bytes(env, value)?
        };
        let (flags, view) = (u32_of(env, flags), u32_of(env, view));
        let written = if flags == 0 && view == 0 {
            table.put(key, value)?
        } else {
            let options = write_options(flags, f64_of(env, expected), f64_of(env, expiry));
            if view != 0 {
                let Slot::Transaction(transaction) = state.slots.get(view)? else {
                    return Err(Failure::argument("writes are through a transaction or the table itself"));
                };
                let mut transaction = lock(transaction)?;
                transaction.as_mut().ok_or_else(Failure::closed)?.put_with(table, key, value, options)?;
                return Ok(int(env, 0));
            }
            if flags & 0x80 != 0 {
                match table.put_if_changed(key, value)? {
                    Changed::Written(written) => written,
                    Changed::Unchanged(written) => {
                        note(state, written);
                        return Ok(int(env, 1));
                    }
                }
            } else {
                table.put_with(key, value, options)?
            }
        };
        note(state, written);
        Ok(int(env, 0))
    }
);

door!(
    /// `remove(table, keyLength, flags, expected, view)`: 1 for deleted, 0 if it was not there
    remove, 5, |env, state, [table, key_length, flags, expected, view]| {
        let state = &*state;
        let table = state.slots.table(u32_of(env, table))?;
        let key = state.input.bytes(u32_of(env, key_length) as usize)?;
        let options = write_options(u32_of(env, flags), f64_of(env, expected), 0.0);
        let view = u32_of(env, view);
        if view != 0 {
            let Slot::Transaction(transaction) = state.slots.get(view)? else {
                return Err(Failure::argument("writes are through a transaction or the table itself"));
            };
            let mut transaction = lock(transaction)?;
            transaction.as_mut().ok_or_else(Failure::closed)?.delete_with(table, key, options)?;
            return Ok(int(env, 1));
        }
        let written = table.delete_with(key, options)?;
        if let Some(written) = written {
            note(state, written);
        }
        Ok(int(env, i32::from(written.is_some())))
    }
);

door!(
    /// `getMany(table, keys, count, places, view)`: the bytes of all values, which `takeScratch` hands over; `places` becomes
    /// offset and length of each, the length -1 for one that is not there
    get_many, 5, |env, state, [table, keys, count, places, view]| {
        let State { slots, scratch, .. } = state;
        let table = slots.table(u32_of(env, table))?;
        let count = u32_of(env, count);
        let places = bridge::bytes(env, places)?;
        if places.len() < count as usize * 8 {
            return Err(Failure::argument("there is no room for the places of the values"));
        }
        let mut wanted = Vec::with_capacity(count as usize);
        packed::each(bridge::bytes(env, keys)?, count, |packed| {
            wanted.push(packed.key);
            Ok(())
        })?;
        scratch.clear();
        let mut take = |index: usize, value: Option<&[u8]>| {
            let length = value.map_or(ABSENT, |value| value.len() as i32);
            let offset = scratch.len() as i64;
            if offset + i64::from(length) <= i64::from(i32::MAX) {
                scratch.extend_from_slice(value.unwrap_or_default());
            }
            places[index * 8..index * 8 + 4].copy_from_slice(&(offset as i32).to_ne_bytes());
            places[index * 8 + 4..index * 8 + 8].copy_from_slice(&length.to_ne_bytes());
            offset + i64::from(length) <= i64::from(i32::MAX)
        };
        let mut has_room = true;
        match u32_of(env, view) {
            0 => table.get_many_with(&wanted, |index, value| has_room &= take(index, value))?,
            view => match slots.get(view)? {
                Slot::Snapshot(snapshot) => {
                    for (index, value) in snapshot.get_many(table, &wanted)?.iter().enumerate() {
                        has_room &= take(index, value.as_deref());
                    }
                }
                Slot::Transaction(transaction) => {
                    let mut transaction = lock(transaction)?;
                    let transaction = transaction.as_mut().ok_or_else(Failure::closed)?;
                    for (index, key) in wanted.iter().enumerate() {
                        has_room &= take(index, transaction.get(table, key)?.as_deref());
                    }
                }
                _ => return Err(Failure::argument("reads are through a snapshot or a transaction")),
            },
        }
        if !has_room {
            return Err(Failure::argument("the values have more than 2 GiB together; ask for fewer at once"));
        }
        Ok(int(env, scratch.len() as i32))
    }
);

door!(
    /// `takeScratch(bytes)`
    take_scratch, 1, |env, state, [target]| {
        let target = bridge::bytes(env, target)?;
        let length = target.len().min(state.scratch.len());
        target[..length].copy_from_slice(&state.scratch[..length]);
        // What one large answer has needed is not kept for ever.
        if state.scratch.capacity() > 1 << 20 {
            state.scratch = Vec::new();
        }
        Ok(bridge::undefined(env))
    }
);

door!(
    /// `apply(database, operations, count, durability, atOnce)`: the sequence, or -1 if nothing was there to be deleted; with 1
    /// for `atOnce` -2 if it would have to wait, and then nothing was written
    apply, 5, |env, state, [database, operations, count, durability, at_once]| {
        let Slot::Database(opened) = state.slots.get(u32_of(env, database))? else {
            return Err(Failure::argument("this is no database"));
        };
        let (operations, count) = (bridge::bytes(env, operations)?, u32_of(env, count));
        let durability = packed::durability(u32_of(env, durability));
        if u32_of(env, at_once) == 1 && packed::may_wait(&state.slots, operations, count, durability)? {
            return Ok(bridge::double(env, WOULD_WAIT));
        }
        let batch = packed::batch(&state.slots, operations, count)?;
        let sequence = opened.database.apply(&batch, durability)?;
        Ok(bridge::double(env, sequence.map_or(-1.0, |sequence| sequence as f64)))
    }
);

door!(
    /// `scanNext(scan, bytes, most)`: how many entries were written, 0 at the end, or the negative number of bytes that the next
    /// one needs. An entry is the lengths of key and value, version and sequence as numbers, key, value, up to a multiple of 8
    scan_next, 3, |env, state, [scan, target, most]| {
        let Slot::Scan(scan) = state.slots.get(u32_of(env, scan))? else {
            return Err(Failure::argument("this is no scan"));
        };
        let (count, needed) = crate::operations::fill(&mut *lock(scan)?, bridge::bytes(env, target)?, u32_of(env, most))?;
        Ok(bridge::double(env, if count == 0 { -(needed as f64) } else { f64::from(count) }))
    }
);
