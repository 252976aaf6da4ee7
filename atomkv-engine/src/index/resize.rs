//! Dealing the slots of a table out anew, to fewer or more partitions, while readers and writers go on.
//!
//! No document is copied, and hardly any entry: a partition of the new layout takes over the sub-tables that lie wholly in
//! it. Those across a boundary are made small before, one at a time; what is left of them is copied, with all writers of
//! the table waiting. Readers wait for nothing: until the new layout is there they find what they look for in the old
//! one, and who comes there later sees that it is retired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::partition::{Partition, PartitionLock, SPLIT_CUT_ENTRIES};
use super::{Layout, TableIndex, depth_of, slots_of};
use crate::epoch;
use crate::error::Result;

/// No more entries than about so many are copied while writers wait.
const COPIED_ENTRIES: usize = 65_536;
/// A sub-table is not made smaller than this for the sake of that.
const CUT_ENTRIES_MIN: usize = 16;

/// What a resize has dealt out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dealt {
    /// Sub-tables that were handed over as they are.
    pub(crate) shared: u64,
    /// Entries of others that were copied.
    pub(crate) copied: u64,
    /// For how long all partitions were locked.
    pub(crate) waited: Duration,
}

impl TableIndex {
    /// Replaces an empty index's layout, while a database is being opened.
    pub(crate) fn begin_with(&self, partitions: u32) {
        debug_assert_eq!(self.len(), 0);
        self.layout.store(Some(Arc::new(Layout::empty(partitions))));
    }

    /// Deals the slots out to another number of partitions. `commit` is called when nothing else can fail, with the locks
    /// of all partitions held; if it fails, everything stays as it is. The caller holds the layout.
    ///
    /// # Errors
    /// Those of `commit`, and of reading parts of the index that still lie in an image.
    pub(crate) fn deal(&self, partitions: u32, commit: impl FnOnce() -> Result<()>) -> Result<Dealt> {
        self.cut_small(partitions)?;
        let guard = epoch::pin();
        let began = Instant::now();
        let mut locks: Vec<_> = self.lock_all(&guard).map(|(_, lock)| lock).collect();
        let old = self.layout(&guard);
        // Other than what a lookup can have noted in any of the old ones.
        let changes = old.partitions.iter().map(Partition::changes).max().unwrap_or(0) + 1;
        let mut dealt = Dealt::default();
        let partition = |slots: (u32, u32)| {
            let number_of = |slot: u32| old.number_of(u64::from(slot) << 50) as usize;
            let from = &locks[number_of(slots.0)..=number_of(slots.1)];
            Partition::dealt(slots, depth_of(partitions), from, changes, &guard, &mut dealt)
        };
        let new: Box<[_]> = slots_of(partitions).map(partition).collect::<Result<_>>()?;
        commit()?;
        // The old ones first, so that nobody believes in them any more who could miss what is written to the new ones.
        locks.iter_mut().for_each(PartitionLock::retire);
        self.layout.store(Some(Arc::new(Layout { partitions: new })));
        drop(locks);
        dealt.waited = began.elapsed();
        Ok(dealt)
    }

    /// Splits what lies across the boundaries to come, and loads what lies across those that go.
    fn cut_small(&self, partitions: u32) -> Result<()> {
        let allowed = (COPIED_ENTRIES / partitions as usize).clamp(CUT_ENTRIES_MIN, SPLIT_CUT_ENTRIES);
        let boundaries = |partitions: u32| slots_of(partitions).map(|(first, _)| u64::from(first) << 50);
        for place in boundaries(partitions) {
            let guard = epoch::pin();
            while self.lock(place, &guard).cut(place, allowed)? {}
        }
        for place in boundaries(self.partitions()) {
            let guard = epoch::pin();
            for place in [place.saturating_sub(1), place] {
                self.lock(place, &guard).load_across(place)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::subtable::{Candidates, known_place};
    use crate::types::Address;
    use std::collections::BTreeMap;

    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state ^ *state >> 29
    }

    fn check(index: &TableIndex, model: &BTreeMap<u64, Address>) {
        let guard = epoch::pin();
        assert_eq!(index.len(), model.len() as u64);
        let mut found = Candidates::default();
        for (&place, &address) in model {
            index.find(place, &guard, &mut found).expect("nothing is read");
            assert!(found.contains(address), "{place:x} is lost among {} partitions", index.partitions());
        }
        // Each exactly once, and in its own partition.
        let mut copied = Vec::new();
        let mut place = Some(0);
        while let Some(at) = place {
            let copy = index.copy_from(at).expect("nothing is read");
            for entry in copy.entries {
                let known = entry.known_place(copy.depth, copy.prefix);
                assert_eq!(index.number_of(known), copy.partition);
                copied.push((known, entry.address()));
            }
            place = copy.next_place;
        }
        copied.sort_unstable();
        let mut expected: Vec<_> =
            model.iter().map(|(place, address)| (known_place(*place), *address)).collect();
        expected.sort_unstable();
        assert!(copied == expected, "among {} partitions", index.partitions());
    }

    #[test]
    fn nothing_is_lost_whatever_the_numbers_of_partitions() {
        let numbers = [1, 2, 3, 5, 16, 17, 64, 100, 255, 256, 257, 1000, 1024, 9_999, 16_383, 16_384];
        for seed in 0..if cfg!(miri) { 1 } else { 5 } {
            let mut state = seed * 31 + 5;
            let index = TableIndex::new(numbers[next(&mut state) as usize % numbers.len()]);
            let mut model = BTreeMap::new();
            let mut offset = 0;
            for _ in 0..if cfg!(miri) { 2 } else { 14 } {
                for _ in 0..next(&mut state) % if cfg!(miri) { 100 } else { 30_000 } {
                    // Many near a few slots, as well as everywhere.
                    let place = match next(&mut state) % 3 {
                        0 => next(&mut state) >> 14 | 5_461 << 50,
                        _ => next(&mut state),
                    };
                    offset += 8;
                    let address = Address::new((offset >> 27) as u16, 128 + offset % (1 << 27));
                    let guard = epoch::pin();
                    let lock = index.lock(place, &guard);
                    match model.insert(place, address) {
                        Some(old) => assert!(lock.replace(place, old, address)),
                        None => lock.insert(place, address),
                    }
                }
                let gone: Vec<_> =
                    model.iter().step_by(7).map(|(place, address)| (*place, *address)).collect();
                for (place, address) in gone {
                    let guard = epoch::pin();
                    assert!(index.lock(place, &guard).remove(place, address));
                    model.remove(&place);
                }
                let changes = |index: &TableIndex| {
                    let guard = epoch::pin();
                    model.keys().map(|place| index.changes(*place, &guard)).collect::<Vec<_>>()
                };
                let before = changes(&index);
                let partitions = numbers[next(&mut state) as usize % numbers.len()];
                let dealt = index.deal(partitions, || Ok(())).expect("dealt");
                assert_eq!(index.partitions(), partitions);
                assert!(dealt.copied as usize <= COPIED_ENTRIES + 2 * CUT_ENTRIES_MIN * partitions as usize);
                assert!(before.iter().zip(changes(&index)).all(|(before, now)| *before < now));
                check(&index, &model);
            }
        }
    }

    #[test]
    fn a_layout_that_is_not_committed_changes_nothing() {
        let index = TableIndex::new(4);
        let mut model = BTreeMap::new();
        let guard = epoch::pin();
        for number in 0..10_000_u64 {
            let (place, address) = (number << 49 | number, Address::new(1, 128 + number * 8));
            index.lock(place, &guard).insert(place, address);
            model.insert(place, address);
        }
        let failed = index.deal(7, || Err(crate::Error::Closed));
        assert!(matches!(failed, Err(crate::Error::Closed)));
        assert_eq!(index.partitions(), 4);
        check(&index, &model);
    }
}
