//! Several changes that happen together or not at all.

use std::collections::HashMap;

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
    pub(crate) operations: Vec<Operation>,
    /// Where in `operations` a key of a table stands.
    places: HashMap<(u32, Vec<u8>), usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    /// `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Stores a value under a key. Keys and values are checked when the batch is applied.
    pub fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> &mut Batch {
        self.push(table, key, Some(value.to_vec()))
    }

    /// Removes a key, if it is there then.
    pub fn delete(&mut self, table: &Table, key: &[u8]) -> &mut Batch {
        self.push(table, key, None)
    }

    fn push(&mut self, table: &Table, key: &[u8], value: Option<Vec<u8>>) -> &mut Batch {
        let next = self.operations.len();
        let at = *self.places.entry((table.core.id, key.to_vec())).or_insert(next);
        match self.operations.get_mut(at) {
            Some(operation) => operation.value = value,
            None => self.operations.push(Operation { table: table.clone(), key: key.to_vec(), value }),
        }
        self
    }

    /// The number of keys it changes.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Takes everything out again.
    pub fn clear(&mut self) {
        self.operations.clear();
        self.places.clear();
    }
}
