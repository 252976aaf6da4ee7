//! The binary dump: a header, the definitions of tables, their records, and an end mark with their number. Written and
//! read from front to back; `docs/transfer.md` has the same tables.
//!
//! Little-endian. The header:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `AtomKVDP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | CRC-32 of the header's other 44 bytes |
//! | 16 | 16 | database id |
//! | 32 | 8 | sequence of the snapshot |
//! | 40 | 8 | its time in ms |
//!
//! Frames follow, up to the one of the end:
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | length of the contents, at most 2 MiB |
//! | 4 | CRC-32 of the header's checksum (4), the offset of the frame in the dump (8), length (4), kind (1), contents |
//! | 1 | kind |
//! | length | contents |
//!
//! | kind | contents |
//! | --- | --- |
//! | 1 table | a table definition as in the manifest; its id stands for the table in this dump |
//! | 2 record | flags 1, table LEB128, as the flags say: expiry in ms LEB128 (bit 0), version and sequence LEB128 (bit 1); length of the key LEB128, key; the rest is the value |
//! | 3 large record | flags, table, expiry, version and sequence as in a record; length of the key, key; length of the value LEB128 |
//! | 4 piece | the next bytes of the large record's value, at least one |
//! | 5 end | number of records 8, `AtomKVDE` 8 |
//!
//! All tables come before the first record. Pieces follow their large record until its value is whole.

use std::borrow::Cow;
use std::collections::HashSet;

use super::field::{IncomingExpiry, Outgoing};
use super::input::{Fault, Input, Next, broken, malformed};
use crate::format::manifest::{TableRecord, decode_table, encode_table};
use crate::format::wire::{Reader, put_varint};

const MAGIC: &[u8; 8] = b"AtomKVDP";
const END_MAGIC: &[u8; 8] = b"AtomKVDE";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 48;
const FRAME_HEAD_BYTES: usize = 9;
const CONTENTS_BYTES_MAX: u32 = 2 << 20;
/// Larger values go in pieces of this size.
pub(super) const PIECE_BYTES: usize = 1 << 20;

const TABLE: u8 = 1;
const RECORD: u8 = 2;
const LARGE: u8 = 3;
const PIECE: u8 = 4;
const END: u8 = 5;

const DAMAGED: &str = "it is damaged: its checksum does not match";

const HAS_EXPIRY: u8 = 1;
const HAS_VERSION: u8 = 2;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) database_id: [u8; 16],
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
}

impl Head {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.database_id);
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..].copy_from_slice(&self.time_ms.to_le_bytes());
        let checksum = head_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

fn head_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

/// Of a frame at an offset of the dump with this checksum in its header.
fn frame_checksum(salt: u32, offset: u64, length: u32, kind: u8, contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(contents);
    hasher.finalize()
}

/// Writes a dump into memory, from where it goes on.
pub(super) struct DumpWriter {
    salt: u32,
    /// Of the end of what was written.
    offset: u64,
    versions: bool,
    expiry: bool,
}

impl DumpWriter {
    /// Appends the header.
    pub(super) fn begin(head: &Head, versions: bool, expiry: bool, out: &mut Vec<u8>) -> DumpWriter {
        let bytes = head.encode();
        out.extend_from_slice(&bytes);
        DumpWriter { salt: head_checksum(&bytes), offset: HEADER_BYTES as u64, versions, expiry }
    }

    fn frame(&mut self, kind: u8, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
        fill(out);
        let contents = &out[start + FRAME_HEAD_BYTES..];
        let length = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        assert!(length <= CONTENTS_BYTES_MAX, "a frame larger than a reader takes");
        let checksum = frame_checksum(self.salt, self.offset, length, kind, contents);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
        out[start + 8] = kind;
        self.offset += (out.len() - start) as u64;
    }

    pub(super) fn table(&mut self, table: &TableRecord, out: &mut Vec<u8>) {
        self.frame(TABLE, out, |out| encode_table(table, out));
    }

    /// A record of at most [`PIECE_BYTES`], or what comes before the pieces of a larger one, whose length is given.
    pub(super) fn record(&mut self, table: u32, record: Outgoing<'_>, large: Option<u64>, out: &mut Vec<u8>) {
        let expiry = record.expires_at_ms.filter(|_| self.expiry);
        let has_version = self.versions;
        self.frame(if large.is_some() { LARGE } else { RECORD }, out, |out| {
            let flag = |flag: u8, yes: bool| if yes { flag } else { 0 };
            out.push(flag(HAS_EXPIRY, expiry.is_some()) | flag(HAS_VERSION, has_version));
            put_varint(out, u64::from(table));
            expiry.into_iter().for_each(|expiry| put_varint(out, expiry));
            if has_version {
                put_varint(out, record.version);
                put_varint(out, record.sequence);
            }
            put_varint(out, record.key.len() as u64);
            out.extend_from_slice(record.key);
            match large {
                Some(length) => put_varint(out, length),
                None => out.extend_from_slice(record.value.unwrap_or_default()),
            }
        });
    }

    pub(super) fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.frame(PIECE, out, |out| out.extend_from_slice(piece));
    }

    pub(super) fn end(&mut self, records: u64, out: &mut Vec<u8>) {
        self.frame(END, out, |out| {
            out.extend_from_slice(&records.to_le_bytes());
            out.extend_from_slice(END_MAGIC);
        });
    }
}

/// What a dump has next.
pub(super) enum Dumped<'a> {
    Record {
        table: u32,
        key: Cow<'a, [u8]>,
        value: Cow<'a, [u8]>,
        expiry: IncomingExpiry,
    },
    /// [`DumpReader::piece`] has its value.
    Large {
        table: u32,
        key: Vec<u8>,
        length: u64,
        expiry: IncomingExpiry,
    },
}

/// The tables of a dump, which are bounded: each partition takes memory, before a record is there, of a database that
/// loads them.
#[derive(Default)]
pub(super) struct Definitions {
    tables: u64,
    partitions: u64,
    bytes: u64,
}

const TABLES_MAX: u64 = 16_384;
const TABLES_PARTITIONS_MAX: u64 = 1 << 20;
const TABLES_BYTES_MAX: u64 = 16 << 20;

impl Definitions {
    /// Another one, whose definition has so many bytes; `Err` if it is one too many.
    pub(super) fn add(&mut self, table: &TableRecord, bytes: usize) -> Result<(), String> {
        self.tables += 1;
        self.partitions += u64::from(table.partitions);
        self.bytes += bytes as u64;
        let is_bounded = self.tables <= TABLES_MAX
            && self.partitions <= TABLES_PARTITIONS_MAX
            && self.bytes <= TABLES_BYTES_MAX;
        is_bounded.then_some(()).ok_or_else(|| {
            format!(
                "a dump has at most {TABLES_MAX} tables with {TABLES_PARTITIONS_MAX} partitions, and \
                 {TABLES_BYTES_MAX} bytes of definitions; dump the tables in several parts"
            )
        })
    }
}

/// Reads a dump.
pub(super) struct DumpReader {
    salt: u32,
    pub(super) tables: Vec<TableRecord>,
    definitions: Definitions,
    /// Theirs, to find what is there twice.
    ids: HashSet<u32>,
    names: HashSet<String>,
    kind: u8,
    contents: Vec<u8>,
    /// A frame that was read and not asked for yet: whether it is sound.
    ahead: Option<bool>,
    /// Where the frame begins that was read last.
    frame_at: u64,
    /// What is missing of the large record.
    missing: u64,
    /// Whether a frame was damaged: pieces may have lost what they belong to, and the number of records is not known.
    is_damaged: bool,
    is_at_end: bool,
}

impl DumpReader {
    /// Reads the header and the tables, and stands before the first record then.
    pub(super) fn new(input: &mut Input<'_>) -> std::result::Result<DumpReader, Fault> {
        let mut bytes = [0; HEADER_BYTES];
        let length = input.read(&mut bytes)?;
        if bytes[..8] != *MAGIC {
            return broken("it is no dump of AtomKV");
        }
        if length < HEADER_BYTES {
            return broken("the dump is cut short in its header");
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let salt = head_checksum(&bytes);
        if u32_at(12) != salt {
            return broken("the checksum of the dump's header does not match");
        }
        if u32_at(8) != FORMAT {
            let version = u32_at(8);
            return broken(format!(
                "the dump has format version {version}, this release reads {FORMAT}; use a newer AtomKV"
            ));
        }
        let mut reader = DumpReader {
            salt,
            tables: Vec::new(),
            definitions: Definitions::default(),
            ids: HashSet::new(),
            names: HashSet::new(),
            kind: 0,
            contents: Vec::new(),
            ahead: None,
            frame_at: 0,
            missing: 0,
            is_damaged: false,
            is_at_end: false,
        };
        loop {
            input.begin_record();
            match reader.read_frame(input) {
                Ok(()) if reader.kind == TABLE => reader.add_table()?,
                Ok(()) => {
                    reader.ahead = Some(true);
                    return Ok(reader);
                }
                Err(Fault::Malformed(reason)) if reader.kind == TABLE => return Err(Fault::Broken(reason)),
                // The first record may be skipped.
                Err(Fault::Malformed(_)) => {
                    reader.ahead = Some(false);
                    return Ok(reader);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn add_table(&mut self) -> std::result::Result<(), Fault> {
        let Some(table) = decode_table(&self.contents) else {
            return broken("the definition of a table makes no sense");
        };
        let is_new = self.ids.insert(table.id) && self.names.insert(table.name.clone());
        if !is_new {
            return broken(format!("the table {:?} is there twice", table.name));
        }
        self.definitions.add(&table, self.contents.len()).map_err(Fault::Broken)?;
        self.tables.push(table);
        Ok(())
    }

    /// What was read ahead does not count: the input goes on elsewhere.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead = None;
    }

    /// Where the next record begins.
    pub(super) fn boundary(&self, input: &Input<'_>) -> u64 {
        if self.ahead.is_some() { self.frame_at } else { input.offset() }
    }

    /// The pieces that follow belong to nothing.
    pub(super) fn abandon(&mut self) {
        self.missing = 0;
        self.is_damaged = true;
    }

    /// Reads a frame and verifies it.
    fn read_frame(&mut self, input: &mut Input<'_>) -> std::result::Result<(), Fault> {
        let offset = input.offset();
        self.frame_at = offset;
        let mut head = [0; FRAME_HEAD_BYTES];
        match input.read(&mut head)? {
            FRAME_HEAD_BYTES => {}
            0 => return broken("the dump has no end mark: it is cut short"),
            _ => return broken("the dump is cut short in the middle of a record"),
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        self.kind = head[8];
        if length > CONTENTS_BYTES_MAX {
            return broken(
                "it is damaged: its length is out of range, and nobody can tell where the next one begins",
            );
        }
        if !input.read_exact(&mut self.contents, u64::from(length))? {
            return broken("the dump is cut short in the middle of a record");
        }
        if frame_checksum(self.salt, offset, length, self.kind, &self.contents) != checksum {
            self.is_damaged = true;
            return malformed(DAMAGED);
        }
        Ok(())
    }

    /// The next record; `None` behind the end mark. `records` came before.
    pub(super) fn next(&mut self, input: &mut Input<'_>, records: u64) -> Next<Dumped<'_>> {
        loop {
            if self.is_at_end {
                return Ok(None);
            }
            self.missing = 0;
            match self.ahead.take() {
                Some(is_sound) => {
                    input.begin_record_at(self.frame_at);
                    if !is_sound {
                        return malformed(DAMAGED);
                    }
                }
                None => {
                    input.begin_record();
                    self.read_frame(input)?;
                }
            }
            match self.kind {
                PIECE if self.is_damaged => {}
                RECORD | LARGE => break,
                END => return self.end(records),
                PIECE => return malformed("a piece of a value without its record"),
                TABLE => return malformed("the definition of a table behind the first record"),
                kind => {
                    return malformed(format!(
                        "a frame of an unknown kind, {kind}; a newer release may have written it"
                    ));
                }
            }
        }
        self.decode()
    }

    fn end(&mut self, records: u64) -> Next<Dumped<'_>> {
        let mut reader = Reader::new(&self.contents);
        let (count, magic) = (reader.u64(), reader.bytes(END_MAGIC.len()));
        if magic != Some(END_MAGIC) || !reader.is_empty() {
            return broken("the end mark makes no sense");
        }
        if count != Some(records) && !self.is_damaged {
            let count = count.unwrap_or_default();
            return broken(format!("the end mark counts {count} records, {records} were read"));
        }
        self.is_at_end = true;
        Ok(None)
    }

    fn decode(&mut self) -> Next<Dumped<'_>> {
        let is_large = self.kind == LARGE;
        let mut reader = Reader::new(&self.contents);
        let mut parse = || {
            let flags = reader.u8().filter(|flags| flags & !(HAS_EXPIRY | HAS_VERSION) == 0)?;
            let table = u32::try_from(reader.varint()?).ok()?;
            let expiry = match flags & HAS_EXPIRY {
                0 => IncomingExpiry::Never,
                _ => IncomingExpiry::AtMs(reader.varint()?),
            };
            if flags & HAS_VERSION != 0 {
                reader.varint()?;
                reader.varint()?;
            }
            let length = usize::try_from(reader.varint()?).ok()?;
            let key = reader.bytes(length)?;
            if !is_large {
                return Some(Dumped::Record {
                    table,
                    key: Cow::Borrowed(key),
                    value: Cow::Borrowed(reader.rest()),
                    expiry,
                });
            }
            let length = reader.varint()?;
            reader.is_empty().then(|| Dumped::Large { table, key: key.to_vec(), length, expiry })
        };
        match parse() {
            Some(dumped) => {
                if let Dumped::Large { length, .. } = &dumped {
                    self.missing = *length;
                }
                Ok(Some(dumped))
            }
            None => malformed("its parts make no sense"),
        }
    }

    /// The next piece of the large record; `None` when there was the last.
    pub(super) fn piece(&mut self, input: &mut Input<'_>) -> Next<&[u8]> {
        if self.missing == 0 {
            return Ok(None);
        }
        self.read_frame(input)?;
        let length = self.contents.len() as u64;
        if self.kind != PIECE {
            let missing = self.missing;
            self.abandon();
            self.ahead = Some(true);
            return malformed(format!("{missing} bytes of its value are missing"));
        }
        if length == 0 || length > self.missing {
            self.abandon();
            return malformed("its value has another length than it says");
        }
        self.missing -= length;
        Ok(Some(&self.contents))
    }
}

/// That of the only table, or of one with this name.
pub(super) fn table_for(tables: &[TableRecord], name: &str) -> Result<u32, String> {
    match tables {
        [] => Err("the dump has no table".to_string()),
        [only] => Ok(only.id),
        _ => tables.iter().find(|table| table.name == name).map(|table| table.id).ok_or_else(|| {
            format!(
                "the dump has {} tables, none of them named {name:?}; load it into a database",
                tables.len()
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The lines of a hex dump, as in the documentation.
    fn hex(bytes: &[u8]) -> String {
        let mut out = String::new();
        for (number, line) in bytes.chunks(16).enumerate() {
            let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let plain = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
            let text: String = line.iter().map(plain).collect();
            writeln!(out, "{:06x}  {:<47}  {text}", number * 16, digits.join(" ")).expect("written");
        }
        out
    }

    #[test]
    fn the_documented_example_is_right() {
        let head = Head {
            database_id: std::array::from_fn(|at| at as u8 + 1),
            sequence: 2,
            time_ms: 1_700_000_000_000,
        };
        let table = TableRecord { partitions: 16, ..table(1, "users") };
        let mut out = Vec::new();
        let mut dump = DumpWriter::begin(&head, true, true, &mut out);
        dump.table(&table, &mut out);
        let record = Outgoing {
            key: b"ada",
            value: Some(b"countess"),
            version: 1,
            sequence: 2,
            expires_at_ms: Some(1_700_003_600_000),
        };
        dump.record(1, record, None, &mut out);
        dump.end(1, &mut out);
        let documented = include_str!("../../../docs/transfer.md");
        assert!(documented.contains(&hex(&out)), "not in docs/transfer.md:\n{}", hex(&out));
    }

    fn table(id: u32, name: &str) -> TableRecord {
        TableRecord {
            id,
            name: name.to_string(),
            partitions: 1,
            auto_partitions: false,
            durability: 0,
            ordered: false,
            retention: 1,
            retention_ms: None,
            ttl_ms: None,
            services: Vec::new(),
        }
    }

    #[test]
    fn more_tables_than_memory_is_for_are_refused() {
        let head = Head { database_id: [7; 16], sequence: 1, time_ms: 1 };
        let dump = |tables: u32, partitions: u32, service_bytes: usize| {
            let mut out = Vec::new();
            let mut dump = DumpWriter::begin(&head, false, true, &mut out);
            for id in 0..tables {
                let services = vec![("kind".to_string(), "s".repeat(service_bytes), 1)];
                let table = TableRecord { partitions, services, ..table(id, &format!("t{id}")) };
                dump.table(&table, &mut out);
            }
            dump.end(0, &mut out);
            read_all(&out)
        };
        assert_eq!([dump(64, 16_384, 1), dump(16_384, 64, 1), dump(255, 1, 65_000)], [Ok(0), Ok(0), Ok(0)]);
        for (tables, partitions, service_bytes) in [(65, 16_384, 1), (16_385, 1, 1), (260, 1, 65_000)] {
            let reason = dump(tables, partitions, service_bytes).expect_err("too many");
            assert!(reason.contains("dump the tables in several parts"), "{reason}");
        }
    }

    /// Reads a dump to its end or to what is wrong with it.
    fn read_all(bytes: &[u8]) -> Result<u64, String> {
        let reason = |fault: Fault| match fault {
            Fault::Malformed(reason) | Fault::Broken(reason) => reason,
            Fault::Failed(error) => error.to_string(),
        };
        let mut bytes = bytes;
        let mut input = Input::new(&mut bytes);
        let mut reader = DumpReader::new(&mut input).map_err(reason)?;
        let mut records = 0;
        while reader.next(&mut input, records).map_err(reason)?.is_some() {
            records += 1;
            while reader.piece(&mut input).map_err(reason)?.is_some() {}
        }
        Ok(records)
    }

    /// Checksums are no protection from who means harm.
    #[test]
    fn sound_frames_that_make_no_sense_are_named() {
        let head = Head { database_id: [7; 16], sequence: 1, time_ms: 1 };
        let mut definition = Vec::new();
        encode_table(&table(1, "t"), &mut definition);
        let mut other = Vec::new();
        encode_table(&table(1, "other"), &mut other);
        let end = |records: u64, magic: &[u8]| [&records.to_le_bytes()[..], magic].concat();
        let large = |length: u64| {
            let mut contents = vec![0, 1, 1, b'k'];
            put_varint(&mut contents, length);
            contents
        };
        let sound: (u8, Vec<u8>) = (RECORD, vec![0, 1, 1, b'k', b'v']);
        let cases: Vec<(Vec<(u8, Vec<u8>)>, &str)> = vec![
            (vec![(TABLE, vec![1, 2, 3])], "makes no sense"),
            (vec![(TABLE, other.clone())], "is there twice"),
            (vec![sound.clone(), (TABLE, other)], "behind the first record"),
            (vec![(RECORD, vec![])], "make no sense"),
            (vec![(RECORD, vec![0x80, 1, 1, b'k'])], "make no sense"),
            (vec![(RECORD, vec![0, 1, 200, 1, b'k'])], "make no sense"),
            (vec![(RECORD, vec![1, 1, 0xff, 0xff])], "make no sense"),
            (vec![(RECORD, [&[0, 1][..], &[0xff; 9], &[1, b'k']].concat())], "make no sense"),
            (vec![(RECORD, [&[0][..], &[0xff; 5], &[1, 1, b'k']].concat())], "make no sense"),
            (vec![(LARGE, [&large(5)[..], b"x"].concat())], "make no sense"),
            (vec![(LARGE, large(5)), (PIECE, vec![0; 6])], "another length"),
            (vec![(LARGE, large(5)), (PIECE, vec![])], "another length"),
            (vec![(LARGE, large(5)), (PIECE, vec![0; 3]), sound.clone()], "2 bytes of its value are missing"),
            (vec![(LARGE, large(u64::MAX)), (PIECE, vec![0; 3])], "no end mark"),
            (vec![(PIECE, vec![0; 3])], "without its record"),
            (vec![(LARGE, large(1)), (PIECE, vec![0]), (PIECE, vec![0])], "without its record"),
            (vec![(9, vec![])], "unknown kind, 9"),
            (vec![(0, vec![])], "unknown kind, 0"),
            (vec![(END, vec![])], "end mark makes no sense"),
            (vec![(END, end(0, b"AtomKVDX"))], "end mark makes no sense"),
            (vec![(END, [&end(0, END_MAGIC)[..], b"x"].concat())], "end mark makes no sense"),
            (vec![sound.clone(), (END, end(2, END_MAGIC))], "counts 2 records, 1 were read"),
        ];
        let write = |frames: &[(u8, Vec<u8>)]| {
            let mut out = Vec::new();
            let mut dump = DumpWriter::begin(&head, false, true, &mut out);
            for (kind, contents) in [(TABLE, definition.clone())].iter().chain(frames) {
                dump.frame(*kind, &mut out, |out| out.extend_from_slice(contents));
            }
            out
        };
        for (frames, expected) in &cases {
            let reason = read_all(&write(frames)).expect_err(expected);
            assert!(reason.contains(expected), "{reason:?} instead of {expected:?}");
        }
        let pieces = [(LARGE, large(5)), (PIECE, vec![0; 3]), (PIECE, vec![0; 2])];
        let whole = [&pieces[..], &[sound, (LARGE, large(0)), (END, end(3, END_MAGIC))]].concat();
        assert_eq!(read_all(&write(&whole)), Ok(3));
        let mut newer = write(&whole);
        newer[8] = 2;
        let mut bytes = [0; HEADER_BYTES];
        bytes.copy_from_slice(&newer[..HEADER_BYTES]);
        newer[12..16].copy_from_slice(&head_checksum(&bytes).to_le_bytes());
        let reason = read_all(&newer).expect_err("newer");
        assert!(reason.contains("format version 2") && reason.contains("use a newer AtomKV"), "{reason}");
    }
}
