//! The small values that everything else is made of.

use std::fmt;

/// How many fixed parts the hash space has. A key's slot never changes.
pub(crate) const SLOTS: u32 = 16_384;
/// The largest number of partitions of a table.
pub const PARTITIONS_MAX: u32 = SLOTS;
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;
/// The longest value that is written or read in one piece, in bytes.
pub const VALUE_BYTES_MAX: usize = (1 << 31) - 1;
/// The longest streamed document, in bytes: 1 TiB.
pub const STREAM_BYTES_MAX: u64 = 1 << 40;

/// The highest sequence that may be given to a commit: far from where counting would overflow.
pub(crate) const SEQUENCE_MAX: u64 = 1 << 60;
/// The latest time that may be given to a commit, in milliseconds since the Unix epoch: records hold 48 bits.
pub(crate) const TIME_MS_MAX: u64 = (1 << 47) - 1;

/// A segment's number. Never reused in the life of a database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct SegmentId(pub(crate) u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Records begin at multiples of this many bytes.
pub(crate) const RECORD_ALIGNMENT: u64 = 8;

/// Where a record begins: the segment's ordinal (16 bits) and the offset in units of
/// [`RECORD_ALIGNMENT`] (25 bits). Zero is no address: no record begins where a segment's header stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Address(u64);

impl Address {
    /// How many bits an address has.
    pub(crate) const BITS: u32 = 41;
    const UNIT_BITS: u32 = 25;

    /// The address of a record that begins at `offset` in the segment with this ordinal.
    pub(crate) fn new(ordinal: u16, offset: u64) -> Address {
        debug_assert!(offset.is_multiple_of(RECORD_ALIGNMENT) && offset > 0);
        assert!(Self::reaches(offset), "record starts past the addressable range");
        Address((u64::from(ordinal) << Self::UNIT_BITS) | (offset / RECORD_ALIGNMENT))
    }

    /// Whether a record at this offset has an address.
    pub(crate) fn reaches(offset: u64) -> bool {
        offset >> Self::UNIT_BITS < RECORD_ALIGNMENT
    }

    /// The address with these bits; only the low [`Address::BITS`] count.
    pub(crate) fn from_bits(bits: u64) -> Address {
        Address(bits & ((1 << Self::BITS) - 1))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn ordinal(self) -> u16 {
        (self.0 >> Self::UNIT_BITS) as u16
    }

    pub(crate) fn offset(self) -> u64 {
        (self.0 & ((1 << Self::UNIT_BITS) - 1)) * RECORD_ALIGNMENT
    }
}

/// What a write became: the pair is unique for ever and serves as the token of compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The key's own counter: 1 at creation, one more at each change, 1 again when it is created anew.
    pub version: u64,
    /// The database-wide number of the commit; rising, with gaps, never reused.
    pub sequence: u64,
}

/// A value with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// The key's version, see [`Written::version`].
    pub version: u64,
    /// The commit that wrote it, see [`Written::sequence`].
    pub sequence: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When it expires, in milliseconds since the Unix epoch; `None` for never.
    pub expires_at_ms: Option<u64>,
}

/// A version of a key, see [`crate::Table::history`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// See [`Written::version`].
    pub version: u64,
    /// The commit that wrote it, see [`Written::sequence`].
    pub sequence: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When it expires or has expired, in milliseconds since the Unix epoch; `None` for never.
    pub expires_at_ms: Option<u64>,
    /// The value; `None` for a tombstone: the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// What a write that only writes what is new has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The key was not there or had another value.
    Written(Written),
    /// The key has this value already; what it has is told.
    Unchanged(Written),
}

/// What is to become of a key, see [`crate::Table::update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// It gets this value.
    Put(Vec<u8>),
    /// It is removed, if it is there.
    Delete,
    /// It stays as it is.
    Keep,
}

/// What a call that must not wait has come to, see [`crate::Table::get_at_once`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready<T> {
    /// Here it is.
    Now(T),
    /// It takes the disk, or longer: ask with the call that may wait.
    Later,
}
