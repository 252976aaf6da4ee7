//! A table as its users hold it: routes a key to its place and offers the operations.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commit::{Body, Change};
use crate::database::Inner;
use crate::epoch::{self, Guard};
use crate::error::{Error, Result};
use crate::expect::{Condition, Expect, Present};
use crate::extents::{ChunkedFile, ExtentBytes};
use crate::format::record::{ExtentRef, Header, Kind, Peek, RecordError, body_checksum};
use crate::index::history::ChainId;
use crate::index::subtable::{Candidates, First};
use crate::merge::Merge;
use crate::options::{Durability, Expiry, WriteOptions};
use crate::segment::Segment;
use crate::services::{Codec, Keyspace, Services, decompress_builtin};
use crate::tables::TableCore;
use crate::types::{Address, Changed, Entry, Update, VALUE_BYTES_MAX, Written};

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
    ttl: Option<Duration>,
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
pub(crate) struct Found<'a> {
    pub(crate) record: Peek<'a>,
    address: Address,
    pub(crate) segment: &'a Segment,
    guard: &'a Guard,
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

    /// Whether a view sees it, if it is the newest record of its key.
    #[inline]
    pub(crate) fn is_seen_by(&self, view: &View) -> Result<bool> {
        if self.record.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= view.time_ms) {
            return Ok(false);
        }
        Ok(self.segment.is_all_before(view.sequence) || self.header()?.sequence <= view.sequence)
    }

    /// All that is known of it.
    pub(crate) fn entry(&self, value: &[u8]) -> Result<Entry> {
        let Header { version, sequence, time_ms, expiry_ms, .. } = self.header()?;
        Ok(Entry { value: value.to_vec(), version, sequence, time_ms, expires_at_ms: expiry_ms })
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
}

/// What a lookup says at once.
enum AtOnce<'a> {
    Found(Found<'a>),
    Absent,
    /// Something is not as it nearly always is.
    Unsure,
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
        ttl: Option<Duration>,
    ) -> Table {
        let keyspace = Arc::new(Keyspace::new(&services, inner.hash_seed));
        Table { inner, core, services: Arc::new(services), keyspace, durability, ttl }
    }

    /// A handle of a table that has none but built-in services, as far as reading asks for them.
    pub(crate) fn with_builtin_services(inner: &Arc<Inner>, core: Arc<TableCore>) -> Result<Table> {
        let sharder = core.record.services.iter().find(|(kind, ..)| kind == "sharder");
        let services = match sharder {
            Some((kind, name, _)) if core.keyspace.is_some() => Services::default().with_named(kind, name)?,
            _ => {
                let reason = format!("table {:?} has services of its own; give its handle", core.record.name);
                return Err(Error::InvalidArgument { reason });
            }
        };
        Ok(Table::new(inner.clone(), core, services, Durability::Buffered, None))
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

    /// The place of a key that the table has.
    pub(crate) fn place_of_key(&self, key: &[u8]) -> Result<u64> {
        self.keyspace.place(key)
    }

    #[inline]
    pub(crate) fn place(&self, key: &[u8]) -> Result<u64> {
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

    /// [`Table::put`] with a durability, a condition or an expiry of its own.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # use atomkv_engine::{Database, Durability, Error, Expect, Options, TableOptions, WriteOptions};
    /// # use std::time::Duration;
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// # let users = database.table("users", TableOptions::new())?;
    /// users.put_with(b"ada", b"countess", Durability::Sync)?;
    /// let refused = users.put_with(b"ada", b"programmer", Expect::Absent);
    /// assert!(matches!(refused, Err(Error::Conflict { .. })));
    /// users.put_with(b"session", b"...", WriteOptions::new().ttl(Duration::from_secs(3600)))?;
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::put`]; [`Error::Conflict`] if something else is there than was expected (nothing was written);
    /// [`Error::InvalidArgument`] for an expiry that is not in the future. If the sync fails, the database is read-only
    /// and the write may or may not be found at the next opening.
    pub fn put_with(&self, key: &[u8], value: &[u8], options: impl Into<WriteOptions>) -> Result<Written> {
        let options = options.into();
        self.inner.backpressure();
        // One pin for all that follows: pinning again costs next to nothing.
        let guard = epoch::pin();
        let change = self.put_change(self.locate(key)?, key, value, &options, None)?;
        let written = self.inner.commit_one(&change, self.durability_of(&options), guard)?;
        written.ok_or_else(|| Error::Internal { reason: "a put that wrote nothing".to_string() })
    }

    /// Stores a value if what is expected is there: compare-and-set.
    ///
    /// # Errors
    /// As [`Table::put_with`].
    pub fn put_if(&self, key: &[u8], value: &[u8], expect: Expect) -> Result<Written> {
        self.put_with(key, value, expect)
    }

    /// Stores a value unless the key has this very value already; then nothing is appended.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn put_if_changed(&self, key: &[u8], value: &[u8]) -> Result<Changed> {
        loop {
            let same = self.find_plain(key, None, |found, present| {
                let Header { version, sequence, .. } = found.header()?;
                Ok((Written { version, sequence }, present == value))
            })?;
            let expect = match same {
                Some((written, true)) => return Ok(Changed::Unchanged(written)),
                Some((written, false)) => Expect::from(written),
                None => Expect::Absent,
            };
            match self.put_if(key, value, expect) {
                // Somebody else was faster, perhaps with this very value.
                Err(Error::Conflict { .. }) => {}
                outcome => return outcome.map(Changed::Written),
            }
        }
    }

    /// Removes a key. `None` if it was not there; then nothing was written.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn delete(&self, key: &[u8]) -> Result<Option<Written>> {
        self.delete_with(key, self.durability)
    }

    /// [`Table::delete`] with a durability or a condition of its own.
    ///
    /// # Errors
    /// As [`Table::put_with`].
    pub fn delete_with(&self, key: &[u8], options: impl Into<WriteOptions>) -> Result<Option<Written>> {
        let options = options.into();
        self.inner.backpressure();
        let guard = epoch::pin();
        let change = self.delete_change(self.locate(key)?, key, &options);
        self.inner.commit_one(&change, self.durability_of(&options), guard)
    }

    /// Removes a key if what is expected is there.
    ///
    /// # Errors
    /// As [`Table::put_with`].
    pub fn delete_if(&self, key: &[u8], expect: Expect) -> Result<Option<Written>> {
        self.delete_with(key, expect)
    }

    /// Changes a value by a function that is handed the present one: an atomic read-modify-write. The function may be
    /// called several times, when others write the key meanwhile; no lock is held while it runs. The expiry of the
    /// document stays. Returns what was written, `None` if nothing was.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # use atomkv_engine::{Database, Options, TableOptions, Update};
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// # let texts = database.table("texts", TableOptions::new())?;
    /// texts.update(b"greeting", |present| Ok(match present {
    ///     Some(text) => Update::Put([text, b"!"].concat()),
    ///     None => Update::Put(b"hello".to_vec()),
    /// }))?;
    /// assert_eq!(texts.get(b"greeting")?.as_deref(), Some(&b"hello"[..]));
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::put`], and those of the function.
    pub fn update(
        &self,
        key: &[u8],
        mut f: impl FnMut(Option<&[u8]>) -> Result<Update>,
    ) -> Result<Option<Written>> {
        loop {
            let read = |found: &Found<'_>, value: &[u8]| Ok((found.header()?, f(Some(value))?));
            let (update, options) = match self.find_plain(key, None, read)? {
                Some((header, update)) => {
                    let expiry = header.expiry_ms.map_or(Expiry::Never, Expiry::At);
                    let expect = Expect::Sequence(header.sequence);
                    (update, WriteOptions::new().expect(expect).expiry(expiry))
                }
                None => (f(None)?, WriteOptions::new().expect(Expect::Absent)),
            };
            let outcome = match update {
                Update::Put(value) => self.put_with(key, &value, options).map(Some),
                Update::Delete => self.delete_with(key, options),
                Update::Keep => return Ok(None),
            };
            match outcome {
                Err(Error::Conflict { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// Changes a value by an operator, atomically: adds to a number, appends, patches JSON. Returns what was written and
    /// the new value.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # use atomkv_engine::{Database, Merge, Options, TableOptions};
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// # let counters = database.table("counters", TableOptions::new())?;
    /// counters.merge(b"visits", &Merge::AddDecimal(b"41"))?;
    /// let (written, visits) = counters.merge(b"visits", &Merge::AddDecimal(b"1"))?;
    /// assert_eq!((written.version, visits.as_slice()), (2, &b"42"[..]));
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::put`] and [`Merge::apply`]; nothing was written.
    pub fn merge(&self, key: &[u8], merge: &Merge<'_>) -> Result<(Written, Vec<u8>)> {
        let mut merged = Vec::new();
        let written = self.update(key, |present| {
            merged = merge.apply(present)?;
            Ok(Update::Put(merged.clone()))
        })?;
        let written =
            written.ok_or_else(|| Error::Internal { reason: "a merge wrote nothing".to_string() })?;
        Ok((written, merged))
    }

    /// Gives a document another expiry: a write like any other, with the same value. `None` if the key is not there.
    /// The options' expectation is a condition as in [`Table::put_with`]. Copies the value, however large.
    ///
    /// # Errors
    /// As [`Table::put_with`].
    pub fn set_expiry(&self, key: &[u8], options: impl Into<WriteOptions>) -> Result<Option<Written>> {
        let options = options.into();
        loop {
            let Some(entry) = self.get_entry(key)? else {
                return match options.expect {
                    Expect::Anything | Expect::Absent => Ok(None),
                    _ => Err(self.conflict(key, None)),
                };
            };
            let found = Written { version: entry.version, sequence: entry.sequence };
            let present = Present { written: found, is_expired: false };
            if !Condition::Expect(options.expect).holds(Some(present)) {
                return Err(self.conflict(key, Some(found)));
            }
            match self.put_with(key, &entry.value, options.expect(Expect::from(found))) {
                Err(Error::Conflict { .. }) => {}
                outcome => return outcome.map(Some),
            }
        }
    }

    pub(crate) fn conflict(&self, key: &[u8], found: Option<Written>) -> Error {
        Error::Conflict { table: self.name().to_string(), key: key.to_vec(), found }
    }

    pub(crate) fn durability_of(&self, options: &WriteOptions) -> Durability {
        options.durability.unwrap_or(self.durability)
    }

    /// When a document written now, or at this time, expires.
    fn expiry_ms(&self, expiry: Expiry, at_ms: Option<u64>) -> Result<Option<u64>> {
        let now_ms = at_ms.unwrap_or_else(|| self.inner.now_for_expiry_ms());
        let ttl = match expiry {
            Expiry::Default => self.ttl,
            Expiry::Never => None,
            Expiry::After(ttl) => Some(ttl),
            Expiry::At(time_ms) => {
                if time_ms <= now_ms {
                    let reason = format!("an expiry at {time_ms} ms, which is not after now, {now_ms} ms");
                    return Err(Error::InvalidArgument { reason });
                }
                return Ok(Some(time_ms));
            }
        };
        let Some(ttl) = ttl else { return Ok(None) };
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        if ttl_ms == 0 {
            let reason = "a ttl of less than 1 ms; a document expires in the future".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        Ok(Some(now_ms.saturating_add(ttl_ms)))
    }

    /// The place of a key. While its line of the index comes from memory, other things can be done.
    pub(crate) fn locate(&self, key: &[u8]) -> Result<u64> {
        let place = self.place(key)?;
        self.core.index.partition(place).touch(place, &epoch::pin());
        Ok(place)
    }

    /// A put of a key that was located, as of a time if it is a copy of another database's.
    #[inline]
    pub(crate) fn put_change<'a>(
        &'a self,
        place: u64,
        key: &'a [u8],
        value: &'a [u8],
        options: &WriteOptions,
        at_ms: Option<u64>,
    ) -> Result<Change<'a>> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLarge { length: value.len(), limit: VALUE_BYTES_MAX });
        }
        let (codec, stored) = self.compress(value)?;
        let checksum = body_checksum(key, &stored);
        self.write_change(place, key, Body::Put { codec, stored, checksum }, options, at_ms)
    }

    /// Any change that leaves a document.
    #[inline]
    pub(crate) fn write_change<'a>(
        &'a self,
        place: u64,
        key: &'a [u8],
        body: Body<'a>,
        options: &WriteOptions,
        at_ms: Option<u64>,
    ) -> Result<Change<'a>> {
        let mut change = self.delete_change(place, key, options);
        change.body = body;
        if options.expiry != Expiry::Default || self.ttl.is_some() {
            change.expiry_ms = self.expiry_ms(options.expiry, at_ms)?;
        }
        Ok(change)
    }

    /// A delete of a key that was located.
    #[inline]
    pub(crate) fn delete_change<'a>(
        &'a self,
        place: u64,
        key: &'a [u8],
        options: &WriteOptions,
    ) -> Change<'a> {
        let mut change = Change::new(&self.core, place, key, Body::Delete);
        if options.expect != Expect::Anything {
            change.condition = Some(Condition::Expect(options.expect));
        }
        change
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

    /// Finds the key's newest record, or the one that a view sees, and hands it to `f`, without locks. `f` may call the
    /// database.
    #[inline]
    pub(crate) fn find<R>(
        &self,
        key: &[u8],
        view: Option<&View>,
        mut f: impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        self.inner.health.check_open()?;
        let place = self.place(key)?;
        let guard = epoch::pin();
        if let Some(view) = view {
            return self.find_in_view(place, key, view, &guard, &mut f);
        }
        match self.find_at_once(place, key, &guard) {
            AtOnce::Found(found) => f(&found),
            AtOnce::Absent => Ok(None),
            AtOnce::Unsure => {
                let mut unless_expired =
                    |found: &Found<'_>| if self.is_expired(&found.record) { Ok(None) } else { f(found) };
                self.find_slowly(place, key, &guard, &mut unless_expired)
            }
        }
    }

    /// Whether a document is invisible by now.
    #[inline]
    pub(crate) fn is_expired(&self, record: &Peek<'_>) -> bool {
        record.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.inner.now_for_expiry_ms())
    }

    /// Finds the record of a key that a view sees.
    fn find_in_view<R>(
        &self,
        place: u64,
        key: &[u8],
        view: &View,
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        self.core.index.partition(place).wait_settled();
        let mut see = |found: &Found<'_>| {
            let is_visible = found.record.expiry_ms.is_none_or(|expiry_ms| expiry_ms > view.time_ms);
            if is_visible { f(found) } else { Ok(None) }
        };
        let mut times = 0;
        loop {
            // The index first: what is newer there has left the one before it in the history.
            let newest = self.find_slowly(place, key, guard, &mut |found| {
                let is_seen = found.header()?.sequence <= view.sequence;
                Ok(Some(if is_seen { Some(see(found)?) } else { None }))
            })?;
            if let Some(Some(result)) = newest {
                return Ok(result);
            }
            let history = self.core.index.history(place);
            if history.is_empty() {
                return Ok(None);
            }
            let old = history.at(ChainId { place, check: self.core.check(key) }, view.sequence);
            let Some(old) = old.filter(|old| !old.is_tombstone) else { return Ok(None) };
            match self.look_at(old.address, key, guard, &mut see)? {
                Look::Found(result) => return Ok(result),
                Look::Other => return Ok(None),
                Look::Moved => self.inner.catalog.look_again(&mut times)?,
            }
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
    pub(crate) fn look_at<R>(
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
    pub(crate) fn find_plain<R>(
        &self,
        key: &[u8],
        view: Option<&View>,
        f: impl FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    ) -> Result<Option<R>> {
        let mut f = Some(f);
        loop {
            let mut missed = false;
            let found = self.find(key, view, |found| {
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
        self.find_plain(key, None, |_, value| Ok(value.to_vec()))
    }

    /// The value of a key with its version, sequence and time.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.find_plain(key, None, |found, value| found.entry(value))
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
        Ok(self.find_plain(key, None, copy)?.is_some())
    }

    /// Hands the value of a key to a function, without a copy where the value is stored as it is. The function may
    /// call the database.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_with<R>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        self.find_plain(key, None, |_, value| Ok(f(value)))
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
        f: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        self.read_many(keys, None, self.handing_over(f))
    }

    /// What hands the plain value of each key to a function, for [`Table::read_many`].
    pub(crate) fn handing_over(
        &self,
        mut f: impl FnMut(usize, Option<&[u8]>),
    ) -> impl FnMut(usize, Option<&Found<'_>>) -> Result<bool> {
        move |index, found| {
            let Some(found) = found else {
                f(index, None);
                return Ok(true);
            };
            Ok(self.with_plain(found.stored()?, |value| f(index, Some(value)))?.is_some())
        }
    }

    /// Hands the record of each key that is there now, or that a view sees, to a function, which returns false if it must
    /// be looked for again because its large value has gone meanwhile.
    pub(crate) fn read_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        view: Option<&View>,
        mut f: impl FnMut(usize, Option<&Found<'_>>) -> Result<bool>,
    ) -> Result<()> {
        self.inner.health.check_open()?;
        for (group, keys) in keys.chunks(GET_MANY_GROUP).enumerate() {
            let guard = epoch::pin();
            // First the lines of the index for all, then the records for all, then all that is there already.
            let mut places = [0; GET_MANY_GROUP];
            for (place, key) in places.iter_mut().zip(keys) {
                *place = self.place(key.as_ref())?;
                let partition = self.core.index.partition(*place);
                if view.is_some() {
                    partition.wait_settled();
                }
                partition.touch(*place, &guard);
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
                // What the index does not have any more a view may see in the history.
                let mut done = view.is_none() && first.address.is_none() && first.is_only;
                if done {
                    f(index, None)?;
                } else if let Some(address) = first.address {
                    let look = self.look_at(address, key, &guard, &mut |found| {
                        let is_there = match view {
                            None => !self.is_expired(&found.record),
                            Some(view) => found.is_seen_by(view)?,
                        };
                        if is_there {
                            done = f(index, Some(found))?;
                        }
                        Ok(Some(()))
                    })?;
                    if view.is_none() && first.is_only && matches!(look, Look::Other) {
                        f(index, None)?;
                        done = true;
                    }
                }
                while !done {
                    let mut missed = false;
                    let found = self.find(key, view, |found| {
                        missed = !f(index, Some(found))?;
                        Ok(Some(()))
                    })?;
                    if found.is_none() {
                        f(index, None)?;
                    }
                    done = !missed;
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
        self.find_again(key, None, |found| self.pin(found))
    }

    /// [`Table::find`], which looks again where `f` has found nothing because a large value was replaced meanwhile.
    fn find_again<R>(
        &self,
        key: &[u8],
        view: Option<&View>,
        mut f: impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        loop {
            let mut missed = false;
            let found = self.find(key, view, |found| {
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
    pub(crate) fn open_parts(&self, key: &[u8], view: Option<&View>) -> Result<Option<Parts>> {
        self.find_again(key, view, |found| {
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
        Ok(self.find(key, None, |_| Ok(Some(())))?.is_some())
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
