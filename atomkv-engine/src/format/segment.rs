//! The frame of a segment file: header, records, and once sealed a footer and a trailer.
//!
//! Little-endian. The header is the first 128 bytes:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `AtomKVSG` |
//! | 8 | 4 | format version, 3; 2 before values were streamed; 1 in segments whose records carry CRC-32 instead of CRC-32C |
//! | 12 | 1 | kind: 1 log, 2 page, 3 extent |
//! | 13 | 1 | 0 |
//! | 14 | 2 | lane, 0 |
//! | 16 | 2 | ordinal: the segment's part of an address |
//! | 18 | 2 | 0 |
//! | 20 | 4 | table id; 0 in the log |
//! | 24 | 16 | database id |
//! | 40 | 8 | segment id |
//! | 48 | 8 | base sequence |
//! | 56 | 8 | base time, milliseconds since the epoch |
//! | 64 | 8 | predecessor: the log segment that this one continues; 0 for none |
//! | 72 | 8 | where the predecessor ends; 0: after its roll record |
//! | 80 | 44 | 0 |
//! | 124 | 4 | CRC-32 of bytes 0 to 123 |
//!
//! Records follow, each at a multiple of 8 bytes. A sealed segment has behind them, at a multiple of 8, a footer:
//! one entry a record, in file order:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | bits 0 to 3 kind; bit 4: a table id follows and holds from here on; bit 5: last record of its commit |
//! | LEB128 | length of the record in units of 8 bytes |
//! | LEB128 | table id, if bit 4 |
//! | 8 | place of the key, for kinds that stand for a key |
//!
//! The last 64 bytes of the file are the trailer: magic `AtomKVFT`, end of the records, offset and length of the
//! footer, number of records, smallest and largest sequence (8 bytes each), CRC-32 of the footer, CRC-32 of the
//! trailer's first 60 bytes. Between footer and trailer there may be a hole. A segment without a valid trailer
//! is read record by record instead: the footer saves work, it is never the only copy of anything.

use super::checksum::Sum;
use super::record::Kind;
use super::wire::{FormatError, Reader, put_varint};
use crate::types::{RECORD_ALIGNMENT, SegmentId};

/// The length of a segment's header: the offset of its first record.
pub(crate) const HEADER_BYTES: u64 = 128;
/// The length of a sealed segment's trailer.
pub(crate) const TRAILER_BYTES: u64 = 64;
/// The format version of segments and extents. Version 2, which knows no streamed values, and version 1, whose records
/// carry CRC-32 besides, are read and not written.
pub(crate) const SEGMENT_FORMAT: u32 = 3;

const MAGIC: &[u8; 8] = b"AtomKVSG";
const TRAILER_MAGIC: &[u8; 8] = b"AtomKVFT";

/// What a segment file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum SegmentKind {
    /// Commits in commit order.
    Log = 1,
    /// One table's settled documents in place order.
    Page = 2,
    /// One large value.
    Extent = 3,
}

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) kind: SegmentKind,
    pub(crate) lane: u16,
    pub(crate) ordinal: u16,
    pub(crate) table: u32,
    pub(crate) database: [u8; 16],
    pub(crate) id: SegmentId,
    pub(crate) base_sequence: u64,
    pub(crate) base_time_ms: u64,
    pub(crate) predecessor: SegmentId,
    pub(crate) predecessor_end: u64,
    /// What the records carry; the format version tells it.
    pub(crate) sum: Sum,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut out = Vec::with_capacity(HEADER_BYTES as usize);
        out.extend_from_slice(MAGIC);
        let version = match self.sum {
            Sum::Crc32 => 1,
            Sum::Crc32c => SEGMENT_FORMAT,
        };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0]);
        out.extend_from_slice(&self.lane.to_le_bytes());
        out.extend_from_slice(&self.ordinal.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.table.to_le_bytes());
        out.extend_from_slice(&self.database);
        for field in
            [self.id.0, self.base_sequence, self.base_time_ms, self.predecessor.0, self.predecessor_end]
        {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.resize(HEADER_BYTES as usize - 4, 0);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        let mut header = [0; HEADER_BYTES as usize];
        header.copy_from_slice(&out);
        header
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, FormatError> {
        let damaged = |offset: u64, detail: &str| FormatError::Damaged { offset, detail: detail.to_string() };
        let bytes = bytes
            .first_chunk::<{ HEADER_BYTES as usize }>()
            .ok_or_else(|| damaged(bytes.len() as u64, "the file ends inside the segment header"))?;
        if &bytes[..8] != MAGIC {
            return Err(damaged(0, "not a segment: the magic bytes are missing"));
        }
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let version = u32_at(8);
        let intact = crc32fast::hash(&bytes[..124]) == u32_at(124);
        // The checksum covers the version too: a flipped bit there must not be taken for a newer release.
        if !intact {
            return Err(damaged(0, "the segment header's checksum does not match"));
        }
        let sum = match version {
            1 => Sum::Crc32,
            2 | SEGMENT_FORMAT => Sum::Crc32c,
            found => return Err(FormatError::Newer { found, supported: SEGMENT_FORMAT }),
        };
        let kind = match bytes[12] {
            1 => SegmentKind::Log,
            2 => SegmentKind::Page,
            3 => SegmentKind::Extent,
            _ => return Err(damaged(12, "unknown kind of segment")),
        };
        let mut database = [0; 16];
        database.copy_from_slice(&bytes[24..40]);
        Ok(SegmentHeader {
            kind,
            lane: u16_at(14),
            ordinal: u16_at(16),
            table: u32_at(20),
            database,
            id: SegmentId(u64_at(40)),
            base_sequence: u64_at(48),
            base_time_ms: u64_at(56),
            predecessor: SegmentId(u64_at(64)),
            predecessor_end: u64_at(72),
            sum,
        })
    }

    /// What is folded into the checksum of each of the segment's records.
    pub(crate) fn salt(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.database);
        hasher.update(&self.id.0.to_le_bytes());
        hasher.finalize()
    }
}

/// The trailer of a sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trailer {
    pub(crate) records_end: u64,
    pub(crate) footer_offset: u64,
    pub(crate) footer_length: u64,
    pub(crate) records: u64,
    pub(crate) sequence_min: u64,
    pub(crate) sequence_max: u64,
    pub(crate) footer_checksum: u32,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES as usize] {
        let mut out = [0; TRAILER_BYTES as usize];
        out[..8].copy_from_slice(TRAILER_MAGIC);
        let fields = [
            self.records_end,
            self.footer_offset,
            self.footer_length,
            self.records,
            self.sequence_min,
            self.sequence_max,
        ];
        for (index, field) in fields.into_iter().enumerate() {
            out[8 + index * 8..16 + index * 8].copy_from_slice(&field.to_le_bytes());
        }
        out[56..60].copy_from_slice(&self.footer_checksum.to_le_bytes());
        let checksum = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` where the bytes are no trailer: the segment was not sealed, or its end is damaged.
    pub(crate) fn decode(bytes: &[u8; TRAILER_BYTES as usize], file_length: u64) -> Option<Trailer> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(8)? != TRAILER_MAGIC {
            return None;
        }
        let trailer = Trailer {
            records_end: reader.u64()?,
            footer_offset: reader.u64()?,
            footer_length: reader.u64()?,
            records: reader.u64()?,
            sequence_min: reader.u64()?,
            sequence_max: reader.u64()?,
            footer_checksum: reader.u32()?,
        };
        let intact = crc32fast::hash(&bytes[..60]) == reader.u32()?;
        let end = trailer.footer_offset.checked_add(trailer.footer_length)?;
        let fits = trailer.records_end >= HEADER_BYTES
            && trailer.records_end <= trailer.footer_offset
            && end <= file_length.checked_sub(TRAILER_BYTES)?;
        (intact && fits).then_some(trailer)
    }
}

/// One record as the footer tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FooterEntry {
    pub(crate) kind: Kind,
    pub(crate) end_of_commit: bool,
    pub(crate) table: u32,
    /// Where the record begins in the segment.
    pub(crate) offset: u64,
    /// Its padded length in bytes.
    pub(crate) length: u64,
    /// The place of its key; 0 for kinds without one.
    pub(crate) place: u64,
}

/// Collects the footer while records are read or written in file order.
#[derive(Default)]
pub(crate) struct FooterBuilder {
    bytes: Vec<u8>,
    table: u32,
    records: u64,
}

impl FooterBuilder {
    pub(crate) fn push(&mut self, entry: &FooterEntry) {
        let table_changes = entry.table != self.table;
        self.bytes.push(entry.kind as u8 | u8::from(table_changes) << 4 | u8::from(entry.end_of_commit) << 5);
        put_varint(&mut self.bytes, entry.length / RECORD_ALIGNMENT);
        if table_changes {
            put_varint(&mut self.bytes, u64::from(entry.table));
            self.table = entry.table;
        }
        if entry.kind.has_place() {
            self.bytes.extend_from_slice(&entry.place.to_le_bytes());
        }
        self.records += 1;
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The footer and the trailer that finds it.
    pub(crate) fn finish(self, records_end: u64, sequence_min: u64, sequence_max: u64) -> (Vec<u8>, Trailer) {
        let trailer = Trailer {
            records_end,
            footer_offset: records_end,
            footer_length: self.bytes.len() as u64,
            records: self.records,
            sequence_min,
            sequence_max,
            footer_checksum: crc32fast::hash(&self.bytes),
        };
        (self.bytes, trailer)
    }
}

/// Decodes a footer; `None` if it does not match its trailer.
pub(crate) fn decode_footer(bytes: &[u8], trailer: &Trailer) -> Option<Vec<FooterEntry>> {
    if crc32fast::hash(bytes) != trailer.footer_checksum {
        return None;
    }
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::with_capacity((bytes.len() / 2).min(trailer.records as usize));
    let (mut offset, mut table) = (HEADER_BYTES, 0);
    while entries.len() as u64 != trailer.records {
        let flags = reader.u8()?;
        let kind = Kind::from_u8(flags & 15)?;
        let length = reader.varint()?.checked_mul(RECORD_ALIGNMENT)?;
        if flags & 0x10 != 0 {
            table = u32::try_from(reader.varint()?).ok()?;
        }
        let place = if kind.has_place() { reader.u64()? } else { 0 };
        entries.push(FooterEntry { kind, end_of_commit: flags & 0x20 != 0, table, offset, length, place });
        offset = offset.checked_add(length)?;
    }
    (offset == trailer.records_end).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            kind: SegmentKind::Log,
            lane: 0,
            ordinal: 513,
            table: 0,
            database: *b"0123456789abcdef",
            id: SegmentId(77),
            base_sequence: 1 << 40,
            base_time_ms: 1_700_000_000_000,
            predecessor: SegmentId(76),
            predecessor_end: 4096,
            sum: Sum::Crc32c,
        }
    }

    #[test]
    fn the_header_round_trips_and_notices_each_flipped_bit() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes).ok(), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::decode(&flipped), Err(FormatError::Damaged { .. })), "bit {bit}");
        }
        assert!(SegmentHeader::decode(&bytes[..127]).is_err());
        let old = SegmentHeader { sum: Sum::Crc32, ..header() };
        assert_eq!((old.encode()[8], SegmentHeader::decode(&old.encode()).ok()), (1, Some(old)));
    }

    #[test]
    fn a_newer_header_is_named() {
        let bytes = with_version(4);
        assert!(matches!(SegmentHeader::decode(&bytes), Err(FormatError::Newer { found: 4, supported: 3 })));
        let bytes = with_version(0);
        assert!(matches!(SegmentHeader::decode(&bytes), Err(FormatError::Newer { found: 0, .. })));
    }

    #[test]
    fn the_format_before_is_read_the_same() {
        assert_eq!(SegmentHeader::decode(&with_version(2)).ok(), Some(header()));
    }

    fn with_version(version: u8) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = header().encode();
        bytes[8] = version;
        let checksum = crc32fast::hash(&bytes[..124]);
        bytes[124..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn the_footer_round_trips_in_ten_bytes_a_record() {
        let mut builder = FooterBuilder::default();
        let mut entries = Vec::new();
        let mut offset = HEADER_BYTES;
        for step in 0..1000u64 {
            let kind = if step % 10 == 9 { Kind::Mark } else { Kind::Document };
            let place = if kind.has_place() { step << 40 | 5 } else { 0 };
            let length = 40 + step % 7 * 8;
            let table = (step / 400) as u32;
            entries.push(FooterEntry { kind, end_of_commit: step % 3 == 0, table, offset, length, place });
            builder.push(entries.last().expect("just pushed"));
            offset += length;
        }
        let (bytes, trailer) = builder.finish(offset, 1, 1000);
        assert!(bytes.len() <= 10 * 1000);
        assert_eq!(decode_footer(&bytes, &trailer).as_ref(), Some(&entries));
        assert_eq!(Trailer::decode(&trailer.encode(), 1 << 30), Some(trailer));
        assert_eq!(Trailer::decode(&trailer.encode(), offset), None, "a footer past the end of the file");
        for cut in 0..bytes.len() {
            assert_eq!(decode_footer(&bytes[..cut], &trailer), None);
        }
        let encoded = trailer.encode();
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&flipped, 1 << 30), None, "bit {bit}");
        }
    }
}
