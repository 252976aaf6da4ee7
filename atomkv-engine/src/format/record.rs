//! The record: the one binary unit of every segment.
//!
//! Little-endian. A record begins at a multiple of 8 bytes and is padded with zeros to the next.
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | checksum: CRC-32C of the key, continued over the value; then XOR the record's salt; then continued over the header from byte 4 to its end; each of the three padded with zeros to a multiple of 8 bytes |
//! | 3 | flags, see below |
//! | 1, 2 | key length |
//! | 1 to 4 | value length, as stored |
//! | 0, 1, 2, 4 | table id; absent in a segment of one table |
//! | 2, 3, 4, 8 | sequence, less the segment's base sequence |
//! | 2, 3, 4, 6 | time in milliseconds, less the segment's base time |
//! | 1 to 10 | version as LEB128; absent when 1 |
//! | 1 to 10 | expiry in milliseconds since the epoch as LEB128; absent without one |
//! | 8 | hint: the replaced record's address (41 bits), whether it refers to an extent (1 bit), its length in units of 8 bytes (22 bits, saturating); absent when nothing was replaced |
//! | 8 | place of the key; absent in tables whose hasher and sharder every release knows |
//! | key length | key |
//! | value length | value |
//!
//! | flag bits | meaning |
//! | --- | --- |
//! | 0 to 3 | kind, [`Kind`]; 0 is invalid, so that zeros are no record |
//! | 4 | last record of its commit |
//! | 5 | the key was absent before |
//! | 6, 7, 8 | version, hint, expiry present |
//! | 9 to 11 | codec of the value |
//! | 12 | width of the key length: 1, 2 bytes |
//! | 13, 14 | width of the value length: 1, 2, 3, 4 bytes |
//! | 15, 16 | width of the table id: 0, 1, 2, 4 bytes |
//! | 17, 18 | width of the sequence: 2, 3, 4, 8 bytes |
//! | 19, 20 | width of the time: 2, 3, 4, 6 bytes |
//! | 21 | a reader that does not know the kind may skip the record |
//! | 22 | place present |
//! | 23 | reserved, 0 |
//!
//! Decoding never panics and never reads outside the bytes it is given.

use super::checksum::Sum;
use crate::types::{Address, KEY_BYTES_MAX, STREAM_BYTES_MAX, VALUE_BYTES_MAX};

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A key and its value.
    Document = 1,
    /// A deleted key; no value.
    Tombstone = 2,
    /// A part of a streamed document. Reserved.
    Chunk = 3,
    /// A key whose value is a file of its own: the stored value is an [`ExtentRef`].
    Extent = 4,
    /// "Everything before this place is on stable storage": the stored value is a [`SyncMark`].
    Mark = 5,
    /// "Sequences up to this one may have been handed out": the stored value is a `u64`.
    Lease = 6,
    /// A table was created or changed: the stored value is a table definition.
    TableChange = 7,
    /// The log goes on in another segment: the stored value is its id, a `u64`.
    Roll = 8,
}

impl Kind {
    pub(crate) fn from_u8(bits: u8) -> Option<Kind> {
        Some(match bits {
            1 => Kind::Document,
            2 => Kind::Tombstone,
            3 => Kind::Chunk,
            4 => Kind::Extent,
            5 => Kind::Mark,
            6 => Kind::Lease,
            7 => Kind::TableChange,
            8 => Kind::Roll,
            _ => return None,
        })
    }

    /// Whether a commit may begin with such a record and have the sequence of the one before it: a lease takes none of its
    /// own, nor does a resize, and a mark may come with them.
    pub(crate) fn may_take_no_sequence(self) -> bool {
        matches!(self, Kind::Lease | Kind::Mark | Kind::TableChange)
    }

    /// Whether the record stands for a key of a table.
    pub(crate) fn has_place(self) -> bool {
        matches!(self, Kind::Document | Kind::Tombstone | Kind::Chunk | Kind::Extent)
    }
}

const END_OF_COMMIT: u32 = 1 << 4;
const NEW_KEY: u32 = 1 << 5;
const HAS_VERSION: u32 = 1 << 6;
const HAS_HINT: u32 = 1 << 7;
const HAS_EXPIRY: u32 = 1 << 8;
const CODEC_SHIFT: u32 = 9;
const KEY_WIDTH_SHIFT: u32 = 12;
const VALUE_WIDTH_SHIFT: u32 = 13;
const TABLE_WIDTH_SHIFT: u32 = 15;
const SEQUENCE_WIDTH_SHIFT: u32 = 17;
const TIME_WIDTH_SHIFT: u32 = 19;
const SKIPPABLE: u32 = 1 << 21;
const HAS_PLACE: u32 = 1 << 22;
const RESERVED: u32 = 1 << 23;

const TABLE_WIDTHS: [usize; 4] = [0, 1, 2, 4];
const SEQUENCE_WIDTHS: [usize; 4] = [2, 3, 4, 8];
const TIME_WIDTHS: [usize; 4] = [2, 3, 4, 6];

/// The longest header is 67 bytes; rounded up.
pub(crate) const HEADER_BYTES_MAX: usize = 72;

/// What a segment lends its records: what their relative fields are relative to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    /// The table of a page segment; `None` in the log, where each record names its own.
    pub(crate) table: Option<u32>,
    /// Folded into each checksum, so that a record read from the wrong file does not pass.
    pub(crate) salt: u32,
    /// How the checksums are computed.
    pub(crate) sum: Sum,
}

impl Base {
    /// The base of the record at an offset: a record that has moved does not pass either.
    #[inline]
    pub(crate) fn at(&self, offset: u64) -> Base {
        Base { salt: self.salt ^ (offset / crate::types::RECORD_ALIGNMENT) as u32, ..*self }
    }
}

/// What a record replaced, as far as replay wants to know it. A hint: verified before use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hint {
    pub(crate) address: Address,
    pub(crate) extent: bool,
    /// The replaced record's length in bytes, a multiple of 8; saturates at 32 MiB.
    pub(crate) length: u64,
}

impl Hint {
    const LENGTH_MAX_UNITS: u64 = (1 << 22) - 1;

    fn encode(self) -> u64 {
        self.address.bits()
            | (u64::from(self.extent) << Address::BITS)
            | ((self.length / 8).min(Self::LENGTH_MAX_UNITS) << (Address::BITS + 1))
    }

    fn decode(bits: u64) -> Hint {
        Hint {
            address: Address::from_bits(bits),
            extent: bits >> Address::BITS & 1 == 1,
            length: (bits >> (Address::BITS + 1)) * 8,
        }
    }
}

/// A record's header, decoded, with its relative fields resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) end_of_commit: bool,
    pub(crate) new_key: bool,
    pub(crate) codec: u8,
    pub(crate) table: u32,
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) version: u64,
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) hint: Option<Hint>,
    /// The key's place, where it cannot be computed without the table's own services.
    pub(crate) place: Option<u64>,
}

/// The place of the parts in an encoded record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) header: usize,
    pub(crate) key: usize,
    pub(crate) value: usize,
}

impl Layout {
    /// What a record of this layout takes on the disk, with the large value that it refers to, in bytes.
    pub(crate) fn weight(self, kind: Kind, value: &[u8]) -> u64 {
        let extent = if kind == Kind::Extent { ExtentRef::decode(value) } else { None };
        self.padded().saturating_add(extent.map_or(0, |extent| extent.length))
    }

    /// Header, key and value, in bytes.
    pub(crate) fn exact(self) -> usize {
        self.header + self.key + self.value
    }

    /// The same, padded.
    pub(crate) fn padded(self) -> u64 {
        (self.exact() as u64).next_multiple_of(crate::types::RECORD_ALIGNMENT)
    }
}

/// A decoded record whose bytes are borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) header: Header,
    pub(crate) layout: Layout,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    bytes: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordError {
    /// All-zero start: nothing was written here.
    Empty,
    /// The bytes end before the record does.
    Short,
    /// A field makes no sense.
    Malformed(&'static str),
    /// The checksum does not match.
    Checksum,
}

impl RecordError {
    pub(crate) fn text(self) -> &'static str {
        match self {
            RecordError::Empty => "no record where one was expected",
            RecordError::Short => "the record runs past the end",
            RecordError::Malformed(what) => what,
            RecordError::Checksum => "the record's checksum does not match",
        }
    }
}

/// The checksum of key and value, taken before the sequence is known; for segments of the present format.
#[inline]
pub(crate) fn body_checksum(key: &[u8], value: &[u8]) -> u32 {
    let sum = Sum::Crc32c;
    sum.go_on(sum.go_on(0, key), value)
}

/// An encoded header in a buffer of its own.
pub(crate) struct EncodedHeader {
    bytes: [u8; HEADER_BYTES_MAX + 8],
    length: usize,
}

impl EncodedHeader {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Writes the low `width` bytes; the buffer has 8 bytes of slack behind the longest header.
    #[inline]
    fn push(&mut self, value: u64, width: usize) {
        self.bytes[self.length..self.length + 8].copy_from_slice(&value.to_le_bytes());
        self.length += width;
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value & 0x7f | 0x80, 1);
            value >>= 7;
        }
        self.push(value, 1);
    }
}

/// The narrowest width code that holds a value.
#[inline]
fn width_code(value: u64, widths: &[usize; 4]) -> u32 {
    let bits = 64 - value.leading_zeros() as usize;
    let mut code = 0;
    while widths[code] * 8 < bits {
        code += 1;
    }
    code as u32
}

/// Encodes a header for a body of these lengths and this checksum, in a segment of the present format.
///
/// The header's sequence and time must not lie below the base's; lengths are checked where documents enter.
pub(crate) fn encode_header(
    header: &Header,
    key: usize,
    value: usize,
    body: u32,
    base: &Base,
) -> EncodedHeader {
    debug_assert!(key <= KEY_BYTES_MAX && value <= VALUE_BYTES_MAX && base.sum == Sum::Crc32c);
    let sequence = header.sequence.checked_sub(base.sequence).expect("sequence below the segment's base");
    let time = header.time_ms.saturating_sub(base.time_ms).min((1 << 48) - 1);
    let key_code = u32::from(key > 0xff);
    let value_code = (u64::BITS - (value as u64 | 1).leading_zeros()).div_ceil(8) - 1;
    let table_code = match base.table {
        Some(_) => 0,
        None => width_code(u64::from(header.table), &TABLE_WIDTHS).max(1),
    };
    let sequence_code = width_code(sequence, &SEQUENCE_WIDTHS);
    let time_code = width_code(time, &TIME_WIDTHS);
    let mut flags = header.kind as u32
        | (u32::from(header.codec) << CODEC_SHIFT)
        | (key_code << KEY_WIDTH_SHIFT)
        | (value_code << VALUE_WIDTH_SHIFT)
        | (table_code << TABLE_WIDTH_SHIFT)
        | (sequence_code << SEQUENCE_WIDTH_SHIFT)
        | (time_code << TIME_WIDTH_SHIFT);
    let mut set = |bit: u32, yes: bool| flags |= if yes { bit } else { 0 };
    set(END_OF_COMMIT, header.end_of_commit);
    set(NEW_KEY, header.new_key);
    set(HAS_VERSION, header.version != 1);
    set(HAS_HINT, header.hint.is_some());
    set(HAS_EXPIRY, header.expiry_ms.is_some());
    set(HAS_PLACE, header.place.is_some());

    let mut out = EncodedHeader { bytes: [0; HEADER_BYTES_MAX + 8], length: 4 };
    out.push(u64::from(flags), 3);
    out.push(key as u64, 1 + key_code as usize);
    out.push(value as u64, 1 + value_code as usize);
    out.push(u64::from(header.table), TABLE_WIDTHS[table_code as usize]);
    out.push(sequence, SEQUENCE_WIDTHS[sequence_code as usize]);
    out.push(time, TIME_WIDTHS[time_code as usize]);
    if header.version != 1 {
        out.push_varint(header.version);
    }
    if let Some(expiry) = header.expiry_ms {
        out.push_varint(expiry);
    }
    if let Some(hint) = header.hint {
        out.push(hint.encode(), 8);
    }
    if let Some(place) = header.place {
        out.push(place, 8);
    }
    let checksum = base.sum.go_on(body ^ base.salt, &out.bytes[4..out.length]);
    out.bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    // What `push` wrote past the end is not part of the header: the padding of a record is zeros.
    let length = out.length;
    out.bytes[length..].fill(0);
    out
}

/// Reads fields of a few bytes from a header that was copied into a buffer with slack.
struct Fields<'a> {
    bytes: &'a [u8; HEADER_BYTES_MAX + 8],
    at: usize,
}

impl Fields<'_> {
    #[inline]
    fn take(&mut self, width: usize) -> u64 {
        let mut word = [0; 8];
        // `at` never exceeds HEADER_BYTES_MAX - 5, and the buffer is 8 bytes longer than that.
        word.copy_from_slice(&self.bytes[self.at..self.at + 8]);
        self.at += width;
        let value = u64::from_le_bytes(word);
        if width == 8 { value } else { value & ((1 << (width * 8)) - 1) }
    }

    fn take_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1);
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Decodes the header at the start of `bytes` without looking at the body; tells how long the record is.
///
/// The checksum is not verified: nothing here may be believed before [`Record::verify`] has agreed.
#[inline]
pub(crate) fn decode_header(bytes: &[u8], base: &Base) -> Result<(Header, Layout), RecordError> {
    const WINDOW: usize = HEADER_BYTES_MAX + 8;
    let copy;
    let window: &[u8; WINDOW] = match bytes.first_chunk() {
        Some(window) => window,
        None => {
            let mut short = [0; WINDOW];
            short[..bytes.len()].copy_from_slice(bytes);
            copy = short;
            &copy
        }
    };
    let mut fields = Fields { bytes: window, at: 4 };
    let flags = fields.take(3) as u32;
    if flags == 0 {
        return Err(RecordError::Empty);
    }
    let kind = match Kind::from_u8((flags & 15) as u8) {
        Some(kind) => kind,
        // No kind is skippable yet; a later release that adds one sets the flag, and a record of it
        // counts as a mark that says nothing.
        None if flags & SKIPPABLE != 0 && flags & 15 != 0 => Kind::Mark,
        None => return Err(RecordError::Malformed("unknown kind of record")),
    };
    if flags & RESERVED != 0 {
        return Err(RecordError::Malformed("reserved flags of a record are set"));
    }
    let code = |shift: u32| (flags >> shift & 3) as usize;
    let key = fields.take(1 + (flags >> KEY_WIDTH_SHIFT & 1) as usize) as usize;
    let value = fields.take(1 + code(VALUE_WIDTH_SHIFT)) as usize;
    if value > VALUE_BYTES_MAX {
        return Err(RecordError::Malformed("value length above the limit"));
    }
    let table_width = TABLE_WIDTHS[code(TABLE_WIDTH_SHIFT)];
    let table = fields.take(table_width) as u32;
    let table = match base.table {
        Some(table) if table_width == 0 => table,
        None if table_width > 0 => table,
        _ => {
            return Err(RecordError::Malformed("table id present or absent against the segment's kind"));
        }
    };
    let sequence = fields.take(SEQUENCE_WIDTHS[code(SEQUENCE_WIDTH_SHIFT)]);
    let time = fields.take(TIME_WIDTHS[code(TIME_WIDTH_SHIFT)]);
    let version = if flags & HAS_VERSION == 0 {
        1
    } else {
        fields.take_varint().ok_or(RecordError::Malformed("version is no number"))?
    };
    let expiry_ms = if flags & HAS_EXPIRY == 0 {
        None
    } else {
        Some(fields.take_varint().ok_or(RecordError::Malformed("expiry is no number"))?)
    };
    let hint = (flags & HAS_HINT != 0).then(|| Hint::decode(fields.take(8)));
    let place = (flags & HAS_PLACE != 0).then(|| fields.take(8));
    let header = Header {
        kind,
        end_of_commit: flags & END_OF_COMMIT != 0,
        new_key: flags & NEW_KEY != 0,
        codec: (flags >> CODEC_SHIFT & 7) as u8,
        table,
        sequence: base.sequence.checked_add(sequence).ok_or(RecordError::Malformed("sequence overflows"))?,
        time_ms: base.time_ms.saturating_add(time),
        version,
        expiry_ms,
        hint,
        place,
    };
    Ok((header, Layout { header: fields.at, key, value }))
}

impl<'a> Record<'a> {
    /// Decodes the record at the start of `bytes`; the checksum is not verified.
    #[inline]
    pub(crate) fn decode(bytes: &'a [u8], base: &Base) -> Result<Record<'a>, RecordError> {
        let (header, layout) = decode_header(bytes, base)?;
        Record::of(bytes, header, layout)
    }

    /// The record at the start of `bytes`, whose header was decoded.
    #[inline]
    pub(crate) fn of(bytes: &'a [u8], header: Header, layout: Layout) -> Result<Record<'a>, RecordError> {
        let bytes = bytes.get(..layout.exact()).ok_or(RecordError::Short)?;
        let (head, value) = bytes.split_at(layout.header + layout.key);
        Ok(Record { header, layout, key: &head[layout.header..], value, bytes })
    }

    /// What the record takes on the disk, with the large value that it refers to, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.layout.weight(self.header.kind, self.value)
    }

    /// Decodes and verifies.
    pub(crate) fn decode_verified(bytes: &'a [u8], base: &Base) -> Result<Record<'a>, RecordError> {
        let record = Record::decode(bytes, base)?;
        if record.verify(base) { Ok(record) } else { Err(RecordError::Checksum) }
    }

    /// Whether the checksum matches.
    #[inline]
    pub(crate) fn verify(&self, base: &Base) -> bool {
        verify(self.bytes, self.layout, base)
    }

    /// The body's checksum for a copy in the present format, if the record's own matches.
    pub(crate) fn verified_body(&self, base: &Base) -> Option<u32> {
        let body = body_checksum(self.key, self.value);
        let is_sound = match base.sum {
            Sum::Crc32c => {
                let sum = base.sum.go_on(body ^ base.salt, &self.bytes[4..self.layout.header]);
                self.bytes[..4] == sum.to_le_bytes()
            }
            Sum::Crc32 => self.verify(base),
        };
        is_sound.then_some(body)
    }
}

/// What a lookup needs of a record of a key, decoded with few instructions: the processor gets on to the next lookup
/// while the record is still on its way from memory. What is unusual or wrong is left to [`Record::decode`].
#[derive(Clone, Copy)]
pub(crate) struct Peek<'a> {
    flags: u32,
    pub(crate) table: u32,
    /// As far as one byte holds it; see [`Peek::of`].
    pub(crate) version: u64,
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) layout: Layout,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    bytes: &'a [u8],
}

/// The widths of a field by their codes, four bits each.
const fn packed(widths: [usize; 4]) -> u32 {
    (widths[0] | widths[1] << 4 | widths[2] << 8 | widths[3] << 12) as u32
}

impl<'a> Peek<'a> {
    /// The record at the start of `bytes` in a segment of this table, or of many. The checksum is not verified. `None`
    /// if the record is none of a key, or has a long version or an expiry, or ends with the bytes.
    #[inline(always)]
    pub(crate) fn of(bytes: &'a [u8], table: Option<u32>) -> Option<Peek<'a>> {
        const UNUSUAL: u32 = HAS_EXPIRY | RESERVED;
        let window: &[u8; HEADER_BYTES_MAX + 8] = bytes.first_chunk()?;
        let word = |at: usize| -> u64 {
            let mut word = [0; 8];
            // No caller goes beyond the longest header.
            word.copy_from_slice(&window[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let low = |word: u64, width: usize| word & (u64::MAX >> (64 - 8 * width));
        let flags = (word(0) >> 32) as u32 & 0xff_ffff;
        let width =
            |widths: [usize; 4], shift: u32| (packed(widths) >> ((flags >> shift & 3) * 4)) as usize & 15;
        let key_width = 1 + (flags >> KEY_WIDTH_SHIFT & 1) as usize;
        let value_width = 1 + (flags >> VALUE_WIDTH_SHIFT & 3) as usize;
        let table_width = width(TABLE_WIDTHS, TABLE_WIDTH_SHIFT);
        let lengths = word(7);
        let key = low(lengths, key_width) as usize;
        let value = low(lengths >> (8 * key_width), value_width) as usize;
        let mut at = 7 + key_width + value_width;
        let is_key = matches!(flags & 15, 1..=4) && flags & UNUSUAL == 0;
        if !is_key || value > VALUE_BYTES_MAX || table.is_none() != (table_width > 0) {
            return None;
        }
        let table = match table {
            Some(table) => table,
            None => low(word(at), table_width) as u32,
        };
        at +=
            table_width + width(SEQUENCE_WIDTHS, SEQUENCE_WIDTH_SHIFT) + width(TIME_WIDTHS, TIME_WIDTH_SHIFT);
        let mut version = 1;
        if flags & HAS_VERSION != 0 {
            version = u64::from(window[at]);
            if version >= 0x80 {
                return None;
            }
            at += 1;
        }
        at += 8 * (usize::from(flags & HAS_HINT != 0) + usize::from(flags & HAS_PLACE != 0));
        let layout = Layout { header: at, key, value };
        let bytes = bytes.get(..layout.exact())?;
        let (head, value) = bytes.split_at(at + key);
        Some(Peek { flags, table, version, expiry_ms: None, layout, key: &head[at..], value, bytes })
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_u8((self.flags & 15) as u8).unwrap_or(Kind::Mark)
    }

    #[inline]
    pub(crate) fn codec(&self) -> u8 {
        (self.flags >> CODEC_SHIFT & 7) as u8
    }

    /// Whether the checksum matches.
    #[inline]
    pub(crate) fn verify(&self, base: &Base) -> bool {
        verify(self.bytes, self.layout, base)
    }

    /// The commit that wrote it; `None` if that takes decoding all of the header.
    #[inline]
    pub(crate) fn sequence(&self, base: &Base) -> Option<u64> {
        let flags = u32::from_le_bytes(*self.bytes.get(4..)?.first_chunk()?) & 0xff_ffff;
        let code = |shift: u32| (flags >> shift & 3) as usize;
        let lengths = 2 + (flags >> KEY_WIDTH_SHIFT & 1) as usize + code(VALUE_WIDTH_SHIFT);
        let at = 7 + lengths + TABLE_WIDTHS[code(TABLE_WIDTH_SHIFT)];
        let word = u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?);
        let width = SEQUENCE_WIDTHS[code(SEQUENCE_WIDTH_SHIFT)];
        base.sequence.checked_add(word & (u64::MAX >> (64 - 8 * width)))
    }

    /// All of the header.
    pub(crate) fn header(&self, base: &Base) -> Result<Header, RecordError> {
        decode_header(self.bytes, base).map(|(header, _)| header)
    }
}

impl<'a> From<&Record<'a>> for Peek<'a> {
    fn from(record: &Record<'a>) -> Peek<'a> {
        let Record { header, layout, key, value, bytes } = *record;
        let flags = header.kind as u32 | u32::from(header.codec) << CODEC_SHIFT;
        let Header { table, version, expiry_ms, .. } = header;
        Peek { flags, table, version, expiry_ms, layout, key, value, bytes }
    }
}

/// Whether a record's checksum matches.
#[inline(always)]
fn verify(bytes: &[u8], layout: Layout, base: &Base) -> bool {
    let (head, body) = bytes.split_at(layout.header);
    let (key, value) = body.split_at(layout.key);
    let sum = base.sum.of_record(key, value, base.salt, &head[4..]);
    bytes[..4] == sum.to_le_bytes()
}

/// The body of a [`Kind::Mark`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SyncMark {
    /// The segment up to which the log was synced when the mark was written.
    pub(crate) segment: u64,
    /// The offset in that segment before which everything was synced.
    pub(crate) offset: u64,
}

impl SyncMark {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.segment.to_le_bytes());
        out[8..].copy_from_slice(&self.offset.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<SyncMark> {
        let (segment, offset) = (read_u64(bytes)?, read_u64(bytes.get(8..)?)?);
        (bytes.len() == Self::BYTES).then_some(SyncMark { segment, offset })
    }
}

/// The body of a [`Kind::Extent`]: a value in a file of its own. Its length tells the layout of that file.
///
/// | offset | bytes | a value in one piece, 20 bytes | a streamed value, 24 bytes |
/// | --- | --- | --- | --- |
/// | 0 | 8 | id of the file | the same |
/// | 8 | 8 | stored length, up to 2^31 - 1 | length, up to 2^40 |
/// | 16 | 4 | CRC-32 of the stored bytes | CRC-32C of the table of checksums that follows the value |
/// | 20 | 1 | - | bytes of a chunk, as the exponent of a power of two, 16 to 26 |
/// | 21 | 3 | - | 0 |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ExtentRef {
    pub(crate) id: u64,
    /// The stored length in bytes.
    pub(crate) length: u64,
    /// Of the stored bytes, or of the table of a streamed value.
    pub(crate) checksum: u32,
    /// The chunk size of a streamed value, as the exponent of a power of two.
    pub(crate) chunk_bits: Option<u8>,
}

impl ExtentRef {
    const BYTES: usize = 20;
    const STREAMED_BYTES: usize = 24;
    /// Small enough for a buffer, large enough for a small table.
    const CHUNK_BITS: std::ops::RangeInclusive<u8> = 16..=26;

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::STREAMED_BYTES);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.checksum.to_le_bytes());
        if let Some(chunk_bits) = self.chunk_bits {
            out.extend_from_slice(&[chunk_bits, 0, 0, 0]);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<ExtentRef> {
        let (length_max, chunk_bits) = match (bytes.len(), bytes.get(Self::BYTES..)?) {
            (Self::BYTES, _) => (VALUE_BYTES_MAX as u64, None),
            (Self::STREAMED_BYTES, [bits, 0, 0, 0]) if Self::CHUNK_BITS.contains(bits) => {
                (STREAM_BYTES_MAX, Some(*bits))
            }
            _ => return None,
        };
        let (id, length) = (read_u64(bytes)?, read_u64(bytes.get(8..)?)?);
        let checksum = u32::from_le_bytes(*bytes.get(16..)?.first_chunk()?);
        (length <= length_max).then_some(ExtentRef { id, length, checksum, chunk_bits })
    }
}

/// The first eight bytes as a number.
pub(crate) fn read_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Base = Base {
        sequence: 1_000,
        time_ms: 1_700_000_000_000,
        table: None,
        salt: 0xdead_beef,
        sum: Sum::Crc32c,
    };
    const PAGE: Base = Base { table: Some(7), ..LOG };

    fn sample(base: &Base, step: u64) -> Header {
        Header {
            kind: Kind::Document,
            end_of_commit: step.is_multiple_of(2),
            new_key: step.is_multiple_of(3),
            codec: (step % 8) as u8,
            table: base.table.unwrap_or((step * 977) as u32),
            sequence: base.sequence + step.wrapping_mul(step) % (1 << 50),
            time_ms: base.time_ms + step.wrapping_mul(31) % (1 << 47),
            version: 1 + step / 2,
            expiry_ms: step.is_multiple_of(5).then_some(step << 20),
            hint: step.is_multiple_of(7).then(|| Hint {
                address: Address::new(step as u16, 8 + (step % 1000) * 8),
                extent: step.is_multiple_of(2),
                length: (step % 100_000) * 8,
            }),
            place: step.is_multiple_of(11).then_some(step << 33 | 1),
        }
    }

    fn encode(header: &Header, key: &[u8], value: &[u8], base: &Base) -> Vec<u8> {
        let head = encode_header(header, key.len(), value.len(), body_checksum(key, value), base);
        let mut out = [head.bytes(), key, value].concat();
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    #[test]
    fn every_width_round_trips() {
        for base in [LOG, PAGE] {
            for step in (0..40).map(|shift| 1u64 << shift).chain(0..200) {
                let header = sample(&base, step);
                let key = vec![b'k'; 1 + (step % 300) as usize];
                let value = vec![b'v'; (step % 70_000) as usize];
                let bytes = encode(&header, &key, &value, &base);
                let record = Record::decode_verified(&bytes, &base).expect("a record just written");
                let moved = Record::decode_verified(&bytes, &base.at(8));
                assert_eq!(moved.err(), Some(RecordError::Checksum), "a record that has moved does not pass");
                assert_eq!(record.header, header);
                assert_eq!(record.verified_body(&base), Some(body_checksum(&key, &value)));
                assert_eq!(record.verified_body(&base.at(8)), None);
                assert_eq!((record.key, record.value), (&key[..], &value[..]));
                assert_eq!(record.layout.padded(), bytes.len() as u64);

                assert!(Peek::of(&bytes[..record.layout.exact() - 1], base.table).is_none());
                // Room for the longest header behind it, as in every segment that goes on.
                let longer = [&bytes[..], &[0xff; HEADER_BYTES_MAX + 8]].concat();
                let usual = header.version < 0x80 && header.expiry_ms.is_none();
                let peek = Peek::of(&longer, base.table);
                assert_eq!(peek.is_some(), usual);
                if let Some(peek) = peek {
                    assert_eq!(
                        (peek.key, peek.value, peek.layout),
                        (record.key, record.value, record.layout)
                    );
                    assert_eq!((peek.kind(), peek.codec()), (header.kind, header.codec));
                    assert_eq!((peek.table, peek.version), (header.table, header.version));
                    assert_eq!(peek.header(&base), Ok(header));
                    assert!(peek.verify(&base) && !peek.verify(&base.at(8)));
                }
            }
        }
    }

    #[test]
    fn a_small_document_takes_forty_bytes() {
        let header = Header {
            kind: Kind::Document,
            end_of_commit: true,
            new_key: true,
            codec: 0,
            table: 1,
            sequence: LOG.sequence + 3_000_000,
            time_ms: LOG.time_ms + 3_600_000,
            version: 1,
            expiry_ms: None,
            hint: None,
            place: None,
        };
        assert_eq!(encode(&header, &[b'k'; 16], &[b'v'; 8], &LOG).len(), 40);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encode(&sample(&LOG, 70), b"a key", b"and its value", &LOG);
        let exact = Record::decode_verified(&bytes, &LOG).expect("intact").layout.exact();
        for bit in 0..exact * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode_verified(&flipped, &LOG).is_err(), "bit {bit}");
        }
        for length in 0..exact {
            assert!(Record::decode_verified(&bytes[..length], &LOG).is_err(), "cut to {length}");
        }
        assert!(
            Record::decode_verified(&bytes, &Base { salt: 1, ..LOG }).is_err(),
            "another segment's record"
        );
        assert_eq!(Record::decode(&[0; 64], &LOG).unwrap_err(), RecordError::Empty);
    }

    #[test]
    fn noise_never_passes_and_never_panics() {
        let mut state = 88_172_645_463_325_252u64;
        let mut bytes = [0u8; 96];
        for _ in 0..200_000 {
            for byte in &mut bytes {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = state as u8;
            }
            assert!(Record::decode_verified(&bytes, &LOG).is_err());
            assert!(Peek::of(&bytes, None).is_none_or(|peek| !peek.verify(&LOG)));
            assert!(Record::decode_verified(&bytes[..(state % 97) as usize], &PAGE).is_err());
        }
    }

    #[test]
    fn the_two_references_to_a_file_round_trip_and_nothing_else_passes() {
        let whole =
            ExtentRef { id: 7, length: VALUE_BYTES_MAX as u64, checksum: 0x1234_5678, chunk_bits: None };
        let streamed = ExtentRef { length: STREAM_BYTES_MAX, chunk_bits: Some(20), ..whole };
        for extent in [whole, streamed] {
            let bytes = extent.encode();
            assert_eq!(ExtentRef::decode(&bytes), Some(extent));
            let longer = ExtentRef { length: extent.length + 1, ..extent };
            assert_eq!(ExtentRef::decode(&longer.encode()), None);
            for length in (0..30).filter(|length| ![20, 24].contains(length)) {
                let mut bytes = bytes.clone();
                bytes.resize(length, 0);
                assert_eq!(ExtentRef::decode(&bytes), None, "{length} bytes");
            }
        }
        for bits in (0..=u8::MAX).filter(|bits| !(16..=26).contains(bits)) {
            assert_eq!(ExtentRef::decode(&ExtentRef { chunk_bits: Some(bits), ..streamed }.encode()), None);
        }
        for at in 21..24 {
            let mut bytes = streamed.encode();
            bytes[at] = 1;
            assert_eq!(ExtentRef::decode(&bytes), None, "byte {at} is reserved");
        }
    }
}
