//! Many operations in one buffer, as `lib/pack.js` writes them.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | kind (0 key, 1 put, 2 delete, 3 condition), and the flags of [`write_options`] from bit 8 on |
//! | 4 | handle of the table |
//! | 4 | length of the key |
//! | 4 | length of the value |
//! | 8 + 8 | only with flags: what is expected, when it expires |
//! | | key, value, and bytes up to a multiple of 8 |
//!
//! Numbers are those of the machine.

use std::time::Duration;

use atomkv_engine::{Batch, Durability, Expect, Expiry, WriteOptions};

use crate::failure::{Failure, Outcome};
use crate::slots::Slots;

/// One of them.
pub struct Packed<'a> {
    pub kind: u8,
    pub flags: u32,
    pub table: u32,
    pub expected: f64,
    pub expiry: f64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// What a write's options are: bits 0 to 2 say what is expected (anything, absent, present, version, sequence), 3 and 4
/// the expiry (the table's, never, at, after), 5 and 6 the durability (the table's, buffered, sync).
pub fn write_options(flags: u32, expected: f64, expiry: f64) -> WriteOptions {
    let expect = match flags & 7 {
        1 => Expect::Absent,
        2 => Expect::Present,
        3 => Expect::Version(expected as u64),
        4 => Expect::Sequence(expected as u64),
        _ => Expect::Anything,
    };
    let options = WriteOptions::new().expect(expect).expiry(match flags >> 3 & 3 {
        1 => Expiry::Never,
        2 => Expiry::At(expiry as u64),
        3 => Expiry::After(Duration::from_millis(expiry as u64)),
        _ => Expiry::Default,
    });
    match flags >> 5 & 3 {
        1 => options.durability(Durability::Buffered),
        2 => options.durability(Durability::Sync),
        _ => options,
    }
}

/// Hands them to a function one after the other.
pub fn each<'a>(bytes: &'a [u8], count: u32, mut f: impl FnMut(Packed<'a>) -> Outcome<()>) -> Outcome<()> {
    let mut rest = bytes;
    for _ in 0..count {
        let (packed, size) =
            one(rest).ok_or_else(|| Failure::argument("the packed operations are cut off"))?;
        f(packed)?;
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(())
}

fn one(bytes: &[u8]) -> Option<(Packed<'_>, usize)> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let double = |at: usize| Some(f64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (first, key_length, value_length) = (word(0)?, word(8)? as usize, word(12)? as usize);
    let flags = first >> 8;
    let key_at: usize = if flags == 0 { 16 } else { 32 };
    let (expected, expiry) = if flags == 0 { (0.0, 0.0) } else { (double(16)?, double(24)?) };
    let value_at = key_at.checked_add(key_length)?;
    let end = value_at.checked_add(value_length)?;
    let (key, value) = (bytes.get(key_at..value_at)?, bytes.get(value_at..end)?);
    let packed = Packed { kind: first as u8, flags, table: word(4)?, expected, expiry, key, value };
    Some((packed, end.next_multiple_of(8)))
}

/// A batch of them.
pub fn batch(slots: &Slots, bytes: &[u8], count: u32) -> Outcome<Batch> {
    let mut batch = Batch::new();
    each(bytes, count, |packed| {
        let table = slots.table(packed.table)?;
        let options = write_options(packed.flags, packed.expected, packed.expiry);
        match (packed.kind, packed.flags) {
            (1, 0) => batch.put(table, packed.key, packed.value),
            (1, _) => batch.put_with(table, packed.key, packed.value, options),
            (2, 0) => batch.delete(table, packed.key),
            (2, _) => batch.delete_with(table, packed.key, options),
            (3, flags) => batch.expect(
                table,
                packed.key,
                match flags & 7 {
                    1 => Expect::Absent,
                    2 => Expect::Present,
                    3 => Expect::Version(packed.expected as u64),
                    4 => Expect::Sequence(packed.expected as u64),
                    _ => Expect::Anything,
                },
            ),
            _ => return Err(Failure::argument("an operation of a batch is a put, a delete or a condition")),
        };
        Ok(())
    })?;
    Ok(batch)
}

/// Whether a commit of them would have to wait.
pub fn may_wait(slots: &Slots, bytes: &[u8], count: u32, durability: Durability) -> Outcome<bool> {
    let mut may_wait = false;
    each(bytes, count, |packed| {
        may_wait |= slots.table(packed.table)?.write_may_wait(packed.value.len(), Some(durability));
        Ok(())
    })?;
    Ok(may_wait)
}

/// The durability that a number stands for.
pub fn durability(code: u32) -> Durability {
    if code == 2 { Durability::Sync } else { Durability::Buffered }
}
