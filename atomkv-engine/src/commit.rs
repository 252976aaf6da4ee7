//! From a change that somebody asked for to a record in the log and an entry in the index.
//!
//! Everything slow happens before any lock: compressing, the checksum of the body, writing a large value, and reading
//! the record that is to be replaced. Then the locks of all partitions concerned are taken in one order, what was
//! read is checked to be still true, the commit is appended to the log, the entries swing, and the locks go.

use std::borrow::Cow;

use crate::database::Inner;
use crate::epoch::{self, Guard};
use crate::error::{Error, Result};
use crate::format::record::{ExtentRef, Hint, Kind, body_checksum};
use crate::index::partition::PartitionLock;
use crate::index::subtable::{Candidates, First};
use crate::log::Draft;
use crate::options::Durability;
use crate::tables::TableCore;
use crate::types::{Address, Written};

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
    extent: Option<ExtentRef>,
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
    file: std::sync::Arc<dyn crate::storage::StorageFile>,
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

impl Inner {
    /// Applies one change. `None`: a delete of a key that is not there; nothing was written.
    pub(crate) fn commit_one(
        &self,
        change: &Change<'_>,
        how: Durability,
        guard: Guard,
    ) -> Result<Option<Written>> {
        let mut written = [None];
        let sequence = self.commit(std::slice::from_ref(change), how, &mut written, guard)?;
        Ok(written[0].map(|version| Written { version, sequence }))
    }

    /// Applies all changes or none, under one sequence, which it returns; `versions` receives the version that each
    /// key has now. No two changes may be of one key, and they come in the order of
    /// [`Change::partition_number`].
    ///
    /// The guard is held until the commit is done, though not while it is synced: an address that was found before
    /// the locks must mean the same record under them.
    pub(crate) fn commit(
        &self,
        changes: &[Change<'_>],
        how: Durability,
        versions: &mut [Option<u64>],
        guard: Guard,
    ) -> Result<u64> {
        self.health.check_writable()?;
        self.backpressure();
        let puts = changes.iter().any(|change| matches!(change.body, Body::Put { .. }));
        if puts && self.catalog.is_reserve_spent() && !self.catalog.fill_reserve() {
            return Err(Error::NoSpace { path: self.catalog.path.clone() });
        }
        let mut extents = self.write_extents(changes)?;
        let mut spent = false;
        loop {
            match self.try_commit(changes, &mut extents, how, versions, &guard) {
                // Somebody else changed one of the keys meanwhile: look again.
                Ok(None) => {}
                Ok(Some(sequence)) => {
                    drop(guard);
                    if how == Durability::Sync && sequence > 0 {
                        self.log.sync_to(sequence)?;
                    }
                    return Ok(sequence);
                }
                // Deletes are what frees a full disk, once what they leave is settled.
                Err(error @ Error::NoSpace { .. }) if !puts => {
                    let has_room = !spent && self.catalog.spend_reserve();
                    spent = true;
                    if !has_room && !self.settle_for_space()? {
                        return Err(error);
                    }
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
                Ok(Some(PendingExtent { inner: self, reference, file, committed: false }))
            }
            _ => Ok(None),
        };
        changes.iter().map(write).collect()
    }

    /// One attempt. `Ok(None)` if what was read before the locks was no longer true under them.
    fn try_commit(
        &self,
        changes: &[Change<'_>],
        extents: &mut [Option<PendingExtent<'_>>],
        how: Durability,
        versions: &mut [Option<u64>],
        guard: &Guard,
    ) -> Result<Option<u64>> {
        if let ([change], [version]) = (changes, &mut *versions) {
            let now_ms = self.now_ms();
            let lookup = self.look_up(change, self.ask_index(change, guard)?, guard)?;
            let Some(plan) = Plan::new(change, 0, &lookup) else {
                return Ok(Some(0));
            };
            let reference = extents.first().and_then(Option::as_ref).map(|extent| extent.reference.encode());
            let mut drafts = [plan.draft(change, reference.as_ref().map(|bytes| &bytes[..]))];
            drafts[0].extent = extents.first().and_then(Option::as_ref).map(|extent| extent.file.clone());
            let lock = change.table.index.partition(change.place).lock();
            if !still_true(&lock, change, &lookup)? {
                return Ok(None);
            }
            let poison = Poison(self);
            let sequence = match self.log.append(&mut drafts, now_ms, how) {
                Ok(appended) => appended.sequence,
                Err(error) => {
                    poison.lift();
                    return Err(error);
                }
            };
            self.swing(&lock, change, &plan, &drafts[0], extents, sequence);
            poison.lift();
            *version = Some(plan.version);
            return Ok(Some(sequence));
        }
        self.try_commit_many(changes, extents, how, versions, guard)
    }

    fn try_commit_many(
        &self,
        changes: &[Change<'_>],
        extents: &mut [Option<PendingExtent<'_>>],
        how: Durability,
        versions: &mut [Option<u64>],
        guard: &Guard,
    ) -> Result<Option<u64>> {
        // First the index for all, then the records for all: what they wait for comes from memory at once.
        let indexed =
            changes.iter().map(|change| self.ask_index(change, guard)).collect::<Result<Vec<_>>>()?;
        let lookups = changes
            .iter()
            .zip(indexed)
            .map(|(change, indexed)| self.look_up(change, indexed, guard))
            .collect::<Result<Vec<_>>>()?;
        let plans: Vec<Plan> = changes
            .iter()
            .enumerate()
            .filter_map(|(index, change)| Plan::new(change, index, &lookups[index]))
            .collect();
        if plans.is_empty() {
            return Ok(Some(0));
        }
        let references: Vec<_> =
            extents.iter().map(|extent| extent.as_ref().map(|extent| extent.reference.encode())).collect();
        let mut drafts: Vec<Draft<'_>> = plans
            .iter()
            .map(|plan| {
                let reference = references.get(plan.index).and_then(Option::as_ref);
                let mut draft = plan.draft(&changes[plan.index], reference.map(|bytes| &bytes[..]));
                let extent = extents.get(plan.index).and_then(Option::as_ref);
                draft.extent = extent.map(|extent| extent.file.clone());
                draft
            })
            .collect();
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
        let poison = Poison(self);
        let sequence = match self.log.append(&mut drafts, self.now_ms(), how) {
            Ok(appended) => appended.sequence,
            Err(error) => {
                poison.lift();
                return Err(error);
            }
        };
        for (_, lock) in &mut locks {
            lock.begin_multiple();
        }
        for (plan, draft) in plans.iter().zip(&drafts) {
            let change = &changes[plan.index];
            if let Ok(at) = locks.binary_search_by_key(&change.partition_number(), |(number, _)| *number) {
                self.swing(&locks[at].1, change, plan, draft, extents, sequence);
            }
            versions[plan.index] = Some(plan.version);
        }
        poison.lift();
        Ok(Some(sequence))
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
                let extent = (record.kind() == Kind::Extent).then(|| ExtentRef::decode(record.value));
                let (version, length) = (record.version, record.layout.padded());
                return Some(Look::Key(Existing { address, version, length, extent: extent.flatten() }));
            }
            // A damaged key may be this one.
            record.verify(&segment.base.at(address.offset())).then_some(Look::Other)
        })?;
        look.ok_or_else(|| {
            Error::corrupt(&segment.path, address.offset(), "the record's checksum does not match")
        })
    }

    /// Points the index to the new record and counts the old one as dead. Cannot fail.
    fn swing(
        &self,
        lock: &PartitionLock<'_>,
        change: &Change<'_>,
        plan: &Plan,
        draft: &Draft<'_>,
        extents: &mut [Option<PendingExtent<'_>>],
        sequence: u64,
    ) {
        let Some(address) = draft.address else {
            unreachable!("an appended record has an address");
        };
        match (&plan.existing, &change.body) {
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
        if let Some(extent) = extents.get_mut(plan.index).and_then(Option::as_mut) {
            extent.committed = true;
            self.extents.note_live(&extent.reference);
        }
        if let Some(old) = &plan.existing {
            let guard = epoch::pin();
            if let Some(segment) = self.catalog.directory.get(old.address.ordinal(), &guard) {
                segment.add_dead(old.length);
            }
            if let Some(extent) = &old.extent {
                self.extents.note_dead(extent.id, sequence);
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

/// What a change becomes, given what is there.
struct Plan {
    /// Which of the changes.
    index: usize,
    existing: Option<Existing>,
    version: u64,
}

impl Plan {
    /// `None` if there is nothing to do.
    fn new(change: &Change<'_>, index: usize, lookup: &Lookup) -> Option<Plan> {
        match (&lookup.existing, &change.body) {
            (None, Body::Delete) => None,
            (existing, _) => {
                let version = existing.map_or(1, |old| old.version.saturating_add(1));
                Some(Plan { index, existing: *existing, version })
            }
        }
    }

    fn draft<'a>(&self, change: &'a Change<'_>, extent: Option<&'a [u8]>) -> Draft<'a> {
        let (kind, codec, value, body) = match (&change.body, extent) {
            (Body::Delete, _) => (Kind::Tombstone, 0, &[][..], body_checksum(change.key, &[])),
            (Body::Put { codec, .. }, Some(reference)) => {
                (Kind::Extent, *codec, reference, body_checksum(change.key, reference))
            }
            (Body::Put { codec, stored, checksum }, None) => (Kind::Document, *codec, &stored[..], *checksum),
        };
        Draft {
            kind,
            codec,
            table: change.table.id,
            key: change.key,
            value,
            body,
            version: self.version,
            new_key: self.existing.is_none(),
            hint: self.existing.map(|old| Hint {
                address: old.address,
                extent: old.extent.is_some(),
                length: old.length,
            }),
            place: change.place,
            store_place: change.store_place,
            extent: None,
            address: None,
            length: 0,
        }
    }
}
