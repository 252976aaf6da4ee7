//! A leaf's keys as a checkpoint holds them.
//!
//! Keys in ascending order, each as what it does not share with the one before:
//!
//! | bytes | field |
//! | --- | --- |
//! | LEB128 | number of keys, not 0 |
//! | for each, 1 | how many of its first bytes are those of the key before; 0 for the first key |
//! | LEB128 | length of the rest, 1 to 65,535 |
//! | … | the rest |
//!
//! The bytes shared are at most 255, so that what a blob decodes to is at most some 90 times as long, whatever its
//! bytes are. The rest is never empty, since a key is longer than what it shares with a smaller one. There is no
//! checksum: whoever stores blobs has one.

use super::keys::Keys;
use super::separator::common_bytes;
use crate::format::wire::{Reader, put_varint};
use crate::types::KEY_BYTES_MAX;

const SHARED_BYTES_MAX: usize = u8::MAX as usize;

/// Appends keys, which must be ascending; nothing if there are none.
pub(super) fn encode(keys: &Keys, out: &mut Vec<u8>) {
    if keys.is_empty() {
        return;
    }
    put_varint(out, keys.len() as u64);
    let mut before: &[u8] = &[];
    for key in keys.iter() {
        let shared = common_bytes(before, key).min(SHARED_BYTES_MAX);
        out.push(shared as u8);
        put_varint(out, (key.len() - shared) as u64);
        out.extend_from_slice(&key[shared..]);
        before = key;
    }
}

/// The keys of a blob; `None` if the bytes are none, or if the keys do not ascend or have a length that keys cannot
/// have.
pub(super) fn decode(bytes: &[u8]) -> Option<Keys> {
    let mut reader = Reader::new(bytes);
    let count = usize::try_from(reader.varint()?).ok()?;
    // Each key takes three bytes at least: a number that cannot be right reserves nothing.
    if count == 0 || count > bytes.len() / 3 {
        return None;
    }
    let mut keys = Keys::new();
    keys.reserve(count, bytes.len());
    let mut key = Vec::new();
    for index in 0..count {
        let shared = usize::from(reader.u8()?);
        let length = usize::try_from(reader.varint()?).ok()?;
        let rest = reader.bytes(length)?;
        let ascends = index == 0 || rest > key.get(shared..)?;
        if rest.is_empty() || !ascends || shared > key.len() || shared + length > KEY_BYTES_MAX {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(rest);
        keys.push(&key);
    }
    reader.is_empty().then_some(keys)
}
