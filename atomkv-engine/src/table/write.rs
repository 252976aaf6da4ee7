//! The writes of a table: conditional ones, and those that change what is there.

use std::borrow::Cow;

use super::{About, Found, Parts, Table};
use crate::commit::{Body, Change};
use crate::epoch;
use crate::error::{Error, Result};
use crate::expect::{Condition, Expect, Present};
use crate::format::record::{Header, body_checksum};
use crate::merge::Merge;
use crate::options::{Durability, Expiry, WriteOptions};
use crate::services::Codec;
use crate::types::{Changed, Update, VALUE_BYTES_MAX, Written};

/// Longer values take a while, see [`Table::write_may_wait`].
const AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// So often a streamed document is copied to get another expiry, while others write it.
const COPIES_MAX: u32 = 16;

impl Table {
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
        self.put_as(key, value, &options.into(), |_| {})
    }

    /// [`Table::put_with`], with a last word on the change.
    #[inline]
    fn put_as(
        &self,
        key: &[u8],
        value: &[u8],
        options: &WriteOptions,
        adjust: impl FnOnce(&mut Change<'_>),
    ) -> Result<Written> {
        // Waiting for compaction or the disk counts.
        let began = self.inner.counters.shard().begin_put();
        self.inner.backpressure();
        // One pin for all that follows: pinning again costs next to nothing.
        let guard = epoch::pin();
        let mut change = self.put_change(self.locate(key)?, key, value, options, None)?;
        adjust(&mut change);
        let written = self.inner.commit_one(&change, self.durability_of(options), guard)?;
        if let Some(began) = began {
            self.inner.counters.put_latency.add(began.elapsed());
        }
        written.ok_or_else(|| Error::Internal { reason: "a put that wrote nothing".to_string() })
    }

    /// Whether a write of a value of so many bytes, with this durability or the table's, would have to wait as things are: for
    /// the disk, or because writers are slowed down. A guess, for callers that hold a lock of their own, such as
    /// that of an interpreter, and would rather let go of it first.
    #[inline]
    pub fn write_may_wait(&self, value_bytes: usize, durability: Option<Durability>) -> bool {
        value_bytes > AT_ONCE_BYTES_MAX
            || durability.unwrap_or(self.durability) == Durability::Sync
            || self.inner.is_writer_held_up()
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
                Some((written, true)) => {
                    // Somebody else may have written it without a sync.
                    if self.durability == Durability::Sync {
                        self.inner.log.sync_to(written.sequence)?;
                    }
                    return Ok(Changed::Unchanged(written));
                }
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
            let (update, present) = match self.find_plain(key, None, read)? {
                Some((header, update)) => (update, Some(header)),
                None => (f(None)?, None),
            };
            let expect = present.as_ref().map_or(Expect::Absent, |header| Expect::Sequence(header.sequence));
            let outcome = match (update, present) {
                (Update::Put(value), Some(header)) => {
                    self.replace(key, &value, expect, header.expiry_ms).map(Some)
                }
                (Update::Put(value), None) => self.put_with(key, &value, expect).map(Some),
                (Update::Delete, _) => self.delete_with(key, expect),
                (Update::Keep, _) => return Ok(None),
            };
            match outcome {
                Err(Error::Conflict { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// Puts another value in the place of one that is there, with the expiry that it has.
    fn replace(&self, key: &[u8], value: &[u8], expect: Expect, expiry_ms: Option<u64>) -> Result<Written> {
        let options = WriteOptions::new().expect(expect).expiry(Expiry::Never);
        // Not by the options, which refuse one that has passed meanwhile: what is expected is not there any more then.
        self.put_as(key, value, &options, |change| change.expiry_ms = expiry_ms)
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
    /// The options' expectation is a condition as in [`Table::put_with`]. Copies the value, however large; that of a
    /// streamed document part by part, into another streamed one.
    ///
    /// # Errors
    /// As [`Table::put_with`] and, of a streamed document, [`Table::write_stream`]; [`Error::Conflict`] too if others have
    /// written it each of 16 times that it was copied.
    pub fn set_expiry(&self, key: &[u8], options: impl Into<WriteOptions>) -> Result<Option<Written>> {
        let options = options.into();
        let mut copies = 0;
        loop {
            let Some(parts) = self.open_parts(key, None)? else {
                return match options.expect {
                    Expect::Anything | Expect::Absent => Ok(None),
                    _ => Err(self.conflict(key, None)),
                };
            };
            let About { version, sequence, .. } = match &parts {
                Parts::Held(pinned) => pinned.about(),
                Parts::Chunked { about, .. } => *about,
            };
            let found = Written { version, sequence };
            let present = Present { written: found, is_expired: false };
            if !Condition::Expect(options.expect).holds(Some(present)) {
                return Err(self.conflict(key, Some(found)));
            }
            let options = options.expect(Expect::from(found));
            let outcome = match parts {
                Parts::Held(pinned) => self.put_with(key, &pinned, options),
                parts @ Parts::Chunked { .. } => {
                    // Before all of it is copied in vain.
                    self.expiry_ms(options.expiry, None)?;
                    copies += 1;
                    self.copy_stream(key, &self.reader(parts), options)
                }
            };
            match outcome {
                Err(Error::Conflict { .. }) if copies < COPIES_MAX => {}
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
        self.core.index.touch(place, &epoch::pin());
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
}
