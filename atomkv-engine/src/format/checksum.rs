//! The checksum of records: CRC-32C (Castagnoli, "Optimization of Cyclic Redundancy-Check Codes", 1993; as in iSCSI
//! and ext4), for which processors have an instruction, over parts that are padded with zeros to a multiple of 8 bytes.
//! Segments of format version 1 carry CRC-32 instead, the one of gzip, as everything else in the format does, over
//! the parts as they are.

use crc_fast::{CrcAlgorithm, Digest};

/// Which checksum the records of a segment carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sum {
    Crc32,
    Crc32c,
}

/// From this length on folding many bytes at a time is faster than one instruction for each eight.
const LONG_BYTES: usize = 320;

impl Sum {
    /// The checksum of what `sum` is the checksum of and one more part; 0 is that of nothing.
    #[inline]
    pub(crate) fn go_on(self, sum: u32, part: &[u8]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.has_instruction(part) {
            // SAFETY: the processor has the instruction, as has just been asked.
            return unsafe { instruction::go_on(sum, part) };
        }
        self.go_on_anyhow(sum, part)
    }

    /// The checksum of a record: of key and value, XOR the salt, continued over the header.
    #[inline]
    pub(crate) fn of_record(self, key: &[u8], value: &[u8], salt: u32, head: &[u8]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.has_instruction(value) {
            // SAFETY: the processor has the instruction, as has just been asked.
            return unsafe { instruction::of_record(key, value, salt, head) };
        }
        let body = self.go_on_anyhow(self.go_on_anyhow(0, key), value);
        self.go_on_anyhow(body ^ salt, head)
    }

    /// Whether the instruction is there, and the fastest way.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn has_instruction(self, part: &[u8]) -> bool {
        self == Sum::Crc32c && part.len() < LONG_BYTES && std::is_x86_feature_detected!("sse4.2")
    }

    #[inline(never)]
    fn go_on_anyhow(self, sum: u32, part: &[u8]) -> u32 {
        match self {
            Sum::Crc32 => {
                let mut hasher = crc32fast::Hasher::new_with_initial(sum);
                hasher.update(part);
                hasher.finalize()
            }
            Sum::Crc32c => {
                let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!sum));
                digest.update(part);
                digest.update(&[0; 8][..part.len().next_multiple_of(8) - part.len()]);
                digest.finalize() as u32
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod instruction {
    use std::arch::x86_64::_mm_crc32_u64;

    #[target_feature(enable = "sse4.2")]
    pub(super) fn of_record(key: &[u8], value: &[u8], salt: u32, head: &[u8]) -> u32 {
        go_on(go_on(go_on(0, key), value) ^ salt, head)
    }

    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(super) fn go_on(sum: u32, part: &[u8]) -> u32 {
        let next = |state: u64, word: &[u8; 8]| _mm_crc32_u64(state, u64::from_le_bytes(*word));
        let (fours, words) = part.as_chunks::<32>();
        let (words, rest) = words.as_chunks::<8>();
        let mut state = u64::from(!sum);
        for four in fours {
            state = four.as_chunks::<8>().0.iter().fold(state, next);
        }
        state = words.iter().fold(state, next);
        if !rest.is_empty() {
            state = next(state, &last_word(part, rest).to_le_bytes());
        }
        !(state as u32)
    }

    /// The last bytes and zeros: by one load where there are eight bytes to load.
    #[inline]
    fn last_word(part: &[u8], rest: &[u8]) -> u64 {
        match part.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        assert_eq!(Sum::Crc32.go_on(0, b"123456789"), 0xcbf4_3926);
        // RFC 3720, B.4
        assert_eq!(Sum::Crc32c.go_on(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(Sum::Crc32c.go_on(0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(Sum::Crc32c.go_on(0, b"123456789"), Sum::Crc32c.go_on(0, b"123456789\0\0\0\0\0\0\0"));
    }

    #[test]
    fn with_and_without_the_instruction_it_is_the_same() {
        let bytes: Vec<u8> = (0..1_200u32).map(|number| ((number * number) >> 3) as u8).collect();
        for sum in [Sum::Crc32, Sum::Crc32c] {
            for length in (0..bytes.len()).step_by(if cfg!(miri) { 97 } else { 1 }) {
                let (head, body) = bytes[..length].split_at(length / 5);
                let (key, value) = body.split_at(length / 7);
                assert_eq!(sum.go_on(77, body), sum.go_on_anyhow(77, body), "{length}");
                let of_body = sum.go_on_anyhow(sum.go_on_anyhow(0, key), value);
                let expected = sum.go_on_anyhow(of_body ^ 0x1234_5678, head);
                assert_eq!(sum.of_record(key, value, 0x1234_5678, head), expected, "{length}");
            }
        }
    }
}
