//! Keys and values, the same for every peer and cheap to make: a key costs two multiplications, a value one copy from
//! a pool. What is read back is checked, so that nothing can be left out by an optimiser or a peer.

use std::sync::OnceLock;

use crate::{Result, fail};

/// The length of the usual key.
pub const KEY_BYTES: usize = 24;

/// Values are windows of a pool of this size: larger than any compressor's look-back, small enough for the caches.
const POOL_BYTES: usize = 128 << 10;
/// The longest value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// SplitMix64's finalizer: a bijection that makes neighbours unrelated.
#[inline]
pub fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The n-th key: 24 bytes, in no order.
#[inline]
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..16].copy_from_slice(&mix(number ^ 0x1234_5678).to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The n-th short key: 16 bytes, in no order.
#[inline]
pub fn short_key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number of a key that [`key`] made.
#[inline]
pub fn number_of(key: &[u8]) -> Option<u64> {
    key.get(16..24).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

/// Half of it is noise and half is one byte, in turns of 32 bytes, so that LZ4 makes it a little more than half as
/// long.
fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut pool = vec![b'.'; POOL_BYTES + VALUE_BYTES_MAX];
        for (index, chunk) in pool.chunks_mut(8).enumerate() {
            if index % 8 < 4 {
                let word = mix(index as u64 + 1).to_le_bytes();
                let length = chunk.len();
                chunk.copy_from_slice(&word[..length]);
            }
        }
        pool
    })
}

#[inline]
fn window(number: u64, version: u64, length: usize) -> &'static [u8] {
    let from = (mix(number ^ version.rotate_left(32)) as usize) % POOL_BYTES;
    &pool()[from..from + length]
}

/// Makes the value of a key: half compressible, with the key's number and a version in its first 16 bytes, as far as
/// they fit.
#[inline]
pub fn fill_value(number: u64, version: u64, length: usize, value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(window(number, version, length));
    let numbers = [number.to_le_bytes(), version.to_le_bytes()];
    for (place, bytes) in value.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&bytes);
    }
}

/// Checks length, number and the last bytes of what a peer returned.
#[inline]
pub fn check_value(number: u64, length: usize, value: &[u8]) -> Result<()> {
    if value.len() != length {
        return fail(format!("the value of key {number} has {} bytes instead of {length}", value.len()));
    }
    let word =
        |at: usize| value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let sound = match (word(0), word(8)) {
        (Some(found), Some(version)) if length >= 24 => {
            let expected = &window(number, version, length)[length - 8..];
            found == number && &value[length - 8..] == expected
        }
        (Some(found), _) => found == number,
        _ => true,
    };
    if sound { Ok(()) } else { fail(format!("the value of key {number} is not the one that was put")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_number() {
        assert_eq!(number_of(&key(77)), Some(77));
        assert_ne!(key(1)[..8], key(2)[..8]);
    }

    #[test]
    fn a_value_is_checked_by_number_length_and_end() {
        let mut value = Vec::new();
        for length in [0, 8, 16, 24, 100, 16 << 10] {
            fill_value(5, 3, length, &mut value);
            assert_eq!(value.len(), length);
            check_value(5, length, &value).unwrap();
        }
        fill_value(5, 3, 100, &mut value);
        assert!(check_value(6, 100, &value).is_err());
        assert!(check_value(5, 99, &value).is_err());
        value[99] ^= 1;
        assert!(check_value(5, 100, &value).is_err());
    }

    #[test]
    fn half_of_a_value_is_one_byte() {
        let mut value = Vec::new();
        fill_value(9, 0, 16 << 10, &mut value);
        let dots = value.iter().filter(|byte| **byte == b'.').count();
        assert!((7_800..8_600).contains(&dots), "{dots}");
    }
}
