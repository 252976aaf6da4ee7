//! From a change that somebody asked for to a record in the log and an entry in the index.
//!
//! Everything slow happens before any lock: compressing, the checksum of the body, writing a large value, and reading
//! the record that is to be replaced. Then the locks of all partitions concerned are taken in one order, what was
//! read is checked to be still true, the commit is appended to the log, the entries swing, and the locks go.

use std::borrow::Cow;
use std::sync::Arc;

use crate::database::Inner;
use crate::epoch::{self, Guard};
use crate::error::{Error, Result};
use crate::format::record::{ExtentRef, Hint, Kind, body_checksum};
use crate::index::partition::PartitionLock;
use crate::index::subtable::{Candidates, First};
use crate::log::{Commit, Draft};
use crate::options::Durability;
use crate::storage::StorageFile;
use crate::tables::TableCore;
use crate::types::{Address, Written};

/// How many lookups of a batch wait for memory together.
const LOOK_UP_GROUP: usize = 64;

/// A change with everything that can be known before the locks.
pub(crate) struct Change<'a> {
    pub(crate) table: &'a TableCore,
    pub(crate) place: u64,
    /// Whether the record must carry the place.
    pub(crate) store_place: bool,
    pub(crate) key: &'a [u8],
    pub(crate) body: Body<'a>,
}

impl Change<'_> {
    /// Table and number of the partition: the one order in which everybody locks them.
    fn partition_number(&self) -> (u32, u32) {
        (self.table.id, self.table.index.number_of(self.place))
    }
}

pub(crate) enum Body<'a> {
    /// The checksum is that of key and stored value.
    Put {
        codec: u8,
        stored: Cow<'a, [u8]>,
        checksum: u32,
    },
    Delete,
}

/// The newest record of a key.
#[derive(Clone, Copy)]
struct Existing {
    address: Address,
    version: u64,
    length: u64,
    /// The id of the large value that it refers to.
    extent: Option<u64>,
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
    encoded: [u8; ExtentRef::BYTES],
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

/// What became of a commit.
pub(crate) struct Committed {
    /// 0 if there was nothing to do.
    sequence: u64,
    /// The version of the first key that it changed.
    version: u64,
}

impl Inner {
    /// Applies one change. `None`: a delete of a key that is not there; nothing was written.
    pub(crate) fn commit_one(
        &self,
        change: &Change<'_>,
        how: Durability,
        guard: Guard,
    ) -> Result<Option<Written>> {
        let Committed { sequence, version } = self.commit(std::slice::from_ref(change), how, guard)?;
        Ok((sequence > 0).then_some(Written { version, sequence }))
    }

    /// Applies all changes or none, under one sequence, and tells it unless there was nothing to do.
    pub(crate) fn commit_many(&self, changes: &[Change<'_>], how: Durability) -> Result<Option<u64>> {
        self.backpressure();
        let Committed { sequence, .. } = self.commit(changes, how, epoch::pin())?;
        Ok((sequence > 0).then_some(sequence))
    }

    /// No two changes may be of one key, and they come in the order of [`Change::partition_number`].
    ///
    /// The guard is held until the commit is done, though not while it is synced: an address that was found before
    /// the locks must mean the same record under them.
    fn commit(&self, changes: &[Change<'_>], how: Durability, mut guard: Guard) -> Result<Committed> {
        self.health.check_writable()?;
        let puts = changes.iter().any(|change| matches!(change.body, Body::Put { .. }));
        if puts && self.catalog.is_reserve_spent() && !self.catalog.fill_reserve() {
            return Err(Error::NoSpace { path: self.catalog.path.clone() });
        }
        let mut extents = self.write_extents(changes)?;
        let mut spent = false;
        loop {
            let outcome = match changes {
                [change] => self.try_commit_one(change, &mut extents, how, &guard),
                _ => self.try_commit_many(changes, &mut extents, how, &guard),
            };
            match outcome {
                // Somebody else changed one of the keys meanwhile: look again.
                Ok(None) => {}
                Ok(Some(committed)) => {
                    drop(guard);
                    self.log.wake_waiters();
                    if how == Durability::Sync && committed.sequence > 0 {
                        self.log.sync_to(committed.sequence)?;
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
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the values that are too large for the log.
    fn write_extents(&self, changes: &[Change<'_>]) -> Result<Vec<Option<PendingExtent<'_>>>> {
        let is_large = |change: &Change<'_>| match &change.body {
            Body::Put { stored, .. } => stored.len() as u64 >= self.options.large_value_bytes,
            Body::Delete => false,
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
        let now_ms = self.now_ms();
        let lookup = self.look_up(change, self.ask_index(change, guard)?, guard)?;
        if lookup.is_idle(change) {
            return Ok(Some(Committed { sequence: 0, version: 0 }));
        }
        let version = lookup.version();
        let changes = std::slice::from_ref(change);
        let lookups = std::slice::from_ref(&lookup);
        let mut records = Records { changes, lookups, kept: &[0], extents, addresses: &mut [None] };
        let lock = change.table.index.partition(change.place).lock();
        if !still_true(&lock, change, &lookup)? {
            return Ok(None);
        }
        let poison = Poison(self);
        let sequence = match self.log.append(&mut records, now_ms, how) {
            Ok(sequence) => sequence,
            Err(error) => {
                poison.lift();
                return Err(error);
            }
        };
        self.swing(&lock, &mut records, 0, sequence);
        poison.lift();
        Ok(Some(Committed { sequence, version }))
    }

    fn try_commit_many(
        &self,
        changes: &[Change<'_>],
        extents: &mut [Option<PendingExtent<'_>>],
        how: Durability,
        guard: &Guard,
    ) -> Result<Option<Committed>> {
        // First the index for some, then the records for these: what they wait for comes from memory at once.
        let mut lookups = Vec::with_capacity(changes.len());
        let mut kept = Vec::with_capacity(changes.len());
        for some in changes.chunks(LOOK_UP_GROUP) {
            let mut indexed = [const { None }; LOOK_UP_GROUP];
            for (indexed, change) in indexed.iter_mut().zip(some) {
                *indexed = Some(self.ask_index(change, guard)?);
            }
            for (change, indexed) in some.iter().zip(indexed.into_iter().flatten()) {
                let lookup = self.look_up(change, indexed, guard)?;
                if !lookup.is_idle(change) {
                    kept.push(lookups.len());
                }
                lookups.push(lookup);
            }
        }
        let Some(&first) = kept.first() else {
            return Ok(Some(Committed { sequence: 0, version: 0 }));
        };
        let version = lookups[first].version();
        let mut locks: Vec<((u32, u32), PartitionLock<'_>)> = Vec::new();
        for (change, lookup) in changes.iter().zip(&lookups) {
            let number = change.partition_number();
            if locks.last().is_none_or(|(last, _)| *last != number) {
                assert!(
                    locks.last().is_none_or(|(last, _)| *last < number),
                    "partitions are locked in order"
                );
                locks.push((number, change.table.index.partition(change.place).lock()));
            }
            if let Some((_, lock)) = locks.last()
                && !still_true(lock, change, lookup)?
            {
                return Ok(None);
            }
        }
        let mut addresses = vec![None; kept.len()];
        let mut records =
            Records { changes, lookups: &lookups, kept: &kept, extents, addresses: &mut addresses };
        let poison = Poison(self);
        let sequence = match self.log.append(&mut records, self.now_ms(), how) {
            Ok(sequence) => sequence,
            Err(error) => {
                poison.lift();
                return Err(error);
            }
        };
        for (_, lock) in &mut locks {
            lock.begin_multiple();
        }
        let mut at = 0;
        for (index, kept) in kept.iter().enumerate() {
            let number = changes[*kept].partition_number();
            while locks[at].0 != number {
                at += 1;
            }
            self.swing(&locks[at].1, &mut records, index, sequence);
        }
        poison.lift();
        Ok(Some(Committed { sequence, version }))
    }

    /// Asks the index where the key's newest record may be, and has it fetched from memory.
    #[inline]
    fn ask_index(&self, change: &Change<'_>, guard: &Guard) -> Result<Indexed> {
        let partition = change.table.index.partition(change.place);
        let changes = partition.changes();
        let first = partition.first(change.place, guard)?;
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
                    return Ok(Lookup { changes, existing: None, others: None });
                }
                First { address: None, is_only: false } => Look::Other,
            };
            match look {
                Look::Key(existing) => return Ok(Lookup { changes, existing: Some(existing), others: None }),
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
        change.table.index.partition(change.place).find(change.place, guard, &mut candidates)?;
        for address in candidates.iter() {
            match self.look_at(change, address, guard)? {
                Look::Key(existing) => {
                    return Ok(Some(Lookup { changes, existing: Some(existing), others: None }));
                }
                Look::Other => {}
                Look::Moved => return Ok(None),
            }
        }
        let others = (!candidates.is_empty()).then(|| Box::new(candidates));
        Ok(Some(Lookup { changes, existing: None, others }))
    }

    /// Whether the record at an address is the key's.
    #[inline]
    fn look_at(&self, change: &Change<'_>, address: Address, guard: &Guard) -> Result<Look> {
        let Some(segment) = self.catalog.directory.get(address.ordinal(), guard) else {
            return Ok(Look::Moved);
        };
        let look = segment.peek(address.offset(), false, |record| {
            if record.table == change.table.id && record.key == change.key {
                let is_extent = record.kind() == Kind::Extent;
                let extent = if is_extent { ExtentRef::decode(record.value) } else { None };
                let (version, length) = (record.version, record.layout.padded());
                let extent = extent.map(|extent| extent.id);
                return Some(Look::Key(Existing { address, version, length, extent }));
            }
            // A damaged key may be this one.
            record.verify(&segment.base.at(address.offset())).then_some(Look::Other)
        })?;
        look.ok_or_else(|| {
            Error::corrupt(&segment.path, address.offset(), "the record's checksum does not match")
        })
    }

    /// Points the index to the new record and counts the old one as dead. Cannot fail.
    #[inline]
    fn swing(
        &self,
        lock: &PartitionLock<'_>,
        records: &mut Records<'_, '_, '_>,
        index: usize,
        sequence: u64,
    ) {
        let kept = records.kept[index];
        let (change, lookup) = (&records.changes[kept], &records.lookups[kept]);
        let Some(address) = records.addresses[index] else {
            unreachable!("an appended record has an address");
        };
        match (&lookup.existing, &change.body) {
            (None, _) => lock.insert(change.place, address),
            (Some(old), Body::Put { .. }) => {
                let swung = lock.replace(change.place, old.address, address);
                assert!(swung, "the entry was there under this lock");
            }
            (Some(old), Body::Delete) => {
                let removed = lock.remove(change.place, old.address);
                assert!(removed, "the entry was there under this lock");
            }
        }
        if let Some(extent) = records.extents.get_mut(kept).and_then(Option::as_mut) {
            extent.committed = true;
            self.extents.note_live(&extent.reference);
        }
        if let Some(old) = &lookup.existing {
            let guard = epoch::pin();
            if let Some(segment) = self.catalog.directory.get(old.address.ordinal(), &guard) {
                segment.add_dead(old.length);
            }
            if let Some(extent) = old.extent {
                self.extents.note_dead(extent, sequence);
            }
        }
    }
}

/// Whether the index says under the lock what it said when the key was looked up.
#[inline]
fn still_true(lock: &PartitionLock<'_>, change: &Change<'_>, lookup: &Lookup) -> Result<bool> {
    lock.prepare(change.place)?;
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
    /// Whether there is nothing to do: a delete of a key that is not there.
    fn is_idle(&self, change: &Change<'_>) -> bool {
        self.existing.is_none() && matches!(change.body, Body::Delete)
    }

    /// The version that the key will have.
    fn version(&self) -> u64 {
        self.existing.as_ref().map_or(1, |old| old.version.saturating_add(1))
    }
}

/// The records that the changes become, given what is there.
struct Records<'a, 'c, 'e> {
    changes: &'a [Change<'c>],
    /// One for each change.
    lookups: &'a [Lookup],
    /// Which of the changes become records.
    kept: &'a [usize],
    /// One for each change, or empty.
    extents: &'a mut [Option<PendingExtent<'e>>],
    /// Of the records; filled by the log.
    addresses: &'a mut [Option<Address>],
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
            (Body::Delete, _) => (Kind::Tombstone, 0, &[][..], body_checksum(change.key, &[])),
            (Body::Put { codec, .. }, Some(Some(extent))) => {
                let reference = &extent.encoded[..];
                (Kind::Extent, *codec, reference, body_checksum(change.key, reference))
            }
            (Body::Put { codec, stored, checksum }, _) => (Kind::Document, *codec, &stored[..], *checksum),
        };
        Draft {
            kind,
            codec,
            table: change.table.id,
            key: change.key,
            value,
            body,
            version: lookup.version(),
            new_key: lookup.existing.is_none(),
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

    fn files(&self) -> Vec<Arc<dyn StorageFile>> {
        self.extents.iter().flatten().map(|extent| extent.file.clone()).collect()
    }
}
