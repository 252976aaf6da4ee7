//! The partitions that a commit locks, all in one order.

use std::sync::Arc;

use super::Change;
use crate::epoch::Guard;
use crate::error::Result;
use crate::index::partition::PartitionLock;
use crate::log::Stamp;
use crate::tables::TableCore;

/// What a transaction that has scanned asks for: all partitions of these tables are locked, the tables in the order of
/// their ids, while it is checked that nothing has changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Validation<'a> {
    pub(crate) tables: &'a [Arc<TableCore>],
    pub(crate) check: Option<&'a dyn Fn() -> Result<()>>,
    /// Sequence and time of a commit that is a copy of another database's.
    pub(crate) at: Option<Stamp>,
    /// Whether the versions of all changes are asked for.
    pub(crate) tells_versions: bool,
}

impl Validation<'_> {
    pub(super) fn is_needed(&self) -> bool {
        !self.tables.is_empty() || self.at.is_some()
    }
}

/// The locks of some partitions, in the order in which they were taken.
pub(super) struct Locks<'a>(Vec<((u32, u32), PartitionLock<'a>)>);

impl<'a> Locks<'a> {
    fn push(&mut self, table: &TableCore, place: u64, guard: &'a Guard) {
        let last = self.0.last().map(|(last, _)| *last);
        // While a lock of the table is held, its partitions stay as they are.
        if last.is_some_and(|last| last == (table.id, table.index.number_of(place))) {
            return;
        }
        let lock = table.index.lock(place, guard);
        let number = (table.id, table.index.number_of(place));
        assert!(last.is_none_or(|last| last < number), "partitions are locked in order");
        self.0.push((number, lock));
    }

    fn push_all(&mut self, table: &TableCore, guard: &'a Guard) {
        self.0.extend(table.index.lock_all(guard).map(|(number, lock)| ((table.id, number), lock)));
    }

    /// The lock of a change's partition, from `at` on; changes come in the order of the locks.
    pub(super) fn of(&mut self, change: &Change<'_>, at: &mut usize) -> &mut PartitionLock<'a> {
        let number = change.partition_number();
        while self.0[*at].0 != number {
            *at += 1;
        }
        &mut self.0[*at].1
    }
}

pub(super) fn lock_partitions<'a>(
    changes: &[Change<'_>],
    validation: &Validation<'_>,
    guard: &'a Guard,
) -> Locks<'a> {
    let mut locks = Locks(Vec::new());
    let mut whole = validation.tables.iter().peekable();
    for change in changes {
        while let Some(table) = whole.next_if(|table| table.id < change.table.id) {
            locks.push_all(table, guard);
        }
        if whole.peek().is_some_and(|table| table.id == change.table.id) {
            // Its first change: the lock of each that follows is there.
            whole.next();
            locks.push_all(change.table, guard);
        } else if !validation.tables.iter().any(|table| table.id == change.table.id) {
            locks.push(change.table, change.place, guard);
        }
    }
    whole.for_each(|table| locks.push_all(table, guard));
    locks
}

/// The same, for who looks the keys up under the locks: whatever of the index that must read is in memory before, since
/// a lookup would wait for these very locks to bring it there.
pub(super) fn lock_prepared<'a>(
    changes: &[Change<'_>],
    validation: &Validation<'_>,
    guard: &'a Guard,
) -> Result<Locks<'a>> {
    let mut locks = lock_partitions(changes, validation, guard);
    let mut at = 0;
    for change in changes {
        locks.of(change, &mut at).prepare(change.place)?;
    }
    Ok(locks)
}
