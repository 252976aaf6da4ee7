//! The index: for each key, eight bytes that say where its newest record is.
//!
//! A table's index is a list of partitions; a partition is a contiguous range of slots with a lock for writers and
//! a directory of sub-tables ([`subtable::SubTable`]) addressed by a prefix of the place. A place is 64 bits: the
//! key's slot in the top 14, bits of its hash below. Readers take no lock at all ([`partition::Partition::find`]).
//!
//! The partitions may be dealt out anew while everybody goes on (`resize.rs`): whoever comes to a partition of the layout
//! before looks for the place again in the present one.

pub(crate) mod history;
pub(crate) mod key_order;
mod line;
pub(crate) mod ordered;
pub(crate) mod partition;
mod resize;
pub(crate) mod subtable;

use std::ops::RangeInclusive;

use crate::epoch::{self, ArcCell, Guard};
use crate::error::Result;
use crate::sync::{Mutex, MutexGuard};
use crate::types::SLOTS;
use history::History;
use partition::{Partition, PartitionLock, StoredSubTable, SubTableCopy};
pub(crate) use resize::Dealt;
use std::sync::Arc;
use subtable::{Candidates, First};

/// The histories of a table are divided by so many leading bits of the place, whatever the number of partitions. No
/// sub-table covers more than one of them.
const HISTORY_BITS: u32 = 6;

/// The index of one table.
pub(crate) struct TableIndex {
    layout: ArcCell<Layout>,
    /// Held while the partitions are dealt out anew, and by those who need them as they are.
    resizing: Mutex<()>,
    /// Apart from the partitions, where those who read the newest versions do not come by.
    histories: Box<[History]>,
}

/// What a partition counts. Two with the same changes have the same keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) first_place: u64,
    changes: u64,
    pub(crate) keys: u64,
}

/// How the slots are dealt out to partitions.
pub(crate) struct Layout {
    partitions: Box<[Partition]>,
}

impl Layout {
    fn empty(partitions: u32) -> Layout {
        assert!((1..=SLOTS).contains(&partitions), "checked where tables are created");
        let depth = depth_of(partitions);
        let partition = |(first, last)| Partition::new(first, last, depth);
        Layout { partitions: slots_of(partitions).map(partition).collect() }
    }

    #[inline]
    fn number_of(&self, place: u64) -> u32 {
        let slot = (place >> 50) as u32;
        // 14 bits times at most 2^14 partitions.
        slot * self.partitions.len() as u32 / SLOTS
    }

    #[inline]
    fn partition(&self, place: u64) -> &Partition {
        &self.partitions[self.number_of(place) as usize]
    }
}

/// The first and the last slot of each partition.
fn slots_of(partitions: u32) -> impl Iterator<Item = (u32, u32)> {
    let first_slot = move |partition: u32| (partition * SLOTS).div_ceil(partitions);
    (0..partitions).map(move |partition| (first_slot(partition), first_slot(partition + 1) - 1))
}

/// The length of the prefixes of the first sub-tables: no less than what tells the partitions apart.
fn depth_of(partitions: u32) -> u32 {
    partitions.next_power_of_two().trailing_zeros().max(subtable::TAG_START)
}

impl TableIndex {
    /// An empty index of 1 to 16,384 partitions.
    pub(crate) fn new(partitions: u32) -> TableIndex {
        TableIndex {
            layout: ArcCell::new(Some(Arc::new(Layout::empty(partitions)))),
            resizing: Mutex::new(()),
            histories: (0..1 << HISTORY_BITS).map(|_| History::default()).collect(),
        }
    }

    #[inline]
    fn layout<'g>(&self, guard: &'g Guard) -> &'g Layout {
        self.layout.load(guard).expect("an index always has a layout")
    }

    /// The partitions stay as they are until this is dropped.
    pub(crate) fn hold_layout(&self) -> MutexGuard<'_, ()> {
        self.resizing.lock()
    }

    /// Puts a sub-table of an image where it belongs, while a database is being opened. False if it does not belong
    /// there.
    pub(crate) fn adopt(&self, partition: u32, stored: StoredSubTable) -> bool {
        let guard = epoch::pin();
        let partition = self.layout(&guard).partitions.get(partition as usize);
        partition.is_some_and(|partition| partition.lock(&guard).adopt(stored))
    }

    /// The number of partitions.
    pub(crate) fn partitions(&self) -> u32 {
        self.layout(&epoch::pin()).partitions.len() as u32
    }

    /// Which partition a place belongs to.
    #[inline]
    pub(crate) fn number_of(&self, place: u64) -> u32 {
        self.layout(&epoch::pin()).number_of(place)
    }

    /// The old versions of the keys of the table.
    pub(crate) fn histories(&self) -> &[History] {
        &self.histories
    }

    /// Those of a place.
    #[inline]
    pub(crate) fn history(&self, place: u64) -> &History {
        &self.histories[(place >> (64 - HISTORY_BITS)) as usize]
    }

    /// The right to change the partition of a place.
    #[inline]
    pub(crate) fn lock<'g>(&self, place: u64, guard: &'g Guard) -> PartitionLock<'g> {
        loop {
            let lock = self.layout(guard).partition(place).lock(guard);
            // While it is held, the layout stays.
            if !lock.is_retired() {
                return lock;
            }
        }
    }

    /// The right to change everything: all partitions' locks, with their numbers, in order.
    pub(crate) fn lock_all<'g>(&self, guard: &'g Guard) -> impl Iterator<Item = (u32, PartitionLock<'g>)> {
        let first = self.lock(0, guard);
        let rest = self.layout(guard).partitions.iter().skip(1).map(|partition| partition.lock(guard));
        (0..).zip(std::iter::once(first).chain(rest))
    }

    /// A number that is another after each change of the place's partition. Read before a lookup, it tells later, under
    /// the lock, whether what was found still holds.
    #[inline]
    pub(crate) fn changes(&self, place: u64, guard: &Guard) -> u64 {
        self.layout(guard).partition(place).changes()
    }

    /// Begins to bring what a lookup of this place reads into the cache.
    #[inline]
    pub(crate) fn touch(&self, place: u64, guard: &Guard) {
        self.layout(guard).partition(place).touch(place, guard);
    }

    /// The addresses of the records whose keys may be the one with this place, without taking a lock.
    pub(crate) fn find(&self, place: u64, guard: &Guard, found: &mut Candidates) -> Result<()> {
        while !self.layout(guard).partition(place).find(place, guard, found)? {}
        Ok(())
    }

    /// The first of them, which nearly always is all.
    #[inline]
    pub(crate) fn first(&self, place: u64, guard: &Guard) -> Result<First> {
        match self.first_at_once(place, guard) {
            Some(first) => Ok(first),
            None => self.first_after_all(place, guard),
        }
    }

    #[cold]
    fn first_after_all(&self, place: u64, guard: &Guard) -> Result<First> {
        loop {
            if let Some(first) = self.layout(guard).partition(place).first(place, guard)? {
                return Ok(first);
            }
        }
    }

    /// [`TableIndex::first`], unless somebody moves entries right now or the sub-table must be read from an image.
    #[inline(always)]
    pub(crate) fn first_at_once(&self, place: u64, guard: &Guard) -> Option<First> {
        self.layout(guard).partition(place).first_at_once(place, guard)
    }

    /// [`TableIndex::find`] on the same terms; false if they do not hold.
    pub(crate) fn find_at_once(&self, place: u64, guard: &Guard, found: &mut Candidates) -> bool {
        self.layout(guard).partition(place).find_at_once(place, guard, found)
    }

    /// Returns when no commit that the caller knows to be in the log is still swinging its entries in the partition of
    /// this place.
    #[inline]
    pub(crate) fn wait_settled(&self, place: u64) {
        // Such a commit has found the layout of this moment, or one that went after it was done.
        self.layout(&epoch::pin()).partition(place).wait_settled();
    }

    /// The same for a range of places.
    pub(crate) fn wait_settled_in(&self, places: RangeInclusive<u64>) {
        let guard = epoch::pin();
        let layout = self.layout(&guard);
        let (first, last) = (layout.number_of(*places.start()), layout.number_of(*places.end()));
        layout.partitions[first as usize..=last as usize].iter().for_each(Partition::wait_settled);
    }

    /// The last commit since opening that changed something in the table; 0 for none. Exact under the locks of all
    /// partitions.
    pub(crate) fn last_commit(&self) -> u64 {
        let guard = epoch::pin();
        self.layout(&guard).partitions.iter().map(Partition::last_commit).max().unwrap_or(0)
    }

    /// Copies the sub-table that covers `place`, from there on.
    pub(crate) fn copy_from(&self, place: u64) -> Result<SubTableCopy> {
        self.copy_with(place, |_| {})
    }

    /// The same; calls a function with the places that were copied before the lock goes.
    pub(crate) fn copy_with(&self, place: u64, f: impl FnOnce(RangeInclusive<u64>)) -> Result<SubTableCopy> {
        let guard = epoch::pin();
        let lock = self.lock(place, &guard);
        let copy = lock.copy(self.number_of(place), place)?;
        f(place..=copy.next_place.map_or(u64::MAX, |next| next - 1));
        Ok(copy)
    }

    /// What each partition counts.
    pub(crate) fn counts(&self) -> Vec<Counts> {
        let guard = epoch::pin();
        let counts = |partition: &Partition| Counts {
            first_place: partition.first_place(),
            changes: partition.changes(),
            keys: partition.len(),
        };
        self.layout(&guard).partitions.iter().map(counts).collect()
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> u64 {
        self.layout(&epoch::pin()).partitions.iter().map(Partition::len).sum()
    }

    /// The memory the index takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let guard = epoch::pin();
        self.layout(&guard).partitions.iter().map(|partition| partition.bytes(&guard)).sum()
    }
}
