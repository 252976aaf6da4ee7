//! Compressors: how values are stored.
//!
//! A compressed value is stored as its plain length (4 bytes, little-endian) and the codec's block or stream. Each
//! record names its codec, so values of all built-in codecs stay readable whatever the table's compressor is.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Identity;
use crate::error::{Error, Result};
use crate::types::VALUE_BYTES_MAX;

/// How a stored value is encoded; the number is part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// An LZ4 block.
    Lz4 = 1,
    /// A gzip stream, RFC 1952.
    Gzip = 2,
    /// By a compressor that is not built in: only a table opened with it can read the value.
    Custom = 7,
}

impl Codec {
    pub(crate) fn from_bits(bits: u8) -> Option<Codec> {
        match bits {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Gzip),
            7 => Some(Codec::Custom),
            _ => None,
        }
    }
}

/// Makes values shorter.
pub trait Compressor: Debug + Send + Sync + 'static {
    /// What it is.
    fn identity(&self) -> Identity;

    /// The codec that its output is marked with; [`Codec::Custom`] for all that are not built in.
    fn codec(&self) -> Codec;

    /// Appends the stored form to `out`; false if it does not pay, and the value is stored as it is.
    ///
    /// # Errors
    /// [`Error::Document`]; the write is refused then.
    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool>;

    /// Appends the value to `out`.
    ///
    /// # Errors
    /// [`Error::Document`] if the bytes are no stored form.
    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()>;
}

/// Values shorter than this gain nothing from compression that anybody has asked for, in bytes.
const SMALLEST_BYTES: usize = 256;
/// What LZ4 compresses unless told otherwise: a value that is smaller than a page of memory takes one read from the disk
/// either way, and compressing it takes longer than all the rest of a put.
const LZ4_FROM_BYTES: usize = 4096;

/// Whether the stored form saves at least an eighth.
fn pays(stored: usize, plain: usize) -> bool {
    stored <= plain - plain / 8
}

/// Stores values as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCompression;

impl Compressor for NoCompression {
    fn identity(&self) -> Identity {
        Identity::new("none", 1)
    }

    fn codec(&self) -> Codec {
        Codec::Raw
    }

    fn compress(&self, _value: &[u8], _out: &mut Vec<u8>) -> Result<bool> {
        Ok(false)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(stored);
        Ok(())
    }
}

/// LZ4 blocks, for values of at least 4 KiB or what [`Lz4::from_bytes`] says, where an eighth is saved. After some values
/// that did not shrink only one in sixteen is tried, until one does.
#[derive(Debug)]
pub struct Lz4 {
    from_bytes: usize,
    failures: AtomicU32,
}

impl Lz4 {
    /// For values of at least so many bytes, but never for those below 256. May be another each time that a table is
    /// opened: every record says how it is stored.
    #[must_use]
    pub fn from_bytes(bytes: usize) -> Lz4 {
        Lz4 { from_bytes: bytes.max(SMALLEST_BYTES), failures: AtomicU32::new(0) }
    }
}

impl Default for Lz4 {
    fn default() -> Lz4 {
        Lz4::from_bytes(LZ4_FROM_BYTES)
    }
}

/// So many values in a row must not shrink before the compressor begins to save its effort.
const FAILURES_TOLERATED: u32 = 16;

impl Compressor for Lz4 {
    fn identity(&self) -> Identity {
        Identity::new("lz4", 1)
    }

    fn codec(&self) -> Codec {
        Codec::Lz4
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        if value.len() < self.from_bytes {
            return Ok(false);
        }
        let failures = self.failures.load(Ordering::Relaxed);
        if failures >= FAILURES_TOLERATED && !failures.is_multiple_of(16) {
            self.failures.store(failures.wrapping_add(1).max(FAILURES_TOLERATED), Ordering::Relaxed);
            return Ok(false);
        }
        let start = out.len();
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        let block = out.len();
        out.resize(block + lz4_flex::block::get_maximum_output_size(value.len()), 0);
        let outcome = lz4_flex::block::compress_into(value, &mut out[block..]);
        let length = outcome.map_err(|error| Error::Document { reason: format!("LZ4 failed: {error}") })?;
        out.truncate(block + length);
        if pays(out.len() - start, value.len()) {
            self.failures.store(0, Ordering::Relaxed);
            return Ok(true);
        }
        out.truncate(start);
        self.failures.store(failures.wrapping_add(1).max(1), Ordering::Relaxed);
        Ok(false)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        decompress_builtin(Codec::Lz4, stored, out)
    }
}

/// gzip at level 6, as the original's default: slow, but smaller, and readable by every tool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gzip;

impl Compressor for Gzip {
    fn identity(&self) -> Identity {
        Identity::new("gzip", 1)
    }

    fn codec(&self) -> Codec {
        Codec::Gzip
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        if value.len() < SMALLEST_BYTES {
            return Ok(false);
        }
        let start = out.len();
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        let mut encoder = flate2::write::GzEncoder::new(&mut *out, flate2::Compression::default());
        let outcome = encoder.write_all(value).and_then(|()| encoder.finish().map(drop));
        outcome.map_err(|error| Error::Document { reason: format!("gzip failed: {error}") })?;
        let shorter = pays(out.len() - start, value.len());
        if !shorter {
            out.truncate(start);
        }
        Ok(shorter)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        decompress_builtin(Codec::Gzip, stored, out)
    }
}

/// Restores a value that a built-in codec has stored. Never allocates more than the input can stand for.
pub(crate) fn decompress_builtin(codec: Codec, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let refuse = |reason: &str| Err(Error::Document { reason: format!("a stored value: {reason}") });
    if codec == Codec::Raw {
        out.extend_from_slice(stored);
        return Ok(());
    }
    let Some((length, block)) = stored.split_first_chunk::<4>() else {
        return refuse("its length is missing");
    };
    let length = u32::from_le_bytes(*length) as usize;
    // The most that a byte of a block can expand to.
    let expansion = if codec == Codec::Lz4 { 255 } else { 1100 };
    if length > VALUE_BYTES_MAX || length > block.len().saturating_mul(expansion) + 64 {
        return refuse("its length cannot be");
    }
    let start = out.len();
    match codec {
        Codec::Lz4 => {
            out.resize(start + length, 0);
            match lz4_flex::block::decompress_into(block, &mut out[start..]) {
                Ok(count) if count == length => Ok(()),
                Ok(_) => refuse("its length is wrong"),
                Err(error) => refuse(&error.to_string()),
            }
        }
        Codec::Gzip => {
            out.reserve(length);
            let mut limited = flate2::read::GzDecoder::new(block).take(length as u64 + 1);
            match limited.read_to_end(out) {
                Ok(count) if count == length => Ok(()),
                Ok(_) => refuse("its length is wrong"),
                Err(error) => refuse(&error.to_string()),
            }
        }
        Codec::Raw | Codec::Custom => refuse("stored by a compressor that is not built in"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Vec<u8> {
        b"all work and no play makes jack a dull boy. ".iter().copied().cycle().take(length).collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_shrinks_is_compressed_and_comes_back() {
        for compressor in [&Lz4::from_bytes(0) as &dyn Compressor, &Gzip] {
            for length in [256, 1000, 100_000] {
                let value = text(length);
                let mut stored = vec![1, 2, 3];
                assert!(compressor.compress(&value, &mut stored).expect("compressed"));
                assert!(stored.len() < length * 7 / 8);
                let mut plain = vec![9];
                compressor.decompress(&stored[3..], &mut plain).expect("restored");
                assert_eq!(plain[1..], value);
            }
            let mut out = Vec::new();
            assert!(!compressor.compress(&text(255), &mut out).expect("too short to pay"));
            assert!(!compressor.compress(&noise(4096), &mut out).expect("does not shrink"));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn lz4_leaves_what_fits_into_a_page_alone() {
        for (lz4, length, expected) in
            [(Lz4::default(), 4095, false), (Lz4::default(), 4096, true), (Lz4::from_bytes(500), 499, false)]
        {
            assert_eq!(lz4.compress(&text(length), &mut Vec::new()).expect("tried"), expected, "{length}");
        }
    }

    #[test]
    fn lz4_learns_that_values_do_not_shrink() {
        let lz4 = Lz4::from_bytes(1024);
        let mut out = Vec::new();
        for _ in 0..100 {
            assert!(!lz4.compress(&noise(1024), &mut out).expect("tried"));
        }
        let tried = (0..64).filter(|_| lz4.compress(&text(1024), &mut Vec::new()).expect("tried")).count();
        assert!(tried >= 48, "one success makes it try again, {tried}");
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let mut out = Vec::new();
        for codec in [Codec::Lz4, Codec::Gzip] {
            for bytes in [&[][..], &[1, 2, 3], &[255; 64], &[0, 1, 0, 0, 7], &[0xff, 0xff, 0xff, 0x7f, 0, 0]]
            {
                assert!(decompress_builtin(codec, bytes, &mut out).is_err(), "{codec:?} {bytes:?}");
            }
            let mut stored = Vec::new();
            let compressor: &dyn Compressor = if codec == Codec::Lz4 { &Lz4::default() } else { &Gzip };
            assert!(compressor.compress(&text(5000), &mut stored).expect("compressed"));
            for cut in 0..stored.len() {
                assert!(decompress_builtin(codec, &stored[..cut], &mut Vec::new()).is_err());
            }
            for bit in 0..stored.len() * 8 {
                let mut flipped = stored.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // Whatever comes of it, no panic and no gigabytes.
                let _ = decompress_builtin(codec, &flipped, &mut Vec::new());
            }
        }
    }
}
