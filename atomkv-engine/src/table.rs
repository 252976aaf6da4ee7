//! A table as its users hold it: routes a key to its place and offers the operations (`table/write.rs`, `table/read.rs`).

mod found;
mod pinned;
mod read;
mod write;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::Inner;
use crate::error::{Error, Result};
use crate::options::{Durability, TableSettings};
use crate::services::{Keyspace, Services};
use crate::tables::TableCore;
use crate::types::Written;
pub(crate) use found::{Found, Look, Next, Stored, View};
pub use pinned::Pinned;
pub(crate) use pinned::{About, Parts};

/// A named key space of a database. Cheap to clone; may be used by many threads at once. A handle keeps the
/// database's memory and file descriptors alive; after [`crate::Database::close`] it answers [`Error::Closed`].
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Database, Options, TableOptions};
///
/// let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new().partitions(16))?;
/// let first = users.put(b"ada", b"countess")?;
/// let second = users.put(b"ada", b"programmer")?;
/// assert_eq!((first.version, second.version), (1, 2));
/// assert_eq!(users.get(b"ada")?.as_deref(), Some(&b"programmer"[..]));
/// users.delete(b"ada")?;
/// assert_eq!(users.get(b"ada")?, None);
/// # database.close()
/// # }
/// ```
#[derive(Clone)]
pub struct Table {
    pub(crate) inner: Arc<Inner>,
    pub(crate) core: Arc<TableCore>,
    pub(crate) services: Arc<Services>,
    keyspace: Arc<Keyspace>,
    pub(crate) durability: Durability,
    ttl: Option<Duration>,
}

impl Table {
    pub(crate) fn new(
        inner: Arc<Inner>,
        core: Arc<TableCore>,
        services: Services,
        durability: Durability,
        ttl: Option<Duration>,
    ) -> Table {
        let keyspace = Arc::new(Keyspace::new(&services, inner.hash_seed));
        Table { inner, core, services: Arc::new(services), keyspace, durability, ttl }
    }

    /// Whether what is written through another handle becomes the same.
    pub(crate) fn is_like(&self, other: &Table) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
            && self.ttl == other.ttl
            && (Arc::ptr_eq(&self.services, &other.services) || self.services.is_same(&other.services))
    }

    /// A handle of a table that has none but built-in services, as far as reading asks for them.
    pub(crate) fn with_builtin_services(inner: &Arc<Inner>, core: Arc<TableCore>) -> Result<Table> {
        let sharder = core.record.services.iter().find(|(kind, ..)| kind == "sharder");
        let services = match sharder {
            Some((kind, name, _)) if core.keyspace.is_some() => Services::default().with_named(kind, name)?,
            _ => {
                let reason = format!("table {:?} has services of its own; give its handle", core.record.name);
                return Err(Error::InvalidArgument { reason });
            }
        };
        Ok(Table::new(inner.clone(), core, services, Durability::Buffered, None))
    }

    /// Whether documents expire whose writers do not say.
    pub(crate) fn has_ttl(&self) -> bool {
        self.ttl.is_some()
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.core.record.name
    }

    /// The durability of writes that do not name one.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The number of partitions, which [`Table::resize`] changes.
    pub fn partitions(&self) -> u32 {
        self.core.index.partitions()
    }

    /// How the table was created, as far as that can be said by [`crate::TableOptions`]; the number of partitions is
    /// the present one.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// use atomkv_engine::{Database, Retention, TableOptions};
    ///
    /// let database = Database::in_memory()?;
    /// let users = database.table("users", TableOptions::new().retention(Retention::Versions(3)))?;
    /// assert_eq!((users.settings().retention, users.settings().ordered), (Retention::Versions(3), false));
    /// # Ok(())
    /// # }
    /// ```
    pub fn settings(&self) -> TableSettings {
        let record = &self.core.record;
        let (partitions, auto_partitions) = self.core.layout();
        TableSettings {
            partitions,
            auto_partitions,
            durability: if record.durability == 1 { Durability::Sync } else { Durability::Buffered },
            ordered: record.ordered,
            retention: self.core.retention(),
            ttl: record.ttl_ms.map(Duration::from_millis),
        }
    }

    /// The number of keys.
    pub fn len(&self) -> u64 {
        self.core.index.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key's slot, 0 to 16,383: the same for ever.
    ///
    /// # Errors
    /// A key that the table does not take.
    pub fn slot(&self, key: &[u8]) -> Result<u16> {
        Ok(Keyspace::slot_of_place(self.place(key)?))
    }

    /// The partition that holds the key now, from 0.
    ///
    /// # Errors
    /// A key that the table does not take.
    pub fn partition(&self, key: &[u8]) -> Result<u32> {
        Ok(self.core.index.number_of(self.place(key)?))
    }

    /// The place of a key that the table has.
    pub(crate) fn place_of_key(&self, key: &[u8]) -> Result<u64> {
        self.keyspace.place(key)
    }

    #[inline(always)]
    pub(crate) fn place(&self, key: &[u8]) -> Result<u64> {
        self.keyspace.validate(key)?;
        self.keyspace.place(key)
    }

    /// Stores a document through the table's serializer (JSON by default).
    ///
    /// # Errors
    /// [`Error::Document`] if it cannot be serialized; else as [`Table::put`].
    pub fn put_document<T: Serialize + ?Sized>(&self, key: &[u8], document: &T) -> Result<Written> {
        let bytes = self.services.encode(document)?;
        self.put(key, &bytes)
    }

    /// A document through the table's serializer.
    ///
    /// # Errors
    /// [`Error::Document`] if the value is not such a document; else as [`Table::get`].
    pub fn get_document<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>> {
        self.get_with(key, |bytes| self.services.decode(bytes))?.transpose()
    }

    /// Returns when everything acknowledged before the call is on stable storage, in all tables.
    ///
    /// # Errors
    /// The failure of the sync; the database is then read-only.
    pub fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).field("keys", &self.len()).finish_non_exhaustive()
    }
}
