//! Reads the records of a segment in file order, always by `pread`: for recovery, compaction and rebuilding the
//! index, which must get an error and not a signal from a failing device.

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::record::{Base, HEADER_BYTES_MAX, Header, Layout, Record, RecordError, decode_header};
use crate::options::SEGMENT_BYTES_CEILING;
use crate::storage::StorageFile;
use crate::types::{KEY_BYTES_MAX, RECORD_ALIGNMENT};

const CHUNK_BYTES: usize = 1 << 20;
/// How much of it is there at least when a record is decoded.
const NEXT_BYTES: usize = 64 << 10;
/// Longer than any segment: the largest commit, a header, marks and a trailer.
const SEGMENT_FILE_BYTES_MAX: u64 = 2 * SEGMENT_BYTES_CEILING;

pub(crate) struct SegmentReader<'a> {
    file: &'a dyn StorageFile,
    path: &'a Path,
    base: Base,
    /// Where the next record begins.
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_offset: u64,
    filled: usize,
    /// What lies from here on in the buffer stays there when more is read, within reason.
    keep_from: u64,
    /// The records between these places were verified, and are in the buffer as they were then.
    verified: Range<u64>,
}

/// What stands at a place where a record should.
pub(crate) struct Found<'a> {
    pub(crate) offset: u64,
    pub(crate) record: std::result::Result<Record<'a>, RecordError>,
}

impl<'a> SegmentReader<'a> {
    pub(crate) fn new(file: &'a dyn StorageFile, path: &'a Path, base: Base, from: u64, end: u64) -> Self {
        // Nothing was ever written behind it, however long somebody has made the file.
        let end = end.min(SEGMENT_FILE_BYTES_MAX);
        SegmentReader {
            file,
            path,
            base,
            offset: from,
            end,
            buffer: Vec::new(),
            buffer_offset: from,
            filled: 0,
            keep_from: u64::MAX,
            verified: from..from,
        }
    }

    /// The same with a buffer that served before.
    pub(crate) fn reusing(mut self, buffer: Vec<u8>) -> Self {
        self.buffer = buffer;
        self
    }

    /// Gives the buffer back.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The place of the next record.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on reading at another place.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// What lies from this place on will be asked for again.
    pub(crate) fn keep_from(&mut self, offset: u64) {
        self.keep_from = offset;
    }

    /// The header of the record at the current place; as [`SegmentReader::next`] otherwise.
    pub(crate) fn advance(&mut self) -> Result<Option<std::result::Result<(Header, Layout), RecordError>>> {
        let offset = self.offset;
        if offset >= self.end {
            return Ok(None);
        }
        let window = self.window(offset, NEXT_BYTES)?;
        let base = self.base.at(offset);
        let outcome = match Record::decode_verified(self.bytes(window), &base) {
            Ok(record) if record.layout.padded() <= self.end - offset => Ok((record.header, record.layout)),
            // Longer than the window, or none.
            _ => match self.next()? {
                Some(found) => found.record.map(|record| (record.header, record.layout)),
                None => return Ok(None),
            },
        };
        if let Ok((_, layout)) = &outcome {
            self.offset = offset + layout.padded();
            if self.verified.end != offset {
                self.verified.start = offset;
            }
            self.verified.end = self.offset;
        }
        Ok(Some(outcome))
    }

    /// The records at these places, which were met before, one behind the other up to `end`. They are verified again
    /// only where they had to be read again, and decoded again only where `met` does not say what was found there.
    pub(crate) fn again(
        &mut self,
        offsets: &[u64],
        met: &[(Header, Layout)],
        end: u64,
    ) -> Result<Vec<(u64, Record<'_>)>> {
        let Some(&first) = offsets.first() else { return Ok(Vec::new()) };
        let window = self.window(first, (end - first) as usize)?;
        let is_verified = self.verified.start <= first && end <= self.verified.end;
        let bytes = self.bytes(window);
        let mut records = Vec::with_capacity(offsets.len());
        for (number, &offset) in offsets.iter().enumerate() {
            let bytes = bytes.get((offset - first) as usize..).unwrap_or(&[]);
            let record = match met.get(number) {
                Some((header, layout)) if is_verified => Record::of(bytes, *header, *layout),
                _ if is_verified => Record::decode(bytes, &self.base.at(offset)),
                _ => Record::decode_verified(bytes, &self.base.at(offset)),
            };
            match record {
                Ok(record) => records.push((offset, record)),
                Err(_) => {
                    let detail = "the record reads differently the second time";
                    return Err(Error::corrupt(self.path, offset, detail));
                }
            }
        }
        Ok(records)
    }

    /// The record at the current place, verified; the place moves behind it if it is good and stays otherwise.
    /// `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found<'_>>> {
        let offset = self.offset;
        if offset >= self.end {
            return Ok(None);
        }
        let mut window = self.window(offset, NEXT_BYTES)?;
        if let Ok((_, layout)) = decode_header(self.bytes(window), &self.base)
            && layout.exact() > window.1 - window.0
            && offset + layout.exact() as u64 <= self.end
        {
            window = self.window(offset, layout.exact())?;
        }
        let mut record = Record::decode_verified(&self.buffer[window.0..window.1], &self.base.at(offset));
        if record.as_ref().is_ok_and(|record| record.layout.padded() > self.end - offset) {
            record = Err(RecordError::Short);
        }
        if let Ok(record) = &record {
            self.offset = offset + record.layout.padded();
        }
        Ok(Some(Found { offset, record }))
    }

    fn bytes(&self, window: (usize, usize)) -> &[u8] {
        &self.buffer[window.0..window.1]
    }

    /// Has at least `wanted` bytes from `offset` in the buffer, or all there are.
    fn window(&mut self, offset: u64, wanted: usize) -> Result<(usize, usize)> {
        let wanted = (wanted as u64).min(self.end - offset) as usize;
        let held = offset
            .checked_sub(self.buffer_offset)
            .map(|skip| skip as usize)
            .filter(|skip| skip + wanted <= self.filled);
        if let Some(skip) = held {
            return Ok((skip, self.filled));
        }
        let kept = self.keep(offset);
        let skip = (offset - self.buffer_offset) as usize;
        let length = (wanted.max(CHUNK_BYTES) as u64).min(self.end - offset) as usize + skip;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        // Until it is known what was read.
        self.filled = 0;
        let read = self
            .file
            .read_at(self.buffer_offset + kept as u64, &mut self.buffer[kept..length])
            .map_err(|error| Error::io("read", self.path, error))?;
        self.filled = kept + read;
        Ok((skip, self.filled.max(skip)))
    }

    /// Moves what is to be kept to the start of the buffer, which is then to be filled behind it, beyond `offset`.
    fn keep(&mut self, offset: u64) -> usize {
        let held = self.buffer_offset..=self.buffer_offset + self.filled as u64;
        let from = self.keep_from;
        if from > offset
            || offset - from > CHUNK_BYTES as u64
            || !held.contains(&from)
            || !held.contains(&offset)
        {
            self.verified = offset..offset;
            self.buffer_offset = offset;
            return 0;
        }
        let from_index = (from - self.buffer_offset) as usize;
        self.buffer.copy_within(from_index..self.filled, 0);
        self.verified.start = self.verified.start.max(from);
        self.buffer_offset = from;
        self.filled - from_index
    }

    /// Whether the bytes between a record and the next one are zeros. The current place is not moved.
    pub(crate) fn is_padded(&mut self, offset: u64, layout: Layout) -> Result<bool> {
        let end = offset + layout.exact() as u64;
        let length = (layout.padded() - layout.exact() as u64) as usize;
        if length == 0 || end >= self.end {
            return Ok(true);
        }
        let window = self.window(end, length)?;
        Ok(self.bytes(window).iter().take(length).all(|byte| *byte == 0))
    }

    /// Header, key and end of what seems to be a record at a place, whose checksum may not match. The current place is
    /// not moved.
    pub(crate) fn unverified(&mut self, offset: u64) -> Result<Option<(Header, Vec<u8>, u64)>> {
        if offset >= self.end {
            return Ok(None);
        }
        let window = self.window(offset, HEADER_BYTES_MAX + KEY_BYTES_MAX)?;
        let bytes = self.bytes(window);
        let Ok((header, layout)) = decode_header(bytes, &self.base) else { return Ok(None) };
        let fits = layout.padded() <= (self.end - offset).next_multiple_of(RECORD_ALIGNMENT);
        let key = bytes.get(layout.header..layout.header + layout.key).filter(|_| fits);
        Ok(key.map(|key| (header, key.to_vec(), offset + layout.padded())))
    }

    /// Looks for the next intact record at or behind the current place, at any record boundary; moves there.
    /// `likely` looks at the header alone, before the checksum is computed: most places are garbage.
    pub(crate) fn resync(
        &mut self,
        likely: impl Fn(&Header, Layout) -> bool,
        accept: impl Fn(&Record<'_>) -> bool,
    ) -> Result<bool> {
        self.offset = self.offset.next_multiple_of(RECORD_ALIGNMENT);
        while self.offset < self.end {
            let at = self.offset;
            let window = self.window(at, HEADER_BYTES_MAX)?;
            let bytes = self.bytes(window);
            // Preallocated space is zeros, often megabytes of them, and zeros are no record.
            let skip = zero_words(bytes) * RECORD_ALIGNMENT;
            if skip > 0 || bytes.is_empty() {
                self.offset += skip.max(RECORD_ALIGNMENT);
                continue;
            }
            let fits = |layout: Layout| layout.padded() <= (self.end - at).next_multiple_of(RECORD_ALIGNMENT);
            let promising =
                decode_header(bytes, &self.base).is_ok_and(|(h, layout)| fits(layout) && likely(&h, layout));
            if promising
                && let Some(found) = self.next()?
                && found.record.as_ref().is_ok_and(&accept)
            {
                self.offset = at;
                return Ok(true);
            }
            self.offset = at + RECORD_ALIGNMENT;
        }
        Ok(false)
    }
}

/// How many words at the start are zeros, an incomplete one at the end included.
fn zero_words(bytes: &[u8]) -> u64 {
    // Large steps first, which compile to vector instructions.
    const STEP_BYTES: usize = 256;
    let is_zero = |bytes: &&[u8]| bytes.iter().fold(0, |bits, byte| bits | byte) == 0;
    let steps = bytes.chunks_exact(STEP_BYTES).take_while(is_zero).count();
    let words = bytes[steps * STEP_BYTES..].chunks(RECORD_ALIGNMENT as usize).take_while(is_zero).count();
    steps as u64 * (STEP_BYTES as u64 / RECORD_ALIGNMENT) + words as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_up_to_the_first_other_byte() {
        for length in [0, 1, 7, 8, 9, 255, 256, 257, 1000] {
            let zeros = vec![0; length];
            assert_eq!(zero_words(&zeros), length.div_ceil(8) as u64);
            for place in 0..length {
                let mut bytes = zeros.clone();
                bytes[place] = 1 << (place % 8);
                assert_eq!(zero_words(&bytes), place as u64 / 8, "{length} bytes, byte {place}");
            }
        }
    }
}
