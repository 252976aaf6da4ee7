//! The index: for each key, eight bytes that say where its newest record is.
//!
//! A table's index is a list of partitions; a partition is a contiguous range of slots with a lock for writers and
//! a directory of sub-tables ([`subtable::SubTable`]) addressed by a prefix of the place. A place is 64 bits: the
//! key's slot in the top 14, bits of its hash below. Readers take no lock at all ([`partition::Partition::find`]).

mod line;
pub(crate) mod ordered;
pub(crate) mod partition;
pub(crate) mod subtable;

use crate::types::SLOTS;
use partition::Partition;

/// The index of one table.
pub(crate) struct TableIndex {
    partitions: Box<[Partition]>,
}

impl TableIndex {
    /// An empty index of 1 to 16,384 partitions.
    pub(crate) fn new(partitions: u32) -> TableIndex {
        assert!((1..=SLOTS).contains(&partitions), "checked where tables are created");
        let first_slot = |partition: u32| (partition * SLOTS).div_ceil(partitions);
        let depth = partitions.next_power_of_two().trailing_zeros().max(subtable::TAG_START);
        TableIndex {
            partitions: (0..partitions)
                .map(|partition| Partition::new(first_slot(partition), first_slot(partition + 1) - 1, depth))
                .collect(),
        }
    }

    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Which partition a place belongs to.
    #[inline]
    pub(crate) fn number_of(&self, place: u64) -> u32 {
        let slot = (place >> 50) as u32;
        // 14 bits times at most 2^14 partitions.
        slot * self.partitions.len() as u32 / SLOTS
    }

    /// The partition of a place.
    #[inline]
    pub(crate) fn partition(&self, place: u64) -> &Partition {
        &self.partitions[self.number_of(place) as usize]
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> u64 {
        self.partitions.iter().map(Partition::len).sum()
    }

    /// The memory the index takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.partitions.iter().map(Partition::bytes).sum()
    }
}
