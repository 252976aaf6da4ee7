//! What a lookup finds.

use super::pinned::About;
use crate::epoch::Guard;
use crate::error::{Error, Result};
use crate::format::record::{ExtentRef, Header, Kind, Peek, RecordError};
use crate::segment::Segment;
use crate::services::Codec;
use crate::types::{Address, Entry};

/// What a lookup has to do with a value once it is found.
#[derive(Clone, Copy)]
pub(crate) enum Stored<'a> {
    /// The value as it is.
    Raw(&'a [u8]),
    /// Compressed by this codec.
    Compressed(u8, &'a [u8]),
    /// In a file of its own.
    Extent(u8, ExtentRef),
}

/// The record of a key, and where it is.
pub(crate) struct Found<'a> {
    pub(crate) record: Peek<'a>,
    pub(super) address: Address,
    pub(crate) segment: &'a Segment,
    pub(super) guard: &'a Guard,
}

impl<'a> Found<'a> {
    pub(crate) fn new(
        record: Peek<'a>,
        address: Address,
        segment: &'a Segment,
        guard: &'a Guard,
    ) -> Found<'a> {
        Found { record, address, segment, guard }
    }

    #[inline]
    pub(crate) fn stored(&self) -> Result<Stored<'a>> {
        Stored::of(&self.record)
            .ok_or_else(|| self.corrupt("the index points to a record that holds no value"))
    }

    pub(crate) fn header(&self) -> Result<Header> {
        let corrupt = |error: RecordError| self.corrupt(error.text());
        self.record.header(&self.segment.base).map_err(corrupt)
    }

    /// The commit that wrote it.
    #[inline]
    fn sequence(&self) -> Result<u64> {
        match self.record.sequence(&self.segment.base) {
            Some(sequence) => Ok(sequence),
            None => Ok(self.header()?.sequence),
        }
    }

    /// Whether a view sees it, if it is the newest record of its key.
    #[inline]
    pub(crate) fn is_seen_by(&self, view: &View) -> Result<bool> {
        if self.record.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= view.time_ms) {
            return Ok(false);
        }
        Ok(self.segment.is_all_before(view.sequence) || self.sequence()? <= view.sequence)
    }

    /// All that is known of it.
    pub(crate) fn entry(&self, value: &[u8]) -> Result<Entry> {
        let Header { version, sequence, time_ms, expiry_ms, .. } = self.header()?;
        Ok(Entry { value: value.to_vec(), version, sequence, time_ms, expires_at_ms: expiry_ms })
    }

    /// The same without the value.
    pub(crate) fn about(&self) -> Result<About> {
        let Header { version, sequence, time_ms, expiry_ms, .. } = self.header()?;
        Ok(About { version, sequence, time_ms, expires_at_ms: expiry_ms })
    }

    #[cold]
    fn corrupt(&self, detail: &str) -> Error {
        Error::corrupt(&self.segment.path, self.address.offset(), detail)
    }
}

/// What a reader sees: the commits up to a sequence, at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    /// Whether all these commits are known to have come to the index.
    pub(crate) is_settled: bool,
}

/// What a lookup says at once.
pub(super) enum AtOnce<'a> {
    Found(Found<'a>),
    Absent,
    /// Something is not as it nearly always is.
    Unsure,
}

/// What a function wants that was handed one record of many.
pub(crate) enum Next {
    /// The next one.
    More,
    /// The same key's again: its large value has gone since it was looked for.
    Again,
    /// None any more.
    Enough,
}

/// What came of looking at one address.
pub(crate) enum Look<R> {
    /// The key's record was there.
    Found(Option<R>),
    /// Another key's record was there.
    Other,
    /// The segment has gone since the index was asked.
    Moved,
}

impl<'a> Stored<'a> {
    /// Whether the value, stored or plain, is longer than so many bytes, as far as that can be told without reading it.
    pub(crate) fn is_longer_than(&self, bytes: u64) -> bool {
        match self {
            Stored::Raw(value) => value.len() as u64 > bytes,
            // The built-in codecs have the plain length in front.
            Stored::Compressed(codec, value) => {
                let plain = value.first_chunk::<4>().filter(|_| *codec != Codec::Custom as u8);
                let plain = plain.map_or(0, |plain| u64::from(u32::from_le_bytes(*plain)));
                plain.max(value.len() as u64) > bytes
            }
            Stored::Extent(_, extent) => extent.length > bytes,
        }
    }

    #[inline]
    pub(crate) fn of(record: &Peek<'a>) -> Option<Stored<'a>> {
        match (record.kind(), record.codec()) {
            (Kind::Document, 0) => Some(Stored::Raw(record.value)),
            (Kind::Document, codec) => Some(Stored::Compressed(codec, record.value)),
            (Kind::Extent, codec) => {
                let extent = ExtentRef::decode(record.value)?;
                // What is streamed is never compressed.
                (codec == 0 || extent.chunk_bits.is_none()).then_some(Stored::Extent(codec, extent))
            }
            _ => None,
        }
    }
}
