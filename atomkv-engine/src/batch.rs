//! Several changes that happen together or not at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::commit::{Body, Change};
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::expect::{Condition, Expect};
use crate::options::WriteOptions;
use crate::table::Table;
use crate::types::Written;

/// Puts, deletes and conditions over any tables of one database, applied atomically by [`crate::Database::apply`] under one
/// sequence. All conditions are checked first, against the state before the batch. Of several operations on one key the
/// last holds. Cheap to build; holds copies of keys and values.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Batch, Database, Durability, Expect, Options, TableOptions};
///
/// let database = Database::open(directory.path().join("db"), Options::default())?;
/// let accounts = database.table("accounts", TableOptions::new())?;
/// let mut transfer = Batch::new();
/// transfer.expect(&accounts, b"frozen", Expect::Absent);
/// transfer.put(&accounts, b"alice", b"90").put(&accounts, b"bob", b"110");
/// database.apply(&transfer, Durability::Sync)?;
/// # database.close()
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Each table once.
    tables: Vec<Table>,
    operations: Vec<Operation>,
    /// Keys and values, behind each other.
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Operation {
    /// Which of the tables.
    table: usize,
    key: Range<usize>,
    action: Action,
    options: WriteOptions,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// The value follows its key, up to here.
    Put(usize),
    Delete,
    Check(Condition),
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Stores a value under a key. Keys and values are checked when the batch is applied.
    pub fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> &mut Batch {
        self.put_with(table, key, value, WriteOptions::new())
    }

    /// The same with a condition or an expiry. A time to live counts from when the batch is applied.
    pub fn put_with(
        &mut self,
        table: &Table,
        key: &[u8],
        value: &[u8],
        options: impl Into<WriteOptions>,
    ) -> &mut Batch {
        let key = self.push_bytes(key);
        let end = self.push_bytes(value).end;
        self.push(table, key, Action::Put(end), options.into())
    }

    /// Removes a key, if it is there then.
    pub fn delete(&mut self, table: &Table, key: &[u8]) -> &mut Batch {
        self.delete_with(table, key, WriteOptions::new())
    }

    /// The same with a condition.
    pub fn delete_with(&mut self, table: &Table, key: &[u8], options: impl Into<WriteOptions>) -> &mut Batch {
        let key = self.push_bytes(key);
        self.push(table, key, Action::Delete, options.into())
    }

    /// Changes nothing, but the whole batch only happens if this is so.
    pub fn expect(&mut self, table: &Table, key: &[u8], expect: Expect) -> &mut Batch {
        self.check(table, key, Condition::Expect(expect))
    }

    pub(crate) fn check(&mut self, table: &Table, key: &[u8], condition: Condition) -> &mut Batch {
        let key = self.push_bytes(key);
        self.push(table, key, Action::Check(condition), WriteOptions::new())
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn push(
        &mut self,
        table: &Table,
        key: Range<usize>,
        action: Action,
        options: WriteOptions,
    ) -> &mut Batch {
        // Handles of one table may have times to live and services of their own.
        let same = |known: &Table| known.is_like(table);
        // Most often the table of the operation before.
        let table = match self.tables.iter().rposition(same) {
            Some(known) => known,
            None => {
                self.tables.push(table.clone());
                self.tables.len() - 1
            }
        };
        self.operations.push(Operation { table, key, action, options });
        self
    }

    /// The number of operations, conditions alone included.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Takes everything out again, and keeps the memory for the next use.
    pub fn clear(&mut self) {
        self.tables.clear();
        self.operations.clear();
        self.bytes.clear();
    }

    /// What the batch changes in this database: each key once, in the order in which partitions are locked.
    pub(crate) fn changes(&self, inner: &Arc<Inner>, at_ms: Option<u64>) -> Result<Vec<Change<'_>>> {
        if self.tables.iter().any(|table| !Arc::ptr_eq(&table.inner, inner)) {
            let reason = "the batch has a table of another database".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        let mut order = Vec::with_capacity(self.operations.len());
        for (number, operation) in self.operations.iter().enumerate() {
            let table = &self.tables[operation.table];
            let place = table.locate(&self.bytes[operation.key.clone()])?;
            let number = u32::try_from(number).map_err(|_| {
                let reason = format!("a batch of {} operations is too large", self.operations.len());
                Error::InvalidArgument { reason }
            })?;
            order.push(order_word(table, place, number));
        }
        in_lock_order(order, |place, number| {
            let operation = &self.operations[number as usize];
            self.change(place, operation, at_ms)
        })
    }

    /// What each operation became, in their order, of the changes that [`Batch::changes`] has told.
    pub(crate) fn outcomes(
        &self,
        changes: &[Change<'_>],
        written: &[Option<Written>],
    ) -> Vec<Option<Written>> {
        let of_key: HashMap<(u32, &[u8]), Option<Written>> = changes
            .iter()
            .zip(written)
            .map(|(change, written)| ((change.table.id, change.key), *written))
            .collect();
        let outcome = |operation: &Operation| match operation.action {
            Action::Check(_) => None,
            Action::Put(_) | Action::Delete => {
                let key = &self.bytes[operation.key.clone()];
                of_key.get(&(self.tables[operation.table].core.id, key)).copied().flatten()
            }
        };
        self.operations.iter().map(outcome).collect()
    }

    fn change(&self, place: u64, operation: &Operation, at_ms: Option<u64>) -> Result<Change<'_>> {
        let table = &self.tables[operation.table];
        let key = &self.bytes[operation.key.clone()];
        match operation.action {
            Action::Put(end) => {
                table.put_change(place, key, &self.bytes[operation.key.end..end], &operation.options, at_ms)
            }
            Action::Delete => Ok(table.delete_change(place, key, &operation.options)),
            Action::Check(condition) => {
                let change = table.delete_change(place, key, &operation.options);
                Ok(Change { body: Body::Check, condition: Some(condition), ..change })
            }
        }
    }
}

/// Table, place and number of an operation, from the high bits down: sorted by these, operations come in the order in which
/// partitions are locked, because a partition is a range of places.
pub(crate) fn order_word(table: &Table, place: u64, number: u32) -> u128 {
    u128::from(table.core.id) << 96 | u128::from(place) << 32 | u128::from(number)
}

/// The changes that operations make, given by their words and by what makes a change of a place and a number: each key
/// once, in the order in which partitions are locked.
pub(crate) fn in_lock_order<'a>(
    mut order: Vec<u128>,
    mut change: impl FnMut(u64, u32) -> Result<Change<'a>>,
) -> Result<Vec<Change<'a>>> {
    order.sort_unstable();
    let mut kept: Vec<Change<'a>> = Vec::with_capacity(order.len());
    for word in order {
        let change = change((word >> 32) as u64, word as u32)?;
        // Of several operations on one key, which have one place, the last holds; but all their conditions do.
        let is_same =
            |before: &Change<'_>| before.table.id == change.table.id && before.place == change.place;
        let mut at_same_place = kept.iter().rev().take_while(|before| is_same(before));
        match at_same_place.position(|before| before.key == change.key) {
            Some(back) => {
                let earlier = kept.len() - 1 - back;
                kept[earlier].follow(change);
            }
            None => kept.push(change),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::options::TableOptions;
    use crate::services::{Lz4, Services};

    /// Each operation of a batch looked through the handles of all before it, and kept one of its own.
    #[test]
    fn handles_that_write_alike_are_kept_once() {
        let database = Database::in_memory().expect("opens");
        let open = |options: TableOptions| database.table("t", options).expect("a table");
        let mut batch = Batch::new();
        for key in [b"a", b"b", b"c"] {
            batch.put(&open(TableOptions::new()), key, b"v");
            let named = Services::new().with_named("compressor", "lz4").expect("there is one");
            batch.put(&open(TableOptions::new().services(named)), key, b"v");
            batch.put(&database.open_table("t", Services::new()).expect("there"), key, b"v");
        }
        assert_eq!(batch.tables.len(), 1);
        batch.put(
            &open(TableOptions::new().services(Services::new().with_compressor(Lz4::default()))),
            b"d",
            b"v",
        );
        assert_eq!(batch.tables.len(), 2, "one that may write otherwise");
    }
}
