//! The partitions that a commit locks, all in one order.

use std::sync::Arc;

use super::Change;
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
}

impl Validation<'_> {
    pub(super) fn is_needed(&self) -> bool {
        !self.tables.is_empty() || self.at.is_some()
    }
}

/// The locks of some partitions, in the order in which they were taken.
pub(super) struct Locks<'a>(Vec<((u32, u32), PartitionLock<'a>)>);

impl<'a> Locks<'a> {
    fn push(&mut self, table: &'a TableCore, number: u32) {
        let last = self.0.last().map(|(last, _)| *last);
        if last == Some((table.id, number)) {
            return;
        }
        assert!(last.is_none_or(|last| last < (table.id, number)), "partitions are locked in order");
        let lock = table.index.partitions()[number as usize].lock();
        self.0.push(((table.id, number), lock));
    }

    fn push_all(&mut self, table: &'a TableCore) {
        (0..table.index.partitions().len()).for_each(|number| self.push(table, number as u32));
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

pub(super) fn lock_partitions<'a>(changes: &'a [Change<'_>], validation: &Validation<'a>) -> Locks<'a> {
    let mut locks = Locks(Vec::new());
    let mut whole = validation.tables.iter().peekable();
    for change in changes {
        while let Some(table) = whole.next_if(|table| table.id < change.table.id) {
            locks.push_all(table);
        }
        if whole.peek().is_some_and(|table| table.id == change.table.id) {
            // Its first change: the lock of each that follows is there.
            whole.next();
            locks.push_all(change.table);
        } else if !validation.tables.iter().any(|table| table.id == change.table.id) {
            let (_, number) = change.partition_number();
            locks.push(change.table, number);
        }
    }
    whole.for_each(|table| locks.push_all(table));
    locks
}
