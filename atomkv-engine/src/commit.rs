//! From a change that somebody asked for to a record in the log and an entry in the index.
//!
//! Everything slow happens before any lock: compressing, the checksum of the body, writing a large value, and reading
//! the record that is to be replaced. Then the locks of all partitions concerned are taken in one order, what was
//! read is checked to be still true, the commit is appended to the log, the entries swing, and the locks go.

mod change;
mod locks;

use std::sync::Arc;

use crate::database::Inner;
use crate::epoch::{self, Guard};
use crate::error::{Error, Result};
use crate::expect::Present;
use crate::format::record::{ExtentRef, Hint, Kind, body_checksum};
use crate::index::key_order::KeyOrder;
use crate::index::ordered::OrderedIndex;
use crate::index::partition::PartitionLock;
use crate::index::subtable::{Candidates, First};
use crate::log::{Commit, Draft, Numbering, Stamp};
use crate::options::Durability;
use crate::storage::StorageFile;
use crate::types::{Address, Written};
pub(crate) use change::{Body, Change};
pub(crate) use locks::Validation;
use locks::{lock_partitions, lock_prepared};

/// After so many attempts for which others were too fast, a commit looks its keys up under the locks.
const OPTIMISTIC_TRIES: u32 = 8;

/// How many lookups of a batch wait for memory together.
const LOOK_UP_GROUP: usize = 64;

/// So many entries ahead of the one that swings are fetched from memory.
const SWING_AHEAD: usize = 12;

/// The newest record of a key.
#[derive(Clone, Copy)]
pub(crate) struct Existing {
    pub(crate) address: Address,
    pub(crate) version: u64,
    pub(crate) length: u64,
    /// The id of the large value that it refers to.
    pub(crate) extent: Option<u64>,
    /// 0 if a damaged record does not tell.
    pub(crate) sequence: u64,
    expiry_ms: Option<u64>,
}

/// What the index says of a key.
struct Indexed {
    /// Of the partition, before it was asked.
    changes: u64,
    first: First,
}

struct Lookup {
    changes: u64,
    existing: Option<Existing>,
    /// Whether that is a document which has expired: then it counts as absent.
    is_expired: bool,
    /// Records of other keys that the index does not tell from a key that is absent; nearly always none.
    others: Option<Box<Candidates>>,
}

/// What came of looking at one address.
enum Look {
    Key(Existing),
    Other,
    /// The segment has gone since the index was asked.
    Moved,
}

/// A large value that is removed again unless a commit refers to it.
struct PendingExtent<'a> {
    inner: &'a Inner,
    reference: ExtentRef,
    encoded: Vec<u8>,
    file: Arc<dyn StorageFile>,
    committed: bool,
}

impl Drop for PendingExtent<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.inner.extents.abandon(self.reference.id);
        }
    }
}

/// Makes the database read-only if a panic passes through the critical section: half of a commit may be in the log.
struct Poison<'a>(&'a Inner);

impl Poison<'_> {
    /// The critical section has been left in the ordinary way.
    fn lift(self) {
        std::mem::forget(self);
    }
}

impl Drop for Poison<'_> {
    fn drop(&mut self) {
        let reason = "a panic inside a commit".to_string();
        let _ = self.0.health.fail(Error::Internal { reason });
    }
}

/// Whether there are conditions and nothing else: several keys as they are at one moment.
fn only_looks(changes: &[Change<'_>]) -> bool {
    changes.iter().all(|change| matches!(change.body, Body::Check))
}

/// What became of a commit.
pub(crate) struct Committed {
    /// 0 if there was nothing to do.
    sequence: u64,
    /// The version of the first key that it changed.
    version: u64,
    /// The versions of all changes, 0 of those that had nothing to do, if they were asked for and are several.
    versions: Vec<u64>,
    /// The documents and tombstones that it has written.
    puts: u64,
    deletes: u64,
}

impl Committed {
    /// There was nothing to do.
    const NOTHING: Committed =
        Committed { sequence: 0, version: 0, versions: Vec::new(), puts: 0, deletes: 0 };
}

impl Inner {
    /// Applies one change. `None`: a delete of a key that is not there; nothing was written.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a condition does not hold; nothing was written.
    pub(crate) fn commit_one(
        &self,
        change: &Change<'_>,
        how: Durability,
        guard: Guard,
    ) -> Result<Option<Written>> {
        let changes = std::slice::from_ref(change);
        let Committed { sequence, version, .. } = self.commit(changes, &Validation::default(), how, guard)?;
        Ok((sequence > 0).then_some(Written { version, sequence }))
    }

    /// Applies all changes or none, under one sequence, and tells it unless there was nothing to do.
    pub(crate) fn commit_many(&self, changes: &[Change<'_>], how: Durability) -> Result<Option<u64>> {
        self.commit_validated(changes, &Validation::default(), how)
    }

    /// The same if what a transaction has scanned has not changed.
    pub(crate) fn commit_validated(
        &self,
        changes: &[Change<'_>],
        validation: &Validation<'_>,
        how: Durability,
    ) -> Result<Option<u64>> {
        self.wait_to_write(changes);
        let Committed { sequence, .. } = self.commit(changes, validation, how, epoch::pin())?;
        Ok((sequence > 0).then_some(sequence))
    }

    /// [`Inner::commit_many`], which tells what each change became: `None` of those that had nothing to do.
    pub(crate) fn commit_telling(
        &self,
        changes: &[Change<'_>],
        how: Durability,
    ) -> Result<Vec<Option<Written>>> {
        self.wait_to_write(changes);
        let validation = Validation { tells_versions: true, ..Validation::default() };
        let Committed { sequence, version, versions, .. } =
            self.commit(changes, &validation, how, epoch::pin())?;
        let written = |version| (version > 0).then_some(Written { version, sequence });
        Ok(match (sequence, changes.len()) {
            (0, count) => vec![None; count],
            (_, 1) => vec![written(version)],
            _ => versions.into_iter().map(written).collect(),
        })
    }

    /// Those who only look are no writers, and need not wait as they do.
    fn wait_to_write(&self, changes: &[Change<'_>]) {
        if !only_looks(changes) {
            self.backpressure();
        }
    }

    /// No two changes may be of one key, and they come in the order of tables and places, in which partitions are locked.
    ///
    /// The guard is held until the commit is done, though not while it is synced: an address that was found before
    /// the locks must mean the same record under them.
    fn commit(
        &self,
        changes: &[Change<'_>],
        validation: &Validation<'_>,
        how: Durability,
        mut guard: Guard,
    ) -> Result<Committed> {
        if only_looks(changes) {
            self.health.check_open()?;
        } else {
            self.health.check_writable()?;
        }
        let puts = changes.iter().any(|change| change.body.is_put());
        if puts && !self.catalog.has_room_for_puts() {
            return Err(Error::NoSpace { path: self.catalog.path.clone() });
        }
        let mut extents = self.write_extents(changes)?;
        let mut spent = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let exclusively = tries > OPTIMISTIC_TRIES;
            let outcome = match changes {
                [change] if !validation.is_needed() && !exclusively => {
                    self.try_commit_one(change, &mut extents, how, &guard)
                }
                _ => self.try_commit_many(changes, validation, &mut extents, how, exclusively, &guard),
            };
            match outcome {
                // Somebody else changed one of the keys meanwhile: look again, and let go what was reclaimed by now.
                Ok(None) => {
                    drop(guard);
                    guard = epoch::pin();
                }
                Ok(Some(committed)) => {
                    if committed.sequence > 0 {
                        self.counters.shard().note_commit(committed.puts, committed.deletes);
                    }
                    drop(guard);
                    epoch::collect_if_due();
                    self.log.wake_waiters();
                    if how == Durability::Sync {
                        match committed.sequence {
                            // That the keys are not there may be what somebody else has done without a sync.
                            0 => self.log.sync_all()?,
                            sequence => self.log.sync_to(sequence)?,
                        }
                    }
                    return Ok(committed);
                }
                // Deletes are what frees a full disk, once what they leave is settled.
                Err(error @ Error::NoSpace { .. }) if !puts => {
                    let has_room = !spent && self.catalog.spend_reserve();
                    spent = true;
                    // A pin would keep the very space that is to come back.
                    drop(guard);
                    if !has_room && !self.settle_for_space()? {
                        return Err(error);
                    }
                    epoch::collect();
                    guard = epoch::pin();
                }
                Err(error) => {
                    if matches!(error, Error::Conflict { .. }) {
                        self.counters.shard().note_conflict();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Writes the values that are too large for the log.
    fn write_extents(&self, changes: &[Change<'_>]) -> Result<Vec<Option<PendingExtent<'_>>>> {
        let is_large = |change: &Change<'_>| match &change.body {
            Body::Put { stored, .. } => stored.len() as u64 >= self.options.large_value_bytes,
            Body::Stream { .. } => true,
            _ => false,
        };
        if !changes.iter().any(is_large) {
            return Ok(Vec::new());
        }
        let _change = self.changing.read();
        self.health.check_writable()?;
        let write = |change: &Change<'_>| match &change.body {
            Body::Put { stored, .. } if is_large(change) => {
                let (reference, file) = self.extents.write(stored)?;
                let encoded = reference.encode();
                Ok(Some(PendingExtent { inner: self, reference, encoded, file, committed: false }))
            }
            Body::Stream { reference, file } => {
                let (reference, encoded, file) = (*reference, reference.encode(), file.clone());
                // It is not this one's to remove.
                Ok(Some(PendingExtent { inner: self, reference, encoded, file, committed: true }))
            }
            _ => Ok(None),
        };
        changes.iter().map(write).collect()
    }

    /// One attempt. `Ok(None)` if what was read before the lock was no longer true under it.
    fn try_commit_one(
        &self,
        change: &Change<'_>,
        extents: &mut [Option<PendingExtent<'_>>],
        how: Durability,
        guard: &Guard,
    ) -> Result<Option<Committed>> {
        let mut now_ms = self.now_ms();
        let mut lookup = self.look_up(change, self.ask_index(change, guard)?, guard)?;
        let deadline_ms = self.judge(change, &mut lookup, None, &mut now_ms)?;
        if lookup.is_idle(change) {
            return Ok(Some(Committed::NOTHING));
        }
        let version = lookup.version(change);
        let changes = std::slice::from_ref(change);
        let lookups = std::slice::from_ref(&lookup);
        let addresses = &mut [None];
        let numbering = Numbering::Next;
        let mut records =
            Records { inner: self, changes, lookups, kept: &[0], extents, addresses, deadline_ms, numbering };
        let lock = change.table.index.lock(change.place, guard);
        if !still_true(&lock, change, &lookup)? {
            return Ok(None);
        }
        let poison = Poison(self);
        let stamp = match self.log.append(&mut records, now_ms, how) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => {
                poison.lift();
                return Ok(self.note_expired());
            }
            Err(error) => {
                poison.lift();
                return Err(error);
            }
        };
        self.clock.advance(stamp.time_ms);
        self.swing(&lock, &mut records, 0, stamp);
        poison.lift();
        let puts = u64::from(change.body.is_put());
        let versions = Vec::new();
        Ok(Some(Committed { sequence: stamp.sequence, version, versions, puts, deletes: 1 - puts }))
    }

    fn try_commit_many(
        &self,
        changes: &[Change<'_>],
        validation: &Validation<'_>,
        extents: &mut [Option<PendingExtent<'_>>],
        how: Durability,
        exclusively: bool,
        guard: &Guard,
    ) -> Result<Option<Committed>> {
        let mut locks = match exclusively {
            true => Some(lock_prepared(changes, validation, guard)?),
            false => None,
        };
        let Prepared { lookups, kept, deadline_ms, judged_ms } =
            self.look_up_many(changes, validation.at, guard)?;
        let is_conditional = changes.iter().any(|change| change.condition.is_some());
        if kept.is_empty() && !is_conditional && validation.tables.is_empty() {
            return Ok(Some(Committed::NOTHING));
        }
        let locks = locks.get_or_insert_with(|| lock_partitions(changes, validation, guard));
        let mut at = 0;
        for (change, lookup) in changes.iter().zip(&lookups) {
            if !still_true(locks.of(change, &mut at), change, lookup)? {
                return Ok(None);
            }
        }
        if let Some(check) = validation.check {
            check()?;
        }
        let Some(&first) = kept.first() else {
            return Ok(Some(Committed::NOTHING));
        };
        let version = lookups[first].version(&changes[first]);
        let mut versions = Vec::new();
        if validation.tells_versions {
            versions.resize(changes.len(), 0);
            for &kept in &kept {
                versions[kept] = lookups[kept].version(&changes[kept]);
            }
        }
        let mut addresses = vec![None; kept.len()];
        let mut records = Records {
            inner: self,
            changes,
            lookups: &lookups,
            kept: &kept,
            extents,
            addresses: &mut addresses,
            deadline_ms,
            numbering: validation.at.map_or(Numbering::Next, Numbering::Given),
        };
        let poison = Poison(self);
        let now_ms = validation.at.map_or_else(|| self.now_ms().max(judged_ms), |at| at.time_ms);
        let stamp = match self.log.append(&mut records, now_ms, how) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => {
                poison.lift();
                return Ok(self.note_expired());
            }
            Err(error) => {
                poison.lift();
                return Err(error);
            }
        };
        self.clock.advance(stamp.time_ms);
        let mut at = 0;
        for &kept in &kept {
            locks.of(&changes[kept], &mut at).begin_multiple();
        }
        let mut at = 0;
        for (index, &kept) in kept.iter().enumerate() {
            if let Some(ahead) = records.kept.get(index + SWING_AHEAD) {
                changes[*ahead].table.index.touch(changes[*ahead].place, guard);
            }
            self.swing(locks.of(&changes[kept], &mut at), &mut records, index, stamp);
        }
        poison.lift();
        let puts = kept.iter().filter(|kept| changes[**kept].body.is_put()).count() as u64;
        let deletes = kept.len() as u64 - puts;
        Ok(Some(Committed { sequence: stamp.sequence, version, versions, puts, deletes }))
    }

    /// What was there when the keys were looked up has expired by the log's time, or for a reader: look again by that.
    fn note_expired(&self) -> Option<Committed> {
        self.clock.advance(self.log.last_time_ms());
        None
    }

    /// Finds the newest records of all keys and evaluates the conditions.
    fn look_up_many(&self, changes: &[Change<'_>], at: Option<Stamp>, guard: &Guard) -> Result<Prepared> {
        // First the index for some, then the records for these: what they wait for comes from memory at once.
        let mut lookups = Vec::with_capacity(changes.len());
        let mut kept = Vec::with_capacity(changes.len());
        let (mut deadline_ms, mut judged_ms) = (u64::MAX, 0);
        for some in changes.chunks(LOOK_UP_GROUP) {
            some.iter().for_each(|change| change.table.index.touch(change.place, guard));
            let mut indexed = [const { None }; LOOK_UP_GROUP];
            for (indexed, change) in indexed.iter_mut().zip(some) {
                *indexed = Some(self.ask_index(change, guard)?);
            }
            for (change, indexed) in some.iter().zip(indexed.into_iter().flatten()) {
                let mut lookup = self.look_up(change, indexed, guard)?;
                deadline_ms = deadline_ms.min(self.judge(change, &mut lookup, at, &mut judged_ms)?);
                if !lookup.is_idle(change) {
                    kept.push(lookups.len());
                }
                lookups.push(lookup);
            }
        }
        Ok(Prepared { lookups, kept, deadline_ms, judged_ms })
    }

    /// Notes whether what is there has expired, and evaluates the change's conditions. Returns before when the commit
    /// must be for that to hold, and raises `judged_ms` to when it may be at the earliest: who applies it elsewhere judges
    /// by its time.
    #[inline]
    fn judge(
        &self,
        change: &Change<'_>,
        lookup: &mut Lookup,
        at: Option<Stamp>,
        judged_ms: &mut u64,
    ) -> Result<u64> {
        let mut deadline_ms = u64::MAX;
        if let Some(expiry_ms) = lookup.existing.as_ref().and_then(|existing| existing.expiry_ms) {
            let now_ms = at.map_or_else(|| self.now_for_expiry_ms(), |at| at.time_ms);
            lookup.is_expired = expiry_ms <= now_ms;
            if lookup.is_expired {
                *judged_ms = now_ms.max(*judged_ms);
            } else {
                deadline_ms = expiry_ms;
            }
        }
        if change.condition.is_some() {
            lookup.check(change)?;
        }
        Ok(deadline_ms)
    }

    /// Asks the index where the key's newest record may be, and has it fetched from memory.
    #[inline]
    fn ask_index(&self, change: &Change<'_>, guard: &Guard) -> Result<Indexed> {
        let index = &change.table.index;
        let changes = index.changes(change.place, guard);
        let first = index.first(change.place, guard)?;
        if let Some(address) = first.address
            && let Some(segment) = self.catalog.directory.get(address.ordinal(), guard)
        {
            segment.prefetch(address.offset());
        }
        Ok(Indexed { changes, first })
    }

    /// Finds the newest record of the change's key.
    #[inline]
    fn look_up(&self, change: &Change<'_>, mut indexed: Indexed, guard: &Guard) -> Result<Lookup> {
        let mut times = 0;
        loop {
            let changes = indexed.changes;
            let look = match indexed.first {
                First { address: Some(address), .. } => self.look_at(change, address, guard)?,
                First { address: None, is_only: true } => {
                    return Ok(Lookup::new(changes, None, None));
                }
                First { address: None, is_only: false } => Look::Other,
            };
            match look {
                Look::Key(existing) => return Ok(Lookup::new(changes, Some(existing), None)),
                Look::Other => {
                    if let Some(lookup) = self.look_up_all(change, changes, guard)? {
                        return Ok(lookup);
                    }
                }
                Look::Moved => {}
            }
            self.catalog.look_again(&mut times)?;
            indexed = self.ask_index(change, guard)?;
        }
    }

    /// Several keys with the same tag, or a line of the index that is full. `None` if a segment has gone meanwhile.
    #[cold]
    fn look_up_all(&self, change: &Change<'_>, changes: u64, guard: &Guard) -> Result<Option<Lookup>> {
        let mut candidates = Candidates::default();
        change.table.index.find(change.place, guard, &mut candidates)?;
        for address in candidates.iter() {
            match self.look_at(change, address, guard)? {
                Look::Key(existing) => {
                    return Ok(Some(Lookup::new(changes, Some(existing), None)));
                }
                Look::Other => {}
                Look::Moved => return Ok(None),
            }
        }
        let others = (!candidates.is_empty()).then(|| Box::new(candidates));
        Ok(Some(Lookup::new(changes, None, others)))
    }

    /// Whether the record at an address is the key's.
    #[inline]
    fn look_at(&self, change: &Change<'_>, address: Address, guard: &Guard) -> Result<Look> {
        let Some(segment) = self.catalog.directory.get(address.ordinal(), guard) else {
            return Ok(Look::Moved);
        };
        let look = segment.peek(address.offset(), false, |record| {
            if record.table == change.table.id && record.key == change.key {
                // A damaged document may be overwritten, but must not take another one's file with it.
                let is_extent =
                    record.kind() == Kind::Extent && record.verify(&segment.base.at(address.offset()));
                let extent = if is_extent { ExtentRef::decode(record.value) } else { None };
                // Also for the sake of a snapshot that may be taken before the entry swings: then it is too late to read.
                let decoded = || record.header(&segment.base).ok().map(|header| header.sequence);
                let sequence = record.sequence(&segment.base).or_else(decoded);
                return Some(Look::Key(Existing {
                    address,
                    version: record.version,
                    length: record.layout.padded(),
                    extent: extent.map(|extent| extent.id),
                    sequence: sequence.unwrap_or(0),
                    expiry_ms: record.expiry_ms,
                }));
            }
            // A damaged key may be this one.
            record.verify(&segment.base.at(address.offset())).then_some(Look::Other)
        })?;
        look.ok_or_else(|| {
            Error::corrupt(&segment.path, address.offset(), "the record's checksum does not match")
        })
    }

    /// Points the index to the new record and has the old one kept or counted as dead. Cannot fail.
    #[inline]
    fn swing(&self, lock: &PartitionLock<'_>, records: &mut Records<'_, '_, '_>, index: usize, stamp: Stamp) {
        let kept = records.kept[index];
        let (change, lookup) = (&records.changes[kept], &records.lookups[kept]);
        let Some(address) = records.addresses[index] else {
            unreachable!("an appended record has an address");
        };
        let order = change.table.ordered.as_ref().and_then(KeyOrder::loaded);
        // Before the entry swings: who finds the new record finds the old one, too.
        let wants_old = change.table.keeps_history() || self.snapshots.newest() > 0;
        let is_kept = wants_old
            && lookup.existing.as_ref().is_some_and(|old| self.keep_old(change.subject(), old, stamp));
        match (&lookup.existing, &change.body) {
            (None, _) => {
                // Before the key can be seen, so that a scan does not miss what a lookup finds.
                if let Some(order) = order {
                    order.insert(change.key, stamp.sequence);
                }
                lock.insert(change.place, address);
            }
            (Some(old), Body::Put { .. } | Body::Stream { .. }) => {
                let swung = lock.replace(change.place, old.address, address);
                assert!(swung, "the entry was there under this lock");
            }
            (Some(old), _) => {
                let removed = lock.remove(change.place, old.address);
                assert!(removed, "the entry was there under this lock");
                if let Some(order) = order {
                    take_out(order, change);
                }
            }
        }
        lock.note_commit(stamp.sequence);
        if let Some(extent) = records.extents.get_mut(kept).and_then(Option::as_mut) {
            extent.committed = true;
            self.extents.note_live(&extent.reference);
        }
        if let Some(old) = lookup.existing.as_ref().filter(|_| !is_kept) {
            self.note_dead(old.address, old.length);
            if let Some(extent) = old.extent {
                self.extents.note_dead(extent, stamp.sequence);
            }
        }
        if change.table.keeps_history() {
            self.note_history(change, lookup.existing.is_some(), address, stamp);
        }
    }

    /// Keeps the history of a key that has just changed.
    #[cold]
    fn note_history(&self, change: &Change<'_>, was_there: bool, address: Address, stamp: Stamp) {
        let subject = change.subject();
        let is_there = change.body.is_put();
        if !is_there {
            self.keep_tombstone(subject, address, stamp);
        } else if !was_there {
            change.table.index.history(change.place).end_tombstone(
                subject.id(),
                stamp.sequence,
                stamp.time_ms,
            );
        }
        self.trim_history(subject, is_there, stamp);
    }
}

/// A key was deleted: it leaves the order, unless a snapshot can still see it.
fn take_out(order: &OrderedIndex, change: &Change<'_>) {
    if change.table.index.history(change.place).has_pinned(change.subject().id()) {
        order.make_ghost(change.key);
    } else {
        order.remove(change.key);
    }
}

/// What was found before the locks.
struct Prepared {
    lookups: Vec<Lookup>,
    /// Which of the changes become records.
    kept: Vec<usize>,
    deadline_ms: u64,
    /// The commit may be no earlier: by then something had expired.
    judged_ms: u64,
}

/// Whether the index says under the lock what it said when the key was looked up.
#[inline]
fn still_true(lock: &PartitionLock<'_>, change: &Change<'_>, lookup: &Lookup) -> Result<bool> {
    lock.prepare(change.place)?;
    if let Some(order) = &change.table.ordered {
        order.get()?;
    }
    if lock.changes() == lookup.changes {
        return Ok(true);
    }
    if let Some(existing) = &lookup.existing {
        return Ok(lock.holds(change.place, existing.address));
    }
    let mut now = Candidates::default();
    lock.find(change.place, &mut now);
    Ok(match &lookup.others {
        Some(others) => now.same(others),
        None => now.is_empty(),
    })
}

impl Lookup {
    fn new(changes: u64, existing: Option<Existing>, others: Option<Box<Candidates>>) -> Lookup {
        Lookup { changes, existing, is_expired: false, others }
    }

    /// Whether there is nothing to do: a delete of a key that is not there.
    #[inline]
    fn is_idle(&self, change: &Change<'_>) -> bool {
        match change.body {
            Body::Put { .. } | Body::Stream { .. } => false,
            Body::Delete => self.existing.is_none() || self.is_expired,
            Body::Expire => !self.is_expired,
            Body::Check => true,
        }
    }

    /// The version that the key will have. Where a document has expired the key is created anew.
    #[inline]
    fn version(&self, change: &Change<'_>) -> u64 {
        match &self.existing {
            Some(old) if !self.is_expired || matches!(change.body, Body::Expire) => {
                old.version.saturating_add(1)
            }
            _ => 1,
        }
    }

    /// Whether all conditions hold.
    fn check(&self, change: &Change<'_>) -> Result<()> {
        let present = self.existing.as_ref().map(|old| Present {
            written: Written { version: old.version, sequence: old.sequence },
            is_expired: self.is_expired,
        });
        if change.conditions().all(|condition| condition.holds(present)) {
            return Ok(());
        }
        Err(Error::Conflict {
            table: change.table.record.name.clone(),
            key: change.key.to_vec(),
            found: present.filter(|present| !present.is_expired).map(|present| present.written),
        })
    }
}

/// The records that the changes become, given what is there.
struct Records<'a, 'c, 'e> {
    inner: &'a Inner,
    changes: &'a [Change<'c>],
    /// One for each change.
    lookups: &'a [Lookup],
    /// Which of the changes become records.
    kept: &'a [usize],
    /// One for each change, or empty.
    extents: &'a mut [Option<PendingExtent<'e>>],
    /// Of the records; filled by the log.
    addresses: &'a mut [Option<Address>],
    deadline_ms: u64,
    numbering: Numbering,
}

impl Commit for Records<'_, '_, '_> {
    fn len(&self) -> usize {
        self.kept.len()
    }

    #[inline]
    fn draft(&self, index: usize) -> Draft<'_> {
        let index = self.kept[index];
        let (change, lookup) = (&self.changes[index], &self.lookups[index]);
        let (kind, codec, value, body) = match (&change.body, self.extents.get(index)) {
            (Body::Delete | Body::Expire | Body::Check, _) => {
                (Kind::Tombstone, 0, &[][..], body_checksum(change.key, &[]))
            }
            (Body::Put { codec, .. }, Some(Some(extent))) => {
                let reference = &extent.encoded[..];
                (Kind::Extent, *codec, reference, body_checksum(change.key, reference))
            }
            (Body::Stream { .. }, Some(Some(extent))) => {
                let reference = &extent.encoded[..];
                (Kind::Extent, 0, reference, body_checksum(change.key, reference))
            }
            (Body::Stream { .. }, _) => unreachable!("a streamed value is an extent"),
            (Body::Put { codec, stored, checksum }, _) => (Kind::Document, *codec, &stored[..], *checksum),
        };
        Draft {
            kind,
            codec,
            table: change.table.id,
            key: change.key,
            value,
            body,
            version: lookup.version(change),
            new_key: lookup.existing.is_none(),
            expiry_ms: change.expiry_ms,
            hint: lookup.existing.as_ref().map(|old| Hint {
                address: old.address,
                extent: old.extent.is_some(),
                length: old.length,
            }),
            place: change.place,
            store_place: change.store_place,
        }
    }

    #[inline]
    fn placed(&mut self, index: usize, address: Address) {
        self.addresses[index] = Some(address);
    }

    fn is_too_late(&self, time_ms: u64) -> bool {
        let is_late = |now_ms| now_ms >= self.deadline_ms;
        // A reader may have seen it expire already; a copy of another database's commit goes by that one's time.
        is_late(time_ms)
            || self.deadline_ms < u64::MAX
                && matches!(self.numbering, Numbering::Next)
                && is_late(self.inner.clock.latest())
    }

    fn numbering(&self) -> Numbering {
        self.numbering
    }

    fn files(&self) -> Vec<Arc<dyn StorageFile>> {
        self.extents.iter().flatten().map(|extent| extent.file.clone()).collect()
    }
}
