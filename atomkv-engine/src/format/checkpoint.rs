//! The image of a checkpoint: the index, as sub-tables.
//!
//! Little-endian. Written front to back, never sought back into:
//!
//! | part | contents |
//! | --- | --- |
//! | header, 64 bytes | magic `AtomKVCP` 8, format version 4, CRC-32 of the other 60 bytes 4, generation 8, database id 16, log segment 8, log offset 8, sequence 8 |
//! | blobs | each sub-table's entries, 8 bytes each; then the leaves of the ordered indexes (`index/ordered/blob.rs`) |
//! | sections | framed as in the manifest, types below |
//! | trailer, 32 bytes | offset of the sections 8, fuzzy end 8, CRC-32 of the sections 4, CRC-32 of the trailer's other 28 bytes 4, magic `AtomKVCE` 8 |
//!
//! An entry's low 41 bits are the record's address (ordinal of the segment 16, offset in units of 8 bytes 25), its
//! high 23 bits are bits 8 to 30 of the key's place, counted from the top. A sub-table covers the places that begin
//! with the `depth` bits of `prefix`, as far as they belong to the partition.
//!
//! | type | contents |
//! | --- | --- |
//! | 1 | shape: bits of an address 1, first bit of a tag 1, bits of a tag 1, 0 1, sequence ceiling 8 |
//! | 2 | sub-tables: table 4, partition 4, prefix 8, offset of the blob 8, entries 4, CRC-32 of the blob 4, depth 1 |
//! | 3 | segments: id 8, live bytes 8 |
//! | 4 | large values: id 8, length 8 |
//! | 5, if there are any | old versions: table 4, place of the key 8, its check 8, sequence 8, sequence of the commit that replaced it 8 (all ones: none has), time of that in ms 8, address 8 with bit 41: a tombstone, bit 42: counted among its segment's live bytes, length 8, id of its large value 8 or 0 |
//! | 6, if there are any | ordered indexes, in the order of tables and keys: table 4, offset of a leaf's blob 8, its length 4, CRC-32 of the blob 4 |
//! | 7, may be passed over | time: no commit after the log position has an earlier one, in ms, 8 |
//! | 8, may be passed over | tombstones: id of their segment 8, id of a segment with older records of their keys 8, their bytes 8 |
//! | 9, may be passed over | what expires: id of the segment 8, a moment in ms 8, when the first of the documents expires that will have by then, in ms 8, their bytes 8 |
//! | 10, if there are tables | layouts: table 4, number of partitions when the sub-tables were written 4 |

use super::wire::{FormatError, KNOWN, Reader, UNKNOWN, put_section, put_skippable_section, read_sections};
use crate::index::history::{ChainId, Old};
use crate::index::subtable::{TAG_BITS, TAG_START};
use crate::types::{Address, PARTITIONS_MAX};

const IMAGE_FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"AtomKVCP";
const END_MAGIC: &[u8; 8] = b"AtomKVCE";
pub(crate) const IMAGE_HEADER_BYTES: usize = 64;
pub(crate) const IMAGE_TRAILER_BYTES: usize = 32;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ImageHeader {
    pub(crate) generation: u64,
    pub(crate) database_id: [u8; 16],
    pub(crate) log_segment: u64,
    pub(crate) log_offset: u64,
    pub(crate) sequence: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubTableRecord {
    pub(crate) table: u32,
    pub(crate) partition: u32,
    pub(crate) depth: u8,
    pub(crate) prefix: u64,
    /// Of the blob in the file.
    pub(crate) offset: u64,
    pub(crate) entries: u32,
    pub(crate) checksum: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentStats {
    pub(crate) id: u64,
    pub(crate) live_bytes: u64,
}

/// Tombstones of one segment that must stay there because of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HeldTombstones {
    pub(crate) segment: u64,
    /// The segment that holds older records of their keys.
    pub(crate) by: u64,
    pub(crate) bytes: u64,
}

/// A version that a table's history keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OldVersion {
    pub(crate) table: u32,
    pub(crate) id: ChainId,
    pub(crate) old: Old,
}

const TOMBSTONE_BIT: u64 = 1 << Address::BITS;
const COUNTED_BIT: u64 = 1 << (Address::BITS + 1);

impl OldVersion {
    fn encode(&self, out: &mut Vec<u8>) {
        let OldVersion { table, id, old } = self;
        let flag = |bit: u64, yes: bool| if yes { bit } else { 0 };
        let address =
            old.address.bits() | flag(TOMBSTONE_BIT, old.is_tombstone) | flag(COUNTED_BIT, old.is_counted);
        out.extend_from_slice(&table.to_le_bytes());
        for field in [
            id.place,
            id.check,
            old.sequence,
            old.end,
            old.end_time_ms,
            address,
            old.length,
            old.extent.unwrap_or(0),
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<OldVersion> {
        let table = reader.u32()?;
        let id = ChainId { place: reader.u64()?, check: reader.u64()? };
        let (sequence, end, end_time_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (address, length, extent) = (reader.u64()?, reader.u64()?, reader.u64()?);
        if sequence >= end || address >> (Address::BITS + 2) != 0 {
            return None;
        }
        let old = Old {
            sequence,
            end,
            end_time_ms,
            address: Address::from_bits(address),
            length,
            extent: (extent != 0).then_some(extent),
            is_tombstone: address & TOMBSTONE_BIT != 0,
            is_counted: address & COUNTED_BIT != 0,
            is_kept: true,
            is_pinned: false,
        };
        Some(OldVersion { table, id, old })
    }
}

/// Documents of a segment that expire by a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expiring {
    pub(crate) segment: u64,
    pub(crate) moment_ms: u64,
    pub(crate) first_ms: u64,
    pub(crate) bytes: u64,
}

/// A leaf of an ordered index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeafRecord {
    pub(crate) table: u32,
    /// Of the blob in the file.
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

/// Everything behind the blobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ImageSections {
    pub(crate) fuzzy_end: u64,
    pub(crate) sequence_ceiling: u64,
    pub(crate) last_time_ms: u64,
    pub(crate) subtables: Vec<SubTableRecord>,
    /// Table and number of its partitions, of which the sub-tables are. A table that is not here has as many as the
    /// manifest says.
    pub(crate) layouts: Vec<(u32, u32)>,
    pub(crate) segments: Vec<SegmentStats>,
    pub(crate) extents: Vec<(u64, u64)>,
    pub(crate) tombstones: Vec<HeldTombstones>,
    pub(crate) old_versions: Vec<OldVersion>,
    pub(crate) expiring: Vec<Expiring>,
    pub(crate) leaves: Vec<LeafRecord>,
}

impl ImageHeader {
    pub(crate) fn encode(&self) -> [u8; IMAGE_HEADER_BYTES] {
        let mut out = [0; IMAGE_HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&IMAGE_FORMAT.to_le_bytes());
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..40].copy_from_slice(&self.database_id);
        out[40..48].copy_from_slice(&self.log_segment.to_le_bytes());
        out[48..56].copy_from_slice(&self.log_offset.to_le_bytes());
        out[56..64].copy_from_slice(&self.sequence.to_le_bytes());
        let checksum = checksum_around(&out, 12);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<ImageHeader, FormatError> {
        let read = || {
            let mut reader = Reader::new(bytes);
            let magic = reader.bytes(8)?;
            let (version, checksum) = (reader.u32()?, reader.u32()?);
            let header = ImageHeader {
                generation: reader.u64()?,
                database_id: reader.id128()?,
                log_segment: reader.u64()?,
                log_offset: reader.u64()?,
                sequence: reader.u64()?,
            };
            Some((magic, version, checksum, header))
        };
        let Some((magic, version, checksum, header)) = read() else {
            return Err(FormatError::damaged(bytes.len(), "the image is cut short"));
        };
        if magic != MAGIC {
            return Err(FormatError::damaged(0, "not a checkpoint: the magic bytes are missing"));
        }
        if checksum_around(&bytes[..IMAGE_HEADER_BYTES], 12) != checksum {
            return Err(FormatError::damaged(12, "the checksum of the image's header does not match"));
        }
        if version != IMAGE_FORMAT {
            return Err(FormatError::Newer { found: version, supported: IMAGE_FORMAT });
        }
        Ok(header)
    }
}

/// The CRC-32 of everything but the four bytes at `skip`.
fn checksum_around(bytes: &[u8], skip: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..skip]);
    hasher.update(&bytes[skip + 4..]);
    hasher.finalize()
}

/// Sections and trailer of an image whose blobs end at `tail_offset`.
pub(crate) fn encode_tail(sections: &ImageSections, tail_offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut contents = vec![Address::BITS as u8, TAG_START as u8, TAG_BITS as u8, 0];
    contents.extend_from_slice(&sections.sequence_ceiling.to_le_bytes());
    put_section(&mut out, 1, &contents);

    contents.clear();
    for table in &sections.subtables {
        contents.extend_from_slice(&table.table.to_le_bytes());
        contents.extend_from_slice(&table.partition.to_le_bytes());
        contents.extend_from_slice(&table.prefix.to_le_bytes());
        contents.extend_from_slice(&table.offset.to_le_bytes());
        contents.extend_from_slice(&table.entries.to_le_bytes());
        contents.extend_from_slice(&table.checksum.to_le_bytes());
        contents.push(table.depth);
    }
    put_section(&mut out, 2, &contents);

    contents.clear();
    for segment in &sections.segments {
        contents.extend_from_slice(&segment.id.to_le_bytes());
        contents.extend_from_slice(&segment.live_bytes.to_le_bytes());
    }
    put_section(&mut out, 3, &contents);

    contents.clear();
    for (id, length) in &sections.extents {
        contents.extend_from_slice(&id.to_le_bytes());
        contents.extend_from_slice(&length.to_le_bytes());
    }
    put_section(&mut out, 4, &contents);
    put_skippable_section(&mut out, 7, &sections.last_time_ms.to_le_bytes());
    if !sections.layouts.is_empty() {
        contents.clear();
        for (table, partitions) in &sections.layouts {
            contents.extend_from_slice(&table.to_le_bytes());
            contents.extend_from_slice(&partitions.to_le_bytes());
        }
        put_section(&mut out, 10, &contents);
    }

    if !sections.tombstones.is_empty() {
        contents.clear();
        for held in &sections.tombstones {
            [held.segment, held.by, held.bytes]
                .iter()
                .for_each(|field| contents.extend_from_slice(&field.to_le_bytes()));
        }
        // It only helps to choose what is compacted.
        put_skippable_section(&mut out, 8, &contents);
    }

    if !sections.leaves.is_empty() {
        contents.clear();
        for leaf in &sections.leaves {
            contents.extend_from_slice(&leaf.table.to_le_bytes());
            contents.extend_from_slice(&leaf.offset.to_le_bytes());
            contents.extend_from_slice(&leaf.length.to_le_bytes());
            contents.extend_from_slice(&leaf.checksum.to_le_bytes());
        }
        put_section(&mut out, 6, &contents);
    }
    if !sections.expiring.is_empty() {
        contents.clear();
        for Expiring { segment, moment_ms, first_ms, bytes } in &sections.expiring {
            [segment, moment_ms, first_ms, bytes]
                .iter()
                .for_each(|field| contents.extend_from_slice(&field.to_le_bytes()));
        }
        put_skippable_section(&mut out, 9, &contents);
    }
    if !sections.old_versions.is_empty() {
        contents.clear();
        sections.old_versions.iter().for_each(|version| version.encode(&mut contents));
        put_section(&mut out, 5, &contents);
    }

    let checksum = crc32fast::hash(&out);
    let mut trailer = [0; IMAGE_TRAILER_BYTES];
    trailer[..8].copy_from_slice(&tail_offset.to_le_bytes());
    trailer[8..16].copy_from_slice(&sections.fuzzy_end.to_le_bytes());
    trailer[16..20].copy_from_slice(&checksum.to_le_bytes());
    trailer[24..].copy_from_slice(END_MAGIC);
    let checksum = checksum_around(&trailer, 20);
    trailer[20..24].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&trailer);
    out
}

/// What the trailer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ImageTrailer {
    pub(crate) tail_offset: u64,
    fuzzy_end: u64,
    sections_checksum: u32,
}

/// Decodes the last bytes of an image file of this length.
pub(crate) fn decode_trailer(bytes: &[u8], file_length: u64) -> Result<ImageTrailer, FormatError> {
    let start = file_length.saturating_sub(IMAGE_TRAILER_BYTES as u64) as usize;
    let read = || {
        let mut reader = Reader::new(bytes);
        let trailer = ImageTrailer {
            tail_offset: reader.u64()?,
            fuzzy_end: reader.u64()?,
            sections_checksum: reader.u32()?,
        };
        let checksum = reader.u32()?;
        let sound = reader.bytes(8)? == END_MAGIC
            && reader.is_empty()
            && checksum_around(bytes, 20) == checksum
            && trailer.tail_offset >= IMAGE_HEADER_BYTES as u64
            && trailer.tail_offset <= start as u64;
        sound.then_some(trailer)
    };
    read().ok_or_else(|| FormatError::damaged(start, "the image's trailer is missing or damaged"))
}

/// Decodes sections and trailer: the bytes of the file from `tail_offset` to its end.
pub(crate) fn decode_tail(
    tail: &[u8],
    tail_offset: u64,
    file_length: u64,
) -> Result<ImageSections, FormatError> {
    let at = tail_offset as usize;
    let Some(split) = tail.len().checked_sub(IMAGE_TRAILER_BYTES) else {
        return Err(FormatError::damaged(at, "the image is cut short"));
    };
    let (bytes, trailer) = tail.split_at(split);
    let trailer = decode_trailer(trailer, file_length)?;
    if trailer.tail_offset != tail_offset || crc32fast::hash(bytes) != trailer.sections_checksum {
        return Err(FormatError::damaged(at, "the checksum of the image's sections does not match"));
    }
    let mut sections = ImageSections { fuzzy_end: trailer.fuzzy_end, ..ImageSections::default() };
    let mut shaped = false;
    read_sections(bytes, at, |kind, contents| {
        let known = match kind {
            1 => read_shape(contents).map(|ceiling| {
                shaped = true;
                sections.sequence_ceiling = ceiling;
            }),
            2 => read_subtables(contents, tail_offset).map(|tables| sections.subtables = tables),
            3 => read_pairs(contents).map(|pairs| {
                sections.segments =
                    pairs.into_iter().map(|(id, live_bytes)| SegmentStats { id, live_bytes }).collect();
            }),
            4 => read_pairs(contents).map(|pairs| sections.extents = pairs),
            5 => read_old_versions(contents).map(|versions| sections.old_versions = versions),
            6 => read_leaves(contents, tail_offset).map(|leaves| sections.leaves = leaves),
            7 => Reader::new(contents).u64().map(|time| sections.last_time_ms = time),
            8 => read_tombstones(contents).map(|tombstones| sections.tombstones = tombstones),
            9 => read_expiring(contents).map(|expiring| sections.expiring = expiring),
            10 => read_layouts(contents).map(|layouts| sections.layouts = layouts),
            _ => return Some(UNKNOWN),
        };
        known.map(|()| KNOWN)
    })?;
    if !shaped {
        return Err(FormatError::damaged(at, "the image does not tell its shape"));
    }
    Ok(sections)
}

fn read_old_versions(contents: &[u8]) -> Option<Vec<OldVersion>> {
    let mut reader = Reader::new(contents);
    let mut versions = Vec::new();
    while !reader.is_empty() {
        versions.push(OldVersion::decode(&mut reader)?);
    }
    Some(versions)
}

fn read_leaves(contents: &[u8], blobs_end: u64) -> Option<Vec<LeafRecord>> {
    let mut reader = Reader::new(contents);
    let mut leaves = Vec::new();
    while !reader.is_empty() {
        let (table, offset) = (reader.u32()?, reader.u64()?);
        let (length, checksum) = (reader.u32()?, reader.u32()?);
        let end = offset.checked_add(u64::from(length))?;
        let is_inside = offset >= IMAGE_HEADER_BYTES as u64 && end <= blobs_end;
        leaves.push(is_inside.then_some(LeafRecord { table, offset, length, checksum })?);
    }
    Some(leaves)
}

fn read_expiring(contents: &[u8]) -> Option<Vec<Expiring>> {
    let mut reader = Reader::new(contents);
    let mut expiring = Vec::new();
    while !reader.is_empty() {
        let (segment, moment_ms) = (reader.u64()?, reader.u64()?);
        let (first_ms, bytes) = (reader.u64()?, reader.u64()?);
        expiring.push(Expiring { segment, moment_ms, first_ms, bytes });
    }
    Some(expiring)
}

fn read_shape(contents: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(contents);
    let shape = [u32::from(reader.u8()?), u32::from(reader.u8()?), u32::from(reader.u8()?)];
    reader.u8()?;
    let ceiling = reader.u64()?;
    (shape == [Address::BITS, TAG_START, TAG_BITS] && reader.is_empty()).then_some(ceiling)
}

fn read_subtables(contents: &[u8], blobs_end: u64) -> Option<Vec<SubTableRecord>> {
    let mut reader = Reader::new(contents);
    let mut tables = Vec::new();
    while !reader.is_empty() {
        let (table, partition, prefix) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let (offset, entries, checksum, depth) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u8()?);
        let end = offset.checked_add(u64::from(entries) * 8)?;
        let sound = offset >= IMAGE_HEADER_BYTES as u64 && end <= blobs_end && (1..=63).contains(&depth);
        if !sound || prefix >> depth != 0 {
            return None;
        }
        tables.push(SubTableRecord { table, partition, depth, prefix, offset, entries, checksum });
    }
    Some(tables)
}

fn read_pairs(contents: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut reader = Reader::new(contents);
    let mut pairs = Vec::new();
    while !reader.is_empty() {
        pairs.push((reader.u64()?, reader.u64()?));
    }
    Some(pairs)
}

fn read_layouts(contents: &[u8]) -> Option<Vec<(u32, u32)>> {
    let mut reader = Reader::new(contents);
    let mut layouts = Vec::new();
    while !reader.is_empty() {
        let (table, partitions) = (reader.u32()?, reader.u32()?);
        layouts.push(((1..=PARTITIONS_MAX).contains(&partitions)).then_some((table, partitions))?);
    }
    Some(layouts)
}

fn read_tombstones(contents: &[u8]) -> Option<Vec<HeldTombstones>> {
    let mut reader = Reader::new(contents);
    let mut tombstones = Vec::new();
    while !reader.is_empty() {
        tombstones.push(HeldTombstones { segment: reader.u64()?, by: reader.u64()?, bytes: reader.u64()? });
    }
    Some(tombstones)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (ImageHeader, ImageSections) {
        let header = ImageHeader {
            generation: 4,
            database_id: *b"0123456789abcdef",
            log_segment: 9,
            log_offset: 4096,
            sequence: 77,
        };
        let subtable = |prefix| SubTableRecord {
            table: 2,
            partition: 1,
            depth: 9,
            prefix,
            offset: 64,
            entries: 3,
            checksum: 99,
        };
        let sections = ImageSections {
            fuzzy_end: 80,
            sequence_ceiling: 1 << 24,
            last_time_ms: 1_700_000_000_000,
            subtables: vec![subtable(0), subtable(511)],
            layouts: vec![(2, 64), (3, 1)],
            segments: vec![SegmentStats { id: 1, live_bytes: 2 }],
            extents: vec![(5, 1 << 30)],
            tombstones: vec![HeldTombstones { segment: 1, by: 7, bytes: 40 }],
            old_versions: vec![OldVersion {
                table: 3,
                id: ChainId { place: u64::MAX - 1, check: 77 },
                old: Old {
                    sequence: 5,
                    end: Old::NEWEST,
                    end_time_ms: 1_700_000_000_000,
                    address: Address::new(9, 4096),
                    length: 48,
                    extent: Some(4),
                    is_tombstone: true,
                    is_counted: false,
                    is_kept: true,
                    is_pinned: false,
                },
            }],
            leaves: vec![LeafRecord { table: 3, offset: 64, length: 8, checksum: 7 }],
            expiring: vec![Expiring { segment: 1, moment_ms: 1_700_000_000_000, first_ms: 9, bytes: 48 }],
        };
        (header, sections)
    }

    #[test]
    fn it_round_trips() {
        let (header, sections) = sample();
        assert_eq!(ImageHeader::decode(&header.encode()), Ok(header));
        let tail = encode_tail(&sections, 64 + 24);
        let length = 64 + 24 + tail.len() as u64;
        let trailer =
            decode_trailer(&tail[tail.len() - IMAGE_TRAILER_BYTES..], length).expect("just written");
        assert_eq!(trailer.tail_offset, 88);
        assert_eq!(decode_tail(&tail, 88, length), Ok(sections));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (header, sections) = sample();
        let bytes = header.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(ImageHeader::decode(&flipped), Err(FormatError::Damaged { .. })), "bit {bit}");
        }
        let tail = encode_tail(&sections, 88);
        let length = 88 + tail.len() as u64;
        for bit in 0..tail.len() * 8 {
            let mut flipped = tail.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_tail(&flipped, 88, length).is_err(), "bit {bit}");
        }
        for cut in 0..tail.len() {
            assert!(decode_tail(&tail[..cut], 88, length).is_err(), "cut to {cut}");
            assert!(decode_tail(&tail[cut..], 88 + cut as u64, length).is_err() || cut == 0);
        }
    }
}
