//! Several changes that happen together or not at all.

use std::ops::Range;
use std::sync::Arc;

use crate::commit::Change;
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::table::Table;

/// Puts and deletes over any tables of one database, applied atomically by [`crate::Database::apply`] under one
/// sequence. Of several operations on one key the last holds. Cheap to build; holds copies of keys and values.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Batch, Database, Durability, Options, TableOptions};
///
/// let database = Database::open(directory.path().join("db"), Options::default())?;
/// let accounts = database.table("accounts", TableOptions::new())?;
/// let mut transfer = Batch::new();
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
    /// The value follows its key. `None` deletes.
    value_end: Option<usize>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Stores a value under a key. Keys and values are checked when the batch is applied.
    pub fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> &mut Batch {
        self.push(table, key, Some(value))
    }

    /// Removes a key, if it is there then.
    pub fn delete(&mut self, table: &Table, key: &[u8]) -> &mut Batch {
        self.push(table, key, None)
    }

    fn push(&mut self, table: &Table, key: &[u8], value: Option<&[u8]>) -> &mut Batch {
        let same = |known: &Table| Arc::ptr_eq(&known.core, &table.core);
        // Most often the table of the operation before.
        let table = match self.tables.iter().rposition(same) {
            Some(known) => known,
            None => {
                self.tables.push(table.clone());
                self.tables.len() - 1
            }
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key = start..self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let value_end = value.map(|_| self.bytes.len());
        self.operations.push(Operation { table, key, value_end });
        self
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether it changes nothing.
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
    pub(crate) fn changes(&self, inner: &Arc<Inner>) -> Result<Vec<Change<'_>>> {
        if self.tables.iter().any(|table| !Arc::ptr_eq(&table.inner, inner)) {
            let reason = "the batch has a table of another database".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        // Table, place and number of each operation, from the high bits down: the order in which partitions are
        // locked, because a partition is a range of places.
        let mut order = Vec::with_capacity(self.operations.len());
        for (number, operation) in self.operations.iter().enumerate() {
            let table = &self.tables[operation.table];
            let place = table.locate(&self.bytes[operation.key.clone()])?;
            let number = u32::try_from(number).map_err(|_| {
                let reason = format!("a batch of {} operations is too large", self.operations.len());
                Error::InvalidArgument { reason }
            })?;
            order.push(u128::from(table.core.id) << 96 | u128::from(place) << 32 | u128::from(number));
        }
        order.sort_unstable();
        let mut kept: Vec<Change<'_>> = Vec::with_capacity(order.len());
        for word in order {
            let (place, number) = ((word >> 32) as u64, word as u32);
            let operation = &self.operations[number as usize];
            let table = &self.tables[operation.table];
            let key = &self.bytes[operation.key.clone()];
            let change = match operation.value_end {
                Some(end) => table.put_change(place, key, &self.bytes[operation.key.end..end])?,
                None => table.delete_change(place, key),
            };
            // Of several operations on one key, which have one place, the last holds.
            let is_same = |before: &Change<'_>| before.table.id == change.table.id && before.place == place;
            let mut at_same_place = kept.iter().rev().take_while(|before| is_same(before));
            match at_same_place.position(|before| before.key == key) {
                Some(back) => {
                    let earlier = kept.len() - 1 - back;
                    kept[earlier] = change;
                }
                None => kept.push(change),
            }
        }
        Ok(kept)
    }
}
