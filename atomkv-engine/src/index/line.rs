//! Compares a line of the index with a tag, all eight entries at once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Address;

/// Which entries of a line have this tag, and which are empty, as bits in the order of the slots.
#[inline]
pub(super) fn compare(line: &[AtomicU64; 8], tag: u64) -> (u32, u32) {
    let entries = line.each_ref().map(|word| word.load(Ordering::Acquire));
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has SSE2.
    let found = unsafe { in_vectors(entries, tag) };
    #[cfg(not(target_arch = "x86_64"))]
    let found = one_by_one(entries, tag);
    found
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(entries: [u64; 8], tag: u64) -> (u32, u32) {
    let (mut hits, mut empty) = (0, 0);
    for (slot, entry) in entries.into_iter().enumerate() {
        hits |= u32::from(entry >> Address::BITS == tag) << slot;
        empty |= u32::from(entry == 0) << slot;
    }
    (hits & !empty, empty)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn in_vectors(entries: [u64; 8], tag: u64) -> (u32, u32) {
    use std::arch::x86_64::{
        __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_epi8, _mm_packs_epi16,
        _mm_packs_epi32, _mm_set_epi64x, _mm_set1_epi32, _mm_setzero_si128, _mm_shuffle_ps, _mm_srli_epi32,
    };
    const TAG_SHIFT: i32 = Address::BITS as i32 - 32;
    let [a, b, c, d, e, f, g, h] = entries.map(u64::cast_signed);
    let tags = _mm_set1_epi32(tag as i32);
    // The upper halves hold the tags; a lower one is zero in an empty entry only, as no record begins at offset 0.
    let four = |a, b, c, d| -> (__m128i, __m128i) {
        let first = _mm_castsi128_ps(_mm_set_epi64x(b, a));
        let second = _mm_castsi128_ps(_mm_set_epi64x(d, c));
        let upper = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(first, second));
        let lower = _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(first, second));
        let hits = _mm_cmpeq_epi32(_mm_srli_epi32::<TAG_SHIFT>(upper), tags);
        (hits, _mm_cmpeq_epi32(lower, _mm_setzero_si128()))
    };
    let ((hits, empty), (more_hits, more_empty)) = (four(a, b, c, d), four(e, f, g, h));
    let (hits, empty) = (_mm_packs_epi32(hits, more_hits), _mm_packs_epi32(empty, more_empty));
    let both = _mm_movemask_epi8(_mm_packs_epi16(hits, empty)).cast_unsigned();
    let empty = both >> 8;
    (both & !empty & 0xff, empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_say_what_a_loop_says() {
        let mut state = 0x1234_5678_9abc_def1u64;
        for _ in 0..if cfg!(miri) { 100 } else { 20_000 } {
            let entries: [u64; 8] = std::array::from_fn(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Few tags, so that there are hits; tag 0 too, which an empty entry seems to have.
                if state.is_multiple_of(3) {
                    0
                } else {
                    (state % 5) << Address::BITS | 1 << ((state >> 32) % 25)
                }
            });
            for tag in [0, 1, 2, 4, 0x7f_ffff, 0x40_0000] {
                let line = entries.map(AtomicU64::new);
                assert_eq!(compare(&line, tag), one_by_one(entries, tag), "{entries:x?} {tag:x}");
            }
        }
    }
}
