//! The reads of a table: of the newest records, or of what a view sees; one key or many.

use std::cell::RefCell;
use std::time::Instant;

use super::Table;
use super::found::{AtOnce, Found, Look, Next, Stored, View};
use super::pinned::{Parts, Pinned, PinnedBytes};
use crate::epoch::{self, Guard};
use crate::error::{Error, Result};
use crate::events;
use crate::format::record::{ExtentRef, Peek};
use crate::index::history::ChainId;
use crate::index::subtable::{Candidates, First};
use crate::segment::Segment;
use crate::services::{Codec, decompress_builtin};
use crate::types::{Address, Entry, Ready};

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How many lookups wait for memory together: more than the processor keeps under way gains nothing.
const GET_MANY_GROUP: usize = 32;

/// Longer values are nobody's business at once, see [`Table::get_at_once`].
const AT_ONCE_BYTES_MAX: u64 = 64 << 10;

/// A thread keeps its scratch buffer for decompressed values up to this size.
const SCRATCH_KEEP_BYTES: usize = 1 << 20;

impl Table {
    fn decompress(&self, codec: u8, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match Codec::from_bits(codec) {
            // A handle that was made without the program's compressor must not give its bytes to another one.
            Some(Codec::Custom) if self.services.compressor().codec() != Codec::Custom => {
                let name = self.name();
                let reason =
                    format!("table {name:?} has a compressor of its own; give a handle opened with it");
                Err(Error::InvalidArgument { reason })
            }
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
        let counts = self.inner.counters.shard();
        let outcome = if counts.is_read_timed() {
            self.find_timed(place, key, view, &guard, &mut f)
        } else {
            self.find_uncounted(place, key, view, &guard, &mut f)
        };
        counts.note_read(!matches!(outcome, Ok(None)));
        events::note_damage(&outcome);
        outcome
    }

    #[cold]
    #[inline(never)]
    fn find_timed<R>(
        &self,
        place: u64,
        key: &[u8],
        view: Option<&View>,
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        let began = Instant::now();
        let outcome = self.find_uncounted(place, key, view, guard, f);
        self.inner.counters.get_latency.add(began.elapsed());
        outcome
    }

    #[inline]
    fn find_uncounted<R>(
        &self,
        place: u64,
        key: &[u8],
        view: Option<&View>,
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        if let Some(view) = view {
            return self.find_in_view(place, key, view, guard, f);
        }
        match self.find_at_once(place, key, guard) {
            AtOnce::Found(found) => f(&found),
            AtOnce::Absent => Ok(None),
            AtOnce::Unsure => self.find_unexpired(place, key, guard, f),
        }
    }

    #[cold]
    fn find_unexpired<R>(
        &self,
        place: u64,
        key: &[u8],
        guard: &Guard,
        f: &mut impl FnMut(&Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        let mut unless_expired =
            |found: &Found<'_>| if self.is_expired(&found.record) { Ok(None) } else { f(found) };
        self.find_slowly(place, key, guard, &mut unless_expired)
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
        if !view.is_settled {
            self.core.index.wait_settled(place);
        }
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
    #[inline(always)]
    fn find_at_once<'g>(&'g self, place: u64, key: &[u8], guard: &'g Guard) -> AtOnce<'g> {
        let Some(first) = self.core.index.first_at_once(place, guard) else {
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
        self.core.index.find(place, guard, &mut candidates)?;
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
    #[inline(always)]
    pub(crate) fn find_plain<R, F>(&self, key: &[u8], view: Option<&View>, f: F) -> Result<Option<R>>
    where
        F: FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    {
        if view.is_some() {
            return self.find_plain_anyhow(key, view, f);
        }
        self.inner.health.check_open()?;
        let place = self.place(key)?;
        let guard = epoch::pin();
        let counts = self.inner.counters.shard();
        if counts.is_read_timed() {
            return self.find_plain_anyhow(key, view, f);
        }
        // Nearly always a value that is stored as it is, or none: the rest is kept apart, for the sake of the processor.
        match self.find_at_once(place, key, &guard) {
            AtOnce::Found(found) => match Stored::of(&found.record) {
                Some(Stored::Raw(value)) => {
                    counts.note_read(true);
                    let outcome = f(&found, value).map(Some);
                    events::note_damage(&outcome);
                    outcome
                }
                _ => self.find_plain_in(&found, key, f),
            },
            AtOnce::Absent => {
                counts.note_read(false);
                Ok(None)
            }
            AtOnce::Unsure => self.find_plain_unsure(place, key, &guard, f),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_plain_unsure<R, F>(&self, place: u64, key: &[u8], guard: &Guard, f: F) -> Result<Option<R>>
    where
        F: FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    {
        let (mut f, mut missed) = (Some(f), false);
        let outcome = self.find_unexpired(place, key, guard, &mut |found| {
            let result = self.hand_over(found, &mut f)?;
            missed = result.is_none();
            Ok(result)
        });
        if let Some(f) = f.filter(|_| missed) {
            return self.find_plain_anyhow(key, None, f);
        }
        self.inner.counters.shard().note_read(!matches!(outcome, Ok(None)));
        events::note_damage(&outcome);
        outcome
    }

    /// [`Table::find_plain`] once the newest record is found.
    #[inline(never)]
    fn find_plain_in<R, F>(&self, found: &Found<'_>, key: &[u8], f: F) -> Result<Option<R>>
    where
        F: FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    {
        let mut f = Some(f);
        let outcome = self.hand_over(found, &mut f);
        if let (Ok(None), Some(f)) = (&outcome, f) {
            return self.find_plain_anyhow(key, None, f);
        }
        self.inner.counters.shard().note_read(true);
        events::note_damage(&outcome);
        outcome
    }

    /// [`Table::find_plain`] whatever is found.
    #[cold]
    #[inline(never)]
    fn find_plain_anyhow<R, F>(&self, key: &[u8], view: Option<&View>, f: F) -> Result<Option<R>>
    where
        F: FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    {
        let (mut f, mut times) = (Some(f), 0);
        loop {
            let mut missed = false;
            let found = self.find(key, view, |found| {
                let result = self.hand_over(found, &mut f)?;
                missed = result.is_none();
                Ok(result)
            })?;
            if !missed {
                return Ok(found);
            }
            self.inner.extents.look_again(&mut times)?;
        }
    }

    /// Hands the plain value of a record to `f`. `None`, with `f` left, if it was a large one that has gone.
    fn hand_over<R, F>(&self, found: &Found<'_>, f: &mut Option<F>) -> Result<Option<R>>
    where
        F: FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    {
        let plain = |plain: &[u8]| f.take().map(|f| f(found, plain)).transpose();
        Ok(self.with_plain(found.stored()?, plain)?.transpose()?.flatten())
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

    /// [`Table::get_with`] for callers that hold a lock of their own, which others wait for, such as that of an interpreter:
    /// answers only if the value, or that the key is not there, can be told from mapped memory, without a call to the
    /// system and without handling more than 64 KiB. Memory that has to come from the disk is waited for all the same.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// use atomkv_engine::{Database, Ready, TableOptions};
    ///
    /// let database = Database::in_memory()?;
    /// let users = database.table("users", TableOptions::new())?;
    /// users.put(b"ada", b"1815")?;
    /// let length = match users.get_at_once(b"ada", |value| value.len())? {
    ///     Ready::Now(length) => length,
    ///     Ready::Later => users.get_with(b"ada", |value| value.len())?,
    /// };
    /// assert_eq!(length, Some(4));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_at_once<R>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Ready<Option<R>>> {
        self.find_ready(key, |_, value| Ok(f(value)))
    }

    /// [`Table::get_entry`] on the terms of [`Table::get_at_once`].
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn get_entry_at_once(&self, key: &[u8]) -> Result<Ready<Option<Entry>>> {
        self.find_ready(key, |found, value| found.entry(value))
    }

    fn find_ready<R>(
        &self,
        key: &[u8],
        f: impl FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    ) -> Result<Ready<Option<R>>> {
        self.inner.health.check_open()?;
        let place = self.place(key)?;
        let guard = epoch::pin();
        let counts = self.inner.counters.shard();
        let began = counts.is_read_timed().then(Instant::now);
        let found = match self.find_at_once(place, key, &guard) {
            AtOnce::Found(found) => self.hand_over_at_once(&found, f)?,
            AtOnce::Absent => Ready::Now(None),
            AtOnce::Unsure => self.find_in_memory(place, key, &guard, f),
        };
        if let Ready::Now(value) = &found {
            counts.note_read(value.is_some());
            if let Some(began) = began {
                self.inner.counters.get_latency.add(began.elapsed());
            }
        }
        Ok(found)
    }

    #[inline]
    fn hand_over_at_once<R>(
        &self,
        found: &Found<'_>,
        f: impl FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    ) -> Result<Ready<Option<R>>> {
        let stored = found.stored()?;
        if matches!(stored, Stored::Extent(..)) || stored.is_longer_than(AT_ONCE_BYTES_MAX) {
            return Ok(Ready::Later);
        }
        let value = match stored {
            Stored::Raw(value) => Some(f(found, value)?),
            _ => self.with_plain(stored, |value| f(found, value))?.transpose()?,
        };
        Ok(Ready::Now(value))
    }

    /// [`Table::find_at_once`] where something is unusual and yet in mapped memory: a document that expires or was changed
    /// often, a tag that several keys have. Damage is for the call that may wait, which tells of it.
    #[cold]
    fn find_in_memory<R>(
        &self,
        place: u64,
        key: &[u8],
        guard: &Guard,
        f: impl FnOnce(&Found<'_>, &[u8]) -> Result<R>,
    ) -> Ready<Option<R>> {
        let mut candidates = Candidates::default();
        if !self.core.index.find_at_once(place, guard, &mut candidates) {
            return Ready::Later;
        }
        let mut f = Some(f);
        for address in candidates.iter() {
            if !self.segment(address.ordinal(), guard).is_some_and(Segment::is_mapped) {
                return Ready::Later;
            }
            let looked = self.look_at(address, key, guard, &mut |found| match f.take() {
                Some(f) if !self.is_expired(&found.record) => self.hand_over_at_once(found, f).map(Some),
                _ => Ok(None),
            });
            match looked {
                Ok(Look::Found(value)) => return value.unwrap_or(Ready::Now(None)),
                Ok(Look::Other) => {}
                Ok(Look::Moved) | Err(_) => return Ready::Later,
            }
        }
        Ready::Now(None)
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
    ) -> impl FnMut(usize, Option<&Found<'_>>) -> Result<Next> {
        move |index, found| {
            let Some(found) = found else {
                f(index, None);
                return Ok(Next::More);
            };
            let handed = self.with_plain(found.stored()?, |value| f(index, Some(value)))?;
            Ok(if handed.is_some() { Next::More } else { Next::Again })
        }
    }

    /// Hands the record of each key that is there now, or that a view sees, to a function.
    pub(crate) fn read_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        view: Option<&View>,
        mut f: impl FnMut(usize, Option<&Found<'_>>) -> Result<Next>,
    ) -> Result<()> {
        self.inner.health.check_open()?;
        for (group, keys) in keys.chunks(GET_MANY_GROUP).enumerate() {
            let guard = epoch::pin();
            // First the lines of the index for all, then the records for all, then all that is there already.
            let mut places = [0; GET_MANY_GROUP];
            for (place, key) in places.iter_mut().zip(keys) {
                *place = self.place(key.as_ref())?;
                if view.is_some_and(|view| !view.is_settled) {
                    self.core.index.wait_settled(*place);
                }
                self.core.index.touch(*place, &guard);
            }
            let mut firsts = [First { address: None, is_only: false }; GET_MANY_GROUP];
            for (first, place) in firsts.iter_mut().zip(&places[..keys.len()]) {
                *first = self.core.index.first(*place, &guard)?;
                if let Some(address) = first.address
                    && let Some(segment) = self.segment(address.ordinal(), &guard)
                {
                    segment.prefetch(address.offset());
                }
            }
            let mut misses = 0;
            for (at, (key, first)) in keys.iter().zip(&firsts).enumerate() {
                let (key, index) = (key.as_ref(), group * GET_MANY_GROUP + at);
                let mut next = Next::Again;
                // What the index does not have any more a view may see in the history.
                if view.is_none() && first.address.is_none() && first.is_only {
                    misses += 1;
                    next = f(index, None)?;
                } else if let Some(address) = first.address {
                    let look = self.look_at(address, key, &guard, &mut |found| {
                        let is_there = match view {
                            None => !self.is_expired(&found.record),
                            Some(view) => found.is_seen_by(view)?,
                        };
                        if is_there {
                            next = f(index, Some(found))?;
                        }
                        Ok(Some(()))
                    })?;
                    if view.is_none() && first.is_only && matches!(look, Look::Other) {
                        misses += 1;
                        next = f(index, None)?;
                    }
                }
                let mut times = 0;
                while matches!(next, Next::Again) {
                    self.inner.extents.look_again(&mut times)?;
                    let found = self.find_uncounted(places[at], key, view, &guard, &mut |found| {
                        next = f(index, Some(found))?;
                        Ok(Some(()))
                    })?;
                    if found.is_none() {
                        misses += 1;
                        next = f(index, None)?;
                    }
                }
                if matches!(next, Next::Enough) {
                    self.inner.counters.shard().note_reads(at as u64 + 1, misses);
                    return Ok(());
                }
            }
            self.inner.counters.shard().note_reads(keys.len() as u64, misses);
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
        let mut times = 0;
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
            self.inner.extents.look_again(&mut times)?;
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
        let about = found.about()?;
        Ok(bytes.map(|bytes| Pinned { bytes, about }))
    }

    /// Holds what a document is read from by parts.
    pub(crate) fn open_parts(&self, key: &[u8], view: Option<&View>) -> Result<Option<Parts>> {
        self.find_again(key, view, |found| self.parts_of(found))
    }

    /// The same of a document that was found. `None` if its value is not there any more.
    pub(crate) fn parts_of(&self, found: &Found<'_>) -> Result<Option<Parts>> {
        let Stored::Extent(_, extent @ ExtentRef { chunk_bits: Some(chunk_bits), .. }) = found.stored()?
        else {
            return Ok(self.pin(found)?.map(Parts::Held));
        };
        let verify = self.inner.options.verify_checksums;
        let Some(file) = self.inner.extents.open_chunked(&extent, chunk_bits, verify)? else {
            return Ok(None);
        };
        Ok(Some(Parts::Chunked { file, about: found.about()? }))
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
}
