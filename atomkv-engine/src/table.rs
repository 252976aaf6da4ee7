//! A table as its users hold it: routes a key to its place and offers the operations.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commit::{Body, Change};
use crate::database::Inner;
use crate::epoch::{self, Guard};
use crate::error::{Error, Result};
use crate::extents::{ChunkedFile, ExtentBytes};
use crate::format::record::{ExtentRef, Header, Kind, Peek, RecordError, body_checksum};
use crate::index::subtable::{Candidates, First};
use crate::options::Durability;
use crate::scan::Iter;
use crate::segment::Segment;
use crate::services::{Codec, Keyspace, Services, decompress_builtin};
use crate::tables::TableCore;
use crate::types::{Address, Entry, VALUE_BYTES_MAX, Written};

/// A named key space of a database. Cheap to clone; may be used by many threads at once. A handle keeps the
/// database's memory and file descriptors alive; after [`crate::Database::close`] it answers [`Error::Closed`].
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Database, Options, TableOptions};
///
/// let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new().partitions(16))?;
/// let first = users.put(b"ada", b"countess")?;
/// let second = users.put(b"ada", b"programmer")?;
/// assert_eq!((first.version, second.version), (1, 2));
/// assert_eq!(users.get(b"ada")?.as_deref(), Some(&b"programmer"[..]));
/// users.delete(b"ada")?;
/// assert_eq!(users.get(b"ada")?, None);
/// # database.close()
/// # }
/// ```
#[derive(Clone)]
pub struct Table {
    pub(crate) inner: Arc<Inner>,
    pub(crate) core: Arc<TableCore>,
    pub(crate) services: Arc<Services>,
    keyspace: Arc<Keyspace>,
    pub(crate) durability: Durability,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How many lookups wait for memory together: more than the processor keeps under way gains nothing.
const GET_MANY_GROUP: usize = 32;

/// A thread keeps its scratch buffer for decompressed values up to this size.
const SCRATCH_KEEP_BYTES: usize = 1 << 20;

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
struct Found<'a> {
    record: Peek<'a>,
    address: Address,
    segment: &'a Segment,
    guard: &'a Guard,
}

impl<'a> Found<'a> {
    #[inline]
    fn stored(&self) -> Result<Stored<'a>> {
        Stored::of(&self.record)
            .ok_or_else(|| self.corrupt("the index points to a record that holds no value"))
    }

    fn header(&self) -> Result<Header> {
        let corrupt = |error: RecordError| self.corrupt(error.text());
        self.record.header(&self.segment.base).map_err(corrupt)
    }

    #[cold]
    fn corrupt(&self, detail: &str) -> Error {
        Error::corrupt(&self.segment.path, self.address.offset(), detail)
    }
}

/// What a lookup says at once.
enum AtOnce<'a> {
    Found(Found<'a>),
    Absent,
    /// Something is not as it nearly always is.
    Unsure,
}

/// What came of looking at one address.
enum Look<R> {
    /// The key's record was there.
    Found(Option<R>),
    /// Another key's record was there.
    Other,
    /// The segment has gone since the index was asked.
    Moved,
}

impl<'a> Stored<'a> {
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

impl Table {
    pub(crate) fn new(
        inner: Arc<Inner>,
        core: Arc<TableCore>,
        services: Services,
        durability: Durability,
    ) -> Table {
        let keyspace = Arc::new(Keyspace::new(&services, inner.hash_seed));
        Table { inner, core, services: Arc::new(services), keyspace, durability }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.core.record.name
    }

    /// The number of partitions.
    pub fn partitions(&self) -> u32 {
        self.core.record.partitions
    }

    /// The number of keys.
    pub fn len(&self) -> u64 {
        self.core.index.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key's slot, 0 to 16,383: the same for ever.
    ///
    /// # Errors
    /// A key that the table does not take.
    pub fn slot(&self, key: &[u8]) -> Result<u16> {
        Ok(Keyspace::slot_of_place(self.place(key)?))
    }

    /// The partition that holds the key, from 0.
    ///
    /// # Errors
    /// A key that the table does not take.
    pub fn partition(&self, key: &[u8]) -> Result<u32> {
        Ok(self.core.index.number_of(self.place(key)?))
    }

    #[inline]
    fn place(&self, key: &[u8]) -> Result<u64> {
        self.keyspace.validate(key)?;
        self.keyspace.place(key)
    }

    /// Stores a value under a key, whether or not the key is there. Durable as the table's default says.
    ///
    /// # Errors
    /// [`Error::KeyEmpty`], [`Error::KeyTooLong`], [`Error::ValueTooLarge`], [`Error::InvalidKey`];
    /// [`Error::NoSpace`] and [`Error::TooManySegments`] (nothing was written); [`Error::ReadOnly`] after an earlier
    /// failure; [`Error::Corrupt`] if the record that may be the key's present one is damaged.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<Written> {
        self.put_with(key, value, self.durability)
    }

    /// [`Table::put`] with a durability of its own.
    ///
    /// # Errors
    /// As [`Table::put`]. If the sync fails, the database is read-only and the write may or may not be found at the
    /// next opening.
    pub fn put_with(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<Written> {
        self.inner.backpressure();
        // One pin for all that follows: pinning again costs next to nothing.
        let guard = epoch::pin();
        let change = self.put_change(self.locate(key)?, key, value)?;
        let written = self.inner.commit_one(&change, durability, guard)?;
        written.ok_or_else(|| Error::Internal { reason: "a put that wrote nothing".to_string() })
    }

    /// Removes a key. `None` if it was not there; then nothing was written.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn delete(&self, key: &[u8]) -> Result<Option<Written>> {
        self.delete_with(key, self.durability)
    }

    /// [`Table::delete`] with a durability of its own.
    ///
    /// # Errors
    /// As [`Table::put_with`].
    pub fn delete_with(&self, key: &[u8], durability: Durability) -> Result<Option<Written>> {
        self.inner.backpressure();
        let guard = epoch::pin();
        let change = self.delete_change(self.locate(key)?, key);
        self.inner.commit_one(&change, durability, guard)
    }

    /// The place of a key. While its line of the index comes from memory, other things can be done.
    pub(crate) fn locate(&self, key: &[u8]) -> Result<u64> {
        let place = self.place(key)?;
        self.core.index.partition(place).touch(place, &epoch::pin());
        Ok(place)
    }

    /// A put of a key that was located.
    pub(crate) fn put_change<'a>(&'a self, place: u64, key: &'a [u8], value: &'a [u8]) -> Result<Change<'a>> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLarge { length: value.len(), limit: VALUE_BYTES_MAX });
        }
        let (codec, stored) = self.compress(value)?;
        let checksum = body_checksum(key, &stored);
        Ok(Change { body: Body::Put { codec, stored, checksum }, ..self.delete_change(place, key) })
    }

    /// A delete of a key that was located.
    pub(crate) fn delete_change<'a>(&'a self, place: u64, key: &'a [u8]) -> Change<'a> {
        let store_place = self.core.keyspace.is_none();
        Change { table: &self.core, place, store_place, key, body: Body::Delete }
    }

    /// The value as it will be stored: compressed where that pays.
    fn compress<'a>(&self, value: &'a [u8]) -> Result<(u8, Cow<'a, [u8]>)> {
        let compressor = self.services.compressor();
        if compressor.codec() == Codec::Raw {
            return Ok((0, Cow::Borrowed(value)));
        }
        let mut out = Vec::new();
        if compressor.compress(value, &mut out)? && out.len() < value.len() {
            return Ok((compressor.codec() as u8, Cow::Owned(out)));
        }
        Ok((0, Cow::Borrowed(value)))
    }

    fn decompress(&self, codec: u8, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match Codec::from_bits(codec) {
            Some(Codec::Custom) => self.services.compressor().decompress(stored, out),
            Some(codec) => decompress_builtin(codec, stored, out),
            None => Err(Error::Document { reason: format!("stored by an unknown codec {codec}") }),
        }
    }

    /// Finds the key's newest record and hands it to `f`, without locks. `f` may call the database.
    #[inline]
    fn find<R>(&self, key: &[u8], mut f: impl FnMut(&Found<'_>) -> Result<Option<R>>) -> Result<Option<R>> {
        self.inner.health.check_open()?;
        let place = self.place(key)?;
        let guard = epoch::pin();
        match self.find_at_once(place, key, &guard) {
            AtOnce::Found(found) => f(&found),
            AtOnce::Absent => Ok(None),
            AtOnce::Unsure => self.find_slowly(place, key, &guard, &mut f),
        }
    }

    /// What nearly every lookup comes to, in few instructions and without anything that can fail, so that the
    /// processor is already at the next lookup while this one's record is on its way from memory.
    #[inline]
    fn find_at_once<'g>(&'g self, place: u64, key: &[u8], guard: &'g Guard) -> AtOnce<'g> {
        let Some(first) = self.core.index.partition(place).first_at_once(place, guard) else {
            return AtOnce::Unsure;
        };
        let Some(address) = first.address else {
            return if first.is_only { AtOnce::Absent } else { AtOnce::Unsure };
        };
        let Some(segment) = self.segment(address.ordinal(), guard) else {
            return AtOnce::Unsure;
        };
        match segment.peek_mapped(address.offset(), self.inner.options.verify_checksums) {
            Some(record) if record.key == key && record.table == self.core.id => {
                AtOnce::Found(Found { record, address, segment, guard })
            }
            Some(_) if first.is_only => AtOnce::Absent,
            _ => AtOnce::Unsure,
        }
    }

    #[cold]
    fn find_slowly<R>(
        &self,
        place: u64,
        key: &[u8],
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        let mut times = 0;
        loop {
            match self.look_at_all(place, key, guard, f)? {
                Look::Found(result) => return Ok(result),
                Look::Other => return Ok(None),
                Look::Moved => self.inner.catalog.look_again(&mut times)?,
            }
        }
    }

    /// Looks at the records of all keys with the same tag.
    fn look_at_all<R>(
        &self,
        place: u64,
        key: &[u8],
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Look<R>> {
        let mut candidates = Candidates::default();
        self.core.index.partition(place).find(place, guard, &mut candidates)?;
        for address in candidates.iter() {
            match self.look_at(address, key, guard, f)? {
                Look::Other => {}
                look => return Ok(look),
            }
        }
        Ok(Look::Other)
    }

    /// Hands the record at an address to `f` if it is the key's.
    #[inline]
    fn look_at<R>(
        &self,
        address: Address,
        key: &[u8],
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Look<R>> {
        let Some(segment) = self.segment(address.ordinal(), guard) else {
            return Ok(Look::Moved);
        };
        segment.peek(address.offset(), self.inner.options.verify_checksums, |record| {
            if record.key != key || record.table != self.core.id {
                return Ok(Look::Other);
            }
            f(&Found { record: *record, address, segment, guard }).map(Look::Found)
        })?
    }

    #[inline]
    fn segment<'g>(&self, ordinal: u16, guard: &'g Guard) -> Option<&'g Segment> {
        self.inner.catalog.directory.get(ordinal, guard)
    }

    /// Hands the plain bytes of a stored value to `f`.
    pub(crate) fn with_plain<R>(&self, stored: Stored<'_>, f: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        match stored {
            Stored::Raw(value) => Ok(Some(f(value))),
            Stored::Compressed(codec, value) => {
                let mut scratch = SCRATCH.try_with(RefCell::take).unwrap_or_default();
                scratch.clear();
                let result = self.decompress(codec, value, &mut scratch).map(|()| Some(f(&scratch)));
                if scratch.capacity() <= SCRATCH_KEEP_BYTES {
                    let _ = SCRATCH.try_with(|cell| cell.replace(scratch));
                }
                result
            }
            Stored::Extent(codec, extent) => {
                let verify = self.inner.options.verify_checksums;
                let Some(bytes) = self.inner.extents.read(&extent, verify)? else {
                    return Ok(None);
                };
                if codec == 0 {
                    return Ok(Some(f(bytes.bytes())));
                }
                let mut plain = Vec::new();
                self.decompress(codec, bytes.bytes(), &mut plain)?;
                Ok(Some(f(&plain)))
            }
        }
    }

    /// [`Table::find`] with the plain value; looks again if a large value was replaced while it was being found.
    #[inline]
    fn find_plain<R>(&self, key: &[u8], f: impl FnOnce(&Found<'_>, &[u8]) -> Result<R>) -> Result<Option<R>> {
        let mut f = Some(f);
        loop {
            let mut missed = false;
            let found = self.find(key, |found| {
                let plain = |plain: &[u8]| f.take().map(|f| f(found, plain)).transpose();
                let result = self.with_plain(found.stored()?, plain)?.transpose()?;
                missed = result.is_none();
                Ok(result.flatten())
            })?;
            if !missed {
                return Ok(found);
            }
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the record is damaged; the errors of a key that the table does not take; an I/O error
    /// of unmapped storage.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.find_plain(key, |_, value| Ok(value.to_vec()))
    }

    /// The value of a key with its version, sequence and time.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.find_plain(key, |found, value| {
            let Header { version, sequence, time_ms, .. } = found.header()?;
            Ok(Entry { value: value.to_vec(), version, sequence, time_ms })
        })
    }

    /// Puts the value of a key into a buffer of the caller's, which is cleared first. False if the key is not there.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_into(&self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        let copy = |_: &Found<'_>, value: &[u8]| {
            buffer.extend_from_slice(value);
            Ok(())
        };
        Ok(self.find_plain(key, copy)?.is_some())
    }

    /// Hands the value of a key to a function, without a copy where the value is stored as it is. The function may
    /// call the database.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_with<R>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        self.find_plain(key, |_, value| Ok(f(value)))
    }

    /// The values of many keys, in the order of the keys; `None` for those that are not there. Each is read at some moment
    /// of the call, not all at the same. Faster than one after the other where the data is larger than
    /// the processor's caches: what the lookups wait for comes from memory at the same time.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # use atomkv_engine::{Database, Options, TableOptions};
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// # let users = database.table("users", TableOptions::new())?;
    /// users.put(b"ada", b"1815")?;
    /// assert_eq!(users.get_many(&["ada", "alan"])?, [Some(b"1815".to_vec()), None]);
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::get`], for the first key that has one.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        self.get_many_with(keys, |_, value| values.push(value.map(<[u8]>::to_vec)))?;
        Ok(values)
    }

    /// [`Table::get_many`] without a copy where values are stored as they are: hands the index of each key, from the
    /// first to the last, and its value to a function.
    ///
    /// # Errors
    /// As [`Table::get_many`]; the function was called for the keys before.
    pub fn get_many_with<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        mut f: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        self.inner.health.check_open()?;
        for (group, keys) in keys.chunks(GET_MANY_GROUP).enumerate() {
            let guard = epoch::pin();
            // First the lines of the index for all, then the records for all, then all that is there already.
            let mut places = [0; GET_MANY_GROUP];
            for (place, key) in places.iter_mut().zip(keys) {
                *place = self.place(key.as_ref())?;
                self.core.index.partition(*place).touch(*place, &guard);
            }
            let mut firsts = [First { address: None, is_only: false }; GET_MANY_GROUP];
            for (first, place) in firsts.iter_mut().zip(&places[..keys.len()]) {
                *first = self.core.index.partition(*place).first(*place, &guard)?;
                if let Some(address) = first.address
                    && let Some(segment) = self.segment(address.ordinal(), &guard)
                {
                    segment.prefetch(address.offset());
                }
            }
            for (index, (key, first)) in keys.iter().zip(&firsts).enumerate() {
                let (key, index) = (key.as_ref(), group * GET_MANY_GROUP + index);
                let mut done = first.address.is_none() && first.is_only;
                if done {
                    f(index, None);
                } else if let Some(address) = first.address {
                    let look = self.look_at(address, key, &guard, &mut |found| {
                        let value = self.with_plain(found.stored()?, |value| f(index, Some(value)))?;
                        done = value.is_some();
                        Ok(value)
                    })?;
                    if first.is_only && matches!(look, Look::Other) {
                        done = true;
                        f(index, None);
                    }
                }
                if !done && self.get_with(key, |value| f(index, Some(value)))?.is_none() {
                    f(index, None);
                }
            }
        }
        Ok(())
    }

    /// A view of the value of a key that stays valid for as long as it is held, whatever happens to the key or the
    /// database. It holds the memory (and the disk space) of its whole segment.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_pinned(&self, key: &[u8]) -> Result<Option<Pinned>> {
        self.find_again(key, |found| self.pin(found))
    }

    /// [`Table::find`], which looks again where `f` has found nothing because a large value was replaced meanwhile.
    fn find_again<R>(
        &self,
        key: &[u8],
        mut f: impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        loop {
            let mut missed = false;
            let found = self.find(key, |found| {
                let result = f(found)?;
                missed = result.is_none();
                Ok(result)
            })?;
            if !missed {
                return Ok(found);
            }
        }
    }

    fn pin(&self, found: &Found<'_>) -> Result<Option<Pinned>> {
        let bytes = match found.stored()? {
            Stored::Raw(value) => self.pin_raw(found, value),
            Stored::Extent(0, extent) => {
                let verify = self.inner.options.verify_checksums;
                self.inner.extents.read(&extent, verify)?.map(PinnedBytes::Extent)
            }
            other => self.with_plain(other, <[u8]>::to_vec)?.map(PinnedBytes::Owned),
        };
        let Header { version, sequence, .. } = found.header()?;
        Ok(bytes.map(|bytes| Pinned { bytes, version, sequence }))
    }

    /// Holds what a document is read from by parts.
    pub(crate) fn open_parts(&self, key: &[u8]) -> Result<Option<Parts>> {
        self.find_again(key, |found| {
            let Stored::Extent(_, extent @ ExtentRef { chunk_bits: Some(chunk_bits), .. }) =
                found.stored()?
            else {
                return Ok(self.pin(found)?.map(Parts::Held));
            };
            let verify = self.inner.options.verify_checksums;
            let Some(file) = self.inner.extents.open_chunked(&extent, chunk_bits, verify)? else {
                return Ok(None);
            };
            let Header { version, sequence, .. } = found.header()?;
            Ok(Some(Parts::Chunked { file, version, sequence }))
        })
    }

    /// Holds a value where it lies, if it lies in a mapping; else copies it.
    fn pin_raw(&self, found: &Found<'_>, value: &[u8]) -> Option<PinnedBytes> {
        let segment = self.inner.catalog.directory.get_arc(found.address.ordinal(), found.guard);
        match segment {
            Some(segment) if segment.is_mapped() => {
                let layout = found.record.layout;
                let start = found.address.offset() as usize + layout.header + layout.key;
                Some(PinnedBytes::Mapped { segment, start, length: value.len() })
            }
            Some(_) => Some(PinnedBytes::Owned(value.to_vec())),
            None => None,
        }
    }

    /// Whether the key is there.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.find(key, |_| Ok(Some(())))?.is_some())
    }

    /// All keys with their values, in no order. Not a snapshot: a key that is there from beginning to end is seen
    /// exactly once, with a value that it had at some time meanwhile; one that comes or goes may be seen or not.
    pub fn iter(&self) -> Iter {
        Iter::new(self.clone())
    }

    /// Hands all keys with their values to a function until it breaks off, in no order and without a copy where values
    /// are stored as they are. What is seen is as with [`Table::iter`].
    ///
    /// # Errors
    /// As [`Table::get`], at the first record that cannot be read.
    pub fn for_each(&self, f: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        self.iter().visit(f)
    }

    /// Stores a document through the table's serializer (JSON by default).
    ///
    /// # Errors
    /// [`Error::Document`] if it cannot be serialized; else as [`Table::put`].
    pub fn put_document<T: Serialize + ?Sized>(&self, key: &[u8], document: &T) -> Result<Written> {
        let bytes = self.services.encode(document)?;
        self.put(key, &bytes)
    }

    /// A document through the table's serializer.
    ///
    /// # Errors
    /// [`Error::Document`] if the value is not such a document; else as [`Table::get`].
    pub fn get_document<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>> {
        self.get_with(key, |bytes| self.services.decode(bytes))?.transpose()
    }

    /// Returns when everything acknowledged before the call is on stable storage, in all tables.
    ///
    /// # Errors
    /// The failure of the sync; the database is then read-only.
    pub fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).field("keys", &self.len()).finish_non_exhaustive()
    }
}

/// A value that is held in place, see [`Table::get_pinned`]. May be sent to and dropped on any thread.
pub struct Pinned {
    bytes: PinnedBytes,
    version: u64,
    sequence: u64,
}

/// What a document is read from by parts.
pub(crate) enum Parts {
    Held(Pinned),
    Chunked { file: ChunkedFile, version: u64, sequence: u64 },
}

enum PinnedBytes {
    Mapped { segment: Arc<Segment>, start: usize, length: usize },
    Extent(ExtentBytes),
    Owned(Vec<u8>),
}

impl Pinned {
    /// The key's version, see [`Written::version`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The commit that wrote the value, see [`Written::sequence`].
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            PinnedBytes::Mapped { segment, start, length } => segment.mapped_bytes(*start, *length),
            PinnedBytes::Extent(extent) => extent.bytes(),
            PinnedBytes::Owned(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("length", &self.len()).field("version", &self.version).finish()
    }
}
