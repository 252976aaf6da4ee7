//! The manifest: the small file that names tables, segments and checkpoints, and is replaced as a whole.
//!
//! Little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `AtomKVMF` |
//! | 8 | 4 | format version, 2; version 1, whose tables have no flags, is read |
//! | 12 | 4 | CRC-32 of bytes 0 to 11 and 16 to 23 |
//! | 16 | 8 | length of the file |
//! | 24 | … | sections |
//! | end − 4 | 4 | CRC-32 of everything before |
//!
//! A section is its type (2 bytes), flags (2; bit 0: may be passed over by a reader that does not know the type),
//! length of its contents (8), CRC-32 of those 12 bytes and the contents (4), contents. Types:
//!
//! | type | contents |
//! | --- | --- |
//! | 1 | database: generation 8, database id 16, hash seed 8, creation time in ms 8, next table id 4, segment id ceiling 8, sequence ceiling 8 |
//! | 2 | tables: for each, length 4 and a table definition |
//! | 3 | segments: for each, id 8, ordinal 2, kind 1, 0 1, lane 2, table 4, length 8, records 8, smallest and largest sequence 8 + 8 |
//! | 4 | checkpoints, newest first: for each, generation, log segment, log offset, sequence, fuzzy end, bytes (8 each), checksum 4 |
//! | 5, may be passed over; in a backup that nobody has opened since | backup: when it was taken in ms 8, the last commit in it 8 |
//! | 6, may be passed over; in a database that was salvaged | salvaged: the largest sequence of what was salvaged 8 |
//!
//! A table definition: id 4, partitions 4, flags 4, retention 4 (how many versions of a key are kept, 0: all), durability
//! 1 (0 buffered, 1 sync), name (2 + n), number of services 1, for each its kind (2 + n), name (2 + n), version 4; then, by
//! the flags: bit 0 the table is ordered (nothing follows), bit 1 for how long old versions are kept in ms, 8, bit 2 after
//! how long documents expire in ms, 8, bit 3 the number of partitions follows the table's size (nothing follows).

use std::collections::HashSet;

use super::wire::{
    FormatError, KNOWN, Reader, UNKNOWN, put_section, put_skippable_section, put_text, read_sections,
};
use crate::types::PARTITIONS_MAX;

/// The format version of the manifest.
pub(crate) const MANIFEST_FORMAT: u32 = 2;
const MAGIC: &[u8; 8] = b"AtomKVMF";
const HEAD_BYTES: usize = 24;

const ORDERED: u32 = 1;
const HAS_RETENTION_TIME: u32 = 2;
const HAS_TTL: u32 = 4;
const AUTO_PARTITIONS: u32 = 8;

/// Everything the manifest says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// One more at each replacement.
    pub(crate) generation: u64,
    pub(crate) database_id: [u8; 16],
    pub(crate) hash_seed: u64,
    pub(crate) created_ms: u64,
    /// Ids are never reused.
    pub(crate) next_table_id: u32,
    /// Ids of segments and large values below it may be in use.
    pub(crate) segment_id_ceiling: u64,
    /// No sequence above it was handed out before the position of the newest checkpoint.
    pub(crate) sequence_ceiling: u64,
    pub(crate) tables: Vec<TableRecord>,
    pub(crate) segments: Vec<SegmentRecord>,
    /// Newest first, two at most.
    pub(crate) checkpoints: Vec<CheckpointRecord>,
    /// Of a backup as it was made.
    pub(crate) backup: Option<BackupRecord>,
    /// Of a database that was salvaged: what was deleted or overwritten up to this sequence is not known.
    pub(crate) salvaged_sequence: Option<u64>,
}

/// What a backup is of. The first manifest that a database writes which was opened from it does not have it any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BackupRecord {
    pub(crate) taken_ms: u64,
    /// The last commit that it holds.
    pub(crate) sequence: u64,
}

/// A table as it was created or resized.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableRecord {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) partitions: u32,
    /// Whether their number follows the table's size.
    pub(crate) auto_partitions: bool,
    /// 0 buffered, 1 sync.
    pub(crate) durability: u8,
    pub(crate) ordered: bool,
    /// How many versions of a key are kept; 0: all.
    pub(crate) retention: u32,
    /// For how long old versions are kept, instead.
    pub(crate) retention_ms: Option<u64>,
    /// After how long documents expire unless their writer says otherwise.
    pub(crate) ttl_ms: Option<u64>,
    /// Kind, name, version.
    pub(crate) services: Vec<(String, String, u32)>,
}

/// A segment that was there when the newest checkpoint was taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SegmentRecord {
    pub(crate) id: u64,
    pub(crate) ordinal: u16,
    /// 1 log, 2 page.
    pub(crate) kind: u8,
    pub(crate) lane: u16,
    /// Of a page.
    pub(crate) table: u32,
    /// Where the records end; 0: found by reading the log.
    pub(crate) length: u64,
    pub(crate) records: u64,
    pub(crate) sequence_min: u64,
    pub(crate) sequence_max: u64,
}

/// A checkpoint image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckpointRecord {
    pub(crate) generation: u64,
    /// Replay starts here, behind the commit `sequence`.
    pub(crate) log_segment: u64,
    pub(crate) log_offset: u64,
    pub(crate) sequence: u64,
    /// The image may hold effects of commits up to this one.
    pub(crate) fuzzy_end: u64,
    pub(crate) bytes: u64,
    /// Of the image's sections.
    pub(crate) checksum: u32,
}

/// Appends a table definition.
pub(crate) fn encode_table(table: &TableRecord, out: &mut Vec<u8>) {
    let flag = |bit: u32, yes: bool| if yes { bit } else { 0 };
    let flags = flag(ORDERED, table.ordered)
        | flag(HAS_RETENTION_TIME, table.retention_ms.is_some())
        | flag(HAS_TTL, table.ttl_ms.is_some())
        | flag(AUTO_PARTITIONS, table.auto_partitions);
    for field in [table.id, table.partitions, flags, table.retention] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.push(table.durability);
    put_text(out, &table.name);
    out.push(table.services.len() as u8);
    for (kind, name, version) in &table.services {
        put_text(out, kind);
        put_text(out, name);
        out.extend_from_slice(&version.to_le_bytes());
    }
    for time_ms in [table.retention_ms, table.ttl_ms].into_iter().flatten() {
        out.extend_from_slice(&time_ms.to_le_bytes());
    }
}

/// Decodes a table definition; `None` if the bytes are none.
pub(crate) fn decode_table(bytes: &[u8]) -> Option<TableRecord> {
    let mut reader = Reader::new(bytes);
    let (id, partitions, flags, retention) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
    let durability = reader.u8()?;
    let name = reader.text()?;
    let services = (0..reader.u8()?)
        .map(|_| Some((reader.text()?, reader.text()?, reader.u32()?)))
        .collect::<Option<Vec<_>>>()?;
    let retention_ms = if flags & HAS_RETENTION_TIME == 0 { None } else { Some(reader.u64()?) };
    let ttl_ms = if flags & HAS_TTL == 0 { None } else { Some(reader.u64()?) };
    let ordered = flags & ORDERED != 0;
    let sound = (1..=PARTITIONS_MAX).contains(&partitions)
        && (1..=255).contains(&name.len())
        && durability <= 1
        && flags & !(ORDERED | HAS_RETENTION_TIME | HAS_TTL | AUTO_PARTITIONS) == 0
        && reader.is_empty();
    sound.then_some(TableRecord {
        id,
        name,
        partitions,
        auto_partitions: flags & AUTO_PARTITIONS != 0,
        durability,
        ordered,
        retention,
        retention_ms,
        ttl_ms,
        services,
    })
}

fn read_backup(contents: &[u8]) -> Option<BackupRecord> {
    let mut reader = Reader::new(contents);
    let backup = BackupRecord { taken_ms: reader.u64()?, sequence: reader.u64()? };
    reader.is_empty().then_some(backup)
}

fn read_salvaged(contents: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(contents);
    let sequence = reader.u64()?;
    reader.is_empty().then_some(sequence)
}

impl Manifest {
    /// The manifest of a database in which nothing has happened.
    pub(crate) fn new(database_id: [u8; 16], hash_seed: u64, created_ms: u64) -> Manifest {
        Manifest {
            generation: 1,
            database_id,
            hash_seed,
            created_ms,
            next_table_id: 1,
            segment_id_ceiling: 1,
            sequence_ceiling: 0,
            tables: Vec::new(),
            segments: Vec::new(),
            checkpoints: Vec::new(),
            backup: None,
            salvaged_sequence: None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEAD_BYTES];
        let mut section = Vec::new();
        section.extend_from_slice(&self.generation.to_le_bytes());
        section.extend_from_slice(&self.database_id);
        section.extend_from_slice(&self.hash_seed.to_le_bytes());
        section.extend_from_slice(&self.created_ms.to_le_bytes());
        section.extend_from_slice(&self.next_table_id.to_le_bytes());
        section.extend_from_slice(&self.segment_id_ceiling.to_le_bytes());
        section.extend_from_slice(&self.sequence_ceiling.to_le_bytes());
        put_section(&mut out, 1, &section);

        section.clear();
        for table in &self.tables {
            let mut bytes = Vec::new();
            encode_table(table, &mut bytes);
            section.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            section.extend_from_slice(&bytes);
        }
        put_section(&mut out, 2, &section);

        section.clear();
        for segment in &self.segments {
            section.extend_from_slice(&segment.id.to_le_bytes());
            section.extend_from_slice(&segment.ordinal.to_le_bytes());
            section.extend_from_slice(&[segment.kind, 0]);
            section.extend_from_slice(&segment.lane.to_le_bytes());
            section.extend_from_slice(&segment.table.to_le_bytes());
            for field in [segment.length, segment.records, segment.sequence_min, segment.sequence_max] {
                section.extend_from_slice(&field.to_le_bytes());
            }
        }
        put_section(&mut out, 3, &section);

        section.clear();
        for checkpoint in &self.checkpoints {
            let fields = [
                checkpoint.generation,
                checkpoint.log_segment,
                checkpoint.log_offset,
                checkpoint.sequence,
                checkpoint.fuzzy_end,
                checkpoint.bytes,
            ];
            fields.iter().for_each(|field| section.extend_from_slice(&field.to_le_bytes()));
            section.extend_from_slice(&checkpoint.checksum.to_le_bytes());
        }
        put_section(&mut out, 4, &section);

        if let Some(BackupRecord { taken_ms, sequence }) = self.backup {
            section.clear();
            section.extend_from_slice(&taken_ms.to_le_bytes());
            section.extend_from_slice(&sequence.to_le_bytes());
            put_skippable_section(&mut out, 5, &section);
        }
        if let Some(sequence) = self.salvaged_sequence {
            put_skippable_section(&mut out, 6, &sequence.to_le_bytes());
        }

        let length = out.len() as u64 + 4;
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&MANIFEST_FORMAT.to_le_bytes());
        out[16..24].copy_from_slice(&length.to_le_bytes());
        let head = head_checksum(&out);
        out[12..16].copy_from_slice(&head.to_le_bytes());
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, FormatError> {
        let damaged = |offset: usize, detail: &str| FormatError::damaged(offset, detail);
        if bytes.len() < HEAD_BYTES + 4 {
            return Err(damaged(bytes.len(), "the manifest is cut short"));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged(0, "not a manifest: the magic bytes are missing"));
        }
        let mut head = Reader::new(&bytes[8..HEAD_BYTES]);
        let (Some(version), Some(checksum), Some(length)) = (head.u32(), head.u32(), head.u64()) else {
            return Err(damaged(8, "the manifest is cut short"));
        };
        // Before the version is believed: a flipped bit in it must not be taken for a newer release.
        if head_checksum(bytes) != checksum {
            return Err(damaged(8, "the checksum of the manifest's head does not match"));
        }
        if !(1..=MANIFEST_FORMAT).contains(&version) {
            return Err(FormatError::Newer { found: version, supported: MANIFEST_FORMAT });
        }
        if length != bytes.len() as u64 {
            return Err(damaged(16, "the manifest does not have the length that it states"));
        }
        let (body, sum) = bytes.split_at(bytes.len() - 4);
        if crc32fast::hash(body).to_le_bytes() != sum {
            return Err(damaged(bytes.len() - 4, "the manifest's checksum does not match"));
        }
        let mut manifest = Manifest::new([0; 16], 0, 0);
        manifest.generation = 0;
        read_sections(&body[HEAD_BYTES..], HEAD_BYTES, |kind, contents| {
            let known = match kind {
                1 => manifest.read_database(contents),
                2 => manifest.read_tables(contents),
                3 => manifest.read_segments(contents),
                4 => manifest.read_checkpoints(contents),
                5 => read_backup(contents).map(|backup| manifest.backup = Some(backup)),
                6 => read_salvaged(contents).map(|sequence| manifest.salvaged_sequence = Some(sequence)),
                _ => return Some(UNKNOWN),
            };
            known.map(|()| KNOWN)
        })?;
        if !manifest.is_sound() {
            return Err(damaged(HEAD_BYTES, "the manifest contradicts itself"));
        }
        Ok(manifest)
    }

    fn read_database(&mut self, contents: &[u8]) -> Option<()> {
        let mut reader = Reader::new(contents);
        self.generation = reader.u64()?;
        self.database_id = reader.id128()?;
        self.hash_seed = reader.u64()?;
        self.created_ms = reader.u64()?;
        self.next_table_id = reader.u32()?;
        self.segment_id_ceiling = reader.u64()?;
        self.sequence_ceiling = reader.u64()?;
        reader.is_empty().then_some(())
    }

    fn read_tables(&mut self, contents: &[u8]) -> Option<()> {
        let mut reader = Reader::new(contents);
        while !reader.is_empty() {
            let length = reader.u32()? as usize;
            self.tables.push(decode_table(reader.bytes(length)?)?);
        }
        Some(())
    }

    fn read_segments(&mut self, contents: &[u8]) -> Option<()> {
        let mut reader = Reader::new(contents);
        while !reader.is_empty() {
            let (id, ordinal, kind) = (reader.u64()?, reader.u16()?, reader.u8()?);
            reader.u8()?;
            self.segments.push(SegmentRecord {
                id,
                ordinal,
                kind: (1..=2).contains(&kind).then_some(kind)?,
                lane: reader.u16()?,
                table: reader.u32()?,
                length: reader.u64()?,
                records: reader.u64()?,
                sequence_min: reader.u64()?,
                sequence_max: reader.u64()?,
            });
        }
        Some(())
    }

    fn read_checkpoints(&mut self, contents: &[u8]) -> Option<()> {
        let mut reader = Reader::new(contents);
        while !reader.is_empty() {
            self.checkpoints.push(CheckpointRecord {
                generation: reader.u64()?,
                log_segment: reader.u64()?,
                log_offset: reader.u64()?,
                sequence: reader.u64()?,
                fuzzy_end: reader.u64()?,
                bytes: reader.u64()?,
                checksum: reader.u32()?,
            });
        }
        Some(())
    }

    /// What no sound writer leaves: missing parts, ids twice.
    fn is_sound(&self) -> bool {
        fn distinct<T: std::hash::Hash + Eq>(items: impl Iterator<Item = T>) -> bool {
            let mut seen = HashSet::new();
            items.into_iter().all(|item| seen.insert(item))
        }
        self.generation > 0
            && distinct(self.tables.iter().map(|table| table.id))
            && distinct(self.tables.iter().map(|table| &table.name))
            && distinct(self.segments.iter().map(|segment| segment.id))
            && distinct(self.segments.iter().map(|segment| segment.ordinal))
            && self.tables.iter().all(|table| table.id < self.next_table_id)
            && self.segments.iter().all(|segment| segment.id < self.segment_id_ceiling)
    }
}

/// Of magic, version and length.
fn head_checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..12).unwrap_or(&[]));
    hasher.update(bytes.get(16..HEAD_BYTES).unwrap_or(&[]));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let service = |kind: &str| (kind.to_string(), "some".to_string(), 3);
        Manifest {
            generation: 9,
            next_table_id: 12,
            segment_id_ceiling: 300,
            sequence_ceiling: 1 << 41,
            tables: vec![
                TableRecord {
                    id: 1,
                    name: "users".into(),
                    partitions: 16,
                    auto_partitions: false,
                    durability: 1,
                    ordered: false,
                    retention: 1,
                    retention_ms: None,
                    ttl_ms: Some(1 << 40),
                    services: vec![service("hasher"), service("sharder")],
                },
                TableRecord {
                    id: 11,
                    name: "ü".into(),
                    partitions: 16_384,
                    auto_partitions: true,
                    durability: 0,
                    ordered: true,
                    retention: 4,
                    retention_ms: Some(60_000),
                    ttl_ms: None,
                    services: vec![],
                },
            ],
            segments: vec![SegmentRecord {
                id: 7,
                ordinal: 3,
                kind: 2,
                lane: 0,
                table: 11,
                length: 4096,
                records: 40,
                sequence_min: 5,
                sequence_max: 500,
            }],
            checkpoints: vec![CheckpointRecord {
                generation: 2,
                log_segment: 8,
                log_offset: 128,
                sequence: 499,
                fuzzy_end: 501,
                bytes: 70,
                checksum: 0x1234_5678,
            }],
            backup: Some(BackupRecord { taken_ms: 1 << 40, sequence: 6 }),
            salvaged_sequence: Some(5),
            ..Manifest::new(*b"an id of 16 byte", 42, 1_700_000_000_000)
        }
    }

    #[test]
    fn it_round_trips() {
        for manifest in [sample(), Manifest::new([1; 16], 2, 3)] {
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::decode(&flipped), Err(FormatError::Damaged { .. })), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = sample().encode();
        bytes[8] = 7;
        let sum = head_checksum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(
            Manifest::decode(&bytes),
            Err(FormatError::Newer { found: 7, supported: MANIFEST_FORMAT })
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let mut twice = sample();
        twice.segments.push(twice.segments[0].clone());
        let mut name = sample();
        name.tables[1].name = name.tables[0].name.clone();
        let mut none = sample();
        none.tables[0].partitions = 0;
        for manifest in [twice, name, none] {
            assert!(matches!(Manifest::decode(&manifest.encode()), Err(FormatError::Damaged { .. })));
        }
    }
}
